"""Which node `load_onnx` reads, and files that it refuses."""

from pathlib import Path

import pytest

from grujax.convert import from_onnx, load_onnx, to_onnx
from tests.helpers import Draw, assert_equal

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
graphs = pytest.importorskip("tests.fixtures.onnx_models.graphs", exc_type=ImportError)

B, H, I = graphs.B, graphs.H, graphs.I  # noqa: E741
helper, numpy_helper, node = onnx.helper, onnx.numpy_helper, onnx.helper.make_node
constant, gru_node, gru_nodes = graphs.constant, graphs.gru_node, graphs.gru_nodes
gru_tensors, load, one_node = graphs.gru_tensors, graphs.load, graphs.one_node

WEIGHTS = gru_tensors(0, I)
WANTED = [from_onnx(*WEIGHTS.values())]


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_round_trip_is_exact(tmp_path, reset_after):
    draw = Draw("params", "float32")
    layers = [tuple(draw.params(size, H, reset_after) for _ in range(2)) for size in (I, 2 * H)]
    assert_equal(load(tmp_path, to_onnx(layers)), layers)


def test_a_node_without_a_name_is_found_by_its_output(tmp_path):
    model = one_node()
    gru_nodes(model)[0].name = ""
    assert_equal(load(tmp_path, model, node="Y_0"), WANTED)
    gru_nodes(model)[0].output[0] = ""
    model.graph.output[0].name = "last_0"
    assert_equal(load(tmp_path, model, node="last_0"), WANTED)


def hidden_node():
    """A GRU node in the body of an If."""
    inner = gru_node(0, "xs")
    values = [onnx.ValueInfoProto(name=name) for name in inner.output]
    body = helper.make_graph([inner], "body", [], values)
    outputs = ["Y_outer", "last_outer"]
    return node("If", ["yes"], outputs, name="choice", then_branch=body, else_branch=body)


def test_a_node_in_a_body_is_named(tmp_path):
    model = graphs.make_model([constant("yes", True), hidden_node()], WEIGHTS, output="Y_outer")
    place = "There is `gru_0` in the body of the If node `choice`"
    with pytest.raises(ValueError, match=rf"holds no GRU node in its main graph\. {place}"):
        load(tmp_path, model)
    with pytest.raises(ValueError, match=rf"no GRU node `gru_0`, there is none\. {place}"):
        load(tmp_path, model, node="gru_0")
    above = gru_node(1, "xs")
    model.graph.node.append(above)
    for name, array in gru_tensors(1, I).items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    with pytest.raises(ValueError, match=rf"GRU nodes besides `gru_1`; select .*`node`\. {place}"):
        load(tmp_path, model)
    assert len(load(tmp_path, model, node="gru_1")) == 1


def test_bodies_may_name_their_results_like_the_node(tmp_path):
    values = [onnx.ValueInfoProto(name="xs_chosen")]
    body = helper.make_graph([node("Neg", ["xs"], ["xs_chosen"])], "body", [], values)
    branches = {"then_branch": body, "else_branch": body}
    choice = node("If", ["yes"], ["xs_chosen"], name="choice", **branches)
    model = graphs.make_model(
        [gru_node(0, "xs_chosen"), choice, constant("yes", True)], WEIGHTS, output="Y_0"
    )
    assert_equal(load(tmp_path, model), WANTED)  # though the nodes are not in order
    body.node[0].input[0] = "Y_0"
    choice = node("If", ["yes"], ["xs_chosen"], name="choice", then_branch=body, else_branch=body)
    model.graph.node[1].CopyFrom(choice)
    with pytest.raises(
        ValueError, match=r"computed from themselves: `(gru_0`, `choice|choice`, `gru_0)`"
    ):
        load(tmp_path, model)


