"""The figure of a sweep marks the best trial and is readable for any values."""

import numpy as np
import pytest

from grujax.sweep import SweepResult, plots


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
    marked = [line for line in curves.axes[0].lines if line.get_color() == plots._BEST]
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
