"""One step of a GRU as an NNX module."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn import initializers
from jax.typing import ArrayLike, DTypeLike

from grujax.checks import check_callable
from grujax.flax_common import (
    carry_shape,
    cast_carry,
    check_arguments,
    draw_carry,
    run_cell,
)
from grujax.meshes import gather
from grujax.nnx.options import check_rngs
from grujax.params import GRUParams, Initializer, check_same_partitioning, draw, draw_gates


class GRUCell(nnx.RNNCellBase):
    """One step of a GRU: `cell(carry, inputs) -> (carry, output)`.

    Works inside `nnx.RNN`. `grujax.nnx.GRU` runs the same parameters over time, and is faster.

    Args:
        in_features: I, the input size.
        features: H, the hidden size.
        reset_after: the variant of the candidate, see `grujax.GRUParams`.
        recurrent_bias: whether there is a parameter `b_hn`; without it the bias is zero.
        dtype: the dtype of the computation; None promotes inputs and parameters.
        param_dtype: the dtype of the parameters.
        kernel_init: initializes the input weights `[I, H]` of each gate.
        recurrent_kernel_init: initializes the recurrent weights `[H, H]` of each gate.
        bias_init: initializes the biases `[H]`, including `b_hn`.
        update_bias_init: initializes the update gate's bias; `bias_init` if None.
        carry_dtype: the dtype of the carry that comes back, so that a float32 carry of a loop works
            with a `dtype` of bfloat16; None is the dtype of the outputs. The step itself computes
            in `dtype`.
        rngs: the source of random keys for the parameters.

    Raises:
        ValueError: if an argument is not what it must be.

    Example:
        >>> from flax import nnx
        >>> cell = GRUCell(8, 16, rngs=nnx.Rngs(0))
        >>> x = jnp.ones((4, 8))
        >>> h, output = cell(cell.initialize_carry(x.shape), x)
        >>> h.shape
        (4, 16)

    Reference:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078; `grujax.gru_cell` has the equations.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        reset_after: bool = True,
        recurrent_bias: bool = True,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        kernel_init: Initializer = initializers.lecun_normal(),
        recurrent_kernel_init: Initializer = initializers.orthogonal(),
        bias_init: Initializer = initializers.zeros,
        update_bias_init: Initializer | None = None,
        carry_dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        checked = check_arguments(
            {
                "in_features": in_features,
                "features": features,
                "reset_after": reset_after,
                "recurrent_bias": recurrent_bias,
                "dtype": dtype,
                "param_dtype": param_dtype,
                "kernel_init": kernel_init,
                "recurrent_kernel_init": recurrent_kernel_init,
                "bias_init": bias_init,
                "update_bias_init": update_bias_init,
                "carry_dtype": carry_dtype,
            }
        )
        check_rngs(rngs, "params")
        in_features, features = checked["in_features"], checked["features"]
        self.in_features = in_features
        self.features = features
        self.reset_after = checked["reset_after"]
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.carry_dtype = carry_dtype
        self.dense_i = nnx.Linear(
            in_features,
            3 * features,
            param_dtype=param_dtype,
            kernel_init=partial(_draw_packed, (kernel_init,) * 3),
            bias_init=partial(_draw_packed, (bias_init, update_bias_init or bias_init, bias_init)),
            rngs=rngs,
        )
        self.dense_h = nnx.Linear(
            features,
            3 * features,
            use_bias=False,
            param_dtype=param_dtype,
            kernel_init=partial(_draw_packed, (recurrent_kernel_init,) * 3),
            rngs=rngs,
        )
        self.b_hn: nnx.Param[Array] | None = nnx.data(None)
        if checked["recurrent_bias"]:
            (value_init,), boxes = _unbox([bias_init])
            b_hn = draw(value_init, rngs.params(), (features,), param_dtype)
            self.b_hn = nnx.Param(_box(boxes, b_hn))

    def __call__(self, carry: Array, inputs: ArrayLike) -> tuple[Array, Array]:
        """Runs one step.

        Args:
            carry: `[B, H]`, the state before the step; B stands for any number of batch axes.
            inputs: `[B, I]`.

        Returns:
            `(h, h)`, the new state `[B, H]` as carry and as output, in `dtype`, or, if that is
            None, in the promoted dtype of `inputs` and the parameters; the carry in `carry_dtype`.

        Raises:
            ValueError: if a shape or dtype does not match.
        """
        h = run_cell(self.dtype, read_params(self), carry, inputs)
        return cast_carry(self.carry_dtype, h), h

    def gru_params(self) -> GRUParams:
        """Returns the functional parameters, with `w_x [3, I, H]` and `w_h [3, H, H]`."""
        return read_params(self)

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        carry_init: Initializer | None = None,
    ) -> Array:
        """Returns the initial state.

        Args:
            input_shape: the shape of the inputs, `[B, I]`.
            rngs: the source of the random key for `carry_init`; its stream "carry" if several.
            carry_init: initializes the state; None means zeros.

        Returns:
            `[B, H]` in the first of `carry_dtype`, `dtype` and `param_dtype` that is not None.

        Raises:
            ValueError: if there is a `carry_init` but no `rngs`, or an argument is not what it must
                be.
        """
        shape = carry_shape(input_shape, self.features)
        dtype = self.carry_dtype or self.dtype or self.param_dtype
        if rngs is not None and not isinstance(rngs, nnx.RngStream):
            check_rngs(rngs, *["carry"] * (carry_init is not None))
        if carry_init is None:
            return jnp.zeros(shape, dtype)
        check_callable("carry_init", carry_init, "(key, shape, dtype)")
        if rngs is None:
            raise ValueError("`carry_init` needs `rngs` to draw from.")
        key = rngs.carry() if isinstance(rngs, nnx.Rngs) else rngs()
        return draw_carry(carry_init, key, shape, dtype)

    @property
    def hn_bias(self) -> nnx.Param[Array] | None:
        """`b_hn`, by the name that newer versions of Flax give it: their trees load as they are."""
        return self.b_hn

    @hn_bias.setter
    def hn_bias(self, value: Any) -> None:
        if self.b_hn is None:
            raise ValueError("`hn_bias` is given, but the cell has `recurrent_bias=False`.")
        self.b_hn = value if isinstance(value, nnx.Param) else nnx.Param(jnp.asarray(value))

    @property
    def num_feature_axes(self) -> int:
        """1: the inputs `[B, I]` have one feature axis. `nnx.RNN` reads it."""
        return 1


