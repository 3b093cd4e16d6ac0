"""Generates stories of people who move and carry things, and questions about them, from a seed.

The six tasks and their vocabulary follow the bAbI tasks 1, 2, 3, 6, 7 and 8 (Weston et al. 2015,
https://arxiv.org/abs/1502.05698); the generator is new. Each question comes with its supporting
sentences, which no model sees in training.
"""

import random
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal, NamedTuple, get_args

PEOPLE = ("Daniel", "John", "Mary", "Sandra")
PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
OBJECTS = ("apple", "football", "milk")
MOVE = ("moved to", "went to", "journeyed to", "travelled to")
TAKE = ("picked up", "got", "took", "grabbed")
DROP = ("dropped", "put down", "left", "discarded")
NUMBERS = ("none", "one", "two", "three")
LISTS = tuple(" and ".join(things) for n in (1, 2, 3) for things in combinations(OBJECTS, n))
TaskName = Literal[
    "one supporting fact",
    "two supporting facts",
    "three supporting facts",
    "yes or no",
    "counting",
    "lists",
]
TASKS: tuple[TaskName, ...] = get_args(TaskName)
ANSWERS = (*PLACES, "yes", "no", *NUMBERS, "nothing", *LISTS)


class Question(NamedTuple):
    """A story and a question about it."""

    task: str  # one of TASKS
    story: tuple[str, ...]  # S sentences
    question: str
    answer: str  # one word, or several joined by "and"
    support: tuple[int, ...]  # the indices of the sentences that decide it, in order


class _World:
    """The state of the world during a story; every fact with its supporting sentences."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.story: list[str] = []
        self.place: dict[str, tuple[str, int]] = {}  # of each person, with the sentence
        self.held: dict[str, dict[str, int]] = {person: {} for person in PEOPLE}
        self.handled: dict[str, list[int]] = {person: [] for person in PEOPLE}  # sentences
        # The successive places of each object, each with its sentences.
        self.path: dict[str, list[tuple[str, tuple[int, ...]]]] = {name: [] for name in OBJECTS}

    def tell(self, num_sentences: int, with_objects: bool) -> None:
        for _ in range(num_sentences):
            person = self.rng.choice(PEOPLE)
            chance = self.rng.random()
            if with_objects and chance < 0.45 and (here := self._in_reach(person)):
                self._take(person, self.rng.choice(here))
            elif with_objects and chance > 0.85 and self.held[person]:
                self._drop(person, self.rng.choice(sorted(self.held[person])))
            else:
                self._move(person)

    def _say(self, person: str, verbs: tuple[str, ...], thing: str) -> int:
        self.story.append(f"{person} {self.rng.choice(verbs)} the {thing}")
        return len(self.story) - 1

    def _move(self, person: str) -> None:
        here = self.place.get(person, ("", 0))[0]
        place = self.rng.choice([name for name in PLACES if name != here])
        now = self._say(person, MOVE, place)
        self.place[person] = place, now
        for thing, taken in self.held[person].items():
            self.path[thing].append((place, (taken, now)))

    def _in_reach(self, person: str) -> list[str]:
        """Objects at the person's place, and those that nobody has touched yet."""
        if person not in self.place:
            return []
        held = {thing for things in self.held.values() for thing in things}
        here = self.place[person][0]
        paths = self.path.items()
        return [x for x, path in paths if x not in held and (not path or path[-1][0] == here)]

    def _take(self, person: str, thing: str) -> None:
        now = self._say(person, TAKE, thing)
        place, moved = self.place[person]
        self.held[person][thing] = now
        self.handled[person].append(now)
        if not self.path[thing]:
            self.path[thing].append((place, (moved, now)))

    def _drop(self, person: str, thing: str) -> None:
        now = self._say(person, DROP, thing)
        del self.held[person][thing]
        self.handled[person].append(now)
        place, moved = self.place[person]
        self.path[thing][-1] = place, (moved, now)


# (question, answer, support) about a world; None if the task has no question about it.
_Asked = tuple[str, str, tuple[int, ...]]


