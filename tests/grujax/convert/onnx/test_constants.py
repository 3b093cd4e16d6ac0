"""Weights that a file computes from what it stores, or stores beside it."""

import numpy as np
import pytest

from grujax.convert import from_onnx, load_onnx
from tests.helpers import assert_equal

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
graphs = pytest.importorskip("tests.fixtures.onnx_models.graphs", exc_type=ImportError)

B, H, I = graphs.B, graphs.H, graphs.I  # noqa: E741
helper, numpy_helper, node = onnx.helper, onnx.numpy_helper, onnx.helper.make_node
constant, gru_node, gru_nodes = graphs.constant, graphs.gru_node, graphs.gru_nodes
gru_tensors, load, one_node = graphs.gru_tensors, graphs.load, graphs.one_node

WEIGHTS = gru_tensors(0, I)
WANTED = [from_onnx(*WEIGHTS.values())]


def weights_of(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """The weights of the node with one of them stored under another name."""
    return {kind: other for kind, other in WEIGHTS.items() if kind != name} | {"stored": array}


R = WEIGHTS["R_0"]
QUANTIZED = np.round(R * 50).astype("int8")
COMPUTED = {
    "Constant": ([constant("R_0", R)], R, R),
    "Identity": ([node("Identity", ["stored"], ["R_0"])], R, R),
    "Cast": ([node("Cast", ["stored"], ["R_0"], to=1)], R.astype("float64"), R),
    "Transpose": ([node("Transpose", ["stored"], ["R_0"])], np.ascontiguousarray(R.T), R),
    "Mul": ([constant("two", np.float32(2)), node("Mul", ["stored", "two"], ["R_0"])], R, 2 * R),
    "Concat": (
        [
            *(
                constant(name, part)
                for name, part in zip("ab", np.split(R, 2, axis=1), strict=True)
            ),
            node("Concat", ["a", "b"], ["R_0"], axis=1),
        ],
        R,
        R,
    ),
    "Slice": (
        [
            constant("first", [1]),
            constant("end", [2]),
            node("Slice", ["stored", "first", "end"], ["R_0"]),
        ],
        np.concatenate([0 * R, R]),
        R,
    ),
    "DequantizeLinear": (
        [
            constant("scale", np.float32(0.02)),
            node("DequantizeLinear", ["stored", "scale"], ["R_0"]),
        ],
        QUANTIZED,
        QUANTIZED * np.float32(0.02),
    ),
    "two in a row": (
        [
            node("Identity", ["stored"], ["same"]),
            node("Squeeze", ["same"], ["flat"]),
            constant("shape", R.shape),
            node("Reshape", ["flat", "shape"], ["R_0"]),
        ],
        R,
        R,
    ),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_weights_that_follow_from_stored_tensors_are_computed(tmp_path, name):
    nodes, stored, wanted = COMPUTED[name]
    model = one_node(*nodes, tensors=weights_of("R_0", stored))
    layers = load(tmp_path, model)
    assert_equal(layers, [from_onnx(WEIGHTS["W_0"], wanted, WEIGHTS["B_0"])])


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Abs", ["stored"], ["R_0"])], r"`R` .* `R_0`, .*the node `R_0` \(Abs\) computes"),
        (
            [node("Reshape", ["xs", "shape"], ["R_0"]), constant("shape", R.shape)],
            "`xs` is an input",
        ),
        (
            [node("Expand", ["stored", "shape"], ["R_0"]), constant("shape", [2**20, 2**20, H])],
            r"`R_0` \(Expand\) cannot be computed \(its result would have the shape \[1048576",
        ),
        ([node("Squeeze", ["stored"], ["R_0"], axes=[0])], r"`R_0` \(Squeeze\) computes"),
        ([node("Identity", ["stored"], ["R_0"], domain="mine")], r"`R_0` \(Identity\) computes"),
    ],
    ids=["operator", "input", "huge", "attribute of an older opset", "operator of another domain"],
)
def test_weights_that_do_not_follow_are_refused(tmp_path, nodes, message):
    model = one_node(*nodes, tensors=weights_of("R_0", R[:, :1] if len(nodes) == 2 else R))
    with pytest.raises(ValueError, match=message):
        load(tmp_path, model)


def test_the_sum_of_what_is_computed_is_limited(tmp_path, monkeypatch):
    nodes = [
        constant("half", [1, 6, H]),
        node("Expand", ["stored", "half"], ["a"]),
        node("Expand", ["stored", "half"], ["b"]),
        node("Concat", ["a", "b"], ["R_0"], axis=1),
    ]
    model = one_node(*nodes, tensors=weights_of("R_0", R[:, :1]))
    monkeypatch.setattr("grujax.convert.onnx.constants._LIMIT", 4 * 6 * H)
    assert len(load(tmp_path, model)) == 1
    monkeypatch.setattr("grujax.convert.onnx.constants._LIMIT", 4 * 6 * H - 1)
    with pytest.raises(ValueError, match=r"`R_0` \(Concat\) cannot be computed \(its result"):
        load(tmp_path, model)


def test_tensors_in_another_file_of_the_folder_are_read(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(
        one_node(), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    assert (tmp_path / "weights.bin").exists()
    assert_equal(load_onnx(path), WANTED)
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(ValueError, match="The tensor `W_0` of the file cannot be read"):
        load_onnx(path)


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "missing.bin", ""])
def test_tensors_outside_of_the_folder_are_refused(tmp_path, location):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(R.tobytes())
    model = one_node()
    tensor = model.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value=location))
    with pytest.raises(ValueError, match="The tensor `R_0` of the file cannot be read"):
        load(folder, model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"R_0": R.astype("float64")}, "weights of one dtype, got W float32, R float64, B float32"),
        ({"B_0": np.ones((1, 3 * H), "f")}, r"`B` has shape \[1, 12\], expected \[D, 6H\]"),
        ({"W_0": np.ones((2, 3 * H, I), "f")}, r"`W` has shape \[2, 12, 2\]"),
        ({k: np.concatenate([v, v]) for k, v in WEIGHTS.items()}, r"1 directions .* \[2, 12, 4\]"),
        (
            gru_tensors(0, I + 1),
            r"`X` .* is float32 \['xs\[0\]', 3, 2\], .* with D = 1, H = 4, I = 3",
        ),
        (
            {k: v.astype("float64") for k, v in WEIGHTS.items()},
            "`X` .* is float32 .*expected float64",
        ),
    ],
    ids=["dtypes", "B", "W", "directions", "input size", "dtype of X"],
)
def test_weights_that_contradict_each_other_or_x_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, one_node(tensors=WEIGHTS | change))
