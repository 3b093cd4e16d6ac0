"""The forecasting experiment, end to end on synthetic weather, prices and tables."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments.common.command import InputError
from experiments.common.report.plots import cell_title
from experiments.common.training.models import load_model
from experiments.forecasting import settings
from experiments.forecasting import train as forecasting
from experiments.forecasting.report import warn_of_coverage
from experiments.forecasting.studies import weather
from tests.experiments.typed_commands import run_typed
from tests.helpers import read_results

TINY = forecasting.Settings(window=5, hidden_size=4, members=6, seeds=2, epochs=2, batch_size=64)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, forecast_archives):
    monkeypatch.setattr(settings, "STUDY_SETTINGS", dict.fromkeys(forecasting.STUDIES, TINY))
    monkeypatch.setattr(settings, "TABLE", replace(TINY, seeds=1))


def run(out, **changes) -> None:
    forecasting.main(forecasting.Command(**{"out": out, **changes}).presets())


def is_png(path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_weather_and_a_resumed_run(tmp_path, capsys, stop_after):
    run(tmp_path / "alone", data="weather")
    printed = capsys.readouterr().out
    out = tmp_path / "alone" / "weather"
    results = read_results(out / "results.json")
    assert next(iter(results["totals"])) == "persistence"
    assert list(results["totals"])[-2:] == ["GRU", "GRU, the worst seed"]
    assert all(f"\n{name} " in printed for name in results["totals"])
    assert np.shape(results["coverage"]) == (2, 7)
    assert "its 80% interval holds" in printed
    assert "o edge over the best rival beyond chance" in printed
    for plot in ("forecasts", "errors", "calibration", "learning_curves"):
        assert is_png(out / f"{plot}.png")

    # A run that is stopped after an epoch and resumed gives the same numbers.
    stop_after(1, lambda: run(tmp_path / "stopped", data="weather"))
    run(tmp_path / "stopped", data="weather")
    assert "resuming after epoch 1" in capsys.readouterr().err
    again = read_results(tmp_path / "stopped" / "weather" / "results.json")
    assert again == results

    # The saved networks forecast.
    run(tmp_path / "alone", data="weather", predict="2015-07-01")
    heading, header, *rows = capsys.readouterr().out.splitlines()
    assert heading == "Seattle, from the end of 2015-07-01"
    assert header.split() == ["10%", "30%", "50%", "70%", "90%"]
    quantiles = np.array([row.split()[1:] for row in rows], float)
    assert quantiles.shape == (7, 5)
    assert np.all(np.diff(quantiles) >= 0)
    with pytest.raises(InputError, match=r"There is no forecast from 2019-01-01; .* to 2015-12-31"):
        run(tmp_path / "alone", data="weather", predict="2019-01-01")
    with pytest.raises(InputError, match="`--predict` is 'soon'; it must be a date, or `end`"):
        run(tmp_path / "alone", data="weather", predict="soon")


@pytest.mark.slow
def test_traffic(tmp_path, capsys):
    run(tmp_path, data="traffic")
    results = read_results(tmp_path / "traffic" / "results.json")
    assert results["targets"] == ["1", "2", "3", "6", "12", "24"]
    assert {"gradient boosting on the same inputs", "GRU"} < set(results["totals"])
    for plot in ("forecasts", "errors", "calibration"):
        assert is_png(tmp_path / "traffic" / f"{plot}.png")
    capsys.readouterr()
    run(tmp_path, data="traffic", predict="2018-04-10")
    heading = capsys.readouterr().out.splitlines()[0]
    assert heading == "I-94, from the end of 2018-04-10"


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "rnn", "min_gru", "transformer"])
def test_another_cell_is_trained_and_used_in_its_own_folder(cell, tmp_path, capsys):
    flags = "--data", "weather", "--cell", cell, "--out", tmp_path
    run_typed("forecasting", *flags, "--seeds", 1, "--epochs", 1)
    out, title = tmp_path / cell / "weather", cell_title(cell)
    results = read_results(out / "results.json")
    assert list(results["totals"])[-2:] == [title, f"{title}, the worst seed"]
    assert f"By how much the {title} reduces" in capsys.readouterr().out
    params, record, _ = load_model(out / "model.msgpack", "")
    assert record["settings"]["cell"] == cell
    assert "RivalLayers_0" in params["params"]
    run_typed("forecasting", *flags, "--predict", "2015-07-01")
    assert "Seattle, from the end of 2015-07-01" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_typed("forecasting", "--data", "weather", "--out", tmp_path, "--predict", "end")
    assert "Train it first" in capsys.readouterr().err
    with pytest.raises(InputError, match=f"--export works with a GRU, not with --cell {cell}"):
        forecasting.export(out)


def test_the_cell_is_not_in_the_name_of_a_table_folder():
    """So the folders of earlier versions are found: the name is a digest of this text."""
    assert "cell" not in repr(TINY)
    assert repr(TINY).startswith("Settings(window=5, hidden_size=4, ")


@pytest.mark.slow
def test_stocks(tmp_path, capsys):
    run(tmp_path, data="stocks")
    printed = capsys.readouterr().out
    out = tmp_path / "stocks"
    results = read_results(out / "results.json")
    assert {"EWMA", "HAR", "HAR + EWMA", "GRU"} < set(results["totals"])
    assert "Direction of the next day, the negative control: GRU right" in printed
    assert "no edge, as expected" in printed
    direction = results["direction"]
    assert f"GRU right {direction['GRU']:.1%}, always up {direction['always up']:.1%}" in printed
    for plot in ("forecasts", "r_squared", "calibration", "learning_curves"):
        assert is_png(out / f"{plot}.png")
    run(tmp_path, data="stocks", predict="end")
    printed = capsys.readouterr().out
    assert "AAPL, from the end of 2013-03-01" in printed
    assert "FB, from the end of 2013-03-01" in printed
    assert "\nnext-day range, % " in printed


@pytest.mark.slow
def test_a_table(tmp_path, capsys):
    """A spreadsheet's table: semicolons, dates with points, decimal commas, a row missing."""
    dates = pd.date_range("2020-01-01", periods=150)
    rng = np.random.default_rng(0)
    level = 10 + np.sin(np.arange(150)) + rng.normal(0, 0.2, 150)
    table = pd.DataFrame({"day": dates, "level": level, "wind": rng.normal(size=150)})
    path = tmp_path / "tides.csv"
    table.drop(index=40).to_csv(path, index=False, sep=";", decimal=",", date_format="%d.%m.%Y")
    own = {"csv": path, "target": "level", "horizon": 3, "covariates": ("wind",)}
    with pytest.raises(FileNotFoundError, match="Train it first: the same command without --pred"):
        run(tmp_path, predict="end", **own)
    capsys.readouterr()
    run(tmp_path, **own)
    printed = capsys.readouterr().out
    assert (
        "\nRows are missing for 1 of the 150 steps.\n1 of 150 values are missing: 1 in" in printed
    )
    assert printed.startswith("Column 'level': ")
    [out] = tmp_path.glob("tides-*")
    forecast = pd.read_csv(out / "forecast.csv")
    assert forecast["time"].tolist() == ["2020-05-30", "2020-05-31", "2020-06-01"]
    assert np.all(np.diff(forecast.iloc[:, 1:].to_numpy()) >= 0)
    assert f"\n2020-05-30  {forecast['10%'][0]:.4g} " in printed
    results = read_results(out / "results.json")
    assert list(results["totals"]) == ["persistence", "ridge", "GRU", "GRU, the worst seed"]
    assert results["totals"]["ridge"][0] < results["totals"]["persistence"][0]
    for plot in ("forecasts", "errors", "calibration"):
        assert is_png(out / f"{plot}.png")

    run(tmp_path, **own)  # nothing is trained again
    captured = capsys.readouterr()
    assert captured.out == printed
    assert "already trained" in captured.err

    # The saved networks forecast from the end, and from another day.
    for predict, first in (("end", "2020-05-30"), ("09.05.2020", "2020-05-10")):
        run(tmp_path, predict=predict, **own)
        captured = capsys.readouterr()
        assert captured.err == ""
        shown = captured.out.split("level, as quantiles:\n")[1].splitlines()
        assert [row.split()[0] for row in shown[1:]] == [
            str(day.date()) for day in pd.date_range(first, periods=3)
        ]
        if predict == "end":
            assert "\n".join(shown) in printed
    with pytest.raises(InputError, match=r"`--target` is 'depth'; .* has the columns day, level"):
        run(tmp_path, csv=path, target="depth")


def test_intervals_that_miss_their_coverage_are_named(capsys):
    warn_of_coverage(["1", "2", "3"], np.array([0.81, 0.69, 0.5]))
    printed = capsys.readouterr().out
    assert "warning: the 80% intervals are too narrow for 2 (69%), 3 (50%): on val" in printed
    warn_of_coverage(["1", "2"], np.array([0.71, 0.95]))
    assert capsys.readouterr().out == ""


def test_predict_without_a_model_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Train it first: python -m experiments\.forec"):
        run(tmp_path, data="weather", predict="end")


@pytest.mark.slow
def test_make_train_is_pure_and_can_be_swept():
    train = forecasting.make_train(TINY, weather.make_problem(TINY.window))
    rates = jnp.array([1e-6, 1e-2])
    metrics = jax.jit(lambda rates: jax.lax.map(lambda r: train(jax.random.key(0), r), rates))(
        rates
    )
    assert metrics["train_loss"].shape == (2, 2)
    assert metrics["train_loss"][1, -1] < metrics["train_loss"][0, -1]
