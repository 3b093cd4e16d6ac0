"""Subwords: a vocabulary learned by byte-pair encoding, and texts as rows of its ids.

Reference: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from experiments.common.training.loop import write_atomically

PADDING, UNKNOWN, START, END = range(4)  # the first ids of every vocabulary
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]


def learn_subwords(texts: Iterable[str], size: int) -> Tokenizer:
    """Learns a vocabulary of `size` subwords. Case, and spaces between words, are kept.

    Digits and punctuation marks stand alone, so that numbers are spelled.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def learn_or_load_subwords(path: Path, texts: Iterable[str], size: int) -> Tokenizer:
    """Learns the vocabulary from the training texts, once for a run directory: `path` keeps it."""
    if not path.exists():
        tokenizer = learn_subwords(texts, size)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, tokenizer.to_str().encode())
    return Tokenizer.from_file(str(path))


def to_ids(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    """Returns the ids of each text, ending with `END`."""
    return [[*encoding.ids, END] for encoding in tokenizer.encode_batch(list(texts))]


def to_text(tokenizer: Tokenizer, ids: Sequence[int] | np.ndarray) -> str:
    """Returns the text that ids stand for, up to the first `END`."""
    row = [int(i) for i in ids]
    return tokenizer.decode(row[: row.index(END)] if END in row else row).strip()


def without_middle(ids: Sequence[int], length: int, tail: int) -> list[int]:
    """Cuts a row of ids to `length`: what is longer keeps its beginning and its last `tail`."""
    if len(ids) <= length:
        return list(ids)
    return [*ids[: length - tail], *ids[len(ids) - tail :]]
