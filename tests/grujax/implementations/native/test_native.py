"""The native kernel: where it runs and where it does not, and exactness."""

import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax.implementations import native
from tests.helpers import COMPILER, ROOT, TOLERANCE, Draw, assert_close

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")


def loss(params, xs, implementation="native", **options):
    h_last, hs = grujax.gru(params, xs, implementation=implementation, **options)
    return jnp.sum(h_last) + jnp.sum(hs**2)


def test_a_training_step_calls_the_kernel_twice():
    draw = Draw("calls", "float32")
    text = jax.jit(jax.grad(loss)).lower(draw.params(3, 5), draw.normal(4, 2, 3)).as_text()
    assert text.count("@grujax_forward(") == text.count("@grujax_backward(") == 1


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_an_exported_program_contains_the_scan(platform):
    draw = Draw("export", "float32")
    arguments = draw.params(3, 5), jnp.asarray(draw.normal(4, 2, 3))
    program = jax.jit(jax.grad(loss))
    exported = jax.export.export(program, platforms=[platform])(*arguments)
    assert "@grujax_" not in exported.mlir_module()
    if platform == "cpu":
        assert_close(exported.call(*arguments), program(*arguments), "float32")


def test_other_dtypes_raise_by_name_and_use_the_scan_by_default(x64):
    draw = Draw("dtypes", "float64")
    params, xs = draw.params(3, 5), draw.normal(4, 2, 3)
    with pytest.raises(ValueError, match="float32 or bfloat16, got float64"):
        grujax.gru(params, xs, implementation="native")
    grujax.gru(params, jnp.float32(xs), implementation=None)
    assert "@grujax_" not in jax.jit(loss, static_argnums=2).lower(params, xs, None).as_text()


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize(("rows", "inputs", "units"), [(5, 1, 1), (13, 7, 33), (33, 48, 64)])
def test_bfloat16_is_float32_but_for_rounding(rows, inputs, units, reset_after):
    # Also where the processor multiplies pairs of bfloat16, of which the last has one entry here,
    # and tiles of 16 rows, of which the last has fewer.
    params = grujax.init_gru(jax.random.key(0), inputs, units, reset_after=reset_after)
    xs = Draw("bfloat16", "float32").normal(21, rows, inputs)
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(jnp.bfloat16), (params, xs))
    exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
    gradient = jax.grad(lambda params, xs: loss(params, xs).astype(jnp.float32), (0, 1))
    for got, right in zip(*map(jax.tree.leaves, (gradient(*half), gradient(*exact))), strict=True):
        error = jnp.linalg.norm(got.astype(jnp.float32) - right)
        assert error <= 0.02 * jnp.linalg.norm(right)


@pytest.mark.parametrize("is_wide", [True, False])
@pytest.mark.parametrize(
    ("mapped", "steps", "rows", "units", "is_faster"),
    [
        # a few rows with large weights
        *((1, 200, 7, 419, False), (1, 200, 8, 419, True), (1, 200, 7, 418, True)),
        (2, 200, 4, 419, True),
        # single steps
        *((1, 1, 500, 8, False), (1, 2, 500, 8, True)),
        # short calls; None: with wide vectors
        *((1, 16, 8, 128, None), (1, 16, 9, 128, True), (1, 17, 2, 128, True)),
    ],
)
def test_none_picks_the_scan_where_training_is_faster(
    mapped, steps, rows, units, is_faster, is_wide, monkeypatch
):
    monkeypatch.setattr(native.support.processor, "has_wide_vectors", lambda: is_wide)
    is_faster = is_wide if is_faster is None else is_faster
    params = jax.eval_shape(lambda: grujax.init_gru(jax.random.key(0), 3, units))
    xs = jax.ShapeDtypeStruct((mapped, steps, rows, 3), jnp.float32)
    for implementation, runs in ((None, is_faster), ("native", True)):
        gradient = jax.grad(partial(loss, implementation=implementation))
        text = jax.jit(jax.vmap(gradient, in_axes=(None, 0))).lower(params, xs).as_text()
        assert ("@grujax_forward(" in text) == runs  # all rows count
        assert ("@grujax_backward(" in text) == runs


