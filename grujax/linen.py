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

from grujax.batch_major import cast, or_learned, run_batch_major
from grujax.cell import gru_cell
from grujax.layers import Layer, Merge, bidirectional_gru, output_size, stacked_gru
from grujax.params import GRUParams, Initializer, draw
from grujax.regularizers import is_off
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


class _GRULayer(_GRUModule):
    """The fields that every module over time has.

    With `zoneout`, or a dropout, say in every call, or in the constructor, whether it is
    `deterministic`, and give `apply` an rng for the collection "dropout" when it is not.

    Attributes:
        zoneout: the rate, see `grujax.gru`; its expectation where deterministic.
        recurrent_dropout: the rate, see `grujax.gru`.
        learned_h0: whether the initial state is a parameter, `h0 [H]` beside `cell`, zero at first;
            it is used where a call gives none.
        deterministic: whether the module is in evaluation mode.
        stop_gradient_every: see `grujax.gru`.
        implementation: see `grujax.gru`.
    """

    zoneout: float = 0.0
    recurrent_dropout: float = 0.0
    learned_h0: bool = False
    deterministic: bool | None = None
    stop_gradient_every: int | None = None
    implementation: str | None = None

    def _options(self, deterministic: bool | None, *other_rates: float) -> dict[str, Any]:
        """What the functional core takes beside parameters and data."""
        rates = (self.zoneout, self.recurrent_dropout, *other_rates)
        key = None
        if not all(is_off(rate) for rate in rates) and not nn.merge_param(
            "deterministic", self.deterministic, deterministic
        ):
            key = self.make_rng("dropout")
        return {
            "zoneout": self.zoneout,
            "recurrent_dropout": self.recurrent_dropout,
            "key": key,
            "stop_gradient_every": self.stop_gradient_every,
            "implementation": self.implementation,
        }


class GRU(_GRULayer):
    """A GRU over time: `(xs [B, T, I], h0, lengths=, resets=) -> (h_last [B, H], hs [B, T, H])`.

    Arguments and results are those of `grujax.gru`, batch-major: `resets` is `[B, T]`.

    Attributes:
        reverse: walk from each row's last existing step to the first.

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
        params, learned = self.params_and_h0(jnp.shape(xs)[-1])
        states = or_learned(h0, learned), reset_state
        params, xs, (h0, reset_state) = cast(self.dtype, params, xs, states)
        options = self._options(deterministic)
        run = partial(gru, params, reset_state=reset_state, reverse=self.reverse, **options)
        return run_batch_major(run, xs, h0, lengths=lengths, resets=resets)

    def gru_params(self, input_size: int) -> GRUParams:
        """The functional parameters for this input size."""
        return self.params_and_h0(input_size)[0]

    @nn.compact
    def params_and_h0(self, input_size: int) -> tuple[GRUParams, Array | None]:
        """The functional parameters, and the learned initial state `[H]` or None."""
        params = GRUCell(**self._shared_fields(), name="cell").gru_params(input_size)
        if not self.learned_h0:
            return params, None
        return params, self.param("h0", initializers.zeros, (self.features,), self.param_dtype)


class BidirectionalGRU(_GRULayer):
    """Two GRUs, one in each direction: see `grujax.bidirectional_gru`, batch-major.

    Attributes:
        merge: "concat", "sum", "mean", "mul", or a function of both directions' `hs`.
    """

    merge: Merge = "concat"

    def __call__(
        self,
        xs: ArrayLike,
        h0: tuple[ArrayLike | None, ArrayLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        deterministic: bool | None = None,
    ) -> tuple[tuple[Array, Array], Array]:
        params, learned = self.params_and_h0(jnp.shape(xs)[-1])
        params, xs, states = cast(self.dtype, params, xs, or_learned(h0, learned))
        run = partial(bidirectional_gru, params, merge=self.merge, **self._options(deterministic))
        return run_batch_major(run, xs, states, lengths=lengths, resets=resets)

    def gru_params(self, input_size: int) -> tuple[GRUParams, GRUParams]:
        """The functional parameters, (forward, backward), for this input size."""
        return self.params_and_h0(input_size)[0]

    @nn.compact
    def params_and_h0(
        self, input_size: int
    ) -> tuple[tuple[GRUParams, GRUParams], tuple[Array | None, Array | None]]:
        """The functional parameters and the learned initial states, (forward, backward)."""
        fields = {**self._shared_fields(), "learned_h0": self.learned_h0}
        forward, h0_forward = GRU(**fields, name="forward_rnn").params_and_h0(input_size)
        backward, h0_backward = GRU(**fields, name="backward_rnn").params_and_h0(input_size)
        return (forward, backward), (h0_forward, h0_backward)


class StackedGRU(_GRULayer):
    """GRU layers one above the other: see `grujax.stacked_gru`, batch-major.

    Attributes:
        num_layers: the number of layers, each of `features` units.
        bidirectional: whether each layer has two directions.
        merge: how these become one, see `BidirectionalGRU`.
        dropout: the rate at which the inputs of every layer but the first are dropped.
        residual: add the input of every layer but the first to its output.
    """

    num_layers: int = 1
    bidirectional: bool = False
    merge: Merge = "concat"
    dropout: float = 0.0
    residual: bool = False

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
        layers, learned = self.params_and_h0(jnp.shape(xs)[-1])
        states = or_learned(h0, learned), reset_state
        layers, xs, (h0, reset_state) = cast(self.dtype, layers, xs, states)
        run = partial(
            stacked_gru,
            layers,
            reset_state=reset_state,
            dropout=self.dropout,
            residual=self.residual,
            merge=self.merge,
            **self._options(deterministic, self.dropout),
        )
        return run_batch_major(run, xs, h0, lengths=lengths, resets=resets)

    def gru_params(self, input_size: int) -> list[Layer]:
        """The functional parameters, a list of layers, for this input size."""
        return self.params_and_h0(input_size)[0]

    @nn.compact
    def params_and_h0(self, input_size: int) -> tuple[list[Layer], list[Any]]:
        """The functional parameters and the learned initial states, a list of layers each."""
        fields = {**self._shared_fields(), "learned_h0": self.learned_h0}
        layer = BidirectionalGRU if self.bidirectional else GRU
        layers: list[Layer] = []
        states: list[Any] = []
        for index in range(self.num_layers):
            module = layer(**fields, name=f"layers_{index}")
            params, h0 = module.params_and_h0(input_size)
            layers.append(params)
            states.append(h0)
            input_size = output_size(self.features, self.bidirectional, self.merge)
        return layers, states
