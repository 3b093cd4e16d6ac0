"""Compares forecasts on the test set: errors, coverage, and where there is an edge."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.outputs import write_results
from experiments.common.report import format_table
from experiments.forecasting.model import constant_quantiles
from experiments.forecasting.problem import Problem
from experiments.forecasting.quantiles import LEVELS, coverage, mean, median, pinball_loss
from experiments.forecasting.scores import (
    absolute_error,
    describe_reduction,
    error_reduction,
    r_squared,
    share_with_interval,
    squared_error,
)

WORST = "{}, the worst seed"
CONSTANT = "ridge, intervals of constant width"
BLOCK = 20  # consecutive times that the bootstrap draws together


class Measure(NamedTuple):
    """An error measure."""

    title: str
    point: Callable[[np.ndarray], np.ndarray]  # the forecast of least error, from the quantiles
    error: Callable[[np.ndarray, np.ndarray], np.ndarray]
    total: Callable[
        [np.ndarray, np.ndarray, np.ndarray], np.ndarray
    ]  # [K], with arguments as `r_squared`
    worst: Callable[..., np.ndarray]  # the worst of several totals
    # [3, K], the total of errors [N, K] and its 95% interval, with the targets, the reference [K]
    # and the times [N] of the forecasts
    interval: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _mean_absolute_error(forecasts: np.ndarray, targets: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.nanmean(absolute_error(forecasts, targets), 0)


def _mean_interval(
    errors: np.ndarray, targets: np.ndarray, _: np.ndarray, times: np.ndarray
) -> np.ndarray:
    return share_with_interval(errors, np.isfinite(targets).astype(float), times, BLOCK)


def _r_squared_interval(
    errors: np.ndarray, targets: np.ndarray, reference: np.ndarray, times: np.ndarray
) -> np.ndarray:
    return error_reduction(errors, squared_error(reference, targets), times, BLOCK)


ABSOLUTE = Measure(
    "mean absolute error", median, absolute_error, _mean_absolute_error, np.max, _mean_interval
)
SQUARED = Measure(
    "R², against the training mean", mean, squared_error, r_squared, np.min, _r_squared_interval
)


class Comparison(NamedTuple):
    """The scores of N forecasts of K targets on the test set."""

    network: str  # its name
    totals: dict[str, np.ndarray]  # [K] of each rival, the mean over seeds, and the worst seed
    intervals: dict[str, np.ndarray]  # [3, K], the totals but the worst, with their 95% intervals
    reductions: dict[str, np.ndarray]  # [3, K], of each rival's error, see `error_reduction`
    pinball: dict[str, np.ndarray]  # [K], of the network and of CONSTANT
    pinball_reduction: np.ndarray  # [3, K], of CONSTANT's loss
    coverage: np.ndarray  # [seeds, K], of the 80% interval
    inner_coverage: np.ndarray  # [seeds, K], of the 40% interval


def compare(problem: Problem, quantiles: np.ndarray, network: str, measure: Measure) -> Comparison:
    """Compares the network with its rivals on the test set.

    Args:
      problem: the forecasting problem.
      quantiles: [seeds, N, K, Q], for all origins.
      network: its name.
      measure: the error measure.
    """
    rows = problem.split.test
    targets = problem.targets[rows]
    reference = np.nanmean(problem.targets[problem.split.train], 0)
    points = measure.point(quantiles[:, rows])
    seeds = np.stack([measure.total(point, targets, reference) for point in points])
    totals, reductions, intervals = {}, {}, {}
    beside = targets, reference, problem.origins[rows]
    errors = np.mean([measure.error(point, targets) for point in points], 0)
    for name, forecasts in problem.rivals.items():
        totals[name] = measure.total(forecasts[rows], targets, reference)
        rival = measure.error(forecasts[rows], targets)
        reductions[name] = error_reduction(errors, rival, problem.origins[rows], BLOCK)
        intervals[name] = measure.interval(rival, *beside)
    totals[network] = seeds.mean(0)
    totals[WORST.format(network)] = measure.worst(seeds, axis=0)
    intervals[network] = measure.interval(errors, *beside)
    losses = np.mean([pinball_loss(q, targets) for q in quantiles[:, rows]], 0)
    constant = np.asarray(pinball_loss(constant_quantiles(problem)[rows], targets))
    return Comparison(
        network,
        totals,
        intervals,
        reductions,
        {CONSTANT: np.nanmean(constant, 0), network: np.nanmean(losses, 0)},
        error_reduction(losses, constant, problem.origins[rows], BLOCK),
        np.stack([coverage(q, targets) for q in quantiles[:, rows]]),
        np.stack([coverage(q[..., 1:-1], targets) for q in quantiles[:, rows]]),
    )


def print_comparison(comparison: Comparison, names: Sequence[str], title: str) -> None:
    """Prints the scores, and by how much the network reduces each rival's error."""
    rows = [[name, *(f"{x:.3f}" for x in row)] for name, row in comparison.totals.items()]
    for width, shares in (
        (LEVELS[-1] - LEVELS[0], comparison.coverage),
        (LEVELS[-2] - LEVELS[1], comparison.inner_coverage),
    ):
        rows.append([f"its {width:.0%} interval holds", *(f"{x:.1%}" for x in shares.mean(0))])
    print(f"\n{format_table([title, *names], rows)}")
    network = comparison.network
    print(f"\nBy how much the {network} reduces a rival's error, in %; * is beyond chance (95%):")
    rows = [
        [name, *(describe_reduction(column) for column in reduction.T)]
        for name, reduction in comparison.reductions.items()
    ]
    print(format_table(["", *names], rows))
    print(verdict(comparison, names))
    rows = [[name, *(f"{x:.4f}" for x in row)] for name, row in comparison.pinball.items()]
    reduction = [describe_reduction(column) for column in comparison.pinball_reduction.T]
    rows.append([f"reduction by the {network}, %", *reduction])
    print(f"\n{format_table(['pinball loss of the quantiles', *names], rows)}")


def verdict(comparison: Comparison, names: Sequence[str]) -> str:
    """Says for which targets the network is better than every rival beyond chance."""
    is_better = np.all([low > 0 for _, low, _ in comparison.reductions.values()], 0)
    edge = [name for name, better in zip(names, is_better, strict=True) if better]
    no_edge = [name for name in names if name not in edge]
    parts = [f"better than every rival beyond chance: {', '.join(edge)}"] * bool(edge)
    parts += [f"no edge over the best rival beyond chance: {', '.join(no_edge)}"] * bool(no_edge)
    return "; ".join(parts).capitalize() + "."


def write_comparison(comparison: Comparison, names: Sequence[str], path: Path, **more: Any) -> None:
    """Writes the comparison as JSON, with `more` results."""
    content = {
        "targets": list(names),
        "totals": {name: row.tolist() for name, row in comparison.totals.items()},
        "reductions": {name: rows.tolist() for name, rows in comparison.reductions.items()},
        "pinball": {name: row.tolist() for name, row in comparison.pinball.items()},
        "pinball_reduction": comparison.pinball_reduction.tolist(),
        "coverage": comparison.coverage.tolist(),
        "inner_coverage": comparison.inner_coverage.tolist(),
    }
    write_results(path, content | more)
