"""Is it right on this device? Outputs, gradients and tangents, compared with float64 on the CPU."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import grujax
from experiments.benchmark.gpu.programs import holds
from grujax import linen
from grujax.convert import to_linen

TOLERANCES = {"float32": (1e-5, 1e-4), "bfloat16": (2e-2, 4e-2)}  # for outputs, for derivatives
STEPS, INPUTS = 40, 7
ALL = ("lengths", "resets", "reverse", "zoneout")


class Check(NamedTuple):
    """A shape and the options of `gru`."""

    name: str
    batch: int
    units: int
    dtype: str = "float32"
    options: tuple[str, ...] = ()  # a subset of ALL
    kind: str = "one"  # or "models" (vmap), "both" (directions), or "layer" (batch-major)
    reset_after: bool = True
    is_tangent: bool = False  # forward mode: the tangent along the arguments, not the gradient


OF_THE_KERNEL = (
    Check("one block", 5, 64),
    Check("padded units, all options", 6, 100, options=ALL),
    Check("cluster, many rows", 540, 256, options=("lengths", "resets")),
    Check("models", 3, 64, options=("lengths",), kind="models"),
    Check("both directions, cluster", 5, 256, options=("lengths", "resets"), kind="both"),
    Check("batch-major, all options", 20, 100, options=ALL, kind="layer"),
    Check("batch-major, bfloat16, cluster", 200, 512, "bfloat16", ("lengths",), kind="layer"),
    Check("bfloat16, one block", 5, 128, "bfloat16", ("lengths",)),
    Check("bfloat16, cluster, all options", 200, 512, "bfloat16", ALL),
    Check("reset before, models", 3, 100, options=("lengths",), kind="models", reset_after=False),
    Check("reset before, cluster, all options", 40, 256, options=ALL, reset_after=False),
    Check("reset before, bfloat16, cluster", 200, 512, "bfloat16", reset_after=False),
    Check("forward mode", 5, 64, options=("lengths", "resets"), is_tangent=True),
)
OF_OTHERS = (
    Check("lengths and resets", 5, 24, options=("lengths", "resets")),
    Check("reset before, all options", 5, 24, options=ALL, reset_after=False),
    Check("forward mode", 5, 24, options=("lengths", "resets"), is_tangent=True),
)
CHECKS = {"cuda": OF_THE_KERNEL, "scan": OF_OTHERS, "plain": OF_OTHERS, "newton": OF_OTHERS}


def run_checks(implementation: str, checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Runs the checks that this device holds.

    Returns: for each its `name` and `dtype`, the errors of `outputs` and `derivatives`, relative to
    the largest entry, and whether both are rounding (`is_right`).
    """
    if implementation == "cuda":
        checks = [check for check in checks if holds(check.dtype, check.units)]
    with ThreadPoolExecutor() as threads:  # most of the time is spent compiling
        errors = list(threads.map(lambda check: run_check(check, implementation), checks))
    return [
        {
            "name": check.name,
            "dtype": check.dtype,
            "outputs": outputs,
            "derivatives": derivatives,
            "is_right": outputs <= TOLERANCES[check.dtype][0]
            and derivatives <= TOLERANCES[check.dtype][1],
        }
        for check, (outputs, derivatives) in zip(checks, errors, strict=True)
    ]


def run_check(check: Check, implementation: str) -> tuple[float, float]:
    """The largest error of the outputs, and of the derivatives, relative to `"plain"` in float64.

    The kernel runs as it is. In the others, XLA would round float32 to TF32 in matrix products on a
    GPU, so they run with JAX's precision "highest".
    """
    arguments = jax.tree.map(lambda a: jnp.asarray(a, check.dtype), _draw(check))
    precision = None if implementation == "cuda" else "highest"
    with jax.default_matmul_precision(precision):
        got = _as_float64(jax.jit(_derivative(check, implementation))(*arguments))
    exact = _as_float64(arguments)
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        want = _as_float64(jax.jit(_derivative(check, "plain"))(*exact))
    outputs, derivatives = (
        max(_error(a, b) for a, b in zip(jax.tree.leaves(g), jax.tree.leaves(w), strict=True))
        for g, w in zip(got, want, strict=True)
    )
    return outputs, derivatives


def _draw(check: Check) -> Any:
    """Draws parameters for three models, stacked, and inputs and initial states."""
    rng = np.random.default_rng(0)
    units = check.units

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return rng.normal(size=shape, scale=scale)

    def params() -> grujax.GRUParams:
        return grujax.GRUParams(
            w_x=normal(3, INPUTS, units, scale=INPUTS**-0.5),
            w_h=normal(3, units, units, scale=units**-0.5),
            b_x=normal(3, units, scale=0.3),
            b_hn=normal(units, scale=0.3),
            reset_after=check.reset_after,
        )

    models = jax.tree.map(lambda *leaves: np.stack(leaves), params(), params(), params())
    return models, normal(STEPS, check.batch, INPUTS), normal(check.batch, units, scale=0.5)


def _derivative(check: Check, implementation: str) -> Any:
    """A function of `_draw`'s arrays that returns the outputs, and gradients or tangents."""
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(STEPS, check.batch, check.units))
    options: dict[str, Any] = {"implementation": implementation}
    if "lengths" in check.options:
        options["lengths"] = rng.integers(0, STEPS + 1, check.batch)
    if "resets" in check.options:
        options["resets"] = rng.random((STEPS, check.batch)) < 0.1
    if "reverse" in check.options:
        options["reverse"] = True
    if "zoneout" in check.options:
        options["zoneout"] = 0.3

    def run(params: Any, xs: Any, h0: Any) -> Any:
        if check.kind == "models":
            return jax.vmap(lambda p: grujax.gru(p, xs, h0, reset_state=h0, **options))(params)
        one, other = (jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in (0, 1))
        if check.kind == "both":
            states = h0, 2 * h0
            both = {**options, "reset_state": states, "merge": "sum"}
            lasts, hs = grujax.bidirectional_gru((one, other), xs, states, **both)
            return lasts[0] + lasts[1], hs
        if check.kind == "layer":
            return _run_layer(one, xs, h0, **options)
        return grujax.gru(one, xs, h0, reset_state=h0, **options)

    def loss(*arguments: Any) -> Any:
        h_last, hs = run(*arguments)
        dtype = jnp.promote_types(hs.dtype, jnp.float32)
        total = (hs.astype(dtype) * weights).sum() + (h_last.astype(dtype) ** 2).sum()
        return total.astype(dtype), (h_last, hs)

    def outputs_and_gradients(*arguments: Any) -> Any:
        (_, outputs), gradients = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(*arguments)
        return outputs, gradients

    def outputs_and_tangents(*arguments: Any) -> Any:
        return jax.jvp(run, arguments, arguments)

    return outputs_and_tangents if check.is_tangent else outputs_and_gradients


def _run_layer(params: grujax.GRUParams, xs: Any, h0: Any, **options: Any) -> Any:
    """Runs `gru` through the Flax module, whose arrays are batch-major."""
    call_options = {name: options.pop(name) for name in ("lengths", "resets") if name in options}
    if "resets" in call_options:
        call_options["resets"] = call_options["resets"].T
    layer = linen.GRU(params.hidden_size, deterministic=True, **options)
    variables = {"params": {"cell": to_linen(params)["params"]}}
    h_last, hs = layer.apply(variables, xs.swapaxes(0, 1), h0, reset_state=h0, **call_options)
    return h_last, hs.swapaxes(0, 1)


def _as_float64(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.float64), tree)


def _error(got: np.ndarray, want: np.ndarray) -> float:
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-30))
