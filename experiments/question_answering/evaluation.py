"""Scores of answers to questions about stories, and the answers of two baselines."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from experiments.common.confidence import calibration_error
from experiments.question_answering.reading import tokens
from experiments.question_answering.stories import Question


def tasks_of(questions: Sequence[Question]) -> list[str]:
    """The tasks of questions, in their order."""
    return list(dict.fromkeys(question.task for question in questions))


def calibration_by_task(
    questions: Sequence[Question], probabilities: np.ndarray, answers: np.ndarray
) -> dict[str, float]:
    """The calibration error for the questions of each task.

    Args:
      questions: N questions.
      probabilities: [N, A], of the answers.
      answers: int [N], the right ones.
    """
    tasks = np.array([question.task for question in questions])
    return {
        task: calibration_error(probabilities[tasks == task], answers[tasks == task])
        for task in tasks_of(questions)
    }


def accuracy_by_task(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """The fraction of correct answers to the questions of each task."""
    correct: dict[str, list[bool]] = {task: [] for task in tasks_of(questions)}
    for question, given in zip(questions, answers, strict=True):
        correct[question.task].append(given == question.answer)
    return {task: float(np.mean(hits)) for task, hits in correct.items()}


def baselines(train: Sequence[Question], test: Sequence[Question]) -> dict[str, list[str]]:
    """Answers each task by its most frequent answer, and by logistic regression on word counts."""

    def bag(questions: Sequence[Question]) -> list[str]:
        asked = [" ".join(f"asked:{word}" for word in tokens(q.question)) for q in questions]
        return [" ".join((words, *q.story)) for words, q in zip(asked, questions, strict=True)]

    majority, bag_of_words = [""] * len(test), [""] * len(test)
    for task in tasks_of(test):
        known = [q for q in train if q.task == task]
        asked = [i for i, q in enumerate(test) if q.task == task]
        labels = np.array([q.answer for q in known])
        [(most_frequent, _)] = Counter(labels.tolist()).most_common(1)
        counts = CountVectorizer(token_pattern=r"\S+")  # words are separated by spaces
        model = LogisticRegression(solver="newton-cg")
        model.fit(counts.fit_transform(bag(known)), labels)
        predicted = model.predict(counts.transform(bag([test[i] for i in asked])))
        for i, answer in zip(asked, predicted, strict=True):
            majority[i], bag_of_words[i] = most_frequent, str(answer)
    return {"most frequent answer": majority, "bag of words": bag_of_words}


def attended_support(questions: Sequence[Question], attention: np.ndarray) -> float:
    """The fraction of supporting sentences with the highest attention in at least one pass."""
    recalls = []
    for question, weights in zip(questions, attention, strict=True):
        attended = set(weights.argmax(-1).tolist())
        found = len(attended & set(question.support))
        recalls.append(found / min(len(weights), len(question.support)))
    return float(np.mean(recalls))
