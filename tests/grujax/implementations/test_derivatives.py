"""Forward mode, and forward and reverse mode of each other, with every implementation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import grujax
from tests.helpers import (
    BOTH,
    DTYPES_OF,
    Case,
    Draw,
    assert_close,
    best_dtype,
    equations_of,
    form_and_direction,
    inputs_of,
)

# Against plain in float64, relative to the largest entry.
TOLERANCE = {"scan": 1e-12, "newton": 1e-6, "native": 1e-5}
OPTIONS = {
    "bare": {},
    "lengths and resets": {"lengths": np.array([5, 0, 7]), "resets": True},
    "expected zoneout": {"zoneout": 0.3, "lengths": np.array([5, 0, 7])},
    "drawn": {"zoneout": 0.3, "recurrent_dropout": 0.4, "key": jax.random.key(0), "resets": True},
    "truncated": {"stop_gradient_every": 3, "lengths": np.array([5, 0, 7])},
}
every_own_derivative = pytest.mark.parametrize(
    "implementation",
    ["scan", "native", pytest.param("newton", marks=pytest.mark.slow)],
)
every_option = pytest.mark.parametrize(
    "options",
    [
        name
        if name in ("lengths and resets", "drawn")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in OPTIONS
    ],
)


def problem(name: str, implementation: str, reset_after: bool, reverse: bool):
    """`run(implementation, primals)`, the primals and tangents."""
    options = dict(OPTIONS[name])
    dtype = best_dtype(implementation)
    inputs = inputs_of(BOTH, reset_after, dtype)
    if options.pop("resets", False):
        options |= {"resets": inputs.resets, "reset_state": 0.5 * inputs.h0}
    draw = Draw("tangents", dtype)
    primals = inputs.params, inputs.xs, inputs.h0
    tangents = jax.tree.map(lambda leaf: draw.normal(*leaf.shape), primals)

    def run(implementation, primals):
        return grujax.gru(*primals, reverse=reverse, implementation=implementation, **options)

    return run, jax.tree.map(jnp.asarray, primals), jax.tree.map(jnp.asarray, tangents)


def as_float64(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


@every_own_derivative
@every_option
@form_and_direction
def test_tangents_equal_those_of_plain(x64, options, reset_after, reverse, implementation):
    run, primals, tangents = problem(options, implementation, reset_after, reverse)
    got = jax.jit(lambda *a: jax.jvp(partial(run, implementation), a[:1], a[1:]))(primals, tangents)
    if options != "drawn":  # what is drawn depends on the dtype
        primals, tangents = as_float64(primals), as_float64(tangents)
    want = jax.jvp(partial(run, "plain"), (primals,), (tangents,))
    assert_close(got, want, "float64", TOLERANCE[implementation])


@every_own_derivative
@pytest.mark.parametrize("index", range(3))
def test_a_tangent_of_one_argument_alone(x64, index, implementation):
    run, primals, tangents = problem("lengths and resets", implementation, False, True)

    def run_on(implementation, primals, argument):
        given = list(primals)
        given[index] = argument
        return run(implementation, given)

    def push(implementation, primals, tangents):
        run_one = partial(run_on, implementation, primals)
        return jax.jvp(run_one, (primals[index],), (tangents[index],))[1]

    got = jax.jit(partial(push, implementation))(primals, tangents)
    want = push("plain", as_float64(primals), as_float64(tangents))
    assert_close(got, want, "float64", TOLERANCE[implementation])


@every_own_derivative
@form_and_direction
def test_linearized_functions_apply_map_and_transpose(x64, reset_after, reverse, implementation):
    run, primals, tangents = problem("lengths and resets", implementation, reset_after, reverse)
    _, push = jax.linearize(partial(run, implementation), primals)
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf, 0.5 * leaf]), tangents)
    pushed = push(tangents)
    mapped = jax.vmap(push)(many)
    assert_close(mapped[1], jnp.stack([pushed[1], -pushed[1], 0.5 * pushed[1]]), "float32")
    _, pull_back = jax.vjp(partial(run, implementation), primals)
    (want,) = pull_back(pushed)
    assert_close(jax.linear_transpose(push, primals)(pushed)[0], want, "float32")
    transposed = jax.linear_transpose(jax.vmap(push), many)(mapped)[0]
    assert_close(jax.tree.map(lambda leaf: leaf[0], transposed), want, "float32")


def curved(run, implementation, primals):
    h_last, hs = run(implementation, primals)
    return jnp.sum(jnp.sin(h_last)) + jnp.sum(
        jnp.cos(jnp.arange(hs.size)).reshape(hs.shape) * hs**2
    )


SECOND = {
    "forward over reverse": lambda f: lambda x, v: jax.jvp(jax.grad(f), (x,), (v,))[1],
    "reverse over forward": lambda f: lambda x, v: jax.grad(lambda x: jax.jvp(f, (x,), (v,))[1])(x),
    "forward over forward": lambda f: (
        lambda x, v: jax.jvp(lambda x: jax.jvp(f, (x,), (v,))[1], (x,), (v,))[1]
    ),
    "reverse over reverse": lambda f: lambda x, v: jax.vjp(jax.grad(f), x)[1](v)[0],
    "third order": lambda f: (
        lambda x, v: jax.jvp(lambda x: jax.jvp(jax.grad(f), (x,), (v,))[1], (x,), (v,))[1]
    ),
}


@every_own_derivative
@pytest.mark.parametrize(
    "order",
    [
        name if name == "forward over reverse" else pytest.param(name, marks=pytest.mark.slow)
        for name in SECOND
    ],
)
@form_and_direction
def test_second_and_third_derivatives_equal_those_of_plain(
    x64, reset_after, reverse, order, implementation
):
    run, primals, tangents = problem("lengths and resets", implementation, reset_after, reverse)
    got = jax.jit(SECOND[order](partial(curved, run, implementation)))(primals, tangents)
    want = jax.jit(SECOND[order](partial(curved, run, "plain")))(
        as_float64(primals), as_float64(tangents)
    )
    assert_close(got, want, "float64", 100 * TOLERANCE[implementation])


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["scan", "newton"])
@form_and_direction
def test_derivatives_of_order_two_equal_finite_differences(
    x64, reset_after, reverse, implementation
):
    case = Case("differences", steps=4, batch=(2,), lengths=(4, 2), hidden_size=2)
    inputs = inputs_of(case, reset_after)

    @jax.jit
    def run(params, xs, h0):
        options = {"lengths": inputs.lengths, "reverse": reverse}
        return grujax.gru(params, xs, h0, implementation=implementation, **options)

    primals = inputs.params, inputs.xs, inputs.h0
    check_grads(run, primals, order=2, modes=["fwd", "rev"], eps=1e-5, atol=1e-6, rtol=1e-6)


@every_own_derivative
def test_the_hessian_of_a_stack_of_two_directions_equals_that_of_plain(x64, implementation):
    dtype = best_dtype(implementation)
    draw = Draw("hessian", dtype)
    layers = [
        (draw.params(2, 2), draw.params(2, 2, reset_after=True)),
        (draw.params(4, 2, reset_after=False), draw.params(4, 2, reset_after=False)),
    ]
    xs = jnp.asarray(draw.normal(4, 2, 2))

    def loss(implementation, layers, xs):
        lengths = jnp.array([4, 2])
        last, hs = grujax.stacked_gru(layers, xs, lengths=lengths, implementation=implementation)
        return jnp.sum(hs**2) + sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(last))

    got = jax.jit(jax.hessian(partial(loss, implementation, layers)))(xs)
    want = jax.jit(jax.hessian(partial(loss, "plain", as_float64(layers))))(as_float64(xs))
    assert_close(got, want, "float64", 100 * TOLERANCE[implementation])


@every_own_derivative
def test_jacobians_of_both_modes_are_equal_over_models(x64, implementation):
    """`vmap` over parameters of both Jacobians, and of a Gauss–Newton product."""
    dtype = best_dtype(implementation)
    draw = Draw("models", dtype)
    models = [draw.params(3, 4) for _ in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    xs = jnp.asarray(draw.normal(5, 2, 3))

    def run(params, xs):
        return grujax.gru(params, xs, implementation=implementation)[1]

    def gauss_newton(params, xs):
        _, push = jax.linearize(partial(run, params), xs)
        return jax.linear_transpose(push, xs)(push(xs))[0]

    forward = jax.jit(jax.vmap(jax.jacfwd(run, argnums=1), (0, None)))(stacked, xs)
    reverse = jax.jit(jax.vmap(jax.jacrev(run, argnums=1), (0, None)))(stacked, xs)
    assert_close(forward, reverse, "float32")
    products = jax.jit(jax.vmap(gauss_newton, (0, None)))(stacked, xs)
    want = jnp.einsum("mabcdef,mabcghi,ghi->mdef", forward, forward, xs)
    assert_close(products, want, "float32")
    one = jax.jit(jax.jacfwd(run, argnums=1))(models[1], xs)
    assert_close(forward[1], one, "float32")


@every_own_derivative
@pytest.mark.parametrize("axis", [0, 2])
def test_gradients_through_a_mapped_layer(x64, axis, implementation):
    """The gradient of what is not mapped is a sum, and that of the rest has the axis mapped."""
    dtype = best_dtype(implementation)
    draw = Draw("mapped", dtype)
    params, data = draw.params(3, 4), draw.normal(2, 5, 2, 3)

    def loss(params, xs):
        return jnp.sum(grujax.gru(params, xs, implementation=implementation)[1] ** 2)

    def mapped_loss(params, data):
        return jnp.sum(jax.vmap(loss, (None, axis))(params, data))

    each = [jax.grad(loss, (0, 1))(params, xs) for xs in data]
    got = jax.jit(jax.grad(mapped_loss, (0, 1)))(params, jnp.moveaxis(data, 0, axis))
    want = jax.tree.map(jnp.add, each[0][0], each[1][0]), jnp.stack([d for _, d in each], axis)
    assert_close(got, want, dtype)


@pytest.mark.parametrize("implementation", ["scan", "native"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_tangents_have_the_dtype_of_their_primals(implementation, dtype):
    if dtype not in DTYPES_OF[implementation]:
        pytest.skip(f"has no {dtype}")
    inputs = inputs_of(BOTH, dtype=dtype)

    def push(implementation, inputs):
        primals = jax.tree.map(jnp.asarray, (inputs.params, inputs.xs))
        run = partial(grujax.gru, implementation=implementation, lengths=inputs.lengths)
        return jax.jvp(run, primals, primals)

    got = push(implementation, inputs)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(got)} == {dtype}
    assert_close(got, push("plain", inputs), dtype)


@pytest.mark.parametrize("implementation", ["scan", "native"])
def test_derivatives_without_jit(x64, implementation):
    run, primals, tangents = problem("lengths and resets", implementation, True, True)
    function = partial(curved, run, implementation)

    def both_modes(primals, tangents):
        return jax.jvp(function, (primals,), (tangents,)), jax.grad(function)(primals)

    want = jax.jit(both_modes)(primals, tangents)
    with jax.disable_jit():
        assert_close(both_modes(primals, tangents), want, "float32")


def linear_of(jaxpr):
    """The one map of a program that is a tangent or a gradient."""
    (equation,) = (e for e in equations_of(jaxpr.jaxpr) if e.primitive.name == "grujax_linear")
    return equation.params["computation"]


def test_reverse_mode_of_two_directions_is_one_pass_each_way():
    """The tangent is transposed, not computed, and the directions are two models of one call."""
    inputs = inputs_of(BOTH, dtype="float32")

    def loss(params):
        _, hs = grujax.bidirectional_gru(
            params, inputs.xs, lengths=inputs.lengths, implementation="native"
        )
        return jnp.sum(hs)

    jaxpr = jax.make_jaxpr(jax.grad(loss))((inputs.params, inputs.params))
    linear = linear_of(jaxpr)
    assert linear.is_transposed
    names = [equation.primitive.name for equation in equations_of(jaxpr.jaxpr)]
    assert names.count("grujax_forward") == names.count("grujax_backward") == 1
    assert "scan" not in names


def test_mapped_tangents_copy_nothing_that_was_saved():
    """`jax.jacfwd` maps the tangents alone: no array of the states or gates gets its axis."""
    inputs = inputs_of(BOTH, dtype="float32")
    xs = jnp.asarray(inputs.xs)

    def run(xs):
        return grujax.gru(inputs.params, xs, inputs.h0, implementation="scan")[1]

    linear = linear_of(jax.make_jaxpr(jax.jacfwd(run))(xs))
    (level,) = linear.levels
    assert level.axes == (None,) * linear.number_saved + (0,)


def test_arguments_without_a_tangent_are_not_differentiated():
    inputs = inputs_of(BOTH, dtype="float32")

    def run(h0):
        return grujax.gru(inputs.params, inputs.xs, h0, implementation="scan")[1]

    push = jax.make_jaxpr(lambda h0: jax.jvp(run, (h0,), (h0,)))
    linear = linear_of(push(jnp.asarray(inputs.h0)))
    assert len(linear.wanted) == 1
