"""One function a figure, each from the arrays that the rest of `analysis` returns.

They return a matplotlib `Figure` that belongs to no window: `figure.savefig(...)`, or leave it as
the last line of a notebook's cell. They run outside jit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from grujax.analysis.fixed_points import FixedPoints, Stability
from grujax.analysis.gradient_flow import VANISHED, GradientFlow

_MARKS = {  # colour and size of each kind of point
    Stability.STABLE: ("#1a1a1a", 46),
    Stability.SADDLE: ("#c8322b", 22),
    Stability.UNSTABLE: ("#e08214", 22),
    Stability.SLOW: ("#8e6bbf", 14),
}


def plot_gates(
    gate: ArrayLike, tokens: Sequence[str] | None = None, *, name: str = "update gate z"
) -> Any:
    """A heat map of one gate, units by steps, the tokens beneath it.

    Args:
        gate: `[T, H]` of one row, such as `trace.update[:length, row]`. The range of the colours
            is [0, 1], and [−1, 1] if there are negative values, as in a candidate.
        tokens: T strings.
        name: what is shown.

    Returns:
        A matplotlib `Figure`. Units are sorted by their mean, so that slow ones lie at the top.

    Raises:
        ValueError: if `gate` is not `[T, H]`, or the number of tokens is not T.
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = plot_gates(np.random.default_rng(0).uniform(size=(3, 8)), ["not", "bad", "!"])
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['not', 'bad', '!']
    """
    gate = as_array("gate", gate, "[T, H]")
    signed = gate.min(initial=0) < 0
    order = np.argsort(-gate.mean(0))
    width = min(3 + 0.32 * len(gate), 16)
    figure, axis = figure_with_axis(width, 4.2)
    image = axis.imshow(
        gate[:, order].T,
        aspect="auto",
        interpolation="nearest",
        cmap="RdBu_r" if signed else "viridis",
        vmin=-1 if signed else 0,
        vmax=1,
    )
    label_steps(axis, tokens, len(gate))
    axis.set(ylabel="unit, by its mean", title=name)
    figure.colorbar(image, ax=axis, pad=0.01)
    return figure


def plot_eigenvalues(eigenvalues: ArrayLike, *, title: str = "eigenvalues of ∂h'/∂h") -> Any:
    """Eigenvalues in the complex plane, with the unit circle that parts growth from decay.

    Args:
        eigenvalues: complex `[H]`, or `[M, H]`, a colour a row; NaN rows are left out. Those that
            grow, outside the circle, are ringed.
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
    """The gradient's norm against the steps it has come back, one line a layer and direction.

    Args:
        flow: from `gradient_flow`.

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
    """Trajectories in the plane and the space of their principal components, with fixed points.

    Args:
        hs: `[T, B, H]`, H at least 3, whose principal components are taken, over all of it.
        found: from `find_fixed_points`, to draw on top.
        max_trajectories: of so many of the B rows are lines drawn.

    Returns:
        A matplotlib `Figure`: components 1, 2 and 3 in space, and 1 and 2 in the plane.

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
    space.set_box_aspect(None, zoom=0.88)  # the labels lie outside the box
    plane.set(xlabel="component 1", ylabel="component 2")
    if found is not None:
        for kind, (colour, size) in _MARKS.items():
            points = project(np.asarray(found.points)[np.asarray(found.stability) == kind])
            if len(points):
                label = f"{len(points)} {kind.name.lower()}"
                space.scatter(*points.T, s=size, color=colour, depthshade=False, label=label)
                plane.scatter(*points[:, :2].T, s=size, color=colour, zorder=3)
        figure.legend(loc="outside lower center", ncols=len(_MARKS), frameon=False)
    return figure


def new_figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib, which is not installed: pip install 'grujax[analysis]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def figure_with_axis(width: float, height: float) -> tuple[Any, Any]:
    figure = new_figure(width, height)
    return figure, figure.subplots()


def as_array(name: str, value: ArrayLike, shape: str) -> np.ndarray:
    array = np.asarray(value, dtype=float)
    if array.ndim != shape.count(",") + 1:
        raise ValueError(f"`{name}` must have shape {shape}, got {list(array.shape)}.")
    return array


def label_steps(axis: Any, tokens: Sequence[str] | None, steps: int) -> None:
    if tokens is None:
        axis.set_xlabel("step")
        return
    if len(tokens) != steps:
        raise ValueError(f"`tokens` has {len(tokens)} entries, expected {steps}, one a step.")
    labels = [token.replace("$", r"\$") for token in tokens]  # no mathematics
    axis.set_xticks(range(steps), labels, rotation=45, ha="right", rotation_mode="anchor")
