"""Flax Linen modules: thin, batch-major views of the functional GRU.

`GRUCell`, `GRU` and `BidirectionalGRU` keep the parameter trees of `flax.linen.GRUCell`,
`nn.RNN(nn.GRUCell(...))` and `nn.Bidirectional` of two of these, and draw the same values from the
same key: a checkpoint that Flax saved loads here and gives the same outputs. The activations are
fixed (sigmoid and tanh).

Every module has a method `gru_params(input_size)` that returns its parameters as the functional
core takes them:

    params = module.apply(variables, input_size, method="gru_params")
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import ArrayLike, DTypeLike

from grujax.batch_major import cast, run_batch_major
from grujax.cell import gru_cell
from grujax.layers import Layer, Merge, bidirectional_gru, output_size, stacked_gru
from grujax.params import GRUParams, Initializer, draw
from grujax.sequence import gru


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


class _GRUModule(nn.Module):
    """The fields that every module here has.

    Attributes:
        features: H, the hidden size.
        reset_after: the variant of the candidate, see `grujax.GRUParams`.
        dtype: the dtype of the computation; None promotes inputs and parameters.
        param_dtype: the dtype of the parameters.
        kernel_init: for the input weights of each gate.
        recurrent_kernel_init: for the recurrent weights of each gate.
        bias_init: for the biases.
        update_bias_init: for the update gate's bias alone; `bias_init` if None.
    """

    features: int
    reset_after: bool = True
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32
    kernel_init: Initializer = initializers.lecun_normal()
    recurrent_kernel_init: Initializer = initializers.orthogonal()
    bias_init: Initializer = initializers.zeros
    update_bias_init: Initializer | None = None

    def _shared_fields(self) -> dict[str, Any]:
        return {
            "features": self.features,
            "reset_after": self.reset_after,
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
            "kernel_init": self.kernel_init,
            "recurrent_kernel_init": self.recurrent_kernel_init,
            "bias_init": self.bias_init,
            "update_bias_init": self.update_bias_init,
        }


class GRUCell(_GRUModule, nn.RNNCellBase):
    """One step: `cell(carry [B, H], inputs [B, I]) -> (carry, output)`, both the new state.

    Works inside `nn.RNN`; `GRU` runs the same parameters over time faster.

    Example:
        >>> import jax
        >>> cell = GRUCell(features=16)
        >>> x = jnp.ones((4, 8))
        >>> h = cell.initialize_carry(jax.random.key(0), x.shape)
        >>> variables = cell.init(jax.random.key(1), h, x)
        >>> h, output = cell.apply(variables, h, x)
    """

    carry_init: Initializer = initializers.zeros

    def __call__(self, carry: Array, inputs: ArrayLike) -> tuple[Array, Array]:
        params = self.gru_params(jnp.shape(inputs)[-1])
        h = gru_cell(*cast(self.dtype, params, carry, inputs))
        return h, h

    @nn.compact
    def gru_params(self, input_size: int) -> GRUParams:
        """The functional parameters for this input size."""

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
        """`[B, H]`, the initial state for inputs of shape `[B, I]`."""
        dtype = self.param_dtype if self.dtype is None else self.dtype
        return self.carry_init(rng, (*input_shape[:-1], self.features), dtype)

    @property
    def num_feature_axes(self) -> int:
        return 1


class GRU(_GRUModule):
    """A GRU over time: `(xs [B, T, I], h0, lengths=, resets=) -> (h_last [B, H], hs [B, T, H])`.

    Arguments and results are those of `grujax.gru`, batch-major: `resets` is `[B, T]`.

    Attributes:
        reverse: walk from each row's last existing step to the first.
        implementation: see `grujax.gru`.

    Example:
        >>> import jax
        >>> layer = GRU(features=16)
        >>> xs = jnp.ones((4, 20, 8))
        >>> variables = layer.init(jax.random.key(0), xs)
        >>> h_last, hs = layer.apply(variables, xs, lengths=jnp.array([20, 3, 0, 7]))
        >>> hs.shape
        (4, 20, 16)
    """

    reverse: bool = False
    implementation: str | None = None

    def __call__(
        self,
        xs: ArrayLike,
        h0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
    ) -> tuple[Array, Array]:
        params, xs, h0 = cast(self.dtype, self.gru_params(jnp.shape(xs)[-1]), xs, h0)
        run = partial(gru, params, reverse=self.reverse, implementation=self.implementation)
        return run_batch_major(run, xs, h0, lengths, resets)

    @nn.compact
    def gru_params(self, input_size: int) -> GRUParams:
        """The functional parameters for this input size."""
        return GRUCell(**self._shared_fields(), name="cell").gru_params(input_size)


class BidirectionalGRU(_GRUModule):
    """Two GRUs, one in each direction: see `grujax.bidirectional_gru`, batch-major.

    Attributes:
        merge: "concat", "sum", "mean", "mul", or a function of both directions' `hs`.
        implementation: see `grujax.gru`.
    """

    merge: Merge = "concat"
    implementation: str | None = None

    def __call__(
        self,
        xs: ArrayLike,
        h0: tuple[ArrayLike | None, ArrayLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
    ) -> tuple[tuple[Array, Array], Array]:
        params, xs, h0 = cast(self.dtype, self.gru_params(jnp.shape(xs)[-1]), xs, h0)
        run = partial(
            bidirectional_gru, params, merge=self.merge, implementation=self.implementation
        )
        return run_batch_major(run, xs, h0, lengths, resets)

    @nn.compact
    def gru_params(self, input_size: int) -> tuple[GRUParams, GRUParams]:
        """The functional parameters, (forward, backward), for this input size."""
        shared = self._shared_fields()
        forward = GRU(**shared, name="forward_rnn").gru_params(input_size)
        backward = GRU(**shared, name="backward_rnn").gru_params(input_size)
        return forward, backward


class StackedGRU(_GRUModule):
    """GRU layers one above the other: see `grujax.stacked_gru`, batch-major.

    With `dropout`, say in every call, or in the constructor, whether it is `deterministic`, and
    give `apply` an rng for the collection "dropout" when it is not.

    Attributes:
        num_layers: the number of layers, each of `features` units.
        bidirectional: whether each layer has two directions.
        merge: how these become one, see `BidirectionalGRU`.
        dropout: the rate at which the inputs of every layer but the first are dropped.
        residual: add the input of every layer but the first to its output.
        deterministic: whether dropout is off.
        implementation: see `grujax.gru`.
    """

    num_layers: int = 1
    bidirectional: bool = False
    merge: Merge = "concat"
    dropout: float = 0.0
    residual: bool = False
    deterministic: bool | None = None
    implementation: str | None = None

    def __call__(
        self,
        xs: ArrayLike,
        h0: Any = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        deterministic: bool | None = None,
    ) -> tuple[list, Array]:
        layers, xs, h0 = cast(self.dtype, self.gru_params(jnp.shape(xs)[-1]), xs, h0)
        key = None
        if self.dropout > 0 and not nn.merge_param(
            "deterministic", self.deterministic, deterministic
        ):
            key = self.make_rng("dropout")
        run = partial(
            stacked_gru,
            layers,
            dropout=self.dropout,
            residual=self.residual,
            key=key,
            merge=self.merge,
            implementation=self.implementation,
        )
        return run_batch_major(run, xs, h0, lengths, resets)

    @nn.compact
    def gru_params(self, input_size: int) -> list[Layer]:
        """The functional parameters, a list of layers, for this input size."""
        layers: list[Layer] = []
        for index in range(self.num_layers):
            name = f"layers_{index}"
            module = BidirectionalGRU if self.bidirectional else GRU
            layers.append(module(**self._shared_fields(), name=name).gru_params(input_size))
            input_size = output_size(self.features, self.bidirectional, self.merge)
        return layers
