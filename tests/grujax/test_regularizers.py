"""Zoneout, and dropout of the state and of the inputs: masks, and arithmetic everywhere."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import grujax
from grujax.implementations.types import StepMasks
from grujax.regularizers import draw_masks
from tests.helpers import (
    DTYPES_OF,
    IMPLEMENTATIONS,
    Case,
    Draw,
    assert_close,
    assert_equal,
    best_dtype,
    form_and_direction,
    inputs_of,
    one_form_and_direction,
)
from tests.reference import reference_gradients, reference_outputs

KEY = jax.random.key(7)
every_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
CASE = Case("regularized", steps=37, batch=(3,), lengths=(37, 0, 20), resets=True)
MASKED = Case("regularized, masked", steps=37, lengths=(37, 0, 20), resets=True, mask=True)
LONG = Case("regularized long", steps=259, batch=(16,), lengths=(259, *range(15)), resets=True)
RATES = {
    "zoneout": {"zoneout": 0.3},
    "recurrent dropout": {"recurrent_dropout": 0.4},
    "both": {"zoneout": 0.3, "recurrent_dropout": 0.4},
}


def case_of(rates: str) -> Case:
    """Both regularizers meet a mask too."""
    return MASKED if rates == "both" else CASE


def outputs_and_gradients(run, inputs):
    outputs, pull_back = jax.vjp(
        lambda params, xs, h0: run(inputs._replace(params=params, xs=xs, h0=h0)),
        inputs.params,
        inputs.xs,
        inputs.h0,
    )
    return outputs, pull_back((inputs.h_last_bar, inputs.hs_bar))


@cache
def reference(rates, is_training, reset_after, reverse, dtype):
    """Outputs and gradients with the masks that `gru` draws in this dtype."""
    inputs = inputs_of(case_of(rates), reset_after)
    zoneout, dropout = (RATES[rates].get(name, 0) for name in ("zoneout", "recurrent_dropout"))
    key, h0 = KEY if is_training else None, jnp.asarray(inputs.h0, dtype)
    masks = draw_masks(StepMasks(), key, zoneout, dropout, CASE.steps, h0)
    zoneout_mask, dropout_mask = masks.kept, masks.recurrent_dropout_mask
    options = {
        "zoneout_mask": None if zoneout_mask is None else np.asarray(zoneout_mask),
        "zoneout": 0.0 if masks.zoneout_rate is None else float(masks.zoneout_rate),
        "dropout_mask": None if dropout_mask is None else np.asarray(dropout_mask),
    }
    assert not is_training or zoneout_mask is not None or dropout_mask is not None
    run = partial(reference_outputs, inputs, reverse), partial(reference_gradients, inputs, reverse)
    return tuple(function(**options) for function in run)


def run_gru(inputs, *, reverse, implementation, **regularizers):
    return grujax.gru(
        inputs.params,
        inputs.xs,
        inputs.h0,
        lengths=inputs.lengths,
        mask=inputs.mask,
        resets=inputs.resets,
        reset_state=inputs.h0,
        reverse=reverse,
        implementation=implementation,
        **regularizers,
    )


@every_implementation
@form_and_direction
@pytest.mark.parametrize("key", [KEY, None], ids=["training", "evaluation"])
@pytest.mark.parametrize("rates", RATES)
def test_outputs_and_gradients_equal_the_reference_with_these_masks(
    x64, rates, key, reset_after, reverse, implementation
):
    dtype = best_dtype(implementation)
    inputs = jax.tree.map(jnp.asarray, inputs_of(case_of(rates), reset_after, dtype))
    options = {"reverse": reverse, "implementation": implementation, "key": key, **RATES[rates]}
    got = jax.jit(partial(outputs_and_gradients, partial(run_gru, **options)))(inputs)
    assert_close(got, reference(rates, key is not None, reset_after, reverse, dtype), dtype)


@form_and_direction
@pytest.mark.parametrize("key", [KEY, None], ids=["training", "evaluation"])
def test_long_sequences_agree_with_plain(x64, key, reset_after, reverse):
    """Where the scan recomputes its gates."""
    inputs = inputs_of(LONG, reset_after)
    got, want = (
        jax.jit(
            partial(
                outputs_and_gradients,
                partial(run_gru, reverse=reverse, implementation=name, key=key, **RATES["both"]),
            )
        )(inputs)
        for name in ("scan", "plain")
    )
    assert_close(got, want, "float64")


@every_implementation
@one_form_and_direction
@pytest.mark.parametrize(
    "key", [KEY, pytest.param(None, marks=pytest.mark.slow)], ids=["training", "evaluation"]
)
def test_derivatives_equal_finite_differences(x64, key, reset_after, reverse, implementation):
    if "float64" not in DTYPES_OF[implementation]:
        pytest.skip("finite differences need float64")
    case = Case("regularized differences", steps=4, batch=(2,), lengths=(4, 2), hidden_size=2)
    inputs = inputs_of(case, reset_after)

    @jax.jit
    def loss(params, xs, h0):
        given = inputs._replace(params=params, xs=xs, h0=h0)
        options = {"reverse": reverse, "implementation": implementation, "key": key}
        h_last, hs = run_gru(given, **options, **RATES["both"])
        return jnp.sum(jnp.sin(h_last)) + jnp.sum(hs * inputs.hs_bar)

    check_grads(loss, (inputs.params, inputs.xs, inputs.h0), order=2, modes=["rev"], eps=1e-5)


@every_implementation
def test_the_padding_changes_nothing_under_regularizers(x64, implementation):
    clean = inputs_of(CASE, dtype=best_dtype(implementation))
    exists = np.arange(CASE.steps)[:, None] < clean.lengths
    dirty = clean._replace(xs=np.where(exists[..., None], clean.xs, np.nan))
    options = {"reverse": False, "implementation": implementation, "key": KEY, **RATES["both"]}
    run = jax.jit(partial(outputs_and_gradients, partial(run_gru, **options)))
    assert_equal(run(dirty), run(clean))


@every_implementation
def test_bfloat16_stays_bfloat16(implementation):
    inputs = inputs_of(CASE, dtype="bfloat16")
    options = {"reverse": False, "implementation": implementation, **RATES["both"]}
    for key in (KEY, None):
        outputs = run_gru(inputs, key=key, **options)
        assert {leaf.dtype.name for leaf in outputs} == {"bfloat16"}


# --- zoneout ------------------------------------------------------------------------------------


@every_implementation
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_zoneout_keeps_this_share_of_units_bit_for_bit(dtype, implementation):
    draw = Draw("zoneout", dtype)
    params, xs = draw.params(4, 64), draw.normal(50, 8, 4)
    h0 = draw.normal(8, 64)
    keeps = np.asarray(draw_masks(StepMasks(), KEY, 0.3, 0, 50, jnp.asarray(h0)).kept)
    assert abs(keeps.mean() - 0.3) < 0.02  # 25,600 draws: 7 standard deviations
    for axis in (0, 2):  # drawn anew for every step and unit, and for every row
        assert np.all(keeps.any(axis))
        assert not np.any(keeps.all(axis))
    assert np.all(np.any(keeps[:, 1:] != keeps[:, :1], axis=(0, 2)))
    _, hs = grujax.gru(params, xs, h0, zoneout=0.3, key=KEY, implementation=implementation)
    before = np.concatenate([h0[None], hs[:-1]])
    assert_equal(hs[keeps], before[keeps])
    if dtype == "float32":
        assert np.mean(hs[~keeps] == before[~keeps]) < 0.01  # saturated units


def test_zoneouts_evaluation_is_the_expectation_of_its_training(x64):
    draw = Draw("expectation")
    params, x, h = draw.params(4, 8), draw.normal(1, 4), draw.normal(8)
    expected, _ = grujax.gru(params, x, h, zoneout=0.3)
    plain, _ = grujax.gru(params, x, h)
    np.testing.assert_allclose(expected, 0.3 * h + 0.7 * plain, rtol=1e-12)
    keys = jax.random.split(KEY, 20_000)
    drawn, _ = jax.jit(jax.vmap(lambda key: grujax.gru(params, x, h, zoneout=0.3, key=key)))(keys)
    spread = np.std(drawn, axis=0) / len(keys) ** 0.5
    assert np.all(np.abs(np.mean(drawn, axis=0) - expected) < 5 * spread + 1e-12)


# --- recurrent dropout --------------------------------------------------------------------------


def shows_its_mask(units):
    """A GRU with h' = tanh(seen / 2 + 1), each unit by itself, whatever the input."""
    zeros = jnp.zeros((units, units))
    return grujax.GRUParams(
        w_x=jnp.zeros((3, 1, units)),
        w_h=jnp.stack([zeros, zeros, jnp.eye(units) / 2]),
        b_x=jnp.stack([jnp.full(units, 40.0), jnp.full(units, -40.0), jnp.ones(units)]),
        b_hn=jnp.zeros(units),
    )


