"""The contribution of each token, step or pixel, drawn with the text, series or image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from grujax.analysis.figures import (
    as_concrete,
    as_real,
    check_tokens,
    figure_with_axis,
    finite,
    heat_map,
    label_steps,
    largest_modulus,
    new_figure,
    note_missing,
)
from grujax.checks import check_string

_FOR, _AGAINST = "#b2182b", "#2166ac"


def plot_text_saliency(tokens: Sequence[str], relevance: ArrayLike, *, title: str = "") -> Any:
    """The contribution of each token as a bar, red for and blue against the answer.

    Args:
        tokens: T strings.
        relevance: `[T]`, such as integrated gradients summed over the features.
        title: the title.

    Returns:
        A matplotlib `Figure`. A cross marks what is NaN or infinite.

    Raises:
        ValueError: if `relevance` is not `[T]`, T at least 1, or `tokens` are not T strings.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_text_saliency(["not", "bad"], [0.5, -0.25])
        >>> [round(float(bar.get_height()), 2) for bar in figure.axes[0].patches]
        [0.5, -0.25]
    """
    relevance, title = as_real("relevance", relevance, "[T]"), check_string("title", title)
    tokens = check_tokens(tokens, len(relevance))
    figure, axis = figure_with_axis(min(2 + 0.42 * len(relevance), 16), 3.2)
    colors = np.where(relevance >= 0, _FOR, _AGAINST)
    is_finite, steps = np.isfinite(relevance), np.arange(len(relevance))
    axis.bar(steps, np.where(is_finite, relevance, 0), color=colors, width=0.8)
    if not is_finite.all():
        axis.plot(steps[~is_finite], 0 * steps[~is_finite], "x", color="#1a1a1a")
        note_missing(axis, np.sum(~is_finite), "×")
    axis.axhline(0, color="#7b7b7b", linewidth=0.8)
    label_steps(axis, tokens, len(relevance))
    axis.set(ylabel="contribution, above 0: for the answer", title=title)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def plot_series_saliency(xs: ArrayLike, relevance: ArrayLike, *, title: str = "") -> Any:
    """A time series on a background colored by the contribution of each step.

    Args:
        xs: `[T, I]`, one line for each of the I inputs.
        relevance: `[T]`, such as integrated gradients summed over the inputs.
        title: the title.

    Returns:
        A matplotlib `Figure`. What is NaN or infinite is gray in the background, and a gap in a
        line.

    Raises:
        ValueError: if `xs` is not `[T, I]` or `relevance` is not `[T]`, T and I at least 1.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_series_saliency(np.ones((5, 1)), [0.0, 0.5, -0.2, 0.0, 0.1])
        >>> len(figure.axes[0].lines)
        1
    """
    xs, relevance = as_real("xs", xs, "[T, I]"), as_real("relevance", relevance, "[T]")
    title = check_string("title", title)
    if len(xs) != len(relevance):
        raise ValueError(f"`xs` has {len(xs)} steps but `relevance` has {len(relevance)}.")
    figure, axis = figure_with_axis(8, 3.2)
    low, high = finite(xs).min(initial=0), finite(xs).max(initial=0)
    margin = 0.08 * (high - low or 1)
    extent = (-0.5, len(xs) - 0.5, low - margin, high + margin)
    reach = largest_modulus(relevance)
    options = {"vmin": -reach, "vmax": reach, "aspect": "auto", "extent": extent}
    image = heat_map(axis, relevance[None], "RdBu_r", **options)
    axis.plot(np.where(np.isfinite(xs), xs, np.nan), color="#1a1a1a", linewidth=1)
    axis.set(xlabel="step", ylabel="input", title=title)
    figure.colorbar(image, ax=axis, pad=0.01, label="contribution")
    return figure


def plot_image_saliency(image: ArrayLike, relevance: ArrayLike, *, title: str = "") -> Any:
    """An image that was read pixel by pixel, and next to it the contribution of each pixel.

    Args:
        image: `[rows, columns]`, or `[rows, columns, C]` with 1, 3 or 4 channels.
        relevance: `[rows, columns]`, or as many values in row-major order.
        title: the title.

    Returns:
        A matplotlib `Figure`. Contributions that are NaN or infinite are gray.

    Raises:
        ValueError: if `image` has another shape or is empty, or there is not one value per pixel.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_image_saliency(np.ones((4, 4)), np.linspace(-1, 1, 16))
        >>> figure.axes[1].images[0].get_array().shape
        (4, 4)
    """
    pixels, relevance = _as_pixels(image), as_concrete("relevance", relevance)
    title = check_string("title", title)
    if relevance.size != pixels.shape[0] * pixels.shape[1]:
        raise ValueError(
            f"`image` has shape {list(pixels.shape)} and `relevance` {list(relevance.shape)}: "
            "expected one value per pixel."
        )
    relevance = as_real("relevance", relevance.ravel(), "[rows · columns]")
    relevance = relevance.reshape(pixels.shape[:2])
    figure = new_figure(7.2, 3.4)
    left, right = figure.subplots(1, 2)
    left.imshow(pixels, cmap="gray")
    note_missing(left, np.sum(~np.isfinite(pixels)))
    reach = largest_modulus(relevance)
    shown = heat_map(right, relevance, "RdBu_r", vmin=-reach, vmax=reach)
    figure.colorbar(shown, ax=right, label="contribution")
    for axis in (left, right):
        axis.set_axis_off()
    figure.suptitle(title)
    return figure


def _as_pixels(image: ArrayLike) -> np.ndarray:
    pixels = as_concrete("image", image)
    is_gray, is_color = pixels.ndim == 2, pixels.ndim == 3 and pixels.shape[-1] in (1, 3, 4)
    is_complex = np.iscomplexobj(pixels)
    if not (is_gray or is_color) or not pixels.size or is_complex:
        raise ValueError(
            "`image` must be real, of shape [rows, columns] or [rows, columns, C] with 1, 3 or 4 "
            f"channels, got {list(pixels.shape)} of {pixels.dtype}."
        )
    return pixels
