"""Recurrent layers with tricks, compared with their equations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from experiments.common.cells import CELLS
from experiments.memory.tricks import SKIP, TRICKS, Trick
from experiments.training_difficulty.recurrences import make_recurrence
from tests.helpers import Draw, assert_close

T, B, I, H = 24, 3, 5, 6  # noqa: E741
every_cell = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


def make(cell: str, trick: str | Trick = "plain"):
    trick = TRICKS[trick] if isinstance(trick, str) else trick
    return make_recurrence(cell, trick, I, H, T)


def random_params(recurrence):
    draw = Draw("tricks", "float32")
    shapes = jax.eval_shape(recurrence.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: draw.normal(*leaf.shape, scale=0.6), shapes)


def inputs():
    return Draw("inputs", "float32").normal(T, B, I)


@every_cell
def test_plain_runs_the_cell(cell):
    recurrence = make(cell)
    params = random_params(recurrence)
    for key in (None, jax.random.key(0)):
        assert_close(
            recurrence.run(params, inputs(), key), CELLS[cell].run(params, inputs())[1], "float32"
        )


@every_cell
def test_layer_norm_is_invariant_to_the_scale_of_the_weights(cell):
    recurrence = make(cell, "layer norm")
    params = recurrence.init(jax.random.key(0))
    matrices = [x for x in jax.tree.leaves(params) if x.ndim >= 2 and x.shape[-2] in (I, H)]
    assert len(matrices) == 2

    def scaled(factor):
        return jax.tree.map(
            lambda leaf: factor * leaf if any(leaf is m for m in matrices) else leaf, params
        )

    xs = inputs()
    want, got = (recurrence.run(scaled(factor), xs, None) for factor in (30, 150))
    # The 1e-3 added to the variance leaves a trace of the scale.
    np.testing.assert_allclose(got, want, atol=1e-3)
    plain = make(cell).init(jax.random.key(0))
    unlike = CELLS[cell].run(jax.tree.map(lambda x: 5 * x, plain), xs)[1]
    assert np.max(np.abs(unlike - CELLS[cell].run(plain, xs)[1])) > 0.2


def test_normalized_cells_follow_their_equations():
    draw = Draw("normalized", "float32")
    x, h, c = draw.normal(B, I), draw.normal(B, H), draw.normal(B, H)

    def normalized(gates, scale, offset):
        rows = [a.reshape(-1) for a in gates]
        rows = [(a - a.mean()) / np.sqrt(a.var() + 1e-3) for a in rows]
        return np.stack(rows).reshape(gates.shape) * scale + offset

    rnn = make("rnn", "layer norm")
    (params, scale) = random_params(rnn)
    want = np.tanh(normalized(x @ params.w_x + h @ params.w_h, scale, params.b))
    assert_close(rnn.step((params, scale), h, x), want, "float32")

    lstm = make("lstm", "layer norm")
    (params, scale) = random_params(lstm)
    joint = np.stack([x @ params.w_x[k] + h @ params.w_h[k] for k in range(4)], 1)
    i, f, g, o = np.moveaxis(normalized(joint, scale, params.b), 1, 0)
    state = grujax.baselines.LSTMState(h, c)
    new = lstm.step((params, scale), state, x)
    want_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * np.tanh(g)
    assert_close(new.c, want_c, "float32")
    assert_close(new.h, jax.nn.sigmoid(o) * np.tanh(want_c), "float32")


@every_cell
def test_zoneout_keeps_units_in_training_and_takes_the_expectation_at_test(cell):
    recurrence = make(cell, Trick(zoneout=0.4))
    params, xs = random_params(recurrence), inputs()
    drawn = np.asarray(recurrence.run(params, xs, jax.random.key(0)))
    kept = np.mean(drawn[1:] == drawn[:-1])
    if cell != "lstm":  # h also changes where only c is kept, and vice versa
        np.testing.assert_allclose(kept, 0.4, atol=0.1)  # 414 draws: 4 standard deviations
    assert kept > 0.2
    assert np.mean(np.diff(recurrence.run(params, xs, None), axis=0) == 0) < 0.05

    state = recurrence.initial_state(B)
    want = []
    for x in xs:
        new = CELLS[cell].step(params, state, x)
        state = jax.tree.map(lambda old, new: 0.4 * old + 0.6 * new, state, new)
        want.append(CELLS[cell].output(state))
    assert_close(recurrence.run(params, xs, None), jnp.stack(want), "float32")


@every_cell
def test_half_the_units_skip(cell):
    recurrence = make(cell, "skip")
    params, xs = random_params(recurrence), inputs()
    zeros = CELLS[cell].initial_state((B, H), jnp.float32)
    states = [zeros] * SKIP  # before the sequence
    for x in xs:
        read = jax.tree.map(
            lambda old, now: jnp.concatenate([old[:, : H // 2], now[:, H // 2 :]], -1),
            states[-SKIP],
            states[-1],
        )
        states.append(CELLS[cell].step(params, read, x))
    want = jnp.stack([CELLS[cell].output(state) for state in states[SKIP:]])
    assert_close(recurrence.run(params, xs, None), want, "float32")
    assert_close(recurrence.run(params, xs, jax.random.key(0)), want, "float32")


@pytest.mark.parametrize("trick", TRICKS)
@every_cell
def test_run_repeats_step_at_test(cell, trick):
    recurrence = make(cell, trick)
    params, xs = random_params(recurrence), inputs()
    _, states = grujax.scan_cell(recurrence.step, params, xs, recurrence.initial_state(B))
    assert_close(recurrence.run(params, xs, None), recurrence.output(states), "float32")


def test_fields_of_tricks_may_be_traced():
    trick = TRICKS["chrono"]._replace(zoneout=0.2)

    def run(cell, trick):
        recurrence = make(cell, trick)
        return recurrence.run(recurrence.init(jax.random.key(0)), inputs(), jax.random.key(1))

    @partial(jax.jit, static_argnums=0)
    def outputs(cell, fields):
        return run(cell, Trick("plain", *fields))

    for cell in ("lstm", "gru"):
        want = jax.jit(partial(run, cell, trick))()
        assert_close(outputs(cell, trick[1:]), want, "float32")