@every_implementation
def test_each_row_and_unit_has_one_dropout_mask_at_all_steps(implementation):
    xs, h0 = jnp.zeros((9, 40, 1)), jnp.full((40, 64), 0.5)
    rate = 0.4
    _, hs = grujax.gru(
        shows_its_mask(64), xs, h0, recurrent_dropout=rate, key=KEY, implementation=implementation
    )
    dropped = np.isclose(hs, np.tanh(1), rtol=1e-6)
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[0], dropped.shape))
    assert abs(dropped[0].mean() - rate) < 0.05  # 2,560 draws: 5 standard deviations
    assert np.any(dropped[0] != dropped[0][:1])  # a mask of its own for each row
    before = np.concatenate([h0[None], hs[:-1]])
    want = np.tanh(before / (1 - rate) / 2 + 1)
    np.testing.assert_allclose(hs[~dropped], want[~dropped], rtol=1e-6)


@every_implementation
def test_dropout_leaves_the_carried_state_alone(implementation):
    draw = Draw("carried", "float32")
    params, h0 = draw.params(2, 16), draw.normal(3, 16)
    params = grujax.GRUParams(
        params.w_x, params.w_h, params.b_x + np.float32([[0], [200], [0]]), params.b_hn
    )
    xs = draw.normal(5, 3, 2)
    options = {"recurrent_dropout": 0.5, "key": KEY, "implementation": implementation}
    assert_equal(grujax.gru(params, xs, h0, **options)[0], h0)


