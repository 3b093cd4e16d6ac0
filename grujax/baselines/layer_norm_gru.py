"""The GRU with layer normalization, in the form that Dreamer's world models use.

It has one linear map of input and state without a bias, layer normalization over the
pre-activations of all three gates together, and the reset gate inside the tanh, where it scales the
whole pre-activation of the candidate:

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

from grujax.baselines.sizes import LayerSizes
from grujax.cell import add_bias, matmul_each, promote_operands, update_state
from grujax.checks import check_arrays
from grujax.implementations import split_cells
from grujax.implementations.split_cells import SplitCell
from grujax.jax_support.promotion import match
from grujax.jax_support.pytrees import register
from grujax.params import Initializer, check_drawing, draw_gates

_AXES = {"w_x": (3, "I", "H"), "w_h": (3, "H", "H"), "scale": (3, "H"), "offset": (3, "H")}
_EPSILON = 1e-3  # as in Dreamer


@register
@dataclass(frozen=True, eq=False)
class LayerNormGRUParams(LayerSizes):
    """Parameters of one layer-normalized GRU layer: a pytree of 3·(I·H + H²) + 6·H numbers.

    The leading axis holds the gates in the order r (reset), z (update), n (candidate).

    Attributes:
        w_x: `[3, I, H]`, input weights.
        w_h: `[3, H, H]`, recurrent weights.
        scale: `[3, H]`, factors of the normalized pre-activations.
        offset: `[3, H]`, added to the normalized pre-activations: the gates' biases.

    Example:
        >>> params = init_layer_norm_gru(jax.random.key(0), input_size=2, hidden_size=3)
        >>> params.scale.shape, params.input_size, params.hidden_size
        ((3, 3), 2, 3)
    """

    w_x: Array  #: [3, I, H]
    w_h: Array  #: [3, H, H]
    scale: Array  #: [3, H]
    offset: Array  #: [3, H]


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
    """Draws the parameters of one layer-normalized GRU layer.

    Each initializer is called once per gate. `scale` is ones.

    Args:
        key: a JAX random key.
        input_size: I, a positive integer.
        hidden_size: H, a positive integer.
        dtype: the floating dtype of all parameters.
        kernel_init: initializes each gate's input weights `[I, H]`.
        recurrent_kernel_init: initializes each gate's recurrent weights `[H, H]`.
        update_bias_init: initializes the update gate's row `[H]` of `offset`; the other rows are
            zeros. The default of ones corresponds to Dreamer's update bias of −1, which Dreamer
            adds to the logit of 1 − z.

    Returns:
        `LayerNormGRUParams` of the given dtype.

    Raises:
        ValueError: if a size is not a positive integer, or `dtype` is not floating.

    Example:
        >>> params = init_layer_norm_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> params.w_x.shape, params.offset[:, 0].tolist()
        ((3, 8, 16), [0.0, 1.0, 0.0])

    Reference:
        Ba et al. 2016, https://arxiv.org/abs/1607.06450;
        Hafner et al. 2021 (this variant), https://arxiv.org/abs/2010.02193
    """
    check_drawing(
        key,
        dtype,
        {"input_size": input_size, "hidden_size": hidden_size},
        kernel_init=kernel_init,
        recurrent_kernel_init=recurrent_kernel_init,
        update_bias_init=update_bias_init,
    )
    key_x, key_h, key_b = jax.random.split(key, 3)
    biases = [initializers.zeros, update_bias_init, initializers.zeros]
    return LayerNormGRUParams(
        w_x=draw_gates([kernel_init] * 3, key_x, (input_size, hidden_size), dtype),
        w_h=draw_gates([recurrent_kernel_init] * 3, key_h, (hidden_size, hidden_size), dtype),
        scale=jnp.ones((3, hidden_size), dtype),
        offset=draw_gates(biases, key_b, (hidden_size,), dtype),
    )


def layer_norm_gru_cell(params: LayerNormGRUParams, h: Array, x: Array) -> Array:
    """One step of a layer-normalized GRU.

        a        = x·Wx + h·Wh
        ã        = scale ∘ (a − mean(a)) / √(var(a) + ε) + offset
        r, z, n  = σ(ãr), σ(ãz), tanh(r ∘ ãn)
        h'       = z ∘ h + (1 − z) ∘ n

    Dreamer computes the logit u of 1 − z, adds its update bias of −1, and writes
    h' = σ(u − 1) ∘ n + (1 − σ(u − 1)) ∘ h. To use its weights here, negate the update gate's rows
    of `scale` and `offset`, and add 1 to that row of `offset`.

    Args:
        params: `LayerNormGRUParams` for input size I and hidden size H.
        h: `[B, H]`, the state before the step; B stands for any number of batch axes.
        x: `[B, I]`, the input.

    Returns:
        `[B, H]`, the state after the step, in the promoted dtype of `x` and `params`. Matmuls
        accumulate, and normalization and gates are evaluated, in at least float32.

    Raises:
        ValueError: if a shape or dtype does not match.

    Example:
        >>> params = init_layer_norm_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> layer_norm_gru_cell(params, jnp.zeros(16), jnp.ones(8)).shape
        (16,)

    Reference:
        Ba et al. 2016, https://arxiv.org/abs/1607.06450;
        Hafner et al. 2021 (this variant), https://arxiv.org/abs/2010.02193
    """
    check_arrays(params, LayerNormGRUParams, _AXES)
    params, (h,), x = promote_operands(params, {"h": h}, x)
    sums = tuple(map(jnp.add, _project(params, x), matmul_each(h, params.w_h)))
    return _update((params.scale, params.offset), h, sums)


def _project(params: LayerNormGRUParams, x: Array) -> tuple[Array, ...]:
    """x·Wx of each gate, [..., H]."""
    return tuple(matmul_each(x, params.w_x))


def _update(
    norm: tuple[Array, Array],
    h: Array,
    sums: tuple[Array, ...],
) -> Array:
    """The state after the step, from `norm`, scale and offset, and a."""
    gates = _normalize(list(sums))
    a_r, a_z, a_n = (
        add_bias(match(scale, gate) * gate, offset)
        for gate, scale, offset in zip(gates, *map(jnp.unstack, norm), strict=True)
    )
    reset, update = jax.nn.sigmoid(a_r), jax.nn.sigmoid(a_z)
    return update_state(update, jnp.tanh(reset * a_n), h)


def _normalize(gates: list[Array]) -> list[Array]:
    """Normalizes to zero mean and unit variance over the units of all gates; [B, H] each."""
    size = sum(gate.shape[-1] for gate in gates)
    mean = sum(gate.sum(-1, keepdims=True) for gate in gates) / size
    centered = [gate - mean for gate in gates]
    variance = sum(jnp.square(gate).sum(-1, keepdims=True) for gate in centered) / size
    return [gate * jax.lax.rsqrt(variance + _EPSILON) for gate in centered]


split_cells.register(
    layer_norm_gru_cell,
    SplitCell(
        project=_project,
        weights=lambda params: tuple(jnp.unstack(params.w_h)),
        rest=lambda params: (params.scale, params.offset),
        hidden=lambda h: h,
        update=_update,
    ),
)
