"""Connectionist temporal classification (CTC): its loss, the best path, and prefix beam search.

A network gives for every frame the probability of each label and of no label (`BLANK`). A path
assigns a label or `BLANK` to every frame; it spells the labels that remain after repetitions are
merged and blanks removed.

Reference: Graves et al. 2006, "Connectionist temporal classification", ICML. The search
is that of Hannun et al. 2014, https://arxiv.org/abs/1408.2873, without a language model.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

BLANK = 0
_HASHES = 2


class Decoded(NamedTuple):
    """The labels decoded from B rows of T frames."""

    labels: Array  # int [B, T]: the label that a frame adds, `BLANK` if none
    scores: Array  # [B] log-probability: of the path (greedy), of the labels (beam search)

    def to_lists(self) -> list[list[int]]:
        """The labels of each row."""
        return [row[row != BLANK].tolist() for row in np.asarray(self.labels)]


def ctc_loss(log_probs: Array, steps: Array, digits: Array) -> Array:
    """The negative log-likelihood of digits, or of other labels: [B].

    Args:
      log_probs: [B, T, V + 1], of `BLANK` and the V labels.
      steps: [B], the number of valid steps.
      digits: int [B, D], -1 past the last.
    """
    padding = jnp.arange(log_probs.shape[1]) >= steps[:, None]
    return optax.ctc_loss(
        log_probs, padding.astype(float), digits + 1, (digits < 0).astype(float), blank_id=BLANK
    )


def decode_greedy(log_probs: Array, lengths: Array) -> Decoded:
    """Decodes the most likely path. Each label is added at its first frame.

    Args:
      log_probs: [B, T, V].
      lengths: [B], the number of valid frames.
    """
    valid = jnp.arange(log_probs.shape[1]) < lengths[:, None]
    path = jnp.where(valid, log_probs.argmax(-1), BLANK)
    before = jnp.pad(path, ((0, 0), (1, 0)), constant_values=BLANK)[:, :-1]
    scores = jnp.where(valid, log_probs.max(-1), 0).sum(-1)
    return Decoded(jnp.where(path != before, path, BLANK), scores)


class _Beams(NamedTuple):
    """K prefixes, each identified by two 32-bit hashes instead of its labels.

    Two different prefixes have equal hashes once in 10¹⁹ cases.
    """

    hashes: Array  # uint32 [K, 2]
    parent_hashes: Array  # uint32 [K, 2], of the prefix without its last label
    last: Array  # int [K], the last label; `BLANK` for the empty prefix
    blank: Array  # [K] log-probability of its paths that end in `BLANK`
    label: Array  # [K] log-probability of its paths that end in its last label


@partial(jax.jit, static_argnames="num_beams")
def prefix_beam_search(log_probs: Array, lengths: Array, num_beams: int) -> Decoded:
    """Searches for the most likely labels, summing the probabilities of all their paths.

    The search is exact if at most `num_beams` prefixes have paths. A label is added at the frame at
    which its prefix last entered the beam.

    Args:
      log_probs: [B, T, V].
      lengths: [B], the number of valid frames.
      num_beams: K, the number of prefixes kept.
    """
    return Decoded(*jax.vmap(partial(_search, num_beams))(log_probs, lengths))


def _search(num_beams: int, log_probs: Array, length: Array) -> tuple[Array, Array]:
    """Searches one row, log_probs [T, V]. Returns: labels [T], score []."""
    impossible = jnp.full(num_beams, -jnp.inf)
    beams = _Beams(
        hashes=jnp.zeros((num_beams, _HASHES), jnp.uint32),
        parent_hashes=jnp.zeros((num_beams, _HASHES), jnp.uint32),
        last=jnp.full(num_beams, BLANK),
        blank=impossible.at[0].set(0.0),  # all beams are empty: only one may continue
        label=impossible,
    )

    def step(beams: _Beams, inputs: tuple[Array, Array]) -> tuple[_Beams, tuple[Array, Array]]:
        frame, is_valid = inputs
        after, parents, added = _advance(beams, frame)
        kept = jax.tree.map(lambda new, old: jnp.where(is_valid, new, old), after, beams)
        parents = jnp.where(is_valid, parents, jnp.arange(num_beams))
        return kept, (parents, jnp.where(is_valid, added, BLANK))

    valid = jnp.arange(len(log_probs)) < length
    beams, history = jax.lax.scan(step, beams, (log_probs, valid))
    scores = jnp.logaddexp(beams.blank, beams.label)
    best = scores.argmax()

    def trace_back(beam: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        parents, added = inputs
        return parents[beam], added[beam]

    _, labels = jax.lax.scan(trace_back, best, history, reverse=True)
    return labels, scores[best]


def _advance(beams: _Beams, frame: Array) -> tuple[_Beams, Array, Array]:
    """Advances the search by one frame, log-probabilities [V].

    Returns: the K best prefixes, the index of the beam that each comes from, and the label that it
    adds, `BLANK` if it is the same prefix.
    """
    num_beams, num_labels = len(beams.last), len(frame)
    labels = jnp.arange(num_labels)
    total = jnp.logaddexp(beams.blank, beams.label)
    # A label that repeats the last one extends the prefix only after a blank: [K, V].
    repeats = labels == beams.last[:, None]
    longer = jnp.where(repeats, beams.blank[:, None], total[:, None]) + frame
    longer = jnp.where(labels == BLANK, -jnp.inf, longer)

    # If an extension of beam k gives the prefix of beam j, its probability goes to beam j.
    child = jnp.all(beams.parent_hashes[None] == beams.hashes[:, None], -1)  # [K, K]: j is k's
    child &= (beams.last != BLANK)[None] & jnp.isfinite(total)[:, None] & jnp.isfinite(total)
    merged = child[:, :, None] & (labels == beams.last[:, None])[None]  # [K, K, V]
    joining = jnp.where(child, longer[:, beams.last], -jnp.inf)
    longer = jnp.where(merged.any(1), -jnp.inf, longer)
    blank = total + frame[BLANK]
    repeated = jnp.where(beams.last == BLANK, -jnp.inf, beams.label + frame[beams.last])
    label = jnp.logaddexp(repeated, jax.nn.logsumexp(joining, 0))

    candidates = jnp.concatenate([jnp.logaddexp(blank, label)[:, None], longer[:, 1:]], 1)
    _, index = jax.lax.top_k(candidates.reshape(-1), num_beams)
    parents, added = index // num_labels, index % num_labels
    grown = added != BLANK
    impossible = jnp.full(num_beams, -jnp.inf)
    after = _Beams(
        hashes=jnp.where(
            grown[:, None], _extend_hashes(beams.hashes[parents], added), beams.hashes[parents]
        ),
        parent_hashes=jnp.where(
            grown[:, None], beams.hashes[parents], beams.parent_hashes[parents]
        ),
        last=jnp.where(grown, added, beams.last[parents]),
        blank=jnp.where(grown, impossible, blank[parents]),
        label=jnp.where(grown, longer[parents, added], label[parents]),
    )
    return after, parents, added


def _extend_hashes(hashes: Array, labels: Array) -> Array:
    """The hashes [K, 2] of prefixes extended by labels [K]: one step of MurmurHash3 each."""
    factors = jnp.array([0xCC9E2D51, 0x1B873593], jnp.uint32)
    mixed = hashes ^ (labels[:, None].astype(jnp.uint32) * factors)
    mixed *= jnp.array([0x85EBCA6B, 0xC2B2AE35], jnp.uint32)
    mixed ^= mixed >> 15
    return mixed * jnp.uint32(5) + jnp.uint32(0xE6546B64)
