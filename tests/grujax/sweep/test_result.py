"""The result of a sweep: the best trial, the table, the file."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from grujax.sweep import PopulationResult, SweepResult

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
        (
            ("los",),
            "`metric` is 'los', but the metrics of this sweep are `loss`, `accuracy`, `losses`",
        ),
        (("losses",), r"`metric` is 'losses', a curve of shape \[2\], and trials are compared by"),
        (("loss", "least"), '`mode` must be "min" or "max", got \'least\''),
        (([],), "`metric` must be a string, got a list of 0"),
        (("loss", ["min"]), '`mode` must be "min" or "max", got a list of 1'),
    ],
)
def test_best_refuses_unknown_metrics_curves_and_modes(arguments, message):
    with pytest.raises(ValueError, match=message):
        RESULT.best(*arguments)


def test_best_needs_a_value_that_is_not_nan():
    result = SweepResult({"a": np.zeros(2)}, {"loss": np.full(2, np.nan)}, np.ones(2, bool))
    with pytest.raises(ValueError, match="`metric` is 'loss', which is NaN in all 2 trials"):
        result.best("loss")


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("values", "mode", "best"),
    [
        ([NAN, INF], "min", 1),
        ([NAN, -INF], "max", 1),
        ([INF, NAN, INF], "min", 0),
        ([NAN, INF, -INF, 0], "min", 2),
        ([NAN, INF, -INF, 0], "max", 1),
        ([NAN, INF, 5.0], "min", 2),
        ([2.0, 1.0, 1.0], "min", 1),
        ([True, False, True], "min", 1),
        ([True, False, True], "max", 0),
        (np.array([3, 2**63 + 5, 2**63 + 4], np.uint64), "max", 1),
        (np.array([NAN, INF], jnp.bfloat16), "min", 1),
    ],
)
def test_nan_is_worse_than_any_value(values, mode, best):
    values = np.asarray(values)
    result = SweepResult(
        {"a": np.arange(len(values))}, {"loss": values}, np.zeros(len(values), bool)
    )
    assert result.best("loss", mode).trial == best


def test_complex_numbers_have_no_best():
    result = SweepResult({}, {"loss": np.ones(2, complex)}, np.zeros(2, bool))
    with pytest.raises(ValueError, match="`metric` is 'loss', whose complex numbers have no order"):
        result.best("loss")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": None}, "`trials` must be a dict of arrays, got None"),
        ({"trials": {1: np.ones(2)}}, "`trials` must have strings as keys, got the key 1"),
        ({"trials": {"a": None}}, r"`trials\['a'\]` must be an array of numbers, bools or strings"),
        ({"trials": {"a": np.ones(3)}}, r"`trials\['a'\]` must have a value for each of 2 trials"),
        ({"trials": {"a": np.ones((2, 1))}}, r"for each of 2 trials, got shape \[2, 1\]"),
        (
            {"metrics": {"loss": np.ones(())}},
            r"`metrics\['loss'\]` must have a value for each of 2",
        ),
        ({"metrics": {"loss": ["a", "b"]}}, r"`metrics\['loss'\]` must be an array of numbers or"),
        ({"metrics": {"loss": [[1], [1, 2]]}}, r"`metrics\['loss'\]` must be an array of numbers"),
        ({"diverged": [0, 1]}, "`diverged` must be an array of bools, got a list of 2"),
        ({"diverged": np.zeros(0, bool)}, r"`diverged` must be a bool for each trial, got shape"),
        ({"states": [1]}, "`states` must be a dict of members, got a list of 1"),
        ({"states": {2: 0.0}}, "`states` must be an integer from 0 to 1, got 2"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(change, message):
    arguments = {"trials": {}, "metrics": {"loss": np.ones(2)}, "diverged": [False, True]}
    PopulationResult(**arguments)
    with pytest.raises(ValueError, match=message):
        PopulationResult(**arguments | change)


def test_lists_are_arrays():
    result = SweepResult({"a": [1, 2]}, {"loss": [0.5, 0.25]}, [False, False])
    assert result.best("loss").hyperparameters == {"a": 2}
    assert result.table().shape == (2, 3)


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


def test_no_column_of_the_table_hides_another():
    for trials, metrics in (
        ({"a": [1, 2]}, {"a": [3, 4]}),
        ({"diverged": [1, 2]}, {}),
        ({}, {"diverged": [1, 2]}),
    ):
        result = SweepResult(trials, metrics, [False, True])
        with pytest.raises(ValueError, match=r"The table would have two columns `(a|diverged)`"):
            result.table()


def test_a_path_without_a_result_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`path` must be that of a file, but .* is a folder"):
        RESULT.save(tmp_path)
    with pytest.raises(ValueError, match=r"`path` must be .* is in a folder that does not exist"):
        RESULT.save(tmp_path / "no" / "sweep")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"`path` must be .* does not exist"):
        SweepResult.load(tmp_path / "sweep")
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    with pytest.raises(ValueError, match=r"`path` must be .* `save` did not write .*other.npz"):
        SweepResult.load(tmp_path / "other.npz")
    for method in (RESULT.save, SweepResult.load):
        with pytest.raises(ValueError, match=r"`path` must be a path, got 3"):
            method(3)


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
