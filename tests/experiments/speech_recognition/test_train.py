"""The speech recognition experiment, from end to end on a small archive."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.speech.spoken_digits import read_corpus
from experiments.speech_recognition import train as sr

TINY = sr.Settings(hidden_size=12, num_layers=1, width=100, num_strings=32, batch_size=16, epochs=2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, spoken):
    monkeypatch.setitem(sr.QUICK, "bidirectional", TINY)
    monkeypatch.setitem(sr.QUICK, "streaming", replace(TINY, bidirectional=False))
    monkeypatch.setattr(sr, "NUM_VALIDATION", 12)
    monkeypatch.setattr(sr, "WIDTH", 128)


def run(out, **changes) -> None:
    sr.main(sr.Command(**{"quick": True, "num_test": 12, "out": out, **changes}))


@pytest.mark.slow
def test_the_whole_experiment_and_a_resumed_one(tmp_path, capsys, monkeypatch, stop_after):
    run(tmp_path / "alone")
    printed = capsys.readouterr().out
    out = tmp_path / "alone" / "quick"
    results = json.loads((out / "results.json").read_text())
    names = [
        "nearest neighbour, time warped",
        "support vector machine",
        "bidirectional",
        "streaming",
    ]
    assert list(results["single digits"]) == names
    assert results["single digits"]["nearest neighbour, time warped"] > 0.9
    searches = [f"{name}, {search}" for name in names[2:] for search in ("best path", "8 beams")]
    assert list(results["strings"]) == searches
    assert all(f"\n{name} " in printed for name in names + searches)
    assert results["stream"]["milliseconds a frame"] > 0
    for plot in ("posteriorgram", "errors_by_length", "learning_curves"):
        assert (out / f"{plot}.png").read_bytes().startswith(b"\x89PNG")

    # Stopped after an epoch and begun again: the same numbers.
    monkeypatch.setattr(sr, "write_report", lambda *_: None)
    stop_after(1, lambda: run(tmp_path / "stopped"))
    run(tmp_path / "stopped")
    assert "going on after epoch 1" in capsys.readouterr().err
    metrics = [
        tmp_path / name / "quick" / "bidirectional" / loop.METRICS for name in ("alone", "stopped")
    ]
    assert metrics[0].read_bytes() == metrics[1].read_bytes()
    assert len(read_records(metrics[0])) == 2

    # The saved networks answer, whatever the length.
    run(tmp_path / "alone", predict=out / "example.npy")
    assert "frame by frame, after how many frames: " in capsys.readouterr().out
    for length in (1, 5000):
        np.save(tmp_path / "mine.npy", np.zeros((length, 13)))
        run(tmp_path / "alone", predict=tmp_path / "mine.npy")
        printed = capsys.readouterr().out
        assert printed.count("nothing") == 2 or length == 5000
    np.save(tmp_path / "mine.npy", np.full((3, 13), np.nan))
    with pytest.raises(SystemExit, match=r"error: .*nan in frame 0"):
        run(tmp_path / "alone", predict=tmp_path / "mine.npy")


def test_predict_without_a_model_names_the_command(tmp_path):
    np.save(tmp_path / "mine.npy", np.zeros((20, 13)))
    with pytest.raises(FileNotFoundError, match=r"Train it first: python -m experiments\.speech"):
        run(tmp_path, predict=tmp_path / "mine.npy")


@pytest.mark.slow
def test_make_train_is_pure_and_can_be_swept():
    train = sr.make_train(TINY, sr.prepare(read_corpus()))
    rates = jnp.array([1e-6, 1e-2])
    metrics = jax.jit(lambda rates: jax.lax.map(lambda r: train(jax.random.key(0), r), rates))(
        rates
    )
    assert metrics["train_loss"].shape == (2, 2)
    assert metrics["train_loss"][1, -1] < metrics["train_loss"][0, -1]
