"""The recurrence of DreamerV3's world model: a GRU in blocks behind normalized layers.

`block_gru` is the plain GRU in blocks, which the kernels run. Here a step has three layers. The
first embeds the state and each input by itself. The other two are in K blocks, each of which reads
its own part of the state and all embeddings. P = H / K:

    e⁰       = act(norm(h·Wh + b))                          [E], of the state
    eⁱ       = act(norm(xⁱ·Wx + b))                         [E], of each input
    uᵏ       = [hᵏ, e⁰, e¹, …]·Wᵏ + b                       [P], of block k
    u        = act(norm([u¹ … uᴷ]))                         the norm is over all H units
    r, z, n  = σ(aʳ), σ(aᶻ), tanh(r ∘ aⁿ)                   where aᵏ = uᵏ·Wᵏ + b for each gate
    h'       = z ∘ h + (1 − z) ∘ n                          z = 1 carries the state

    norm(a)  = scale ∘ a / √(mean(a²) + ε)                  act = SiLU

The source is `RSSM._core` in `dreamerv3/rssm.py` of https://github.com/danijar/dreamerv3, commit
e3f02248, with one hidden layer (`dynlayers`), as all of its configurations have.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import DTypeLike

from grujax.baselines.sizes import LayerSizes
from grujax.cell import add_bias, matmul, promote_operands, update_state
from grujax.checks import check_arrays, check_integer
from grujax.jax_support.promotion import match, wide_dtype
from grujax.jax_support.pytrees import register
from grujax.params import Initializer, check_drawing, draw, draw_gates

_AXES = {
    "w_x": ("I", "E"),
    "w_h": ("H", "E"),
    "b_in": ("S", "E"),
    "scale_in": ("S", "E"),
    "w_hidden_h": ("K", "P", "P"),
    "w_hidden_in": ("K", "S", "E", "P"),
    "b_hidden": ("K", "P"),
    "scale_hidden": ("K", "P"),
    "w_gates": ("K", 3, "P", "P"),
    "b_gates": ("K", 3, "P"),
}
_EPSILON = 1e-4  # as in Dreamer


@register
@dataclass(frozen=True, eq=False)
class BlockGRUCellParams(LayerSizes):
    """Parameters of `block_gru_cell`: a pytree.

    K blocks of P = H / K units, embeddings of size E, and S = 1 + the number of inputs. The gates
    are in the order r (reset), z (update), n (candidate).

    Attributes:
        w_x: `[I, E]`, the layers of the inputs, the rows of one input after those of another.
        w_h: `[H, E]`, the layer of the state.
        b_in: `[S, E]`, the biases of these layers: of the state, then of each input.
        scale_in: `[S, E]`, the factors of their norms.
        w_hidden_h: `[K, P, P]`, the hidden layer: what a block reads of its own units.
        w_hidden_in: `[K, S, E, P]`, the hidden layer: what a block reads of the embeddings.
        b_hidden: `[K, P]`, its biases.
        scale_hidden: `[K, P]`, the factors of its norm.
        w_gates: `[K, 3, P, P]`, the layer of the gates.
        b_gates: `[K, 3, P]`, its biases.
        input_sizes: the sizes of the inputs, whose sum is I; a static field.

    Example:
        >>> params = init_block_gru_cell(jax.random.key(0), (6, 2), hidden_size=16, blocks=4)
        >>> params.input_size, params.hidden_size, params.w_gates.shape
        (8, 16, (4, 3, 4, 4))
    """

    w_x: Array  #: [I, E]
    w_h: Array  #: [H, E]
    b_in: Array  #: [S, E]
    scale_in: Array  #: [S, E]
    w_hidden_h: Array  #: [K, P, P]
    w_hidden_in: Array  #: [K, S, E, P]
    b_hidden: Array  #: [K, P]
    scale_hidden: Array  #: [K, P]
    w_gates: Array  #: [K, 3, P, P]
    b_gates: Array  #: [K, 3, P]
    input_sizes: tuple[int, ...] = field(metadata={"static": True})

    @property
    def hidden_size(self) -> int:
        """H, the hidden size of all blocks together."""
        return self.w_h.shape[-2]


def init_block_gru_cell(
    key: Array,
    input_size: int | tuple[int, ...],
    hidden_size: int,
    blocks: int,
    *,
    embedding_size: int | None = None,
    dtype: DTypeLike = jnp.float32,
    kernel_init: Initializer = initializers.lecun_normal(),
    update_bias_init: Initializer = initializers.ones,
) -> BlockGRUCellParams:
    """Draws the parameters of `block_gru_cell` as DreamerV3 does.

    Biases are zeros, but for those of the update gate, and factors of norms are ones.

    Args:
        key: a JAX random key.
        input_size: I, a positive integer; or a tuple of the sizes of several inputs. Each of them
            has a layer and a norm; Dreamer's two are the stochastic state and the action.
        hidden_size: H, a positive integer.
        blocks: K, a positive integer that divides H.
        embedding_size: E, a positive integer; H / K if None, as in Dreamer's configurations.
        dtype: the floating dtype of all parameters.
        kernel_init: draws the weights of each layer, `[I, E]`, `[H, E]`, `[K, P + S·E, P]` and
            `[K, P, 3·P]`. LeCun's initializer counts all K blocks as the fan-in, as Dreamer does.
        update_bias_init: draws the update gate's biases `[K, P]`. The default of ones corresponds
            to Dreamer's update bias of −1, which Dreamer adds to the logit of 1 − z.

    Returns:
        `BlockGRUCellParams` of the given dtype.

    Raises:
        ValueError: if a size is not a positive integer, `blocks` does not divide H, or `dtype` is
            not floating.

    Example:
        >>> params = init_block_gru_cell(jax.random.key(0), 8, hidden_size=16, blocks=4)
        >>> params.b_gates[0, :, 0].tolist()
        [0.0, 1.0, 0.0]

    Reference:
        Hafner et al. 2023, https://arxiv.org/abs/2301.04104
    """
    sizes = input_size if isinstance(input_size, tuple) and input_size else (input_size,)
    input_sizes = tuple(check_integer("input_size", size) for size in sizes)
    hidden_size, blocks = check_integer("hidden_size", hidden_size), check_integer("blocks", blocks)
    if hidden_size % blocks:
        raise ValueError(f"`blocks` must divide `hidden_size` {hidden_size}, got {blocks}.")
    units = hidden_size // blocks
    size = units if embedding_size is None else check_integer("embedding_size", embedding_size)
    check_drawing(key, dtype, {}, kernel_init=kernel_init, update_bias_init=update_bias_init)

    sources = 1 + len(input_sizes)
    key_x, key_h, key_hidden, key_gates, key_b = jax.random.split(key, 5)
    hidden_shape, gates_shape = (blocks, units + sources * size, units), (blocks, units, 3 * units)
    hidden = draw(kernel_init, key_hidden, hidden_shape, dtype)
    gates = draw(kernel_init, key_gates, gates_shape, dtype).reshape(blocks, units, 3, units)
    biases = [initializers.zeros, update_bias_init, initializers.zeros]
    drawn_x = [
        draw(kernel_init, input_key, (rows, size), dtype)
        for input_key, rows in zip(
            jax.random.split(key_x, len(input_sizes)), input_sizes, strict=True
        )
    ]
    return BlockGRUCellParams(
        w_x=jnp.concatenate(drawn_x),
        w_h=draw(kernel_init, key_h, (hidden_size, size), dtype),
        b_in=jnp.zeros((sources, size), dtype),
        scale_in=jnp.ones((sources, size), dtype),
        w_hidden_h=hidden[:, :units],
        w_hidden_in=hidden[:, units:].reshape(blocks, sources, size, units),
        b_hidden=jnp.zeros((blocks, units), dtype),
        scale_hidden=jnp.ones((blocks, units), dtype),
        w_gates=gates.swapaxes(1, 2),
        b_gates=draw_gates(biases, key_b, (blocks, units), dtype).swapaxes(0, 1),
        input_sizes=input_sizes,
    )


def block_gru_cell(params: BlockGRUCellParams, h: Array, x: Array) -> Array:
    """One step of the recurrence of DreamerV3's world model, for `grujax.scan_cell`.

        e⁰, eⁱ   = act(norm(h·Wh + b)), act(norm(xⁱ·Wx + b))
        uᵏ       = [hᵏ, e⁰, e¹, …]·Wᵏ + b
        u        = act(norm([u¹ … uᴷ]))
        aᵏ       = uᵏ·Wᵏ + b, for each gate
        r, z, n  = σ(aʳ), σ(aᶻ), tanh(r ∘ aⁿ)
        h'       = z ∘ h + (1 − z) ∘ n

    It is not the step of `block_gru`, which has no hidden layer and no norm. Dreamer computes the
    logit u of 1 − z and writes h' = σ(u − 1) ∘ n + (1 − σ(u − 1)) ∘ h. To use its weights here,
    negate the update gate's rows of `w_gates` and `b_gates`, and add 1 to that row of `b_gates`.
    Dreamer divides an action by max(1, |action|) first; do that to x.

    Args:
        params: `BlockGRUCellParams` for input size I and hidden size H.
        h: `[B, H]`, the state before the step; B stands for any number of batch axes. The units of
            block k are those from k·P on.
        x: `[B, I]`, the input; several inputs side by side, in the order of `input_sizes`.

    Returns:
        `[B, H]`, the state after the step, in the promoted dtype of `x` and `params`. Matmuls
        accumulate, and norms and gates are evaluated, in at least float32.

    Raises:
        ValueError: if a shape or dtype does not match.

    Example:
        >>> params = init_block_gru_cell(jax.random.key(0), (6, 2), hidden_size=16, blocks=4)
        >>> block_gru_cell(params, jnp.zeros(16), jnp.ones(8)).shape
        (16,)

    Reference:
        Hafner et al. 2023, https://arxiv.org/abs/2301.04104
    """
    _check_params(params)
    params, (h,), x = promote_operands(params, {"h": h}, x)
    blocks = len(params.b_hidden)

    ends = [sum(params.input_sizes[:i]) for i in range(1, len(params.input_sizes))]
    rows = zip(jnp.split(x, ends, axis=-1), jnp.split(params.w_x, ends), strict=True)
    products = [matmul(h, params.w_h), *(matmul(part, w) for part, w in rows)]
    embeddings = [
        _activate(product, b, scale)
        for product, b, scale in zip(products, params.b_in, params.scale_in, strict=True)
    ]
    hidden = _contract("...kp,kpq->...kq", _split(h, blocks), params.w_hidden_h)
    for embedding, w in zip(embeddings, jnp.unstack(params.w_hidden_in, axis=1), strict=True):
        hidden += _contract("...e,keq->...kq", embedding.astype(h.dtype), w)
    hidden = _activate(_join(hidden), _join(params.b_hidden), _join(params.scale_hidden))
    read = _split(hidden.astype(h.dtype), blocks)
    gates = zip(
        jnp.unstack(params.w_gates, axis=1), jnp.unstack(params.b_gates, axis=1), strict=True
    )
    a_r, a_z, a_n = (
        add_bias(_join(_contract("...kp,kpq->...kq", read, w)), _join(b)) for w, b in gates
    )
    reset, update = jax.nn.sigmoid(a_r), jax.nn.sigmoid(a_z)
    return update_state(update, jnp.tanh(reset * a_n), h)


def _activate(product: Array, b: Array, scale: Array) -> Array:
    """`SiLU(norm(product + b))`, over the last axis."""
    a = add_bias(product, b)
    mean = jnp.square(a).mean(-1, keepdims=True)
    return jax.nn.silu(match(scale, a) * (a * jax.lax.rsqrt(mean + _EPSILON)))


def _split(a: Array, blocks: int) -> Array:
    """`[..., H]` as `[..., K, P]`."""
    return a.reshape(*a.shape[:-1], blocks, a.shape[-1] // blocks)


def _join(a: Array) -> Array:
    """`[..., K, P]` as `[..., H]`."""
    return a.reshape(*a.shape[:-2], a.shape[-2] * a.shape[-1])


def _contract(equation: str, x: Array, w: Array) -> Array:
    """An einsum, accumulated and returned in at least float32."""
    return jnp.einsum(equation, x, w, preferred_element_type=wide_dtype(x.dtype))


def _check_params(params: BlockGRUCellParams) -> None:
    check_arrays(params, BlockGRUCellParams, _AXES)
    sizes, units = params.input_sizes, params.b_hidden.size
    got = sum(sizes), 1 + len(sizes), units
    if got != (params.input_size, len(params.b_in), params.hidden_size):
        raise ValueError(
            f"`params` with the input sizes {sizes} and {units} units in blocks must have the "
            f"shapes w_x [{got[0]}, E], w_h [{got[2]}, E] and b_in [{got[1]}, E], got w_x "
            f"{list(params.w_x.shape)}, w_h {list(params.w_h.shape)} and b_in "
            f"{list(params.b_in.shape)}."
        )