# --- input dropout ------------------------------------------------------------------------------


def shows_its_inputs(size):
    """A GRU with h' = tanh(x) for each unit."""
    zeros = jnp.zeros((size, size))
    return grujax.GRUParams(
        w_x=jnp.stack([zeros, zeros, jnp.eye(size)]),
        w_h=jnp.zeros((3, size, size)),
        b_x=jnp.zeros((3, size)).at[1].set(-100.0),
        b_hn=jnp.zeros(size),
    )


def inputs_seen(hs):
    return np.arctanh(np.asarray(hs))


def test_each_row_and_feature_has_one_input_mask_at_all_steps():
    xs, rate = jnp.full((9, 40, 64), 0.5), 0.25
    _, hs = grujax.gru(shows_its_inputs(64), xs, input_dropout=rate, key=KEY)
    seen = inputs_seen(hs)
    np.testing.assert_array_equal(seen, np.broadcast_to(seen[0], seen.shape))
    dropped = seen[0] == 0
    assert abs(dropped.mean() - rate) < 0.05  # 2,560 draws: 5 standard deviations
    np.testing.assert_allclose(seen[0][~dropped], 0.5 / (1 - rate), rtol=1e-5)
    assert np.any(dropped != dropped[:1])  # a mask of its own for each row
    assert np.any(dropped != dropped[:, :1])


def test_input_dropout_acts_in_training_alone_and_on_gradients_too():
    params, xs = shows_its_inputs(64), jnp.full((3, 2, 64), 0.5)
    assert_equal(grujax.gru(params, xs, input_dropout=0.5), grujax.gru(params, xs))

    @jax.jit
    def gradient(rate):
        return jax.grad(lambda xs: grujax.gru(params, xs, input_dropout=rate, key=KEY)[1].sum())(xs)

    seen = grujax.gru(params, xs, input_dropout=0.5, key=KEY)[1]
    np.testing.assert_array_equal(gradient(0.5) == 0, seen == 0)
    assert np.all(gradient(0.0) != 0)


