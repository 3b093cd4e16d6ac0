"""What the Linen and the NNX modules share: both orders of the axes, and outputs of every layer."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx as flax_nnx

import grujax
from grujax import convert, linen, nnx
from tests.helpers import Draw, assert_close, assert_equal, equations_of

B, T, I, H = 3, 6, 4, 5  # noqa: E741
DRAW = Draw("views", "float32")
XS, RESETS, MASK = DRAW.normal(B, T, I), DRAW.bools(B, T), DRAW.bools(B, T, rate=0.7)
LENGTHS = np.int32([4, 0, 6])
STATE = DRAW.normal(B, H)
STATES = {
    "GRU": STATE,
    "BidirectionalGRU": (STATE, STATE[0]),
    "StackedGRU": [STATE, STATE[0]],
}
FUNCTIONS = {
    "GRU": grujax.gru,
    "BidirectionalGRU": grujax.bidirectional_gru,
    "StackedGRU": grujax.stacked_gru,
}
every_module = pytest.mark.parametrize("name", STATES)
both_views = pytest.mark.parametrize("view", [linen, nnx], ids=["linen", "nnx"])


def make(view: Any, name: str, **options: Any) -> Callable[..., Any]:
    """The call of a module with its variables; the same values for all options."""
    if name == "StackedGRU":
        options = {"num_layers": 2, **options}
    if view is nnx:
        return nnx.__dict__[name](I, H, rngs=flax_nnx.Rngs(0), **options)
    module = getattr(linen, name)(H, **options)
    shape = (T, B, I) if options.get("time_major") else (B, T, I)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.ones(shape))
    draw = Draw("variables", "float32")
    variables = jax.tree.map(lambda leaf: draw.normal(*leaf.shape, scale=0.5), shapes)
    return partial(module.apply, variables)


def time_arguments(name: str) -> dict[str, Any]:
    arguments = {"h0": STATES[name], "lengths": LENGTHS, "mask": MASK, "resets": RESETS}
    arguments["reset_state"] = jax.tree.map(jnp.zeros_like, STATES[name])
    return arguments


# --- time_major ---------------------------------------------------------------------------------


@both_views
@every_module
def test_time_major_swaps_the_axes_of_arguments_and_results(view, name):
    arguments = time_arguments(name)
    want_last, want = make(view, name)(XS, **arguments)
    swapped = {**arguments, "mask": MASK.T, "resets": RESETS.T}
    h_last, hs = make(view, name, time_major=True)(XS.swapaxes(0, 1), **swapped)
    assert_close((h_last, hs.swapaxes(0, 1)), (want_last, want), "float32")


def test_time_major_takes_any_number_of_batch_axes():
    for batch in ((), (2, 3)):
        xs = DRAW.normal(T, *batch, I)
        run = make(nnx, "BidirectionalGRU", time_major=True, merge=lambda *both: both)
        (h_last, _), (forward, backward) = run(xs)
        assert (h_last.shape, forward.shape) == ((*batch, H), (T, *batch, H))
        assert_close(forward[-1], h_last, "float32")
        assert backward.shape == forward.shape


def program_of(view, implementation, time_major):
    """A training step of a stack, and its arguments."""
    options = {"implementation": implementation, "bidirectional": True, "time_major": time_major}
    run = make(view, "StackedGRU", **options)
    xs, resets = (XS.swapaxes(0, 1), RESETS.T) if time_major else (XS, RESETS)

    def loss(xs):
        return jnp.sum(run(xs, lengths=LENGTHS, resets=resets)[1] ** 2)

    return jax.jit(jax.grad(loss)), jnp.asarray(xs)


@both_views
@pytest.mark.parametrize("implementation", [pytest.param("scan", marks=pytest.mark.slow), "native"])
def test_a_time_major_program_transposes_nothing_over_time(view, implementation):
    for time_major in (True, False):
        program, xs = program_of(view, implementation, time_major)
        text = program.lower(xs).compile().as_text()
        assert ("[3,6," in text) is not time_major  # arrays with the batch axis first
        equations = list(equations_of(jax.make_jaxpr(program)(xs).jaxpr))
        transposed = [e.invars[0].aval.shape for e in equations if e.primitive.name == "transpose"]
        over_time = [shape for shape in transposed if set(shape[:2]) == {B, T}]
        assert (over_time == []) is time_major
        hints = {e.params["options"].batch_major for e in equations if "options" in e.params}
        assert hints == ({not time_major} if implementation == "native" else set())


@both_views
def test_time_major_bad_input(view):
    run = make(view, "GRU", time_major=True)
    for arguments, message in (
        ({"xs": XS[0, 0]}, r"`xs` must have shape \[T, B, I\] or \[T, I\], got \[4\]"),
        ({"resets": RESETS}, r"`resets` has shape \[3, 6\] but the time and batch .* \[6, 3\]"),
        ({"lengths": LENGTHS[:2]}, r"`lengths` has shape \[2\].*\[3\]"),
        ({"lengths": np.array([7, 1, 1])}, r"`lengths` must lie in \[0, T\] with T = 6"),
    ):
        with pytest.raises(ValueError, match=message):
            run(**{"xs": XS.swapaxes(0, 1), **arguments})


# --- mask -----------------------------------------------------------------------------------------


@both_views
@every_module
def test_a_mask_skips_steps_as_in_the_functions(view, name):
    module = make(view, name)
    arguments = {"lengths": LENGTHS, "resets": RESETS}
    got = module(XS, **arguments, mask=MASK)
    function = FUNCTIONS[name]
    params = module.gru_params() if view is nnx else module(I, method="gru_params")
    time_major = {"lengths": LENGTHS, "resets": RESETS.T, "mask": MASK.T}
    want_last, want = function(params, XS.swapaxes(0, 1), **time_major)
    assert_close(got, (want_last, want.swapaxes(0, 1)), "float32")
    assert not np.array_equal(got[1], module(XS, **arguments)[1])
    with_nan = np.where(MASK[..., None], XS, np.nan)
    assert_equal(module(with_nan, **arguments, mask=MASK), got)


def test_a_mask_has_the_meaning_of_keras():
    """Also with padding on the left and with holes."""
    keras = pytest.importorskip("keras")
    layer = keras.layers.GRU(H, return_sequences=True, return_state=True)
    layer.build((B, T, I))
    draw = Draw("keras", "float32")
    weights = [draw.normal(*array.shape, scale=0.5) for array in layer.get_weights()]
    layer.set_weights(weights)
    mask = np.array([[False, False, True, True, True, True], MASK[1], [True] * T])
    want, want_last = layer(XS, mask=mask)
    cell = convert.to_linen(convert.from_keras(weights))["params"]
    h_last, hs = linen.GRU(H).apply({"params": {"cell": cell}}, XS, mask=mask)
    assert_close(h_last, want_last, "float32")
    np.testing.assert_allclose(np.where(mask[..., None], hs - want, 0), 0, atol=1e-5)


def test_a_mask_that_is_known_to_be_all_true_costs_nothing():
    module = make(nnx, "GRU")
    everywhere = np.ones((B, T), bool)
    for mask in (everywhere, jnp.asarray(everywhere)):
        program = jax.make_jaxpr(lambda xs, mask=mask: module(xs, mask=mask))(XS)
        if isinstance(mask, np.ndarray):
            assert str(program) == str(jax.make_jaxpr(lambda xs: module(xs))(XS))
        assert_equal(module(XS, mask=mask), module(XS))


# --- outputs of every layer, merges to pytrees --------------------------------------------------


@both_views
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_stack_may_return_the_hs_of_every_layer(view, bidirectional):
    options = {"num_layers": 3, "bidirectional": bidirectional}
    want_last, want = make(view, "StackedGRU", **options)(XS, lengths=LENGTHS)
    h_last, hs = make(view, "StackedGRU", return_all_layers=True, **options)(XS, lengths=LENGTHS)
    assert_equal((h_last, hs[-1]), (want_last, want))
    width = 2 * H if bidirectional else H
    assert [layer.shape for layer in hs] == [(B, T, width)] * 3
    padding = np.arange(T) >= LENGTHS[:, None]
    assert not any(np.any(layer[padding]) for layer in hs)


@both_views
def test_a_merge_may_return_a_pytree(view):
    whole = make(view, "BidirectionalGRU")(XS, lengths=LENGTHS)[1]
    merge = lambda forward, backward: {"f": forward, "mean": forward.mean(-1), "b": backward}  # noqa: E731
    _, hs = make(view, "BidirectionalGRU", merge=merge)(XS, lengths=LENGTHS)
    want = {"f": whole[..., :H], "mean": whole[..., :H].mean(-1), "b": whole[..., H:]}
    assert_close(hs, want, "float32")
    with pytest.raises(ValueError, match=r"`merge` must return one array .*, got a dict"):
        make(view, "StackedGRU", bidirectional=True, merge=merge)
    one_layer = make(view, "StackedGRU", num_layers=1, bidirectional=True, merge=merge)
    assert jax.tree.map(jnp.shape, one_layer(XS)[1]) == jax.tree.map(jnp.shape, want)


# --- dropout of inputs ----------------------------------------------------------------------------


@every_module
def test_input_dropout_acts_in_training_alone(name):
    clean = make(nnx, name)(XS)[1]
    module = make(nnx, name, input_dropout=0.5)
    assert not np.array_equal(module(XS)[1], clean)
    assert_equal(module(XS, deterministic=True)[1], clean)
    run = make(linen, name, input_dropout=0.5, deterministic=False)
    rngs = {"dropout": jax.random.key(1)}
    noisy = run(XS, rngs=rngs)[1]
    assert_equal(run(XS, rngs=rngs)[1], noisy)
    assert not np.array_equal(noisy, make(linen, name)(XS)[1])


@both_views
def test_dropout_between_the_layers_of_one_layer_warns(view):
    stack = make(view, "StackedGRU", num_layers=1, dropout=0.5, deterministic=True)
    with pytest.warns(UserWarning, match="`dropout` acts between the layers"):
        stack(XS)


# --- one step -------------------------------------------------------------------------------------


@both_views
def test_a_cell_refuses_batch_axes_that_differ(view):
    h, x = jnp.ones((1, H)), jnp.asarray(XS[:, 0])
    if view is nnx:
        cell = nnx.GRUCell(I, H, rngs=flax_nnx.Rngs(0))
    else:
        module = linen.GRUCell(H)
        cell = partial(module.apply, module.init(jax.random.key(0), h[0], x))
    for one in (h, h[0]):  # serves all rows
        assert_close(cell(one, x), cell(jnp.ones((B, H)), x), "float32")
    with pytest.raises(ValueError, match=r"`carry` and `inputs` must have equal batch axes, or no"):
        cell(jnp.ones((B + 1, H)), x)
