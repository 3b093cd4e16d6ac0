"""Both recognizers in onnxruntime."""

from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.training.models import save_model
from experiments.speech_recognition import train as speech_recognition
from tests.fixtures.onnx_exports import export, random_like, signature

SETTINGS = {
    "bidirectional": speech_recognition.Settings(hidden_size=4, num_layers=1),
    "streaming": speech_recognition.Settings(bidirectional=False, hidden_size=4, num_layers=2),
}
WORDS = list("abcde")


def save_untrained(out):
    for name, settings in SETTINGS.items():
        network = speech_recognition.make_recognizer(settings, len(WORDS))
        shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 2, 13)))
        scale = [[0.5] * 13, [2.0] * 13]
        record = {"settings": asdict(settings), "scale": scale, "separator": "", "temperature": 2.0}
        save_model(out / name / speech_recognition.MODEL, random_like(shapes), record, WORDS)


def test_the_exported_recognizers_are_those_of_jax(tmp_path, capsys):
    save_untrained(tmp_path)
    command = speech_recognition.Command(out=tmp_path, export="onnx")
    whole, streaming = export(speech_recognition.main, command, capsys)
    cepstra = np.random.default_rng(0).normal(size=(2, 9, 13)).astype(np.float32)

    inputs, outputs = signature(whole)
    assert inputs == {"cepstra": ["B", "T", 13], "num_frames": ["B"]}
    assert list(outputs) == ["log_probs"]
    lengths = np.array([9, 5], np.int32)  # in frames; a step has two
    [together] = whole.run(None, {"cepstra": cepstra, "num_frames": lengths})
    assert together.shape == (2, 4, 6)
    [alone] = whole.run(None, {"cepstra": cepstra[1:, :5], "num_frames": lengths[1:]})
    np.testing.assert_allclose(alone[0], together[1, :2], atol=1e-6)

    inputs, outputs = signature(streaming)
    assert inputs == {"cepstra": ["B", "T", 13], "h0": [2, "B", 4]}
    assert list(outputs) == ["log_probs", "h_last"]
    start = state = np.zeros((2, 2, 4), np.float32)
    at_once, _ = streaming.run(None, {"cepstra": cepstra, "h0": start})
    for step in range(4):
        frames = cepstra[:, 2 * step : 2 * step + 2]
        log_probs, state = streaming.run(None, {"cepstra": frames, "h0": state})
        np.testing.assert_allclose(log_probs[:, 0], at_once[:, step], atol=1e-6)
