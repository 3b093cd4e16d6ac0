"""GRUs over time as NNX modules."""

from __future__ import annotations

from functools import partial
from typing import Any, TypedDict, Unpack
from typing import cast as cast_type

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from grujax.batch_major import cast, or_learned, run_batch_major
from grujax.layers import Layer, Merge, bidirectional_gru, output_size, stacked_gru
from grujax.nnx.cell import CellOptions, GRUCell
from grujax.params import GRUParams
from grujax.regularizers import is_off
from grujax.sequence import gru


class LayerOptions(TypedDict, total=False):
    """What every module over time takes, see `GRU`."""

    zoneout: float
    recurrent_dropout: float
    learned_h0: bool
    deterministic: bool
    stop_gradient_every: int | None
    implementation: str | None


class Options(CellOptions, LayerOptions, total=False):
    """What every module over time takes, for itself and for its cells."""


class _GRULayer(nnx.Module):
    """What the modules over time have in common: `LayerOptions`."""

    def _set_options(self, rngs: nnx.Rngs, options: Options, *other_rates: float) -> None:
        self.dtype = options.get("dtype")
        self.zoneout = options.get("zoneout", 0.0)
        self.recurrent_dropout = options.get("recurrent_dropout", 0.0)
        self.deterministic = options.get("deterministic", False)
        self.stop_gradient_every = options.get("stop_gradient_every")
        self.implementation = options.get("implementation")
        rates = (self.zoneout, self.recurrent_dropout, *other_rates)
        draws = not all(is_off(rate) for rate in rates)
        self.rngs = rngs.dropout.fork() if draws else nnx.data(None)

    def _options(self, deterministic: bool | None) -> dict[str, Any]:
        """What the functional core takes beside parameters and data."""
        deterministic = self.deterministic if deterministic is None else deterministic
        return {
            "zoneout": self.zoneout,
            "recurrent_dropout": self.recurrent_dropout,
            "key": None if deterministic or self.rngs is None else self.rngs(),
            "stop_gradient_every": self.stop_gradient_every,
            "implementation": self.implementation,
        }


