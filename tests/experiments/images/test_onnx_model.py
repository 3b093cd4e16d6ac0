"""The bidirectional GRU over rows in onnxruntime."""

from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.training.models import save_model
from experiments.images import train as images
from experiments.images.networks import RowReader
from tests.fixtures.onnx_exports import export, random_like, signature

SETTINGS = images.Settings("bidirectional", hidden_size=4, num_layers=2)


def test_the_exported_classifier_of_the_users_images_is_that_of_jax(tmp_path, capsys):
    network = RowReader(4, 2, 0.3, classes=3)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 28, 28)))
    record = {"settings": asdict(SETTINGS), "temperature": 1.7, "strokes": {}}
    saved = images.own_directory(tmp_path, tmp_path / "pictures") / images.MODEL
    save_model(saved, random_like(shapes), record, ["cat", "dog", "owl"])
    command = images.Command(out=tmp_path, train=tmp_path / "pictures", export="onnx")
    [session] = export(images.main, command, capsys)
    assert signature(session) == ({"images": ["B", "T", 28]}, {"probabilities": ["B", 3]})
    assert session.get_modelmeta().custom_metadata_map["classes"] == '["cat", "dog", "owl"]'
    pixels = np.random.default_rng(0).random((4, 28, 28), np.float32)
    [together] = session.run(None, {"images": pixels})
    [alone] = session.run(None, {"images": pixels[2:3]})
    np.testing.assert_allclose(alone[0], together[2], atol=1e-6)
    np.testing.assert_allclose(together.sum(1), 1, atol=1e-6)
