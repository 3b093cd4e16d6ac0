"""Plots of gates, eigenvalues, gradient norms and trajectories.

Each function returns one matplotlib `Figure`, made from arrays that the rest of `analysis` returns.
They do not run inside jit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from grujax.analysis.figures import (
    COLORS,
    DASHES,
    as_concrete,
    as_real,
    check_tokens,
    figure_with_axis,
    finite,
    heat_map,
    label_steps,
    new_figure,
    note_missing,
)
from grujax.analysis.fixed_points import FixedPoints, Stability
from grujax.analysis.gradient_profile import UNKNOWN, VANISHED, GradientFlow
from grujax.checks import check_instance, check_integer, check_string

_MARKERS = {  # color, size and shape for each kind of point
    Stability.STABLE: ("#1a1a1a", 46, "o"),
    Stability.SADDLE: ("#D55E00", 30, "X"),
    Stability.UNSTABLE: ("#E69F00", 30, "^"),
    Stability.SLOW: ("#CC79A7", 20, "s"),
    Stability.UNKNOWN: ("#7b7b7b", 22, "D"),
}


def plot_gates(
    gate: ArrayLike, tokens: Sequence[str] | None = None, *, name: str = "update gate z"
) -> Any:
    """A heat map of one gate, units by steps, labeled with tokens.

    Args:
        gate: `[T, H]` for one row, such as `trace.update[:length, row]`. The color range is [0, 1],
            or [−1, 1] if there are negative values, as in a candidate.
        tokens: T strings, or None.
        name: the title.

    Returns:
        A matplotlib `Figure`. Units are sorted by their mean, so that slow ones are at the top.
        What is NaN or infinite is gray; units with a NaN come last.

    Raises:
        ValueError: if `gate` is not `[T, H]` with at least one entry, or `tokens` are not T
            strings.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_gates(np.random.default_rng(0).uniform(size=(3, 8)), ["not", "bad", "!"])
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['not', 'bad', '!']
    """
    gate, name = as_real("gate", gate, "[T, H]"), check_string("name", name)
    if tokens is not None:
        tokens = check_tokens(tokens, len(gate))
    is_signed = finite(gate).min(initial=0) < 0
    order = np.argsort(-gate.mean(0))
    width = min(3 + 0.32 * len(gate), 16)
    figure, axis = figure_with_axis(width, 4.2)
    image = heat_map(
        axis,
        gate[:, order].T,
        "RdBu_r" if is_signed else "viridis",
        aspect="auto",
        interpolation="nearest",
        vmin=-1 if is_signed else 0,
        vmax=1,
    )
    label_steps(axis, tokens, len(gate))
    axis.set(ylabel="unit, by its mean", title=name)
    figure.colorbar(image, ax=axis, pad=0.01, label="value")
    return figure


def plot_eigenvalues(eigenvalues: ArrayLike, *, title: str = "eigenvalues of ∂h'/∂h") -> Any:
    """Eigenvalues in the complex plane, with the unit circle that separates decay from growth.

    Args:
        eigenvalues: complex `[H]`, or `[M, H]` with one color and shape per row. Rows that are all
            NaN, the unused slots of `FixedPoints`, are skipped. Eigenvalues outside the circle get
            a ring.
        title: the title.

    Returns:
        A matplotlib `Figure`; a note says how many other values are NaN or infinite.

    Raises:
        ValueError: if `eigenvalues` is neither `[H]` nor `[M, H]`, H at least 1.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_eigenvalues(np.array([0.9 + 0.3j, 0.9 - 0.3j, 0.2]))
        >>> figure.axes[0].get_xlabel()
        'real part'
    """
    values, title = as_concrete("eigenvalues", eigenvalues), check_string("title", title)
    if values.ndim not in (1, 2) or not values.shape[-1]:
        raise ValueError(
            f"`eigenvalues` must have shape [H] or [M, H], H at least 1, got {list(values.shape)}."
        )
    is_unused = np.isnan(values).all(-1) if values.ndim == 2 else False
    rows = np.atleast_2d(values[~is_unused] if values.ndim == 2 else values)
    figure, axis = figure_with_axis(4.6, 4.6)
    note_missing(axis, np.sum(~np.isfinite(rows)))
    rows = np.where(np.isfinite(rows), rows, np.nan)
    angle = np.linspace(0, 2 * np.pi, 400)
    axis.plot(np.cos(angle), np.sin(angle), color="#7b7b7b", linewidth=1)
    for number, row in enumerate(rows):
        style = {"color": COLORS[number % len(COLORS)], "marker": "os^DvP"[number % 6]}
        axis.scatter(row.real, row.imag, s=18, alpha=0.8, linewidths=0, **style)
        outside = row[np.abs(row) > 1]
        axis.scatter(outside.real, outside.imag, s=60, facecolors="none", edgecolors="#1a1a1a")
    axis.set(xlabel="real part", ylabel="imaginary part", title=title, aspect="equal")
    points = finite(rows)
    reach = 1.1 * max(1.0, np.abs(points.real).max(initial=0), np.abs(points.imag).max(initial=0))
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axis.locator_params(nbins=5)
    axis.axhline(0, color="#d0d0d0", linewidth=0.6, zorder=0)
    axis.axvline(0, color="#d0d0d0", linewidth=0.6, zorder=0)
    return figure


def plot_gradient_flow(flow: GradientFlow) -> Any:
    """The norm of the gradient against steps back in time, one line per layer and direction.

    Args:
        flow: a `GradientFlow`, from `gradient_flow`; the plot shows its `profile [L, T]`.

    Returns:
        A matplotlib `Figure`; the legend says where a gradient is NaN or infinite.

    Raises:
        ValueError: if `flow` is no `GradientFlow` of one model.
        ImportError: if matplotlib is not installed.

    Example:
        >>> import jax, grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=6)
        >>> xs = jax.random.normal(jax.random.key(1), (20, 4, 3))
        >>> from grujax.analysis import gradient_flow
        >>> figure = plot_gradient_flow(gradient_flow(params, xs, lambda h_last, hs: h_last.sum()))
        >>> figure.axes[0].get_yscale()
        'log'
    """
    check_instance("flow", flow, GradientFlow, "gradient_flow")
    profiles = as_real("flow.profile", flow.profile, "[L, T]")
    vanishes = as_real("flow.vanishes_after", flow.vanishes_after, "[L]")
    if not len(flow.names) == len(profiles) == len(vanishes):
        raise ValueError(
            f"`flow` must have one name per entry of its L axis, got {len(flow.names)} names and "
            f"{len(profiles)} profiles."
        )
    figure, axis = figure_with_axis(7.2, 3.8)
    lines = zip(flow.names, profiles, vanishes, strict=True)
    for number, (name, profile, steps) in enumerate(lines):
        lost = " (NaN or infinite)" if steps == UNKNOWN or np.isinf(profile).any() else ""
        style = {"color": COLORS[number % len(COLORS)], "linestyle": DASHES[number % len(DASHES)]}
        axis.plot(np.where(profile > 0, profile, np.nan), label=f"{name}{lost}", **style)
    axis.axhline(VANISHED, color="#7b7b7b", linewidth=0.8, linestyle="--")
    axis.text(0, VANISHED, "vanished", va="bottom", fontsize=8, color="#7b7b7b")
    label = "‖∂L/∂h‖, relative to the end"
    axis.set(yscale="log", xlabel="steps back from the end", ylabel=label)
    axis.grid(alpha=0.3)
    figure.legend(title="layer", loc="outside right upper", frameon=False)
    return figure


def plot_state_space(
    hs: ArrayLike, found: FixedPoints | None = None, *, max_trajectories: int = 12
) -> Any:
    """Trajectories and fixed points in the first two and three principal components.

    Args:
        hs: `[T, B, H]`, H at least 3. The principal components are those of all finite states, of
            which there must be at least 3.
        found: from `find_fixed_points`, drawn on top; None for no points.
        max_trajectories: how many of the B rows to draw; 0 for none.

    Returns:
        A matplotlib `Figure`: components 1, 2 and 3 on the left, 1 and 2 on the right. A note says
        how many states are NaN or infinite.

    Raises:
        ValueError: if `hs` is not `[T, B, H]` with these numbers, or `found` has another H.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_state_space(np.random.default_rng(0).normal(size=(20, 4, 6)))
        >>> len(figure.axes)
        2
    """
    hs = as_real("hs", hs, "[T, B, H]")
    max_trajectories = check_integer("max_trajectories", max_trajectories, 0)
    size, is_finite = hs.shape[-1], np.asarray(np.isfinite(hs).all(-1))
    states = hs[is_finite]
    if size < 3 or len(states) < 3:
        raise ValueError(
            f"`hs` must have at least 3 finite states of at least 3 units, got {len(states)} "
            f"states of {size}."
        )
    points, kinds = _points_of(found, size)
    hs = np.where(is_finite[..., None], hs, np.nan)
    center = states.mean(0)
    _, _, directions = np.linalg.svd(states - center, full_matrices=False)

    def project(states: np.ndarray) -> np.ndarray:
        return (states - center) @ directions[:3].T

    figure = new_figure(10, 4.8)
    space = figure.add_subplot(1, 2, 1, projection="3d")
    plane = figure.add_subplot(1, 2, 2)
    for line in np.swapaxes(project(hs[:, :max_trajectories]), 0, 1):
        space.plot(*line.T, color="#4c78a8", linewidth=0.7, alpha=0.45)
        plane.plot(*line[:, :2].T, color="#4c78a8", linewidth=0.7, alpha=0.45)
    note_missing(plane, np.sum(~is_finite))
    space.set(xlabel="component 1", ylabel="component 2", zlabel="component 3")
    space.set_box_aspect(None, zoom=0.88)  # leave room for the labels
    plane.set(xlabel="component 1", ylabel="component 2")
    if found is not None:
        for kind, (color, area, marker) in _MARKERS.items():
            shown = project(points[kinds == kind])
            if len(shown):
                label = f"{len(shown)} {kind.name.lower()}"
                style = {"s": area, "color": color, "marker": marker, "linewidths": 0}
                space.scatter(*shown.T, depthshade=False, label=label, **style)
                plane.scatter(*shown[:, :2].T, zorder=3, **style)
        if space.collections:
            place = {"loc": "outside lower center", "ncols": len(_MARKERS), "frameon": False}
            figure.legend(title="fixed points", **place)
    return figure


def _points_of(found: FixedPoints | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The points `[M, H]` and their kinds `[M]`."""
    if found is None:
        return np.zeros((0, size)), np.zeros(0)
    check_instance("found", found, FixedPoints, "find_fixed_points")
    points = as_real("found.points", found.points, "[M, H]")
    kinds = as_real("found.stability", found.stability, "[M]")
    if points.shape != (len(kinds), size):
        raise ValueError(
            f"`found.points` must have shape [M, H] = {[len(kinds), size]} with M of "
            f"`found.stability` and H of `hs`, got {list(points.shape)}."
        )
    return points, kinds
