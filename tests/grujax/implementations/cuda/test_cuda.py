"""The CUDA kernel without a GPU: emulated on the host, compiled for one, and refused."""

import glob
import logging
import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.interpreters import mlir

import grujax
from grujax.implementations import cuda
from grujax.implementations.cuda import launch as cuda_launch
from grujax.implementations.cuda import layouts as cuda_layouts
from grujax.implementations.cuda import nvrtc, support
from grujax.implementations.layout import batch_major
from grujax.implementations.library_cache import KernelError
from grujax.implementations.primitive import lowering
from grujax.implementations.primitive.model_batch import ModelBatch
from grujax.implementations.primitive.primitives import backward_p, forward_p
from grujax.implementations.types import Residuals
from tests.fixtures.cuda_emulator import SMALL_LAYOUTS, emulated_call
from tests.helpers import COMPILER, Draw, assert_close

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
needs_nvrtc = pytest.mark.skipif(nvrtc._find_library() is None, reason="there is no NVRTC")

PRIMITIVES = (forward_p, backward_p)


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
    yield partial(monkeypatch.setattr, cuda_layouts, "MULTIPROCESSORS")
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
@pytest.mark.parametrize("reset_after", [True, False])
def test_gates_that_were_not_saved_are_recomputed(emulated, reset_after):
    args = support._example("float32", 20, reset_after)
    batch = ModelBatch(1, (False,))
    is_batched = jax.tree.map(lambda _: False, (args,))
    outputs = cuda.forward(batch, is_batched, args, keep_gates=True)
    h_last, hs, gates = jax.tree.map(lambda of_models: of_models[0], outputs)

    def gradient(gates):
        arguments = Residuals(args, hs, gates), h_last, hs
        is_batched = jax.tree.map(lambda _: False, arguments)
        return cuda.backward(batch, is_batched, *arguments)

    assert_close(gradient(None), gradient(gates), "float32")


def test_without_a_device_it_raises_by_name():
    params = grujax.init_gru(jax.random.key(0), 2, 3)
    with pytest.raises(ValueError, match="has no NVIDIA GPU"):
        grujax.gru(params, jnp.ones((4, 2)), implementation="cuda")


@pytest.mark.parametrize(("units", "dtype"), [(300, "float32"), (600, "bfloat16"), (8, "float16")])
def test_unsupported_sizes_and_dtypes_raise(monkeypatch, units, dtype):
    monkeypatch.setattr(cuda, "require", lambda: None)
    shapes = [(3, 2, units), (3, units, units), (3, units), (units,)]
    params = grujax.GRUParams(*(jnp.zeros(shape, dtype) for shape in shapes))
    with pytest.raises(ValueError, match=rf"H ≤ 256.*got {dtype}, H = {units}"):
        grujax.gru(params, jnp.ones((4, 2), dtype), implementation="cuda")


@pytest.fixture
def fresh(monkeypatch):
    """A process in which everything is installed and no answer is cached."""
    asked = cuda.passes_self_test, support._self_test
    for function in asked:
        function.cache_clear()
    monkeypatch.setattr(nvrtc, "is_installed", lambda: True)
    yield
    for function in asked:
        function.cache_clear()


def test_an_older_gpu_runs_the_scan_and_logs_once(fresh, monkeypatch, caplog):
    device = SimpleNamespace(compute_capability="8.0", device_kind="NVIDIA A100")
    monkeypatch.setattr(support, "_devices", lambda: [device])
    with caplog.at_level(logging.INFO, "grujax"):
        assert [cuda.passes_self_test() for _ in range(2)] == [False, False]
    assert [record.getMessage() for record in caplog.records] == [
        "grujax runs its scan instead of the CUDA kernel: NVIDIA A100 has compute capability 8.0."
    ]
    with pytest.raises(ValueError, match="A100 has compute capability 8"):
        cuda.require()


@pytest.mark.parametrize("failure", ["wrong", "raises"])
def test_a_kernel_that_fails_its_self_test_is_not_used(fresh, monkeypatch, caplog, failure):
    device = SimpleNamespace(compute_capability="9.0", device_kind="NVIDIA H100")
    monkeypatch.setattr(support, "_devices", lambda: [device])

    def error(dtype, units, reset_after):
        if failure == "raises":
            raise KernelError("NVRTC does not compile gru.cu")
        return float("nan")

    monkeypatch.setattr(support, "_error", error)
    with caplog.at_level(logging.INFO, "grujax"):
        assert not cuda.passes_self_test()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@needs_compiler
