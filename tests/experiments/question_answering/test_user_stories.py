"""The user's own stories: from a file to an answer."""

import json
import random

import pytest

from experiments.common.command import InputError
from experiments.question_answering import train as qa
from experiments.question_answering.settings import Command, Settings
from experiments.question_answering.user_stories import (
    check_question,
    read_stories,
    split_sentences,
)
from tests.helpers import read_results

SETTINGS = Settings(hidden_size=8, epochs=2, batch_size=16, passes=2)
COLORS = ("rouge", "bleu", "vert")
THINGS = ("le vélo", "le café", "la forêt")


def make_rows(num: int) -> list[tuple[str, str, str]]:
    draw = random.Random(0).choice
    rows = []
    for _ in range(num):
        colors = [draw(COLORS) for _ in THINGS]
        story = [f"{thing} est {color}" for thing, color in zip(THINGS, colors, strict=True)]
        asked = draw(range(len(THINGS)))
        told = [draw(("Bonjour", "Salut", "Bien")) for _ in range(draw(range(5)))]
        rows.append((". ".join([*told, *story]) + ".", f"{THINGS[asked]} ?", colors[asked]))
    return rows


def write_table(path, rows):
    lines = ["context\tquery\tanswer", *("\t".join(row) for row in rows)]
    path.write_bytes("\r\n".join(lines).encode("utf-16"))
    return path


@pytest.mark.slow
def test_stories_are_learned_and_a_question_is_answered(tmp_path, capsys):
    path, out = write_table(tmp_path / "couleurs.tsv", make_rows(600)), tmp_path / "runs"
    qa.main(Command(SETTINGS, train=path, out=out))
    printed = capsys.readouterr().out
    assert "600 questions with 3 different answers: " in printed
    scores = read_results(out / "couleurs" / "results.json")
    assert list(scores)[:3] == ["most frequent answer", "bag of words", "episodic attention"]
    assert 0 <= scores["calibration error"]["your questions"] <= 1

    def ask(question, story):
        qa.main(Command(ask=question, story=story, model=out / "couleurs", out=out))
        return capsys.readouterr().out.splitlines()

    lines = ask("le vélo ?", "Le vélo est vert! La forêt est bleu. Bonjour.")
    assert "validation questions)" in lines[0]
    assert any(color in lines[0] for color in COLORS)
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "Le vélo est vert",
        "La forêt est bleu",
        "Bonjour",
    ]
    assert "The story is longer than those in training" in ask("le vélo ?", "Bien. " * 9)[1]
    with pytest.raises(InputError, match="The network does not know avion"):
        ask("avion ?", "Bonjour.")


def test_questions_are_split_by_story(tmp_path):
    rows = make_rows(290)
    rows += [(story.upper(), *others) for story, *others in rows[:10]]
    path = tmp_path / "a.jsonl"
    names = ("story", "question", "answer")
    path.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows))
    stories = read_stories(path, None)
    parts = [{tuple(map(str.lower, q.story)) for q in part} for part in stories[:3]]
    assert parts[0].isdisjoint(parts[1] | parts[2])
    assert parts[1].isdisjoint(parts[2])
    assert sum(map(len, stories[:3])) == 300
    assert all(15 <= len(part) <= 50 for part in stories[1:3])
    assert stories.answers == sorted(COLORS)
    assert (
        "questions repeat another one; equal ones are in one part of the split." in stories.notes[0]
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (make_rows(100), "different questions; at least 200 are needed"),
        ([(s, q, "x") for s, q, _ in make_rows(600)], "has 1 answer to"),
        (
            [(s, q, f"{i}") for i, (s, q, _) in enumerate(make_rows(600))],
            "600 different answers to",
        ),
        ([*make_rows(300), ("...", "a ?", "b")], "line 302, has no sentence or no question"),
        (
            [("A.", f"q{i} ?", f"{i % 2}") for i in range(300)],
            "has 1 story; at least 10",
        ),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read_stories(write_table(tmp_path / "a.tsv", rows), None)


def test_a_question_about_what_the_story_does_not_tell_is_refused():
    words = ["where", "is", "mary", "john", "went", "to", "the", "hall", "?"]
    story = split_sentences("John went to the hall. ")
    check_question(story, "Where is John?", words, ("John", "Mary"))
    with pytest.raises(InputError, match="The story says nothing about Mary: 'Where is Mary"):
        check_question(story, "Where is Mary?", words, ("John", "Mary"))
    check_question(story, "Where is Mary?", words, ())
    for told, asked in (((), "Where is John?"), (story, " ")):
        with pytest.raises(InputError, match="needs a question"):
            check_question(told, asked, words, ())
