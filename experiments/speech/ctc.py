"""Connectionist temporal classification (CTC): its loss, the best path, and prefix beam search.

A network says for every frame how likely each label is, or none (`BLANK`). A path is one label or
`BLANK` a frame; what it says is what is left when repetitions are merged and then blanks removed.

Reference: Graves et al. 2006, "Connectionist temporal classification", ICML; the search as Hannun
et al. 2014 (https://arxiv.org/abs/1408.2873) write it, without a language model.
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
    """What is heard in B rows of T frames."""

    labels: Array  # int [B, T]: the label that a frame adds, `BLANK` where it adds none
    scores: Array  # [B] log-probability: of the path (greedy), of the labels (beam search)

    def rows(self) -> list[list[int]]:
        """The labels of each row."""
        return [row[row != BLANK].tolist() for row in np.asarray(self.labels)]


def ctc_loss(log_probs: Array, steps: Array, digits: Array) -> Array:
    """-log p(digits [B, D]), -1 past the last, given [B, T, 11], of which `steps` exist: [B]."""
    past = jnp.arange(log_probs.shape[1]) >= steps[:, None]
    return optax.ctc_loss(
        log_probs, past.astype(float), digits + 1, (digits < 0).astype(float), blank_id=BLANK
    )


def greedy(log_probs: Array, lengths: Array) -> Decoded:
    """The labels of the most likely path. Each is added at its first frame.

    Args:
      log_probs: [B, T, V].
      lengths: [B], the frames that exist.
    """
    exists = jnp.arange(log_probs.shape[1]) < lengths[:, None]
    path = jnp.where(exists, log_probs.argmax(-1), BLANK)
    before = jnp.pad(path, ((0, 0), (1, 0)), constant_values=BLANK)[:, :-1]
    scores = jnp.where(exists, log_probs.max(-1), 0).sum(-1)
    return Decoded(jnp.where(path != before, path, BLANK), scores)


class _Beams(NamedTuple):
    """K prefixes. A prefix is known by hashes of its labels, so that none need be kept or compared:
    two of 32 bits, which for two prefixes agree by chance once in 10¹⁹."""

    hashes: Array  # uint32 [K, 2]
    before: Array  # uint32 [K, 2]: of the prefix without its last label
    last: Array  # int [K], `BLANK` for the empty prefix
    blank: Array  # [K] log-probability of its paths that end in `BLANK`
    label: Array  # [K] log-probability of its paths that end in its last label


@partial(jax.jit, static_argnames="num_beams")
def prefix_beam_search(log_probs: Array, lengths: Array, num_beams: int) -> Decoded:
    """The most likely labels that the search finds, all their paths added up.

    Exact where no more than `num_beams` prefixes have paths. A label is added at the frame at which
    its prefix came into the beam for the last time.

    Args:
      log_probs: [B, T, V].
      lengths: [B], the frames that exist.
      num_beams: K, the prefixes that are kept.
    """
    return Decoded(*jax.vmap(partial(_search, num_beams))(log_probs, lengths))


def _search(num_beams: int, log_probs: Array, length: Array) -> tuple[Array, Array]:
    """Searches one row, log_probs [T, V]. Returns: labels [T], score []."""
    nothing = jnp.full(num_beams, -jnp.inf)
    beams = _Beams(
        hashes=jnp.zeros((num_beams, _HASHES), jnp.uint32),
        before=jnp.zeros((num_beams, _HASHES), jnp.uint32),
        last=jnp.full(num_beams, BLANK),
        blank=nothing.at[0].set(0.0),  # all begin alike: only one may go on
        label=nothing,
    )

    def step(beams: _Beams, inputs: tuple[Array, Array]) -> tuple[_Beams, tuple[Array, Array]]:
        frame, exists = inputs
        after, parents, added = _advance(beams, frame)
        kept = jax.tree.map(lambda new, old: jnp.where(exists, new, old), after, beams)
        parents = jnp.where(exists, parents, jnp.arange(num_beams))
        return kept, (parents, jnp.where(exists, added, BLANK))

    exists = jnp.arange(len(log_probs)) < length
    beams, history = jax.lax.scan(step, beams, (log_probs, exists))
    scores = jnp.logaddexp(beams.blank, beams.label)
    best = scores.argmax()

    def back(beam: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        parents, added = inputs
        return parents[beam], added[beam]

    _, labels = jax.lax.scan(back, best, history, reverse=True)
    return labels, scores[best]


def _advance(beams: _Beams, frame: Array) -> tuple[_Beams, Array, Array]:
    """Hears one frame, log-probabilities [V]. Returns: the K best prefixes, which each comes from
    and the label that it adds, `BLANK` where it is the prefix that it was."""
    num_beams, num_labels = len(beams.last), len(frame)
    labels = jnp.arange(num_labels)
    total = jnp.logaddexp(beams.blank, beams.label)
    # A label that repeats the last one adds nothing unless a blank lies between: [K, V].
    repeats = labels == beams.last[:, None]
    longer = jnp.where(repeats, beams.blank[:, None], total[:, None]) + frame
    longer = jnp.where(labels == BLANK, -jnp.inf, longer)

    # What makes the prefix of beam k that of beam j, which is there already, counts for j.
    child = jnp.all(beams.before[None] == beams.hashes[:, None], -1)  # [K, K]: j is k's
    child &= (beams.last != BLANK)[None] & jnp.isfinite(total)[:, None] & jnp.isfinite(total)
    onto = child[:, :, None] & (labels == beams.last[:, None])[None]  # [K, K, V]
    joining = jnp.where(child, longer[:, beams.last], -jnp.inf)
    longer = jnp.where(onto.any(1), -jnp.inf, longer)
    blank = total + frame[BLANK]
    repeated = jnp.where(beams.last == BLANK, -jnp.inf, beams.label + frame[beams.last])
    label = jnp.logaddexp(repeated, jax.nn.logsumexp(joining, 0))

    candidates = jnp.concatenate([jnp.logaddexp(blank, label)[:, None], longer[:, 1:]], 1)
    _, index = jax.lax.top_k(candidates.reshape(-1), num_beams)
    parents, added = index // num_labels, index % num_labels
    grown = added != BLANK
    nothing = jnp.full(num_beams, -jnp.inf)
    after = _Beams(
        hashes=jnp.where(
            grown[:, None], _extended(beams.hashes[parents], added), beams.hashes[parents]
        ),
        before=jnp.where(grown[:, None], beams.hashes[parents], beams.before[parents]),
        last=jnp.where(grown, added, beams.last[parents]),
        blank=jnp.where(grown, nothing, blank[parents]),
        label=jnp.where(grown, longer[parents, added], label[parents]),
    )
    return after, parents, added


def _extended(hashes: Array, labels: Array) -> Array:
    """The hashes [K, 2] of prefixes that labels [K] make longer: one step of MurmurHash3 each."""
    factors = jnp.array([0xCC9E2D51, 0x1B873593], jnp.uint32)
    mixed = hashes ^ (labels[:, None].astype(jnp.uint32) * factors)
    mixed *= jnp.array([0x85EBCA6B, 0xC2B2AE35], jnp.uint32)
    mixed ^= mixed >> 15
    return mixed * jnp.uint32(5) + jnp.uint32(0xE6546B64)
