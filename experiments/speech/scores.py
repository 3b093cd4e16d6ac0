"""How well strings of digits were recognized. jiwer does the alignments."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jiwer
import numpy as np
from jax import Array

from experiments.common.report.bootstrap import ratio_interval

NOTHING = "nothing"


class Score(NamedTuple):
    """The errors in B recognized strings of at most D digits."""

    errors: np.ndarray  # int [B, D]: substitutions, deletions and insertions at each digit
    valid: np.ndarray  # bool [B, D]: which digits were said
    confusions: Counter[tuple[str, str]]  # (said, heard); `NOTHING` for an insertion or deletion

    @property
    def error_rate(self) -> float:
        """Errors per digit said."""
        return float(self.errors.sum() / self.valid.sum())

    @property
    def strings_right(self) -> float:
        """The share of strings without an error."""
        return float((self.errors.sum(1) == 0).mean())


def score_strings(digits: np.ndarray, heard: Sequence[Sequence[int]]) -> Score:
    """Aligns the digits heard with the digits said. An insertion counts at the preceding digit.

    Args:
      digits: int [B, D], -1 past the last; at least one in each row.
      heard: the digits heard in each row.
    """
    said = [[str(digit) for digit in row if digit >= 0] for row in digits]
    answers = [[str(digit) for digit in row] for row in heard]
    texts = [[" ".join(row) for row in rows] for rows in (said, answers)]
    errors = np.zeros(digits.shape, int)
    confusions: Counter[tuple[str, str]] = Counter()
    for i, chunks in enumerate(jiwer.process_words(*texts).alignments):
        for chunk in chunks:
            if chunk.type == "equal":
                continue
            expected = said[i][chunk.ref_start_idx : chunk.ref_end_idx]
            found = answers[i][chunk.hyp_start_idx : chunk.hyp_end_idx]
            count = max(len(expected), len(found))
            positions = chunk.ref_start_idx + np.arange(count)
            if chunk.type == "insert":
                positions[:] = max(chunk.ref_start_idx - 1, 0)
            np.add.at(errors[i], positions, 1)
            pairs = zip(expected or [NOTHING] * count, found or [NOTHING] * count, strict=True)
            confusions.update(pairs)
    return Score(errors, digits >= 0, confusions)


def error_rate_interval(
    score: Score, utterances: np.ndarray, draws: int = 2000
) -> tuple[float, float]:
    """The 95% interval of the error rate, by bootstrap over utterances.

    Strings share utterances, and an utterance that is hard to recognize is hard in all of them.
    Drawing strings instead of utterances would make the interval too narrow.

    Args:
      score: of B strings of at most D digits.
      utterances: int [B, D], the number of the utterance behind each digit; two or more different.
      draws: the number of resamples.
    """
    errors = score.errors[score.valid]
    return ratio_interval(errors, np.ones(len(errors)), utterances[score.valid], draws)


def error_rates_by_length(
    score: Score, utterances: np.ndarray
) -> dict[int, tuple[float, float, float]]:
    """The error rate of the strings with each number of digits, with its 95% interval.

    Args:
      score: of B strings of at most D digits.
      utterances: int [B, D], as for `error_rate_interval`; where all strings of a length have the
        same one, the interval is the rate itself.
    """
    rates = {}
    for length in np.unique(score.valid.sum(1)).tolist():
        rows = score.valid.sum(1) == length
        part, said = Score(score.errors[rows], score.valid[rows], Counter()), utterances[rows]
        several = len(np.unique(said[part.valid])) > 1
        interval = error_rate_interval(part, said) if several else (part.error_rate,) * 2
        rates[length] = (part.error_rate, *interval)
    return rates


def edit_distances(references: Array, hypotheses: Array, blank: int) -> Array:
    """The Levenshtein distance of each of B pairs of rows, also under `jax.jit`: int [B].

    Args:
      references: int [B, D], `blank` past the end.
      hypotheses: int [B, T], `blank` anywhere.
      blank: the number that is not a symbol.
    """
    return jax.vmap(lambda one, other: _edit_distance(one, other, blank))(references, hypotheses)


def _edit_distance(reference: Array, hypothesis: Array, blank: int) -> Array:
    counts = jnp.arange(len(reference) + 1)  # row[k]: distance from the first k symbols

    def step(row: Array, symbol: Array) -> tuple[Array, None]:
        replaced = row[:-1] + (reference != symbol)
        best = jnp.minimum(row + 1, jnp.concatenate([row[:1] + 1, replaced]))
        # Each deletion costs 1: after[k] = min over j ≤ k of best[j] + (k − j).
        after = jax.lax.cummin(best - counts) + counts
        return jnp.where(symbol == blank, row, after), None

    row, _ = jax.lax.scan(step, counts, hypothesis)
    return row[(reference != blank).sum()]
