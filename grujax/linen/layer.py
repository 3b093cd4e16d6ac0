"""A GRU over time as a Linen module, and what every module over time has in common."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
from jax import Array
from jax.nn import initializers

from grujax.checks import check_key
from grujax.flax_common import GRUCall, Steps, carry_shape, check_runs_forward, make_carry
from grujax.implementations.types import Implementation
from grujax.linen.cell import CellFields, GRUCell
from grujax.params import GRUParams
from grujax.regularizers import is_off


class LayerBase(CellFields):
    """The fields of every module over time, which `GRU` documents, and how it runs."""

    zoneout: float = 0.0
    recurrent_dropout: float = 0.0
    input_dropout: float = 0.0
    learned_h0: bool = False
    deterministic: bool | None = None
    stop_gradient_every: int | None = None
    implementation: Implementation | None = None
    time_major: bool = False

    @nn.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> Any:
        """Returns the state before the first step, for `step`: the learned one, or zeros.

        Args:
            rng: a JAX random key, which is not used; cells of Flax take one.
            input_shape: the shape of the inputs of one step, `[B, I]`.

        Returns:
            `[B, H]`, in the first of `carry_dtype`, `dtype` and `param_dtype` that is not None; of
            a stack a list of these.

        Raises:
            ValueError: if an argument is not what it must be, the layer runs backward in time, or
                the state is learned and the module has no variables: call it by `apply` then.
        """
        check_runs_forward(self)
        check_key("rng", rng)
        shape = carry_shape(input_shape, self.features)
        if self.learned_h0 and self.scope is None:
            raise ValueError(
                "The initial state is a parameter, and this module has no variables: call "
                '`module.apply(variables, rng, input_shape, method="initialize_carry")`.'
            )
        return make_carry(
            self._carried_h0(), shape, self.carry_dtype or self.dtype or self.param_dtype
        )

    @nn.nowrap
    def _rates(self) -> tuple[float, ...]:
        """The rates of what draws random masks in this module itself."""
        return self.zoneout, self.recurrent_dropout, self.input_dropout

    @nn.nowrap
    def _dropout_key(self, deterministic: bool | None) -> Array | None:
        if all(is_off(rate) for rate in self._rates()):
            return None
        if (self.deterministic is None) == (deterministic is None):
            places = "neither" if deterministic is None else "both"
            raise ValueError(
                "`deterministic` must be set in the constructor or in the call of a module with "
                f"zoneout or dropout, got it in {places} of them."
            )
        if self.deterministic or deterministic:
            return None
        if not self.has_rng("dropout") and not self.has_rng("params"):  # Flax takes either
            raise ValueError(
                '`rngs` of `apply` must hold a key for "dropout" if `deterministic` is False.'
            )
        return self.make_rng("dropout")


class GRU(LayerBase):
    """A GRU over time: `layer(xs [B, T, I]) -> (h_last [B, H], hs [B, T, H])`.

    With `time_major=True` it is `layer(xs [T, B, I]) -> (h_last [B, H], hs [T, B, H])`.

    With zoneout or dropout, set `deterministic` in the constructor or in every call. If it is
    False, pass `apply` an rng for the collection "dropout".

    Attributes:
        features: H, the hidden size. This and the fields up to `carry_dtype` are those of
            `GRUCell`.
        zoneout: the rate of zoneout, see `grujax.gru`.
        recurrent_dropout: the rate of recurrent dropout, see `grujax.gru`.
        input_dropout: the rate of dropout on the inputs, with one mask for all steps, see
            `grujax.gru`.
        learned_h0: whether the initial state is a parameter `h0 [H]`, initialized to zeros. It
            applies to calls without `h0`.
        deterministic: True for evaluation mode, False for training mode, None if calls say so.
        stop_gradient_every: see `grujax.gru`.
        implementation: see `grujax.gru`.
        time_major: whether the time axis comes first in `xs`, `mask`, `resets` and `hs`, instead
            of after the batch axes. Nothing is transposed then.
        reverse: whether to run each row from its last valid step to its first.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
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

    def setup(self) -> None:
        """Makes the cell, which holds the parameters, and the learned initial state."""
        self.cell = GRUCell(**self._fields(CellFields))
        if self.learned_h0:
            self.h0 = self.param("h0", initializers.zeros, (self.features,), self.param_dtype)

    __call__ = GRUCall.__call__
    step = Steps.step

    @nn.nowrap
    def _runs_backward(self) -> bool:
        return self.reverse

    @nn.nowrap
    def _carried_h0(self) -> Array | None:
        return self.h0 if self.learned_h0 else None

    @nn.nowrap
    def gru_params(self, input_size: int) -> GRUParams:
        """Returns the functional parameters, see `GRUCell.gru_params`."""
        return self._params_and_h0(input_size)[0]

    @nn.nowrap
    def _params_and_h0(self, input_size: int) -> tuple[GRUParams, Array | None]:
        """Returns the functional parameters, and the learned initial state `[H]` or None.

        Args:
            input_size: I, a positive integer.
        """
        return self.cell.gru_params(input_size), self.h0 if self.learned_h0 else None
