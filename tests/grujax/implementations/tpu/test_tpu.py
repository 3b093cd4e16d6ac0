"""The kernels for TPUs, interpreted on a CPU, and compiled for TPUs without one."""

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
from grujax.implementations import derivatives, plain, scan, tpu
from grujax.implementations.structure import Rules
from grujax.implementations.tpu import tiles as tpu_tiles
from grujax.implementations.types import RecurrenceArgs, StepMasks
from grujax.meshes import row_sharding
from grujax.step_masks import make_step_masks
from tests.helpers import ROOT, Draw, assert_close, assert_equal, equations_of

MASKS = ("lengths", "mask", "resets", "zoneout mask", "zoneout rate", "dropout mask")


@contextmanager
def interpreter(**constants):
    """Interprets the kernels on the CPU, with other constants of the tiles."""
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
    """Programs of the interpreter are large and run for a moment."""
    jax.config.update("jax_disable_most_optimizations", True)


def run_of(keep_gates: bool):
    """An implementation, from the two passes."""
    forward, backward = map(derivatives.of_each, (tpu.forward_pass, tpu.backward_pass))
    rules = Rules(forward, scan.RULES.tangent, backward, lambda _: keep_gates)
    return lambda args: derivatives.run(rules, [args])[0]


def args_of(
    draw: Draw, masked=MASKS, reverse=False, reset_after=True, sizes=(7, 3, 4, 5)
) -> RecurrenceArgs:
    """Zoneout is both drawn and expected here, which `gru` never asks for."""
    steps, batch, input_size, hidden = sizes
    lengths = draw.rng.integers(0, steps + 1, batch) if "lengths" in masked else None
    resets = draw.bools(steps, batch) if "resets" in masked else None
    mask = draw.bools(steps, batch, rate=0.7) if "mask" in masked else None
    rows = row_sharding(jnp.zeros((steps, batch)), 1, 1)
    masks = make_step_masks(steps, (batch,), lengths, mask, resets, reverse, rows)
    params = draw.params(input_size, hidden, reset_after)
    params = jax.tree.map(lambda leaf: leaf / leaf.dtype.type(max(1, hidden / 8) ** 0.5), params)
    xs = draw.normal(steps, batch, input_size)
    if masks.reads is not None:
        xs = np.where(masks.reads[..., None], xs, xs.dtype.type(0))
    kept = masks.kept
    if "zoneout mask" in masked:
        drawn = draw.bools(steps, batch, hidden)
        kept = drawn if kept is None else np.asarray(kept | drawn)
    dropout_mask = np.float32(draw.bools(batch, hidden) / 0.6) if "dropout mask" in masked else None
    masks = masks._replace(
        kept=kept,
        zoneout_rate=np.float32(0.2) if "zoneout rate" in masked else None,
        recurrent_dropout_mask=dropout_mask,
    )
    h0, reset_state = draw.normal(batch, hidden), draw.normal(batch, hidden)
    return RecurrenceArgs(params, xs, h0, reset_state, masks, reverse)


def cotangents_of(draw: Draw, args: RecurrenceArgs):
    return draw.normal(*args.h0.shape), draw.normal(*args.xs.shape[:-1], args.h0.shape[-1])


def outputs_and_gradients(run, args, cotangents):
    outputs, pull_back = jax.vjp(lambda primals: run(args.with_primals(primals)), args.primals)
    return outputs, pull_back(cotangents)[0]


run_plain = jax.jit(partial(outputs_and_gradients, plain.run))


def expected(args, cotangents):
    """By the plain implementation in float64; absent masks become masks without effect."""
    (steps, batch), hidden = args.xs.shape[:2], args.h0.shape[-1]
    without_effect = StepMasks(
        valid=np.ones((steps, batch), bool),
        restart=np.zeros((steps, batch), bool),
        kept=np.zeros((steps, batch, 1), bool),
        zoneout_rate=np.float64(0),
        recurrent_dropout_mask=np.ones((batch, hidden)),
    )
    masks = StepMasks(
        *(
            other if mask is None else mask
            for mask, other in zip(args.masks, without_effect, strict=True)
        )
    )
    with jax.enable_x64(True):
        arguments = jax.tree.map(
            lambda leaf: leaf if leaf.dtype == bool else np.float64(leaf),
            (args.replace(masks=masks), cotangents),
        )
        return run_plain(*arguments)


def check(draw, args, keep_gates=True):
    cotangents = cotangents_of(draw, args)
    run = jax.jit(partial(outputs_and_gradients, run_of(keep_gates)))
    got = run(args, cotangents)
    assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {args.xs.dtype}
    assert_close(got, expected(args, cotangents), draw.dtype)


@pytest.mark.parametrize(
    ("reset_after", "reverse", "keep_gates"),
    [(True, False, False), (True, True, True), (False, False, True), (False, True, False)],
)
def test_all_masks_together(interpreted, reset_after, reverse, keep_gates):
    draw = Draw(f"tpu {reset_after} {reverse}", "float32")
    check(draw, args_of(draw, MASKS, reverse, reset_after), keep_gates=keep_gates)


@pytest.mark.parametrize("masked", ["", *MASKS])
def test_one_mask_alone(interpreted, masked):
    draw = Draw(f"tpu {masked}", "float32")
    check(draw, args_of(draw, [masked]))