class GRU(_GRULayer):
    """A GRU over time: `(xs [B, T, I], h0, lengths=, resets=) -> (h_last [B, H], hs [B, T, H])`.

    Arguments and results are those of `grujax.gru`, batch-major: `resets` is `[B, T]`. As with
    `nnx.Dropout`, zoneout and recurrent dropout are in training mode after construction and
    `train()`, in evaluation mode after `eval()`.

    Args:
        in_features: I, the input size.
        features: H, the hidden size.
        reverse: walk from each row's last existing step to the first.
        rngs: the source of random keys for the parameters, and, as a stream "dropout", for
            zoneout and recurrent dropout.
        options: those of `GRUCell` for the cell, and

            - `zoneout`, `recurrent_dropout`: the rates, see `grujax.gru`.
            - `learned_h0`: whether the initial state is a parameter, `h0 [H]` beside `cell`, zero
              at first; it is used where a call gives none.
            - `deterministic`: whether in evaluation mode; `train()` and `eval()` set it.
            - `stop_gradient_every`, `implementation`: see `grujax.gru`.

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
        rngs: nnx.Rngs,
        **options: Unpack[Options],
    ):
        self.cell = GRUCell(in_features, features, rngs=rngs, **_cell_options(options))
        self.h0: nnx.Param[Array] | None = nnx.data(None)
        if options.get("learned_h0", False):
            self.h0 = nnx.Param(jnp.zeros(features, self.cell.param_dtype))
        self.reverse = reverse
        self._set_options(rngs, options)

    def __call__(
        self,
        xs: ArrayLike,
        h0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        reset_state: ArrayLike | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Array, Array]:
        states = or_learned(h0, self.learned_h0()), reset_state
        params, xs, (h0, reset_state) = cast(self.dtype, self.gru_params(), xs, states)
        options = self._options(deterministic)
        run = partial(gru, params, reset_state=reset_state, reverse=self.reverse, **options)
        return run_batch_major(run, xs, h0, lengths=lengths, resets=resets)

    def gru_params(self) -> GRUParams:
        """The functional parameters."""
        return self.cell.gru_params()

    def learned_h0(self) -> Array | None:
        """The learned initial state `[H]`, or None."""
        return None if self.h0 is None else jnp.asarray(self.h0)


class BidirectionalGRU(_GRULayer):
    """Two GRUs, one in each direction: see `grujax.bidirectional_gru`, batch-major.

    Args:
        in_features: I, the input size.
        features: H, the hidden size of each direction.
        merge: "concat", "sum", "mean", "mul", or a function of both directions' `hs`.
        rngs: see `GRU`.
        options: see `GRU`.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        merge: Merge = "concat",
        rngs: nnx.Rngs,
        **options: Unpack[Options],
    ):
        inner = _inner_options(options)
        self.forward_rnn = GRU(in_features, features, rngs=rngs, **inner)
        self.backward_rnn = GRU(in_features, features, rngs=rngs, **inner)
        self.merge = merge
        self._set_options(rngs, options)

    def __call__(
        self,
        xs: ArrayLike,
        h0: tuple[ArrayLike | None, ArrayLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        deterministic: bool | None = None,
    ) -> tuple[tuple[Array, Array], Array]:
        states = or_learned(h0, self.learned_h0())
        params, xs, states = cast(self.dtype, self.gru_params(), xs, states)
        run = partial(bidirectional_gru, params, merge=self.merge, **self._options(deterministic))
        return run_batch_major(run, xs, states, lengths=lengths, resets=resets)

    def gru_params(self) -> tuple[GRUParams, GRUParams]:
        """The functional parameters, (forward, backward)."""
        return self.forward_rnn.gru_params(), self.backward_rnn.gru_params()

    def learned_h0(self) -> tuple[Array | None, Array | None]:
        """The learned initial states, (forward, backward), or None each."""
        return self.forward_rnn.learned_h0(), self.backward_rnn.learned_h0()


class StackedGRU(_GRULayer):
    """GRU layers one above the other: see `grujax.stacked_gru`, batch-major.

    Args:
        in_features: I, the input size.
        features: H, the hidden size of each layer and direction.
        num_layers: the number of layers.
        bidirectional: whether each layer has two directions.
        merge: how these become one, see `BidirectionalGRU`.
        dropout: the rate at which the inputs of every layer but the first are dropped.
        residual: add the input of every layer but the first to its output.
        rngs: see `GRU`.
        options: see `GRU`.
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
        rngs: nnx.Rngs,
        **options: Unpack[Options],
    ):
        layers: list[GRU | BidirectionalGRU] = []
        layer = BidirectionalGRU if bidirectional else GRU
        for _ in range(num_layers):
            layers.append(layer(in_features, features, rngs=rngs, **_inner_options(options)))
            in_features = output_size(features, bidirectional, merge)
        self.layers = nnx.List(layers)
        self.merge = merge
        self.dropout = dropout
        self.residual = residual
        self._set_options(rngs, options, dropout)

    def __call__(
        self,
        xs: ArrayLike,
        h0: Any = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        reset_state: Any = None,
        deterministic: bool | None = None,
    ) -> tuple[list, Array]:
        states = or_learned(h0, self.learned_h0()), reset_state
        layers, xs, (h0, reset_state) = cast(self.dtype, self.gru_params(), xs, states)
        run = partial(
            stacked_gru,
            layers,
            reset_state=reset_state,
            dropout=self.dropout,
            residual=self.residual,
            merge=self.merge,
            **self._options(deterministic),
        )
        return run_batch_major(run, xs, h0, lengths=lengths, resets=resets)

    def gru_params(self) -> list[Layer]:
        """The functional parameters, a list of layers."""
        return [layer.gru_params() for layer in self.layers]

    def learned_h0(self) -> list[Any]:
        """The learned initial state of each layer, or None; a pair where it has two directions."""
        return [layer.learned_h0() for layer in self.layers]


def _cell_options(options: Options) -> CellOptions:
    return cast_type(
        CellOptions,
        {name: value for name, value in options.items() if name in CellOptions.__annotations__},
    )


def _inner_options(options: Options) -> Options:
    """What the layers inside a module are made with: it runs and regularises them itself."""
    inner = Options(**_cell_options(options))
    inner["learned_h0"] = options.get("learned_h0", False)
    return inner
