"""The GRU on a GPU: first whether it is right, then how fast, beside a scan, Flax and cuDNN.

Each point is a dtype, batch B and hidden size H, with as many inputs and T = 1000 steps, in two
modes: the forward pass, and the training step, the gradients of all weights and inputs. cuDNN is
`torch.nn.GRU`: for float32 without TF32, and for half the faster of float16 and bfloat16. The scan
is `implementation="plain"`: `lax.scan` over the cell, with JAX's own gradient. At each point all
take turns; a turn is as many calls as take a few milliseconds, launched without waiting.

"limit" is the least time in which the device could do what the kernel has to, as a fraction of the
kernel's time: matrix products at the rate of a large one in the same dtype, or the bytes of inputs,
outputs and what stands between the passes at the rate of a copy, whichever is longer. What it
leaves out is that steps wait for each other, which is most of the time in small batches.

At last Newton's method, which takes all steps at once, beside the kernel on one long sequence.
"""

import csv
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from tqdm import tqdm

import grujax
from experiments.benchmark.gpu_checks import run_checks
from experiments.benchmark.newton_comparison import measure, table_of
from experiments.benchmark.peers.cudnn import cudnn_calls
from experiments.common.command import InputError
from experiments.common.report import format_table

STEPS = 1000
BATCHES = (1, 16, 64, 256)
UNITS = (64, 128, 256, 512)
DTYPES = ("float32", "bfloat16")
MODES = ("forward", "training")
MOST_UNITS = {"float32": 256, "bfloat16": 512}  # of the kernel
LONG = (100_000, 32)  # steps and units of the sequence for Newton's method
ROUNDS = 3
TURN_SECONDS = 0.02

Call = Callable[[], Any]  # launches; what it returns can be waited for


@dataclass(frozen=True)
class Point:
    """One row of the CSV: microseconds a step."""

    dtype: str
    batch: int
    units: int
    mode: str
    contestant: str
    microseconds: float
    limit: float  # microseconds


