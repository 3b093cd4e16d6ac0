"""An n-gram language model with interpolated modified Kneser–Ney smoothing.

    p(c | h) = (count(hc) − D(count(hc))) / count(h) + backoff(h) · p(c | h′)

where h′ is h without its first symbol, and backoff(h) is the sum of the discounts D over all
symbols after h, divided by count(h). The count of the longest n-grams is their frequency; that of
shorter ones is the number of distinct symbols before them. The order below single symbols is
uniform.

Reference: Chen & Goodman 1999, "An empirical study of smoothing techniques for language modeling",
Computer Speech & Language 13.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BLOCK = 2500  # characters: how often `probabilities_counting_on` counts


class Grams(NamedTuple):
    """The n-grams of one length, each encoded as a number with n digits in base V."""

    grams: np.ndarray  # int64 [G], sorted
    discounted: np.ndarray  # [G], count(hc) − D
    contexts: np.ndarray  # int64 [C], sorted: the n-grams without their last symbol
    totals: np.ndarray  # [C], count(h)
    backoffs: np.ndarray  # [C]


class NGramModel(NamedTuple):
    """The statistics of all lengths."""

    num_symbols: int  # V
    orders: tuple[Grams, ...]  # of 1, 2, ..., n symbols

    def num_bytes(self) -> int:
        """Its memory: 8 bytes for each n-gram and context, and 4 for each number."""
        return sum(
            8 * (len(grams.grams) + len(grams.contexts))
            + 4 * (len(grams.discounted) + len(grams.totals) + len(grams.backoffs))
            for grams in self.orders
        )


def fit(symbols: np.ndarray, num_symbols: int, order: int) -> NGramModel:
    """Counts the n-grams of a sequence of symbols, int [N] from 0 to V − 1, up to n = `order`.

    Raises:
      ValueError: an n-gram does not fit into 63 bits.
    """
    if num_symbols**order >= 2**63:
        raise ValueError(f"{order} of {num_symbols} symbols do not fit into 63 bits.")
    grams, counts = np.unique(_windows(symbols, num_symbols, order), return_counts=True)
    orders = [_smooth(grams, counts, num_symbols)]
    for length in range(order - 1, 0, -1):
        grams, counts = np.unique(grams % num_symbols**length, return_counts=True)
        orders.append(_smooth(grams, counts, num_symbols))
    return NGramModel(num_symbols, tuple(reversed(orders)))


def probabilities(model: NGramModel, symbols: np.ndarray) -> np.ndarray:
    """The probability of each symbol except the first, given all before it: [N − 1]."""
    result = np.full(len(symbols) - 1, 1 / model.num_symbols)
    for length, grams in enumerate(model.orders, start=1):
        first = max(length - 2, 0)  # the first one with enough symbols before it
        windows = _windows(symbols, model.num_symbols, length)[1 if length == 1 else 0 :]
        result[first:] = _interpolate(grams, windows, model.num_symbols, result[first:])
    return result


def bits(model: NGramModel, symbols: np.ndarray) -> np.ndarray:
    """The bits of each symbol except the first, −log2 of its probability: [N − 1]."""
    return -np.log2(probabilities(model, symbols))


def probabilities_counting_on(
    known: np.ndarray, symbols: np.ndarray, num_symbols: int, order: int
) -> np.ndarray:
    """As `probabilities`, of a text each block of which is counted too, after it is predicted.

    Args:
      known: int [M], what is counted before.
      symbols: int [N], the text.
      num_symbols: V.
      order: n.
    """
    blocks = []
    for start in range(0, len(symbols) - 1, BLOCK):
        model = fit(np.concatenate([known, symbols[: start + 1]]), num_symbols, order)
        first = max(start - order + 1, 0)  # the histories reach into the block before
        block = symbols[first : start + BLOCK + 1]
        blocks.append(probabilities(model, block)[start - first :])
    return np.concatenate(blocks)


def prune(model: NGramModel, least: int) -> NGramModel:
    """Leaves out all n-grams whose discounted count is below `least`.

    Their probability goes to the shorter n-grams, so that the sum stays one.
    """
    orders = []
    for grams in model.orders:
        kept = grams.discounted >= least
        if not kept.any():
            break
        left, discounted = grams.grams[kept], grams.discounted[kept]
        contexts, starts = np.unique(left // model.num_symbols, return_index=True)
        totals = grams.totals[np.searchsorted(grams.contexts, contexts)]
        backoffs = 1 - np.add.reduceat(discounted, starts) / totals
        orders.append(Grams(left, discounted, contexts, totals, backoffs))
    return model._replace(orders=tuple(orders))


def prune_to_size(model: NGramModel, max_bytes: int) -> NGramModel:
    """Prunes the rarest n-grams, as few as possible, until it takes at most `max_bytes`."""
    most = max(grams.discounted.max() for grams in model.orders)
    limits = range(int(most) + 2)  # the last one leaves nothing
    chosen = bisect_left(limits, True, key=lambda x: prune(model, x).num_bytes() <= max_bytes)
    return prune(model, limits[chosen])


def distribution(model: NGramModel, context: Sequence[int]) -> np.ndarray:
    """The probabilities [V] of the symbol after `context`, whose last n − 1 symbols count."""
    result = np.full(model.num_symbols, 1 / model.num_symbols)
    for length, grams in enumerate(model.orders, start=1):
        if length - 1 > len(context):
            break
        start = 0
        for symbol in context[len(context) - (length - 1) :]:
            start = start * model.num_symbols + symbol
        windows = start * model.num_symbols + np.arange(model.num_symbols)
        result = _interpolate(grams, windows, model.num_symbols, result)
    return result


def _windows(symbols: np.ndarray, num_symbols: int, length: int) -> np.ndarray:
    """The code of each n-gram, n = `length`: int64 [N − length + 1]."""
    count = len(symbols) - length + 1
    windows = np.zeros(count, np.int64)
    for offset in range(length):
        windows = windows * num_symbols + symbols[offset : offset + count]
    return windows


def _smooth(grams: np.ndarray, counts: np.ndarray, num_symbols: int) -> Grams:
    # Chen & Goodman's estimate of D1, D2 and D3+. On little data it can leave the bounds that keep
    # every discount above 0 and below its count.
    n1, n2, n3, n4 = (max(int((counts == count).sum()), 1) for count in (1, 2, 3, 4))
    ratio = n1 / (n1 + 2 * n2)
    discounts = np.array(
        [1 - 2 * ratio * n2 / n1, 2 - 3 * ratio * n3 / n2, 3 - 4 * ratio * n4 / n3]
    )
    discounts = discounts.clip(0.1, [0.9, 1.8, 2.7])
    discount = discounts[np.minimum(counts, 3) - 1]
    contexts, starts = np.unique(grams // num_symbols, return_index=True)
    totals = np.add.reduceat(counts, starts)
    return Grams(
        grams, counts - discount, contexts, totals, np.add.reduceat(discount, starts) / totals
    )


def _interpolate(
    grams: Grams, windows: np.ndarray, num_symbols: int, shorter: np.ndarray
) -> np.ndarray:
    """The probabilities p(c | h) for `windows` hc, given `shorter`, the probabilities p(c | h′)."""
    discounted = _look_up(grams.grams, grams.discounted, windows, 0.0)
    histories = windows // num_symbols
    totals = _look_up(grams.contexts, grams.totals, histories, 1.0)
    return discounted / totals + _look_up(grams.contexts, grams.backoffs, histories, 1.0) * shorter


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray, default: float):
    places = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], default)
