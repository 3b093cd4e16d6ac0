"""The video experiment, end to end on synthetic digits."""

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
from experiments.video import settings
from experiments.video import train as video
from tests.experiments.typed_commands import run_typed
from tests.helpers import read_results

TINY = video.Settings(hidden_size=8, features=4, num_clips=16, batch_size=8, epochs=2, imagined=1)


@pytest.fixture(autouse=True)
def quick_to_compile(compile_quickly):
    """Nearly all of the time here is compilation; `compile_quickly` undoes this."""
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, handwritten):
    monkeypatch.setattr(
        settings, "QUICK", {name: replace(TINY, reader=name) for name in settings.SETTINGS}
    )
    monkeypatch.setattr(video, "NUM_VALIDATION", 8)


def run(out, **changes) -> None:
    video.main(video.Command(**{"quick": True, "num_test": 12, "out": out, **changes}))


@pytest.mark.slow
def test_experiment_resume_and_predict(tmp_path, capsys, monkeypatch, stop_after):
    run(tmp_path / "alone", seeds=2)
    printed = capsys.readouterr().out
    out = tmp_path / "alone"
    results = read_results(out / "results.json")
    names = [
        "GRU",
        "CNN over time",
        "mean over the frames",
        "the last frame alone",
        "cross-correlation",
    ]
    assert list(results["right"]) == names
    assert results["right"]["cross-correlation"] == {"direction": [1.0], "speed": [1.0]}
    assert [len(row["digit"]) for row in list(results["right"].values())[:4]] == [2] * 4
    decibels = results["PSNR in dB"]
    assert list(decibels)[:3] == ["GRU", "CNN over time", "the last frame stays"]
    assert np.shape(decibels["GRU"]) == (video.NEXT, 2)
    last, mean = list(decibels.values())[3:]
    np.testing.assert_allclose(last, -20 * np.log10(video.NOISE) * np.ones((video.NEXT, 1)), 0.05)
    np.testing.assert_allclose(np.subtract(mean, last), 10 * np.log10(video.SEEN), rtol=0.05)
    assert all(f"\n{name} " in printed for name in [*results["right"], *decibels])
    for plot in ("frames", "errors", "directions", "learning_curves"):
        assert (out / f"{plot}.png").read_bytes().startswith(b"\x89PNG")

    # Interrupted after an epoch and resumed: the same numbers.
    monkeypatch.setattr(video, "write_report", lambda *_: None)
    monkeypatch.setattr(settings, "QUICK", {"gru": TINY})
    stop_after(1, lambda: run(tmp_path / "stopped"))
    run(tmp_path / "stopped")
    assert "resuming after epoch 1" in capsys.readouterr().err
    metrics = [tmp_path / name / "gru-0" / loop.METRICS for name in ("alone", "stopped")]
    assert metrics[0].read_bytes() == metrics[1].read_bytes()
    assert len(read_records(metrics[0])) == 2

    # The saved network classifies videos of any length.
    for length in (2, 10, 300):
        np.save(tmp_path / "mine.npy", np.random.default_rng(0).random((length, 32, 32)))
        run(tmp_path / "alone", predict=tmp_path / "mine.npy")
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in lines[:3]] == ["digit", "direction", "speed"]
        assert np.load(out / "expected.npy").shape == (video.NEXT, 32, 32)
    assert (out / "expected.png").exists()
    run(tmp_path / "alone", predict=out / "example.npy")
    np.save(tmp_path / "mine.npy", np.zeros((4, 28, 28)))
    with pytest.raises(InputError, match=r"\[T, 32, 32\] is expected"):
        run(tmp_path / "alone", predict=tmp_path / "mine.npy")
    np.save(tmp_path / "mine.npy", np.zeros((9, 32, 32)))
    with pytest.raises(InputError, match="shows no motion"):
        run(tmp_path / "alone", predict=tmp_path / "mine.npy")


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "rnn", "min_gru", "transformer"])
def test_another_cell_is_trained_and_used_in_its_own_folder(cell, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(settings, "QUICK", {"gru": replace(TINY, epochs=1)})
    flags = "--quick", "--cell", cell, "--out", tmp_path
    run_typed("video", *flags, "--num-test", 12)
    out, title = tmp_path / "quick" / cell, cell_title(cell)
    results = read_results(out / "results.json")
    assert list(results["right"]) == [title, "cross-correlation"]
    assert next(iter(results["PSNR in dB"])) == title
    assert f"Try: python -m experiments.video --cell {cell} --quick" in capsys.readouterr().out
    _, record, _ = load_model(out / "gru-0" / video.MODEL, "")
    assert record["settings"]["cell"] == cell
    run_typed("video", *flags, "--predict", out / video.EXAMPLE)
    assert capsys.readouterr().out.startswith("digit: ")
    assert np.load(out / "expected.npy").shape == (video.NEXT, 32, 32)
    with pytest.raises(SystemExit):
        run_typed("video", "--quick", "--out", tmp_path, "--predict", out / video.EXAMPLE)
    assert "Train it first" in capsys.readouterr().err
    with pytest.raises(InputError, match=f"--export works with a GRU, not with --cell {cell}"):
        video.export(out / "gru-0" / video.MODEL)


def test_predict_without_a_model_names_the_command(tmp_path):
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).random((4, 32, 32)))
    with pytest.raises(FileNotFoundError, match=r"Train it first: python -m experiments\.video"):
        run(tmp_path, predict=tmp_path / "mine.npy")


@pytest.mark.slow
def test_make_train_is_pure_and_can_be_swept():
    train = video.make_train(replace(TINY, reader="last"), video.read_splits())
    rates = jnp.array([1e-6, 1e-2])
    metrics = jax.jit(lambda rates: jax.lax.map(lambda r: train(jax.random.key(0), r), rates))(
        rates
    )
    assert metrics["train_loss"].shape == (2, 2)
    assert metrics["train_loss"][1, -1] < metrics["train_loss"][0, -1]
