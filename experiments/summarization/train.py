"""Summarization: a description of a package becomes one line, by GRUs that write and copy.

50,782 descriptions of 20 to 120 words in Debian's package index have a synopsis of seven words, by
their maintainers' hand; more than a quarter of its words are not in the description. The model is
that of translation with the pointer of See et al. 2017, `experiments.summarization.copying`: at every step
it writes a subword of its own or copies one that it looks at. Of long descriptions it reads the
beginning and the end, where nearly all of a synopsis' words stand that stand anywhere. No family of
packages, no opening and no synopsis lies on both sides of a split.

    python -m experiments.summarization                   20 minutes
    python -m experiments.summarization --quick           a small slice: 2 minutes
    python -m experiments.summarization --no-copy         the same without the pointer
    python -m experiments.summarization --summarise "Frotz is a program that ..."   (-: read stdin)

Measured on 1,997 test descriptions, ROUGE-1 / ROUGE-L: GRU with 5 beams 44.1 / 40.2; of the lead
the first sentence 32.5 / 28.4, its 8 words after "is a" and the like 35.7 / 32.0; nearest neighbour
22.3 / 20.7. The best 8 words in a row, chosen by who knows the synopsis, have 49.7 / 42.7.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tokenizers import Tokenizer

from experiments.common import training
from experiments.common.command import run_command
from experiments.common.report import plots
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from experiments.seq2seq import buckets, subwords
from experiments.seq2seq.decoding import Translator, describe_speed
from experiments.seq2seq.model import EncoderDecoder
from experiments.seq2seq.parallel_corpus import Corpus, synopsis_corpus
from experiments.seq2seq.report import write_outputs, write_scores
from experiments.summarization.copying import PointerGenerator
from experiments.summarization.summary_scores import (
    ROUGE,
    WORDS,
    baselines,
    best_window,
    score_summaries,
    share_of_new_words,
)

COMMAND = "python -m experiments.summarization"
MODEL, TOKENIZER = "model.msgpack", "tokenizer.json"
BEAMS, LENGTH_PENALTY, NO_REPEAT = 5, 2.0, 3  # see `beam_search`; chosen on validation data
BATCH = 64  # descriptions summarised together
MINUTES = (20, 2)  # of the whole command, and with --quick


@dataclass(frozen=True)
class Settings:
    """What determines a trained summariser."""

    copy: bool = True  # whether it may copy, not only write
    num_pairs: int | None = None  # train on so many, drawn at random; None: on all
    vocabulary_size: int = 6000  # subwords, of descriptions and synopses together
    embedding_size: int = 160
    hidden_size: int = 192  # of the decoder, and of the encoder in each direction
    attention_size: int = 64
    dropout: float = 0.2
    # Subwords that a batch of (descriptions, synopses) is padded to. Longer descriptions are cut,
    # but for their last `tail` subwords.
    widths: tuple[tuple[int, int], ...] = ((48, 16), (64, 12), (64, 16), (64, 24))
    tail: int = 16
    batch_size: int = 32
    epochs: int = 4
    learning_rate: float = 3e-3  # the peak, after one epoch of warm-up; then a cosine
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0


QUICK = replace(
    Settings(), num_pairs=3000, vocabulary_size=1500, embedding_size=96, hidden_size=96, epochs=3
)


def prepare(corpus: Corpus, tokenizer: Tokenizer, settings: Settings) -> buckets.Data:
    """Turns pairs into bundles of ids."""
    width = settings.widths[-1][0]

    def bundles(indices: np.ndarray) -> buckets.Bundles:
        sources, targets = (subwords.to_ids(tokenizer, side) for side in corpus.select(indices))
        sources = [subwords.without_middle(row, width, settings.tail) for row in sources]
        return buckets.make_bundles(sources, targets, settings.widths, settings.batch_size, seed=0)

    return buckets.Data(bundles(corpus.split.train), bundles(corpus.split.validation))


def make_model(settings: Settings) -> EncoderDecoder:
    """The model of these settings."""
    return (PointerGenerator if settings.copy else EncoderDecoder)(
        settings.vocabulary_size,
        settings.embedding_size,
        settings.hidden_size,
        settings.attention_size,
        settings.dropout,
    )


def summary_training(
    settings: Settings, data: buckets.Data, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one summariser; the learning rate may be traced."""
    model = make_model(settings)

    def totals(params, source, target, key):
        rngs = None if key is None else {"dropout": key}
        scores, right = model.apply(
            params, source, target, key is not None, rngs=rngs, method="score_targets"
        )
        exists = target != subwords.PADDING
        return -scores.sum(), (right & exists).sum(), exists.sum()

    return buckets.bundle_training(
        init_params=lambda key: model.init(key, *[jnp.ones((2, 1), int)] * 2, False),
        totals=totals,
        data=data,
        widths=settings.widths,
        optimizer=training.adamw_warmup_cosine(
            learning_rate,
            settings.weight_decay,
            settings.max_gradient_norm,
            len(data.train["bucket"]),
            settings.epochs,
        ),
        epochs=settings.epochs,
    )


