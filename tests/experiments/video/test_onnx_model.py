"""The classifiers of videos in onnxruntime."""

from dataclasses import asdict

import jax
import numpy as np

from experiments.common.training.models import save_model
from experiments.video import train as video
from tests.fixtures.onnx_exports import export, random_like, signature

SETTINGS = video.Settings(hidden_size=4, features=3)


def test_the_exported_classifiers_are_those_of_jax(tmp_path, capsys):
    network = video.make_network(SETTINGS)
    shapes = jax.eval_shape(lambda key: video.init_network(network, key), jax.random.key(0))
    temperatures = {"digit": 1.5, "direction": 0.7, "speed": 2.0}
    record = {"settings": asdict(SETTINGS), "temperatures": temperatures}
    save_model(tmp_path / "gru-0" / video.MODEL, random_like(shapes), record, [])
    [session] = export(video.main, video.Command(out=tmp_path, export="onnx"), capsys)
    sizes = {name: ["B", "T", size] for name, size in video.NUM_CLASSES.items()}
    assert signature(session) == ({"frames": ["B", "T", 32, 32]}, sizes)
    frames = np.random.default_rng(0).random((2, 4, 32, 32), np.float32)
    together = session.run(None, {"frames": frames})
    alone = session.run(None, {"frames": frames[:1, :3]})
    for one, both in zip(alone, together, strict=True):
        np.testing.assert_allclose(one[0], both[0, :3], atol=1e-5)
