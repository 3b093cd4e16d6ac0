"""CTC decoding, against an enumeration of all paths and a search with a dictionary."""

import itertools
from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.common.data.text import pad
from experiments.speech import ctc


def draw_log_probs(seed: int, shape: tuple[int, ...], sharpness: float = 2.0) -> jax.Array:
    return jax.nn.log_softmax(sharpness * jax.random.normal(jax.random.key(seed), shape))


def spelled_by(path: tuple[int, ...]) -> tuple[int, ...]:
    """Merges repetitions, then removes blanks."""
    return tuple(label for label, _ in itertools.groupby(path) if label != ctc.BLANK)


def all_paths(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of each label sequence that T frames can spell."""
    total: dict[tuple[int, ...], float] = defaultdict(float)
    times, labels = log_probs.shape
    for path in itertools.product(range(labels), repeat=times):
        total[spelled_by(path)] += float(np.exp(log_probs[np.arange(times), path].sum()))
    return total


def naive_search(log_probs: np.ndarray, num_beams: int) -> tuple[tuple[int, ...], float]:
    """Prefix beam search with a dictionary from prefixes to (blank, label) probabilities."""
    beams = {(): (1.0, 0.0)}
    for frame in np.exp(log_probs.astype(float)):
        found: dict[tuple[int, ...], np.ndarray] = defaultdict(lambda: np.zeros(2))
        for prefix, (blank, label) in beams.items():
            found[prefix] += [(blank + label) * frame[ctc.BLANK], 0]
            if prefix:
                found[prefix] += [0, label * frame[prefix[-1]]]
            for new in range(1, len(frame)):
                before = blank if prefix[-1:] == (new,) else blank + label
                found[(*prefix, new)] += [0, before * frame[new]]
        kept = sorted(found.items(), key=lambda item: -item[1].sum())[:num_beams]
        beams = {prefix: tuple(chances) for prefix, chances in kept}
    best = max(beams, key=lambda prefix: sum(beams[prefix]))
    return best, float(np.log(sum(beams[best])))


@given(seed=st.integers(0, 1000), times=st.integers(1, 6), labels=st.integers(2, 3))
def test_the_search_is_exact_if_all_prefixes_fit(seed, times, labels):
    log_probs = draw_log_probs(seed, (6, labels), 1.0)
    expected = all_paths(np.asarray(log_probs[:times]))
    found = ctc.prefix_beam_search(log_probs[None], jnp.array([times]), num_beams=130)
    best = max(expected, key=lambda said: expected[said])
    assert tuple(found.to_lists()[0]) == best
    np.testing.assert_allclose(found.scores[0], np.log(expected[best]), atol=1e-5)


@given(seed=st.integers(0, 1000), num_beams=st.sampled_from([1, 3, 8]))
def test_the_search_agrees_with_a_dictionary(seed, num_beams):
    log_probs = draw_log_probs(seed, (4, 16, 5))
    lengths = jnp.array([16, 9, 1, 0])
    found = ctc.prefix_beam_search(log_probs, lengths, num_beams=num_beams)
    for row in range(4):
        expected = naive_search(np.asarray(log_probs[row, : lengths[row]]), num_beams)
        assert tuple(found.to_lists()[row]) == expected[0]
        np.testing.assert_allclose(found.scores[row], expected[1], rtol=1e-4, atol=1e-4)


def test_the_score_of_the_search_agrees_with_the_loss():
    """Except for the paths that left the beam, less than 0.5% here."""
    log_probs = draw_log_probs(0, (3, 12, 4), 4.0)
    lengths = jnp.array([12, 9, 6])
    found = ctc.prefix_beam_search(log_probs, lengths, num_beams=100)
    labels = pad(found.to_lists(), 12)
    past = jnp.arange(12) >= lengths[:, None]
    losses = optax.ctc_loss(log_probs, past.astype(float), labels, (labels == 0).astype(float))
    np.testing.assert_allclose(found.scores, -losses, atol=5e-3)


@given(path=st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_greedy_decoding_merges_repetitions_and_removes_blanks(path):
    log_probs = jnp.log(0.05 + 0.8 * jnp.eye(4)[pad([path], 12)])
    found = ctc.decode_greedy(log_probs, jnp.array([len(path)]))
    assert tuple(found.to_lists()[0]) == spelled_by(tuple(path))
    np.testing.assert_allclose(found.scores[0], len(path) * np.log(0.85), rtol=1e-5)
    # A label is added at the first frame of its run.
    for time in np.flatnonzero(found.labels[0]):
        assert path[time] == found.labels[0, time]
        assert time == 0 or path[time - 1] != path[time]


def test_many_paths_outweigh_the_best_one():
    """The case for the search: the best path is empty, but one label is more likely in total."""
    log_probs = jnp.log(jnp.array([[[0.6, 0.4], [0.6, 0.4]]]))
    lengths = jnp.array([2])
    assert ctc.decode_greedy(log_probs, lengths).to_lists() == [[]]  # 0.36
    found = ctc.prefix_beam_search(log_probs, lengths, num_beams=4)
    assert found.to_lists() == [[1]]  # 0.64
    np.testing.assert_allclose(np.exp(found.scores), 0.64, rtol=1e-6)


def test_a_prefix_that_leaves_the_beam_and_returns_is_one_prefix():
    """With few beams, prefixes drop out while longer ones stay."""
    log_probs = draw_log_probs(3, (20, 40, 3), 1.0)
    found = ctc.prefix_beam_search(log_probs, jnp.full(20, 40), num_beams=3)
    for row in range(20):
        expected = naive_search(np.asarray(log_probs[row]), 3)
        assert tuple(found.to_lists()[row]) == expected[0]
        np.testing.assert_allclose(found.scores[row], expected[1], rtol=1e-4)


@pytest.mark.parametrize(
    "decode", [ctc.decode_greedy, lambda x, n: ctc.prefix_beam_search(x, n, 4)]
)
def test_no_frames(decode):
    found = decode(jnp.zeros((2, 0, 5)), jnp.zeros(2, int))
    assert found.to_lists() == [[], []]
    np.testing.assert_array_equal(found.scores, [0, 0])


def test_padding_changes_nothing():
    log_probs = draw_log_probs(1, (2, 25, 6))
    lengths = jnp.array([12, 20])
    noise = jnp.where(jnp.arange(25)[:, None] < lengths[:, None, None], log_probs, jnp.nan)
    for decode in (ctc.decode_greedy, lambda x, n: ctc.prefix_beam_search(x, n, 4)):
        for one, other in zip(decode(log_probs, lengths), decode(noise, lengths), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_loss_sums_all_paths():
    """Two steps, one digit: the paths are digit and blank, blank and digit, and digit twice."""
    log_probs = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (1, 3, 11)))
    first, second = np.exp(log_probs[0, :2])
    chance = first[8] * second[0] + first[0] * second[8] + first[8] * second[8]
    loss = ctc.ctc_loss(log_probs, jnp.array([2]), jnp.array([[7, -1, -1]]))
    np.testing.assert_allclose(loss, -np.log(chance), rtol=1e-4)
