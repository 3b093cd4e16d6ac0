"""Gradients of a batch in pieces and in half precision, compared with the whole batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.common.training import loop, make_training
from experiments.common.training.gradients import Mean, value_and_gradient
from experiments.common.training.metrics import read_records
from experiments.common.training.scale import ONE_DEVICE, Scale, ScaleError, use_scale
from experiments.seq2seq import buckets
from experiments.text_generation.streaming import cut_streams, make_streaming_training
from tests.fixtures import tiny_experiment

KEY = jax.random.key(0)


def ragged(params, batch, key):
    """Means over tokens, of which rows have unequal numbers, and over rows."""
    xs, exists = batch["xs"], batch["exists"]
    errors = jnp.where(exists, (xs @ params["w"] - 1) ** 2, 0)
    return Mean(errors.sum(), exists.sum()), jnp.mean(xs.sum((1, 2)) * params["b"])


def draw(rows: int, seed: int):
    keys = jax.random.split(jax.random.key(seed), 2)
    batch = {
        "xs": jax.random.normal(keys[0], (rows, 5, 3)),
        "exists": jax.random.bernoulli(keys[1], 0.4, (rows, 5)),
        "nothing": jnp.zeros((rows, 0)),
    }
    return {"w": jnp.arange(3.0), "b": jnp.float32(2.0)}, batch


@pytest.mark.parametrize(("pieces", "rows"), [(1, 3), (2, 8), (3, 3)])
def test_pieces_give_the_mean_of_the_whole_batch(pieces, rows):
    params, batch = draw(rows, seed=rows)

    def whole(params):
        mean, other = ragged(params, batch, KEY)
        return mean.total / jnp.maximum(mean.weight, 1) + other

    want = jax.value_and_grad(whole)(params)
    got = value_and_gradient(ragged, Scale(accumulate=pieces))(params, batch, KEY)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5), got, want)


def test_a_mean_of_nothing_is_zero():
    params, batch = draw(4, 0)
    batch["exists"] = jnp.zeros_like(batch["exists"])
    value, gradient = value_and_gradient(ragged, Scale(accumulate=2))(params, batch, KEY)
    assert np.isfinite(value)
    np.testing.assert_array_equal(gradient["w"], 0)


def test_each_piece_draws_anew():
    def noise(params, batch, key):
        return params * jax.random.normal(key)

    _, gradient = value_and_gradient(noise, Scale(accumulate=2))(1.0 * jnp.ones(()), batch, KEY)
    drawn = [jax.random.normal(key) for key in jax.random.split(KEY)]
    assert float(gradient) == pytest.approx(float(np.mean(drawn)), rel=1e-5)


batch = {"xs": jnp.zeros((4, 1))}


def test_half_precision_computes_in_it_and_keeps_float32():
    seen = []

    def loss(params, batch, key):
        seen.append((params.dtype, batch["xs"].dtype, batch["ids"].dtype))
        return jnp.mean(batch["xs"] @ params)

    examples = {"xs": jnp.ones((4, 3)), "ids": jnp.arange(4)}
    look = value_and_gradient(loss, Scale(dtype="bfloat16"))
    value, gradient = look(jnp.ones(3), examples, KEY)
    assert seen == [(jnp.bfloat16, jnp.bfloat16, jnp.int32)]
    assert value.dtype == gradient.dtype == jnp.float32
    np.testing.assert_allclose(gradient, 1.0, rtol=0.01)


@pytest.mark.slow
def test_a_training_in_pieces_and_in_half_precision(tmp_path):
    def scores(name: str, scale: Scale) -> list[float]:
        with use_scale(scale):
            tiny_experiment.main(tiny_experiment.Command(out=tmp_path / name))
        return [line["score"] for line in read_records(tmp_path / name / "run" / loop.METRICS)]

    whole = scores("whole", ONE_DEVICE)
    half = scores("half", Scale(dtype="bfloat16"))
    assert half != whole
    np.testing.assert_allclose(half, whole, rtol=0.02)
    np.testing.assert_allclose(scores("cut", Scale(accumulate=4)), whole, rtol=0.3)  # new dropout
    with pytest.raises(loop.SettingsMismatchError, match=r"accumulate = None there, 4 here"):
        scores("whole", Scale(accumulate=4))


def test_a_batch_that_cannot_be_cut_is_refused(tmp_path):
    with (
        use_scale(Scale(accumulate=3)),
        pytest.raises(ScaleError, match=r"A batch of 16 rows .* 3 equal pieces .* multiple of 3"),
    ):
        tiny_experiment.main(tiny_experiment.Command(out=tmp_path))
    assert not list(tmp_path.iterdir())


def test_batches_in_pieces():
    def totals(params, source, target, key):
        exists = target != 0
        losses = jnp.where(exists, (params[source] - 3.0) ** 2, 0)
        return losses.sum(), exists.sum(), exists.sum()

    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 9, rng.integers(1, 7)).tolist() for _ in range(24)]
    batches = buckets.make_batches(rows, rows, (4, 7), 8, seed=0)
    plan = buckets.bucketed_training(
        init_params=lambda key: jnp.arange(9.0),
        totals=totals,
        data=buckets.Data(batches, batches),
        widths=(4, 7),
        optimizer=optax.sgd(0.1),
        epochs=2,
    )
    assert plan.rows == 8
    start = plan.init(KEY)
    states = [plan.epoch(start, Scale(accumulate=pieces))[0] for pieces in (1, 2, 4)]
    assert not np.allclose(states[0].params, start.params)
    for state in states[1:]:
        np.testing.assert_allclose(state.params, states[0].params, rtol=1e-5)


def test_streams_in_pieces():
    symbols = np.random.default_rng(1).integers(0, 5, 400)
    streams = jnp.asarray(cut_streams(symbols, 8, 4, parts=2))

    def loss(params, state, segment):
        def read(state, symbol):
            state = jnp.tanh(params["a"] * state + params["e"][symbol])
            return state, state

        state, states = jax.lax.scan(read, state, segment[:-1])
        return jnp.mean((states - segment[1:]) ** 2), state

    plan = make_streaming_training(
        init_params=lambda key: {"a": jnp.float32(0.5), "e": jnp.arange(5.0) / 5},
        initial_state=jnp.zeros(8),
        loss=loss,
        evaluate=lambda params: {"score": params["a"]},
        score="score",
        optimizer=optax.sgd(0.1),
        streams=streams,
        epochs=2,
    )
    start = plan.init(KEY)
    whole, pieces = (plan.epoch(start, Scale(accumulate=k))[0] for k in (1, 4))
    for got, want in zip(jax.tree.leaves(pieces[:1]), jax.tree.leaves(whole[:1]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(pieces.carried, whole.carried, rtol=1e-5)


def test_scale_is_part_of_the_pure_epoch():
    plan = make_training(
        init_params=lambda key: jnp.zeros(()),
        loss=lambda params, batch, key: jnp.mean((params - batch) ** 2),
        evaluate=lambda params: {"score": -params},
        score="score",
        optimizer=optax.sgd(0.1),
        examples=jnp.arange(8.0),
        batch_size=4,
        epochs=1,
        patience=1,
    )
    state = plan.init(KEY)
    np.testing.assert_allclose(
        plan.epoch(state)[0].params, plan.epoch(state, Scale(accumulate=2))[0].params, rtol=1e-6
    )