def report_gpu(folder: Path) -> str:
    """Checks the kernel, times it, and writes gpu.csv and gpu.md into `folder`.

    Raises:
        InputError: if there is no GPU that the kernel can run on.
    """
    try:
        grujax.gru(
            grujax.init_gru(jax.random.key(0), 1, 1), jnp.ones((1, 1)), implementation="cuda"
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    checks = run_checks()
    print(checks, flush=True)
    rates = {dtype: _matmul_rate(dtype) for dtype in DTYPES}
    bandwidth = _copy_rate()
    shapes = [
        (dtype, batch, units)
        for dtype in DTYPES
        for units in UNITS
        if units <= MOST_UNITS[dtype]
        for batch in BATCHES
    ]
    programs = _compile_all(shapes)
    points: list[Point] = []
    folder.mkdir(parents=True, exist_ok=True)
    for shape in tqdm(shapes, desc="gpu", unit="point"):
        for mode in MODES:
            limit = _least_microseconds(*shape, mode, rates[shape[0]], bandwidth)
            calls = _calls(programs, *shape, mode)
            points += [
                Point(*shape, mode, name, round(micros, 3), round(limit, 3))
                for name, micros in _time_in_turns(calls).items()
            ]
        _write_csv(folder / "gpu.csv", points)
    long = table_of([measure(*LONG, ("scan", "cuda"))])
    device = jax.local_devices(backend="cuda")[0].device_kind
    report = "\n\n".join(
        [
            f"{device}, jax {jax.__version__}; matrix products "
            + ", ".join(f"{rate / 1e12:.0f} TFLOP/s in {dtype}" for dtype, rate in rates.items())
            + f", copies {bandwidth / 1e12:.2f} TB/s",
            checks,
            *(format_points(points, dtype) for dtype in DTYPES),
            summarise(points),
            f"A long sequence, B = 1, forward, float32:\n\n{long}",
        ]
    )
    (folder / "gpu.md").write_text(report + "\n", encoding="utf-8")
    return report


def format_points(points: Sequence[Point], dtype: str) -> str:
    """The table of one dtype: forward / training, in microseconds a step."""
    by_key = {(p.batch, p.units, p.mode, p.contestant): p for p in points if p.dtype == dtype}
    rows = []
    for units, batch in dict.fromkeys((units, batch) for batch, units, *_ in by_key):

        def cell(name: str, units: int = units, batch: int = batch) -> str:
            times = [by_key[batch, units, mode, name].microseconds for mode in MODES]
            return " / ".join(f"{time:.2f}" for time in times)

        def ratio(name: str, units: int = units, batch: int = batch) -> str:
            return " / ".join(
                f"{by_key[batch, units, mode, name].microseconds / ours.microseconds:.1f}"
                for mode in MODES
                for ours in [by_key[batch, units, mode, "cuda"]]
            )

        ours = [by_key[batch, units, mode, "cuda"] for mode in MODES]
        limit = " / ".join(f"{point.limit / point.microseconds:.0%}" for point in ours)
        names = ("cuda", "cuDNN", "lax.scan", "flax")
        rows.append(
            [str(units), str(batch), *map(cell, names), ratio("cuDNN"), ratio("lax.scan"), limit]
        )
    header = ["H", "B", "grujax", "cuDNN", "lax.scan", "flax", "to cuDNN", "to scan", "limit"]
    return f"{dtype}, forward / training, µs a step:\n\n{format_table(header, rows)}"


def summarise(points: Sequence[Point]) -> str:
    """The geometric mean and the least of what the kernel is faster by."""
    times = {(p.dtype, p.batch, p.units, p.mode, p.contestant): p.microseconds for p in points}
    lines = []
    for dtype in DTYPES:
        for peer in ("cuDNN", "lax.scan"):
            for mode in MODES:
                ratios = [
                    times[*key, peer] / time
                    for (*key, name), time in times.items()
                    if name == "cuda" and key[0] == dtype and key[3] == mode and key[2] <= 256
                ]
                mean, least = np.exp(np.log(ratios).mean()), min(ratios)
                lines.append(
                    f"{dtype}, H ≤ 256, {mode}: {mean:.2f} times {peer}'s speed in the geometric "
                    f"mean, at least {least:.2f}"
                )
    return "\n".join(lines)


# --- what is timed --------------------------------------------------------------------------------


def _functions(units: int) -> dict[str, Callable[..., Any]]:
    """Of `(params, xs [T, B, H])`; Flax's are batch-major, as everybody calls them."""
    import flax.linen as nn

    module = nn.RNN(nn.GRUCell(units, param_dtype=jnp.float32))

    def ours(implementation: str, params: Any, xs: Array) -> Array:
        return grujax.gru(params, xs, implementation=implementation)[1]

    return {
        "cuda": partial(ours, "cuda"),
        "lax.scan": partial(ours, "plain"),
        "flax": lambda variables, xs: module.apply(variables, xs),
    }


def _arguments(name: str, dtype: str, batch: int, units: int) -> Any:
    """Shapes and dtypes."""
    xs = jax.ShapeDtypeStruct((STEPS, batch, units), dtype)
    if name == "flax":
        import flax.linen as nn

        xs = jax.ShapeDtypeStruct((batch, STEPS, units), dtype)
        module = nn.RNN(nn.GRUCell(units, param_dtype=jnp.float32))
        params = jax.eval_shape(module.init, jax.random.key(0), xs)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params), xs
    init = partial(grujax.init_gru, input_size=units, hidden_size=units)
    params = jax.eval_shape(init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params), xs


