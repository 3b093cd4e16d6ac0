"""How well strings of digits were recognised. The alignments are jiwer's."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jiwer
import numpy as np
from jax import Array

NOTHING = "nothing"


class Score(NamedTuple):
    """What was heard in B strings of at most D digits."""

    errors: np.ndarray  # int [B, D]: substitutions, deletions and insertions at each digit
    exists: np.ndarray  # bool [B, D]
    mistakes: Counter[tuple[str, str]]  # (said, heard); `NOTHING` where one was inserted or deleted

    @property
    def error_rate(self) -> float:
        """Errors for each digit that was said."""
        return float(self.errors.sum() / self.exists.sum())

    @property
    def strings_right(self) -> float:
        """The share of strings without an error."""
        return float((self.errors.sum(1) == 0).mean())

    def by_length(self) -> dict[int, float]:
        """The error rate of the strings of each number of digits."""
        lengths = self.exists.sum(1)
        return {
            int(n): float(self.errors[lengths == n].sum() / (n * (lengths == n).sum()))
            for n in np.unique(lengths)
        }


def score_strings(digits: np.ndarray, heard: Sequence[Sequence[int]]) -> Score:
    """Aligns what was heard with what was said. An insertion counts at the digit before it.

    Args:
      digits: int [B, D], -1 past the last; one or more in each row.
      heard: the digits heard in each row.
    """
    exists = digits >= 0
    said = [[str(digit) for digit in row if digit >= 0] for row in digits]
    answers = [[str(digit) for digit in row] for row in heard]
    texts = [[" ".join(row) for row in rows] for rows in (said, answers)]
    errors = np.zeros(digits.shape, int)
    mistakes: Counter[tuple[str, str]] = Counter()
    for i, chunks in enumerate(jiwer.process_words(*texts).alignments):
        for chunk in chunks:
            if chunk.type == "equal":
                continue
            first = said[i][chunk.ref_start_idx : chunk.ref_end_idx]
            second = answers[i][chunk.hyp_start_idx : chunk.hyp_end_idx]
            count = max(len(first), len(second))
            places = chunk.ref_start_idx + np.arange(count)
            if chunk.type == "insert":
                places[:] = max(chunk.ref_start_idx - 1, 0)
            np.add.at(errors[i], places, 1)
            mistakes.update(
                zip(first or [NOTHING] * count, second or [NOTHING] * count, strict=True)
            )
    return Score(errors, exists, mistakes)


def interval(score: Score, utterances: np.ndarray, draws: int = 2000) -> tuple[float, float]:
    """A 95% interval of the error rate, by bootstrap over utterances.

    Strings share utterances, and one that is hard to recognise is so in all of them: strings drawn
    with replacement would make the interval too narrow.

    Args:
      score: of B strings of at most D digits.
      utterances: int [B, D], the number of the utterance behind each digit.
      draws: how often as many utterances as there are are drawn with replacement.
    """
    numbers, places = np.unique(utterances[score.exists], return_inverse=True)
    errors, uses = np.bincount(places, score.errors[score.exists]), np.bincount(places)
    shares = np.full(len(numbers), 1 / len(numbers))
    weights = np.random.default_rng(0).multinomial(len(numbers), shares, draws)
    low, high = np.percentile((weights @ errors) / (weights @ uses), [2.5, 97.5])
    return float(low), float(high)


def edit_distances(said: Array, heard: Array, nothing: int) -> Array:
    """The Levenshtein distances of B pairs of rows, under `jax.jit`: int [B].

    Args:
      said: int [B, D], `nothing` past the end.
      heard: int [B, T], `nothing` anywhere.
      nothing: what is no symbol.
    """
    return jax.vmap(lambda one, other: _edit_distance(one, other, nothing))(said, heard)


def _edit_distance(said: Array, heard: Array, nothing: int) -> Array:
    places = jnp.arange(len(said) + 1)  # the row holds distances from the first so many of `said`

    def step(row: Array, symbol: Array) -> tuple[Array, None]:
        replaced = row[:-1] + (said != symbol)
        best = jnp.minimum(row + 1, jnp.concatenate([row[:1] + 1, replaced]))
        # A deletion costs one a place: the least over all places before, each so far away.
        after = jax.lax.cummin(best - places) + places
        return jnp.where(symbol == nothing, row, after), None

    row, _ = jax.lax.scan(step, places, heard)
    return row[(said != nothing).sum()]
