"""How far gradients reach back in time, in words and in figures.

A profile [T] holds the norm of the loss's gradient with respect to the hidden state, 0, 1, ...
steps before the end, relative to that at the last step.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

SMALLEST = 1e-37  # about the smallest normal float32; smaller norms are not told apart
SMALLEST_DRAWN = 1e-12
STEPS_LABEL = "steps back from the end"
NORM_LABEL = "‖∂L/∂state‖, relative to the end"


def geometric_mean(norms: np.ndarray) -> np.ndarray:
    """Averages gradient norms over seeds: [seeds, ...] -> [...]; 0 counts as `SMALLEST`."""
    return np.exp(np.log(np.maximum(norms, SMALLEST)).mean(0))


def describe_flow(before: np.ndarray, after: np.ndarray) -> str:
    """Describes norms [seeds] before and after training by geometric means: "1e-13 → 0.4"."""
    return f"{_describe_norms(before)} → {_describe_norms(after)}"


def _describe_norms(norms: np.ndarray) -> str:
    if not np.isfinite(norms).all():
        return "overflow"
    mean = geometric_mean(norms)
    if mean < 1.01 * SMALLEST:
        return f"<{SMALLEST}"
    return f"{mean:.0e}" if mean < 0.01 else f"{mean:.2g}"


def draw_profile(axis: Axes, profile: np.ndarray, **style: Any) -> None:
    """Draws a profile [T] without its values below `SMALLEST_DRAWN`, with up to 7 markers."""
    every = max(1, len(profile) // 6)
    axis.plot(np.where(profile > SMALLEST_DRAWN, profile, np.nan), markevery=every, **style)


def format_axis(axis: Axes) -> None:
    """Sets scale, limits and grid of a panel of profiles; the caller labels it."""
    axis.set(yscale="log", ylim=(SMALLEST_DRAWN, 1e3))
    axis.grid(alpha=0.3)
