"""From a trained `EncoderDecoder` to text, by beam search."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tokenizers import Tokenizer

from experiments.common import subwords
from experiments.common.beam_search import beam_search
from experiments.common.seq2seq import EncoderDecoder, shift_right
from experiments.common.text import pad

PyTree = Any
ROOM = 16  # how many tokens longer than its source's width a translation may become


class Translator(NamedTuple):
    """Translates texts: `translator(texts, batch_size) -> translations`.

    Sentences of like length go together. Each is padded to the narrowest of `widths` that holds it
    (longer ones are cut), and each batch to `batch_size`: so there is one program for each pair of
    width and batch size, compiled when it is first used.
    """

    model: EncoderDecoder
    params: PyTree
    tokenizer: Tokenizer
    widths: tuple[int, ...]
    num_beams: int

    def __call__(self, texts: Sequence[str], batch_size: int) -> list[str]:
        rows = subwords.to_ids(self.tokenizer, texts)
        order = np.argsort([len(row) for row in rows], kind="stable")
        found = [""] * len(rows)
        for begin in range(0, len(order), batch_size):
            chosen = order[begin : begin + batch_size]
            batch = [rows[i] for i in chosen]
            longest = min(max(map(len, batch)), self.widths[-1])
            width = next(width for width in self.widths if width >= longest)
            # What fills up the batch has ended after one step.
            filled = batch + [[subwords.END]] * (batch_size - len(batch))
            tokens = search(self.model, self.num_beams, self.params, pad(filled, width).T)
            for i, row in zip(chosen, np.asarray(tokens), strict=False):
                found[i] = subwords.to_text(self.tokenizer, row)
        return found

    def attention_map(self, source: str, target: str) -> tuple[list[str], list[str], np.ndarray]:
        """What the decoder looked at when it wrote `target`.

        Returns: the S source tokens, the T target tokens, and the attention weights [T, S].
        """
        ids = subwords.to_ids(self.tokenizer, [source, target])
        columns = [jnp.asarray(row, jnp.int32)[:, None] for row in ids]
        _, weights = self.model.apply(self.params, columns[0], shift_right(columns[1]), train=False)
        names = [[self.tokenizer.id_to_token(i).replace("▁", "·") for i in row] for row in ids]
        return names[0], names[1], np.asarray(weights)[:, 0]


@partial(jax.jit, static_argnums=(0, 1))
def search(model: EncoderDecoder, num_beams: int, params: PyTree, source: Array) -> Array:
    """The best translations, int [B, T], of sources [S, B]: encoding and beam search."""
    apply = partial(model.apply, params)
    memory, carry = apply(source, method="encode")
    step = partial(apply, memory, method="step")
    max_length = source.shape[0] + ROOM
    return beam_search(step, carry, num_beams=num_beams, max_length=max_length)[0]


def measure_speed(translator: Translator, texts: Sequence[str], batch_size: int) -> float:
    """Milliseconds a text, from text to text, when every program is compiled."""
    translator(texts, batch_size)
    start = time.perf_counter()
    translator(texts, batch_size)
    return 1000 * (time.perf_counter() - start) / len(texts)