def read_params(cell: GRUCell) -> GRUParams:
    """The parameters of a cell. No method, which `nnx.tabulate` would list as a call."""
    b_x = _split_gates(jnp.asarray(cell.dense_i.bias))
    return GRUParams(
        w_x=_split_gates(jnp.asarray(cell.dense_i.kernel)),
        w_h=_split_gates(jnp.asarray(cell.dense_h.kernel)),
        b_x=b_x,
        b_hn=jnp.zeros_like(b_x[2]) if cell.b_hn is None else jnp.asarray(cell.b_hn),
        reset_after=cell.reset_after,
    )


def _draw_packed(
    gate_initializers: Sequence[Initializer], key: Array, shape: tuple[int, ...], dtype: DTypeLike
) -> Any:
    """Draws `[..., H]` for each gate separately, and joins them to `[..., 3H]`."""
    gate_shape = (*shape[:-1], shape[-1] // 3)
    value_inits, boxes = _unbox(gate_initializers)
    return _box(
        boxes, jnp.concatenate(list(draw_gates(value_inits, key, gate_shape, dtype)), axis=-1)
    )


def _unbox(
    initializers: Sequence[Initializer],
) -> tuple[list[Initializer], list[nnx.VariableMetadata]]:
    """Initializers that draw arrays, and the list that gets the boxes of those that draw boxes.

    `nnx.with_partitioning` and `nnx.with_metadata` make initializers whose values have metadata.
    """
    boxes: list[nnx.VariableMetadata] = []

    def draw_value(initializer: Initializer, *arguments: Any) -> Array:
        drawn: Any = initializer(*arguments)
        if not isinstance(drawn, nnx.VariableMetadata):
            return drawn
        boxes.append(drawn)
        return drawn.raw_value

    return [partial(draw_value, initializer) for initializer in initializers], boxes


def _box(boxes: list[nnx.VariableMetadata], array: Array) -> Any:
    """`array` with the metadata of the boxes, from which `nnx.Param` takes it."""
    empty = [dataclasses.replace(box, raw_value=None) for box in boxes]
    check_same_partitioning(map(repr, empty))
    return dataclasses.replace(empty[0], raw_value=array) if empty else array


def _split_gates(packed: Array) -> Array:
    """`[..., 3H] -> [3, ..., H]`."""
    return jnp.stack(jnp.split(gather(packed), 3, axis=-1))