@pytest.mark.parametrize("is_wide", [True, False])
@pytest.mark.parametrize(("rows", "units"), [(1, 64), (7, 419)])
def test_a_short_forward_pass_runs_by_the_kernel_with_wide_vectors(
    rows, units, is_wide, monkeypatch
):
    monkeypatch.setattr(native.support.processor, "has_wide_vectors", lambda: is_wide)
    params = jax.eval_shape(lambda: grujax.init_gru(jax.random.key(0), 3, units))
    xs = jax.ShapeDtypeStruct((1, rows, 3), jnp.float32)
    text = jax.jit(lambda *arguments: grujax.gru(*arguments)).lower(params, xs).as_text()
    assert ("@grujax_forward(" in text) == is_wide


@pytest.mark.parametrize("differentiate", [lambda f: f, jax.grad], ids=["forward", "gradient"])
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_program_for_another_platform_raises(platform, differentiate):
    draw = Draw("platform", "float32")
    traced = jax.jit(differentiate(loss)).trace(draw.params(3, 5), draw.normal(4, 2, 3))
    with pytest.raises(ValueError, match=f'"native"` cannot run .* platform {platform}; "scan"'):
        traced.lower(lowering_platforms=(platform,))


@pytest.mark.parametrize("axes", [(0, None), (0, 0), (None, 0)], ids=["models", "both", "data"])
def test_a_vmap_is_one_call(axes):
    draw = Draw("vmap", "float32")
    models = [draw.params(3, 5) for _ in range(4)]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *models)
    mapped = jax.jit(jax.vmap(loss, in_axes=axes))
    xs = draw.normal(4, 6, 2, 3)
    arguments = (params if axes[0] == 0 else models[0], xs if axes[1] == 0 else xs[0])
    text = mapped.lower(*arguments).as_text()
    assert text.count("@grujax_forward(") == 1
    assert "while" not in text


# --- both directions of a bidirectional layer ---------------------------------------------------

PAIR_OPTIONS = {
    "plain": {},
    "lengths": {"lengths": np.array([6, 0, 3])},
    "everything": {
        "lengths": np.array([2, 6, 5]),
        "resets": Draw("pair resets", "float32").bools(6, 3, rate=0.3),
        "zoneout": 0.2,
        "recurrent_dropout": 0.3,
        "key": jax.random.key(7),
    },
    "expected zoneout": {"zoneout": 0.3},
}


def pair_of(reset_after=True, hidden=(5, 5)):
    draw = Draw(f"pair {reset_after} {hidden}", "float32")
    pair = tuple(draw.params(3, size, reset_after=reset_after) for size in hidden)
    h0 = tuple(draw.normal(3, size) for size in hidden)
    return pair, draw.normal(6, 3, 3), h0


def pair_loss(params, xs, h0, implementation, options):
    run = partial(grujax.bidirectional_gru, implementation=implementation, **options)
    (last_forward, last_backward), hs = run(params, xs, h0, reset_state=h0)
    return jnp.sum(last_forward**2) + jnp.sum(jnp.sin(last_backward)) + jnp.sum(hs**3)


def pair_gradients(implementation, options):
    return jax.jit(jax.grad(lambda *a: pair_loss(*a, implementation, options), argnums=(0, 1, 2)))


@pytest.mark.parametrize(
    ("name", "reset_after"),
    [
        pytest.param(name, after, marks=() if name in ("plain", "everything") else pytest.mark.slow)
        for name in PAIR_OPTIONS
        for after in (True, False)
    ],
)
def test_both_directions_are_one_call_and_agree_with_plain(name, reset_after):
    options = PAIR_OPTIONS[name]
    arguments = pair_of(reset_after)
    got = pair_gradients("native", options)
    text = got.lower(*arguments).as_text()
    assert text.count("@grujax_forward(") == text.count("@grujax_backward(") == 1
    assert_close(got(*arguments), pair_gradients("plain", options)(*arguments), "float32")


@pytest.mark.parametrize(
    "options", [{"stop_gradient_every": 4}, {}], ids=["truncated", "unlike directions"]
)
def test_directions_that_cannot_share_a_call_use_two(options):
    arguments = pair_of(hidden=(5, 5) if options else (5, 4))
    got = pair_gradients("native", options)
    assert got.lower(*arguments).as_text().count("@grujax_forward(") >= 2
    assert_close(got(*arguments), pair_gradients("plain", options)(*arguments), "float32")


