"""Writing texts with a trained `EncoderDecoder`, by beam search."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tokenizers import Tokenizer

from experiments.common.command import InputError
from experiments.common.data.records import clean_text
from experiments.common.data.text import pad
from experiments.common.data.user_files import quote
from experiments.seq2seq import subwords
from experiments.seq2seq.beam_search import beam_search
from experiments.seq2seq.model import EncoderDecoder, shift_right

PyTree = Any
EXTRA_LENGTH = 16  # the default maximum length is the width of the source plus this many tokens
DOUBTED = 0.01  # of the answers for texts like those in training
NUM_TIMED = 50  # texts that are also translated one by one, to time it


class Translator(NamedTuple):
    """Translates texts: `translator(texts, batch_size) -> translations`.

    Texts of similar length share a batch, which is padded to the narrowest of `widths` that holds
    it and to `batch_size`. So each pair of width and batch size compiles once, on first use.
    """

    model: EncoderDecoder
    params: PyTree
    tokenizer: Tokenizer
    widths: tuple[int, ...]
    num_beams: int
    tail: int = 0  # longer texts lose their middle: this many tokens at their end are kept
    max_length: int | None = None  # of the output, in tokens; None: depends on the source
    length_penalty: float = 1.0  # see `beam_search`
    no_repeat: int | None = None  # see `beam_search`

    def __call__(self, texts: Sequence[str], batch_size: int) -> list[str]:
        return self.translate(texts, batch_size)[0]

    def translate(self, texts: Sequence[str], batch_size: int) -> tuple[list[str], np.ndarray]:
        """The translations of N texts, and the ranks [N] of `beam_search`: how likely they are."""
        rows = self._source_ids(texts)
        order = np.argsort([len(row) for row in rows], kind="stable")
        outputs, ranks = [""] * len(rows), np.zeros(len(rows))
        for begin in range(0, len(order), batch_size):
            chosen = order[begin : begin + batch_size]
            batch = [rows[i] for i in chosen]
            width = next(width for width in self.widths if width >= max(map(len, batch)))
            # The rows that fill the batch end after one step.
            filled = batch + [[subwords.END]] * (batch_size - len(batch))
            max_length = self.max_length or width + EXTRA_LENGTH
            options = SearchOptions(self.num_beams, max_length, self.length_penalty, self.no_repeat)
            found = search(self.model, options, self.params, pad(filled, width).T)
            for i, row, rank in zip(chosen, *map(np.asarray, found), strict=False):
                outputs[i], ranks[i] = subwords.to_text(self.tokenizer, row), rank
        return outputs, ranks

    def answer(self, text: str, least_rank: float) -> tuple[str, list[str]]:
        """The translation of one text, and one sentence per reason to doubt it.

        Args:
          text: the text.
          least_rank: less likely translations are doubted, see `usual_rank`.

        Raises:
          InputError: the text is empty, or no character is known.
        """
        text = clean_text(text)
        encoding = self.tokenizer.encode(text)
        parts = zip(encoding.ids, encoding.offsets, strict=True)
        unknown = {text[a:b] for token, (a, b) in parts if token == subwords.UNKNOWN}
        characters = {character for character in "".join(unknown) if not character.isspace()}
        if not text:
            raise InputError("The text is empty.")
        if characters >= set("".join(text.split())):
            raise InputError(f"The model knows no character of {quote(text)}.")
        [output], [rank] = self.translate([text], batch_size=1)
        doubts = []
        if characters:
            doubts.append(f"The model does not know {', '.join(sorted(characters))}.")
        if len(encoding.ids) >= self.widths[-1]:
            cut = "the middle" if self.tail else "the end"
            doubts.append(
                f"The text has {len(encoding.ids)} subwords; the model reads at most "
                f"{self.widths[-1] - 1}, so {cut} is left out."
            )
        if rank < least_rank:
            doubts.append(
                "Unsure: the model finds its answer less likely than "
                f"{1 - DOUBTED:.0%} of those for validation texts."
            )
        return output, doubts

    def usual_rank(self, texts: Sequence[str], batch_size: int) -> float:
        """The rank below which `DOUBTED` of the translations of held-out texts are."""
        return float(np.quantile(self.translate(texts, batch_size)[1], DOUBTED))

    def attention_map(self, source: str, target: str) -> tuple[list[str], list[str], np.ndarray]:
        """The decoder's attention while it writes `target`.

        Returns: the S source tokens, the T target tokens, and the attention weights [T, S].
        """
        ids = self.columns(source, target)
        _, weights = self.model.apply(self.params, ids[0], shift_right(ids[1]), train=False)
        names = [
            [self.tokenizer.id_to_token(i).replace("▁", "␣") for i in column[:, 0].tolist()]
            for column in ids
        ]
        return names[0], names[1], np.asarray(weights)[:, 0]

    def columns(self, source: str, target: str) -> tuple[Array, Array]:
        """The ids of one pair as inputs of the model, int [S, 1] and [T, 1]."""
        [row], [written] = self._source_ids([source]), subwords.to_ids(self.tokenizer, [target])
        return jnp.array(row)[:, None], jnp.array(written)[:, None]

    def _source_ids(self, texts: Sequence[str]) -> list[list[int]]:
        rows = subwords.to_ids(self.tokenizer, texts)
        return [subwords.drop_middle(row, self.widths[-1], self.tail) for row in rows]


class SearchOptions(NamedTuple):
    """The options of `beam_search`."""

    num_beams: int
    max_length: int
    length_penalty: float
    no_repeat: int | None


@partial(jax.jit, static_argnums=(0, 1))
def search(
    model: EncoderDecoder, options: SearchOptions, params: PyTree, source: Array
) -> tuple[Array, Array]:
    """The best texts, int [B, T], and their ranks [B], for sources [S, B]: encodes and searches."""
    apply = partial(model.apply, params)
    memory, first = apply(source, method="encode")
    carry = apply(first, options.max_length, method="start")
    step = partial(apply, memory, method="step")
    return beam_search(step, carry, **options._asdict())


def describe_speed(translator: Translator, texts: Sequence[str], batch_size: int) -> str:
    """Reports the time per text, tokenization included, one by one and in batches."""
    alone = _milliseconds(translator, texts[:NUM_TIMED], 1)
    batched = _milliseconds(translator, texts, batch_size)
    return (
        f"{translator.num_beams} beams, milliseconds per text: {alone:.1f} one by one, "
        f"{batched:.2f} in batches of {batch_size}, {alone / batched:.1f} times as fast."
    )


def _milliseconds(translator: Translator, texts: Sequence[str], batch_size: int) -> float:
    translator(texts, batch_size)  # compiles
    start = time.perf_counter()
    translator(texts, batch_size)
    return 1000 * (time.perf_counter() - start) / len(texts)
