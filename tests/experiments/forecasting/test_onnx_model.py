"""All networks of a forecast in onnxruntime."""

from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.training.models import save_model
from experiments.forecasting import train as forecasting
from tests.fixtures.onnx_exports import export, random_like, signature, stacked

SETTINGS = forecasting.Settings(window=5, hidden_size=3, members=2, seeds=2)


def test_the_exported_networks_are_together_those_of_jax(tmp_path, capsys):
    network = forecasting.Forecaster(2, SETTINGS.hidden_size, SETTINGS.dropout)
    shapes = jax.eval_shape(
        lambda key: network.init(key, jnp.zeros((1, 5, 4)), False), jax.random.key(0)
    )
    params = random_like(stacked(shapes, SETTINGS.seeds, SETTINGS.members))
    record = {"settings": asdict(SETTINGS)}
    save_model(tmp_path / "stocks" / forecasting.MODEL, params, record, ["range", "return"])
    command = forecasting.Command(out=tmp_path, data="stocks", export="onnx")
    [session] = export(forecasting.main, command, capsys)
    assert signature(session) == ({"inputs": ["B", "T", 4]}, {"quantiles": ["B", 2, 5]})
    inputs = np.random.default_rng(0).normal(size=(3, 9, 4)).astype(np.float32)
    [together] = session.run(None, {"inputs": inputs})
    [alone] = session.run(None, {"inputs": inputs[:1]})
    np.testing.assert_allclose(alone[0], together[0], atol=1e-6)
    assert (np.diff(together, axis=-1) > 0).all()