def test_a_node_in_a_function_is_named(tmp_path):
    inner = gru_node(0, "xs")
    opsets = [helper.make_opsetid("", 14)]
    function = helper.make_function(
        "mine", "Layer", [*inner.input[:4]], [inner.output[0]], [inner], opsets
    )
    call = node("Layer", ["xs", "W_0", "R_0", "B_0"], ["hs"], domain="mine", name="call")
    model = graphs.make_model([call], WEIGHTS)
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    with pytest.raises(
        ValueError, match=r"`gru_0` in the function `Layer`.*inline_local_functions"
    ):
        load(tmp_path, model)
    inlined = pytest.importorskip("onnx.inliner").inline_local_functions(model)
    assert_equal(load(tmp_path, inlined), WANTED)


def test_an_operator_that_the_file_defines_itself_is_not_one_of_onnx(tmp_path):
    model = one_node()
    opsets = [helper.make_opsetid("", 14)]
    other = [node("Identity", ["X"], ["Y"])]
    model.functions.append(helper.make_function("", "GRU", ["X"], ["Y"], other, opsets))
    with pytest.raises(ValueError, match="holds no GRU node"):
        load(tmp_path, model)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (one_node().SerializeToString()[:300], "must be a whole ONNX file; it cannot be parsed"),
        (b"hello world, no model", "must be a whole ONNX file; it cannot be parsed"),
        (b"", "must be an ONNX file; it has no graph"),
    ],
    ids=["half", "text", "empty"],
)
def test_a_damaged_file_is_refused(tmp_path, content, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_onnx(path)


def test_a_device_is_refused():
    if Path("/dev/null").exists():
        with pytest.raises(ValueError, match="`/dev/null` must be a file on the disk"):
            load_onnx("/dev/null")


def changed(change):
    model = one_node(node("Identity", ["xs_0"], ["xs_1"]), node("Identity", ["xs"], ["xs_0"]))
    change(model, gru_nodes(model)[0])
    return model


def _set(items, index, value):
    items[index] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda _, gru: _set(gru.input, 0, "missing"),
            r"misses `missing`, which the node `gru_0` \(",
        ),
        (lambda _, gru: _set(gru.input, 2, ""), "must have the inputs X, W, R, .*without `R`"),
        (lambda _, gru: gru.ClearField("input"), "without `X`, `W`, `R`"),
        (lambda _, gru: gru.input.extend(["", "", "xs"]), "at most 6, got 7 inputs"),
        (
            lambda model, gru: (gru.ClearField("output"), model.graph.ClearField("output")),
            "has a GRU node without outputs",
        ),
        (lambda model, _: _set(model.graph.node[0].input, 0, "xs_1"), "from themselves: `xs_1`"),
        (
            lambda model, gru: (
                _set(gru.input, 0, "xs_0"),
                _set(model.graph.node[1].input, 0, "xs_1"),
            ),
            "are computed from themselves: `xs_[01]`, `xs_[01]`",
        ),
        (
            lambda model, _: model.graph.initializer.append(
                numpy_helper.from_array(WEIGHTS["R_0"], "R_0")
            ),
            "defines `R_0` more than once",
        ),
        (lambda model, _: model.graph.node.append(model.graph.node[-1]), "more than once"),
        (
            lambda model, _: setattr(model.graph.output[0], "name", "gone"),
            "misses its outputs `gone`",
        ),
        (lambda model, _: setattr(model.opset_import[0], "version", 6), "opset from 7 to .*got 6"),
        (
            lambda model, _: setattr(model.opset_import[0], "version", 99),
            "opset from 7 to .*got 99",
        ),
        (lambda model, _: model.ClearField("opset_import"), "opset from 7 to .*got none"),
        (
            lambda model, _: setattr(model.graph.initializer[1], "raw_data", b"short"),
            "The tensor `R_0` of the file cannot be read",
        ),
        (
            lambda model, _: _set(model.graph.initializer[1].dims, 0, -1),
            r"its shape is \[-1, 12, 4\]",
        ),
    ],
)
def test_a_graph_that_contradicts_itself_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, changed(change))
