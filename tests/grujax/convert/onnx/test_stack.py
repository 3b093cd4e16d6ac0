"""Several GRU nodes as one stack: what may lie between them, and what is refused."""

import numpy as np
import pytest

import grujax
from grujax.convert import load_onnx
from tests.helpers import Draw, assert_close, assert_equal

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
reference = pytest.importorskip("onnx.reference")
graphs = pytest.importorskip("tests.fixtures.onnx_models.graphs", exc_type=ImportError)
mutants = pytest.importorskip("tests.fixtures.onnx_models.mutants", exc_type=ImportError)
oracle = pytest.importorskip("tests.fixtures.onnx_models.oracle", exc_type=ImportError)

T, B, I, H = graphs.T, graphs.B, graphs.I, graphs.H  # noqa: E741
helper = onnx.helper
constant, gru_node, gru_nodes = graphs.constant, graphs.gru_node, graphs.gru_nodes
gru_tensors, load, make_model = graphs.gru_tensors, graphs.load, graphs.make_model

node = helper.make_node


@pytest.mark.parametrize("base", mutants.BASES)
@pytest.mark.parametrize("opset", [7, pytest.param(13, marks=pytest.mark.slow), 22])
def test_stacks_of_other_tools_agree_with_onnxruntime(tmp_path, base, opset):
    model = mutants.BASES[base](opset)
    layers = load(tmp_path, model)
    assert oracle.disagreement(layers, model, gru_nodes(model)) < 1e-5
    for index in range(2):
        assert_equal(load(tmp_path, model, node=f"gru_{index}"), layers[index : index + 1])


def test_batch_major_nodes_agree_with_the_reference_of_onnx(tmp_path):
    model = graphs.batch_major(14)
    xs = Draw("xs", "float32").normal(B, T, I)
    [wanted] = reference.ReferenceEvaluator(model).run(None, {"xs": xs})
    _, hs = grujax.stacked_gru(load(tmp_path, model), np.swapaxes(xs, 0, 1))
    assert_close(np.swapaxes(hs, 0, 1), wanted, "float32")


def two_nodes(*between, to="hs_0", directions=1, sizes=("T", "B"), opset=14, **attributes):
    """A model of two GRU nodes with these nodes in between, which compute `to` from Y_0."""
    form = {"direction": "bidirectional"} if directions == 2 else {}
    tensors = gru_tensors(0, I, directions) | gru_tensors(1, H * directions)
    nodes = [gru_node(0, "xs", **form), *between, gru_node(1, to, **attributes)]
    return make_model(nodes, tensors, inputs={"xs": (*sizes, I)}, output="Y_1", opset=opset)


def squeeze(source: str = "Y_0", to: str = "hs_0"):
    return [constant("axes", [1]), node("Squeeze", [source, "axes"], [to])]


def reshape(shape: list[int], source: str = "Y_0", to: str = "hs_0", **attributes):
    return [constant("shape", shape), node("Reshape", [source, "shape"], [to], **attributes)]


def reshape_to_sizes_of(source: str):
    """A Reshape of `by_row` to [T, B, -1], whose sizes are those of a tensor."""
    return [
        node("Shape", [source], ["its_shape"]),
        constant("first_two", [0, 1]),
        node("Gather", ["its_shape", "first_two"], ["t_and_b"]),
        constant("rest", [-1]),
        node("Concat", ["t_and_b", "rest"], ["shape"], axis=0),
        node("Reshape", ["by_row", "shape"], ["hs_0"]),
    ]


