"""How many trials are given out at once, and in which order."""

import numpy as np

from grujax.sweep.executors.schedule import Schedule
from grujax.sweep.executors.tasks import Outcome
from grujax.sweep.local import CHUNK_SECONDS, Work


def schedule(*sizes, chunk=None, strategy="map", devices=1, retries=2):
    ends = np.cumsum(sizes)
    works = [Work(None, np.arange(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    return Schedule(works, chunk, strategy, devices, retries)


def simulate(plan, workers, seconds, setup=0.0):
    """The sizes of all pieces, given out one by one, if a trial takes so many seconds."""
    sizes, covered = [], []
    while (piece := plan.next(workers, 0)) is not None:
        sizes.append(len(piece.indices))
        covered += piece.indices.tolist()
        outcome = Outcome(("host", 1, 2), seconds=seconds * sizes[-1], setup=setup)
        plan.succeed(piece, outcome)
    assert sorted(covered) == list(range(len(covered)))
    return sizes


def test_a_first_trial_shows_the_speed_and_the_last_pieces_are_small():
    sizes = simulate(schedule(1000), workers=2, seconds=1.0)
    assert sizes[0] == 1
    assert max(sizes) == CHUNK_SECONDS
    assert sizes[-1] == 1
    assert sizes[1:] == sorted(sizes[1:], reverse=True)


def test_more_workers_get_smaller_pieces():
    assert max(simulate(schedule(1000), workers=100, seconds=1.0)) == 5


def test_short_trials_are_not_given_out_one_by_one():
    sizes = simulate(schedule(10_000), workers=2, seconds=0.001)
    assert len(sizes) < 20
    assert min(sizes[1:-1]) == 200


def test_a_new_process_for_each_task_gets_more_trials():
    sizes = simulate(schedule(10_000), workers=2, seconds=1.0, setup=20.0)
    assert max(sizes) == 180


def test_pieces_fill_the_devices_of_a_worker():
    assert {size % 4 for size in simulate(schedule(64), 2, 1.0) if size > 1} <= {0, 1, 2, 3}
    assert {size % 4 for size in simulate(schedule(64, devices=4), 2, 1.0)} == {0}


def test_groups_follow_one_another():
    assert simulate(schedule(4, 3, chunk=2), 2, 1.0) == [2, 2, 2, 1]


def test_vmap_gives_each_worker_an_equal_share_of_each_group():
    plan = schedule(10, 7, strategy="vmap", devices=2)
    assert simulate(plan, 3, 1.0) == [4, 4, 2, 4, 3]
    assert [plan.capacity(group, 10) for group in (0, 1)] == [4, 4]


def test_a_suspect_has_its_last_attempt_alone():
    plan = schedule(3, chunk=1)
    first = plan.next(2, 0)
    for _ in range(2):
        plan.suspect(first, "died")
        if first.failures == 1:
            assert plan.next(2, 1) is first  # at once
    others = [plan.next(2, 1) for _ in range(3)]
    assert [piece and piece.indices.tolist() for piece in others] == [[1], [2], None]
    assert plan.next(2, 0) is first
    plan.suspect(first, "died")
    assert [failure.indices.tolist() for failure in plan.failures] == [[0]]
    assert plan.next(2, 0) is None
