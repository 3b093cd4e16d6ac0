"""Weights from ONNX: the ONNX project's GRU cases, and files that onnxruntime runs."""

import numpy as np
import pytest

import grujax
from grujax.convert import from_onnx, load_onnx, to_onnx
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


def one_node(attributes: str = "hidden_size = 5", inputs: str = "xs, W, R, B", **changes):
    arrays = random_node(2 if "bidirectional" in attributes else 1) | changes
    text = (
        f"g (float[T,B,3] xs) => (float[T,D,B,5] Y) {{ Y, last = GRU <{attributes}> ({inputs}) }}"
    )
    return parse_model(text, **arrays)


def load(tmp_path, model, node=None):
    onnx.save(model, tmp_path / "model.onnx")
    return load_onnx(tmp_path / "model.onnx", node)


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


STACK = """g (float[T,B,3] xs, float[2,B,5] h0) => (float[T,B,10] hs) {
  shape = Constant <value = int64[3] {0, 0, 10}> ()
  Y_0, last_0 = GRU <hidden_size = 5, direction = "bidirectional"> (xs, W_0, R_0, B_0, , h0)
  rows_0 = Transpose <perm = [0, 2, 1, 3]> (Y_0)
  hs_0 = Reshape (rows_0, shape)
  dropped = Dropout (hs_0)
  Y_1, last_1 = GRU <hidden_size = 5, direction = "bidirectional", linear_before_reset = 1>
    (dropped, W_1, R_1, B_1)
  rows_1 = Transpose <perm = [0, 2, 1, 3]> (Y_1)
  hs = Reshape (rows_1, shape)
}"""


def stack_model():
    arrays = {f"{k}_0": v for k, v in random_node(2).items()}
    arrays |= {f"{k}_1": v for k, v in random_node(2, 2 * H, "above").items()}
    model = parse_model(STACK, **arrays)
    gru_nodes = [node for node in model.graph.node if node.op_type == "GRU"]
    gru_nodes[0].name, gru_nodes[1].name = "below", "above"
    return model


def test_chained_nodes_are_a_stack(tmp_path):
    model, h0 = stack_model(), Draw("h0", "float32").normal(2, B, H)
    layers = load(tmp_path, model)
    _, hs = grujax.stacked_gru(layers, XS, [tuple(h0), None])
    assert_close(hs, run_onnx(model, xs=XS, h0=h0)[0], "float32")
    assert [pair[0].reset_after for pair in layers] == [False, True]
    assert_equal(load(tmp_path, model, node="above"), layers[1:])


def test_a_node_without_a_name_is_found_by_its_output(tmp_path):
    model = one_node()
    assert_equal(load(tmp_path, model, node="Y"), load(tmp_path, model))


def test_weights_may_be_constants(tmp_path):
    model = one_node()
    for tensor in model.graph.initializer:
        constant = onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
        model.graph.node.insert(0, constant)
    del model.graph.initializer[:]
    assert_equal(load(tmp_path, model), load(tmp_path, one_node()))


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore"
)  # the old exporter is deprecated; the new one needs onnxscript
@pytest.mark.parametrize("batch_first", [False, True])
def test_reads_a_file_that_torch_exported(tmp_path, batch_first):
    torch = pytest.importorskip("torch", reason="PyTorch is installed on one Python version")
    module = torch.nn.GRU(I, H, num_layers=2, bidirectional=True, batch_first=batch_first)
    draw = Draw("torch", "float32")
    xs = torch.tensor(np.swapaxes(XS, 0, 1).copy() if batch_first else XS)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.tensor(draw.normal(*parameter.shape, scale=0.5)))
        want = module(xs)[0].numpy()
    torch.onnx.export(module, (xs,), tmp_path / "gru.onnx", dynamo=False)
    _, hs = grujax.stacked_gru(load_onnx(tmp_path / "gru.onnx"), XS)
    assert_close(hs, np.swapaxes(want, 0, 1) if batch_first else want, "float32")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (one_node("hidden_size = 5, clip = 3.0"), "`Y` has `clip` = 3.0"),
        (one_node('hidden_size = 5, activations = ["Relu", "Tanh"]'), "Relu.*expected Sigmoid"),
        (one_node('hidden_size = 5, direction = "reverse"'), 'direction "reverse" alone'),
        (one_node(inputs="xs, W, computed, B"), "`R` of .* `computed`, which is computed"),
        (
            one_node(inputs="xs, W, R, B, , h0", h0=np.ones((1, 1, H), "f")),
            r"stored initial state `h0` of shape \[1, 1, 5\]",
        ),
        (one_node(B=np.ones((1, 3 * H), "f")), r"`B` has shape \[1, 15\], expected \[D, 6H\]"),
        (parse_model("g (float[T] xs) => (float[T] y) { y = Abs (xs) }"), "holds no GRU node"),
    ],
    ids=["clip", "activation", "reverse", "computed", "initial state", "shape", "none"],
)
def test_unsupported_nodes_raise(tmp_path, model, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, model)


def test_default_activations_may_be_explicit(tmp_path):
    plain = 'hidden_size = 5, direction = "bidirectional"'
    explicit = f'{plain}, activations = ["Sigmoid", "Tanh", "sigmoid", "Tanh"]'
    assert_equal(load(tmp_path, one_node(explicit)), load(tmp_path, one_node(plain)))


def test_a_stored_initial_state_of_zeros_is_the_default(tmp_path):
    zero = one_node(inputs="xs, W, R, B, , h0", h0=np.zeros((1, 1, H), "f"))
    assert_equal(load(tmp_path, zero), load(tmp_path, one_node()))


PARALLEL = """g (float[T,B,3] xs) => (float[T,D,B,5] sum) {
  Y_0, last_0 = GRU <hidden_size = 5> (xs, W, R, B)
  Y_1, last_1 = GRU <hidden_size = 5> (xs, W, R, B)
  sum = Add (Y_0, Y_1)
}"""


def test_nodes_that_do_not_form_a_stack_raise(tmp_path):
    model = parse_model(PARALLEL, **random_node(1))
    with pytest.raises(ValueError, match=r"`Y_0`, `Y_1` are not one stack.*with `node`"):
        load(tmp_path, model)
    with pytest.raises(ValueError, match=r"no GRU node `Y_2`, there is `Y_0`, `Y_1`"):
        load(tmp_path, model, node="Y_2")
    assert len(load(tmp_path, model, node="Y_1")) == 1


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


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_round_trip_is_exact(tmp_path, reset_after):
    draw = Draw("params", "float32")
    layers = [tuple(draw.params(size, H, reset_after) for _ in range(2)) for size in (I, 2 * H)]
    assert_equal(load(tmp_path, to_onnx(layers)), layers)
