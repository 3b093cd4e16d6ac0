"""Translation: a bidirectional GRU encoder, a GRU decoder with additive attention, beam search.

Debian's volunteers translate the descriptions of its packages: 72,000 English sentences of at most
14 words with Italian translations (`--target fr|de`: French, German), from the package index of the
Debian system it runs on. No split separates packages of one family, or equal sentences. The
alternative data, which run anywhere, are dates in 22 languages with their ISO 8601 form.

    python -m experiments.translation                     English to Italian: 9 minutes
    python -m experiments.translation --data dates        dates: 2 minutes
    python -m experiments.translation --quick             a small subset: 2 minutes
    python -m experiments.translation --translate "small library for reading images"
    python -m experiments.translation --train pairs.csv   your own text pairs
    python -m experiments.translation --translate "good morning" --model runs/translation/pairs

Measured on 1,998 test sentences, BLEU / chrF: GRU with 5 beams 56.3 / 77.4, translation memory
22.7 / 43.1, the source copied 10.0 / 37.4. All of 4,000 dates in the formats of CLDR, on days
outside the training set, are correct, measured before typed dates were added.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jax import Array

from experiments.common import training
from experiments.common.command import InputError
from experiments.common.provenance import command_line
from experiments.common.report.heat_maps import plot_alignment
from experiments.common.report.plots import cell_title
from experiments.seq2seq import dates
from experiments.seq2seq import training as seq2seq
from experiments.seq2seq.buckets import Data
from experiments.seq2seq.decoding import Translator, describe_speed
from experiments.seq2seq.model import EncoderDecoder, shift_right, smoothed_cross_entropy
from experiments.seq2seq.parallel_corpus import date_corpus, debian_corpus, user_corpus
from experiments.seq2seq.report import write_outputs, write_scores
from experiments.seq2seq.translation_scores import (
    score_translations,
    translation_memory,
    word_dictionary,
)
from experiments.translation.settings import Command, Settings

COMMAND = "python -m experiments.translation"
FIELDS = {"source": ("src", "input", "from"), "target": ("tgt", "output", "translation", "to")}
BEAMS = 5
BATCH = 64  # sentences translated together
MINUTES = {"ddtp": (9, 2), "dates": (2, 1.5)}  # of the whole command, and with --quick


def make_model(settings: Settings) -> EncoderDecoder:
    """Builds the network. All its layers are in `experiments/seq2seq/model.py`."""
    return EncoderDecoder(
        num_tokens=settings.vocabulary_size,
        embedding_size=settings.embedding_size,
        hidden_size=settings.hidden_size,
        attention_size=settings.attention_size,
        dropout=settings.dropout,
        cell=settings.cell,
    )


def translation_training(
    settings: Settings, data: Data, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one translator; the learning rate may be traced."""
    model = make_model(settings)

    def token_losses(params, source, target, train, rngs):
        previous = shift_right(target)
        logits, _ = model.apply(params, source, previous, train, rngs=rngs)  # [T, B, V]
        losses = smoothed_cross_entropy(logits, target, settings.label_smoothing)
        return losses, logits.argmax(-1) == target

    return seq2seq.encoder_decoder_training(settings, data, learning_rate, model, token_losses)


def make_train(settings: Settings, data: Data) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""
    return training.as_function(translation_training, settings, data)


def load_translator(out: Path) -> Translator:
    """Loads the saved model."""
    params, saved, tokenizer = seq2seq.load(out, COMMAND)
    settings = Settings(**saved)
    return Translator(make_model(settings), params, tokenizer, settings.widths, BEAMS)


def experiment(command: Command, out: Path) -> None:
    """Trains, translates the test set, and compares with the baselines."""
    settings, are_dates = command.settings, out.name == "dates"
    title = cell_title(settings.cell)
    about: dict[str, Any] = {"data": command.data, "target": command.target}
    if command.train is not None:
        corpus, notes = user_corpus(command.train, FIELDS, command.columns)
        print("\n".join(notes))
        about = {}
    else:
        minutes = MINUTES[command.data][command.quick]
        print(f"Training: about {minutes} minutes of one CPU core.")
        corpus = date_corpus() if are_dates else debian_corpus(command.target)
    print(corpus.origin())
    corpus = corpus.reduced(settings.num_pairs)
    about |= corpus.record()
    seq2seq.train_and_save(settings, corpus, out, seq2seq.prepare, translation_training, **about)

    translator = load_translator(out)
    validation, _ = corpus.select(corpus.split.validation)
    seq2seq.save_least_rank(out, translator.usual_rank(validation, BATCH))
    known = corpus.select(corpus.split.train)
    test, references = corpus.select(corpus.split.test)
    rows = {"copy": test, "translation memory": translation_memory(*known, test)}
    if not are_dates:
        rows["word dictionary"] = word_dictionary(*known, test)
    rows[f"{title}, greedy"] = translator._replace(num_beams=1)(test, batch_size=BATCH)
    rows[f"{title}, {BEAMS} beams"] = outputs = translator(test, batch_size=BATCH)
    parts = corpus.parts[corpus.split.test]
    columns = ("exact",) if are_dates else ("BLEU", "chrF", "exact")
    write_scores(rows, references, parts, score_translations, columns, out / "results.json")
    write_outputs(out / "translations.tsv", test, references, outputs)
    print(f"\n{describe_speed(translator, test, BATCH)}")
    examples = np.random.default_rng(1).choice(len(test), 3, replace=False)
    maps = [translator.attention_map(test[i], outputs[i]) for i in examples]
    plot_alignment(out / "attention.png", maps)
    own = [] if command.train is None else ["--model", str(out)]
    print(f"Try: {command_line(COMMAND, '--translate', test[examples[0]], *own)}")


def translate(out: Path, text: str) -> tuple[str, list[str]]:
    """The translation of one text, and one sentence per reason to doubt it.

    Raises:
      InputError: the text is empty, has no known character, or is no date.
    """
    output, doubts = load_translator(out).answer(text, seq2seq.load_least_rank(out))
    if out.name == "dates":
        if not dates.agrees(text, output):
            raise InputError(f"{text!r} is no date that the model can read; it read {output!r}.")
        reading = dates.describe_reading(text, output)
        doubts += [reading] if reading else []
    return output, doubts


def main(command: Command) -> None:
    """Runs the command."""
    name = command.data if command.data == "dates" else f"{command.data}-{command.target}"
    out = command.out / (command.train.stem if command.train else name)
    if command.translate is None:
        return experiment(command, out)
    output, doubts = translate(command.model or out, command.translate)
    print(output)
    for doubt in doubts:
        print(f"note: {doubt}", file=sys.stderr)
