"""A GRU over time as an NNX module, and what every module over time has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jax import Array

from grujax.checks import check_bool, check_integer
from grujax.flax_common import GRUCall
from grujax.nnx.cell import GRUCell
from grujax.nnx.options import Options, check_options, draws_masks, select_cell_options
from grujax.params import GRUParams


class LayerBase(nnx.Module):
    """The options of every module over time, which `GRU` documents, and how it runs."""

    if TYPE_CHECKING:  # of every module

        def gru_params(self) -> Any: ...
        def learned_h0(self) -> Any: ...

    def params_and_h0(self, input_size: int) -> tuple[Any, Any]:
        """Returns `(gru_params(), learned_h0())`, for every `input_size` I."""
        check_integer("input_size", input_size)  # the modules of Linen need it
        return self.gru_params(), self.learned_h0()

    def _set_options(self, rngs: nnx.Rngs, options: Options, *other_rates: float) -> None:
        """Stores checked options; `rngs` only if there is something to draw."""
        self.dtype = options.get("dtype")
        self.zoneout = options.get("zoneout", 0.0)
        self.recurrent_dropout = options.get("recurrent_dropout", 0.0)
        self.deterministic = options.get("deterministic", False)
        self.stop_gradient_every = options.get("stop_gradient_every")
        self.implementation = options.get("implementation")
        needs_rngs = draws_masks(options, *other_rates)
        self.rngs = rngs.dropout.fork() if needs_rngs else nnx.data(None)

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

    Raises:
        ValueError: if an argument is not what it must be, or there is no option of this name.

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
        options = check_options(GRU, rngs, options)
        self.reverse = check_bool("reverse", reverse)
        self.cell = GRUCell(in_features, features, rngs=rngs, **select_cell_options(options))
        self.h0: nnx.Param[Array] | None = nnx.data(None)
        if options.get("learned_h0", False):
            self.h0 = nnx.Param(jnp.zeros(self.cell.features, self.cell.param_dtype))
        self._set_options(rngs, options)

    __call__ = GRUCall.__call__

    def gru_params(self) -> GRUParams:
        """Returns the functional parameters, see `GRUCell.gru_params`."""
        return self.cell.gru_params()

    def learned_h0(self) -> Array | None:
        """Returns the learned initial state `[H]`, or None."""
        return None if self.h0 is None else jnp.asarray(self.h0)
