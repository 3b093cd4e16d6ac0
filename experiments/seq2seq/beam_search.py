"""Beam search as one program: a `lax.while_loop` that ends when every sentence has ended."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from experiments.seq2seq.subwords import END, PADDING, START, UNKNOWN

PyTree = Any
# (state, leaves [K, B, ...]; previous tokens [K, B]) -> (state, log-probabilities [K, B, V])
Step = Callable[[PyTree, Array], tuple[PyTree, Array]]


class _Beams(NamedTuple):
    step: Array  # [] int32: tokens written
    carry: PyTree  # leaves [K, B, ...]
    tokens: Array  # [K, B, T] int32
    scores: Array  # [K, B] float32: log-probability
    finished: Array  # [K, B] bool


def beam_search(
    step: Step,
    carry: PyTree,
    *,
    num_beams: int,
    max_length: int,
    length_penalty: float = 1.0,
    no_repeat: int | None = None,
) -> tuple[Array, Array]:
    """Finds likely sentences. The beams of a sentence share everything that `step` closes over.

    Args:
      step: one step of the decoder.
      carry: its initial state, leaves [B, ...].
      num_beams: K; 1 is greedy search.
      max_length: T; longer sentences are truncated.
      length_penalty: a sentence of n tokens, including `END`, is ranked by its log-probability
        divided by ((5 + n) / 6) to this power (Wu et al. 2016, https://arxiv.org/abs/1609.08144).
      no_repeat: forbids sentences that contain an n-gram of this length twice (Paulus et al. 2018,
        https://arxiv.org/abs/1705.04304); None: allows them.

    A row is finished when its best beam so far has ended.

    Returns: the best sentence of each row, int [B, T], `PADDING` after `END`; and its rank [B].
    """
    batch_size = jax.tree.leaves(carry)[0].shape[0]
    shape = (num_beams, batch_size)
    first = jnp.arange(num_beams)[:, None] == 0  # all beams start equal: continue only one
    beams = _Beams(
        step=jnp.int32(0),
        carry=jax.tree.map(lambda x: jnp.broadcast_to(x, (num_beams, *x.shape)), carry),
        tokens=jnp.full((*shape, max_length), PADDING),
        scores=jnp.broadcast_to(jnp.where(first, 0.0, -jnp.inf), shape),
        finished=jnp.zeros(shape, bool),
    )

    def unfinished(beams: _Beams) -> Array:
        return (beams.step < max_length) & ~beams.finished.all()

    def advance(beams: _Beams) -> _Beams:
        before = jnp.take(beams.tokens, jnp.maximum(beams.step - 1, 0), axis=-1)
        carry, scores = step(beams.carry, jnp.where(beams.step == 0, START, before))
        if no_repeat is not None:
            repeats = _would_repeat(beams, no_repeat, scores.shape[-1])
            scores = jnp.where(repeats, -jnp.inf, scores)
        beam, token, scores = _best_continuations(beams, scores)

        def follow(x: Array) -> Array:
            index = beam.reshape(*beam.shape, *(1,) * (x.ndim - beam.ndim))
            return jnp.take_along_axis(x, index, axis=0)

        tokens = follow(beams.tokens).at[..., beams.step].set(token)
        finished = follow(beams.finished) | (token == END)
        best = _ranks(tokens, scores, length_penalty).argmax(0)[None]  # [1, B]
        done = jnp.take_along_axis(finished, best, axis=0)
        carry = jax.tree.map(follow, carry)
        return _Beams(beams.step + 1, carry, tokens, scores, finished | done)

    beams = jax.lax.while_loop(unfinished, advance, beams)
    ranks = _ranks(beams.tokens, beams.scores, length_penalty)
    best = ranks.argmax(0)[None]
    tokens = jnp.take_along_axis(beams.tokens, best[..., None], axis=0)[0]
    return tokens, jnp.take_along_axis(ranks, best, axis=0)[0]


def _ranks(tokens: Array, scores: Array, length_penalty: float) -> Array:
    """[K, B]: log-probabilities with the length penalty."""
    lengths = (tokens != PADDING).sum(-1)
    return scores / ((5 + lengths) / 6) ** length_penalty


def _would_repeat(beams: _Beams, size: int, num_tokens: int) -> Array:
    """Which tokens, bool [K, B, V], would complete an n-gram, n = `size`, for the second time."""
    num_beams, batch_size, length = beams.tokens.shape
    end = jnp.arange(length)  # where an earlier n-gram may end
    same = jnp.broadcast_to((end >= size - 1) & (end < beams.step), beams.tokens.shape)
    for back in range(1, size):
        last = jnp.take(beams.tokens, beams.step - back, axis=-1)[..., None]
        same &= jnp.roll(beams.tokens, back, axis=-1) == last
    beam, row = jnp.ogrid[:num_beams, :batch_size]
    found = jnp.zeros((num_beams, batch_size, num_tokens), bool)
    return found.at[beam[..., None], row[..., None], beams.tokens].max(same)


def _best_continuations(beams: _Beams, scores: Array) -> tuple[Array, Array, Array]:
    """The K best continuations: the beam that each continues, its token, its score, all [K, B].

    A finished beam continues with `PADDING` at no cost.
    """
    num_beams, num_tokens = scores.shape[0], scores.shape[-1]
    impossible = jnp.isin(jnp.arange(num_tokens), jnp.array([PADDING, UNKNOWN, START]))
    continued = jnp.where(impossible, -jnp.inf, scores)
    idle = jnp.where(jnp.arange(num_tokens) == PADDING, 0.0, -jnp.inf)
    scores, tokens = jax.lax.top_k(
        jnp.where(beams.finished[..., None], idle, continued), min(num_beams, num_tokens)
    )  # [K, B, K]
    width = scores.shape[-1]
    scores += beams.scores[..., None]

    def join_beams(x: Array) -> Array:
        return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)  # [B, K * K]

    scores, index = jax.lax.top_k(join_beams(scores), num_beams)  # [B, K]
    token = jnp.take_along_axis(join_beams(tokens), index, axis=-1)
    return (index // width).T, token.T, scores.T
