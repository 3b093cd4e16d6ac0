"""The speech synthesis experiment, end to end on a teacher made of sinusoids."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.io import wavfile

from experiments.common.command import InputError
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.speech_synthesis import espeak, report, text_to_speech
from experiments.speech_synthesis import train as speech_synthesis
from experiments.speech_synthesis.audio import MELS
from experiments.speech_synthesis.data import SpokenTexts, draw_digits
from experiments.speech_synthesis.listener import ListenerSettings
from experiments.speech_synthesis.model import Step
from tests.experiments.typed_commands import run_typed
from tests.fixtures.synthetic_teacher import speak
from tests.helpers import read_results

TINY = speech_synthesis.Settings(
    num_strings=22,
    num_validation=6,
    embedding_size=8,
    encoder_size=8,
    hidden_size=12,
    attention_size=8,
    prenet_size=8,
    batch_size=16,
    epochs=2,
)
LISTENER_SETTINGS = ListenerSettings(
    num_strings=160,
    num_validation=8,
    most=3,
    hidden_size=24,
    num_layers=1,
    dropout=0.0,
    batch_size=16,
    epochs=16,
    learning_rate=1e-2,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(espeak, "speak", speak)
    monkeypatch.setattr("experiments.speech_synthesis.settings.QUICK", (TINY, LISTENER_SETTINGS))
    monkeypatch.setattr(speech_synthesis, "MOST", 3)
    monkeypatch.setitem(speech_synthesis.LIMITS, "longest", 17)
    monkeypatch.setattr(text_to_speech, "ITERATIONS", 2)
    monkeypatch.setattr(report, "LONGER", (4, 4))


def run(out, **changes) -> None:
    command = speech_synthesis.Command(quick=True, out=out).presets()
    speech_synthesis.main(replace(command, **{"num_test": 4, **changes}))


@pytest.mark.slow
def test_the_whole_experiment_and_a_resumed_run(tmp_path, capsys, monkeypatch, stop_after):
    run(tmp_path / "alone")
    printed = capsys.readouterr().out
    out = tmp_path / "alone"
    results = read_results(out / "results.json")
    names = [
        "teacher",
        "teacher, once more",
        "teacher through Griffin–Lim",
        "GRU",
        "single digits joined",
        "nearest training string",
        "mean frame",
    ]
    assert list(results["test"]) == names
    assert results["test"]["teacher"]["MCD in dB"] == 0
    assert results["test"]["teacher"]["digit errors"] < 0.2
    assert results["test"]["mean frame"]["digit errors"] > 0.5
    assert results["test"]["teacher through Griffin–Lim"]["MCD in dB"] < 5
    assert results["test"]["mean frame"]["MCD in dB"] > 5
    assert results["test"]["single digits joined"]["MCD in dB"] < 5
    assert list(results["longer"]) == ["teacher", "GRU, as a whole", "GRU, in phrases"]
    assert all(f"\n{name} " in printed for name in [*names, *results["longer"]])
    for plot in ("attention", "spectrograms", "learning_curves"):
        assert (out / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(out.glob("*.teacher.wav"))) == 2

    # A run that is stopped after an epoch and resumed gives the same numbers.
    monkeypatch.setattr(speech_synthesis, "write_report", lambda *_: None)
    stop_after(1, lambda: run(tmp_path / "stopped"))
    run(tmp_path / "stopped")
    assert "resuming after epoch 1" in capsys.readouterr().err
    for name, settings in (
        (speech_synthesis.SYNTHESIZER, TINY),
        (speech_synthesis.LISTENER, LISTENER_SETTINGS),
    ):
        metrics = [tmp_path / run / name / loop.METRICS for run in ("alone", "stopped")]
        assert metrics[0].read_bytes() == metrics[1].read_bytes()
        assert len(read_records(metrics[0])) == settings.epochs

    # The saved network speaks texts of any length, and refuses others.
    run(tmp_path / "alone", predict="Three seven ONE " * 5)
    assert "The listener hears: " in capsys.readouterr().out
    rate, samples = wavfile.read(out / speech_synthesis.WAV)
    assert (rate, samples.dtype) == (22050, np.int16)
    assert len(samples) > 0
    for text, message in (("", "nothing to say"), ("one 2", "'2'"), ("o" * 99, "99 letters")):
        with pytest.raises(InputError, match=message):
            run(tmp_path / "alone", predict=text)


@pytest.mark.slow
def test_another_cell_speaks_from_its_own_folder(tmp_path, capsys):
    flags = "--quick", "--cell", "transformer", "--out", tmp_path
    run_typed("speech_synthesis", *flags, "--num-test", 4)
    results = read_results(tmp_path / "quick" / "transformer" / "results.json")
    assert list(results["test"])[3] == "Transformer"
    assert list(results["longer"])[1:] == ["Transformer, as a whole", "Transformer, in phrases"]
    assert "\nTransformer " in capsys.readouterr().out
    run_typed("speech_synthesis", *flags, "--predict", "three seven one " * 5)
    assert "The listener hears: " in capsys.readouterr().out


def test_predict_without_a_model_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Train it first: python -m experiments\.speech_s"):
        run(tmp_path, predict="one")


def test_losses_are_means_over_valid_steps():
    rng = np.random.default_rng(0)
    settings = replace(TINY, reduction=2, stop_weight=3.0)
    target = rng.normal(size=(4, 2, 2, MELS))
    stop = rng.normal(size=(4, 2)).astype(np.float32)
    made = Step(rng.normal(size=target.shape), stop, np.full((4, 2, 3), 1 / 3))
    lengths = np.array([3, 8])
    batch = SpokenTexts(np.array([[1, 2, 3], [4, 0, 0]]), np.zeros((2, 8, MELS)), lengths)
    found = speech_synthesis.losses(settings, made, target, batch)
    for row, steps in enumerate((2, 4)):
        error = (made.frames - target)[:steps, row]
        np.testing.assert_allclose(found["distance"][row], np.abs(error).mean(), rtol=1e-5)
        np.testing.assert_allclose(found["square"][row], (error**2).mean(), rtol=1e-5)
        is_last = np.arange(steps) == steps - 1
        costs = optax.sigmoid_binary_cross_entropy(
            made.stop[:steps, row], is_last.astype(np.float32)
        )
        expected = (costs * np.where(is_last, 3, 1)).mean()
        np.testing.assert_allclose(found["stop"][row], expected, rtol=1e-5)


@pytest.mark.slow
def test_make_train_is_pure_and_can_be_swept():
    split = draw_digits(TINY.num_strings, TINY.num_validation, num_test=4, most=3)
    train = speech_synthesis.make_train(TINY, speech_synthesis.prepare(TINY, split)[0])
    rates = jnp.array([1e-6, 1e-2])
    metrics = jax.jit(lambda rates: jax.lax.map(lambda r: train(jax.random.key(0), r), rates))(
        rates
    )
    assert metrics["train_loss"].shape == (2, 2)
    assert metrics["train_loss"][1, -1] < metrics["train_loss"][0, -1]
