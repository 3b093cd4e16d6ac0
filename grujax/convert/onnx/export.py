"""Writes a stack of GRU layers as an ONNX model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from grujax.checks import check_bool
from grujax.convert.checks import check_uniform, require, split_directions
from grujax.convert.layouts import write_cell
from grujax.convert.onnx.weights import ONNX
from grujax.layers import Layer
from grujax.params import GRUParams

# onnxruntime loads these since version 1.8 (2021). Opset 14 introduced today's form of GRU.
OPSET = 14
IR_VERSION = 7

_DTYPES = {"float32": "float", "float16": "float16"}


def to_onnx(
    layers: Sequence[Layer], *, with_lengths: bool = False, with_initial_state: bool = False
) -> Any:
    """Writes an ONNX model that computes `stacked_gru(layers, xs, h0, lengths=lengths)`.

    T and B are symbolic, so one file runs sequences and batches of every size. Two exceptions make
    onnxruntime itself crash: an empty batch, and T = 0 without `lengths`. N is the number of layers
    times the number of directions; the states are ordered by layer, forward before backward.

        inputs     xs [T, B, I];  optionally lengths int32 [B] and h0 [N, B, H]
        outputs    hs [T, B, H], or [T, B, 2H];  h_last [N, B, H]

    Args:
        layers: a sequence; each item a `GRUParams` or a pair (forward, backward).
        with_lengths: whether the model has the input `lengths`. As in `gru`, `hs` is zero past a
            row's end, and `h_last` for length 0 is the initial state.
        with_initial_state: whether the model has the input `h0`; otherwise it is zero. With it, a
            stream runs frame by frame: the `h_last` of one call is the `h0` of the next one.

    Returns:
        An `onnx.ModelProto` of opset 14 and IR version 7, for onnxruntime 1.8 or newer. Save it
        with `onnx.save(model, path)`.

    Raises:
        ValueError: if the layers differ in hidden size or number of directions, the directions of
            a layer differ in reset form, or the layers are not all float32 or all float16.
        ImportError: if onnx is not installed.

    Example:
        >>> import jax
        >>> from grujax import init_gru
        >>> layers = [init_gru(jax.random.key(0), input_size=8, hidden_size=16)]
        >>> [value.name for value in to_onnx(layers, with_lengths=True).graph.input]
        ['xs', 'lengths']
    """
    with_lengths = check_bool("with_lengths", with_lengths)
    with_initial_state = check_bool("with_initial_state", with_initial_state)
    stack = split_directions(layers)
    check_uniform(stack, "`to_onnx`")
    dtype = _dtype_of(stack)
    onnx, parser = require("onnx"), require("onnx.parser")
    weights: dict[str, np.ndarray] = {}
    for index, directions in enumerate(stack):
        weights |= _weights(index, directions)
    text = _signature(stack, dtype, with_lengths, with_initial_state)
    nodes = _nodes(stack, with_lengths, with_initial_state)
    model = parser.parse_model("\n".join([*text, "{", *nodes, "}"]))
    for name, array in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.checker.check_model(model, full_check=True)
    return model


def _signature(
    stack: list[tuple[GRUParams, ...]], dtype: str, with_lengths: bool, with_initial_state: bool
) -> list[str]:
    """The header of the model, in ONNX's textual syntax."""
    first, num_directions = stack[0][0], len(stack[0])
    states = f"{dtype}[{len(stack) * num_directions},B,{first.hidden_size}]"
    inputs = [f"{dtype}[T,B,{first.input_size}] xs"]
    inputs += ["int32[B] lengths"] if with_lengths else []
    inputs += [f"{states} h0"] if with_initial_state else []
    hs = f"{dtype}[T,B,{num_directions * first.hidden_size}] hs"
    return [
        f'<ir_version: {IR_VERSION}, opset_import: ["": {OPSET}], producer_name: "grujax">',
        f"gru ({', '.join(inputs)}) => ({hs}, {states} h_last)",
    ]


def _nodes(
    stack: list[tuple[GRUParams, ...]], with_lengths: bool, with_initial_state: bool
) -> list[str]:
    """The nodes in ONNX's textual syntax."""
    num_directions, hidden_size = len(stack[0]), stack[0][0].hidden_size
    h0 = [f"h0_{index}" if with_initial_state else "" for index in range(len(stack))]
    lengths = "lengths" if with_lengths else ""
    nodes = []
    if with_initial_state:
        sizes = ", ".join([str(num_directions)] * len(stack))
        nodes += [
            f"h0_sizes = Constant <value = int64[{len(stack)}] {{{sizes}}}> ()",
            f"{', '.join(h0)} = Split <axis = 0> (h0, h0_sizes)",
        ]
    xs = "xs"
    for i, directions in enumerate(stack):
        hs = "hs" if i == len(stack) - 1 else f"hs_{i}"
        direction = "forward" if num_directions == 1 else "bidirectional"
        nodes += [
            f"Y_{i}, h_last_{i} = GRU <hidden_size = {hidden_size}, "  # Y [T, D, B, H]
            f'direction = "{direction}", linear_before_reset = {int(directions[0].reset_after)}> '
            f"({xs}, W_{i}, R_{i}, B_{i}, {lengths}, {h0[i]})",
            f"Y_{i}_by_row = Transpose <perm = [0, 2, 1, 3]> (Y_{i})",
            f"{hs} = Reshape (Y_{i}_by_row, hs_shape)",
        ]
        xs = hs
    shape = f"hs_shape = Constant <value = int64[3] {{0, 0, {num_directions * hidden_size}}}> ()"
    states = ", ".join(f"h_last_{index}" for index in range(len(stack)))
    if not (with_initial_state and with_lengths):
        return [shape, *nodes, f"h_last = Concat <axis = 0> ({states})"]
    return [
        shape,
        *nodes,
        f"h_ran = Concat <axis = 0> ({states})",
        # The last state of a row without steps is h0; onnxruntime's GRU node returns zero.
        "zero = Constant <value = int32 {0}> ()",
        "last_axis = Constant <value = int64[1] {-1}> ()",
        "empty = Equal (lengths, zero)",
        "empty_rows = Unsqueeze (empty, last_axis)",
        "h_last = Where (empty_rows, h0, h_ran)",
    ]


def _weights(index: int, directions: tuple[GRUParams, ...]) -> dict[str, np.ndarray]:
    """W `[D, 3H, I]`, R `[D, 3H, H]` and B `[D, 6H]` for one layer."""
    forms = [params.reset_after for params in directions]
    if len(set(forms)) > 1:
        raise ValueError(
            f"A bidirectional GRU node has one reset form; `layers[{index}]` has `reset_after` "
            f"{forms[0]} forward and {forms[1]} backward."
        )
    layout = ONNX._replace(reset_after=forms[0])
    cells = [write_cell(layout, params) for params in directions]
    return {f"{name}_{index}": np.stack([cell[name] for cell in cells]) for name in cells[0]}


def _dtype_of(stack: list[tuple[GRUParams, ...]]) -> str:
    """The ONNX name of the layers' common dtype; raises ValueError if there is none."""
    names = {
        jnp.result_type(leaf).name
        for directions in stack
        for params in directions
        for leaf in (params.w_x, params.w_h, params.b_x, params.b_hn)
    }
    if len(names) > 1 or not names <= set(_DTYPES):
        raise ValueError(
            f"`layers` must be all float32 or all float16, the dtypes of onnxruntime's GRU, got "
            f"{', '.join(sorted(names))}. Cast them first: "
            "`jax.tree.map(lambda leaf: leaf.astype('float32'), layers)`."
        )
    return _DTYPES[names.pop()]
