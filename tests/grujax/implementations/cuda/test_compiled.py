"""The CUDA kernel, compiled for GPUs that are not there: launches, and what registers hold."""

import re
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import pytest
from jax import export

import grujax
from grujax.implementations import cuda
from grujax.implementations.cuda import nvrtc, ptx_call
from grujax.implementations.cuda.devices import Device
from grujax.implementations.cuda.layouts import LAYOUTS
from grujax.implementations.library_cache import read_sources

needs_nvrtc = pytest.mark.skipif(nvrtc._find_library() is None, reason="there is no NVRTC")


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
def test_a_gpu_without_clusters_holds_fewer_units(fresh, monkeypatch):
    """By default it runs the scan; the kernel by name is refused."""
    monkeypatch.setattr(cuda, "require", lambda: None)
    monkeypatch.setattr(cuda, "target", lambda: Device((8, 0), 108))

    def lowered(units, implementation=None):
        params, xs = grujax.init_gru(jax.random.key(0), 2, units), jnp.ones((4, 3, 2))
        run = partial(grujax.gru, implementation=implementation)
        return lowered_for_a_gpu(run, params, xs)

    text = lowered(128)
    assert ptx_call.TARGET in text
    assert ".target sm_80" in text
    assert ptx_call.TARGET not in lowered(129)
    with pytest.raises(ValueError, match=r"capability 8\.0, which holds H ≤ 128, got H = 129"):
        lowered(129, "cuda")


def definitions_of(layout, dtype, backward, reset_after, **options):
    return {
        **layout.definitions(),
        "BACKWARD": backward,
        "RESET_AFTER": reset_after,
        "BFLOAT16": int(dtype == "bfloat16"),
        "BATCH_MAJOR": 0,
        "KEEP_GATES": 1 - backward,
        "HAS_RESTART": 0,
        "HAS_DROPOUT_MASK": 0,
        "HAS_ZONEOUT_RATE": 0,
        "HAS_VALID": 0,
        "KEPT_UNITS": 0,
    } | options


def spilled_bytes(architecture, definitions):
    """What a thread of the machine code for `sm_XX` writes because registers do not hold it."""
    options = [f"--gpu-architecture={architecture}", "-std=c++17", "--ptxas-options=-v"]
    options += [f"-D{name}={value}" for name, value in definitions.items()]
    sources = read_sources(nvrtc._SOURCE, ".cu", ".cuh")
    log = nvrtc._compile_sources(nvrtc._load_library(), sources, tuple(options), "ProgramLog")
    (spilled,) = re.findall(r"(\d+) bytes spill stores", log)
    return int(spilled)


def in_every_tier(architectures, layouts):
    """All layouts of one block on all architectures, of which one is in the first tier; the widest
    with either reset form."""
    for dtype, architecture, reset_after in product(layouts, architectures, (1, 0)):
        for layout in layouts[dtype]:
            is_first = (dtype, architecture, layout.units) == ("float32", "sm_75", 32)
            marks = () if is_first else pytest.mark.slow
            if layout.cluster == 1 and (reset_after or layout.units == 128):
                label = f"{dtype}-{architecture}-{layout.units}-{reset_after}"
                yield pytest.param(architecture, dtype, layout, reset_after, marks=marks, id=label)


ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100")


@needs_nvrtc
@pytest.mark.parametrize(
    ("architecture", "dtype", "layout", "reset_after"),
    list(in_every_tier(ARCHITECTURES, LAYOUTS)),
)
@pytest.mark.parametrize("backward", [0, 1])
def test_one_block_keeps_all_in_registers(architecture, dtype, layout, reset_after, backward):
    """With as many rows as a block can have."""
    layout = layout._replace(rows=layout.most_rows)
    spilled = spilled_bytes(architecture, definitions_of(layout, dtype, backward, reset_after))
    assert spilled == 0


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("backward", [0, 1])
@pytest.mark.parametrize("reset_after", [1, 0])
@pytest.mark.parametrize(
    ("dtype", "layout"),
    [(dtype, layout) for dtype, layouts in LAYOUTS.items() for layout in layouts],
    ids=lambda value: str(getattr(value, "units", value)),
)
def test_weights_stay_in_registers(dtype, layout, reset_after, backward):
    """At most 192 of 255 registers are weights. What spills is a few numbers; with the tensor
    cores, weights on their way into registers, before the first step; and in the widest layout
    some of what the steps need, more of it with two products."""
    rows = layout._replace(rows=layout.most_rows if layout.cluster > 1 else 2)
    options = {"BATCH_MAJOR": 1, "HAS_RESTART": 1, "HAS_VALID": 1}
    options["KEPT_UNITS"] = layout.units * (1 - backward)
    definitions = definitions_of(rows, dtype, backward, reset_after, **options)
    spilled = spilled_bytes("sm_90", definitions)
    words = 16 if not layout.is_tensor else 96 if layout.units == 256 else 208 * (2 - reset_after)
    assert spilled <= 4 * words
