"""Flax NNX modules: thin, batch-major views of the functional GRU.

`GRUCell`, `GRU` and `BidirectionalGRU` keep the parameter trees of `flax.nnx.GRUCell`,
`nnx.RNN(nnx.GRUCell(...))` and `nnx.Bidirectional` of two of these, plus the candidate's recurrent
bias `b_hn`, which Flax's cell leaves out. `recurrent_bias=False` leaves it out here too, so that a
checkpoint saved by Flax restores strictly. The activations are fixed (sigmoid and tanh).

Every module has a method `gru_params()` that returns its parameters as the functional core takes
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypedDict, Unpack

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn import initializers
from jax.typing import ArrayLike, DTypeLike

from grujax.batch_major import cast, run_batch_major
from grujax.cell import gru_cell
from grujax.layers import Layer, Merge, bidirectional_gru, output_size, stacked_gru
from grujax.params import GRUParams, Initializer, draw, draw_gates
from grujax.sequence import gru


class CellOptions(TypedDict, total=False):
    """What every module here hands on to its cells, see `GRUCell`."""

    reset_after: bool
    recurrent_bias: bool
    dtype: DTypeLike | None
    param_dtype: DTypeLike
    kernel_init: Initializer
    recurrent_kernel_init: Initializer
    bias_init: Initializer
    update_bias_init: Initializer | None


class GRUCell(nnx.RNNCellBase):
    """One step: `cell(carry [B, H], inputs [B, I]) -> (carry, output)`, both the new state.

    Works inside `nnx.RNN`; `GRU` runs the same parameters over time faster.

    Args:
        in_features: I, the input size.
        features: H, the hidden size.
        reset_after: the variant of the candidate, see `grujax.GRUParams`.
        recurrent_bias: whether there is a parameter `b_hn`; without it the bias is zero.
        dtype: the dtype of the computation; None promotes inputs and parameters.
        param_dtype: the dtype of the parameters.
        kernel_init: for the input weights of each gate.
        recurrent_kernel_init: for the recurrent weights of each gate.
        bias_init: for the biases of each gate, and `b_hn`.
        update_bias_init: for the update gate's bias alone; `bias_init` if None.
        rngs: the source of random keys for the parameters.

    Example:
        >>> cell = GRUCell(8, 16, rngs=nnx.Rngs(0))
        >>> x = jnp.ones((4, 8))
        >>> h, output = cell(cell.initialize_carry(x.shape), x)
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
        rngs: nnx.Rngs,
    ):
        self.in_features = in_features
        self.features = features
        self.reset_after = reset_after
        self.dtype = dtype
        self.param_dtype = param_dtype
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
        if recurrent_bias:
            self.b_hn = nnx.Param(draw(bias_init, rngs.params(), (features,), param_dtype))

    def __call__(self, carry: Array, inputs: ArrayLike) -> tuple[Array, Array]:
        h = gru_cell(*cast(self.dtype, self.gru_params(), carry, inputs))
        return h, h

    def gru_params(self) -> GRUParams:
        """The functional parameters."""
        b_x = _split_gates(jnp.asarray(self.dense_i.bias))
        return GRUParams(
            w_x=_split_gates(jnp.asarray(self.dense_i.kernel)),
            w_h=_split_gates(jnp.asarray(self.dense_h.kernel)),
            b_x=b_x,
            b_hn=jnp.zeros_like(b_x[2]) if self.b_hn is None else jnp.asarray(self.b_hn),
            reset_after=self.reset_after,
        )

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        carry_init: Initializer | None = None,
    ) -> Array:
        """`[B, H]`, the initial state for inputs of shape `[B, I]`: zeros, or from `carry_init`."""
        shape = (*input_shape[:-1], self.features)
        dtype = self.param_dtype if self.dtype is None else self.dtype
        if carry_init is None:
            return jnp.zeros(shape, dtype)
        if rngs is None:
            raise ValueError("`carry_init` needs `rngs` to draw from.")
        return carry_init(rngs.carry() if isinstance(rngs, nnx.Rngs) else rngs(), shape, dtype)

    @property
    def num_feature_axes(self) -> int:
        return 1


