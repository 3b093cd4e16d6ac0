"""Subwords: a vocabulary learned by byte-pair encoding, and texts as lists of ids.

Reference: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from experiments.common.durable import DamagedFileError, read_json, write_json

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
        write_json(path, json.loads(tokenizer.to_str()))
    return load_subwords(path)


def load_subwords(path: Path) -> Tokenizer:
    """Loads a saved vocabulary.

    Raises:
      DamagedFileError: the file has a wrong checksum, or is no vocabulary.
      OSError: it cannot be read.
    """
    vocabulary = json.dumps(read_json(path))
    try:
        return Tokenizer.from_str(vocabulary)
    except Exception as error:  # the library raises no other kind
        raise DamagedFileError(f"{path} is damaged, or no vocabulary: {error}.") from error


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
