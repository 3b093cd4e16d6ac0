"""All classifiers of exercises in onnxruntime."""

from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.training.models import save_model
from experiments.exercises import train as exercises
from tests.fixtures.onnx_exports import export, random_like, signature, stacked

SETTINGS = exercises.Settings(hidden_size=4, stride=4)


def test_the_exported_networks_are_together_those_of_jax(tmp_path, capsys):
    network = exercises.make_classifier(SETTINGS)
    shapes = jax.eval_shape(
        lambda key: network.init(key, jnp.zeros((1, 8, 6)), False), jax.random.key(0)
    )
    record = {"settings": asdict(SETTINGS), "temperature": 1.3, "known": {}}
    params = random_like(stacked(shapes, 3))
    save_model(tmp_path / exercises.MODEL, params, record, list(exercises.EXERCISES))
    command = exercises.Command(out=tmp_path, export="onnx")
    [session] = export(exercises.main, command, capsys)
    assert signature(session) == ({"signals": ["B", "T", 6]}, {"log_probs": ["B", 7]})
    assert session.get_modelmeta().custom_metadata_map["temperature"] == "1.3"
    signals = np.random.default_rng(0).normal(size=(2, 14, 6)).astype(np.float32)
    [together] = session.run(None, {"signals": signals})
    [alone] = session.run(None, {"signals": signals[1:, :12]})  # the last 2 samples fill no step
    np.testing.assert_allclose(alone[0], together[1], atol=1e-6)