def _where_is_person(world: _World) -> _Asked | None:
    if not world.place:
        return None
    person = world.rng.choice(sorted(world.place))
    place, now = world.place[person]
    return f"Where is {person} ?", place, (now,)


def _where_is_object(world: _World) -> _Asked | None:
    things = [thing for thing, path in world.path.items() if path]
    if not things:
        return None
    thing = world.rng.choice(things)
    place, support = world.path[thing][-1]
    return f"Where is the {thing} ?", place, support


def _where_was_object(world: _World) -> _Asked | None:
    choices = []
    for thing, path in world.path.items():
        places = [place for place, _ in path]
        choices += [(thing, i) for i in range(1, len(path)) if places.count(places[i]) == 1]
    if not choices:
        return None
    thing, i = world.rng.choice(choices)
    (before, support), (place, support_after) = world.path[thing][i - 1 : i + 1]
    return f"Where was the {thing} before the {place} ?", before, support + support_after


def _is_person_in(world: _World) -> _Asked | None:
    if not world.place:
        return None
    person = world.rng.choice(sorted(world.place))
    place, now = world.place[person]
    yes = world.rng.random() < 0.5
    asked = place if yes else world.rng.choice([name for name in PLACES if name != place])
    return f"Is {person} in the {asked} ?", "yes" if yes else "no", (now,)


def _who_holds(world: _World) -> tuple[str, list[str], tuple[int, ...]] | None:
    """A person who has taken something, the things they hold now, and the support."""
    people = [person for person in PEOPLE if world.handled[person]]
    if not people:
        return None
    person = world.rng.choice(people)
    return person, sorted(world.held[person]), tuple(world.handled[person])


def _how_many(world: _World) -> _Asked | None:
    if (holds := _who_holds(world)) is None:
        return None
    person, things, support = holds
    return f"How many objects is {person} carrying ?", NUMBERS[len(things)], support


def _what_holds(world: _World) -> _Asked | None:
    if (holds := _who_holds(world)) is None:
        return None
    person, things, support = holds
    return f"What is {person} carrying ?", " and ".join(things) or "nothing", support


class _Task(NamedTuple):
    ask: Callable[[_World], _Asked | None]
    sentences: tuple[int, int]  # the minimum and maximum length of a story
    with_objects: bool


_TASKS: dict[TaskName, _Task] = {
    "one supporting fact": _Task(_where_is_person, (2, 12), False),
    "two supporting facts": _Task(_where_is_object, (3, 20), True),
    "three supporting facts": _Task(_where_was_object, (5, 20), True),
    "yes or no": _Task(_is_person_in, (2, 12), False),
    "counting": _Task(_how_many, (3, 20), True),
    "lists": _Task(_what_holds, (3, 20), True),
}


def draw_question(task: TaskName, rng: random.Random) -> Question:
    """Generates a story and one question about it."""
    ask, sentences, with_objects = _TASKS[task]
    while True:
        world = _World(rng)
        world.tell(rng.randint(*sentences), with_objects)
        asked = ask(world)
        if asked is not None:
            question, answer, support = asked
            return Question(task, tuple(world.story), question, answer, tuple(sorted(set(support))))


def draw_questions(
    num_per_task: tuple[int, ...], seed: int, tasks: Sequence[TaskName] = TASKS
) -> tuple[list[Question], ...]:
    """Draws sets of questions, such as training, validation and test, without common stories.

    Args:
      num_per_task: for every set, the number of questions of each task.
      seed: the random seed; equal seeds give equal sets.
      tasks: the tasks.
    """
    rng = random.Random(seed)
    seen: set[tuple[str, ...]] = set()
    sets = []
    for num in num_per_task:
        questions = []
        for task in tasks:
            drawn = 0
            while drawn < num:
                question = draw_question(task, rng)
                if question.story not in seen:
                    questions.append(question)
                    drawn += 1
        seen |= {question.story for question in questions}
        sets.append(questions)
    return tuple(sets)
