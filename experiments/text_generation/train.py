"""Text generation: GRU, LSTM and RNN as language models of characters.

The texts are the King James Bible and the works of Shakespeare; whole books are held out. The
models read the other books as 16 parallel streams, by truncated backpropagation through time over
64 characters with a carried state. An RNN, an LSTM and a GRU with equally many parameters read the
books once; a larger GRU reads them twice, and is tested also by dynamic evaluation and in a mixture
with n-grams. The baselines are n-grams with modified Kneser–Ney smoothing, gzip and xz.

    python -m experiments.text_generation                        14 minutes of one CPU core
    python -m experiments.text_generation --quick                a small subset: 3 minutes
    python -m experiments.text_generation --sample "In the beginning"
    python -m experiments.text_generation --sample "ROMEO." --corpus shakespeare
    python -m experiments.text_generation --train novel.txt      your own text
    python -m experiments.text_generation --sample "It was" --model runs/text_generation/novel

Measured, bits per character of the test books, Bible / Shakespeare: RNN 1.764 / 2.316, LSTM 1.735
/ 2.286, GRU 1.719 / 2.278, the larger GRU 1.597 / 2.142, with dynamic evaluation 1.541 / 1.994;
n-grams with the best n (9 and 8) 1.554 / 2.164, pruned to the larger GRU's memory 1.717 / 2.324,
counting on 1.503 / 2.005; the mixture of both, learning while they read, 1.401 / 1.862.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import asdict
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common import training
from experiments.common.command import InputError
from experiments.common.outputs import write_results
from experiments.common.provenance import command_line
from experiments.common.report import format_table
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import from_arrays, load_model, save_model, to_arrays
from experiments.text_generation.baselines import compressors, ngrams
from experiments.text_generation.measures import BYTES, measure
from experiments.text_generation.model import CharacterModel, model_of_size
from experiments.text_generation.onnx_model import export
from experiments.text_generation.plots import Curve, plot_curves
from experiments.text_generation.prose import CORPORA, Corpus, Texts, decode, read_corpus
from experiments.text_generation.sampling import SamplingOptions, print_stream, sample_text
from experiments.text_generation.settings import SAMPLED, Command, Settings
from experiments.text_generation.streaming import cut_streams, make_streaming_training
from experiments.text_generation.user_text import read_user_text

COMMAND = "python -m experiments.text_generation"
MODEL = "model.msgpack"
MINUTES = {False: 14, True: 3}  # of the whole command, and with --quick
SHARES = (0.06, 0.03)  # maximum fractions of all characters in the test and validation books
ORDERS = range(5, 10)  # of the n-grams
PROMPTS = {"bible": "In the beginning", "shakespeare": "ROMEO."}
ROWS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU", "gru-large": "GRU, larger and longer"}


class Trained(NamedTuple):
    """A trained model, and how it was trained."""

    model: CharacterModel
    params: Any
    results: dict[str, float]
    curve: Curve


def prepare(corpus: Corpus, settings: Settings) -> Texts:
    """The characters of one training."""
    texts = Texts(len(corpus.alphabet), *map(corpus.join, corpus.split))
    return texts._replace(train=texts.train[: settings.num_characters])


def make_model(settings: Settings, num_symbols: int) -> CharacterModel:
    """The model with these settings."""
    return model_of_size(settings.cell, num_symbols, settings.parameters)


def language_training(
    settings: Settings, data: Texts, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one model; the learning rate may be traced."""
    model = make_model(settings, data.num_symbols)
    streams = cut_streams(data.train, settings.batch_size, settings.steps, settings.parts)

    def loss(params, state, segment):
        state, bits = model.segment_bits(params, state, segment)
        return bits.mean(), state

    def evaluate(params):
        bits = model.text_bits(params, data.validation).mean()
        return {"validation_bits": bits, "validation_score": -bits}

    epochs = settings.passes * settings.parts
    return make_streaming_training(
        init_params=model.init,
        initial_state=model.initial_state(settings.batch_size),
        loss=loss,
        evaluate=evaluate,
        score="validation_score",
        optimizer=training.adamw_warmup_cosine(
            learning_rate, 0.0, settings.max_gradient_norm, streams.shape[1], epochs
        ),
        streams=jnp.asarray(streams),
        epochs=epochs,
    )


