"""The GRU in blocks, whose recurrent matrices are block-diagonal.

The H units are K blocks of P = H / K units. Each block reads the whole input, and of the state only
its own part. So the blocks are K small GRUs side by side, and the kernels run them as a batch of
models in one call:

    h = [h¹ … hᴷ]        hᵏ' = gru_cell(params of block k, hᵏ, x)

The recurrent matrices have 3·H²/K entries, not 3·H². The world model of DreamerV3 has such
matrices; its step also has a hidden layer with normalization, which this GRU does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import ArrayLike, DTypeLike

from grujax.baselines.sizes import LayerSizes
from grujax.checks import as_array, as_features, check_arrays, check_integer, check_key
from grujax.implementations import Implementation
from grujax.jax_support.pytrees import register
from grujax.params import GRUParams, Initializer, init_gru
from grujax.sequence import gru

_AXES = {
    "w_x": ("K", 3, "I", "P"),
    "w_h": ("K", 3, "P", "P"),
    "b_x": ("K", 3, "P"),
    "b_hn": ("K", "P"),
}


@register
@dataclass(frozen=True, eq=False)
class BlockGRUParams(LayerSizes):
    """Parameters of one GRU layer in K blocks: a pytree of 3·(I·H + H²/K) + 4·H numbers.

    Each array holds those of the blocks' `GRUParams`, with a leading axis K; P = H / K.

    Attributes:
        w_x: `[K, 3, I, P]`, input weights.
        w_h: `[K, 3, P, P]`, recurrent weights, the diagonal blocks of a `[3, H, H]` array.
        b_x: `[K, 3, P]`, biases.
        b_hn: `[K, P]`, the candidate's recurrent bias.

    Example:
        >>> params = init_block_gru(jax.random.key(0), input_size=8, hidden_size=16, blocks=4)
        >>> params.input_size, params.hidden_size, params.w_h.shape
        (8, 16, (4, 3, 4, 4))
    """

    w_x: Array  #: [K, 3, I, P]
    w_h: Array  #: [K, 3, P, P]
    b_x: Array  #: [K, 3, P]
    b_hn: Array  #: [K, P]

    @property
    def hidden_size(self) -> int:
        """H, the hidden size of all blocks together."""
        return self.b_hn.shape[-2] * self.b_hn.shape[-1]


def init_block_gru(
    key: Array,
    input_size: int,
    hidden_size: int,
    blocks: int,
    *,
    dtype: DTypeLike = jnp.float32,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_kernel_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
    update_bias_init: Initializer | None = None,
) -> BlockGRUParams:
    """Draws the parameters of one GRU layer in blocks, each block as `grujax.init_gru` does.

    Args:
        key: a JAX random key.
        input_size: I, a positive integer.
        hidden_size: H, a positive integer.
        blocks: K, a positive integer that divides H.
        dtype: the floating dtype of all parameters.
        kernel_init: draws the input weights `[I, P]` of each gate and block.
        recurrent_kernel_init: draws the recurrent weights `[P, P]` of each gate and block.
        bias_init: draws the biases `[P]` of each gate and block.
        update_bias_init: draws the update gate's biases; `bias_init` if None.

    Returns:
        `BlockGRUParams` of the given dtype.

    Raises:
        ValueError: if a size is not a positive integer, `blocks` does not divide H, or `dtype` is
            not floating.

    Example:
        >>> params = init_block_gru(jax.random.key(0), input_size=8, hidden_size=16, blocks=4)
        >>> params.w_x.shape
        (4, 3, 8, 4)

    Reference:
        Hafner et al. 2023 (block-diagonal recurrent weights), https://arxiv.org/abs/2301.04104
    """
    check_key("key", key)
    hidden_size, blocks = check_integer("hidden_size", hidden_size), check_integer("blocks", blocks)
    if hidden_size % blocks:
        raise ValueError(f"`blocks` must divide `hidden_size` {hidden_size}, got {blocks}.")
    drawn = [
        init_gru(
            block_key,
            input_size,
            hidden_size // blocks,
            dtype=dtype,
            kernel_init=kernel_init,
            recurrent_kernel_init=recurrent_kernel_init,
            bias_init=bias_init,
            update_bias_init=update_bias_init,
        )
        for block_key in jax.random.split(key, blocks)
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)
    return BlockGRUParams(stacked.w_x, stacked.w_h, stacked.b_x, stacked.b_hn)


def block_gru(
    params: BlockGRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: ArrayLike | None = None,
    reverse: bool = False,
    stop_gradient_every: int | None = None,
    implementation: Implementation | None = None,
) -> tuple[Array, Array]:
    """Runs a GRU in blocks over a sequence: all blocks in one call of the kernel.

    It computes what `grujax.gru` computes with block-diagonal recurrent matrices.

    Args:
        params: `BlockGRUParams` for input size I and hidden size H.
        xs: `[T, B, I]`, the inputs; B stands for any number of batch axes, including none.
        h0: the initial state, broadcast against `[B, H]`; zeros if None. The units of block k are
            those from k·P on.
        lengths: `[B]` integers, see `grujax.gru`.
        mask: `[T, B]` bool, see `grujax.gru`.
        resets: `[T, B]` bool, see `grujax.gru`.
        reset_state: the state at resets, broadcast against `[B, H]`; required with both
            `h0` and `resets`, see `grujax.gru`.
        reverse: whether to run each row from its last valid step to step 0.
        stop_gradient_every: truncated backpropagation through time, see `grujax.gru`.
        implementation: see `grujax.gru`.

    Returns:
        `(h_last [B, H], hs [T, B, H])`, as `grujax.gru`.

    Raises:
        ValueError: if a shape, a dtype or a concrete length does not match.

    Example:
        >>> params = init_block_gru(jax.random.key(0), input_size=8, hidden_size=16, blocks=4)
        >>> h_last, hs = block_gru(params, jnp.ones((20, 4, 8)), lengths=jnp.array([20, 3, 0, 7]))
        >>> h_last.shape, hs.shape
        ((4, 16), (20, 4, 16))

    Reference:
        Hafner et al. 2023 (block-diagonal recurrent weights), https://arxiv.org/abs/2301.04104
    """
    check_arrays(params, BlockGRUParams, _AXES)
    blocks, hidden_size = params.b_hn.shape[0], params.hidden_size
    xs = as_features("xs", xs, params.input_size, "input size")

    def split(name: str, value: ArrayLike | None) -> Array | None:
        """`[..., H]` as `[K, ..., P]`; a scalar serves all units."""
        if value is None:
            return None
        if as_array(name, value).ndim == 0:
            value = jnp.broadcast_to(as_array(name, value), hidden_size)
        state = as_features(name, value, hidden_size, "hidden size")
        return jnp.moveaxis(
            state.reshape(*state.shape[:-1], blocks, state.shape[-1] // blocks), -2, 0
        )

    def run(block: GRUParams, h0: Array | None, reset_state: Array | None) -> tuple[Array, Array]:
        return gru(
            block,
            xs,
            h0,
            lengths=lengths,
            mask=mask,
            resets=resets,
            reset_state=reset_state,
            reverse=reverse,
            stop_gradient_every=stop_gradient_every,
            implementation=implementation,
        )

    def join(states: Array) -> Array:
        return states.reshape(*states.shape[:-2], hidden_size)

    models = GRUParams(params.w_x, params.w_h, params.b_x, params.b_hn)
    states = split("h0", h0), split("reset_state", reset_state)
    h_last, hs = jax.vmap(run, out_axes=-2)(models, *states)
    return join(h_last), join(hs)
