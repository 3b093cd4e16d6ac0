"""One step of a GRU as a Linen module, and the fields that every module has."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import ArrayLike, DTypeLike

from grujax import meshes
from grujax.checks import check_integer, check_key
from grujax.flax_common import (
    as_inputs,
    carry_shape,
    cast_carry,
    check_arguments,
    draw_carry,
    run_cell,
)
from grujax.params import GRUParams, Initializer, draw


class CellFields(nn.Module):
    """The fields that every module has; `GRUCell` documents them."""

    features: int
    reset_after: bool = True
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32
    kernel_init: Initializer = initializers.lecun_normal()
    recurrent_kernel_init: Initializer = initializers.orthogonal()
    bias_init: Initializer = initializers.zeros
    update_bias_init: Initializer | None = None
    carry_dtype: DTypeLike | None = None

    def __post_init__(self) -> None:
        """Checks the fields before Flax registers the module."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in check_arguments(fields).items():
            object.__setattr__(self, name, value)
        super().__post_init__()

    @nn.nowrap
    def _fields(self, of: type) -> dict[str, Any]:
        """The values of the fields of `of`, a class that this module's is derived from."""
        names = (field.name for field in dataclasses.fields(of))
        return {name: getattr(self, name) for name in names if name not in ("parent", "name")}


class GRUCell(CellFields, nn.RNNCellBase):
    """One step of a GRU: `cell(carry, inputs) -> (carry, output)`.

    Works inside `nn.RNN`. `grujax.linen.GRU` runs the same parameters over time, and is faster.

    Attributes:
        features: H, the hidden size.
        reset_after: the variant of the candidate, see `grujax.GRUParams`.
        dtype: the dtype of the computation; None promotes inputs and parameters.
        param_dtype: the dtype of the parameters.
        kernel_init: initializes the input weights `[I, H]` of each gate.
        recurrent_kernel_init: initializes the recurrent weights `[H, H]` of each gate.
        bias_init: initializes the biases `[H]`.
        update_bias_init: initializes the update gate's bias; `bias_init` if None.
        carry_dtype: the dtype of the carry that comes back, so that a float32 carry of a loop works
            with a `dtype` of bfloat16; None is the dtype of the outputs. The step itself computes
            in `dtype`.
        carry_init: initializes the carry, in `initialize_carry`.

    Example:
        >>> import jax
        >>> cell = GRUCell(features=16)
        >>> x = jnp.ones((4, 8))
        >>> h = cell.initialize_carry(jax.random.key(0), x.shape)
        >>> variables = cell.init(jax.random.key(1), h, x)
        >>> h, output = cell.apply(variables, h, x)
        >>> h.shape
        (4, 16)

    Reference:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078; `grujax.gru_cell` has the equations.
    """

    carry_init: Initializer = initializers.zeros

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
        inputs = as_inputs("inputs", inputs, "[B, I] or [I]")
        params = self.gru_params(inputs.shape[-1])
        h = run_cell(self.dtype, params, carry, inputs)
        return cast_carry(self.carry_dtype, h), h

    @nn.compact
    def gru_params(self, input_size: int) -> GRUParams:
        """Returns the functional parameters.

        Args:
            input_size: I, a positive integer.

        Returns:
            `GRUParams` in `param_dtype`, with `w_x [3, I, H]` and `w_h [3, H, H]`.

        Raises:
            ValueError: if `input_size` is not a positive integer, or the variables are those of
                another size.
        """
        input_size = check_integer("input_size", input_size)

        def dense(name: str, kernel_init: Initializer, use_bias: bool) -> _Dense:
            bias_init = self.bias_init
            if name == "iz" and self.update_bias_init is not None:
                bias_init = self.update_bias_init
            return _Dense(
                self.features, use_bias, kernel_init, bias_init, self.param_dtype, name=name
            )

        inputs = [dense(f"i{gate}", self.kernel_init, True).params(input_size) for gate in "rzn"]
        recurrent = [
            dense(f"h{gate}", self.recurrent_kernel_init, gate == "n").params(self.features)
            for gate in "rzn"
        ]
        return GRUParams(
            w_x=meshes.stack([gate["kernel"] for gate in inputs]),
            w_h=meshes.stack([gate["kernel"] for gate in recurrent]),
            b_x=meshes.stack([gate["bias"] for gate in inputs]),
            b_hn=recurrent[2]["bias"],
            reset_after=self.reset_after,
        )

    @nn.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> Array:
        """Returns the initial state.

        Args:
            rng: a JAX random key for `carry_init`.
            input_shape: the shape of the inputs, `[B, I]`.

        Returns:
            `[B, H]` in the first of `carry_dtype`, `dtype` and `param_dtype` that is not None.

        Raises:
            ValueError: if `rng` is not a random key, or `input_shape` is not a shape.
        """
        shape = carry_shape(input_shape, self.features)
        dtype = self.carry_dtype or self.dtype or self.param_dtype
        return draw_carry(self.carry_init, check_key("rng", rng), shape, dtype)

    @property
    def num_feature_axes(self) -> int:
        """1: the inputs `[B, I]` have one feature axis. `nn.RNN` reads it."""
        return 1


class _Dense(nn.Module):
    """The parameters of a `flax.linen.Dense`, without its arithmetic."""

    features: int
    use_bias: bool
    kernel_init: Initializer
    bias_init: Initializer
    param_dtype: DTypeLike

    @nn.compact
    def params(self, input_size: int) -> dict[str, Array]:  # no call, which Flax would capture
        params = {"kernel": self._param("kernel", self.kernel_init, (input_size, self.features))}
        if self.use_bias:
            params["bias"] = self._param("bias", self.bias_init, (self.features,))
        return params

    def _param(self, name: str, initializer: Initializer, shape: tuple[int, ...]) -> Array:
        """The parameter; raises ValueError if the variables hold one of another shape."""
        if self.has_variable("params", name):
            stored = getattr(nn.unbox(self.get_variable("params", name)), "shape", shape)
            if stored != shape:
                raise ValueError(
                    f"`{'/'.join((*self.path, name))}` has shape {list(stored)} in the variables, "
                    f"but these inputs and `features` need {list(shape)}."
                )
        return self.param(name, partial(draw, initializer), shape, self.param_dtype)
