"""Weights of ONNX nodes: the ONNX project's GRU cases, and nodes that onnxruntime runs."""

import numpy as np
import pytest

import grujax
from grujax.convert import from_onnx
from tests.helpers import Draw, assert_close, assert_equal

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

T, B, I, H = 7, 4, 3, 5  # noqa: E741
LENGTHS = np.array([7, 4, 1, 6], "int32")
XS = Draw("xs", "float32").normal(T, B, I)


def random_node(directions: int, input_size: int = I, seed: str = "") -> dict[str, np.ndarray]:
    """Random W, R and B of a node, with both biases of every gate."""
    draw = Draw(f"node {directions} {seed}", "float32")
    shapes = {"W": (3 * H, input_size), "R": (3 * H, H), "B": (6 * H,)}
    return {k: draw.normal(directions, *shape, scale=0.5) for k, shape in shapes.items()}


def parse_model(text: str, **arrays: np.ndarray):
    """A model from a graph in ONNX's textual syntax and its initializers."""
    model = onnx.parser.parse_model(f'<ir_version: 7, opset_import: ["": 14]> {text}')
    for name, array in arrays.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def run_onnx(model, **inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)


def cases_of_the_onnx_project() -> dict:
    """name -> (node, inputs, outputs), from the code that generates the ONNX project's tests."""
    from onnx.backend.test.case.node import gru

    cases = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            gru,
            "expect",
            lambda node, inputs, outputs, name: cases.update({name: (node, inputs, outputs)}),
        )
        for name, export in vars(gru.GRU).items():
            if name.startswith("export"):
                export.__func__()
    return cases


CASES = cases_of_the_onnx_project()


def test_there_are_cases_of_the_onnx_project():
    assert set(CASES) >= {
        "test_gru_defaults",
        "test_gru_with_initial_bias",
        "test_gru_seq_length",
        "test_gru_batchwise",
    }


@pytest.mark.parametrize("name", CASES)
def test_a_case_of_the_onnx_project(name):
    node, (xs, *weights), outputs = CASES[name]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    direction = attributes.get("direction", b"forward").decode()
    batchwise = attributes.get("layout", 0) == 1
    xs = np.swapaxes(xs, 0, 1) if batchwise else xs
    form = attributes.get("linear_before_reset", 0)
    layer = from_onnx(*weights, linear_before_reset=form)
    if direction == "bidirectional":
        last, hs = grujax.bidirectional_gru(layer, xs)
        last, hs = np.stack(last), np.stack(np.split(np.asarray(hs), 2, axis=-1), axis=1)
    else:
        last, hs = grujax.gru(layer, xs, reverse=direction == "reverse")
        last, hs = np.asarray(last)[None], np.asarray(hs)[:, None]
    if batchwise:
        last, hs = np.swapaxes(last, 0, 1), np.moveaxis(hs, 2, 0)
    got = {"Y": hs, "Y_h": last}
    assert_close([got[name] for name in node.output if name], list(outputs), "float32")


@pytest.mark.parametrize("linear_before_reset", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_agrees_with_onnxruntime(direction, linear_before_reset):
    weights = random_node(2 if direction == "bidirectional" else 1)
    model = parse_model(
        f"""g (float[T,B,3] xs, int32[B] lengths) => (float[T,D,B,5] Y, float[D,B,5] last) {{
          Y, last = GRU <hidden_size = 5, direction = "{direction}",
            linear_before_reset = {linear_before_reset}> (xs, W, R, B, lengths)
        }}""",
        **weights,
    )
    ys, last = run_onnx(model, xs=XS, lengths=LENGTHS)
    layer = from_onnx(*weights.values(), linear_before_reset=linear_before_reset)
    if direction == "bidirectional":
        got = grujax.bidirectional_gru(layer, XS, lengths=LENGTHS)
        want = (last[0], last[1]), np.concatenate([ys[:, 0], ys[:, 1]], -1)
    else:
        got = grujax.gru(layer, XS, lengths=LENGTHS, reverse=direction == "reverse")
        want = last[0], ys[:, 0]
    assert_close(got, want, "float32")


def test_no_bias_is_zero_bias():
    weights = random_node(1)
    zero = from_onnx(weights["W"], weights["R"], 0 * weights["B"])
    assert_equal(from_onnx(weights["W"], weights["R"]), zero)


def test_errors_name_the_array():
    weights = random_node(2)
    with pytest.raises(ValueError, match=r"`W` has shape \[1, 15, 3\], .*D = 2 and H = 5"):
        from_onnx(weights["W"][:1], weights["R"])
    with pytest.raises(ValueError, match=r"`R` has shape \[2, 15, 4\], expected \[D, 3H, H\]"):
        from_onnx(weights["W"], weights["R"][..., 1:])
    with pytest.raises(ValueError, match=r"`R` has shape \[3, 15, 5\].*D 1 or 2"):
        from_onnx(np.ones((3, 15, 3), "f"), np.ones((3, 15, 5), "f"))
    with pytest.raises(ValueError, match=r"`linear_before_reset` must be .* from 0 to 1, got 2"):
        from_onnx(weights["W"], weights["R"], linear_before_reset=2)
