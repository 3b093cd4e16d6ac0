"""The figure of a sweep marks the best trial and is readable for any values."""

import numpy as np
import pytest

from grujax.sweep import SweepResult
from grujax.sweep.plots import axes


def make_result(losses, **trials) -> SweepResult:
    losses = np.asarray(losses)
    metrics = {"loss": losses, "curve": np.outer(losses, [2.0, 1.5, 1.0])}
    return SweepResult(
        {name: np.asarray(values) for name, values in trials.items()}, metrics, np.isnan(losses)
    )


RESULT = make_result(
    [3.0, 2.0, np.nan, 1.0, 2.5],
    rate=[1e-4, 1e-3, 1e-2, 1e-1, 1.0],
    cell=["rnn", "gru", "gru", "lstm", "rnn"],
    deep=[True, False, True, False, True],
)


@pytest.mark.parametrize(("mode", "best"), [("min", 3), ("max", 0)])
def test_the_best_trial_is_marked_everywhere(tmp_path, mode, best):
    figure = RESULT.plot("loss", mode)
    parallel, against, curves = figure.subfigs
    assert f"best: trial {best}" in [t.get_text() for t in parallel.axes[0].legend_.get_texts()]
    assert len(against.axes) == 3
    for axis in against.axes:
        assert [line.get_ydata()[0] for line in axis.lines if line.get_marker() == "*"] == [
            RESULT.metrics["loss"][best]
        ]
    marked = [line for line in curves.axes[0].lines if line.get_color() == axes.BEST]
    np.testing.assert_array_equal(marked[0].get_ydata(), RESULT.metrics["curve"][best])
    figure.savefig(tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").stat().st_size > 10_000


def test_axes_fit_their_values():
    figure = RESULT.plot("loss")
    rate, cell, _ = figure.subfigs[1].axes
    assert rate.get_xscale() == "log"
    assert [label.get_text() for label in cell.get_xticklabels()] == ["gru", "lstm", "rnn"]
    assert "diverged: 1" in [t.get_text() for t in figure.subfigs[0].axes[0].legend_.get_texts()]


def test_one_exploded_trial_does_not_hide_the_others():
    losses = np.append(np.linspace(1, 2, 20), 1e30)
    low, high = make_result(losses, a=np.arange(21)).plot("loss").subfigs[1].axes[0].get_ylim()
    assert low < 1
    assert 2 < high < 10


@pytest.mark.parametrize(
    "losses", [[1.0], [1.0, 1.0], [0.0, 1e-9, 1.0], [np.nan, 5.0], [-1.0, np.inf, 2.0]]
)
def test_few_equal_and_infinite_values_are_drawn(losses):
    figure = make_result(losses, a=np.arange(len(losses)), b=np.ones(len(losses))).plot("loss")
    figure.draw_without_rendering()


def test_a_sweep_without_curves_has_two_rows():
    result = SweepResult({"a": np.arange(2.0)}, {"loss": np.arange(2.0)}, np.zeros(2, bool))
    assert len(result.plot("loss").subfigs) == 2


def heights(result, mode="min"):
    """The heights of the trials on the axes of the parallel coordinates: [n, columns]."""
    axis = result.plot("loss", mode).subfigs[0].axes[0]
    columns = list(range(len(result.trials) + 1))
    lines = [line for line in axis.lines if list(line.get_xdata()) == columns]
    drawn = {tuple(np.round(line.get_ydata(), 6)) for line in lines}  # the best twice
    return np.array(sorted(drawn, key=str))


def test_infinity_is_drawn_on_its_own_edge():
    lines = heights(make_result([1.0, 2.0, np.inf, -np.inf], a=[0, 1, 2, 3]))
    assert [loss for _, loss in sorted(lines.tolist())] == [0, 1, 1, 0]
    result = make_result([1.0, 2.0, 3.0], a=[0.5, np.inf, -np.inf])
    assert sorted(heights(result)[:, 0]) == [0.5, 0.5, 0.5]  # the only finite value
    wide = make_result(np.arange(31.0), a=[0.0] + [10.0**-k for k in range(30)])
    figure = wide.plot("loss")
    assert sorted(heights(wide)[:, 0])[:3] == pytest.approx([0, 0, 1 / 29], abs=1e-5)
    assert figure.subfigs[1].axes[0].lines[0].get_xdata().min() == 1e-29  # not 0, on its log axis
    texts = [text.get_text() for text in figure.subfigs[0].axes[0].texts]
    assert texts[0] == "≤ 1e-29"


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_trial_has_the_last_color(mode):
    values = np.array([np.nan, 2.0, np.nan, 1.0, 2.0, np.inf, -np.inf])
    rank = axes.colors_of(values, mode)[1]
    best, worst = (6, 5) if mode == "min" else (5, 6)
    assert rank[best] == 1
    assert rank[worst] == 0
    assert rank[1] == rank[4]
    assert not rank[[0, 2]].any()


@pytest.mark.parametrize(
    "values",
    [
        [np.nan, np.nan, np.nan],
        [np.inf, -np.inf, np.nan],
        [-1e308, 1e308, 0.0],
        [1e-300, 1e300, 1.0],
        [1j, 2 + 0j, 1j],
        [True, False, True],
        [2**63, 1, 0],
    ],
)
@pytest.mark.filterwarnings("error")
def test_values_of_any_kind_are_drawn(values):
    make_result([1.0, np.inf, np.nan], a=values).plot("loss").draw_without_rendering()
    if np.isreal(values).all() and not np.isnan(values).all():
        losses = {"loss": np.array(values), "curve": np.array([values] * 3)}
        SweepResult({}, losses, np.zeros(3, bool)).plot("loss").draw_without_rendering()


def test_a_metric_may_have_the_name_of_a_hyperparameter_and_a_sweep_no_hyperparameters():
    losses = np.array([3.0, 1.0, 2.0])
    result = SweepResult({"loss": losses[::-1]}, {"loss": losses}, np.zeros(3, bool))
    assert heights(result).shape == (3, 2)
    alone = SweepResult({}, {"loss": losses, "c": np.ones((3, 2), complex)}, np.zeros(3, bool))
    assert len(alone.plot("loss").subfigs) == 1
