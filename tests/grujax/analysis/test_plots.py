"""The figures: their content, and that only they import matplotlib."""

import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from grujax import analysis
from grujax.analysis import Stability
from tests.helpers import ROOT, Draw


def save(figure, path: Path) -> None:
    figure.savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_heat_map_shows_every_unit_and_token(tmp_path):
    gate = Draw("gates").rng.uniform(size=(3, 5))
    figure = analysis.plot_gates(gate, ["it", "costs", "$5$"])
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown, gate[:, np.argsort(-gate.mean(0))].T)
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    save(figure, tmp_path / "gates.png")  # dollars are not math
    assert analysis.plot_gates(-gate).axes[0].images[0].get_clim() == (-1, 1)
    with pytest.raises(ValueError, match="`tokens` has 2 entries, expected 3, one per step"):
        analysis.plot_gates(gate, ["it", "costs"])
    with pytest.raises(ValueError, match=r"`gate` must have shape \[T, H\] .*, got \[3\]"):
        analysis.plot_gates(gate[:, 0])


def test_eigenvalues_outside_the_circle_have_a_ring(tmp_path):
    values = np.array([[1.5, 0.5 + 0.5j, 0.5 - 0.5j], [np.nan] * 3])
    figure = analysis.plot_eigenvalues(values)
    dots, ringed = figure.axes[0].collections
    assert len(dots.get_offsets()) == 3
    np.testing.assert_allclose(ringed.get_offsets(), [[1.5, 0]])
    assert figure.axes[0].get_xlim()[1] > 1.5
    save(figure, tmp_path / "eigenvalues.png")


def test_the_gradient_flow_has_one_line_per_layer_and_direction(tmp_path):
    draw = Draw("flow", "float32")
    layers = [draw.params(3, 4), (draw.params(4, 5), draw.params(4, 5))]
    flow = analysis.gradient_flow(layers, draw.normal(9, 2, 3), lambda h_last, hs: hs[-1].sum())
    figure = analysis.plot_gradient_flow(flow)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["layer 0", "layer 1 forward", "layer 1 backward"]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), flow.profile[0])
    save(figure, tmp_path / "flow.png")


def test_state_space_keeps_distances_within_three_components(tmp_path):
    draw = Draw("states")
    basis, _ = np.linalg.qr(draw.normal(6, 3))
    hs = draw.normal(30, 4, 3) * [3, 2, 1] @ basis.T + 1
    found = analysis.FixedPoints(
        points=jnp.asarray([hs[0, 0], hs[1, 0], np.full(6, np.nan)]),
        residuals=jnp.zeros(3),
        eigenvalues=jnp.zeros((3, 6)),
        stability=jnp.array([Stability.STABLE, Stability.SADDLE, Stability.NONE]),
        num_starts=jnp.ones(3),
        num_found=jnp.int32(2),
    )
    figure = analysis.plot_state_space(hs, found, max_trajectories=2)
    space, plane = figure.axes
    assert len(space.lines) == len(plane.lines) == 2
    drawn = np.stack(space.lines[0].get_data_3d(), -1)
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(drawn, axis=0), axis=-1),
        np.linalg.norm(np.diff(hs[:, 0], axis=0), axis=-1),
        rtol=1e-5,
    )
    (stable, saddle) = plane.collections
    np.testing.assert_allclose(stable.get_offsets()[0], drawn[0, :2], rtol=1e-5)
    np.testing.assert_allclose(saddle.get_offsets()[0], drawn[1, :2], rtol=1e-5)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["1 stable", "1 saddle"]
    save(figure, tmp_path / "states.png")


def test_a_search_that_found_nothing_has_no_legend():
    nothing = analysis.FixedPoints(
        points=np.full((2, 4), np.nan),
        residuals=np.full(2, np.nan),
        eigenvalues=np.full((2, 4), np.nan),
        stability=np.zeros(2, int),
        num_starts=np.zeros(2, int),
        num_found=np.int32(0),
    )
    figure = analysis.plot_state_space(Draw("none").normal(5, 2, 4), nothing)
    assert not figure.legends


def test_saliency_of_text_series_and_image(tmp_path):
    save(analysis.plot_text_saliency(["not", "bad"], [0.5, -1.0]), tmp_path / "text.png")
    save(analysis.plot_series_saliency(np.zeros((4, 2)), np.zeros(4)), tmp_path / "series.png")
    figure = analysis.plot_image_saliency(np.ones((2, 3)), np.arange(6.0) - 1)
    shown = figure.axes[1].images[0]
    np.testing.assert_array_equal(shown.get_array(), [[-1, 0, 1], [2, 3, 4]])
    assert shown.get_clim() == (-4, 4)  # zero is white
    save(figure, tmp_path / "image.png")
    with pytest.raises(ValueError, match="expected one value per pixel"):
        analysis.plot_image_saliency(np.ones((2, 3)), np.ones(5))
    with pytest.raises(ValueError, match="`xs` has 4 steps but `relevance` has 3"):
        analysis.plot_series_saliency(np.zeros((4, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="`tokens` has 1 entries, expected 2"):
        analysis.plot_text_saliency(["not"], [0.5, -1.0])


def test_only_plots_need_matplotlib():
    code = (
        "import sys; sys.modules['matplotlib.figure'] = None\n"
        "from grujax import analysis\n"
        "assert 'matplotlib' not in sys.modules\n"
        "try: analysis.plot_eigenvalues([0.5])\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "pip install 'grujax[analysis]'" in run.stdout
