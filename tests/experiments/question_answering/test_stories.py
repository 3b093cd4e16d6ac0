"""Stories: an independent reader of the sentences finds the same answers."""

import random

import pytest

from experiments.question_answering import stories
from experiments.question_answering.stories import TASKS, Question


def read(story):
    """Each sentence as (person, "move" | "take" | "drop", thing or place)."""
    kinds = {"move": stories.MOVE, "take": stories.TAKE, "drop": stories.DROP}
    events = []
    for sentence in story:
        person, rest = sentence.split(" ", 1)
        [kind] = [
            k for k, verbs in kinds.items() if any(rest.startswith(f"{v} the") for v in verbs)
        ]
        events.append((person, kind, rest.rsplit(" ", 1)[1]))
    return events


def places_of(events, thing):
    """The places at which an object was, one after the other."""
    holder, where, path = None, {}, []
    for person, kind, what in events:
        if kind == "move":
            where[person] = what
        elif what == thing:
            holder = person if kind == "take" else None
        here = where.get(person)
        if (what == thing or person == holder) and here is not None and path[-1:] != [here]:
            path.append(here)
    return path


def carried(events, person):
    things = set()
    for who, kind, what in events:
        if who == person and kind != "move":
            (things.add if kind == "take" else things.remove)(what)
    return sorted(things)


def expected(question: Question):
    """The answer, from the words of the story and the question alone."""
    events, words = read(question.story), question.question.split()
    latest = {person: place for person, kind, place in events if kind == "move"}
    match question.task:
        case "one supporting fact":
            return latest[words[2]]
        case "two supporting facts":
            return places_of(events, words[3])[-1]
        case "three supporting facts":
            path = places_of(events, words[3])
            return path[path.index(words[6]) - 1]
        case "yes or no":
            return "yes" if latest[words[1]] == words[4] else "no"
        case "counting":
            return ("none", "one", "two", "three")[len(carried(events, words[4]))]
        case "lists":
            return " and ".join(carried(events, words[2])) or "nothing"


@pytest.mark.parametrize("task", TASKS)
def test_answers_follow_from_the_story(task):
    rng = random.Random(1)
    for _ in range(300):
        question = stories.draw_question(task, rng)
        assert question.answer == expected(question), question


@pytest.mark.parametrize("task", TASKS)
def test_the_support_is_enough(task):
    rng = random.Random(2)
    for _ in range(300):
        question = stories.draw_question(task, rng)
        assert list(question.support) == sorted(set(question.support))
        told = tuple(question.story[i] for i in question.support)
        assert expected(question._replace(story=told)) == question.answer, question


def test_things_are_taken_where_they_are():
    rng = random.Random(3)
    for _ in range(300):
        where, lies, held = {}, {}, {}
        for person, kind, what in read(stories.draw_question("lists", rng).story):
            if kind == "move":
                assert where.get(person) != what
                where[person] = what
            elif kind == "take":
                assert what not in held
                assert lies.get(what, where[person]) == where[person]
                held[what] = person
            else:
                assert held.pop(what) == person
                lies[what] = where[person]


def test_no_story_is_in_two_sets_and_equal_seeds_give_equal_sets():
    sets = stories.draw_questions((300, 100, 100), seed=4)
    assert sets == stories.draw_questions((300, 100, 100), seed=4)
    assert sets != stories.draw_questions((300, 100, 100), seed=5)
    assert [len(questions) for questions in sets] == [1800, 600, 600]
    assert {q.task for q in stories.draw_questions((5,), seed=4, tasks=["lists"])[0]} == {"lists"}
    for i, questions in enumerate(sets):
        assert [q.task for q in questions[:: len(questions) // 6]] == list(TASKS)
        for others in sets[i + 1 :]:
            assert {q.story for q in questions}.isdisjoint({q.story for q in others})
