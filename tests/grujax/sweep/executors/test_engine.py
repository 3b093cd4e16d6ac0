"""What is known of an executor, and who shuts it down."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from grujax.sweep.executors import Engine
from grujax.sweep.executors.tasks import Outcome
from tests.fixtures.executors import Cluster, Silent


def test_the_room_follows_the_number_of_workers():
    assert Engine(ThreadPoolExecutor(5)).room == 12
    assert Engine(Cluster(workers=3)).room == 8
    unknown = Engine(Silent())
    assert (unknown.workers, unknown.room) == (0, 16)


class Host:
    """An executor that does not say how many workers it has."""

    def __init__(self):
        self.count = 0

    def submit(self, function, task):
        self.count += 1
        outcome = Outcome(("host", self.count, 0))
        return type("Future", (), {"result": lambda future: outcome, "done": lambda future: True})()


def test_workers_that_are_not_announced_are_counted():
    engine = Engine(Host())
    for count in range(1, 30):
        engine.outcome(engine.submit(None))
        assert engine.workers == count
    engine.remake()
    assert engine.workers == 0


def test_only_what_the_factory_made_is_shut_down():
    given, made = Cluster(), Cluster()
    Engine(given).close(wait=True)
    engine = Engine(lambda: made)
    engine.start()
    engine.close(wait=True)
    assert (given.is_shut, made.is_shut) == (False, True)


def test_a_class_is_a_factory():
    engine = Engine(Cluster)
    assert engine.can_be_remade
    engine.start()
    assert engine.workers == 2


@pytest.mark.parametrize("value", [None, 3, "threads", object()])
def test_what_is_no_executor_is_refused(value):
    with pytest.raises(ValueError, match="`executor` must have a method `submit`"):
        Engine(value)
