"""A character model in onnxruntime."""

import jax
import numpy as np

from experiments.common.training.models import save_model, to_arrays
from experiments.text_generation import train as text_generation
from experiments.text_generation.model import CharacterModel
from tests.fixtures.onnx_exports import export, random_like, signature

MODEL = CharacterModel("gru", num_symbols=5, hidden_size=4)


def test_the_exported_step_is_that_of_jax_and_steps_are_a_text(tmp_path, capsys):
    params = random_like(jax.eval_shape(MODEL.init, jax.random.key(0)))
    path = tmp_path / "novel" / "gru" / text_generation.MODEL
    save_model(path, to_arrays(params), {"model": MODEL._asdict()}, list("abcde"))
    command = text_generation.Command(out=tmp_path, model=tmp_path / "novel", export="onnx")
    [session] = export(text_generation.main, command, capsys)
    assert signature(session) == (
        {"symbols": ["T", "B"], "h0": [1, "B", 4]},
        {"logits": ["T", "B", 5], "h_last": [1, "B", 4]},
    )
    symbols = np.array([[0, 3], [4, 1], [2, 2]], np.int32)
    state = np.zeros((1, 2, 4), np.float32)
    whole, last = session.run(None, {"symbols": symbols, "h0": state})
    for t in range(3):
        logits, state = session.run(None, {"symbols": symbols[t : t + 1], "h0": state})
        np.testing.assert_allclose(logits[0], whole[t], atol=1e-5)
    np.testing.assert_allclose(state, last, atol=1e-6)
