"""A GRU over time as an NNX module, and what every module over time has in common."""

from __future__ import annotations

from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jax import Array

from grujax.checks import check_bool
from grujax.flax_common import GRUCall, Steps, check_arguments, check_runs_forward, make_carry
from grujax.nnx.cell import GRUCell, read_params
from grujax.nnx.options import Options, check_options, fork_dropout, select_cell_options
from grujax.params import GRUParams, Initializer
from grujax.regularizers import is_off


class LayerBase(nnx.Module):
    """The options of every module over time, which `GRU` documents, and how it runs."""

    def _set_options(self, options: Options, rngs: nnx.RngStream | None) -> None:
        """Stores checked options, and the source of the keys for random masks."""
        self.dtype = options.get("dtype")
        self.carry_dtype = options.get("carry_dtype")
        self.zoneout = options.get("zoneout", 0.0)
        self.recurrent_dropout = options.get("recurrent_dropout", 0.0)
        self.input_dropout = options.get("input_dropout", 0.0)
        self.deterministic = options.get("deterministic", False)
        self.stop_gradient_every = options.get("stop_gradient_every")
        self.implementation = options.get("implementation")
        self.time_major = options.get("time_major", False)
        self.rngs = nnx.data(rngs)

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        carry_init: Initializer | None = None,
    ) -> Any:
        """Returns the state before the first step, for `step`: the learned one, or zeros.

        Args:
            input_shape: the shape of the inputs of one step, `[B, I]`.
            rngs: the source of the random key for `carry_init`; its stream "carry" if several.
            carry_init: initializes the state, in place of the learned one or zeros.

        Returns:
            `[B, H]`, in the first of `carry_dtype`, `dtype` and `param_dtype` that is not None; of
            a stack a list of these.

        Raises:
            ValueError: as `GRUCell.initialize_carry`, and if the layer runs backward in time.
        """
        check_runs_forward(self)
        layer: Any = self
        return layer._carry(input_shape, rngs, carry_init)

    def _rates(self) -> dict[str, Any]:
        """The rates of what draws random masks in this module itself. They may change."""
        return {
            "zoneout": self.zoneout,
            "recurrent_dropout": self.recurrent_dropout,
            "input_dropout": self.input_dropout,
        }

    def _dropout_key(self, deterministic: bool | None) -> Array | None:
        rates = check_arguments(self._rates())
        deterministic = self.deterministic if deterministic is None else deterministic
        if deterministic or all(is_off(rate) for rate in rates.values()):
            return None
        if self.rngs is None:
            raise ValueError(
                f"This `{type(self).__name__}` was made without rates, and with `rngs` that have "
                'no stream "dropout", so it cannot draw masks: make it with such a stream, as in '
                "`nnx.Rngs(0, dropout=1)`."
            )
        return self.rngs()


class GRU(LayerBase):
    """A GRU over time: `layer(xs [B, T, I]) -> (h_last [B, H], hs [B, T, H])`.

    With `time_major=True` it is `layer(xs [T, B, I]) -> (h_last [B, H], hs [T, B, H])`.

    As with `nnx.Dropout`, zoneout and dropout are in training mode after construction and after
    `train()`, and in evaluation mode after `eval()`. The rates are attributes that may change, in a
    schedule for example. If all of them are 0 at first, `rngs` must have the stream "dropout".

    Args:
        in_features: I, the input size.
        features: H, the hidden size.
        reverse: whether to run each row from its last valid step to its first.
        rngs: the source of random keys for the parameters, and, with its stream "dropout", for
            zoneout and dropout.
        options: those of `GRUCell`, and

            - `zoneout`, `recurrent_dropout`, `input_dropout`: the rates, see `grujax.gru`.
            - `learned_h0`: whether the initial state is a parameter `h0 [H]`, initialized to
              zeros. It applies to calls without `h0`.
            - `deterministic`: whether in evaluation mode; `train()` and `eval()` set it.
            - `stop_gradient_every`, `implementation`: see `grujax.gru`.
            - `time_major`: whether the time axis comes first in `xs`, `mask`, `resets` and `hs`,
              instead of after the batch axes. Nothing is transposed then.

    Raises:
        TypeError: if there is no option of this name.
        ValueError: if an argument is not what it must be.

    Example:
        >>> from flax import nnx
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
        self._set_options(options, fork_dropout(rngs, options))

    __call__ = GRUCall.__call__
    step = Steps.step

    def _carry(self, *arguments: Any) -> Array:
        carry = self.cell.initialize_carry(*arguments)
        if self.h0 is None or arguments[2] is not None:
            return carry
        return make_carry(self.h0, carry.shape, carry.dtype)

    def _runs_backward(self) -> bool:
        return self.reverse

    def gru_params(self) -> GRUParams:
        """Returns the functional parameters, see `GRUCell.gru_params`."""
        return self._params_and_h0()[0]

    def learned_h0(self) -> Array | None:
        """Returns the learned initial state `[H]`, or None."""
        return self._params_and_h0()[1]

    def _params_and_h0(self, _input_size: int | None = None) -> tuple[GRUParams, Array | None]:
        return read_params(self.cell), None if self.h0 is None else jnp.asarray(self.h0)
