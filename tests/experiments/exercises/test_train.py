"""The exercise experiment, end to end on synthetic recordings."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.common.report.plots import cell_title
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model
from experiments.exercises import train as exercises
from experiments.exercises import wrist_sensor
from tests.experiments.typed_commands import run_typed
from tests.helpers import read_results

TINY = exercises.Settings(hidden_size=8, seeds=2, batch_size=32, updates=16, epochs=3, stride=10)


@pytest.fixture(autouse=True)
def quick_to_compile(compile_quickly):
    """Nearly all time here is compilation; `compile_quickly` resets the flag."""
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, wrist):
    monkeypatch.setattr("experiments.exercises.settings.QUICK", TINY)


def run(out, **changes) -> None:
    exercises.main(replace(exercises.Command(quick=True, out=out).presets(), **changes))


@pytest.mark.slow
def test_the_whole_experiment_and_a_resumed_run(tmp_path, capsys, monkeypatch, stop_after):
    monkeypatch.setattr("experiments.exercises.baselines.TREES", 20)
    run(tmp_path / "alone")
    printed = capsys.readouterr().out
    out = tmp_path / "alone"
    results = read_results(out / "results.json")
    names = [
        "features + random forest",
        "the same, mirrored recordings too",
        "GRU, one network",
        "GRU, 2 averaged",
    ]
    rest = ["difference to the forest, 95% interval", "confidence"]
    assert list(results) == [*names, "GRU, one network, each seed", *rest]
    each = results["GRU, one network, each seed"]["windows"]
    assert np.mean(each) == pytest.approx(results["GRU, one network"]["windows"])
    assert results["confidence"]["error after"] <= results["confidence"]["error before"] + 0.1
    assert all(f"\n{name} " in printed for name in names)
    assert results["GRU, 2 averaged"]["windows"] > 0.6
    assert results["features + random forest"]["windows"] > 0.9
    assert "windows of each subject, GRU and forest: 1: " in printed
    for plot in ("confusion", "learning_curves"):
        assert (out / f"{plot}.png").read_bytes().startswith(b"\x89PNG")

    # A run that is stopped after an epoch and resumed gives the same numbers.
    monkeypatch.setattr(exercises, "write_report", lambda *_: None)
    stop_after(1, lambda: run(tmp_path / "stopped"))
    run(tmp_path / "stopped")
    assert "resuming after epoch 1" in capsys.readouterr().err
    metrics = [tmp_path / name / "networks" / loop.METRICS for name in ("alone", "stopped")]
    assert metrics[0].read_bytes() == metrics[1].read_bytes()
    assert len(read_records(metrics[0])) == 3

    # The saved networks classify the example, and an array.
    recordings = wrist_sensor.read_recordings()
    run(tmp_path / "alone", predict=out / "example.csv")
    best, windows = capsys.readouterr().out.splitlines()
    assert best.removeprefix("unsure: ").startswith(exercises.EXERCISES)
    assert "%" in best
    counts = [int(part.split()[-1]) for part in windows.split(": ")[1].split(", ")]
    assert sum(counts) == (recordings.lengths[0] - 100) // 50 + 1
    np.save(tmp_path / "mine.npy", recordings.signals[0, : recordings.lengths[0]])
    run(tmp_path / "alone", predict=tmp_path / "mine.npy")
    assert capsys.readouterr().out.splitlines()[0] == best
    still = np.random.default_rng(0).normal(0, 0.01, (300, 6))
    still[:, 2] += 1
    moved = np.random.default_rng(0).normal(0, 0.7, (300, 6))
    for signal, answer in (
        (still, "no exercise: the sensor does not move"),
        (moved, "no exercise that the networks know: the movement is unlike"),
    ):
        np.save(tmp_path / "mine.npy", signal)
        run(tmp_path / "alone", predict=tmp_path / "mine.npy")
        assert capsys.readouterr().out.startswith(answer)
    np.save(tmp_path / "mine.npy", 9.81 * recordings.signals[0, : recordings.lengths[0]])
    with pytest.raises(InputError, match=r"m/s² are divided by 9\.81"):
        run(tmp_path / "alone", predict=tmp_path / "mine.npy")
    np.save(tmp_path / "mine.npy", np.zeros((99, 6)))
    with pytest.raises(InputError, match="holds 99 samples; 100 are needed"):
        run(tmp_path / "alone", predict=tmp_path / "mine.npy")


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "rnn", "min_gru", "transformer"])
def test_another_cell_is_trained_and_used_in_its_own_folder(cell, tmp_path, monkeypatch, capsys):
    titles = []
    monkeypatch.setattr(exercises, "write_report", lambda title, *_: titles.append(title))
    flags = "--quick", "--seeds", 1, "--epochs", 1, "--updates", 2, "--cell", cell
    run_typed("exercises", *flags, "--out", tmp_path)
    folder = tmp_path / "quick" / cell
    assert f"Try: python -m experiments.exercises --cell {cell} --quick" in capsys.readouterr().out
    params, record, _ = load_model(folder / "model.msgpack", "")
    assert titles == [cell_title(cell)]
    assert record["settings"]["cell"] == cell
    assert "RivalLayers_0" in params["params"]
    used = "--quick", "--predict", folder / "example.csv", "--out", tmp_path
    run_typed("exercises", *used, "--cell", cell)
    assert "windows" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_typed("exercises", *used)
    assert "Train it first" in capsys.readouterr().err
    with pytest.raises(InputError, match=f"--export works with a GRU, not with --cell {cell}"):
        exercises.main(exercises.Command(out=folder, export="onnx"))


def test_predict_without_a_model_names_the_command(tmp_path):
    np.save(tmp_path / "mine.npy", np.ones((200, 6)))
    with pytest.raises(FileNotFoundError, match=r"Train it first: python -m experiments\.exer"):
        run(tmp_path, predict=tmp_path / "mine.npy")


def test_inner_folds_measure_left_out_subjects(tmp_path, capsys, monkeypatch):
    """The fake networks are right only for subjects that were left out of their training."""
    recordings = wrist_sensor.read_recordings()
    folds = wrist_sensor.assign_folds(recordings.subjects, exercises.NUM_FOLDS)
    windows = wrist_sensor.cut_windows(recordings.lengths, exercises.WINDOW, exercises.WINDOW)
    truth = recordings.labels[windows.recordings]

    def train(settings, splits, signals, *_):
        log_probs = []
        for members in splits.members:
            known = np.unique(folds[splits.windows.recordings[members]])
            wrong = np.isin(folds[windows.recordings], known)
            log_probs.append([np.eye(exercises.CLASSES)[(truth + wrong) % exercises.CLASSES]])
        return None, np.array(log_probs)

    monkeypatch.setattr(exercises, "train_networks", train)
    run(tmp_path, choose=True)
    printed = capsys.readouterr().out
    assert [f"\n{name}: 100.0% of" in printed for name in exercises.CANDIDATES] == [True] * 4


@pytest.mark.slow
def test_make_train_is_pure_and_can_be_swept():
    recordings = wrist_sensor.read_recordings()
    folds = wrist_sensor.assign_folds(recordings.subjects, 5)
    splits = wrist_sensor.leave_out_folds(recordings, folds, [[0], [1]], exercises.WINDOW)
    train = exercises.make_train(exercises.replace(TINY, seeds=1, epochs=2), splits)
    rates = jnp.array([1e-6, 1e-2])
    metrics = jax.jit(lambda rates: jax.lax.map(lambda r: train(jax.random.key(0), r), rates))(
        rates
    )
    assert metrics["train_loss"].shape == (2, 2)
    assert metrics["train_loss"][1, -1] < metrics["train_loss"][0, -1]