@pytest.mark.parametrize("reset_after", [True, False])
def test_bfloat16(interpreted, reset_after):
    draw = Draw(f"tpu bfloat16 {reset_after}", "bfloat16")
    check(draw, args_of(draw, reset_after=reset_after), keep_gates=reset_after)


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
        check(draw, args_of(draw, masked, reverse, reset_after, sizes))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_kept_states_do_not_change_by_a_bit(interpreted, dtype):
    draw = Draw("tpu kept", dtype)
    args = args_of(draw, ["lengths", "zoneout mask"], sizes=(40, 5, 4, 5))
    args.masks.kept[..., 2] = True
    h_last, hs = jax.jit(run_of(False))(args)
    lengths = np.sum(args.masks.valid, 0)
    ends = hs[lengths - 1, np.arange(5)]
    assert_equal(h_last, np.where((lengths > 0)[:, None], ends, args.h0))
    assert_equal(h_last[:, 2], args.h0[:, 2])


@pytest.mark.parametrize("mapped", ["params", "everything"])
def test_models_under_vmap_are_one_call_each_way(interpreted, mapped):
    draw = Draw(f"tpu {mapped}", "float32")
    models = [(args, cotangents_of(draw, args)) for args in (args_of(draw) for _ in range(3))]
    arguments = jax.tree.map(lambda *leaves: np.stack(leaves), *models)
    in_axes: tuple = (0, 0)
    if mapped == "params":
        (first, cotangents), stacked = models[0], arguments[0].params
        models = [(first.replace(params=args.params), cotangents) for args, _ in models]
        arguments = first.replace(params=stacked), cotangents
        axes = jax.tree.map(lambda _: None, first)
        in_axes = axes.replace(params=jax.tree.map(lambda _: 0, first.params)), None
    run = jax.vmap(partial(outputs_and_gradients, run_of(True)), in_axes)
    calls = [
        equation
        for equation in equations_of(jax.make_jaxpr(run)(*arguments).jaxpr)
        if equation.primitive.name == "pallas_call"
    ]
    assert len(calls) == 2
    want = [expected(*model) for model in models]
    assert_close(jax.jit(run)(*arguments), jax.tree.map(lambda *a: np.stack(a), *want), "float32")


# --- compiled for TPUs --------------------------------------------------------------------------


def training_step(args):
    """The gradient of a loss of both outputs."""

    def loss(primals):
        h_last, hs = run_of(True)(args.with_primals(primals))
        return h_last.astype("float32").sum() + (hs.astype("float32") ** 2).sum()

    return jax.grad(loss)(args.primals)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_passes_are_lowered_for_a_tpu(dtype, reset_after):
    args = args_of(Draw("tpu lowered", dtype), reset_after=reset_after)
    traced = jax.jit(training_step).trace(args)
    assert traced.lower(lowering_platforms=("tpu",)).as_text().count("@tpu_custom_call") == 2


COMPILE = """
import sys
import jax, numpy as np
from jax.experimental import topologies
from jax.sharding import NamedSharding
from tests.helpers import Draw
from tests.grujax.implementations.tpu.test_tpu import args_of, training_step
kind, dtype, hidden = sys.argv[1:]
devices = topologies.get_topology_desc(kind + ":2x2", platform="tpu").devices
mesh = jax.sharding.Mesh(np.array(devices[:1]), ("device",))
args = jax.tree.map(
    lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=NamedSharding(mesh, jax.P())),
    args_of(Draw("tpu compiled", dtype), sizes=(12, 5, 3, int(hidden))),
)
compiled = jax.jit(training_step).trace(args).lower(lowering_platforms=("tpu",)).compile()
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
def test_supported_dtypes_and_sizes(hidden, dtype, is_taken):
    shape = jax.ShapeDtypeStruct((hidden,), dtype)
    params = grujax.GRUParams(w_x=None, w_h=shape, b_x=None, b_hn=shape)
    assert tpu.supports(params, dtype) == is_taken


def test_without_a_device_it_raises_by_name():
    params = grujax.init_gru(jax.random.key(0), 2, 3)
    with pytest.raises(ValueError, match="has no TPU"):
        grujax.gru(params, jnp.ones((4, 2)), implementation="tpu")


def test_unsupported_sizes_raise(monkeypatch):
    monkeypatch.setattr(tpu, "require", lambda: None)
    shapes = [(3, 2, 3000), (3, 3000, 3000), (3, 3000), (3000,)]
    params = grujax.GRUParams(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    with pytest.raises(ValueError, match=r"H ≤ 2048.*got float32, H = 3000"):
        jax.eval_shape(lambda p: grujax.gru(p, jnp.ones((4, 2)), implementation="tpu"), params)


def test_a_tpu_program_has_the_kernel_by_name_and_an_exported_one_the_scan(monkeypatch):
    monkeypatch.setattr(tpu, "require", lambda: None)
    params = grujax.init_gru(jax.random.key(0), 2, 130)

    def run(implementation, xs):
        return grujax.gru(params, xs, implementation=implementation)[1]

    def calls(implementation):
        program = jax.jit(partial(run, implementation)).trace(jnp.ones((4, 3, 2)))
        return program.lower(lowering_platforms=("tpu",)).as_text().count("tpu_custom_call")

    assert (calls("tpu"), calls(None), calls("scan")) == (1, 0, 0)
    exported = export.export(jax.jit(partial(run, "tpu")), platforms=["tpu"])(jnp.ones((4, 3, 2)))
    assert "tpu_custom_call" not in exported.mlir_module()
