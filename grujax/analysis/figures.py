"""What all plots share: new figures, checked arrays, gaps, and labels for the steps.

What is NaN or infinite has no place in a plot. It leaves a gap, or is gray in a heat map, and a
note says how much is missing.

A figure belongs to no window: call `figure.savefig(...)`, or make it the last expression of a
notebook cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from grujax.checks import describe, has_an_end

# Okabe & Ito (2008), "Color Universal Design": people who see fewer hues can tell them apart.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#1a1a1a")
DASHES = ("-", "--", "-.", ":")  # tell lines apart in gray print
_MISSING = "#7b7b7b"  # in no color map of these plots


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


def as_concrete(name: str, value: ArrayLike) -> np.ndarray:
    """A NumPy array of numbers or truth values, none of them traced."""
    try:
        if not has_an_end(value):
            raise TypeError
        array = np.asarray(value)
        fits = jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"`{name}` must be a concrete array of numbers, not in jit, got {describe(value)}."
        )
    return array


def as_real(name: str, value: ArrayLike, shape: str) -> np.ndarray:
    """Float64 with as many axes as `shape`, none of them empty; raises ValueError otherwise."""
    array = as_concrete(name, value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"`{name}` must be real numbers, got {array.dtype}.")
    if array.ndim != shape.count(",") + 1 or not array.size:
        raise ValueError(
            f"`{name}` must have shape {shape} with at least one entry, got {list(array.shape)}."
        )
    return array.astype(float)


def check_tokens(tokens: Sequence[str], steps: int) -> list[str]:
    """Raises ValueError unless there are as many strings as steps."""
    if isinstance(tokens, np.ndarray):
        tokens = tokens.tolist()
    if not isinstance(tokens, list | tuple):
        raise ValueError(f"`tokens` must be a list of strings, got {describe(tokens)}.")
    if len(tokens) != steps:
        raise ValueError(f"`tokens` has {len(tokens)} entries, expected {steps}, one per step.")
    for token in tokens:
        if not isinstance(token, str):
            raise ValueError(f"`tokens` must be strings, got {describe(token)} among them.")
    return list(tokens)


def label_steps(axis: Any, tokens: Sequence[str] | None, steps: int) -> None:
    """Labels the steps of the x axis with tokens, or with their numbers."""
    if tokens is None:
        axis.set_xlabel("step")
        return
    labels = [token.replace("$", r"\$") for token in tokens]  # not math
    axis.set_xticks(range(steps), labels, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_xlabel("token")


def finite(values: np.ndarray) -> np.ndarray:
    """The finite values, flat."""
    return values[np.isfinite(values)]


def largest_modulus(values: np.ndarray) -> float:
    """Of the finite values; 1 if that is 0 or there is none."""
    return np.abs(finite(values)).max(initial=0) or 1


def heat_map(axis: Any, values: np.ndarray, colors: str, **options: Any) -> Any:
    """`imshow` with what is NaN or infinite in gray, and a note."""
    from matplotlib import colormaps

    note_missing(axis, np.sum(~np.isfinite(values)), "gray")
    color_map = colormaps[colors].with_extremes(bad=_MISSING)
    return axis.imshow(values, cmap=color_map, **options)


def note_missing(axis: Any, count: Any, how: str = "missing") -> None:
    """Says above the axes how many values are NaN or infinite, if there are any."""
    if count:
        text = f"{count} NaN or infinite: {how}"
        axis.annotate(text, (1, 1), xycoords="axes fraction", ha="right", va="bottom", fontsize=8)
