"""ONNX models of stacks; onnxruntime runs them."""

from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax.convert import to_onnx
from tests.helpers import Draw, assert_close

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

I, H = 3, 5  # noqa: E741
# The combinations of (num_layers, directions, reset_after) that only `make test-all` runs.
CASES = [
    case
    for case in product((1, 3), (1, 2), (True, False))
    if case not in ((1, 1, False), (3, 2, True))
]


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def random_layers(num_layers: int, directions: int, reset_after: bool = True) -> list:
    draw = Draw(f"layers {num_layers} {directions}", "float32")
    sizes = [I] + [H * directions] * (num_layers - 1)
    if directions == 1:
        return [draw.params(size, H, reset_after) for size in sizes]
    return [tuple(draw.params(size, H, reset_after) for _ in range(2)) for size in sizes]


def session_of(model):
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def run_onnx(session, **inputs):
    """`(h_last, hs)`, the states as [N, B, H]."""
    hs, h_last = session.run(["hs", "h_last"], inputs)
    return h_last, hs


def run_grujax(layers, xs, h0=None, lengths=None):
    """`(h_last, hs)`, the states as [N, B, H]."""
    if h0 is not None:
        h0 = (
            list(h0)
            if isinstance(layers[0], grujax.GRUParams)
            else list(zip(h0[::2], h0[1::2], strict=True))
        )
    h_last, hs = grujax.stacked_gru(layers, xs, h0, lengths=lengths)
    return np.stack(jax.tree.leaves(h_last)), hs


@pytest.mark.parametrize(
    ("num_layers", "directions", "reset_after"),
    [
        (1, 1, False),
        (3, 2, True),
        *(slow(layers, ways, form) for layers, ways, form in CASES),
    ],
)
def test_agrees_with_onnxruntime_for_every_length_and_batch(num_layers, directions, reset_after):
    layers = random_layers(num_layers, directions, reset_after)
    session = session_of(to_onnx(layers))
    for T, B in ((7, 4), (1, 1), (12, 2)):
        xs = Draw("xs", "float32").normal(T, B, I)
        assert_close(run_onnx(session, xs=xs), run_grujax(layers, xs), "float32")


@pytest.mark.parametrize(
    ("num_layers", "directions", "reset_after", "with_h0"),
    [
        (1, 1, False, False),
        (2, 2, True, True),
        *(slow(min(layers, 2), *rest, True) for layers, *rest in CASES),
        *(slow(min(layers, 2), *rest, False) for layers, *rest in CASES),
        slow(1, 1, False, True),
        slow(2, 2, True, False),
    ],
)
def test_lengths_agree(num_layers, directions, reset_after, with_h0):
    layers = random_layers(num_layers, directions, reset_after)
    session = session_of(to_onnx(layers, with_lengths=True, with_initial_state=with_h0))
    draw = Draw("data", "float32")
    for T, lengths in ((6, [6, 0, 3, 1]), (0, [0, 0]), (2, [0, 0, 0])):
        lengths = np.array(lengths, "int32")
        xs = draw.normal(T, len(lengths), I)
        inputs = {"h0": draw.normal(num_layers * directions, len(lengths), H)} if with_h0 else {}
        xs[np.arange(T)[:, None] >= lengths] = np.nan
        got = run_onnx(session, xs=xs, lengths=lengths, **inputs)
        assert_close(got, run_grujax(layers, xs, **inputs, lengths=lengths), "float32")


@pytest.mark.parametrize(("num_layers", "directions"), [slow(1, 1), (1, 2), slow(3, 1), slow(3, 2)])
def test_initial_states_agree(num_layers, directions):
    layers = random_layers(num_layers, directions)
    session = session_of(to_onnx(layers, with_initial_state=True))
    draw = Draw("data", "float32")
    for T, B in ((7, 4), (1, 1)):
        xs, h0 = draw.normal(T, B, I), draw.normal(num_layers * directions, B, H)
        assert_close(run_onnx(session, xs=xs, h0=h0), run_grujax(layers, xs, h0), "float32")


@pytest.mark.parametrize(
    ("num_layers", "reset_after", "with_lengths"),
    [(3, True, False), slow(3, True, True), slow(1, False, True), slow(2, False, False)],
)
def test_a_stream_gives_the_outputs_of_the_whole_sequence(num_layers, reset_after, with_lengths):
    layers = random_layers(num_layers, 1, reset_after)
    session = session_of(to_onnx(layers, with_lengths=with_lengths, with_initial_state=True))
    for B, chunks in ((4, (1,) * 9), (1, (1,) * 9), (2, (3, 1, 5))):
        xs = Draw("stream", "float32").normal(9, B, I)
        h_last, frames, start = np.zeros((num_layers, B, H), "float32"), [], 0
        for size in chunks:
            inputs = {"xs": xs[start : start + size], "h0": h_last}
            if with_lengths:
                inputs["lengths"] = np.full(B, size, "int32")
            h_last, hs = run_onnx(session, **inputs)
            frames.append(hs)
            start += size
        assert_close((h_last, np.concatenate(frames)), run_grujax(layers, xs), "float32")


def test_layers_may_differ_in_form():
    layers = [*random_layers(1, 2), *random_layers(2, 2, reset_after=False)[1:]]
    xs = Draw("xs", "float32").normal(7, 4, I)
    assert_close(run_onnx(session_of(to_onnx(layers)), xs=xs), run_grujax(layers, xs), "float32")


@pytest.mark.slow
def test_float16():
    layers = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float16), random_layers(2, 2))
    xs = Draw("xs", "float16").normal(7, 4, I)
    hs = run_onnx(session_of(to_onnx(layers)), xs=xs)[1]
    assert hs.dtype == np.float16
    assert_close(hs, run_grujax(layers, xs)[1], "float16")


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("with_initial_state", [False, True])
def test_inputs_are_optional(with_lengths, with_initial_state):
    model = to_onnx(
        random_layers(2, 2), with_lengths=with_lengths, with_initial_state=with_initial_state
    )
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "xs": ["T", "B", I],
        **({"lengths": ["B"]} if with_lengths else {}),
        **({"h0": [4, "B", H]} if with_initial_state else {}),
        "hs": ["T", "B", 2 * H],
        "h_last": [4, "B", H],
    }


def test_opset_and_ir_are_pinned():
    model = to_onnx(random_layers(1, 1))
    assert model.ir_version == 7
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 14)]
    onnx.checker.check_model(model, full_check=True)


def test_errors_for_stacks_that_onnx_cannot_represent():
    forward, backward = random_layers(1, 2)[0]
    with pytest.raises(ValueError, match=r"`layers\[0\]` has `reset_after` True .* False backward"):
        to_onnx([(forward, replace(backward, reset_after=False))])
    with pytest.raises(ValueError, match=r"one hidden size for all layers, .*\[5, 4\]"):
        to_onnx([forward, Draw("", "float32").params(H, 4)])
    with pytest.raises(ValueError, match=r"as many directions .*\[2, 1\]"):
        to_onnx([(forward, backward), Draw("", "float32").params(2 * H, H)])
    with pytest.raises(ValueError, match=r"all float32 or all float16.* got bfloat16"):
        to_onnx(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), [forward]))
    with pytest.raises(ValueError, match=r"got float16, float32"):
        to_onnx([replace(forward, b_hn=forward.b_hn.astype("float16"))])
