"""A step of a stream: what it computes, and what its state takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.speech.recognizer import Recognizer
from experiments.speech.spoken_digits import COEFFICIENTS
from experiments.streaming import digits, steps
from experiments.streaming.onnx_step import make_onnx_steps
from experiments.streaming.settings import Settings
from experiments.streaming.stream_cache import empty_cache
from experiments.streaming.text import Trained, bits_by_position, cut_pieces, one_hot
from experiments.text_generation.model import STEPS, CharacterModel

SYMBOLS = np.array([3, 1, 0, 2, 2, 3, 0, 1])
POSITIONS = (100, 1000, 10_000)


def made(cell: str) -> Trained:
    """A model with random parameters."""
    model = CharacterModel(cell, num_symbols=4, hidden_size=6)
    return Trained(model, model.init(jax.random.key(0)), {})


def start(kind: str, hidden_size: int):
    """The state before the first step."""
    if steps.KINDS[kind] == "transformer":
        return empty_cache(hidden_size)
    return steps.RIVALS[kind].initial_state((1, hidden_size), jnp.float32)


@pytest.mark.parametrize("kind", ["gru", "lstm", "transformer, window"])
def test_steps_are_those_of_the_model(kind):
    cell = steps.KINDS[kind]
    trained = made(cell)
    xs = jnp.asarray(one_hot(trained.model, SYMBOLS))
    _, logits = steps.read(cell, trained.network(), start(kind, 6), xs)
    _, expected = trained.model.read(
        trained.params, trained.model.initial_state(1), SYMBOLS[:, None]
    )
    np.testing.assert_allclose(logits, expected[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm", "transformer"])
def test_steps_are_those_of_the_recognizer(cell):
    model = Recognizer(8, 1, bidirectional=False, stride=digits.STRIDE, cell=cell)
    frames = jax.random.normal(jax.random.key(1), (6, COEFFICIENTS))
    params = model.init(jax.random.key(0), frames[None])
    network = digits.Recognized(model, params, {}).network()
    kind = "transformer, window" if cell == "transformer" else cell
    xs = frames.reshape(3, digits.STEP_SIZE)
    _, logits = steps.read(cell, network, start(kind, network.layer.hidden_size), xs)
    _, expected = model.apply(params, frames[None])
    log_probs = jax.nn.log_softmax(logits)
    np.testing.assert_allclose(log_probs, expected[0], rtol=1e-4, atol=1e-5)


def test_the_cache_grows_and_other_states_do_not():
    memory = {}
    for kind, cell in steps.KINDS.items():
        network = made(cell).network()
        xs = one_hot(made(cell).model, SYMBOLS)
        memory[kind] = [steps.Stream(kind, network, p, xs).memory() for p in POSITIONS]
    assert memory["gru"] == [6 * 4] * 3
    assert memory["lstm"] == [2 * 6 * 4] * 3
    window, growing = memory["transformer, window"], memory["transformer, growing"]
    assert window == [2 * 4 * 4 * 128 * 4 + 4] * 3  # keys and values, 2 blocks of 2 heads, D = 4
    assert growing == [2 * 4 * 4 * capacity * 4 + 4 for capacity in (128, 1024, 16_384)]


def test_a_stream_reads_on():
    trained = made("gru")
    stream = steps.Stream("gru", trained.network(), 5, one_hot(trained.model, SYMBOLS))
    before = np.array(stream.state)
    assert stream.call().shape == (4,)
    after = np.array(stream.state)
    assert not np.array_equal(before, after)
    assert stream.loop().shape == (len(SYMBOLS), 4)
    assert not np.array_equal(after, stream.state)


def test_all_streams_and_other_functions_are_timed():
    trained = made("lstm")
    xs = one_hot(trained.model, SYMBOLS)
    streams = {("lstm", 9): steps.Stream("lstm", trained.network(), 9, xs)}
    costs, seconds = steps.time_streams(streams, {"nothing": lambda: None}, 0.1)
    cost = costs["lstm", 9]
    assert cost.memory == 48
    assert cost.call > 0
    assert cost.loop > 0
    assert seconds["nothing"] >= 0


@pytest.mark.parametrize("way", ["run", "bound"])
def test_onnxruntime_takes_the_same_steps(way):
    pytest.importorskip("onnxruntime")
    trained = made("gru")
    run = make_onnx_steps(trained.params)[way]
    found = [np.array(run()) for _ in range(3)]
    _, expected = trained.model.read(
        trained.params, trained.model.initial_state(1), jnp.zeros((3, 1), int)
    )
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4, atol=1e-5)


def test_a_cache_of_a_whole_piece_forgets_nothing():
    settings = Settings(pieces=2, length=2 * STEPS + 5)
    pieces = cut_pieces(np.random.default_rng(0).integers(0, 4, 400), settings)
    assert pieces.shape == (2, 2 * STEPS + 1)
    trained = made("transformer")
    growing, window = (bits_by_position(trained, pieces, c) for c in (2 * STEPS, None))
    assert growing.shape == (2 * STEPS,)
    # The window has as many steps as the first segment, so it forgets from the second one on.
    np.testing.assert_allclose(growing[:STEPS], window[:STEPS], rtol=1e-4)
    assert not np.allclose(growing[STEPS + 1 :], window[STEPS + 1 :], rtol=1e-4)
    _, logits = trained.model.read(trained.params, None, jnp.asarray(pieces[:, :-1].T))
    nats = -jax.nn.log_softmax(logits)
    expected = np.take_along_axis(np.asarray(nats), pieces[:, 1:].T[..., None], 2) / np.log(2)
    np.testing.assert_allclose(growing, expected.mean((1, 2)), rtol=1e-3)
