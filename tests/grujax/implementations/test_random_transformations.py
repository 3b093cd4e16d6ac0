"""Random cases: a shape, options, a dtype, a transformation and a flag; against plain without one.

What the tables of `test_transformations.py` and `test_flags.py` hold one at a time, together.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import grujax
from grujax.jax_support.promotion import wide_dtype
from tests.grujax.test_flags import FLAGS
from tests.helpers import COMPILER, DTYPES_OF, Draw

Function = Callable[..., Any]  # of (params, xs, h0)


@dataclass(frozen=True)
class Case:
    """What a failure prints, and all that is needed to run it again."""

    implementation: str | None
    dtype: str
    transformation: str
    flag: str | None
    steps: int
    batch: tuple[int, ...]
    input_size: int
    hidden_size: int
    reset_after: bool
    reverse: bool
    has_two_directions: bool
    has_h0: bool
    has_lengths: bool
    has_mask: bool
    has_resets: bool
    has_nan_in_padding: bool
    zoneout: float
    recurrent_dropout: float
    has_key: bool
    stop_gradient_every: int | None

    def options(self, draw: Draw) -> dict[str, Any]:
        """The arguments of `gru` besides the three that are differentiated."""
        options: dict[str, Any] = {
            "zoneout": self.zoneout,
            "recurrent_dropout": self.recurrent_dropout,
            "stop_gradient_every": self.stop_gradient_every,
            "key": jax.random.key(3) if self.has_key else None,
        }
        if self.has_lengths:
            lengths = draw.rng.integers(0, self.steps + 1, self.batch)
            options["lengths"] = jnp.asarray(lengths, jnp.int32)
        if self.has_mask:
            options["mask"] = jnp.asarray(draw.bools(self.steps, *self.batch, rate=0.7))
        if self.has_resets:
            options["resets"] = jnp.asarray(draw.bools(self.steps, *self.batch))
        return options


# --- transformations: from a function and its arguments to a pytree of arrays --------------------


def outputs(f: Function, *primals: Any) -> Any:
    return jax.jit(f)(*primals)


def loss(f: Function, *primals: Any) -> Any:
    """A number of which no derivative vanishes."""
    leaves = [leaf.astype(wide_dtype(leaf.dtype)) for leaf in jax.tree.leaves(f(*primals))]
    weights = [jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)) for leaf in leaves]
    pairs = zip(leaves, weights, strict=True)
    return sum(jnp.sum(jnp.sin(leaf) * w.reshape(leaf.shape)) for leaf, w in pairs)


def gradient(f: Function, *primals: Any) -> Any:
    return jax.grad(partial(loss, f), argnums=tuple(range(len(primals))))(*primals)


def tangents_of(primals: Any) -> Any:
    return jax.tree.map(
        lambda leaf: jnp.cos(3 * jnp.arange(leaf.size)).reshape(leaf.shape), primals
    )


def cast_like(tree: Any, like: Any) -> Any:
    return jax.tree.map(lambda leaf, of: leaf.astype(of.dtype), tree, like)


def push(f: Function, *primals: Any) -> Any:
    return jax.jvp(f, primals, cast_like(tangents_of(primals), primals))


def linearized(f: Function, *primals: Any) -> Any:
    result, push_forward = jax.linearize(f, *primals)
    return result, push_forward(*cast_like(tangents_of(primals), primals))


def hessian_product(f: Function, *primals: Any) -> Any:
    return push(partial(gradient, f), *primals)[1]


def by_state(f: Function, params: Any, xs: Any, h0: Any) -> Any:
    return jax.jacfwd(partial(f, params, xs))(h0)


def over_models(f: Function, params: Any, *others: Any) -> Any:
    models = jax.tree.map(lambda w: jnp.stack([w, -w, 0.5 * w]), params)
    return jax.vmap(f, (0, None, None))(models, *others)


def over_data(f: Function, params: Any, xs: Any, h0: Any) -> Any:
    return jax.vmap(f, (None, 1, None), 1)(params, jnp.stack([xs, -xs], axis=1), h0)


def over_both(f: Function, *primals: Any) -> Any:
    return jax.vmap(f)(*jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), primals))


def scanned(f: Function, params: Any, xs: Any, h0: Any) -> Any:
    """Descends the gradient twice."""

    def update(params: Any, _: Any) -> Any:
        d_params, *_ = gradient(f, params, xs, h0)
        return jax.tree.map(lambda w, d: w - (0.1 * d).astype(w.dtype), params, d_params), None

    return jax.lax.scan(update, params, length=2)[0]


def on_mesh(kind: AxisType) -> jax.sharding.Mesh:
    return jax.make_mesh((1,), ("data",), axis_types=(kind,))


def in_shard_map(f: Function, params: Any, xs: Any, h0: Any) -> Any:
    specs = P(), P(None, "data"), P("data")
    mapped = jax.shard_map(
        partial(gradient, f), mesh=on_mesh(AxisType.Auto), in_specs=specs, out_specs=specs
    )
    return mapped(params, xs, h0) if xs.ndim > 2 else gradient(f, params, xs, h0)


def on_explicit_mesh(f: Function, params: Any, xs: Any, h0: Any) -> Any:
    mesh = on_mesh(AxisType.Explicit)
    rows = "data" if xs.ndim > 2 else None
    with jax.set_mesh(mesh):
        place = lambda array, *spec: jax.device_put(array, NamedSharding(mesh, P(*spec)))  # noqa: E731
        params = jax.tree.map(place, params)
        return jax.jit(partial(gradient, f))(params, place(xs, None, rows), place(h0, rows))


TRANSFORMATIONS: dict[str, Function] = {
    "outputs": outputs,
    "grad": gradient,
    "jvp": push,
    "linearize": linearized,
    "hessian-vector product": hessian_product,
    "jacfwd by h0": by_state,
    "vmap over params": over_models,
    "vmap over data": over_data,
    "vmap over both": over_both,
    "grad of vmap": lambda f, *primals: gradient(partial(over_models, f), *primals),
    "jvp of vmap": lambda f, *primals: push(partial(over_both, f), *primals),
    "vmap of grad": lambda f, *primals: over_models(partial(gradient, f), *primals),
    "vmap of hessian-vector product": lambda f, *primals: over_both(
        partial(hessian_product, f), *primals
    ),
    "checkpoint": lambda f, *primals: gradient(jax.checkpoint(f), *primals),
    "scan": scanned,
    "shard_map": in_shard_map,
    "explicit mesh": on_explicit_mesh,
}
SECOND_ORDER = {"hessian-vector product", "vmap of hessian-vector product"}
EAGER = {"explicit mesh"}  # these compile themselves

IMPLEMENTATIONS = ["scan", "newton", *(["native", None] if COMPILER else [])]


@st.composite
def cases(draw: Any) -> Case:
    implementation = draw(st.sampled_from(IMPLEMENTATIONS))
    booleans = st.booleans()
    reverse, has_lengths = draw(booleans), draw(booleans)
    transformation = draw(st.sampled_from(list(TRANSFORMATIONS)))
    dtype = draw(st.sampled_from(DTYPES_OF[implementation or "native"]))
    if transformation in SECOND_ORDER and dtype in ("bfloat16", "float16"):
        dtype = "float32"
    flag = draw(st.sampled_from([*[None] * len(FLAGS), *FLAGS]))
    return Case(
        implementation=implementation,
        dtype=dtype,
        transformation=transformation,
        flag=flag,
        steps=draw(st.sampled_from([4, 1, 3, 6, 0])),
        batch=draw(st.sampled_from([(3,), (), (1,), (2, 2), (9,)])),
        input_size=draw(st.sampled_from([2, 1, 3])),
        hidden_size=draw(st.sampled_from([3, 1, 5])),
        reset_after=draw(booleans),
        reverse=reverse,
        has_two_directions=draw(booleans),
        has_h0=draw(booleans),
        has_lengths=has_lengths,
        has_mask=draw(booleans),
        has_resets=draw(booleans),
        has_nan_in_padding=has_lengths and draw(booleans) and flag != "debug_nans",
        zoneout=draw(st.sampled_from([0.0, 0.3])),
        recurrent_dropout=draw(st.sampled_from([0.0, 0.4])),
        has_key=draw(booleans),
        stop_gradient_every=draw(st.sampled_from([None, None, 1, 2, 4])),
    )


# --- one case ------------------------------------------------------------------------------------


def primals_of(case: Case, draw: Draw, options: dict[str, Any]) -> Any:
    """Parameters, inputs and initial state, rounded to the dtype of the case."""
    params = draw.params(case.input_size, case.hidden_size, case.reset_after)
    xs = draw.normal(case.steps, *case.batch, case.input_size)
    if case.has_nan_in_padding:
        padding = np.arange(case.steps).reshape(-1, *(1,) * len(case.batch)) >= options["lengths"]
        xs = np.where(padding[..., None], xs.dtype.type(np.nan), xs)
    return jax.tree.map(jnp.asarray, (params, xs, draw.normal(*case.batch, case.hidden_size)))


def function_of(case: Case, options: dict[str, Any]) -> Function:
    options = options | {"implementation": case.implementation}

    def run(params: Any, xs: Any, h0: Any) -> Any:
        given = h0 if case.has_h0 else None
        if case.has_two_directions:
            pair = params, jax.tree.map(lambda w: -0.5 * w, params)
            after_reset = {"reset_state": (0.5 * h0, 0.0)} if case.has_resets else {}
            return grujax.bidirectional_gru(pair, xs, (given, None), **options, **after_reset)
        if case.has_resets:
            options["reset_state"] = 0.5 * h0
        return grujax.gru(params, xs, given, reverse=case.reverse, **options)

    return run


def apply(case: Case, primals: Any, options: dict[str, Any]) -> Any:
    function = partial(TRANSFORMATIONS[case.transformation], function_of(case, options))
    with FLAGS[case.flag]() if case.flag else nullcontext():
        if case.transformation not in EAGER:
            function = jax.jit(function)
        return jax.block_until_ready(function(*primals))


def tolerance_of(case: Case) -> float:
    if case.implementation == "newton" and case.dtype == "float64":
        return 1e-6
    return {"float64": 1e-11, "float32": 2e-4, "float16": 2e-2, "bfloat16": 8e-2}[case.dtype]


def check(case: Case) -> None:
    """Each array within the tolerance of its largest entry, or of a tenth of that of all."""
    with jax.enable_x64(case.dtype == "float64"):
        draw = Draw("random transformations", case.dtype)
        options = case.options(draw)
        primals = primals_of(case, draw, options)
        got = apply(case, primals, options)
        plain = replace(case, implementation="plain", flag=None)
        wide = jax.tree.map(lambda leaf: leaf.astype(wide_dtype(leaf.dtype)), primals)
        want = apply(plain, wide, options)
        assert jax.tree.structure(got) == jax.tree.structure(want)
        pairs = [
            (np.asarray(a, "float64"), np.asarray(b, "float64"))
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
        ]
    largest = [np.max(np.abs(b), initial=0) for _, b in pairs]
    for (a, b), scale in zip(pairs, largest, strict=True):
        limit = tolerance_of(case) * max(scale, 0.1 * max(largest))
        np.testing.assert_allclose(a, b, rtol=0, atol=limit)


@settings(max_examples=3)
@given(cases())
def test_a_few_random_cases(case):
    check(case)


@pytest.mark.slow
@settings(max_examples=50)
@given(cases())
def test_random_cases(case):
    check(case)


@pytest.mark.long
@settings(max_examples=500)
@given(cases())
def test_many_random_cases(case):
    check(case)