def test_both_directions_read_the_same_dropped_inputs_and_each_layer_drops_its_own():
    params, xs = shows_its_inputs(64), jnp.full((3, 2, 64), 0.5)
    options = {"input_dropout": 0.5, "key": KEY}
    _, (forward, backward) = grujax.bidirectional_gru(
        (params, params), xs, merge=lambda *both: both, **options
    )
    assert_close(forward, backward, "float32")
    _, (first, second) = grujax.stacked_gru([params, params], xs, return_all_layers=True, **options)
    assert abs(np.mean(first == 0) - 0.5) < 0.2
    dropped = np.asarray(second == 0)
    assert np.all(dropped[np.asarray(first == 0)])
    assert abs(dropped.mean() - 0.75) < 0.2
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[0], dropped.shape))


# --- keys, rates and costs ----------------------------------------------------------------------


def test_the_same_key_draws_the_same_and_another_key_does_not():
    inputs = inputs_of(CASE, dtype="float32")
    run = partial(run_gru, inputs, reverse=False, implementation=None)
    for rates in RATES.values():
        _, first = run(key=KEY, **rates)
        assert_equal(run(key=KEY, **rates)[1], first)
        assert np.any(run(key=jax.random.key(8), **rates)[1] != first)


def test_directions_and_layers_draw_their_own_masks():
    params, xs = shows_its_mask(64), jnp.zeros((3, 2, 1))
    options = {"recurrent_dropout": 0.5, "key": KEY}
    _, hs = grujax.bidirectional_gru((params, params), xs, **options)
    forward, backward = np.split(np.asarray(hs[1]), 2, axis=-1)
    assert np.any(np.isclose(forward, np.tanh(1)) != np.isclose(backward, np.tanh(1)))
    wide = grujax.GRUParams(
        jnp.zeros((3, 64, 64)), params.w_h, params.b_x, params.b_hn
    )  # the same, above the first layer
    (first, second), _ = grujax.stacked_gru([params, wide], xs, **options)
    assert np.any(np.isclose(first, np.tanh(1)) != np.isclose(second, np.tanh(1)))


@every_implementation
def test_rates_of_zero_leave_the_program_unchanged(implementation):
    inputs = inputs_of(CASE, dtype="float32")
    run = partial(run_gru, reverse=False, implementation=implementation)
    without = jax.make_jaxpr(run)(inputs)
    for zero in (0, 0.0, np.float32(0), jnp.zeros(())):
        rates = {"zoneout": zero, "recurrent_dropout": zero, "input_dropout": zero, "key": KEY}
        assert str(jax.make_jaxpr(partial(run, **rates))(inputs)) == str(without)
    evaluation = jax.make_jaxpr(partial(run, recurrent_dropout=0.5, input_dropout=0.5))(inputs)
    assert str(evaluation) == str(without)


@every_implementation
@pytest.mark.parametrize("key", [KEY, None], ids=["training", "evaluation"])
def test_rates_may_be_traced_and_mapped_over(x64, key, implementation):
    dtype = best_dtype(implementation)
    inputs = inputs_of(CASE, dtype=dtype)
    rates = jnp.array([0.0, 0.3, 0.6])

    def run(rate):
        options = {"reverse": False, "implementation": implementation, "key": key}
        return run_gru(inputs, zoneout=rate, recurrent_dropout=rate, **options)

    got = jax.jit(jax.vmap(run))(rates)
    want = [run(float(rate)) for rate in rates]
    assert_close(got, jax.tree.map(lambda *leaves: jnp.stack(leaves), *want), dtype)
    slope = jax.grad(lambda rate: jnp.sum(run(rate)[1]))(0.3)
    assert slope == 0


@pytest.mark.parametrize("name", ["zoneout", "recurrent_dropout", "input_dropout"])
@pytest.mark.parametrize("rate", [-0.1, 1.0, np.nan])
def test_a_rate_outside_its_range_raises(name, rate):
    inputs = inputs_of(CASE, dtype="float32")
    with pytest.raises(ValueError, match=rf"`{name}` must be a number in \[0, 1\), got"):
        grujax.gru(inputs.params, inputs.xs, **{name: rate})


def test_a_rate_for_each_row_raises():
    inputs = inputs_of(CASE, dtype="float32")
    with pytest.raises(
        ValueError, match=r"`zoneout` must be a number .*, got an array of shape \[3\]"
    ):
        grujax.gru(inputs.params, inputs.xs, zoneout=jnp.zeros(3))