class GRU(nnx.Module):
    """A GRU over time: `(xs [B, T, I], h0, lengths=, resets=) -> (h_last [B, H], hs [B, T, H])`.

    Arguments and results are those of `grujax.gru`, batch-major: `resets` is `[B, T]`.

    Args:
        in_features: I, the input size.
        features: H, the hidden size.
        reverse: walk from each row's last existing step to the first.
        implementation: see `grujax.gru`.
        rngs: the source of random keys for the parameters.
        cell_options: see `GRUCell`.

    Example:
        >>> layer = GRU(8, 16, rngs=nnx.Rngs(0))
        >>> h_last, hs = layer(jnp.ones((4, 20, 8)), lengths=jnp.array([20, 3, 0, 7]))
        >>> hs.shape
        (4, 20, 16)
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        reverse: bool = False,
        implementation: str | None = None,
        rngs: nnx.Rngs,
        **cell_options: Unpack[CellOptions],
    ):
        self.cell = GRUCell(in_features, features, rngs=rngs, **cell_options)
        self.reverse = reverse
        self.implementation = implementation

    def __call__(
        self,
        xs: ArrayLike,
        h0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
    ) -> tuple[Array, Array]:
        params, xs, h0 = cast(self.cell.dtype, self.gru_params(), xs, h0)
        run = partial(gru, params, reverse=self.reverse, implementation=self.implementation)
        return run_batch_major(run, xs, h0, lengths, resets)

    def gru_params(self) -> GRUParams:
        """The functional parameters."""
        return self.cell.gru_params()


class BidirectionalGRU(nnx.Module):
    """Two GRUs, one in each direction: see `grujax.bidirectional_gru`, batch-major.

    Args:
        in_features: I, the input size.
        features: H, the hidden size of each direction.
        merge: "concat", "sum", "mean", "mul", or a function of both directions' `hs`.
        implementation: see `grujax.gru`.
        rngs: the source of random keys for the parameters.
        cell_options: see `GRUCell`.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        merge: Merge = "concat",
        implementation: str | None = None,
        rngs: nnx.Rngs,
        **cell_options: Unpack[CellOptions],
    ):
        self.forward_rnn = GRU(in_features, features, rngs=rngs, **cell_options)
        self.backward_rnn = GRU(in_features, features, rngs=rngs, **cell_options)
        self.merge = merge
        self.implementation = implementation

    def __call__(
        self,
        xs: ArrayLike,
        h0: tuple[ArrayLike | None, ArrayLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
    ) -> tuple[tuple[Array, Array], Array]:
        params, xs, h0 = cast(self.forward_rnn.cell.dtype, self.gru_params(), xs, h0)
        run = partial(
            bidirectional_gru, params, merge=self.merge, implementation=self.implementation
        )
        return run_batch_major(run, xs, h0, lengths, resets)

    def gru_params(self) -> tuple[GRUParams, GRUParams]:
        """The functional parameters, (forward, backward)."""
        return self.forward_rnn.gru_params(), self.backward_rnn.gru_params()


class StackedGRU(nnx.Module):
    """GRU layers one above the other: see `grujax.stacked_gru`, batch-major.

    As with `nnx.Dropout`, dropout acts after construction and `train()`, and not after `eval()`.

    Args:
        in_features: I, the input size.
        features: H, the hidden size of each layer and direction.
        num_layers: the number of layers.
        bidirectional: whether each layer has two directions.
        merge: how these become one, see `BidirectionalGRU`.
        dropout: the rate at which the inputs of every layer but the first are dropped.
        residual: add the input of every layer but the first to its output.
        deterministic: whether dropout is off; `train()` and `eval()` set it.
        implementation: see `grujax.gru`.
        rngs: the source of random keys for the parameters, and, as a stream "dropout", for dropout.
        cell_options: see `GRUCell`.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        merge: Merge = "concat",
        dropout: float = 0.0,
        residual: bool = False,
        deterministic: bool = False,
        implementation: str | None = None,
        rngs: nnx.Rngs,
        **cell_options: Unpack[CellOptions],
    ):
        layers: list[GRU | BidirectionalGRU] = []
        layer = BidirectionalGRU if bidirectional else GRU
        for _ in range(num_layers):
            layers.append(layer(in_features, features, rngs=rngs, **cell_options))
            in_features = output_size(features, bidirectional, merge)
        self.layers = nnx.List(layers)
        self.merge = merge
        self.dropout = dropout
        self.residual = residual
        self.deterministic = deterministic
        self.implementation = implementation
        self.dtype = cell_options.get("dtype")
        self.rngs = rngs.dropout.fork() if dropout > 0 else nnx.data(None)

    def __call__(
        self,
        xs: ArrayLike,
        h0: Any = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        deterministic: bool | None = None,
    ) -> tuple[list, Array]:
        layers, xs, h0 = cast(self.dtype, self.gru_params(), xs, h0)
        deterministic = self.deterministic if deterministic is None else deterministic
        run = partial(
            stacked_gru,
            layers,
            dropout=self.dropout,
            residual=self.residual,
            key=None if deterministic or self.rngs is None else self.rngs(),
            merge=self.merge,
            implementation=self.implementation,
        )
        return run_batch_major(run, xs, h0, lengths, resets)

    def gru_params(self) -> list[Layer]:
        """The functional parameters, a list of layers."""
        return [layer.gru_params() for layer in self.layers]


def _draw_packed(
    gate_initializers: Sequence[Initializer], key: Array, shape: tuple[int, ...], dtype: DTypeLike
) -> Array:
    """Draws `[..., 3H]`, each gate's `[..., H]` by itself."""
    gate_shape = (*shape[:-1], shape[-1] // 3)
    return jnp.concatenate(list(draw_gates(gate_initializers, key, gate_shape, dtype)), axis=-1)


def _split_gates(packed: Array) -> Array:
    """`[..., 3H] -> [3, ..., H]`."""
    return jnp.stack(jnp.split(packed, 3, axis=-1))
