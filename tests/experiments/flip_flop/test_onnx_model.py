"""The network of the flip-flop in onnxruntime."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.training.models import save_model
from experiments.flip_flop import train as flip_flop
from tests.fixtures.onnx_exports import export, random_like, signature


def test_the_exported_network_is_that_of_jax(tmp_path, capsys):
    network = flip_flop.FlipFlop(4)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 1, 3)))
    record = {"settings": {"hidden_size": 4}}
    save_model(tmp_path / "seed0" / flip_flop.MODEL, random_like(shapes), record, [])
    [session] = export(flip_flop.main, flip_flop.Command(out=tmp_path, export="onnx"), capsys)
    assert signature(session) == ({"xs": ["T", "B", 3]}, {"memory": ["T", "B", 3]})
    pulses = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    [together] = session.run(None, {"xs": pulses})
    [alone] = session.run(None, {"xs": pulses[:4, 1:]})
    np.testing.assert_allclose(alone[:, 0], together[:4, 1], atol=1e-6)
