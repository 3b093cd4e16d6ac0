"""The passes for TPUs, interpreted on a CPU, and compiled for TPUs that are not there."""

import importlib.util
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax import export
from jax.experimental import pallas as pl

import grujax
from grujax.implementations import plain, tpu
from grujax.implementations.passes import Inputs, Passes, run_passes
from grujax.implementations.tpu import tiles as tpu_tiles
from grujax.implementations.types import Masks
from grujax.sequence import steps_of_walk
from tests.helpers import ROOT, Draw, assert_close, assert_equal, equations_of

MASKS = ("lengths", "resets", "keeps", "zoneout", "scale")


@contextmanager
def interpreter(**constants):
    """Kernels run step by step on the CPU, and sequences are cut by other constants."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pl, "pallas_call", partial(pl.pallas_call, interpret=True))
        for name, value in constants.items():
            patch.setattr(tpu_tiles, name, value)
        yield


@pytest.fixture
def interpreted():
    with interpreter():
        yield


@pytest.fixture(autouse=True)
def compile_faster(compile_quickly):
    """The interpreter's programs are large and run in no time."""
    jax.config.update("jax_disable_most_optimizations", True)


def run_of(keep_gates: bool):
    """An implementation, from the two passes."""
    return partial(run_passes, Passes(tpu.forward_pass, tpu.backward_pass, lambda _: keep_gates))


def walk_of(
    draw: Draw, masked=MASKS, reverse=False, reset_after=True, sizes=(7, 3, 4, 5)
) -> tuple[Inputs, Masks]:
    """Zoneout is drawn and expected at once here, which `gru` never asks for."""
    steps, batch, input_size, hidden = sizes
    lengths = draw.rng.integers(0, steps + 1, batch) if "lengths" in masked else None
    resets = draw.bools(steps, batch) if "resets" in masked else None
    exists, starts = steps_of_walk(steps, (batch,), lengths, resets, reverse)
    params = draw.params(input_size, hidden, reset_after)
    params = jax.tree.map(lambda leaf: leaf / leaf.dtype.type(max(1, hidden / 8) ** 0.5), params)
    xs = draw.normal(steps, batch, input_size)
    if exists is not None:
        xs = np.where(exists[..., None], xs, xs.dtype.type(0))
    masks = Masks(
        exists=exists,
        starts=starts,
        keeps=draw.bools(steps, batch, hidden) if "keeps" in masked else None,
        zoneout=np.float32(0.2) if "zoneout" in masked else None,
        scale=np.float32(draw.bools(batch, hidden) / 0.6) if "scale" in masked else None,
    )
    return Inputs(params, xs, draw.normal(batch, hidden), draw.normal(batch, hidden)), masks


def cotangents_of(draw: Draw, inputs: Inputs):
    return draw.normal(*inputs.h0.shape), draw.normal(*inputs.xs.shape[:-1], inputs.h0.shape[-1])


def outputs_and_gradients(run, reverse, inputs, masks, cotangents):
    outputs, pull_back = jax.vjp(lambda inputs: run(*inputs, masks, reverse), inputs)
    return outputs, pull_back(cotangents)[0]


@partial(jax.jit, static_argnums=0)
def by_plain(reverse, inputs, masks, cotangents):
    return outputs_and_gradients(plain.run, reverse, inputs, masks, cotangents)


def expected(reverse, inputs, masks, cotangents):
    """By the plain implementation in float64, with masks that do nothing where there is none."""
    (steps, batch), hidden = inputs.xs.shape[:2], inputs.h0.shape[-1]
    nothing = Masks(
        exists=np.ones((steps, batch), bool),
        starts=np.zeros((steps, batch), bool),
        keeps=np.zeros((steps, batch, hidden), bool),
        zoneout=np.float64(0),
        scale=np.ones((batch, hidden)),
    )
    masks = Masks(
        *(other if mask is None else mask for mask, other in zip(masks, nothing, strict=True))
    )
    with jax.enable_x64(True):
        arguments = jax.tree.map(
            lambda leaf: leaf if leaf.dtype == bool else np.float64(leaf),
            (inputs, masks, cotangents),
        )
        return by_plain(reverse, *arguments)