BY_ROW = node("Transpose", ["Y_0"], ["by_row"], perm=[0, 2, 1, 3])
PROVED = {
    "Squeeze": two_nodes(*squeeze()),
    "Squeeze of opset 11": two_nodes(node("Squeeze", ["Y_0"], ["hs_0"], axes=[-3]), opset=11),
    "Squeeze of all": two_nodes(node("Squeeze", ["Y_0"], ["hs_0"]), sizes=(T, B)),
    "one direction": two_nodes(BY_ROW, *reshape([0, 0, -1], "by_row")),
    "Reshape to numbers": two_nodes(*reshape([T, B, H]), sizes=(T, B)),
    "Reshape with allowzero": two_nodes(*reshape([T, B, -1], allowzero=1), sizes=(T, B)),
    "two directions": two_nodes(BY_ROW, *reshape([0, 0, -1], "by_row"), directions=2),
    "sizes of xs": two_nodes(BY_ROW, *reshape_to_sizes_of("xs"), directions=2),
    "sizes of Y": two_nodes(BY_ROW, *reshape_to_sizes_of("by_row"), directions=2),
    "flat and back": two_nodes(
        *reshape([-1], to="flat"),
        constant("back", [T, B, H]),
        node("Reshape", ["flat", "back"], ["hs_0"]),
        sizes=(T, B),
    ),
    "Unsqueeze and Squeeze": two_nodes(
        *squeeze(to="a"),
        constant("last", [-1]),
        node("Unsqueeze", ["a", "last"], ["b"]),
        node("Squeeze", ["b", "last"], ["hs_0"]),
    ),
    "Identity": two_nodes(*squeeze(to="a"), node("Identity", ["a"], ["hs_0"])),
    "Dropout": two_nodes(*squeeze(to="a"), node("Dropout", ["a"], ["hs_0", "mask"])),
    "Dropout, not in training": two_nodes(
        *squeeze(to="a"),
        constant("rate", np.float32(0.5)),
        constant("training", False),
        node("Dropout", ["a", "rate", "training"], ["hs_0"]),
    ),
    "Cast": two_nodes(*squeeze(to="a"), node("Cast", ["a"], ["hs_0"], to=1)),
    "layout of the upper node": two_nodes(
        node("Transpose", ["Y_0"], ["a"], perm=[2, 0, 1, 3]), *reshape([0, 0, -1], "a"), layout=1
    ),
}


@pytest.mark.parametrize("name", PROVED)
def test_axes_that_only_move_are_followed(tmp_path, name):
    model = PROVED[name]
    layers = load(tmp_path, model)
    assert len(layers) == 2
    assert oracle.disagreement(layers, model, gru_nodes(model)) < 1e-5


