"""The speech recognition experiment, end to end on a small archive."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.speech.spoken_digits import read_corpus
from experiments.speech_recognition import train as speech_recognition
from tests.fixtures.recordings import say, write_wav
from tests.helpers import read_results

TINY = speech_recognition.Settings(
    hidden_size=12, num_layers=1, width=100, num_strings=32, batch_size=16, epochs=2
)
NETWORKS = ["bidirectional", "streaming"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch, spoken):
    quick = {"bidirectional": TINY, "streaming": replace(TINY, bidirectional=False)}
    monkeypatch.setattr("experiments.speech_recognition.settings.QUICK", quick)
    monkeypatch.setattr(speech_recognition, "NUM_VALIDATION", 12)
    monkeypatch.setattr(speech_recognition, "WIDTH", 128)


def run(out, **changes) -> None:
    command = speech_recognition.Command(**{"quick": True, "num_test": 12, "out": out, **changes})
    speech_recognition.main(command)


def test_the_whole_experiment(tmp_path, capsys):
    run(tmp_path)
    printed = capsys.readouterr().out
    out = tmp_path
    results = read_results(out / "results.json")
    baselines = ["nearest neighbour, time warped", "support vector machine"]
    assert list(results["single digits"]) == baselines + NETWORKS
    assert results["single digits"]["nearest neighbour, time warped"] > 0.9
    searches = [f"{name}, {search}" for name in NETWORKS for search in ("best path", "8 beams")]
    assert list(results["strings"]) == searches
    rows = ["nearest neighbor, time warped", "support vector machine", *NETWORKS, *searches]
    assert all(f"\n{name} " in printed for name in rows)
    assert results["stream"]["milliseconds a frame"] > 0
    for plot in ("posteriorgram", "errors_by_length", "learning_curves"):
        assert (out / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    for name in NETWORKS:
        assert len(read_records(out / name / loop.METRICS)) == 2

    # The saved networks recognize files of any length.
    run(tmp_path, predict=out / "example.npy")
    assert "streaming, with the number of frames read: " in capsys.readouterr().out
    write_wav(tmp_path / "mine.wav", say("one two"))
    run(tmp_path, predict=tmp_path / "mine.wav")
    assert "streaming, with the number of frames read: " in capsys.readouterr().out
    for length in (1, 5000):
        np.save(tmp_path / "mine.npy", np.zeros((length, 13)))
        run(tmp_path, predict=tmp_path / "mine.npy")
        printed = capsys.readouterr().out
        assert printed.count("nothing") == 2 or length == 5000
        assert re.match(r"(unsure: )?[a-z0-9 ]+ \d+%\n", printed)
    confidence = results["confidence"]
    assert confidence["temperature"] > 0
    assert confidence["error after"] <= confidence["error before"] + 0.5
    np.save(tmp_path / "mine.npy", np.full((3, 13), np.nan))
    with pytest.raises(InputError, match="nan in frame 0"):
        run(tmp_path, predict=tmp_path / "mine.npy")


@pytest.mark.slow
def test_a_resumed_run_gives_the_same_numbers(tmp_path, capsys, monkeypatch, stop_after):
    monkeypatch.setattr(speech_recognition, "write_report", lambda *_: None)
    run(tmp_path / "alone")
    stop_after(1, lambda: run(tmp_path / "stopped"))
    capsys.readouterr()
    run(tmp_path / "stopped")
    assert "resuming after epoch 1" in capsys.readouterr().err
    for network in NETWORKS:
        alone, stopped = (
            (tmp_path / name / network / loop.METRICS).read_bytes() for name in ("alone", "stopped")
        )
        assert alone == stopped


def test_predict_without_a_model_names_the_command(tmp_path):
    np.save(tmp_path / "mine.npy", np.zeros((20, 13)))
    with pytest.raises(FileNotFoundError, match=r"Train it first: python -m experiments\.speech"):
        run(tmp_path, predict=tmp_path / "mine.npy")


@pytest.mark.slow
def test_make_train_is_pure_and_can_be_swept():
    train = speech_recognition.make_train(TINY, speech_recognition.prepare(read_corpus()))
    rates = jnp.array([1e-6, 1e-2])
    metrics = jax.jit(lambda rates: jax.lax.map(lambda r: train(jax.random.key(0), r), rates))(
        rates
    )
    assert metrics["train_loss"].shape == (2, 2)
    assert metrics["train_loss"][1, -1] < metrics["train_loss"][0, -1]
