"""Subwords: a vocabulary learned by byte-pair encoding, and texts as lists of ids.

Reference: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from experiments.common.files import write_atomically

PADDING, UNKNOWN, START, END = range(4)  # the first ids of every vocabulary
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]


def learn_subwords(texts: Iterable[str], size: int) -> Tokenizer:
    """Learns a vocabulary of `size` subwords that keeps case and the spaces between words.

    Each digit and punctuation mark is its own token, so numbers are spelled out.
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
    """Loads the vocabulary at `path`, or learns it from the training texts and saves it there."""
    if not path.exists():
        tokenizer = learn_subwords(texts, size)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, tokenizer.to_str().encode())
    return Tokenizer.from_file(str(path))


def to_ids(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    """Returns the ids of each text, ending with `END`."""
    return [[*encoding.ids, END] for encoding in tokenizer.encode_batch(list(texts))]


def to_text(tokenizer: Tokenizer, ids: Sequence[int] | np.ndarray) -> str:
    """Decodes ids up to the first `END`."""
    row = [int(i) for i in ids]
    return tokenizer.decode(row[: row.index(END)] if END in row else row).strip()


def drop_middle(ids: Sequence[int], length: int, tail: int) -> list[int]:
    """Shortens a list of ids to `length`: keeps its beginning and its last `tail` ids."""
    if len(ids) <= length:
        return list(ids)
    return [*ids[: length - tail], *ids[len(ids) - tail :]]