@pytest.mark.parametrize(
    "axes", [(0, None, None), (None, 1, None), pytest.param((0, 0, 0), marks=pytest.mark.slow)]
)
def test_both_directions_under_vmap_are_one_call(axes):
    params, xs, h0 = pair_of()
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf, leaf / 2]), params)
    arguments = (
        params if axes[0] is None else many,
        xs if axes[1] is None else jnp.stack([xs, xs + 1, 2 * xs], axes[1]),
        h0 if axes[2] is None else jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), h0),
    )

    def mapped(implementation):
        run = jax.vmap(lambda *a: pair_loss(*a, implementation, {}), in_axes=axes)
        return jax.jit(jax.grad(lambda *a: jnp.sum(run(*a)), argnums=(0, 1, 2)))

    text = mapped("native").lower(*arguments).as_text()
    assert text.count("@grujax_forward(") == text.count("@grujax_backward(") == 1
    assert "while" not in text
    assert_close(mapped("native")(*arguments), mapped("plain")(*arguments), "float32")


@pytest.mark.slow
def test_both_directions_have_second_derivatives_and_export():
    options = PAIR_OPTIONS["everything"]

    def second(implementation, *arguments):
        def squared(*arguments):
            gradient = pair_gradients(implementation, options)(*arguments)
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient))

        return jax.jit(jax.grad(squared, argnums=(0, 1, 2)))(*arguments)

    arguments = pair_of()
    # In float64 both agree to 1e-15; these sums of squares of gradients round at each of them.
    assert_close(second("native", *arguments), second("plain", *arguments), "float32", 3e-5)
    exported = jax.export.export(pair_gradients("native", options))(*arguments)
    assert "@grujax_" not in exported.mlir_module()
    assert_close(exported.call(*arguments), pair_gradients("plain", options)(*arguments), "float32")


# --- exactness ----------------------------------------------------------------------------------


class Program(NamedTuple):
    """One compiled program: a shape, and the options that are not data."""

    steps: int
    batch: int
    inputs: int
    hidden: int
    reset_after: bool = True
    static: tuple[tuple[str, Any], ...] = ()  # options of `gru`
    has: tuple[str, ...] = ()  # of "lengths", "resets", "reset_state", "key"


class Draws(NamedTuple):
    """What one program is run on; `options` are arrays."""

    params: grujax.GRUParams
    xs: np.ndarray
    options: dict[str, Any]


def draw_data(program: Program, seed: str) -> Draws:
    draw = Draw(seed, "float32")
    steps, batch, inputs, hidden = program[:4]
    params = draw.params(inputs, hidden, reset_after=program.reset_after)
    params = jax.tree.map(lambda leaf: leaf / max(1, hidden / 8) ** 0.5, params)
    options: dict[str, Any] = {"h0": draw.normal(batch, hidden)}
    if "lengths" in program.has:
        options["lengths"] = draw.rng.integers(0, steps + 1, batch)
    if "resets" in program.has:
        options["resets"] = draw.bools(steps, batch, rate=0.2)
        options["reset_state"] = options["h0"]
    if "reset_state" in program.has:
        options["reset_state"] = draw.normal(batch, hidden)
    if "key" in program.has:
        options["key"] = jax.random.key(int(draw.rng.integers(1 << 30)))
    return Draws(params, draw.normal(steps, batch, inputs), options)


def random_program(index: int) -> Program:
    rng = Draw(f"fuzz {index}", "float32").rng
    steps, batch = int(rng.integers(1, 60)), int(rng.integers(1, 40))
    inputs, hidden = int(rng.integers(1, 50)), int(rng.integers(1, 70))
    static: dict[str, Any] = {"reverse": bool(rng.integers(2))}
    has = [name for name in ("lengths", "resets", "key") if rng.integers(2)]
    if "resets" in has and rng.integers(2):
        has.append("reset_state")
    if rng.integers(2):
        static["zoneout"] = 0.3
    if rng.integers(2):
        static["recurrent_dropout"] = 0.25
    if rng.integers(4) == 0:
        static["stop_gradient_every"] = int(rng.integers(1, 30))
    reset_after = bool(rng.integers(2))
    return Program(steps, batch, inputs, hidden, reset_after, tuple(static.items()), tuple(has))


@partial(jax.jit, static_argnames=("static", "implementation"))
def outputs_and_gradients(data: Draws, static, implementation):
    draw = Draw("cotangents", data.xs.dtype)
    options = dict(data.options)

    def run(params, xs, h0):
        arrays = {**options, "h0": h0}
        return grujax.gru(params, xs, **arrays, **dict(static), implementation=implementation)

    outputs, pull_back = jax.vjp(run, data.params, data.xs, options["h0"])
    return outputs, pull_back(jax.tree.map(lambda out: draw.normal(*out.shape), outputs))


