"""A small Transformer that reads a sequence as a recurrent cell does, or in both directions.

    x ← x · W                            from the input to H numbers
    x ← x + attention(norm(x))           in each block: heads with rotary positions,
    x ← x + gelu(norm(x) · W1) · W2      then two layers, 4·H wide
    h ← norm(x)

`norm` divides by the root mean square and multiplies by a learned scale. Read forward, a step
attends to itself and to the steps before it; their keys and values are the state, the cache. A
cache has room for W steps, and each new step then takes the place of the oldest one.

References: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; the norm before each part: Xiong
et al. 2020, https://arxiv.org/abs/2002.04745; rotary positions: Su et al. 2021,
https://arxiv.org/abs/2104.09864; root mean square: Zhang & Sennrich 2019,
https://arxiv.org/abs/1910.07467.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import DTypeLike

BLOCKS = 2  # one block alone cannot look for what came after an earlier occurrence
HEADS = 2  # with more, few sizes would be possible: D is even
WINDOW = 128  # steps in the cache of `initial_cache`, unless it is told
_LONGEST_PERIOD = 10_000.0  # of the rotary positions, over 2π


class Block(NamedTuple):
    """The parameters of a block."""

    attention_scale: Array  # [H]
    w_qkv: Array  # [H, 3·HEADS·D]: queries, keys and values
    w_out: Array  # [HEADS·D, H]
    mlp_scale: Array  # [H]
    w_up: Array  # [H, 4·H]
    w_down: Array  # [4·H, H]


class TransformerParams(NamedTuple):
    """The parameters of all blocks, and of the layers before and after them."""

    w_in: Array  # [I, H]
    blocks: tuple[Block, ...]
    scale: Array  # [H]

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.w_in.shape[-1]


class Cache(NamedTuple):
    """What the steps so far leave behind: the last output, and the keys and values of W steps."""

    h: Array  # [B, H]
    keys: Array  # [B, BLOCKS, W, HEADS, D], rotated
    values: Array  # [B, BLOCKS, W, HEADS, D]
    positions: Array  # int32 [B, W]: the number of each step; -1: a free place
    count: Array  # int32 [B]: the steps so far


def head_size(hidden_size: int) -> int:
    """D: even, and at least the hidden size divided by the number of heads."""
    return 2 * -(-hidden_size // (2 * HEADS))


def init_transformer(key: Array, input_size: int, hidden_size: int) -> TransformerParams:
    """Draws the parameters, with a variance of 1 over the number of inputs of each matrix."""
    width = HEADS * head_size(hidden_size)
    draw, keys = initializers.lecun_normal(), jax.random.split(key, 1 + 4 * BLOCKS)
    ones, residual = jnp.ones(hidden_size), (2 * BLOCKS) ** -0.5  # so that the sum stays small
    blocks = tuple(
        Block(
            attention_scale=ones,
            w_qkv=draw(keys[1 + 4 * n], (hidden_size, 3 * width)),
            w_out=residual * draw(keys[2 + 4 * n], (width, hidden_size)),
            mlp_scale=ones,
            w_up=draw(keys[3 + 4 * n], (hidden_size, 4 * hidden_size)),
            w_down=residual * draw(keys[4 + 4 * n], (4 * hidden_size, hidden_size)),
        )
        for n in range(BLOCKS)
    )
    return TransformerParams(draw(keys[0], (input_size, hidden_size)), blocks, ones)


def initial_cache(shape: tuple[int, int], dtype: DTypeLike, window: int = WINDOW) -> Cache:
    """The state before the first step.

    Args:
      shape: (B, H).
      dtype: of keys and values.
      window: W, how many steps there is room for.
    """
    rows, hidden_size = shape
    kept = jnp.zeros((rows, BLOCKS, window, HEADS, head_size(hidden_size)), dtype)
    free = jnp.full((rows, window), -1, jnp.int32)
    return Cache(jnp.zeros(shape, dtype), kept, kept, free, jnp.zeros(rows, jnp.int32))


def run_transformer(
    params: TransformerParams,
    xs: Array,
    state0: Cache | None = None,
    *,
    lengths: Array | None = None,
    resets: Array | None = None,
    reverse: bool = False,
) -> tuple[Cache, Array]:
    """Reads a sequence forward.

    Args:
      params: the parameters.
      xs: [T, B, I].
      state0: the state so far; None: the sequence starts, and each step reads all before it.
      lengths: int [B], the number of valid steps; None: all.
      resets: bool [T, B], True where a step forgets all before it.
      reverse: must be False.

    Returns: the state, of the same W (T if `state0` is None), and the outputs [T, B, H], which are
      zero in the padding.

    Raises:
      ValueError: `reverse` is True.
    """
    if reverse:
        raise ValueError("A Transformer reads forward, or in both directions: see `encode`.")
    xs = xs.swapaxes(0, 1)  # [B, T, I]
    rows, steps = xs.shape[:2]
    if state0 is None:
        dtype = jnp.result_type(xs, params.w_in)
        state0, limit = initial_cache((rows, params.hidden_size), dtype, 0), steps
        window = steps
    else:
        limit = window = state0.positions.shape[-1]
    valid = _valid_steps(lengths, rows, steps)
    xs = jnp.where(valid[..., None], xs, 0)
    numbers = state0.count[:, None] + jnp.arange(steps, dtype=jnp.int32)  # [B, T]
    since = jnp.zeros_like(numbers)
    if resets is not None:
        since = jax.lax.cummax(jnp.where(resets.T & valid, numbers, 0), axis=1)
    latest = since.max(1, keepdims=True, initial=0)
    written = jnp.where(valid, numbers, -1)
    known = jnp.concatenate([state0.positions, written], 1)[:, None]  # [B, 1, W + T]
    now = numbers[..., None]  # [B, T, 1]
    mask = (known >= since[..., None]) & (known <= now) & (known > now - limit)
    hs, keys, values = _blocks(params, xs, numbers, mask, state0)
    hs = jnp.where(valid[..., None], hs, 0)

    count = state0.count + valid.sum(1, dtype=jnp.int32)
    is_kept = valid & (numbers >= count[:, None] - window) & (numbers >= latest)
    places = jnp.where(is_kept, numbers % window, window)  # those past the end are dropped
    if state0.positions.shape[-1] == 0:
        state0 = initial_cache((rows, params.hidden_size), hs.dtype, window)

    @partial(jax.vmap, in_axes=0)
    def write(old: Array, new: Array, place: Array) -> Array:
        return old.at[place].set(new, mode="drop")

    old_positions = jnp.where(state0.positions >= latest, state0.positions, -1)
    write_blocks = jax.vmap(write, in_axes=(1, 1, None), out_axes=1)
    outputs = jnp.concatenate([state0.h[:, None], hs], 1)
    state = Cache(
        h=jnp.take_along_axis(outputs, valid.sum(1)[:, None, None], 1)[:, 0],
        keys=write_blocks(state0.keys, keys, places),
        values=write_blocks(state0.values, values, places),
        positions=write(old_positions, numbers, places),
        count=count,
    )
    return state, hs.swapaxes(0, 1)


def transformer_step(params: TransformerParams, state: Cache, x: Array) -> Cache:
    """Reads one step x [B, I]. Where the cache is full, the oldest step's place is taken."""
    rows, window = state.positions.shape
    place = (jnp.arange(rows), state.count % window)
    positions = state.positions.at[place].set(state.count)
    mask = positions[:, None] >= 0
    hs, keys, values = _blocks(params, x[:, None], state.count[:, None], mask, state, place)
    return Cache(hs[:, 0], keys, values, positions, state.count + 1)


