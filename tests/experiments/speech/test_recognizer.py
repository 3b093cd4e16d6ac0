"""The recognizer: whole strings, padding, streams, and the delay of recognition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.rivals.cells import RIVALS
from experiments.speech import ctc
from experiments.speech.digit_strings import DigitStrings
from experiments.speech.recognizer import (
    Recognizer,
    label_log_probs,
    milliseconds_per_frame,
    recognition_delays,
    stream_digits,
)

STREAMING = Recognizer(8, num_layers=2, bidirectional=False, stride=3, dropout=0.5)
FRAMES = np.random.default_rng(0).normal(size=(3, 60, 5)).astype(np.float32)


def init(model: Recognizer):
    """Parameters large enough that some labels are not blank."""
    params = model.init(jax.random.key(0), FRAMES[:1])
    return jax.tree.map(lambda leaf: 3 * leaf, params)


@pytest.mark.parametrize("cell", RIVALS)
def test_streaming_agrees_with_the_whole_string(cell):
    model = STREAMING.clone(cell=cell)
    params = init(model)
    log_probs = label_log_probs(model, params, FRAMES, np.array([60, 60, 60]))
    labels = np.asarray(ctc.decode_greedy(log_probs, jnp.full(3, 20)).labels)
    assert (labels > 0).sum() > 10
    for row in range(3):
        steps = np.flatnonzero(labels[row])
        expected = [(labels[row, step] - 1, 3 * (step + 1)) for step in steps]
        assert list(stream_digits(model, params, FRAMES[row])) == expected


def test_streaming_reads_no_future_frames():
    """A digit that is yielded does not depend on later frames."""
    params = init(STREAMING)
    for digit, num_read in stream_digits(STREAMING, params, FRAMES[0]):
        changed = np.concatenate([FRAMES[0, :num_read], FRAMES[1, num_read:]])
        assert (digit, num_read) in list(stream_digits(STREAMING, params, changed))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(bidirectional):
    model = STREAMING.clone(bidirectional=bidirectional)
    params = init(model)
    lengths = np.array([60, 31, 2])
    noise = np.where(np.arange(60)[:, None] < lengths[:, None, None], FRAMES, np.nan)
    found = label_log_probs(model, params, noise, lengths)
    assert found.shape == (3, 20, 11)
    for row, length in enumerate(lengths):
        alone = label_log_probs(
            model, params, FRAMES[row : row + 1, :length], lengths[row : row + 1]
        )
        np.testing.assert_allclose(found[row, : length // 3], alone[0], atol=1e-5)
    np.testing.assert_allclose(jnp.exp(found).sum(-1), 1, atol=1e-5)


def test_no_frames():
    params = init(STREAMING)
    assert list(stream_digits(STREAMING, params, FRAMES[0, :2])) == []
    assert label_log_probs(STREAMING, params, FRAMES[:1, :0], np.array([0])).shape == (1, 0, 11)


def test_a_bidirectional_network_cannot_stream():
    model = STREAMING.clone(bidirectional=True)
    with pytest.raises(
        ValueError, match="bidirectional network cannot recognize a stream: it needs the end"
    ):
        next(stream_digits(model, init(model), FRAMES[0]))


def test_dropout_applies_in_training_only():
    params = init(STREAMING)
    once, again = (
        STREAMING.apply(params, FRAMES, train=True, rngs={"dropout": jax.random.key(k)})[1]
        for k in (0, 1)
    )
    assert np.any(np.asarray(once) != np.asarray(again))
    np.testing.assert_array_equal(*(STREAMING.apply(params, FRAMES)[1] for _ in range(2)))


def test_delays_count_frames_in_correctly_recognized_strings():
    labels = np.zeros((3, 10), int)
    labels[0, [2, 7]] = 4, 6  # digits 3 and 5, after 6 and 16 frames
    labels[1, [2, 7]] = 4, 5
    labels[2, 0] = 1
    strings = DigitStrings(
        frames=np.zeros((3, 20, 5)),
        lengths=np.full(3, 20),
        digits=np.array([[3, 5, -1], [3, 5, -1], [0, -1, -1]]),
        utterances=np.zeros((3, 3), int),
        ends=np.array([[5, 18, 0], [5, 18, 0], [9, 0, 0]]),
    )
    found = recognition_delays(ctc.Decoded(labels, np.zeros(3)), strings, stride=2)
    assert found.tolist() == [1, -2, -7]


def test_the_time_per_frame_is_measured():
    assert milliseconds_per_frame(STREAMING, init(STREAMING), FRAMES[0]) > 0
