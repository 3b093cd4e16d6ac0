"""The recogniser: whole, padded and frame by frame, and the delays of what it hears."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.speech import ctc
from experiments.speech.digit_strings import Strings
from experiments.speech.recognizer import Recogniser, delays, hear, listen, milliseconds_a_frame

STREAMING = Recogniser(8, num_layers=2, bidirectional=False, stride=3, dropout=0.5)
FRAMES = np.random.default_rng(0).normal(size=(3, 60, 5)).astype(np.float32)


def init(model: Recogniser):
    """Parameters that hear something now and then."""
    params = model.init(jax.random.key(0), FRAMES[:1])
    return jax.tree.map(lambda leaf: 3 * leaf, params)


def test_listening_hears_what_the_whole_gives():
    params = init(STREAMING)
    log_probs = hear(STREAMING, params, FRAMES, np.array([60, 60, 60]))
    labels = np.asarray(ctc.greedy(log_probs, jnp.full(3, 20)).labels)
    assert (labels > 0).sum() > 10
    for row in range(3):
        steps = np.flatnonzero(labels[row])
        expected = [(labels[row, step] - 1, 3 * (step + 1)) for step in steps]
        assert list(listen(STREAMING, params, FRAMES[row])) == expected


def test_listening_answers_at_once():
    """What is yielded depends on no frame that has not come."""
    params = init(STREAMING)
    for digit, come in listen(STREAMING, params, FRAMES[0]):
        changed = np.concatenate([FRAMES[0, :come], FRAMES[1, come:]])
        assert (digit, come) in list(listen(STREAMING, params, changed))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(bidirectional):
    model = STREAMING.clone(bidirectional=bidirectional)
    params = init(model)
    lengths = np.array([60, 31, 2])
    noise = np.where(np.arange(60)[:, None] < lengths[:, None, None], FRAMES, np.nan)
    found = hear(model, params, noise, lengths)
    assert found.shape == (3, 20, 11)
    for row, length in enumerate(lengths):
        alone = hear(model, params, FRAMES[row : row + 1, :length], lengths[row : row + 1])
        np.testing.assert_allclose(found[row, : length // 3], alone[0], atol=1e-5)
    np.testing.assert_allclose(jnp.exp(found).sum(-1), 1, atol=1e-5)


def test_no_frames():
    params = init(STREAMING)
    assert list(listen(STREAMING, params, FRAMES[0, :2])) == []
    assert hear(STREAMING, params, FRAMES[:1, :0], np.array([0])).shape == (1, 0, 11)


def test_a_network_of_both_directions_does_not_listen():
    model = STREAMING.clone(bidirectional=True)
    with pytest.raises(ValueError, match="has to know the end"):
        next(listen(model, init(model), FRAMES[0]))


def test_dropout_is_for_training():
    params = init(STREAMING)
    once, again = (
        STREAMING.apply(params, FRAMES, train=True, rngs={"dropout": jax.random.key(k)})[1]
        for k in (0, 1)
    )
    assert np.any(np.asarray(once) != np.asarray(again))
    np.testing.assert_array_equal(*(STREAMING.apply(params, FRAMES)[1] for _ in range(2)))


def test_delays_are_counted_in_frames_where_all_is_right():
    labels = np.zeros((3, 10), int)
    labels[0, [2, 7]] = 4, 6  # digits 3 and 5, after 6 and 16 frames
    labels[1, [2, 7]] = 4, 5
    labels[2, 0] = 1
    strings = Strings(
        frames=np.zeros((3, 20, 5)),
        lengths=np.full(3, 20),
        digits=np.array([[3, 5, -1], [3, 5, -1], [0, -1, -1]]),
        utterances=np.zeros((3, 3), int),
        ends=np.array([[5, 18, 0], [5, 18, 0], [9, 0, 0]]),
    )
    found = delays(ctc.Decoded(labels, np.zeros(3)), strings, stride=2)
    assert found.tolist() == [1, -2, -7]


def test_a_time_is_taken():
    assert milliseconds_a_frame(STREAMING, init(STREAMING), FRAMES[0]) > 0
