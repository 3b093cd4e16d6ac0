"""The flip-flop experiment, end to end on its small network."""

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from experiments.common.command import InputError
from experiments.flip_flop import train as flip_flop
from tests.helpers import read_results


@pytest.mark.slow
def test_experiment_and_predict(tmp_path, capsys):
    flip_flop.main(flip_flop.Command(quick=True, out=tmp_path).presets())
    printed = capsys.readouterr().out
    results = read_results(tmp_path / "results.json")
    assert list(results) == ["untrained", "seed0"]
    trained = results["seed0"]
    assert trained["stable"] == trained["memories"] == 8  # a stable fixed point for each memory
    assert trained["correct"] > 0.99
    assert trained["residual"] <= 1e-6
    assert results["untrained"]["stable"] == 1
    assert "\nseed0 " in printed
    for plot in ("learning_curves", "seed0/fixed_points", "seed0/eigenvalues"):
        assert (tmp_path / f"{plot}.png").read_bytes().startswith(b"\x89PNG")

    flip_flop.main(flip_flop.Command(out=tmp_path, predict="+-+ ... .+. ... -.."))
    answer = capsys.readouterr().out.splitlines()
    assert answer[1].split() == ["memory", "+-+", "+-+", "+++", "+++", "-++"]
    flip_flop.main(flip_flop.Command(out=tmp_path, export="onnx"))
    session = onnxruntime.InferenceSession(capsys.readouterr().out.splitlines()[0])
    pulses = np.array([[1, -1, 1], [0, 0, 0], [0, 1, 0]], np.float32)[:, None]
    [memory] = session.run(None, {"xs": pulses})
    np.testing.assert_array_equal(np.sign(memory[:, 0]), [[1, -1, 1], [1, -1, 1], [1, 1, 1]])
    with pytest.raises(InputError, match="must be words of 3 letters"):
        flip_flop.main(flip_flop.Command(out=tmp_path, predict="+- ..."))


@pytest.mark.slow
def test_make_train_is_pure_and_can_be_swept():
    settings = flip_flop.Settings(hidden_size=4, steps=8, num_examples=128, epochs=3)
    train = flip_flop.make_train(settings, flip_flop.draw_training_data(settings))
    rates = jnp.array([1e-6, 1e-2])
    metrics = jax.jit(jax.vmap(lambda rate: train(jax.random.key(0), rate)))(rates)
    assert metrics["train_loss"].shape == (2, 3)
    assert metrics["train_loss"][1, -1] < metrics["train_loss"][0, -1]


def test_predict_without_a_model_names_the_command(tmp_path):
    message = r"Train it first: python -m experiments\.flip_flop"
    with pytest.raises(FileNotFoundError, match=message):
        flip_flop.main(flip_flop.Command(out=tmp_path, predict="+++"))
