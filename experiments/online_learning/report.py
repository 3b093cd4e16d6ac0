"""The report of `experiments.online_learning`: what came out in words, and its tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common.report import format_table
from experiments.common.report.intervals import interval
from experiments.online_learning.costs import Costs
from experiments.online_learning.every_step import Online
from experiments.online_learning.settings import Settings
from experiments.online_learning.trials import Results

SOLVED = 0.5  # the share of the error of guessing below which a method has learned a task


def make_report(
    settings: Settings,
    results: Results,
    guessing: Mapping[str, float],
    costs: Costs,
    modes: Mapping[str, Online],
) -> str:
    """The whole report as text."""
    seeds = settings.seeds
    number = "one seed" if seeds == 1 else f"the mean of {seeds} seeds and its 95% interval"
    size = f"{settings.updates} updates of {settings.batch_size} rows, {settings.hidden_size} units"
    return "\n\n".join(
        [
            summarize(settings, results, guessing),
            f"Error in %, {number}; {size}:\n{error_table(results, guessing)}",
            f"Learning rate chosen on the validation stream (*: at the edge of the grid):\n"
            f"{rate_table(results)}",
            f"Cosine with the exact gradient, the mean over the training:\n{cosine_table(results)}",
            f"Memory of one gradient by T, and processor time at T = {min(settings.lengths)}:\n"
            f"{cost_table(costs)}",
            "RTRL on the flip-flop, by the learning rate: the gradient's relative error, the "
            f"median of the seeds, and the error in %:\n{mode_table(modes)}",
        ]
    )


def summarize(settings: Settings, results: Results, guessing: Mapping[str, float]) -> str:
    """What came out, one paragraph: what learned each task, and where truncation fails."""
    sentences = []
    for task, found in results.items():
        limit = SOLVED * guessing[task]
        learned = [m for m, result in found.items() if result.errors[:, -1].mean() < limit]
        sentences.append(f"{task}: {', '.join(learned) or 'none'}.")
    lines = ["Methods whose error is less than half of that of guessing. " + " ".join(sentences)]
    recall = results.get("recall", {})
    truncated = {m: r.errors[:, -1].mean() for m, r in recall.items() if m.startswith("tbptt")}
    if truncated and "rtrl" in recall:
        best = min(truncated, key=lambda method: truncated[method])
        wrong = recall["rtrl"].errors[:, -1].mean()
        lines.append(
            f"recall asks for a bit {settings.recall_lag - 1} steps later: RTRL answers "
            f"{wrong:.1%} wrong, the best truncated gradient, {best}, {truncated[best]:.1%}; "
            "guessing, 50%."
        )
    return " ".join(lines)


def error_table(results: Results, guessing: Mapping[str, float]) -> str:
    """The final error of each method on each task."""
    rows = _rows(results, lambda result: _describe(100 * result.errors[:, -1], 1))
    rows.append(["guessing", *(f"{100 * guessing[task]:.1f}" for task in results)])
    return format_table(["", *results], rows)


def rate_table(results: Results) -> str:
    """The learning rate of each method on each task."""
    rows = _rows(results, lambda result: f"{result.rate:g}{'*' if result.is_at_edge else ''}")
    return format_table(["", *results], rows)


def cosine_table(results: Results) -> str:
    """The mean cosine of each method on each task."""
    rows = _rows(results, lambda result: _describe(result.cosines.mean(1), 2))
    return format_table(["", *results], [row for row in rows if row[0] != "readout"])


def cost_table(costs: Costs) -> str:
    """Memory and time of each method."""
    lengths = list(next(iter(costs.memory.values())))
    rows = [
        [
            method,
            *(f"{costs.memory[method][steps] / 1024:,.0f} KiB" for steps in lengths),
            f"{1000 * np.median(costs.seconds[method]):.2f} ms",
        ]
        for method in costs.memory
    ]
    return format_table(["", *(f"T = {steps}" for steps in lengths), "time"], rows)


def mode_table(modes: Mapping[str, Online]) -> str:
    """Both modes: a row of relative errors and one of errors each, by the learning rate."""
    rows = []
    for mode, found in modes.items():
        rows.append([f"{mode}, gradient", *(f"{x:.2g}" for x in found.median_deviations)])
        rows.append([f"{mode}, error", *(_describe(x, 1) for x in 100 * found.errors)])
    rates = next(iter(modes.values())).rates
    return format_table(["parameters change", *(f"{rate:g}" for rate in rates)], rows)


def as_json(results: Results, costs: Costs, modes: Mapping[str, Online]) -> dict[str, Any]:
    """All numbers of the report as JSON values; null where a training diverged."""
    trainings = {
        task: {
            method: {
                "rate": result.rate,
                "rate at the edge": result.is_at_edge,
                "validation losses": {f"{r:g}": x for r, x in result.rates.items()},
                "updates": result.updates.tolist(),
                "errors": result.errors.tolist(),
                "cosines": result.cosines.tolist(),
                **_mean_and_interval("error", result.errors[:, -1]),
                **_mean_and_interval("cosine", result.cosines.mean(1)),
            }
            for method, result in found.items()
        }
        for task, found in results.items()
    }
    return _without_nan(
        {
            "trainings": trainings,
            "memory in KiB": {
                method: {steps: size / 1024 for steps, size in sizes.items()}
                for method, sizes in costs.memory.items()
            },
            "milliseconds": {
                method: 1000 * float(np.median(x)) for method, x in costs.seconds.items()
            },
            "rtrl": {
                mode: {
                    f"{rate:g}": {"deviation": float(deviation)}
                    | _mean_and_interval("error", error)
                    for rate, deviation, error in zip(
                        found.rates, found.median_deviations, found.errors, strict=True
                    )
                }
                for mode, found in modes.items()
            },
        }
    )


def _rows(results: Results, describe: Any) -> list[list[str]]:
    methods = next(iter(results.values()))
    return [[m, *(describe(found[m]) for found in results.values())] for m in methods]


def _describe(values: np.ndarray, digits: int) -> str:
    """The mean of values [S], and its 95% interval if there are several."""
    mean = f"{values.mean():.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {interval(values):.{digits}f}"


def _mean_and_interval(name: str, values: np.ndarray) -> dict[str, float]:
    """Both of values [S]."""
    return {name: float(values.mean()), f"{name} interval": float(interval(values))}


def _without_nan(value: Any) -> Any:
    """JSON values with None in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {str(name): _without_nan(x) for name, x in value.items()}
    if isinstance(value, list):
        return [_without_nan(x) for x in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
