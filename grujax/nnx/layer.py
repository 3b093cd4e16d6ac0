"""A GRU over time as an NNX module, and what every module over time has in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from grujax.flax_common import run_batch_major
from grujax.nnx.cell import GRUCell
from grujax.nnx.options import Options, select_cell_options
from grujax.params import GRUParams
from grujax.regularizers import is_off
from grujax.sequence import gru


class LayerBase(nnx.Module):
    """The options of every module over time, which `GRU` documents, and how it runs."""

    def gru_params(self) -> Any:
        """The functional parameters."""
        raise NotImplementedError

    def learned_h0(self) -> Any:
        """The learned initial states."""
        raise NotImplementedError

    def _set_options(self, rngs: nnx.Rngs, options: Options, *other_rates: float) -> None:
        self.dtype = options.get("dtype")
        self.zoneout = options.get("zoneout", 0.0)
        self.recurrent_dropout = options.get("recurrent_dropout", 0.0)
        self.deterministic = options.get("deterministic", False)
        self.stop_gradient_every = options.get("stop_gradient_every")
        self.implementation = options.get("implementation")
        rates = (self.zoneout, self.recurrent_dropout, *other_rates)
        draws_masks = not all(is_off(rate) for rate in rates)
        self.rngs = rngs.dropout.fork() if draws_masks else nnx.data(None)

    def _run(
        self,
        function: Callable[..., tuple[Any, Array]],
        xs: ArrayLike,
        h0: Any,
        *,
        lengths: ArrayLike | None,
        resets: ArrayLike | None,
        deterministic: bool | None,
        reset_state: Any = None,
    ) -> tuple[Any, Array]:
        """Calls a function of the core on `xs [B, T, I]` with this module's parameters."""
        run = partial(
            function,
            zoneout=self.zoneout,
            recurrent_dropout=self.recurrent_dropout,
            key=self._dropout_key(deterministic),
            stop_gradient_every=self.stop_gradient_every,
            implementation=self.implementation,
        )
        return run_batch_major(
            run,
            self.gru_params(),
            xs,
            h0,
            learned_h0=self.learned_h0(),
            lengths=lengths,
            resets=resets,
            reset_state=reset_state,
            dtype=self.dtype,
        )

    def _dropout_key(self, deterministic: bool | None) -> Array | None:
        deterministic = self.deterministic if deterministic is None else deterministic
        return None if deterministic or self.rngs is None else self.rngs()


class GRU(LayerBase):
    """A GRU over time, batch-major: `layer(xs [B, T, I]) -> (h_last [B, H], hs [B, T, H])`.

    As with `nnx.Dropout`, zoneout and recurrent dropout are in training mode after construction and
    after `train()`, and in evaluation mode after `eval()`.

    Args:
        in_features: I, the input size.
        features: H, the hidden size.
        reverse: whether to run each row from its last valid step to its first.
        rngs: the source of random keys for the parameters, and, with its stream "dropout", for
            zoneout and recurrent dropout.
        options: those of `GRUCell`, and

            - `zoneout`, `recurrent_dropout`: the rates, see `grujax.gru`.
            - `learned_h0`: whether the initial state is a parameter `h0 [H]`, initialized to
              zeros. It applies to calls without `h0`.
            - `deterministic`: whether in evaluation mode; `train()` and `eval()` set it.
            - `stop_gradient_every`, `implementation`: see `grujax.gru`.

    Example:
        >>> layer = GRU(8, 16, rngs=nnx.Rngs(0))
        >>> h_last, hs = layer(jnp.ones((4, 20, 8)), lengths=jnp.array([20, 3, 0, 7]))
        >>> h_last.shape, hs.shape
        ((4, 16), (4, 20, 16))

    Reference:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078; `grujax.gru_cell` has the equations.
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
        self.cell = GRUCell(in_features, features, rngs=rngs, **select_cell_options(options))
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
        """Runs the layer over a batch of sequences.

        Args:
            xs: `[B, T, I]`; B stands for any number of batch axes, including none.
            h0: the initial state, broadcast against `[B, H]`. None means the learned state if
                there is one, and zeros otherwise.
            lengths: `[B]` integers, see `grujax.gru`.
            resets: `[B, T]` bool, see `grujax.gru`.
            reset_state: the state after a reset, see `grujax.gru`.
            deterministic: overrides the attribute if not None.

        Returns:
            `(h_last [B, H], hs [B, T, H])` in `dtype`, or, if that is None, in the promoted dtype
            of `xs` and the parameters.

        Raises:
            ValueError: as `grujax.gru`.
        """
        return self._run(
            partial(gru, reverse=self.reverse),
            xs,
            h0,
            lengths=lengths,
            resets=resets,
            reset_state=reset_state,
            deterministic=deterministic,
        )

    def gru_params(self) -> GRUParams:
        """Returns the functional parameters, see `GRUCell.gru_params`."""
        return self.cell.gru_params()

    def learned_h0(self) -> Array | None:
        """Returns the learned initial state `[H]`, or None."""
        return None if self.h0 is None else jnp.asarray(self.h0)
