"""The GRU with layer normalisation, in the form that Dreamer's world models use.

One linear map of input and state, without a bias; layer normalisation over the pre-activations of
all three gates together; and the reset gate inside the tanh, on all of the candidate:

    a        = x·Wx + h·Wh                                    [3H]
    ã        = scale ∘ (a − mean(a)) / √(var(a) + ε) + offset   mean and variance over all 3H
    r, z, n  = σ(ãr), σ(ãz), tanh(r ∘ ãn)
    h'       = z ∘ h + (1 − z) ∘ n                            z = 1 carries the state
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import DTypeLike

from grujax.cell import GRUGates, matmul, promote_operands, update_state
from grujax.params import Initializer, check_arrays, check_sizes, draw_gates

_AXES = {"w_x": (3, "I", "H"), "w_h": (3, "H", "H"), "scale": (3, "H"), "offset": (3, "H")}
_EPSILON = 1e-3  # as in Dreamer


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LayerNormGRUParams:
    """Parameters of one layer-normalised GRU layer: a pytree of 3·(I·H + H²) + 6·H numbers.

    The gates lie on the leading axis, in the order r (reset), z (update), n (candidate).

    Attributes:
        w_x: `[3, I, H]`, input weights.
        w_h: `[3, H, H]`, recurrent weights.
        scale: `[3, H]`, of the normalised pre-activations.
        offset: `[3, H]`, added to them: the gates' biases.
    """

    w_x: Array  # [3, I, H]
    w_h: Array  # [3, H, H]
    scale: Array  # [3, H]
    offset: Array  # [3, H]

    @property
    def input_size(self) -> int:
        return self.w_x.shape[-2]

    @property
    def hidden_size(self) -> int:
        return self.w_h.shape[-1]


def init_layer_norm_gru(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    dtype: DTypeLike = jnp.float32,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_kernel_init: Initializer = initializers.orthogonal(),
    update_bias_init: Initializer = initializers.ones,
) -> LayerNormGRUParams:
    """Draws the parameters of one layer-normalised GRU layer, initialisers once per gate.

    Args:
        key: a JAX random key.
        input_size: I.
        hidden_size: H.
        dtype: a floating dtype, of all parameters.
        kernel_init: for each gate's input weights `[I, H]`.
        recurrent_kernel_init: for each gate's recurrent weights `[H, H]`.
        update_bias_init: for the update gate's row of `offset`, whose other rows are zero. The
            default, ones, is Dreamer's update bias of −1, which it adds to the logit of 1 − z.

    Returns:
        `LayerNormGRUParams` of the given dtype, `scale` ones.

    Raises:
        ValueError: if a size is not a positive integer, or `dtype` is not floating.
    """
    check_sizes(input_size, hidden_size, dtype)
    key_x, key_h, key_b = jax.random.split(key, 3)
    biases = [initializers.zeros, update_bias_init, initializers.zeros]
    return LayerNormGRUParams(
        w_x=draw_gates([kernel_init] * 3, key_x, (input_size, hidden_size), dtype),
        w_h=draw_gates([recurrent_kernel_init] * 3, key_h, (hidden_size, hidden_size), dtype),
        scale=jnp.ones((3, hidden_size), dtype),
        offset=draw_gates(biases, key_b, (hidden_size,), dtype),
    )


def layer_norm_gru_cell(params: LayerNormGRUParams, h: Array, x: Array) -> Array:
    """One step of a layer-normalised GRU; the equations are at the top of this file.

    Dreamer computes the logit u of 1 − z, adds its update bias of −1 to it, and writes
    h' = σ(u − 1) ∘ n + (1 − σ(u − 1)) ∘ h. Its weights give the same function here with the update
    gate's rows of `scale` and `offset` negated, and 1 added to that of `offset`.

    Args:
        params: `LayerNormGRUParams` for input size I and hidden size H.
        h: `[B, H]`, the state before the step; B stands for any number of batch axes.
        x: `[B, I]`, the input.

    Returns:
        `[B, H]`, the state after the step, in the promoted dtype of `x` and `params`. Matmuls
        accumulate, and normalisation and gates are evaluated, in at least float32.

    Raises:
        ValueError: if a shape or dtype does not fit.

    Example:
        >>> params = init_layer_norm_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> layer_norm_gru_cell(params, jnp.zeros(16), jnp.ones(8)).shape
        (16,)

    Reference:
        Ba et al. 2016, https://arxiv.org/abs/1607.06450;
        Hafner et al. 2021 (the form), https://arxiv.org/abs/2010.02193
    """
    check_arrays(params, LayerNormGRUParams, _AXES)
    params, (h,), x = promote_operands(params, {"h": h}, x)
    weights = zip(params.w_x, params.w_h, strict=True)
    joint = [matmul(x, w_x) + matmul(h, w_h) for w_x, w_h in weights]  # three [B, H]
    a_r, a_z, a_n = (
        scale * gate + offset
        for scale, gate, offset in zip(params.scale, _normalise(joint), params.offset, strict=True)
    )
    reset, update = jax.nn.sigmoid(a_r), jax.nn.sigmoid(a_z)
    return update_state(GRUGates(reset, update, jnp.tanh(reset * a_n)), h)


def _normalise(gates: list[Array]) -> list[Array]:
    """Zero mean and unit variance over all gates' units together; [B, H] each."""
    size = sum(gate.shape[-1] for gate in gates)
    mean = sum(gate.sum(-1, keepdims=True) for gate in gates) / size
    centred = [gate - mean for gate in gates]
    variance = sum(jnp.square(gate).sum(-1, keepdims=True) for gate in centred) / size
    return [gate * jax.lax.rsqrt(variance + _EPSILON) for gate in centred]