def make_train(settings: Settings, data: Texts) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each part read [E]."""
    return training.as_function(language_training, settings, data)


def train_and_test(settings: Settings, corpus: Corpus, out: Path, **record: str) -> Trained:
    """Trains in `out`, unless already trained; `record` is what else identifies the training."""
    data = prepare(corpus, settings)
    model = make_model(settings, data.num_symbols)
    plan = language_training(settings, data, settings.learning_rate)
    about = {"settings": asdict(settings), "model": model._asdict(), **record}
    label = f"{out.parent.name}, {ROWS[out.name]}"
    params = loop.run(plan, jax.random.key(settings.seed), out, about, label).best_params
    save_model(out / MODEL, to_arrays(params), about, list(corpus.alphabet))

    records = read_records(out / loop.METRICS)
    validation = np.array([line["validation_bits"] for line in records])
    seconds = np.cumsum([line["seconds"] for line in read_records(out / loop.TIMES)])
    segment = settings.batch_size * settings.steps * settings.parts
    read = settings.passes * segment * ((len(data.train) - 1) // segment)
    curve = Curve(np.linspace(0, read, len(records) + 1)[1:], seconds, validation)
    test = jax.jit(model.text_bits)(params, data.test).mean()
    results = {
        "bits": float(test),
        "validation bits": float(validation.min()),
        "parameters": model.num_parameters(),
        "megabytes": BYTES * model.num_parameters() / 1e6,
        "characters read": read,
        "seconds": float(seconds[-1]),
    }
    return Trained(model, params, results, curve)


def orders_of(corpus: Corpus) -> list[int]:
    """The values of n whose n-grams fit into 63 bits."""
    return [order for order in ORDERS if len(corpus.alphabet) ** order < 2**63]


def run_corpus(
    name: str, corpus: Corpus, trainings: dict[str, Settings], out: Path, **record: str
) -> tuple[dict[str, dict[str, float]], dict[str, Curve]]:
    """Trains all models on a corpus, and prints them with the baselines and the measures.

    The measures are taken of the last model.

    Returns: the results in every row of the table, and the curve of each training.
    """
    held_out = ", ".join(corpus.titles[book] for book in corpus.split.test)
    print(f"\n{name}: the test set is {held_out}.")
    key, last = list(trainings.items())[-1]
    data = prepare(corpus, last)
    max_bytes = BYTES * make_model(last, data.num_symbols).num_parameters()
    grams = ngrams(data, orders_of(corpus), max_bytes)
    trained = {
        ROWS[each]: train_and_test(settings, corpus, out / name / each, **record)
        for each, settings in trainings.items()
    }
    network, best = trained[ROWS[key]], min(grams.values(), key=itemgetter("validation bits"))
    rows = {
        **compressors(data.train, data.test, corpus.alphabet),
        **grams,
        **{row: model.results for row, model in trained.items()},
        **measure(ROWS[key], network.model, network.params, data, int(best["n"])),
    }
    print(f"\n{format_rows(name, rows)}")
    winner = min(rows, key=lambda row: rows[row]["bits"])
    print(f"\nFewest bits on the test text: {winner}.")
    write_results(out / name / "results.json", rows)
    return rows, {row: model.curve for row, model in trained.items()}


def format_rows(name: str, rows: dict[str, dict[str, float]]) -> str:
    """The table of a corpus."""
    columns = {
        "bits": ".3f",
        "validation bits": ".3f",
        "megabytes": ".1f",
        "parameters": ",",
        "characters read": ",",
        "seconds": ".0f",
    }
    table = [
        [row, *(format(found[x], form) if x in found else "" for x, form in columns.items())]
        for row, found in rows.items()
    ]
    return format_table([f"{name}, per character", *columns], table)


def experiment(command: Command) -> None:
    """Trains on each corpus, and compares."""
    names = [command.corpus] if command.corpus else list(CORPORA)
    print(f"Training: about {MINUTES[command.quick]} minutes of one CPU core for both corpora.")
    trainings, out = command.trainings(), command.out
    curves, floors = {}, {}
    for name in names:
        corpus = read_corpus(name, SHARES)
        rows, curves[name] = run_corpus(name, corpus, trainings, out)
        floors[name] = ngram_floors(rows)
    plot_curves(out / "learning_curves.png", curves, floors)
    selected = [] if command.corpus else ["--corpus", names[0]]
    line = command_line(COMMAND, *selected, "--sample", PROMPTS[names[0]])
    print(f"\nPlot and models are in {out}. Try: {line}")


def ngram_floors(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """The validation bits of the n-grams, for the plot of the curves."""
    bits = [results["validation bits"] for row, results in rows.items() if "n =" in row]
    return {f"n-grams, n = {ORDERS[0]}": bits[0], "n-grams, best n": min(bits)}


def train_on_file(command: Command, path: Path) -> None:
    """Trains on the user's text, and compares with the baselines on its end."""
    corpus, notes, digest = read_user_text(path)
    settings = command.settings
    read, needed = (
        len(prepare(corpus, settings).train),
        1 + settings.batch_size * settings.steps * settings.parts,
    )
    if read < needed:
        raise InputError(
            f"{path} has {read:,} characters for training; with --batch-size "
            f"{settings.batch_size}, --steps {settings.steps} and --parts {settings.parts}, "
            f"{needed:,} are needed."
        )
    print("\n".join(notes))
    name, out = path.stem, command.out
    rows, curves = run_corpus(name, corpus, command.trainings(), out, data=digest)
    plot_curves(out / name / "learning_curves.png", {name: curves}, {name: ngram_floors(rows)})
    lines = decode(corpus.symbols[-1], corpus.alphabet).splitlines()
    prompt = next((line for line in lines if line.strip()), lines[0])[:20]
    line = command_line(COMMAND, "--sample", prompt, "--model", str(out / name))
    print(f"\nPlot and model are in {out / name}. Try: {line}")


def saved_model(command: Command) -> Path:
    """The file of the model to use."""
    if command.model is None:
        return command.out / (command.corpus or "bible") / SAMPLED / MODEL
    return command.model / "gru" / MODEL


def sample(command: Command) -> None:
    """Prints the prompt and its continuation by the saved model."""
    arrays, record, alphabet = load_model(saved_model(command), COMMAND)
    model = CharacterModel(**record["model"])
    options = SamplingOptions(command.temperature, command.top_p, command.settings.seed)
    prompt = unicodedata.normalize("NFC", command.sample or "")
    try:
        params = from_arrays(model.shapes(), arrays)
        sampled = sample_text(model, params, "".join(alphabet), prompt, options)
    except ValueError as error:
        raise InputError(str(error)) from None
    print_stream(chain(prompt, islice(sampled, command.length)))


def main(command: Command) -> None:
    """Runs the command."""
    if command.export is not None:
        return export(saved_model(command), COMMAND)
    if command.sample is not None:
        return sample(command)
    if command.train is not None:
        return train_on_file(command, command.train)
    if command.compare:
        from experiments.text_generation.compare import main as compare  # which imports this module

        return compare(command)
    experiment(command)
