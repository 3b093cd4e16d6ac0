"""Plots of gates, eigenvalues, gradient norms and trajectories.

Each function returns one matplotlib `Figure`, made from arrays that the rest of `analysis` returns.
They do not run inside jit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from grujax.analysis.figures import as_array, figure_with_axis, label_steps, new_figure
from grujax.analysis.fixed_points import FixedPoints, Stability
from grujax.analysis.gradient_profile import VANISHED, GradientFlow

_MARKERS = {  # color and size for each kind of point
    Stability.STABLE: ("#1a1a1a", 46),
    Stability.SADDLE: ("#c8322b", 22),
    Stability.UNSTABLE: ("#e08214", 22),
    Stability.SLOW: ("#8e6bbf", 14),
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

    Raises:
        ValueError: if `gate` is not `[T, H]`, or the number of tokens is not T.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_gates(np.random.default_rng(0).uniform(size=(3, 8)), ["not", "bad", "!"])
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['not', 'bad', '!']
    """
    gate = as_array("gate", gate, "[T, H]")
    is_signed = gate.min(initial=0) < 0
    order = np.argsort(-gate.mean(0))
    width = min(3 + 0.32 * len(gate), 16)
    figure, axis = figure_with_axis(width, 4.2)
    image = axis.imshow(
        gate[:, order].T,
        aspect="auto",
        interpolation="nearest",
        cmap="RdBu_r" if is_signed else "viridis",
        vmin=-1 if is_signed else 0,
        vmax=1,
    )
    label_steps(axis, tokens, len(gate))
    axis.set(ylabel="unit, by its mean", title=name)
    figure.colorbar(image, ax=axis, pad=0.01)
    return figure


def plot_eigenvalues(eigenvalues: ArrayLike, *, title: str = "eigenvalues of ∂h'/∂h") -> Any:
    """Eigenvalues in the complex plane, with the unit circle that separates decay from growth.

    Args:
        eigenvalues: complex `[H]`, or `[M, H]` with one color per row. NaN rows are skipped.
            Eigenvalues outside the circle get a ring.
        title: the title.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_eigenvalues(np.array([0.9 + 0.3j, 0.9 - 0.3j, 0.2]))
        >>> figure.axes[0].get_xlabel()
        'real part'
    """
    rows = np.atleast_2d(np.asarray(eigenvalues))
    rows = rows[~np.isnan(rows).any(-1)]
    figure, axis = figure_with_axis(4.6, 4.6)
    angle = np.linspace(0, 2 * np.pi, 400)
    axis.plot(np.cos(angle), np.sin(angle), color="#7b7b7b", linewidth=1)
    for row in rows:
        axis.scatter(row.real, row.imag, s=16, alpha=0.8, linewidths=0)
        outside = row[np.abs(row) > 1]
        axis.scatter(outside.real, outside.imag, s=44, facecolors="none", edgecolors="#c8322b")
    axis.set(xlabel="real part", ylabel="imaginary part", title=title, aspect="equal")
    reach = 1.1 * max(1.0, np.abs(rows.real).max(initial=0), np.abs(rows.imag).max(initial=0))
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
        A matplotlib `Figure`.

    Raises:
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
    figure, axis = figure_with_axis(6.4, 3.8)
    for name, profile in zip(flow.names, np.asarray(flow.profile), strict=True):
        axis.plot(np.where(profile > 0, profile, np.nan), label=name)
    axis.axhline(VANISHED, color="#7b7b7b", linewidth=0.8, linestyle="--")
    axis.text(0, VANISHED, "vanished", va="bottom", fontsize=8, color="#7b7b7b")
    axis.set(yscale="log", xlabel="steps back from the end", ylabel="‖∂L/∂h‖, relative")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return figure


def plot_state_space(
    hs: ArrayLike, found: FixedPoints | None = None, *, max_trajectories: int = 12
) -> Any:
    """Trajectories and fixed points in the first two and three principal components.

    Args:
        hs: `[T, B, H]`, H at least 3. The principal components are those of all states.
        found: from `find_fixed_points`, drawn on top; None for no points.
        max_trajectories: how many of the B rows to draw.

    Returns:
        A matplotlib `Figure`: components 1, 2 and 3 on the left, 1 and 2 on the right.

    Raises:
        ValueError: if `hs` is not `[T, B, H]`.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_state_space(np.random.default_rng(0).normal(size=(20, 4, 6)))
        >>> len(figure.axes)
        2
    """
    hs = as_array("hs", hs, "[T, B, H]")
    states = hs.reshape(-1, hs.shape[-1])
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
    space.set(xlabel="component 1", ylabel="component 2", zlabel="component 3")
    space.set_box_aspect(None, zoom=0.88)  # leave room for the labels
    plane.set(xlabel="component 1", ylabel="component 2")
    if found is not None:
        for kind, (color, size) in _MARKERS.items():
            points = project(np.asarray(found.points)[np.asarray(found.stability) == kind])
            if len(points):
                label = f"{len(points)} {kind.name.lower()}"
                space.scatter(*points.T, s=size, color=color, depthshade=False, label=label)
                plane.scatter(*points[:, :2].T, s=size, color=color, zorder=3)
        figure.legend(loc="outside lower center", ncols=len(_MARKERS), frameon=False)
    return figure