def check(draw, inputs, masks, reverse=False, keep_gates=True):
    cotangents = cotangents_of(draw, inputs)
    run = jax.jit(partial(outputs_and_gradients, run_of(keep_gates), reverse))
    got = run(inputs, masks, cotangents)
    assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {inputs.xs.dtype}
    assert_close(got, expected(reverse, inputs, masks, cotangents), draw.dtype)


@pytest.mark.parametrize(
    ("reset_after", "reverse", "keep_gates"),
    [(True, False, False), (True, True, True), (False, False, True), (False, True, False)],
)
def test_all_masks_together(interpreted, reset_after, reverse, keep_gates):
    draw = Draw(f"tpu {reset_after} {reverse}", "float32")
    walk = walk_of(draw, MASKS, reverse, reset_after)
    check(draw, *walk, reverse=reverse, keep_gates=keep_gates)


@pytest.mark.parametrize("masked", ["", *MASKS])
def test_one_mask_alone(interpreted, masked):
    draw = Draw(f"tpu {masked}", "float32")
    check(draw, *walk_of(draw, [masked]))


@pytest.mark.parametrize("reset_after", [True, False])
def test_bfloat16(interpreted, reset_after):
    draw = Draw(f"tpu bfloat16 {reset_after}", "bfloat16")
    check(draw, *walk_of(draw, reset_after=reset_after), keep_gates=reset_after)


# Several blocks of time, tiles of rows and registers of units, the last ones not full.
@settings(max_examples=2)
@example(sizes=(10, 11, 2, 130), masked={"resets"}, reverse=False, reset_after=True)
@given(
    sizes=st.tuples(*(st.integers(1, most) for most in (20, 20, 3, 9))),
    masked=st.sets(st.sampled_from(MASKS)),
    reverse=st.booleans(),
    reset_after=st.booleans(),
)
def test_sizes(sizes, masked, reverse, reset_after):
    draw = Draw(f"tpu {sizes}", "float32")
    with interpreter(MOST_STEPS=4, MOST_ROWS=8):
        check(draw, *walk_of(draw, masked, reverse, reset_after, sizes), reverse=reverse)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_kept_stays_bit_for_bit(interpreted, dtype):
    draw = Draw("tpu kept", dtype)
    inputs, masks = walk_of(draw, ["lengths", "keeps"], sizes=(40, 5, 4, 5))
    masks.keeps[..., 2] = True
    h_last, hs = jax.jit(run_of(False), static_argnums=5)(*inputs, masks, False)
    lengths = np.sum(masks.exists, 0)
    ends = hs[lengths - 1, np.arange(5)]
    assert_equal(h_last, np.where((lengths > 0)[:, None], ends, inputs.h0))
    assert_equal(h_last[:, 2], inputs.h0[:, 2])


@pytest.mark.parametrize("mapped", ["params", "everything"])
def test_models_under_vmap_are_one_call_each_way(interpreted, mapped):
    draw = Draw(f"tpu {mapped}", "float32")
    walks = [(*walk, cotangents_of(draw, walk[0])) for walk in (walk_of(draw) for _ in range(3))]
    if mapped == "params":
        (first, *rest), models = walks[0], [walk[0].params for walk in walks]
        walks = [(first._replace(params=params), *rest) for params in models]
    in_axes = 0 if mapped == "everything" else (Inputs(0, None, None, None), None, None)
    arguments = jax.tree.map(lambda *leaves: np.stack(leaves), *walks)
    if mapped == "params":
        arguments = (first._replace(params=arguments[0].params), *rest)
    run = jax.vmap(partial(outputs_and_gradients, run_of(True), False), in_axes)
    calls = [
        equation
        for equation in equations_of(jax.make_jaxpr(run)(*arguments).jaxpr)
        if equation.primitive.name == "pallas_call"
    ]
    assert len(calls) == 2
    want = [expected(False, *walk) for walk in walks]
    assert_close(jax.jit(run)(*arguments), jax.tree.map(lambda *a: np.stack(a), *want), "float32")


# --- compiled for TPUs --------------------------------------------------------------------------


