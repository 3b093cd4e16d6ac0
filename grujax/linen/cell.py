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

from grujax.cell import gru_cell
from grujax.flax_common import cast_floating
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

    def _cell_fields(self) -> dict[str, Any]:
        names = (field.name for field in dataclasses.fields(CellFields))
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
            None, in the promoted dtype of `inputs` and the parameters.

        Raises:
            ValueError: if a shape or dtype does not match.
        """
        params = self.gru_params(jnp.shape(inputs)[-1])
        h = gru_cell(*cast_floating(self.dtype, params, carry, inputs))
        return h, h

    @nn.compact
    def gru_params(self, input_size: int) -> GRUParams:
        """Returns the functional parameters.

        Args:
            input_size: I.

        Returns:
            `GRUParams` in `param_dtype`, with `w_x [3, I, H]` and `w_h [3, H, H]`.
        """

        def dense(name: str, kernel_init: Initializer, use_bias: bool) -> _Dense:
            bias_init = self.bias_init
            if name == "iz" and self.update_bias_init is not None:
                bias_init = self.update_bias_init
            return _Dense(
                self.features, use_bias, kernel_init, bias_init, self.param_dtype, name=name
            )

        inputs = [dense(f"i{gate}", self.kernel_init, True)(input_size) for gate in "rzn"]
        recurrent = [
            dense(f"h{gate}", self.recurrent_kernel_init, gate == "n")(self.features)
            for gate in "rzn"
        ]
        return GRUParams(
            w_x=jnp.stack([gate["kernel"] for gate in inputs]),
            w_h=jnp.stack([gate["kernel"] for gate in recurrent]),
            b_x=jnp.stack([gate["bias"] for gate in inputs]),
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
            `[B, H]` in `dtype`, or in `param_dtype` if that is None.
        """
        dtype = self.param_dtype if self.dtype is None else self.dtype
        return self.carry_init(rng, (*input_shape[:-1], self.features), dtype)

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
    def __call__(self, input_size: int) -> dict[str, Array]:
        kernel_init = partial(draw, self.kernel_init)
        shape = (input_size, self.features)
        params = {"kernel": self.param("kernel", kernel_init, shape, self.param_dtype)}
        if self.use_bias:
            bias_init = partial(draw, self.bias_init)
            params["bias"] = self.param("bias", bias_init, (self.features,), self.param_dtype)
        return params
