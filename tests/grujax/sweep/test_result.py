"""The result of a sweep: the best trial, the table, the file."""

import sys

import numpy as np
import pytest

from grujax.sweep import SweepResult

RESULT = SweepResult(
    trials={"rate": np.array([0.1, 0.2, 0.3]), "cell": np.array(["rnn", "gru", "lstm"])},
    metrics={
        "loss": np.array([2.0, np.nan, 1.0], np.float32),
        "accuracy": np.array([0.5, 0.9, 0.1]),
        "losses": np.arange(6.0).reshape(3, 2),
    },
    diverged=np.array([False, True, False]),
)


def test_best_takes_the_least_or_greatest_and_never_nan():
    best = RESULT.best("loss")
    assert best.trial == 2
    assert best.hyperparameters == {"rate": 0.3, "cell": "lstm"}
    assert best.metrics["loss"] == 1.0
    assert best.metrics["losses"].tolist() == [4.0, 5.0]
    assert RESULT.best("loss", mode="max").trial == 0
    assert RESULT.best("accuracy", mode="max").trial == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("los",), "`los` is not among the metrics of this sweep: `loss`, `accuracy`, `losses`"),
        (("losses",), r"`losses` is a curve of shape \[2\], and trials are compared by scalars"),
        (("loss", "least"), '`mode` must be "min" or "max"'),
    ],
)
def test_best_refuses_unknown_metrics_curves_and_modes(arguments, message):
    with pytest.raises(ValueError, match=message):
        RESULT.best(*arguments)


def test_best_needs_a_value_that_is_not_nan():
    result = SweepResult({"a": np.zeros(2)}, {"loss": np.full(2, np.nan)}, np.ones(2, bool))
    with pytest.raises(ValueError, match="`loss` is NaN in all 2 trials"):
        result.best("loss")


def test_the_table_has_one_row_per_trial():
    table = RESULT.table()
    assert list(table.columns) == ["rate", "cell", "loss", "accuracy", "diverged"]
    assert table.index.name == "trial"
    assert table.loc[2].to_dict() == {
        "rate": 0.3,
        "cell": "lstm",
        "loss": 1.0,
        "accuracy": 0.1,
        "diverged": False,
    }


def test_a_result_reads_back(tmp_path):
    RESULT.save(tmp_path / "sweep")
    back = SweepResult.load(tmp_path / "sweep")
    for name in ("trials", "metrics"):
        assert getattr(back, name).keys() == getattr(RESULT, name).keys()
        for key, array in getattr(RESULT, name).items():
            np.testing.assert_array_equal(getattr(back, name)[key], array)
            assert getattr(back, name)[key].dtype == array.dtype
    np.testing.assert_array_equal(back.diverged, RESULT.diverged)


@pytest.mark.parametrize(
    ("package", "use"),
    [("pandas", lambda: RESULT.table()), ("matplotlib.figure", lambda: RESULT.plot("loss"))],
)
def test_a_missing_package_names_the_extra(monkeypatch, package, use):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"grujax\[sweep\]"):
        use()
