"""How well questions about stories are answered, and the baselines' answers."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from experiments.common.classical import word_count_logistic_regression
from experiments.question_answering.reading import tokens
from experiments.question_answering.stories import TASKS, Question


def right_by_task(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """The share of right answers to the questions of each task."""
    right: dict[str, list[bool]] = {task: [] for task in TASKS}
    for question, given in zip(questions, answers, strict=True):
        right[question.task].append(given == question.answer)
    return {task: float(np.mean(shares)) for task, shares in right.items()}


def baselines(train: Sequence[Question], test: Sequence[Question]) -> dict[str, list[str]]:
    """The answers of each task's most frequent answer, and of a bag of words for each task."""

    def bag(questions: Sequence[Question]) -> list[str]:
        asked = [" ".join(f"asked:{word}" for word in tokens(q.question)) for q in questions]
        return [" ".join((words, *q.story)) for words, q in zip(asked, questions, strict=True)]

    majority, bag_of_words = [""] * len(test), [""] * len(test)
    for task in TASKS:
        known = [q for q in train if q.task == task]
        asked = [i for i, q in enumerate(test) if q.task == task]
        labels = np.array([q.answer for q in known])
        [(most, _)] = Counter(labels.tolist()).most_common(1)
        counted = word_count_logistic_regression(bag(known), labels, bag([test[i] for i in asked]))
        for i, answer in zip(asked, counted, strict=True):
            majority[i], bag_of_words[i] = most, str(answer)
    return {"most frequent answer": majority, "bag of words": bag_of_words}


def attended_support(questions: Sequence[Question], attention: np.ndarray) -> float:
    """How many of the sentences that a question takes the network looked at most in some pass."""
    shares = []
    for question, weights in zip(questions, attention, strict=True):
        looked_at = set(weights.argmax(-1).tolist())
        found = len(looked_at & set(question.support))
        shares.append(found / min(len(weights), len(question.support)))
    return float(np.mean(shares))
