"""What all plots share: new figures, checked arrays, and labels for the steps.

A figure belongs to no window: call `figure.savefig(...)`, or make it the last expression of a
notebook cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib `Figure` with these sizes in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib, which is not installed: pip install 'grujax[analysis]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def figure_with_axis(width: float, height: float) -> tuple[Any, Any]:
    """A matplotlib `Figure` and its only axes."""
    figure = new_figure(width, height)
    return figure, figure.subplots()


def as_array(name: str, value: ArrayLike, shape: str) -> np.ndarray:
    """Converts `value` to float64; raises ValueError if it has not as many axes as `shape`."""
    array = np.asarray(value, dtype=float)
    if array.ndim != shape.count(",") + 1:
        raise ValueError(f"`{name}` must have shape {shape}, got {list(array.shape)}.")
    return array


def label_steps(axis: Any, tokens: Sequence[str] | None, steps: int) -> None:
    """Labels the steps of the x axis with tokens; raises ValueError unless there are `steps`."""
    if tokens is None:
        axis.set_xlabel("step")
        return
    if len(tokens) != steps:
        raise ValueError(f"`tokens` has {len(tokens)} entries, expected {steps}, one per step.")
    labels = [token.replace("$", r"\$") for token in tokens]  # not math
    axis.set_xticks(range(steps), labels, rotation=45, ha="right", rotation_mode="anchor")