def encode(params: TransformerParams, xs: Array, lengths: Array | None = None) -> Array:
    """Reads a sequence in both directions at once.

    Args:
      params: the parameters.
      xs: [T, B, I].
      lengths: int [B], the number of valid steps; None: all.

    Returns: [T, B, H], zero in the padding.
    """
    xs = xs.swapaxes(0, 1)
    rows, steps = xs.shape[:2]
    valid = _valid_steps(lengths, rows, steps)
    xs = jnp.where(valid[..., None], xs, 0)
    numbers = jnp.broadcast_to(jnp.arange(steps), (rows, steps))
    empty = initial_cache((rows, params.hidden_size), xs.dtype, 0)
    hs = _blocks(params, xs, numbers, valid[:, None], empty)[0]
    return jnp.where(valid[..., None], hs, 0).swapaxes(0, 1)


def _valid_steps(lengths: Array | None, rows: int, steps: int) -> Array:
    """Whether each step is before the padding, [B, T]."""
    if lengths is None:
        return jnp.ones((rows, steps), bool)
    return jnp.arange(steps) < jnp.asarray(lengths)[:, None]


def _blocks(
    params: TransformerParams,
    xs: Array,
    numbers: Array,
    mask: Array,
    state: Cache,
    place: tuple[Array, Array] | None = None,
) -> tuple[Array, Array, Array]:
    """Runs all blocks on xs [B, T, I] at the steps `numbers` [B, T].

    Args:
      params: the parameters.
      xs, numbers: see above.
      mask: [B, T or 1, S], which of the cached and new steps each step attends to.
      state: what is cached.
      place: for T = 1, the indices of rows and steps in the cache to write to; S is then W.

    Returns: outputs [B, T, H], and keys and values [B, BLOCKS, ...]: those of the new steps, or
      with a `place` the whole cache's.
    """
    kept: list[tuple[Array, Array]] = []

    def attend(number: int, queries: Array, keys: Array, values: Array) -> Array:
        old_keys, old_values = state.keys[:, number], state.values[:, number]
        if place is None:
            kept.append((keys, values))
            keys = jnp.concatenate([old_keys, keys], 1)
            values = jnp.concatenate([old_values, values], 1)
        else:
            keys = old_keys.at[place].set(keys[:, 0])
            values = old_values.at[place].set(values[:, 0])
            kept.append((keys, values))
        return jax.nn.dot_product_attention(queries, keys, values, mask=mask[:, None])

    hs = apply_blocks(params, xs, numbers, attend)
    keys, values = (jnp.stack(parts, 1) for parts in zip(*kept, strict=True))
    return hs, keys, values


