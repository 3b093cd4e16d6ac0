"""Dynamic time warping, against two loops over the cells."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from experiments.speech.dtw import dtw_distances, warping_path


def naive_distance(one: np.ndarray, other: np.ndarray) -> float:
    cells = np.full((len(one) + 1, len(other) + 1), np.inf)
    cells[0, 0] = 0
    for i in range(len(one)):
        for j in range(len(other)):
            before = min(cells[i, j + 1], cells[i + 1, j], cells[i, j])
            cells[i + 1, j + 1] = np.linalg.norm(one[i] - other[j]) + before
    return cells[-1, -1] / (len(one) + len(other))


@given(
    seed=st.integers(0, 1000),
    sizes=st.sampled_from([(7, 9), (5, 2), (1, 1)]),  # few, because each pair compiles
    data=st.data(),
)
def test_distances_match_the_loops(seed, sizes, data):
    rng = np.random.default_rng(seed)
    sides = []
    for count, size in zip((2, 3), sizes, strict=True):
        lengths = data.draw(st.lists(st.integers(1, size), min_size=count, max_size=count))
        sides.append((rng.normal(size=(count, size, 2)).astype(np.float32), np.array(lengths)))
    distances = dtw_distances(*sides[0], *sides[1])
    assert distances.shape == (2, 3)
    for i, (one, length) in enumerate(zip(*sides[0], strict=True)):
        for j, (other, other_length) in enumerate(zip(*sides[1], strict=True)):
            expected = naive_distance(one[:length], other[:other_length])
            np.testing.assert_allclose(distances[i, j], expected, rtol=1e-4, atol=1e-4)


def test_a_stretched_sequence_is_close():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 8, 3)).astype(np.float32)
    stretched = np.repeat(first, 2, axis=0)
    others = np.stack([np.concatenate([first, 0 * first]), np.concatenate([second, 0 * second])])
    found = np.asarray(dtw_distances(stretched[None], np.array([16]), others, np.array([8, 8])))
    assert found[0, 0] < 1e-3
    assert found[0, 1] > 0.5


@given(seed=st.integers(0, 1000), sizes=st.tuples(st.integers(1, 7), st.integers(1, 9)))
def test_the_path_is_the_cheapest(seed, sizes):
    rng = np.random.default_rng(seed)
    one, other = (rng.normal(size=(size, 2)) for size in sizes)
    costs = np.linalg.norm(one[:, None] - other, axis=-1)
    first, second = warping_path(costs)
    np.testing.assert_allclose(costs[first, second].sum() / sum(sizes), naive_distance(one, other))
    steps = np.stack([np.diff(first), np.diff(second)])
    assert np.all((steps >= 0) & (steps <= 1) & (steps.sum(0) > 0))
    assert (first[0], second[0], first[-1], second[-1]) == (0, 0, sizes[0] - 1, sizes[1] - 1)
