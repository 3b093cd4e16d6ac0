"""The attributes and the inputs of a GRU node: used, or refused."""

import numpy as np
import pytest

from grujax.convert import from_onnx
from tests.helpers import assert_equal

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
graphs = pytest.importorskip("tests.fixtures.onnx_models.graphs", exc_type=ImportError)
oracle = pytest.importorskip("tests.fixtures.onnx_models.oracle", exc_type=ImportError)

B, H, I = graphs.B, graphs.H, graphs.I  # noqa: E741
helper, numpy_helper, node = onnx.helper, onnx.numpy_helper, onnx.helper.make_node
constant, gru_node, gru_nodes = graphs.constant, graphs.gru_node, graphs.gru_nodes
gru_tensors, load, one_node = graphs.gru_tensors, graphs.load, graphs.one_node

WEIGHTS = gru_tensors(0, I)
WANTED = [from_onnx(*WEIGHTS.values())]
INPUTS = {"xs": ("T", B, I)}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"clip": 3.0}, "`gru_0` has `clip` = 3; grujax does not clip"),
        (
            {"activations": ["Relu", "Tanh"]},
            "activations `Relu`, `Tanh`, expected Sigmoid and Tanh",
        ),
        ({"activations": ["Sigmoid"]}, "activations `Sigmoid`, expected Sigmoid and Tanh"),
        ({"activation_alpha": [0.1]}, "`activation_alpha`, which Sigmoid and Tanh do not take"),
        ({"direction": "reverse"}, 'direction "reverse" alone'),
        ({"direction": "sideways"}, "\"bidirectional\", got 'sideways'"),
        ({"direction": "bidirectional"}, r"2 directions .*`R` of shape \[1, 12, 4\] contradicts"),
        ({"direction": 3}, "`direction` of the GRU node `gru_0` must have the type STRING"),
        ({"linear_before_reset": 2}, "`linear_before_reset` = 2, expected 0 or 1"),
        ({"layout": 2}, "`layout` = 2, expected 0 or 1"),
        ({"output_sequence": 1}, "the attribute `output_sequence`, which the operator lacks"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_attributes_that_a_stack_lacks_are_refused(tmp_path, attributes, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, one_node(**attributes))


def test_a_hidden_size_that_the_weights_contradict_is_refused(tmp_path):
    model = one_node()
    [attribute] = gru_nodes(model)[0].attribute
    attribute.i = 77
    with pytest.raises(ValueError, match=r"`hidden_size` = 77; `R` of shape \[1, 12, 4\]"):
        load(tmp_path, model)
    gru_nodes(model)[0].attribute.append(helper.make_attribute("hidden_size", H))
    with pytest.raises(ValueError, match="has `hidden_size` more than once"):
        load(tmp_path, model)


def test_default_activations_may_be_explicit(tmp_path):
    assert_equal(load(tmp_path, one_node(activations=["sigmoid", "Tanh"])), WANTED)


# --- initial states and lengths -------------------------------------------------------------------


def filled(number: float) -> dict[str, list]:
    """Nodes that compute a state of this number, by what computes it."""
    full, row = (np.full(shape, number, "f") for shape in ((1, B, H), (1, 1, H)))
    return {
        "stored": [constant("state", full)],
        "Identity": [constant("a", full), node("Identity", ["a"], ["state"])],
        "Expand": [
            constant("a", row),
            constant("shape", full.shape),
            node("Expand", ["a", "shape"], ["state"]),
        ],
        "ConstantOfShape": [
            constant("shape", full.shape),
            node(
                "ConstantOfShape",
                ["shape"],
                ["state"],
                value=numpy_helper.from_array(row[0, 0, :1]),
            ),
        ],
        "rows of X": [
            node("Shape", ["xs"], ["sizes"]),
            constant("one", [1]),
            node("Gather", ["sizes", "one"], ["rows"]),
            constant("width", [H]),
            node("Concat", ["one", "rows", "width"], ["shape"], axis=0),
            constant("a", row),
            node("Expand", ["a", "shape"], ["state"]),
        ],
        "Split": [
            constant("a", np.concatenate([full, full])),
            node("Split", ["a"], ["state", "b"]),
        ],
        "Tile": [constant("a", row), constant("n", [1, B, 1]), node("Tile", ["a", "n"], ["state"])],
    }


@pytest.mark.parametrize("name", filled(0))
def test_a_stored_initial_state_is_refused_unless_it_is_zero(tmp_path, name):
    inputs = {"xs": ("T", "B", I)} if name == "rows of X" else INPUTS
    zero, other = (one_node(*filled(n)[name], state="state", inputs=inputs) for n in (0, 0.7))
    assert_equal(load(tmp_path, zero), WANTED)
    with pytest.raises(ValueError, match=r"initial state `state` that the file stores, .*`h0`"):
        load(tmp_path, other)


def test_a_random_initial_state_is_refused(tmp_path):
    random = node("RandomNormalLike", ["a"], ["state"])
    model = one_node(constant("a", np.zeros((1, B, H), "f")), random, state="state")
    with pytest.raises(ValueError, match="initial state `state`"):
        load(tmp_path, model)


@pytest.mark.parametrize("shape", [(2, B, H), (1, B + 1, H), (1, B, H + 1), (B, H)])
def test_an_initial_state_of_another_shape_is_refused(tmp_path, shape):
    model = one_node(constant("state", np.zeros(shape, "f")), state="state")
    with pytest.raises(ValueError, match=r"`initial_h` of the GRU node `gru_0` is float32 \["):
        load(tmp_path, model)


LENGTHS = np.array([3, 1, 2], "int32")


@pytest.mark.parametrize(
    "nodes",
    [
        [constant("lengths", LENGTHS)],
        [constant("a", LENGTHS), node("Identity", ["a"], ["lengths"])],
        [constant("a", LENGTHS[:1]), constant("n", [B]), node("Expand", ["a", "n"], ["lengths"])],
    ],
    ids=["stored", "Identity", "Expand"],
)
def test_stored_lengths_are_refused(tmp_path, nodes):
    with pytest.raises(ValueError, match=r"lengths `lengths` that the file stores.*`lengths`"):
        load(tmp_path, one_node(*nodes, lengths="lengths"))


def all_steps(selected: int, steps: str = "Slice", dtype: int = 1, start: int = 0):
    """Lengths that repeat a size of X once for each row, as TensorFlow's exporter computes them."""
    size = {
        "Slice": [
            constant("start", [selected]),
            constant("end", [selected + 1]),
            node("Slice", ["numbers", "start", "end"], ["size"]),
        ],
        "Gather": [constant("which", [selected]), node("Gather", ["numbers", "which"], ["size"])],
    }
    return [
        node("Shape", ["xs"], ["sizes"]),
        node("Cast", ["sizes"], ["numbers"], to=dtype),
        *size[steps],
        constant("axis", [1]),
        node("Gather", ["sizes", "axis"], ["rows"]),
        node("Tile", ["size", "rows"], ["repeated"]),
        node("Cast", ["repeated"], ["lengths"], to=6),
    ]


@pytest.mark.parametrize("steps", ["Slice", "Gather"])
@pytest.mark.parametrize("sizes", [("T", "B"), (5, B)])
def test_lengths_that_are_all_steps_are_the_default(tmp_path, steps, sizes):
    inputs = {"xs": (*sizes, I)}
    model = one_node(*all_steps(0, steps), lengths="lengths", inputs=inputs)
    assert oracle.disagreement(load(tmp_path, model), model, gru_nodes(model)) <= 1e-5
    if sizes[0] == 5:
        model = one_node(
            constant("lengths", np.full(B, 5, "int32")), lengths="lengths", inputs=inputs
        )
        assert oracle.disagreement(load(tmp_path, model), model, gru_nodes(model)) <= 1e-5


@pytest.mark.parametrize(
    "nodes",
    [
        all_steps(1),
        all_steps(0, dtype=10),
        all_steps(0, dtype=9),
        [
            *all_steps(0)[:-1],
            constant("one", np.float32(1)),
            node("Sub", ["repeated", "one"], ["fewer"]),
            node("Cast", ["fewer"], ["lengths"], to=6),
        ],
        [
            *all_steps(0)[:-1],
            constant("mask", [True, False, True]),
            constant("two", np.full(B, 2, "f")),
            node("Where", ["mask", "repeated", "two"], ["some"]),
            node("Cast", ["some"], ["lengths"], to=6),
        ],
    ],
    ids=["of batch", "half precision", "bool", "less one", "for some rows"],
)
def test_other_lengths_that_follow_from_shapes_are_refused(tmp_path, nodes):
    model = one_node(*nodes, lengths="lengths", inputs={"xs": ("T", "B", I)})
    with pytest.raises(ValueError, match=r"lengths `lengths` .* not known to be all T"):
        load(tmp_path, model)


def test_lengths_and_states_that_are_inputs_are_the_callers(tmp_path):
    model = one_node(state="h0", lengths="lengths", inputs=INPUTS | {"h0": (1, B, H)})
    value = helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, [B])
    model.graph.input.append(value)
    assert_equal(load(tmp_path, model), WANTED)
    value = helper.make_tensor_value_info("lengths", onnx.TensorProto.INT64, [B])
    model.graph.input[-1].CopyFrom(value)
    with pytest.raises(
        ValueError, match=r"`sequence_lens` .* is int64 \[3\], expected int32 \[B\]"
    ):
        load(tmp_path, model)