def make_train(settings: Settings, data: buckets.Data) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""
    return training.as_function(summary_training, settings, data)


def load_summariser(out: Path) -> Translator:
    """Loads the saved model."""
    params, record, _ = load_model(out / MODEL, COMMAND)
    widths = tuple(tuple(width) for width in record["settings"]["widths"])
    settings = Settings(**record["settings"] | {"widths": widths})
    return Translator(
        make_model(settings),
        params,
        Tokenizer.from_file(str(out / TOKENIZER)),
        tuple(sorted({source for source, _ in widths})),
        BEAMS,
        tail=settings.tail,
        max_length=widths[-1][1],
        length_penalty=LENGTH_PENALTY,
        no_repeat=NO_REPEAT,
    )


def experiment(settings: Settings, minutes: int, out: Path) -> None:
    """Trains, summarises the test set, and compares with the baselines."""
    print(f"Training: about {minutes} minutes on 2 idle CPU cores.")
    corpus = synopsis_corpus().reduced(settings.num_pairs)
    known = corpus.select(corpus.split.train)
    tokenizer = subwords.learn_or_load_subwords(
        out / TOKENIZER, [*known[0], *known[1]], settings.vocabulary_size
    )
    settings = replace(settings, vocabulary_size=tokenizer.get_vocab_size())
    record = {"settings": asdict(settings)}
    plan = summary_training(settings, prepare(corpus, tokenizer, settings), settings.learning_rate)
    state = loop.run(plan, jax.random.key(0), out, record, out.name)
    save_model(out / MODEL, state.best_params, record, [])

    summariser = load_summariser(out)
    test, references = corpus.select(corpus.split.test)
    outputs = summariser(test, BATCH)
    rows = {
        **baselines(known, test),
        "GRU, greedy": summariser._replace(num_beams=1)(test, BATCH),
        f"GRU, {BEAMS} beams": outputs,
        f"oracle: the best {WORDS} words in a row": list(map(best_window, test, references)),
    }
    parts = corpus.parts[corpus.split.test]
    write_scores(rows, references, parts, score_summaries, list(ROUGE), out / "results.json")
    write_outputs(out / "summaries.tsv", test, references, outputs)
    new = [share_of_new_words(test, lines) for lines in (references, outputs)]
    print(
        f"\nWords that are not in the source: {new[0]:.1%} of the references', {new[1]:.1%} of its."
    )
    print(describe_speed(summariser, test[: 8 * BATCH], BATCH))
    records = {out.name: read_records(out / loop.METRICS)}
    plots.plot_learning_curves(out / "learning_curves.png", records, "validation_accuracy")
    shown = np.random.default_rng(1).choice(len(test), 3, replace=False)
    plot_examples(out / "attention.png", summariser, [(test[i], outputs[i]) for i in shown])
    print(f'Try: {COMMAND} --summarise "{test[shown[0]]}"')


def plot_examples(path: Path, summariser: Translator, pairs: Sequence[tuple[str, str]]) -> None:
    """Draws what was looked at for each line and, of a model that copies, p_gen of each subword."""
    maps = []
    for source, line in pairs:
        read, written, weights = summariser.attention_map(source, line)
        if isinstance(summariser.model, PointerGenerator):
            p_gen = summariser.model.apply(
                summariser.params,
                *summariser.columns(source, line),
                method="generation_probability",
            )
            written = [f"{token} {p:.0%}" for token, p in zip(written, p_gen[:, 0], strict=True)]
        maps.append((read, written, weights))
    plots.plot_alignment(path, maps, stacked=True, written="written, p_gen")


def summarise(summariser: Translator, text: str) -> str:
    """The line for one text."""
    if not text.split():
        raise SystemExit("error: `--summarise` needs a text, or - and a text on standard input.")
    return summariser([" ".join(text.split())], batch_size=1)[0]


@dataclass(frozen=True)
class Command:
    """Trains a summariser and compares it, or asks a trained one."""

    copy: bool = True  # whether the model may copy words, not only write them
    quick: bool = False  # a small slice, to see that everything works
    out: Path = Path("runs/summarization")  # each training has a folder in it
    summarise: str | None = None  # a text, or -, for the saved model to summarise; no training


def main(command: Command) -> None:
    """Runs the command."""
    name = "copying" if command.copy else "writing"
    out = command.out / (f"{name}-quick" if command.quick else name)
    if command.summarise is not None:
        text = sys.stdin.read() if command.summarise == "-" else command.summarise
        print(summarise(load_summariser(out), text))
        return
    settings = replace(QUICK if command.quick else Settings(), copy=command.copy)
    experiment(settings, MINUTES[command.quick], out)


def cli() -> None:
    """Runs the command line."""
    run_command(main, Command, __doc__, trains=True)
