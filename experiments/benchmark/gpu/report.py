"""The report of the GPU benchmark: verdicts, the tables of the documentation, and other tables."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from experiments.benchmark.gpu.claims import judge_all
from experiments.benchmark.gpu.steps import Results, Step, Unmeasured
from experiments.benchmark.gpu.verdicts import (
    Verdict,
    check_step,
    geometric_mean,
    newton_step,
    ratios,
    speeds,
)
from experiments.benchmark.peers import MODES
from experiments.common.report import format_table

COLUMNS = ("grujax", "cuDNN", "scan", "lax.scan")
DTYPES = ("float32", "bfloat16")


def format_report(results: Results, steps: Sequence[Step]) -> str:
    """The report as Markdown, of what there is so far."""
    return "\n\n".join(
        [
            _format_about(results),
            *_list_missing(results, steps),
            "Claims of the documentation:\n\n" + "\n".join(format_verdicts(results)),
            *(_format_speeds(results, dtype) for dtype in DTYPES),
            *_summarize(results),
            *_format_checks(results),
            *_format_options(results),
            *_format_models(results),
            *_format_newton(results),
            *_format_forward_mode(results),
            *_format_memory(results),
        ]
    )


def format_verdicts(results: Results) -> Iterator[str]:
    """One line per claim."""
    for claim, verdict in judge_all(results):
        if isinstance(verdict, Verdict):
            judged, why = "holds" if verdict.holds else "DOES NOT HOLD", verdict.figure
        else:
            judged, why = "not measured here", verdict
        yield f'- {judged}: {claim.page}, "{claim.text}": {why}'


def _format_about(results: Results) -> str:
    about = results.about
    capability = ".".join(map(str, about["capability"]))
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['device']}, compute capability {capability}, {' and '.join(results.days)}; "
        f"{versions}; kernel {about['kernel']}; XLA_FLAGS: {about['XLA_FLAGS'] or 'none'}"
    )


def _list_missing(results: Results, steps: Sequence[Step]) -> Iterator[str]:
    """What was left out, and why."""
    if results.about["dry_run"]:
        yield (
            "Left out in a dry run: the kernel, cuDNN, and the peak of the device's memory, which "
            "need a GPU."
        )
    failed = [step.name for step in steps if results.error(step.name)]
    if failed:
        yield "\n".join(f"Failed: {name}: {results.error(name)}" for name in failed)
    left = [step.name for step in steps if not results.attempts(step.name)]
    if left:
        yield (
            f"Left out, because the time was over: {', '.join(left)}. The same command goes on "
            "there."
        )


def _format_speeds(results: Results, dtype: str) -> str:
    """The table of the documentation for one dtype."""
    found = {shape: times for shape, times in speeds(results).items() if shape.dtype == dtype}
    lines = [f"| H, B | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for shape in sorted(found, key=lambda shape: (shape.units, shape.batch)):
        cells = [
            " / ".join(_format_time(found[shape][mode].get(name)) for mode in MODES)
            for name in COLUMNS
        ]
        lines.append(f"| {shape.units}, {shape.batch} | {' | '.join(cells)} |")
    steps = next((shape.steps for shape in found), "–")
    return (
        f"{dtype}, microseconds per time step, forward / training step, T = {steps}, I = H:\n\n"
        + "\n".join(lines)
    )


def _format_time(micros: float | None) -> str:
    if micros is None:
        return "–"
    return f"{micros:.2f}" if micros < 9.995 else f"{micros:.1f}"


def _summarize(results: Results) -> Iterator[str]:
    """The kernel's speedup for H ≤ 128: geometric mean and minimum."""
    lines = []
    for dtype in DTYPES:
        for peer in COLUMNS[1:]:
            for mode in MODES:
                with suppress(Unmeasured):
                    found = ratios(results, dtype, mode, peer)
                    lines.append(
                        f"{dtype}, H ≤ 128, {mode}: {geometric_mean(found):.2f} times the speed of "
                        f"{peer} in the geometric mean, at least {min(found):.2f}, at "
                        f"{len(found)} shapes"
                    )
    if lines:
        yield "\n".join(lines)


def _format_checks(results: Results) -> Iterator[str]:
    rows = [
        [
            f"{implementation}: {check['name']}",
            f"{check['outputs']:.1e}",
            f"{check['derivatives']:.1e}",
            "yes" if check["is_right"] else "NO",
        ]
        for implementation in ("cuda", "scan", "plain", "newton")
        for check in results.get(check_step(implementation)) or []
    ]
    yield from _table("Errors", ["against float64", "outputs", "derivatives", "right"], rows)


def _format_options(results: Results) -> Iterator[str]:
    found = results.get("options") or {}
    rows = [
        [name, f"{of['microseconds']:.2f}", str(of["launches"]), str(of["transposes"])]
        for name, of in found.items()
    ]
    header = ["option", "µs per step", "launches", "transposes"]
    yield from _table("Options, training step", header, rows)


def _format_models(results: Results) -> Iterator[str]:
    rows = [[name, f"{ms:.2f}"] for name, ms in (results.get("models") or {}).items()]
    title = f"The gradients of {results.about['models']} models under one `vmap`"
    yield from _table(title, ["models", "ms"], rows)


def _format_newton(results: Results) -> Iterator[str]:
    rows = []
    names = ("cuda", "scan", "dense", "diagonal")
    for sizes in results.about["long"]:
        row = results.get(newton_step(*sizes))
        if row is not None:
            cells = [
                f"{row['milliseconds'][name]:.3g}" if name in row["milliseconds"] else "–"
                for name in names
            ]
            found = ", ".join(f"{name}: {number}" for name, number in row["iterations"].items())
            rows.append([f"T {sizes[0]} H {sizes[1]}", *cells, found])
    header = ["ms, forward, B = 1", *names, "iterations"]
    yield from _table("Newton's method, float32", header, rows)


def _format_forward_mode(results: Results) -> Iterator[str]:
    found = results.get("forward mode") or {"forward": {}, "jvp": {}}
    rows = [
        [name, f"{micros:.2f}", f"{found['jvp'][name]:.2f}"]
        for name, micros in found["forward"].items()
    ]
    yield from _table("Forward mode", ["µs per step", "forward", "jvp"], rows)


def _format_memory(results: Results) -> Iterator[str]:
    rows = [
        [name, f"{of['temporaries']:.1f}", "–" if of["peak"] is None else f"{of['peak']:.1f}"]
        for name, of in (results.get("memory") or {}).items()
    ]
    header = ["numbers per T·B·H", "temporaries", "peak"]
    yield from _table("Memory, float32", header, rows)


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    rows = list(rows)
    if rows:
        yield f"{title}:\n\n{format_table(header, rows)}"