@pytest.mark.slow
def test_the_self_test_passes_and_fails(fresh, emulated, monkeypatch):
    monkeypatch.setattr(support, "_devices", lambda: jax.devices("cpu"))
    monkeypatch.setattr(support, "_SELF_TESTS", {("float32", 20, True): 1e-5})
    assert support._self_test() is None
    support._self_test.cache_clear()

    def without_carrying(launch, definitions, operands, results):
        return [0.5 * array for array in emulated_call(launch, definitions, operands, results)]

    monkeypatch.setattr(cuda_launch, "call", without_carrying)
    assert "error of" in support._self_test()


# --- compiled for a GPU that is not there ---------------------------------------------------------


def lowered_for_a_gpu(function, *arguments):
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


@needs_nvrtc
def test_a_pass_is_one_launch(fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(nvrtc, "_compile", nvrtc._compile.__wrapped__)
    monkeypatch.setattr(cuda, "require", lambda: None)
    params, xs = grujax.init_gru(jax.random.key(0), 2, 30), jnp.ones((4, 3, 2))

    def loss(params, xs):
        return grujax.gru(params, xs, lengths=jnp.array([4, 0, 2]), implementation="cuda")[1].sum()

    def pair(params):
        return grujax.bidirectional_gru((params, params), xs)[1]

    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    call = "__gpu$xla.gpu.ptx"
    assert lowered_for_a_gpu(jax.grad(loss), params, xs).count(call) == 2
    assert lowered_for_a_gpu(jax.vmap(loss, (0, None)), stacked, xs).count(call) == 1
    assert lowered_for_a_gpu(jax.vmap(pair), stacked).count(call) == 1
    files = list((tmp_path / "grujax" / "kernels").glob("*.ptx"))
    assert files
    assert all(".version 8.1" in file.read_text() for file in files)

    exported = export.export(jax.jit(loss), platforms=["cuda"])(params, xs)
    assert call not in exported.mlir_module()


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("backward", [0, 1])
@pytest.mark.parametrize("reset_after", [1, 0])
@pytest.mark.parametrize(
    ("dtype", "layout"),
    [(dtype, layout) for dtype, layouts in cuda_layouts.LAYOUTS.items() for layout in layouts],
    ids=lambda value: str(getattr(value, "units", value)),
)
def test_weights_stay_in_registers(tmp_path, dtype, layout, reset_after, backward):
    """At most 192 of 255 registers are weights. What spills is a few numbers; with the tensor
    cores, weights on their way into registers, before the first step; and in the widest layout
    some of what the steps need, more of it with two products."""
    ptxas = find_ptxas()
    rows = layout._replace(rows=cuda_layouts.MOST_ROWS if layout.cluster > 1 else 2)
    definitions = {
        **rows.definitions(),
        "BACKWARD": backward,
        "RESET_AFTER": reset_after,
        "BFLOAT16": int(dtype == "bfloat16"),
        "BATCH_MAJOR": 1,
        "KEEP_GATES": 1 - backward,
        "HAS_RESTART": 1,
        "HAS_DROPOUT_MASK": 0,
        "HAS_ZONEOUT_RATE": 0,
        "HAS_VALID": 1,
        "KEPT_UNITS": layout.units * (1 - backward),
    }
    (tmp_path / "gru.ptx").write_text(nvrtc.compile_to_ptx(definitions))
    command = [ptxas, "-arch=sm_90", "-v", "gru.ptx", "-o", os.devnull]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    spilled = int(run.stderr.split("bytes spill stores")[0].split()[-1])
    words = 16 if not layout.is_tensor else 96 if layout.units == 256 else 208 * (2 - reset_after)
    assert spilled <= 4 * words


def find_ptxas():
    folders = [os.path.join(path, "nvidia", "c*", "bin", "ptxas") for path in sys.path]
    found = [path for folder in folders for path in glob.glob(folder)]
    if not found:
        pytest.skip("there is no ptxas")
    return found[0]
