"""Single steps of the layers against the whole sequence, in Linen and NNX."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as flax_linen
from flax import nnx as flax_nnx

from grujax import linen, nnx
from tests.helpers import Draw, assert_close, assert_equal

T, B, I, H = 6, 3, 4, 5  # noqa: E741
DRAW = Draw("steps", "float32")
XS, RESETS = DRAW.normal(T, B, I), DRAW.bools(T, B)
KEY = jax.random.key(0)

VIEWS = {"linen": linen, "nnx": nnx}
every_view = pytest.mark.parametrize("view", VIEWS)
LAYERS = {
    "GRU": {},
    "GRU, learned": {"learned_h0": True},
    "GRU, time-major": {"time_major": True},
    "StackedGRU": {"num_layers": 2},
    "StackedGRU, learned": {"num_layers": 2, "learned_h0": True, "time_major": True},
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def make(view, name, **options):
    """(the call, `step`, `initialize_carry` of no arguments) of a layer with random variables."""
    kind = name.split(",")[0]
    options = LAYERS.get(name, {}) | options
    if view == "nnx":
        layer = getattr(nnx, kind)(I, H, **options, rngs=flax_nnx.Rngs(0))
        graph, state = flax_nnx.split(layer, flax_nnx.Param)
        state = jax.tree.map(lambda leaf: DRAW.normal(*leaf.shape, scale=0.5), state)
        layer = flax_nnx.merge(graph, state)
        return layer, layer.step, partial(layer.initialize_carry, (B, I))
    layer = getattr(linen, kind)(H, **options)
    variables = layer.init(KEY, np.moveaxis(XS, 0, 0 if layer.time_major else 1))
    variables = jax.tree.map(lambda leaf: DRAW.normal(*leaf.shape, scale=0.5), variables)
    run = partial(layer.apply, variables)
    begin = partial(run, KEY, (B, I), method="initialize_carry")
    return run, partial(run, method="step"), begin


def whole(run, name, *states, **options):
    """A call over the whole sequence, with `hs [T, B, H]`."""
    axis = 0 if LAYERS.get(name, {}).get("time_major") else 1
    options = {key: np.moveaxis(value, 0, axis) for key, value in options.items()}
    h_last, hs = run(np.moveaxis(XS, 0, axis), *states, **options)
    return h_last, jnp.moveaxis(hs, axis, 0)


@every_view
@every_layer
@pytest.mark.parametrize("implementation", ["plain", "scan", "native", None])
def test_steps_give_what_the_sequence_gives(view, name, implementation):
    """With resets, which go back to the layer's own initial state while acting. All bits are equal,
    but for the scan, which projects the inputs of all steps in one product, and which None picks
    for single steps.
    """
    run, step, begin = make(view, name, implementation=implementation)

    @jax.jit
    def act(carry):
        return jax.lax.scan(lambda h, inputs: step(inputs[0], h, inputs[1]), carry, (XS, RESETS))

    replay = jax.jit(lambda carry: whole(run, name, carry, resets=RESETS))
    carry = begin()
    if implementation in ("scan", None):
        assert_close(act(carry), replay(carry), "float32")
    else:
        assert_equal(act(carry), replay(carry))
    assert_close(act(carry), whole(run, name, resets=RESETS), "float32")


@every_view
def test_a_tuple_of_states_stays_a_tuple_and_fits_a_scan(view):
    _, step, begin = make(view, "StackedGRU")
    carry = tuple(begin())
    h, ys = jax.lax.scan(lambda h, x: step(x, h), carry, XS)
    assert isinstance(h, tuple)
    assert_equal(ys[-1], h[-1])
    assert isinstance(step(XS[0], list(carry))[0], list)


@every_view
@every_layer
def test_a_float32_carry_goes_with_bfloat16(view, name):
    _, step, begin = make(view, name, dtype=jnp.bfloat16, carry_dtype=jnp.float32)
    h, ys = jax.lax.scan(lambda h, x: step(x, h), begin(), XS)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(h)} == {"float32"}
    assert ys.dtype == jnp.bfloat16


@pytest.mark.parametrize("cell", [linen.GRUCell, partial(nnx.GRUCell, I, rngs=flax_nnx.Rngs(0))])
def test_the_carry_of_a_cell_may_have_a_dtype_of_its_own(cell):
    cell = cell(features=H, dtype=jnp.bfloat16, carry_dtype=jnp.float32)
    h0 = jnp.zeros((B, H))
    run = partial(cell.apply, cell.init(KEY, h0, XS[0])) if hasattr(cell, "apply") else cell
    h, ys = jax.lax.scan(run, h0, XS)
    assert (h.dtype, ys.dtype) == (jnp.float32, jnp.bfloat16)


@every_view
@pytest.mark.parametrize(
    ("name", "options"),
    [("GRU", {"reverse": True}), ("BidirectionalGRU", {}), ("StackedGRU", {"bidirectional": True})],
)
def test_layers_that_run_backward_have_no_steps(view, name, options):
    _, step, begin = make(view, name, **options)
    for call in (partial(step, XS[0], None), begin):
        with pytest.raises(ValueError, match="runs backward in time, which needs the whole"):
            call()


@every_view
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (XS[0], None, np.ones(B, "float32")),
            r"`reset` must be bool, got float32: pass",
        ),
        ((XS[0], None, np.ones(B + 1, bool)), r"`reset` has shape \[4\].* `x` are \[3\]"),
        ((XS[0, 0, 0], None), r"`x` must have shape \[B, I\] or \[I\]"),
    ],
)
def test_a_step_says_what_is_wrong(view, arguments, message):
    _, step, _ = make(view, "GRU")
    with pytest.raises(ValueError, match=message):
        step(*arguments)


def test_a_learned_state_needs_variables():
    with pytest.raises(ValueError, match='method="initialize_carry"'):
        linen.GRU(H, learned_h0=True).initialize_carry(KEY, (B, I))
    assert linen.GRU(H).initialize_carry(KEY, (B, I)).shape == (B, H)


# --- checkpoints of Flax, under the names that it gives to cells ----------------------------------


class FlaxPolicy(flax_linen.Module):
    """As copied between projects: in one of them the cell that makes the carry comes first."""

    makes_carry_inside: bool

    @flax_linen.compact
    def __call__(self, carry, x):
        if self.makes_carry_inside:
            carry = flax_linen.GRUCell(H).initialize_carry(KEY, x.shape)
        return flax_linen.GRUCell(H)(carry, x)


class Policy(flax_linen.Module):
    name_of_cell: str

    @flax_linen.compact
    def __call__(self, carry, x):
        return linen.GRUCell(H, name=self.name_of_cell)(carry, x)


@pytest.mark.parametrize("inside", [False, True])
def test_a_name_keeps_a_checkpoint_of_flax(inside):
    carry = jnp.zeros((B, H))
    variables = FlaxPolicy(inside).init(KEY, carry, XS[0])
    (name,) = variables["params"]
    assert name == ("GRUCell_1" if inside else "GRUCell_0")
    want = FlaxPolicy(inside).apply(variables, carry, XS[0])
    assert_close(Policy(name).apply(variables, carry, XS[0]), want, "float32")