# What lies between, and the node that the message names.
REFUSED = {
    "Neg": (two_nodes(*squeeze(to="a"), node("Neg", ["a"], ["hs_0"])), r"`hs_0` \(Neg\)"),
    "Relu, then Squeeze": (two_nodes(node("Relu", ["Y_0"], ["a"]), *squeeze("a")), r"`a` \(Relu\)"),
    "time and batch exchanged": (
        two_nodes(*squeeze(to="a"), node("Transpose", ["a"], ["hs_0"], perm=[1, 0, 2])),
        r"`hs_0` \(Transpose\)",
    ),
    "directions before rows": (
        two_nodes(*reshape([0, -1, 2 * H]), directions=2, sizes=(T, 2)),
        r"`hs_0` \(Reshape\)",
    ),
    "features before directions": (
        two_nodes(
            node("Transpose", ["Y_0"], ["a"], perm=[0, 2, 3, 1]),
            *reshape([0, 0, -1], "a"),
            directions=2,
        ),
        r"`hs_0` \(Reshape\)",
    ),
    "axes exchanged by Reshape": (two_nodes(*reshape([B, T, H]), sizes=(T, B)), "Reshape"),
    "layout of the upper node": (two_nodes(*squeeze(), layout=1), "Squeeze"),
    "Y as it is": (two_nodes(to="Y_0"), r"`gru_0` \(GRU\)"),
    "the last state": (two_nodes(to="last_0"), r"`gru_0` \(GRU\)"),
    "reversed time": (
        two_nodes(
            *squeeze(to="a"),
            constant("from", [-1]),
            constant("until", [-(2**31)]),
            constant("axis", [0]),
            node("Slice", ["a", "from", "until", "axis", "from"], ["hs_0"]),
        ),
        r"`hs_0` \(Slice\)",
    ),
    "Dropout in training": (
        two_nodes(
            *squeeze(to="a"),
            constant("rate", np.float32(0.5)),
            constant("training", True),
            node("Dropout", ["a", "rate", "training"], ["hs_0"]),
        ),
        r"`hs_0` \(Dropout\)",
    ),
    "the mask of Dropout": (
        two_nodes(
            *squeeze(to="a"),
            node("Dropout", ["a"], ["b", "mask"]),
            node("Cast", ["mask"], ["hs_0"], to=1),
        ),
        r"`b` \(Dropout\)",
    ),
    "Cast to half precision": (
        two_nodes(
            *squeeze(to="a"), node("Cast", ["a"], ["b"], to=10), node("Cast", ["b"], ["hs_0"], to=1)
        ),
        r"`b` \(Cast\)",
    ),
    "Squeeze of what may be 1": (two_nodes(node("Squeeze", ["Y_0"], ["hs_0"])), "Squeeze"),
    "an invalid Squeeze": (
        two_nodes(node("Squeeze", ["Y_0"], ["hs_0"], axes=[1]), sizes=(T, B)),
        "Squeeze",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused_by_the_name_of_the_node(tmp_path, name):
    model, between = REFUSED[name]
    message = rf"`gru_0` and `gru_1` are not known to be one stack: the node .*{between}.*`node`"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, model)
    assert len(load(tmp_path, model, node="gru_0")) == 1


def test_an_operator_of_another_domain_is_refused(tmp_path):
    model = two_nodes(*squeeze(to="a"), node("Identity", ["a"], ["hs_0"], domain="mine"))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    with pytest.raises(ValueError, match=r"the node `hs_0` \(Identity\) between them"):
        load(tmp_path, model)


def test_an_operator_that_the_file_defines_itself_gives_no_shapes(tmp_path):
    model = two_nodes(BY_ROW, *reshape_to_sizes_of("by_row"), directions=2)
    opsets, swapped = [helper.make_opsetid("", 14)], [node("Identity", ["b"], ["c"])]
    model.functions.append(
        helper.make_function("", "Concat", ["a", "b"], ["c"], swapped, opsets, attributes=["axis"])
    )
    with pytest.raises(ValueError, match=r"the node `hs_0` \(Reshape\) between them"):
        load(tmp_path, model)


def test_what_the_file_says_of_computed_shapes_is_not_believed(tmp_path):
    model, _ = REFUSED["directions before rows"]
    sizes = [T, 2, 2 * H]
    model.graph.value_info.append(helper.make_tensor_value_info("hs_0", 1, sizes))
    with pytest.raises(ValueError, match="not known to be one stack"):
        load(tmp_path, model)


def test_a_shape_that_the_caller_chooses_is_refused(tmp_path):
    model = two_nodes(BY_ROW, node("Reshape", ["by_row", "shape"], ["hs_0"]), directions=2)
    value = helper.make_tensor_value_info("shape", onnx.TensorProto.INT64, [3])
    model.graph.input.append(value)
    with pytest.raises(ValueError, match=r"the node `hs_0` \(Reshape\) between them"):
        load(tmp_path, model)


def test_equal_names_of_sizes_are_not_believed(tmp_path):
    model = two_nodes(BY_ROW, *reshape_to_sizes_of("other"), directions=2)
    model.graph.input.append(helper.make_tensor_value_info("other", 1, ["T", "B"]))
    with pytest.raises(ValueError, match="not known to be one stack"):
        load(tmp_path, model)


def test_nodes_that_do_not_read_each_other_are_refused(tmp_path):
    model = two_nodes(to="xs")
    tensors = {**gru_tensors(0, I), **gru_tensors(1, I)}
    model = make_model([gru_node(0, "xs"), gru_node(1, "xs")], tensors, output="Y_1")
    with pytest.raises(ValueError, match=r"`gru_0`, `gru_1` are not one stack.*with `node`"):
        load(tmp_path, model)
    with pytest.raises(ValueError, match=r"no GRU node `gru_2`, there is `gru_0`, `gru_1`"):
        load(tmp_path, model, node="gru_2")
    assert len(load(tmp_path, model, node="gru_1")) == 1
    for gru in gru_nodes(model):
        gru.name = "same"
    with pytest.raises(ValueError, match="several GRU nodes named `same`"):
        load(tmp_path, model, node="same")


def test_a_state_that_follows_from_the_layer_below_is_refused(tmp_path):
    model = two_nodes(*squeeze())
    gru_nodes(model)[1].input.extend(["", "last_0"])
    with pytest.raises(
        ValueError, match=r"`initial_h` of .*`gru_1` is computed from .* of `gru_0`"
    ):
        load(tmp_path, model)
    assert len(load(tmp_path, model, node="gru_1")) == 1


@pytest.mark.parametrize("which", [[0], [1], [0, 1]])
def test_all_layers_read_the_same_lengths(tmp_path, which):
    model = two_nodes(*squeeze())
    value = helper.make_tensor_value_info("lengths", onnx.TensorProto.INT64, ["B"])
    model.graph.input.append(value)
    for index in which:
        model.graph.node.insert(0, node("Cast", ["lengths"], [f"lengths_{index}"], to=6))
        gru_nodes(model)[index].input.extend([f"lengths_{index}"])
    if len(which) == 2:
        assert len(load(tmp_path, model)) == 2
        return
    with pytest.raises(
        ValueError, match=r"the same lengths to be a stack, got `\(none\)`, `lengths`"
    ):
        load(tmp_path, model)


def test_lengths_that_lose_bits_are_others(tmp_path):
    model = two_nodes(*squeeze())
    value = helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, ["B"])
    model.graph.input.append(value)
    model.graph.node.insert(0, node("Cast", ["lengths"], ["small"], to=3))  # int8
    model.graph.node.insert(1, node("Cast", ["small"], ["other"], to=6))
    for gru, name in zip(gru_nodes(model), ("lengths", "other"), strict=True):
        gru.input.append(name)
    with pytest.raises(ValueError, match=r"the same lengths to be a stack, got `lengths`, `small`"):
        load(tmp_path, model)


