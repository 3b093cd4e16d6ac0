"""The CUDA kernel, emulated on the host."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import mlir

import grujax
from grujax.implementations import cuda
from grujax.implementations.cuda import launch as cuda_launch
from grujax.implementations.cuda import layouts as cuda_layouts
from grujax.implementations.cuda import support
from grujax.implementations.cuda.devices import H100, Device
from grujax.implementations.layout import batch_major
from grujax.implementations.primitive import lowering
from grujax.implementations.primitive.model_batch import ModelBatch
from grujax.implementations.primitive.primitives import backward_p, forward_p
from grujax.implementations.types import Residuals
from tests.fixtures.cuda.emulator import SMALL_LAYOUTS, emulated_call
from tests.helpers import COMPILER, Draw, assert_close

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")

PRIMITIVES = (forward_p, backward_p)
REAL_LAYOUTS = cuda_layouts.LAYOUTS


@pytest.fixture
def emulated(monkeypatch):
    """`implementation="cuda"` runs emulated on the CPU, on small layouts."""
    monkeypatch.setattr(cuda_layouts, "LAYOUTS", SMALL_LAYOUTS)
    monkeypatch.setattr(cuda_launch, "call", emulated_call)
    monkeypatch.setattr(cuda, "require", lambda: None)
    monkeypatch.setattr(cuda, "passes_self_test", lambda: True)
    for primitive in PRIMITIVES:
        lower = partial(lowering._lower_cuda, primitive)
        mlir.register_lowering(primitive, lower, platform="cpu")

    def set_multiprocessors(number):
        monkeypatch.setattr(cuda, "target", lambda: H100._replace(multiprocessors=number))

    yield set_multiprocessors
    for primitive in PRIMITIVES:
        lower = partial(lowering._lower_native, primitive)
        mlir.register_lowering(primitive, lower, platform="cpu")


def weighted(h_last, hs):
    """A number that depends on every entry of the results with another weight."""
    dtype = jnp.promote_types(hs.dtype, jnp.float32)
    weights = jnp.cos(jnp.arange(hs.size, dtype=dtype)).reshape(hs.shape)
    return (weights * hs).sum() + (h_last.astype(dtype) ** 2).sum()


def results(run, arguments):
    """Outputs, and the gradients of a number made of them."""

    def loss(*arguments):
        outputs = run(*arguments)
        return weighted(*outputs), outputs

    (_, outputs), gradients = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(*arguments)
    return outputs, gradients


def one(implementation, options, params, xs, h0):
    return grujax.gru(params, xs, h0, reset_state=h0, implementation=implementation, **options)


def both(implementation, options, params, xs, h0):
    """Two directions with different weights and states."""
    other = jax.tree.map(lambda leaf: -0.9 * leaf, params)
    states = h0, 0.5 * h0
    options = {**options, "reset_state": states, "implementation": implementation}
    last, hs = grujax.bidirectional_gru((params, other), xs, states, **options)
    return jnp.concatenate(last, axis=-1), hs


def models(implementation, options, params, xs, h0):
    """Three models with weights, rates of zoneout, lengths and masks of their own, on one input."""
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf, -leaf]), params)
    rates = jnp.array([0.0, 0.3, 0.6], xs.dtype)
    lengths = jnp.array([[4, 2], [0, 3], [1, 4]])
    masks = jnp.stack([MASK[:, :2], MASK[:, 1:], ~MASK[:, :2]])

    def run(params, zoneout, lengths, mask):
        own = {"zoneout": zoneout, "lengths": lengths, "mask": mask}
        return one(implementation, {**options, **own}, params, xs, h0)

    return jax.vmap(run)(stacked, rates, lengths, masks)


RESETS = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]], bool)
LENGTHS = np.array([4, 0, 3])
MASK = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1], [1, 0, 1]], bool)
EVERYTHING = {"lengths": LENGTHS, "mask": MASK, "resets": RESETS, "zoneout": 0.3, "reverse": True}
DRAWN = {"zoneout": 0.4, "recurrent_dropout": 0.3, "key": jax.random.key(3), "lengths": LENGTHS}
# (run, dtype, H, multiprocessors, options). Few multiprocessors make tiles of several rows, of
# which the last one is ragged.
CASES = {
    "one block, two models at once": (models, "float32", 11, 2, {"resets": RESETS[:, :2]}),
    "two blocks, everything": (one, "float32", 20, 4, EVERYTHING),
    "four blocks, both directions": (both, "float32", 40, 132, {"resets": RESETS, **DRAWN}),
    "bfloat16, one block": (one, "bfloat16", 16, 1, DRAWN),
    "tensor cores, two blocks, sixteen rows": (one, "bfloat16", 30, 1, EVERYTHING),
    "tensor cores, four blocks": (both, "bfloat16", 64, 132, {"lengths": LENGTHS}),
    "reset before, one block": (models, "float32", 11, 2, {"resets": RESETS[:, :2]}),
    "reset before, four blocks": (both, "float32", 40, 132, {"resets": RESETS, **DRAWN}),
    "reset before, tensor cores": (one, "bfloat16", 30, 1, EVERYTHING),
    "batch-major, two models at once": (models, "float32", 11, 2, {"resets": RESETS[:, :2]}),
    "batch-major, both directions": (both, "float32", 20, 4, {"resets": RESETS, **DRAWN}),
    "batch-major, tensor cores": (one, "bfloat16", 30, 1, EVERYTHING),
    "batch-major, reset before": (one, "float32", 20, 4, EVERYTHING | DRAWN),
}


# The first tier has both products, both reset forms, both orders of the axes, several models, both
# directions, and every option.
FIRST_TIER = {
    "one block, two models at once",
    "four blocks, both directions",
    "tensor cores, two blocks, sixteen rows",
    "batch-major, reset before",
}
SECOND_TIER = {"bfloat16, one block", "reset before, tensor cores", "batch-major, tensor cores"}


def in_tier(case: str):
    tier = pytest.mark.slow if case in SECOND_TIER else pytest.mark.long
    return case if case in FIRST_TIER else pytest.param(case, marks=tier)


@needs_compiler
@pytest.mark.parametrize("case", [in_tier(case) for case in CASES])
def test_the_emulated_kernel_agrees_with_plain(emulated, case):
    run, dtype, units, multiprocessors, options = CASES[case]
    emulated(multiprocessors)
    draw = Draw(case, dtype)
    batch = 2 if run is models else 3
    params = draw.params(3, units, reset_after="before" not in case)
    params = jax.tree.map(lambda leaf: 0.5 * leaf, params)
    arguments = params, draw.normal(4, batch, 3), draw.normal(batch, units)
    with batch_major("batch-major" in case):
        got = results(partial(run, "cuda", options), arguments)
    want = results(partial(run, "plain", options), arguments)
    assert_close(got, want, dtype)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("units", [30, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_emulated_gpu_without_clusters_agrees_with_plain(emulated, monkeypatch, dtype, units):
    """With as many threads as on the device."""
    monkeypatch.setattr(cuda_layouts, "LAYOUTS", REAL_LAYOUTS)
    monkeypatch.setattr(cuda, "target", lambda: Device((7, 5), 1))
    draw = Draw("no clusters", dtype)
    params = jax.tree.map(lambda leaf: 0.5 * leaf, draw.params(3, units))
    arguments = params, draw.normal(4, 3, 3), draw.normal(3, units)
    got = results(partial(one, "cuda", EVERYTHING), arguments)
    assert_close(got, results(partial(one, "plain", EVERYTHING), arguments), dtype)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("reset_after", [True, False])
def test_gates_that_were_not_saved_are_recomputed(emulated, reset_after):
    args = support._example("float32", 20, reset_after)
    batch = ModelBatch(1, (False,))
    is_batched = jax.tree.map(lambda _: False, (args,))
    outputs = cuda.forward(H100, batch, is_batched, args, keep_gates=True)
    h_last, hs, gates = jax.tree.map(lambda of_models: of_models[0], outputs)

    def gradient(gates):
        arguments = Residuals(args, hs, gates), h_last, hs
        is_batched = jax.tree.map(lambda _: False, arguments)
        return cuda.backward(H100, batch, is_batched, *arguments)

    assert_close(gradient(None), gradient(gates), "float32")


@needs_compiler
@pytest.mark.slow
def test_the_self_test_passes_and_fails(fresh, emulated, monkeypatch):
    monkeypatch.setattr(support, "local_gpus", lambda: jax.devices("cpu"))
    monkeypatch.setattr(support, "capability_of", lambda gpu: H100.capability)
    monkeypatch.setattr(support, "_SELF_TESTS", {("float32", 20, True): 1e-5})
    assert support._self_test() is None
    support._self_test.cache_clear()

    def without_carrying(launch, definitions, operands, results):
        return [0.5 * array for array in emulated_call(launch, definitions, operands, results)]

    monkeypatch.setattr(cuda_launch, "call", without_carrying)
    assert "error of" in support._self_test()