def as_float64(tree):
    return jax.tree.map(
        lambda x: np.float64(x) if getattr(x, "dtype", None) == np.float32 else x, tree
    )


def check_program(program: Program, seeds: Iterable[str]) -> None:
    """Compares the kernel with `"plain"`, in float64 unless random masks are drawn."""
    for seed in seeds:
        data = draw_data(program, seed)
        got = outputs_and_gradients(data, program.static, "native")
        if "key" in program.has:  # the masks are drawn in the state's dtype
            want, tolerance = outputs_and_gradients(data, program.static, "plain"), None
        else:
            with jax.enable_x64(True):
                want = outputs_and_gradients(as_float64(data), program.static, "plain")
            tolerance = TOLERANCE["float32"]
        assert_close(got, want, "float32", tolerance=tolerance)


MASKED = ("lengths", "resets")
# Units of less than a vector, of whole vectors and of a rest; batches of one task and of several;
# sequences of one time window and of several.
PROGRAMS = {
    "reset state": Program(37, 13, 9, 33, True, (), (*MASKED, "reset_state")),
    "reset before, reverse": Program(21, 40, 20, 65, False, (("reverse", True),), MASKED),
    "truncated, no masks": Program(50, 5, 3, 16, True, (("stop_gradient_every", 7),)),
    "reset before, expected zoneout": Program(12, 30, 17, 47, False, (("zoneout", 0.3),), MASKED),
    "drawn masks, reverse": Program(
        19,
        7,
        1,
        5,
        True,
        (("reverse", True), ("zoneout", 0.3), ("recurrent_dropout", 0.25)),
        (*MASKED, "key"),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_random_data_agree_with_plain(name):
    check_program(PROGRAMS[name], (f"{name} {index}" for index in range(5)))


@pytest.mark.slow
def test_random_programs_agree_with_plain():
    for index in range(12):
        check_program(random_program(index), [f"fuzz {index}"])


@pytest.mark.long
@pytest.mark.parametrize("part", range(2))
def test_many_random_programs_agree_with_plain(part):
    for index in range(12 + 50 * part, 12 + 50 * (part + 1)):
        check_program(random_program(index), [f"fuzz {index}"])


def run_python(code: str, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


COMMON = """
import sys
import jax, jax.numpy as jnp, numpy as np
import grujax
def step(params, xs, implementation="native"):
    def loss(params, xs):
        return jnp.sum(grujax.gru(params, xs, implementation=implementation)[1] ** 2)
    return jax.grad(loss)(params, xs)
params = grujax.init_gru(jax.random.key(0), 3, 40)
xs = jax.random.normal(jax.random.key(1), (30, 50, 3))
def check(got):
    want = jax.jit(step, static_argnums=2)(params, xs, "scan")
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert np.abs(a - b).max() < 1e-5 * np.abs(b).max()
"""


def test_several_devices_run_in_parallel():
    code = """
import jax
jax.config.update("jax_num_cpu_devices", 5)  # gives XLA five threads, however few cores there are
"""
    code += COMMON
    code += """
models = jax.tree.map(lambda leaf: jnp.stack([leaf] * 10), params)
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("models",))
spec = jax.P("models")
across = jax.jit(jax.shard_map(jax.vmap(step, (0, None)), mesh=mesh, in_specs=(spec, jax.P()),
                               out_specs=spec, check_vma=False))
for _ in range(3):
    got = across(models, xs)
    check(jax.tree.map(lambda leaf: leaf[7], got))
check(jax.jit(step)(params, xs))
"""
    run_python(code)


@pytest.mark.slow
def test_a_new_process_runs_a_program_from_the_compilation_cache(tmp_path):
    code = """
import sys, jax
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
"""
    code += COMMON + "check(jax.jit(step)(params, xs))"
    run_python(code, str(tmp_path))
    written = {path.name for path in tmp_path.iterdir()}
    assert any("step" in name for name in written)
    run_python(code, str(tmp_path))
    assert {path.name for path in tmp_path.iterdir() if "atime" not in path.name} <= written


@pytest.mark.slow
def test_forked_workers_load_the_kernel():
    code = """
import os
from grujax.implementations.native import loading
loading.load_or_build()  # JAX itself has not started: it does not survive a fork
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        exec(CODE)
        os._exit(0)
    children.append(child)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""
    body = COMMON + "check(jax.jit(step)(params, xs))"
    code = code.replace("exec(CODE)", f"exec({body!r}, {{}})")
    run_python(code)