def test_nodes_between_without_inputs_or_outputs_are_refused(tmp_path):
    for broken in (
        node("Identity", ["Y_0"], []),
        node("Squeeze", [], ["hs_0"]),
        node("Identity", [], ["hs_0"]),
    ):
        nodes = squeeze(to="a" if broken.output else "hs_0")
        with pytest.raises(ValueError, match=r"not known to be one stack|misses|not one stack"):
            load(tmp_path, two_nodes(*nodes, broken, directions=2))


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore"
)  # the old exporter is deprecated; the new one needs onnxscript
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_reads_a_file_that_torch_exported(tmp_path, batch_first, dynamic):
    torch = pytest.importorskip("torch", reason="PyTorch is installed on one Python version")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.below = torch.nn.GRU(I, H, 2, bidirectional=True, batch_first=batch_first)
            self.above = torch.nn.GRU(2 * H, H, batch_first=batch_first)

        def forward(self, xs):
            hs = self.below(xs)[0]
            return self.above(hs.view(xs.shape[0], xs.shape[1], -1))[0]

    module, draw = Model().eval(), Draw("torch", "float32")
    xs = draw.normal(T, B, I)
    example = torch.tensor(np.swapaxes(xs, 0, 1).copy() if batch_first else xs)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.tensor(draw.normal(*parameter.shape, scale=0.5)))
        want = module(example).numpy()
    path = tmp_path / "gru.onnx"
    axes = {"dynamic_axes": {"xs": {0: "a", 1: "b"}}, "input_names": ["xs"]} if dynamic else {}
    torch.onnx.export(module, (example,), path, dynamo=False, **axes)
    layers = load_onnx(path)
    assert len(layers) == 3
    _, hs = grujax.stacked_gru(layers, xs)
    assert_close(hs, np.swapaxes(want, 0, 1) if batch_first else want, "float32")


def test_a_stack_of_mixed_reset_forms_keeps_them(tmp_path):
    assert [layer.reset_after for layer in load(tmp_path, graphs.keras_like(14))] == [True, False]
    assert [layer.reset_after for layer in load(tmp_path, graphs.torch_like(14))] == [True, True]
