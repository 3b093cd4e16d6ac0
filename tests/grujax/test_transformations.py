"""Every transformation of JAX with every implementation: the values of the table of the pages."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grujax
from tests.helpers import Draw, assert_close

IMPLEMENTATIONS = ("plain", "scan", "native", "newton")
draw = Draw("transformations", "float32")
PARAMS, XS = draw.params(3, 4), draw.normal(6, 2, 3)
V = jax.tree.map(lambda leaf: 0.5 * leaf, PARAMS)
LENGTHS = jnp.array([6, 4])
MODELS = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf, 0.5 * leaf]), PARAMS)


def run(implementation, params, xs=XS, **options):
    return grujax.gru(params, xs, lengths=LENGTHS, implementation=implementation, **options)


def loss(implementation, params, xs=XS):
    h_last, hs = run(implementation, params, xs)
    return jnp.sum(jnp.sin(h_last)) + jnp.sum(hs**2)


def both(implementation, params):
    pair = params, jax.tree.map(lambda leaf: -0.5 * leaf, params)
    layer = grujax.bidirectional_gru(pair, XS, lengths=LENGTHS, implementation=implementation)
    return jnp.sum(layer[1] ** 2)


def hessian_product(f, x, v):
    return jax.jvp(jax.grad(f), (x,), (v,))[1]


def gauss_newton(f, x, v):
    _, push = jax.linearize(f, x)
    return jax.linear_transpose(push, x)(push(v))


def scanned(f, params):
    """The gradient through a `lax.scan` over two updates."""

    def update(params, _):
        step = jax.grad(f)(params)
        return jax.tree.map(lambda leaf, d: leaf - 0.1 * d, params, step), None

    return jax.grad(lambda params: f(jax.lax.scan(update, params, None, length=2)[0]))(params)


def exported(f, params):
    leaves, structure = jax.tree.flatten(params)

    def gradient(*leaves):
        return jax.tree.leaves(jax.grad(f)(jax.tree.unflatten(structure, leaves)))

    program = jax.export.export(jax.jit(gradient))(*leaves)
    return jax.export.deserialize(program.serialize()).call(*leaves)


TRANSFORMATIONS: dict[str, Callable[[Any], Any]] = {
    "`jit`": lambda f: jax.jit(f)(PARAMS),
    "`grad`": lambda f: jax.jit(jax.grad(f))(PARAMS),
    "`jvp`": lambda f: jax.jvp(f, (PARAMS,), (V,)),
    "`linearize`": lambda f: jax.linearize(f, PARAMS)[1](V),
    "`jacfwd`": lambda f: jax.jit(jax.jacfwd(f))(PARAMS),
    "`jacrev`": lambda f: jax.jit(jax.jacrev(f))(PARAMS),
    "`hessian`": lambda f: jax.jit(jax.hessian(lambda b: f(dataclasses.replace(PARAMS, b_hn=b))))(
        PARAMS.b_hn
    ),
    "`grad` of `grad`": lambda f: jax.jit(jax.grad(lambda p: squared(jax.grad(f)(p))))(PARAMS),
    "third order": lambda f: jax.jit(jax.jacfwd(partial(hessian_product, f, v=V)))(PARAMS).b_hn,
    "Hessian-vector product": lambda f: jax.jit(partial(hessian_product, f))(PARAMS, V),
    "Gauss–Newton product": lambda f: jax.jit(partial(gauss_newton, f))(PARAMS, V),
    "`vmap` over parameters": lambda f: jax.jit(jax.vmap(f))(MODELS),
    "`vmap` of `grad`": lambda f: jax.jit(jax.vmap(jax.grad(f)))(MODELS),
    "`grad` of `vmap`": lambda f: jax.jit(jax.grad(lambda m: jax.vmap(f)(m).sum()))(MODELS),
    "`vmap` of `jvp`": lambda f: jax.jit(jax.vmap(lambda p: jax.jvp(f, (p,), (p,))))(MODELS),
    "`checkpoint`": lambda f: jax.jit(jax.grad(jax.checkpoint(f)))(PARAMS),
    "inside `lax.scan`": lambda f: jax.jit(partial(scanned, f))(PARAMS),
    "`jax.export`": lambda f: exported(f, PARAMS),
}


def squared(tree):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


# One row of the table runs in the first tier with the implementations that None may pick.
FIRST_TIER = {"`hessian`"}
CELLS = [
    pytest.param(
        transformation,
        implementation,
        marks=()
        if transformation in FIRST_TIER and implementation in ("scan", "native")
        else pytest.mark.slow,
        id=f"{transformation.replace('`', '')}-{implementation}",
    )
    for transformation in TRANSFORMATIONS
    for implementation in IMPLEMENTATIONS
]


@pytest.mark.parametrize(("transformation", "implementation"), CELLS)
def test_values_equal_those_of_plain(transformation, implementation):
    """Of one direction and of both; against the plain implementation without `jit`."""
    apply = TRANSFORMATIONS[transformation]
    for function in (loss, both):
        got = apply(partial(function, implementation))
        assert_close(got, apply(partial(function, "plain")), "float32", 1e-4)


def through_scan(implementation, params):
    """Two segments, one after the other in a `lax.scan`, with the batch in two parts."""

    def run_segment(h, xs):
        h, hs = grujax.gru(params, xs, h, implementation=implementation)
        return h, jnp.sum(hs**2)

    def run_rows(xs):
        return jax.lax.scan(run_segment, jnp.zeros((1, 4)), xs)[1]

    return jnp.sum(jax.vmap(run_rows, 2)(XS.reshape(2, 3, 2, 1, 3)))


@pytest.mark.parametrize(
    "implementation",
    ["native", *(pytest.param(name, marks=pytest.mark.slow) for name in ("scan", "newton"))],
)
def test_second_derivatives_through_a_scan_keep_the_rules(implementation):
    """JAX takes what does not depend on the carry out of a scan before it differentiates again."""

    def product(implementation):
        return jax.jit(partial(hessian_product, partial(through_scan, implementation)))(PARAMS, V)

    assert_close(product(implementation), product("plain"), "float32", 1e-4)
