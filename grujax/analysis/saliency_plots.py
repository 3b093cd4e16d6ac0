"""The contribution of each token, step or pixel, drawn with the text, series or image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from grujax.analysis.figures import as_array, figure_with_axis, label_steps, new_figure

_FOR, _AGAINST = "#b2182b", "#2166ac"


def plot_text_saliency(tokens: Sequence[str], relevance: ArrayLike, *, title: str = "") -> Any:
    """The contribution of each token as a bar, red for and blue against the answer.

    Args:
        tokens: T strings.
        relevance: `[T]`, such as integrated gradients summed over the features.
        title: the title.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if `relevance` is not `[T]` with T the number of tokens.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_text_saliency(["not", "bad"], [0.5, -0.25])
        >>> [round(float(bar.get_height()), 2) for bar in figure.axes[0].patches]
        [0.5, -0.25]
    """
    relevance = as_array("relevance", relevance, "[T]")
    figure, axis = figure_with_axis(min(2 + 0.42 * len(relevance), 16), 3.2)
    colors = np.where(relevance >= 0, _FOR, _AGAINST)
    axis.bar(np.arange(len(relevance)), relevance, color=colors, width=0.8)
    axis.axhline(0, color="#7b7b7b", linewidth=0.8)
    label_steps(axis, tokens, len(relevance))
    axis.set(ylabel="contribution", title=title)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def plot_series_saliency(xs: ArrayLike, relevance: ArrayLike, *, title: str = "") -> Any:
    """A time series on a background colored by the contribution of each step.

    Args:
        xs: `[T, I]`, one line for each of the I inputs.
        relevance: `[T]`, such as integrated gradients summed over the inputs.
        title: the title.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if `xs` is not `[T, I]` or `relevance` is not `[T]`.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_series_saliency(np.ones((5, 1)), [0.0, 0.5, -0.2, 0.0, 0.1])
        >>> len(figure.axes[0].lines)
        1
    """
    xs, relevance = as_array("xs", xs, "[T, I]"), as_array("relevance", relevance, "[T]")
    if len(xs) != len(relevance):
        raise ValueError(f"`xs` has {len(xs)} steps but `relevance` has {len(relevance)}.")
    figure, axis = figure_with_axis(8, 3.2)
    low, high = xs.min(initial=0), xs.max(initial=0)
    margin = 0.08 * (high - low or 1)
    extent = (-0.5, len(xs) - 0.5, low - margin, high + margin)
    reach = np.abs(relevance).max(initial=0) or 1
    image = axis.imshow(
        relevance[None], cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto", extent=extent
    )
    axis.plot(xs, color="#1a1a1a", linewidth=1)
    axis.set(xlabel="step", ylabel="input", title=title)
    figure.colorbar(image, ax=axis, pad=0.01, label="contribution")
    return figure


def plot_image_saliency(image: ArrayLike, relevance: ArrayLike, *, title: str = "") -> Any:
    """An image that was read pixel by pixel, and next to it the contribution of each pixel.

    Args:
        image: `[rows, columns]`, or `[rows, columns, 3]`.
        relevance: `[rows, columns]`, or as many values in row-major order.
        title: the title.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ValueError: if there is not one value per pixel.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_image_saliency(np.ones((4, 4)), np.linspace(-1, 1, 16))
        >>> figure.axes[1].images[0].get_array().shape
        (4, 4)
    """
    pixels, relevance = np.asarray(image), np.asarray(relevance)
    if pixels.ndim not in (2, 3) or relevance.size != pixels.shape[0] * pixels.shape[1]:
        raise ValueError(
            f"`image` has shape {list(pixels.shape)} and `relevance` {list(relevance.shape)}: "
            "expected one value per pixel."
        )
    relevance = relevance.reshape(pixels.shape[:2])
    figure = new_figure(7.2, 3.4)
    left, right = figure.subplots(1, 2)
    left.imshow(pixels, cmap="gray")
    reach = np.abs(relevance).max(initial=0) or 1
    shown = right.imshow(relevance, cmap="RdBu_r", vmin=-reach, vmax=reach)
    figure.colorbar(shown, ax=right, label="contribution")
    for axis in (left, right):
        axis.set_axis_off()
    figure.suptitle(title)
    return figure
