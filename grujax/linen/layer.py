"""A GRU over time as a Linen module, and what every module over time has in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import ArrayLike

from grujax.flax_common import run_batch_major
from grujax.linen.cell import CellFields, GRUCell
from grujax.params import GRUParams
from grujax.regularizers import is_off
from grujax.sequence import gru


class LayerBase(CellFields):
    """The fields of every module over time, which `GRU` documents, and how it runs."""

    zoneout: float = 0.0
    recurrent_dropout: float = 0.0
    learned_h0: bool = False
    deterministic: bool | None = None
    stop_gradient_every: int | None = None
    implementation: str | None = None

    def params_and_h0(self, input_size: int) -> tuple[Any, Any]:
        """The functional parameters and the learned initial states."""
        raise NotImplementedError

    def _rates(self) -> tuple[float, ...]:
        """The rates of everything that draws random masks."""
        return self.zoneout, self.recurrent_dropout

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
        params, learned_h0 = self.params_and_h0(jnp.shape(xs)[-1])
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
            params,
            xs,
            h0,
            learned_h0=learned_h0,
            lengths=lengths,
            resets=resets,
            reset_state=reset_state,
            dtype=self.dtype,
        )

    def _dropout_key(self, deterministic: bool | None) -> Array | None:
        if all(is_off(rate) for rate in self._rates()):
            return None
        if nn.merge_param("deterministic", self.deterministic, deterministic):
            return None
        return self.make_rng("dropout")


class GRU(LayerBase):
    """A GRU over time, batch-major: `layer(xs [B, T, I]) -> (h_last [B, H], hs [B, T, H])`.

    With zoneout or dropout, set `deterministic` in the constructor or in every call. If it is
    False, pass `apply` an rng for the collection "dropout".

    Attributes:
        features: H, the hidden size. This and the fields up to `update_bias_init` are those of
            `GRUCell`.
        zoneout: the rate of zoneout, see `grujax.gru`.
        recurrent_dropout: the rate of recurrent dropout, see `grujax.gru`.
        learned_h0: whether the initial state is a parameter `h0 [H]`, initialized to zeros. It
            applies to calls without `h0`.
        deterministic: True for evaluation mode, False for training mode, None if calls say so.
        stop_gradient_every: see `grujax.gru`.
        implementation: see `grujax.gru`.
        reverse: whether to run each row from its last valid step to its first.

    Example:
        >>> import jax
        >>> layer = GRU(features=16)
        >>> xs = jnp.ones((4, 20, 8))
        >>> variables = layer.init(jax.random.key(0), xs)
        >>> h_last, hs = layer.apply(variables, xs, lengths=jnp.array([20, 3, 0, 7]))
        >>> h_last.shape, hs.shape
        ((4, 16), (4, 20, 16))

    Reference:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078; `grujax.gru_cell` has the equations.
    """

    reverse: bool = False

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
            deterministic: overrides the field if that is None.

        Returns:
            `(h_last [B, H], hs [B, T, H])` in `dtype`, or, if that is None, in the promoted dtype
            of `xs` and the parameters.

        Raises:
            ValueError: as `grujax.gru`, and if `deterministic` is needed but not set.
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

    def gru_params(self, input_size: int) -> GRUParams:
        """Returns the functional parameters, see `GRUCell.gru_params`."""
        return self.params_and_h0(input_size)[0]

    @nn.compact
    def params_and_h0(self, input_size: int) -> tuple[GRUParams, Array | None]:
        """Returns the functional parameters, and the learned initial state `[H]` or None.

        Args:
            input_size: I.
        """
        params = GRUCell(**self._cell_fields(), name="cell").gru_params(input_size)
        if not self.learned_h0:
            return params, None
        return params, self.param("h0", initializers.zeros, (self.features,), self.param_dtype)
