"""One color for each cell in all experiments, and figures whose axes and legends have names."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from experiments.common import outputs
from experiments.common.cells import CELLS as ALL_CELLS
from experiments.common.report import plots
from experiments.common.report.plots import (
    CELLS,
    Curve,
    cell_title,
    error_bars,
    line_styles,
    plot_learning_curves,
)
from experiments.common.report.shares import wilson_interval
from experiments.common.rivals.cells import RIVALS
from experiments.forecasting import plots as forecasting
from experiments.forecasting.quantiles import LEVELS
from experiments.images import plots as images
from experiments.memory_rl import report as memory_rl
from experiments.speech_recognition import plots as speech_recognition
from experiments.sweep_adding import plots as sweep_adding
from experiments.text_generation import plots as text_generation
from experiments.training_difficulty import plots as training_difficulty
from experiments.video import plots as video
from tests.helpers import ROOT

COLOR = re.compile(r"(tab:\w+|C\d|#[0-9a-fA-F]{6})")
OWN_COLORS = {"experiments/common/report/plots.py", "experiments/interpret"}  # interpret: of a page


def test_every_cell_has_a_color_and_a_marker_of_its_own():
    assert CELLS.keys() == ALL_CELLS.keys() | RIVALS.keys()
    assert len(set(CELLS.values())) == len({color for color, _ in CELLS.values()}) == len(CELLS)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("gru", "gru"),
        ("GRU, 3 averaged", "gru"),
        ("gru-large", "gru"),
        ("grujax native", "gru"),
        ("LSTM", "lstm"),
        ("rnn", "rnn"),
        ("min_gru", "min_gru"),
        ("minGRU", "min_gru"),
        ("layer_norm_gru", "layer_norm_gru"),
        (cell_title("layer_norm_gru"), "layer_norm_gru"),
    ],
)
def test_a_name_has_the_color_of_its_cell(name, cell):
    style = line_styles(["ridge", "something", name])[name]
    assert (style["color"], style["marker"]) == CELLS[cell]


def test_lines_differ_without_colors():
    names = ["GRU", "GRU, larger", "LSTM", "persistence", *(f"seed{n}" for n in range(12))]
    styles = line_styles(names).values()
    assert len({(s["color"], s["ls"]) for s in styles}) == len(names)
    assert len({(s["marker"], s["ls"], s["mfc"] == "white") for s in styles}) == len(names)
    free = [line_styles(names)[name]["color"] for name in names if name.startswith("seed")]
    assert CELLS["gru"][0] not in free
    assert CELLS["lstm"][0] not in free


def test_no_experiment_names_colors_on_its_own():
    for path in sorted((ROOT / "experiments").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(tuple(OWN_COLORS)):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not COLOR.fullmatch(node.value), f"{name} has the color {node.value!r}"


def test_intervals():
    low, high = wilson_interval(0, 10)
    assert low == 0
    assert high == pytest.approx(0.2775, abs=1e-4)  # z² / (n + z²), z = 1.96
    below, above = error_bars([0.5, 0.0], [(0.4, 0.7), (0.0, 0.1)])
    np.testing.assert_allclose([below, above], [[0.1, 0.0], [0.2, 0.1]])


def records(score: str) -> list[dict]:
    return [{"epoch": n, "train_loss": 1 / n, score: -1 / n} for n in range(1, 6)]


def learning_curves(path: Path) -> None:
    runs = {"seed0": records("score"), "seed1": records("score")}
    plot_learning_curves(path, runs, "mean squared error", Curve("score", "validation error", True))


def rows(*names: str, shape: tuple[int, ...] = (3, 4)) -> dict[str, np.ndarray]:
    ends = np.array([0.5, 0.4, 0.7]).reshape(3, *[1] * (len(shape) - 1))
    return {name: np.broadcast_to(ends, shape) for name in names}


SOLVED = np.array([1.0, 0.0, 1.0])
FORECASTS = ("persistence", "ridge", "GRU")
PROFILES = {cell: (np.ones(9), np.ones(9)) for cell in ("gru", "lstm", "rnn", "min_gru")}
PROBABILITIES = np.eye(11)[[0, 3, 0]]
TRIALS = {
    ("adding", n, cell, trick): SOLVED
    for n in (10, 20)
    for cell in ("rnn", "lstm", "gru")
    for trick in ("plain", "orthogonal")
}
FLOWS = {(cell, trick): [np.ones((3, 9))] * 2 for _, _, cell, trick in TRIALS}
AGENTS = [
    memory_rl.Result(name, np.ones((3, 2)), np.ones(2), 10, 10, 1.0)
    for name in ("gru", "no memory")
]
TEXT = text_generation.Curve(np.arange(3.0), np.arange(3.0), np.arange(3.0))
FIGURES = {
    "learning curves": learning_curves,
    "forecasting, errors": lambda path: forecasting.plot_errors(
        path, rows(*FORECASTS), list("1234"), "days ahead", "°C"
    ),
    "forecasting, calibration": lambda path: forecasting.plot_calibration(
        path, rows("", shape=(3, 2, len(LEVELS)))[""], ["1 day ahead", "2 days ahead"]
    ),
    "images, accuracy": lambda path: images.plot_accuracy(
        path, {"rows": dict.fromkeys(PROFILES, (0.9,))}, 100
    ),
    "images, gradients": lambda path: images.plot_gradients(path, {"rows": PROFILES}),
    "images, failure": lambda path: images.plot_failure(
        path, "rows", dict.fromkeys(PROFILES, records("validation_accuracy")), PROFILES
    ),
    "memory_rl, returns": lambda path: memory_rl.plot_returns(path, AGENTS, 1.0),
    "memory_rl, lengths": lambda path: memory_rl.plot_lengths(
        path, {agent.name: {8: agent.returns, 16: agent.returns} for agent in AGENTS}
    ),
    "speech, frames": lambda path: speech_recognition.plot_posteriorgram(
        path, [("streaming", PROBABILITIES, np.array([0, 3, 0]))], [2], [2], [4]
    ),
    "speech, lengths": lambda path: speech_recognition.plot_errors_by_length(
        path, {"streaming": {1: (0.1, 0.05, 0.2), 2: (0.1, 0.05, 0.2)}}
    ),
    "sweep_adding": lambda path: sweep_adding.plot_success(
        path, {f"{cell}, all": {10: SOLVED, 20: SOLVED} for cell in ("RNN", "LSTM", "GRU")}
    ),
    "text_generation": lambda path: text_generation.plot_curves(
        path, {"books": {"GRU": TEXT, "LSTM": TEXT}}, {"books": {"n-grams, n = 3": 2.0}}
    ),
    "training_difficulty, success": lambda path: training_difficulty.plot_success(
        path, {"adding": (10, 20)}, ("rnn", "lstm", "gru"), TRIALS
    ),
    "training_difficulty, flows": lambda path: training_difficulty.plot_flows(
        path, "adding", ("rnn", "lstm", "gru"), FLOWS
    ),
    "video": lambda path: video.plot_psnr(path, rows("GRU", "the last frame stays")),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_legends_have_titles_and_axes_have_names(monkeypatch, tmp_path, draw):
    figures = []

    def keep(path, figure, **options):
        figures.append(figure)

    for module in (plots, outputs, images, speech_recognition, training_difficulty, video):
        monkeypatch.setattr(module, "write_figure", keep)
    draw(tmp_path / "figure.png")
    [figure] = figures
    [legend] = figure.legends  # outside of the axes, so that it covers no data
    assert legend.get_title().get_text()
    for axis in figure.axes:
        assert axis.get_legend() is None
        assert axis.get_ylabel() or axis.get_shared_y_axes().joined(axis, figure.axes[0])
        is_below = axis.get_subplotspec() is not None and axis.get_subplotspec().is_last_row()
        assert axis.get_xlabel() or not is_below or axis.get_label() == "<colorbar>"
    colors = {
        text.get_text(): to_hex(handle.get_color()).upper()
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        if hasattr(handle, "get_color")
    }
    for cell in ("gru", "lstm", "rnn", "min_gru"):
        for name, color in colors.items():
            if name.split(", ")[0] == cell_title(cell):
                assert color == CELLS[cell][0]