def apply_blocks(
    params: TransformerParams,
    xs: Array,
    numbers: Array,
    attend: Callable[[int, Array, Array, Array], Array],
) -> Array:
    """Runs all blocks, whose attention is given.

    Args:
      params: the parameters.
      xs: [B, T, I].
      numbers: int [B, T], the number of each step.
      attend: (block, queries, keys, values) -> what is read; all [B, T, HEADS, D], with queries and
        keys rotated.

    Returns: [B, T, H].
    """
    x = xs @ params.w_in
    shape = (*x.shape[:2], 3, HEADS, head_size(params.hidden_size))
    for number, block in enumerate(params.blocks):
        projected = (_normalize(x, block.attention_scale) @ block.w_qkv).reshape(shape)
        queries, keys, values = (projected[:, :, part] for part in range(3))
        read = attend(number, _rotate(queries, numbers), _rotate(keys, numbers), values)
        x += read.reshape(*x.shape[:2], len(block.w_out)) @ block.w_out
        x += jax.nn.gelu(_normalize(x, block.mlp_scale) @ block.w_up) @ block.w_down
    return _normalize(x, params.scale)


def _normalize(x: Array, scale: Array) -> Array:
    """Divides x [..., H] by its root mean square."""
    return scale * x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6)


def _rotate(x: Array, numbers: Array) -> Array:
    """Rotates pairs of x [B, T, HEADS, D] by angles in proportion to `numbers` [B, T]."""
    half = x.shape[-1] // 2
    speeds = _LONGEST_PERIOD ** -(jnp.arange(half) / half)
    angles = (numbers[..., None] * speeds)[:, :, None]  # [B, T, 1, D / 2]
    cosine, sine = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cosine - second * sine, first * sine + second * cosine], -1)
