"""The cells that the tests of `grujax.online` run, with inputs, and their gradients by BPTT."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import grujax
from grujax import baselines
from tests.fixtures.baseline_cells import (
    draw_layer_norm_gru,
    draw_lstm,
    draw_min_gru,
    draw_rnn,
    lstm_state,
)
from tests.helpers import Draw

T, B, I, H = 5, 3, 2, 3  # noqa: E741


def two_layers(params, state, x):
    """A stack as one cell, with the states of both layers."""
    lower = grujax.gru_cell(params[0], state[0], x)
    return lower, grujax.gru_cell(params[1], state[1], lower)


def leaky(params, state, x):
    """A user's cell: named arrays, a state of two widths, and a function compiled on its own."""
    mixed = jax.jit(jnp.matmul)(state["slow"], params["w"]) + x @ params["v"]
    fast = jnp.tanh(mixed + params["b"])
    return {"slow": 0.9 * state["slow"] + 0.1 * jnp.concatenate([fast, fast], -1), "fast": fast}


class Case(NamedTuple):
    """A cell with its parameters, as a function of `(draw, I, H)`, and its state."""

    cell: Callable[..., Any]
    draw_params: Callable[..., Any]
    make_state: Callable[[Callable[[], Any]], Any] = lambda array: array()


def _leaky_params(draw: Draw, inputs: int, units: int) -> dict[str, np.ndarray]:
    shapes = {"w": (2 * units, units), "v": (inputs, units), "b": (units,)}
    return {name: draw.normal(*shape, scale=0.6) for name, shape in shapes.items()}


CASES = {
    "gru": Case(grujax.gru_cell, Draw.params),
    "gru_reset_before": Case(
        grujax.gru_cell, lambda draw, *sizes: draw.params(*sizes, reset_after=False)
    ),
    "lstm": Case(baselines.lstm_cell, draw_lstm, lstm_state),
    "rnn": Case(baselines.rnn_cell, draw_rnn),
    "layer_norm_gru": Case(baselines.layer_norm_gru_cell, draw_layer_norm_gru),
    "min_gru": Case(baselines.min_gru_cell, draw_min_gru),
    "two_layers": Case(
        two_layers,
        lambda draw, inputs, units: (draw.params(inputs, units), draw.params(units, units)),
        lambda array: (array(), array()),
    ),
    "leaky": Case(
        leaky,
        _leaky_params,
        lambda array: {"slow": jnp.concatenate([array(), array()], -1), "fast": array()},
    ),
}


class Problem(NamedTuple):
    """Everything that a gradient depends on; rows differ in lengths, resets and skipped steps."""

    cell: Callable[..., Any]
    params: Any
    xs: Any  # [T, B, I]
    state0: Any
    reset_state: Any
    time: dict[str, Any]


def problem_of(name: str, dtype: str = "float64") -> Problem:
    case, draw = CASES[name], Draw(name, dtype)
    params = jax.tree.map(jnp.asarray, case.draw_params(draw, I, H))

    def draw_state():
        return case.make_state(lambda: jnp.asarray(draw.normal(B, H)))

    mask = np.ones((T, B), bool)
    mask[1, 0] = mask[3, 1] = False
    resets = np.zeros((T, B), bool)
    resets[2, 0] = resets[3, 1] = resets[4, 1] = True  # one of them at a skipped step
    time = {"lengths": jnp.array([T, T - 1, 0]), "resets": resets, "mask": mask}
    xs = jnp.asarray(draw.normal(T, B, I))
    return Problem(case.cell, params, xs, draw_state(), draw_state(), time)


def loss(states):
    """Of the states `[T, B, n]`; each entry has another weight. Ones in the padding add nothing."""
    parts = [(jnp.sin(jnp.arange(leaf.size)).reshape(leaf.shape) * leaf + leaf**2).sum()
             for leaf in jax.tree.leaves(states)]  # fmt: skip
    return sum(parts)


def bptt(problem: Problem, cell: Callable[..., Any] | None = None) -> Any:
    """The loss and its gradient by backpropagation through time, of another cell if given."""

    @jax.jit
    @jax.value_and_grad
    def run(params):
        _, states = grujax.scan_cell(
            cell or problem.cell,
            params,
            problem.xs,
            problem.state0,
            reset_state=problem.reset_state,
            **problem.time,
        )
        return loss(states)

    return run(problem.params)


def online(problem: Problem, method: Any, **options: Any) -> Any:
    """The loss and its gradient by a method of `grujax.online`, with NaN where no step reads."""
    exists = jnp.arange(T)[:, None] < problem.time["lengths"]
    reads = exists & problem.time["mask"]
    xs = jnp.where(reads[..., None], problem.xs, jnp.nan)

    @jax.jit
    def run(params):
        return grujax.online.value_and_gradient(
            problem.cell,
            params,
            xs,
            loss,
            method=method,
            h0=problem.state0,
            reset_state=problem.reset_state,
            **problem.time,
            **options,
        )

    return run(problem.params)


def assert_equal(got: Any, want: Any, tolerance: float = 1e-10) -> None:
    """Of two pytrees; relative to the largest entry of each array."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        scale = np.abs(other).max() or 1.0
        np.testing.assert_allclose(one / scale, other / scale, rtol=0, atol=tolerance)


def differs(got: Any, want: Any) -> bool:
    """Whether two gradients differ by more than rounding."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    return any(float(jnp.abs(one - other).max()) > 1e-6 for one, other in pairs)
