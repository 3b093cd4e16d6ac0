"""The recognizers with another cell than a GRU: `--cell`."""

from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.common.parsing import parse
from experiments.common.rivals.cells import RIVALS
from experiments.common.training.models import save_model
from experiments.speech.recognizer import label_log_probs
from experiments.speech.spoken_digits import read_corpus
from experiments.speech_recognition import train as speech_recognition
from experiments.speech_recognition.settings import OWN
from experiments.speech_recognition.trained import load_recognizer
from tests.fixtures.recordings import say, write_wav
from tests.helpers import read_results

TINY = speech_recognition.Settings(
    hidden_size=12, num_layers=1, width=100, num_strings=32, batch_size=16, epochs=2
)
RIVAL_CELLS = [name for name in RIVALS if name != "gru"]


def save_untrained(path, settings):
    """Saves a network with random parameters. Returns: the network, and its parameters."""
    model = speech_recognition.make_recognizer(settings)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, settings.stride, 13)))
    record = {"settings": asdict(settings), "scale": [[0.0] * 13, [1.0] * 13]}
    save_model(path, params, record, [str(digit) for digit in range(10)])
    return model, params


@pytest.mark.parametrize("cell", RIVAL_CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_saved_network_recognizes_alike(tmp_path, cell, bidirectional):
    settings = replace(TINY, cell=cell, bidirectional=bidirectional)
    model, params = save_untrained(tmp_path / "model", settings)
    loaded = load_recognizer(tmp_path / "model", "")
    assert loaded.model == model
    inputs = np.random.default_rng(0).normal(size=(2, 20, 13)), np.array([20, 9])
    want = label_log_probs(model, params, *inputs)
    np.testing.assert_array_equal(label_log_probs(model, loaded.params, *inputs), want)


def test_a_network_that_was_saved_before_there_were_cells_is_a_gru(tmp_path):
    settings = {name: value for name, value in asdict(TINY).items() if name != "cell"}
    record = {"settings": settings, "scale": [[0.0] * 13, [1.0] * 13]}
    save_model(tmp_path / "model", {}, record, ["0", "1"])
    assert load_recognizer(tmp_path / "model", "").model.cell == "gru"


@pytest.mark.slow
@pytest.mark.parametrize("cell", RIVAL_CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_cell_learns(spoken, monkeypatch, cell, bidirectional):
    monkeypatch.setattr(speech_recognition, "NUM_VALIDATION", 12)
    monkeypatch.setattr(speech_recognition, "WIDTH", 128)
    settings = replace(TINY, cell=cell, bidirectional=bidirectional, epochs=4)
    data = speech_recognition.prepare(read_corpus())
    metrics = jax.jit(speech_recognition.make_train(settings, data))(jax.random.key(0), 1e-2)
    assert metrics["train_loss"][-1] < 0.9 * metrics["train_loss"][0]
    assert np.isfinite(metrics["validation_log_likelihood"]).all()


@pytest.mark.slow
def test_the_whole_experiment_and_your_own_recordings(spoken, monkeypatch, tmp_path, capsys):
    settings = replace(TINY, cell="transformer")
    quick = {"bidirectional": settings, "streaming": replace(settings, bidirectional=False)}
    monkeypatch.setattr("experiments.speech_recognition.settings.QUICK", quick)
    monkeypatch.setattr(speech_recognition, "NUM_VALIDATION", 12)
    monkeypatch.setattr(speech_recognition, "WIDTH", 128)
    command = speech_recognition.Command(quick=True, num_test=12, out=tmp_path / "out")
    speech_recognition.main(command)
    results = read_results(tmp_path / "out" / "results.json")
    assert results["stream"]["milliseconds a frame"] > 0
    capsys.readouterr()
    speech_recognition.main(replace(command, predict=tmp_path / "out" / "example.npy"))
    assert "streaming, with the number of frames read: " in capsys.readouterr().out

    folder = tmp_path / "mine"
    folder.mkdir()
    for i in range(40):
        path = folder / f"{i}.wav"
        write_wav(path, say(["one", "two"][i % 2], seed=i))
        path.with_suffix(".txt").write_text(["one", "two"][i % 2])
    own = replace(OWN, cell="lstm", hidden_size=12, num_layers=1, epochs=2, batch_size=8)
    command = speech_recognition.Command(settings=own, train=folder, out=tmp_path / "out")
    speech_recognition.main(command)
    assert next(iter(read_results(tmp_path / "out" / "own-mine" / "results.json"))) == "LSTM"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--export onnx --cell rnn", "^--export works with a GRU, not with --cell rnn"),
        ("--compare --cell rnn", "^--cell has no effect with --compare"),
        ("--compare --train folder", "^--train has no effect with --compare"),
        ("--compare --seed 1", "^--seed has no effect with --compare"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags, message):
    with pytest.raises(InputError, match=message):
        parse(speech_recognition.Command, "speech_recognition", None, flags.split())


def test_a_network_of_another_cell_becomes_no_onnx_file(tmp_path):
    for name in speech_recognition.SETTINGS:
        save_untrained(tmp_path / name / speech_recognition.MODEL, replace(TINY, cell="rnn"))
    with pytest.raises(InputError, match="--export works with a GRU, not with --cell rnn"):
        speech_recognition.main(speech_recognition.Command(out=tmp_path, export="onnx"))
    assert not list(tmp_path.rglob("*.onnx"))
