"""From a trained `EncoderDecoder` to text: beam search in one program a width, never one a length."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

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


def make_translate(
    model: EncoderDecoder,
    params: PyTree,
    tokenizer: Tokenizer,
    widths: Sequence[int],
    num_beams: int,
) -> Callable[[Sequence[str], int], list[str]]:
    """Returns `translate(texts, batch_size) -> translations`, of any texts in any number.

    Sentences of like length go together. Each is padded to the narrowest of `widths` that holds it
    (longer ones are cut), and each batch to `batch_size`: so there is one program for each pair of
    width and batch size, compiled when it is first used.
    """

    @jax.jit
    def search(params: PyTree, source: Array) -> Array:
        apply = partial(model.apply, params)
        memory, carry = apply(source, method="encode")
        step = partial(apply, memory, method="step")
        max_length = source.shape[0] + ROOM
        return beam_search(step, carry, num_beams=num_beams, max_length=max_length)[0]

    def translate(texts: Sequence[str], batch_size: int) -> list[str]:
        rows = subwords.to_ids(tokenizer, texts)
        order = np.argsort([len(row) for row in rows], kind="stable")
        found = [""] * len(rows)
        for begin in range(0, len(order), batch_size):
            chosen = order[begin : begin + batch_size]
            batch = [rows[i] for i in chosen]
            longest = min(max(map(len, batch)), widths[-1])
            width = next(width for width in widths if width >= longest)
            # What fills up the batch has ended after one step.
            filled = batch + [[subwords.END]] * (batch_size - len(batch))
            tokens = np.asarray(search(params, pad(filled, width).T))
            for i, row in zip(chosen, tokens, strict=False):
                found[i] = subwords.to_text(tokenizer, row)
        return found

    translate.search = search  # type: ignore[attr-defined]
    return translate


def attention_map(
    model: EncoderDecoder, params: PyTree, tokenizer: Tokenizer, source: str, target: str
) -> tuple[list[str], list[str], np.ndarray]:
    """What the decoder looked at when it wrote `target`.

    Returns: the S source tokens, the T target tokens, and the attention weights [T, S].
    """
    ids = subwords.to_ids(tokenizer, [source, target])
    columns = [jnp.asarray(row, jnp.int32)[:, None] for row in ids]
    memory, carry = model.apply(params, columns[0], method="encode")
    previous = shift_right(columns[1])
    weights = model.apply(params, memory, carry, previous, method="decode")[2]
    names = [[tokenizer.id_to_token(i).replace("▁", "·") for i in row] for row in ids]
    return names[0], names[1], np.asarray(weights)[:, 0]