def training_step(inputs, masks):
    """Both passes, and the cotangents that they need."""

    def loss(inputs):
        h_last, hs = run_of(True)(*inputs, masks, False)
        return h_last.astype("float32").sum() + (hs.astype("float32") ** 2).sum()

    return jax.grad(loss)(inputs)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_passes_are_lowered_for_a_tpu(dtype, reset_after):
    walk = walk_of(Draw("tpu lowered", dtype), reset_after=reset_after)
    traced = jax.jit(training_step).trace(*walk)
    assert traced.lower(lowering_platforms=("tpu",)).as_text().count("@tpu_custom_call") == 2


COMPILE = """
import sys
import jax, numpy as np
from jax.experimental import topologies
from jax.sharding import NamedSharding
from tests.helpers import Draw
from tests.grujax.implementations.tpu.test_tpu import training_step, walk_of
kind, dtype, hidden = sys.argv[1:]
devices = topologies.get_topology_desc(kind + ":2x2", platform="tpu").devices
mesh = jax.sharding.Mesh(np.array(devices[:1]), ("device",))
walk = jax.tree.map(
    lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=NamedSharding(mesh, jax.P())),
    walk_of(Draw("tpu compiled", dtype), sizes=(12, 5, 3, int(hidden))),
)
compiled = jax.jit(training_step).trace(*walk).lower(lowering_platforms=("tpu",)).compile()
assert compiled.as_text().count('custom_call_target="tpu_custom_call"') == 2
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
@pytest.mark.parametrize(("kind", "dtype"), [("v5e", "float32"), ("v6e", "bfloat16")])
def test_both_passes_compile_without_a_tpu(kind, dtype):
    surroundings = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "JAX_PLATFORMS": "cpu",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        # Else libtpu asks a server for them, which is there on Google's machines alone.
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
    }
    run = subprocess.run(
        [sys.executable, "-c", COMPILE, kind, dtype, "200"],
        cwd=ROOT,
        env=os.environ | surroundings,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("hidden", "dtype", "is_taken"),
    [
        (1, "float32", True),
        (2048, "float32", True),
        (2049, "float32", False),
        (2816, "bfloat16", True),
        (4096, "bfloat16", False),
        (8, "float16", False),
        (8, "float64", False),
    ],
)
def test_what_is_taken(hidden, dtype, is_taken):
    shape = jax.ShapeDtypeStruct((hidden,), dtype)
    params = grujax.GRUParams(w_x=None, w_h=shape, b_x=None, b_hn=shape)
    assert tpu.takes(params, dtype) == is_taken


def test_by_name_it_says_what_it_needs():
    params = grujax.init_gru(jax.random.key(0), 2, 3)
    with pytest.raises(ValueError, match="has no TPU"):
        grujax.gru(params, jnp.ones((4, 2)), implementation="tpu")


def test_sizes_that_it_has_not(monkeypatch):
    monkeypatch.setattr(tpu, "check", lambda: None)
    shapes = [(3, 2, 3000), (3, 3000, 3000), (3, 3000), (3000,)]
    params = grujax.GRUParams(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    with pytest.raises(ValueError, match=r"H ≤ 2048.*got float32, H = 3000"):
        jax.eval_shape(lambda p: grujax.gru(p, jnp.ones((4, 2)), implementation="tpu"), params)


def test_a_program_for_a_tpu_holds_it_by_name_and_a_file_holds_the_scan(monkeypatch):
    monkeypatch.setattr(tpu, "check", lambda: None)
    params = grujax.init_gru(jax.random.key(0), 2, 130)

    def run(implementation, xs):
        return grujax.gru(params, xs, implementation=implementation)[1]

    def calls(implementation):
        program = jax.jit(partial(run, implementation)).trace(jnp.ones((4, 3, 2)))
        return program.lower(lowering_platforms=("tpu",)).as_text().count("tpu_custom_call")

    assert (calls("tpu"), calls(None), calls("scan")) == (1, 0, 0)
    exported = export.export(jax.jit(partial(run, "tpu")), platforms=["tpu"])(jnp.ones((4, 3, 2)))
    assert "tpu_custom_call" not in exported.mlir_module()
