"""The user's stories with questions and answers, and reasons to doubt an answer."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.command import InputError
from experiments.common.data.records import read_records
from experiments.common.data.splits import hold_out, merge_groups, note_equal
from experiments.common.data.user_files import quote
from experiments.common.report.counts import count
from experiments.question_answering.reading import tokens
from experiments.question_answering.stories import Question

FIELDS = {"story": ("context", "text", "passage"), "question": ("query",), "answer": ("label",)}
TASK = "your questions"
MIN_QUESTIONS = 200
MAX_ANSWERS = 1000
HELD_OUT = 0.1  # of the stories, once for validation and once for testing


class UserStories(NamedTuple):
    """Questions of a file, split by story."""

    train: list[Question]
    validation: list[Question]
    test: list[Question]
    answers: list[str]  # all different ones, sorted
    notes: list[str]  # one sentence per thing that the user may not expect
    digest: str


def split_sentences(story: str) -> tuple[str, ...]:
    """The sentences of a story, which end with a period, or an exclamation or question mark."""
    return tuple(part.strip() for part in re.split(r"[.!?]", story) if part.strip())


def read_stories(path: Path, columns: Sequence[str] | None) -> UserStories:
    """Reads a file of stories, questions and answers; an answer is one of a closed set.

    Raises:
      InputError: it cannot be read, see `read_records`, or there are too few questions, or too
        many answers.
    """
    records = read_records(path, FIELDS, columns)
    questions = []
    for line, (story, question, answer) in zip(records.lines, records.rows, strict=True):
        sentences = split_sentences(story)
        if not sentences or not tokens(question):
            raise InputError(f"{path}, line {line}, has no sentence or no question.")
        questions.append(Question(TASK, sentences, question, answer, ()))
    repeated = merge_groups([(_words(q.story), *tokens(q.question)) for q in questions])
    number, answers = len(np.unique(repeated)), sorted({q.answer for q in questions})
    if number < MIN_QUESTIONS:
        raise InputError(
            f"{path} has {count(number, 'question', 'different questions')}; at least "
            f"{MIN_QUESTIONS} are needed."
        )
    if not 2 <= len(answers) <= min(MAX_ANSWERS, number // 4):
        raise InputError(
            f"{path} has {count(len(answers), 'answer', 'different answers')} to {number:,} "
            f"questions; the network chooses among 2 to {MAX_ANSWERS:,}, with at least four "
            "questions each on average."
        )
    stories = merge_groups([_words(q.story) for q in questions])
    if (different := len(np.unique(stories))) < 1 / HELD_OUT:
        raise InputError(
            f"{path} has {count(different, 'story', 'different stories')}; at least 10 are needed."
        )
    parts = [[questions[i] for i in part] for part in hold_out(stories, HELD_OUT)]
    sizes = [f"{len(part):,}" for part in parts]
    notes = [
        *records.notes,
        *note_equal(repeated, "question"),
        f"{len(questions):,} questions with {len(answers):,} different answers: {sizes[0]} for "
        f"training, {sizes[1]} for validation, {sizes[2]} for testing.",
    ]
    train, validation, test = parts
    return UserStories(train, validation, test, answers, notes, records.digest())


def _words(story: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The words of each sentence; two stories with the same words are equal."""
    return tuple(tuple(tokens(sentence)) for sentence in story)


def check_question(
    story: Sequence[str], question: str, words: Sequence[str], names: Sequence[str]
) -> None:
    """Raises InputError if a question cannot be answered from a story, as far as words tell.

    Args:
      story: its sentences.
      question: the question.
      words: those that the network knows.
      names: the story must say something about those that the question names.
    """
    if not story or not tokens(question):
        raise InputError("--ask needs a question, and --story at least one sentence.")
    told = {word for sentence in story for word in tokens(sentence)}
    unknown = (told | set(tokens(question))) - set(words)
    if unknown:
        known = ", ".join(sorted(words)[:60]) + (" ..." if len(words) > 60 else "")
        raise InputError(
            f"The network does not know {', '.join(sorted(unknown))}. It knows {known}."
        )
    named = [name for name in names if name.lower() in tokens(question)]
    missing = [name for name in named if name.lower() not in told]
    if missing:
        raise InputError(f"The story says nothing about {missing[0]}: {quote(question)}.")