def _compile_all(shapes: Sequence[tuple[str, int, int]]) -> dict[Any, Any]:
    """All programs of JAX, several at a time: nothing is timed meanwhile."""
    keys = [
        (*shape, mode, name)
        for shape in shapes
        for mode in MODES
        for name in ("cuda", "lax.scan", "flax")
    ]

    def compile_one(key: Any) -> Any:
        *shape, mode, name = key
        run = _functions(shape[2])[name]
        if mode == "training":
            run = jax.grad(lambda *a, f=run: f(*a).astype(jnp.float32).sum(), argnums=(0, 1))
        return jax.jit(run).lower(*_arguments(name, *shape)).compile()

    with ThreadPoolExecutor() as threads:
        compiled = threads.map(compile_one, keys)
        return dict(zip(keys, tqdm(compiled, desc="compile", total=len(keys)), strict=True))


def _calls(
    programs: dict[Any, Any], dtype: str, batch: int, units: int, mode: str
) -> dict[str, Call]:
    noise = np.random.default_rng(0).normal(size=2**20, scale=units**-0.5)

    def fill(shape: jax.ShapeDtypeStruct) -> Array:
        return jnp.asarray(np.resize(noise.astype(shape.dtype), shape.shape))

    calls: dict[str, Call] = {}
    for name in ("cuda", "lax.scan", "flax"):
        arguments = jax.tree.map(fill, _arguments(name, dtype, batch, units))
        calls[name] = partial(programs[dtype, batch, units, mode, name], *arguments)
    return calls | cudnn_calls(dtype, STEPS, batch, units, mode)


def _time_in_turns(calls: dict[str, Call]) -> dict[str, float]:
    """Microseconds a step: the least of the rounds' means. All of cuDNN's dtypes count as one."""
    number = {}
    for name, call in calls.items():
        _seconds(call, 1)
        number[name] = int(np.clip(TURN_SECONDS / _seconds(call, 1), 1, 20))
    best = dict.fromkeys(calls, np.inf)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            best[name] = min(best[name], _seconds(call, number[name]) / number[name])
    micros = {name: 1e6 * seconds / STEPS for name, seconds in best.items()}
    cudnn = min(time for name, time in micros.items() if name.startswith("cuDNN"))
    return {n: t for n, t in micros.items() if not n.startswith("cuDNN")} | {"cuDNN": cudnn}


def _seconds(call: Call, number: int) -> float:
    start = perf_counter()
    for _ in range(number):
        result = call()
    if hasattr(result, "synchronize"):
        result.synchronize()
    else:
        jax.block_until_ready(result)
    return perf_counter() - start


# --- what the device can do -----------------------------------------------------------------------


def _matmul_rate(dtype: str, size: int = 8192) -> float:
    """Flops a second of one large product."""
    matrix = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    multiply = jax.jit(partial(jnp.matmul, precision=lax.Precision.HIGHEST))
    call = partial(multiply, matrix, matrix)
    _seconds(call, 1)
    return 2 * size**3 * 5 / _seconds(call, 5)


def _copy_rate(numbers: int = 2**30) -> float:
    """Bytes a second, read and written, in place: what a new array costs is not the memory's."""
    array = jnp.ones(numbers, jnp.float32)
    increment = jax.jit(lambda a: a + 1, donate_argnums=0)

    def call() -> Array:
        nonlocal array
        array = increment(array)
        return array

    _seconds(call, 1)
    return 2 * 4 * numbers * 5 / _seconds(call, 5)


def _least_microseconds(
    dtype: str, batch: int, units: int, mode: str, rate: float, bandwidth: float
) -> float:
    """A step's products, or its bytes: x and h in the dtype, and of the gates float32."""
    products = 2 * batch * 2 * units * 3 * units * (3 if mode == "training" else 1)
    stored = 2 * batch * units * jnp.dtype(dtype).itemsize * (3 if mode == "training" else 1)
    between = 3 * batch * units * 4 * 2 + (mode == "training") * 2 * (4 + 6) * batch * units * 4
    return 1e6 * max(products / rate, (stored + between) / bandwidth)


def _write_csv(path: Path, points: Sequence[Point]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(points[0])))
        writer.writeheader()
        writer.writerows(map(asdict, points))
