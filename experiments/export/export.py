"""Exports the trained sentiment classifier to one ONNX file that needs neither JAX nor Python.

The file contains everything that `experiments.sentiment` trained: the embeddings of words and of
their prefixes and suffixes, the bidirectional GRUs with lengths, attention pooling, the linear
branch of n-grams and softmax. Its metadata holds the vocabulary, the settings and a checksum. The
caller converts a text to ids.

    python -m experiments.sentiment                              trains the classifier first
    python -m experiments.export                                 writes, checks and times the file
    python -m experiments.export --predict "the battery died after two days"

onnxruntime and JAX classify the 2,612 test sentences of the classifier's fold and are timed in
turns, which takes half a minute. Measured: the same class for every sentence, probabilities within
3e-7. For one sentence at a time onnxruntime takes 0.3 to 0.6 of JAX's time. In batches of 128 it
took 0.8 of JAX's time in two of eight runs, and 1.7 to 5.3 times JAX's in the others, when other
programs were using the cores.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import onnxruntime
from flax import linen as nn

from experiments import sentiment
from experiments.common.data import text
from experiments.common.data.records import clean_text
from experiments.common.durable import DamagedFileError
from experiments.common.onnx.files import export_model, read_onnx
from experiments.common.outputs import write_results
from experiments.common.provenance import command_line
from experiments.common.report import format_table, timing
from experiments.common.rivals.settings import require_gru
from experiments.common.training.models import load_model
from experiments.export.onnx_classifier import build_classifier
from experiments.export.settings import Command
from experiments.sentiment import Answer, check_text, describe_answer, vader

COMMAND = "python -m experiments.export"
MODEL = "classifier.onnx"
BATCH_SIZES = (1, 128)
TIMED_SENTENCES = 512
ANSWERS = ("probabilities", "rating", "attention")  # outputs of the file

Batch = dict[str, np.ndarray]
Run = Callable[[Batch], Sequence[Any]]  # -> ANSWERS


class TrainedModel(NamedTuple):
    """What `experiments.sentiment` saved."""

    params: dict[str, Any]
    record: dict[str, Any]  # "settings", "lexicon", "fold" and "seed"
    vocabulary: list[str]

    @property
    def settings(self) -> sentiment.Settings:
        """The settings of the training."""
        return sentiment.Settings.of(self.record)


def write_classifier(model: Path, path: Path) -> TrainedModel:
    """Writes the trained classifier in the file `model` to the ONNX file `path`, and returns it."""
    trained = TrainedModel(*load_model(model, sentiment.COMMAND))
    require_gru(trained.settings.cell, "The export to ONNX")
    classes = trained.record.get("classes", vader.CLASSES)
    metadata = {"record": trained.record, "vocabulary": trained.vocabulary, "classes": classes}
    network = sentiment.Classifier(trained.settings, len(trained.vocabulary), len(classes))

    @jax.jit
    def run(**inputs: jax.Array) -> tuple[jax.Array, ...]:
        outputs: Any = network.apply(trained.params, inputs, train=False)
        return nn.softmax(outputs[0]), *outputs[1:]

    lexicon = trained.record["lexicon"]
    example = sentiment.encode(sentiment.EXAMPLES, trained.vocabulary, lexicon, trained.settings)
    export_model(path, build_classifier(trained.params, metadata), run, [example])
    return trained


def start_session(path: Path) -> onnxruntime.InferenceSession:
    """Loads the ONNX file to run on the CPU, see `read_onnx`.

    Raises:
      FileNotFoundError: it does not exist.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no exported model {path}. Export it first: {COMMAND}")
    return read_onnx(path)


def split_batches(inputs: Batch, batch_size: int) -> list[Batch]:
    """Splits along the first axis; the last batch can be smaller."""
    starts = range(0, len(inputs["words"]), batch_size)
    return [{k: v[i : i + batch_size] for k, v in inputs.items()} for i in starts]


def compare(trained: TrainedModel, session: onnxruntime.InferenceSession, seconds: float) -> dict:
    """Classifies the test sentences with both, and times both. Returns: results for a JSON file."""
    sentences = vader.read_sentences()
    splits = vader.split_rated(sentences, sentiment.NUM_FOLDS, validation_parts=8, seed=0)
    test = splits[trained.record["fold"]].test
    settings, lexicon = trained.settings, trained.record["lexicon"]
    inputs = sentiment.encode(sentences.texts[test], trained.vocabulary, lexicon, settings)
    model = sentiment.Classifier(settings, len(trained.vocabulary))

    @jax.jit
    def run_jax(batch):
        logits, rating, attention = model.apply(trained.params, batch, train=False)
        return nn.softmax(logits), rating, attention

    def run_onnx(batch):
        return session.run(ANSWERS, batch)

    runs = {"JAX": lambda batch: jax.block_until_ready(run_jax(batch)), "onnxruntime": run_onnx}
    timed = {name: array[:TIMED_SENTENCES] for name, array in inputs.items()}
    return {
        "sentences": len(test),
        **measure_agreement(runs, split_batches(inputs, max(BATCH_SIZES)), sentences.labels[test]),
        "microseconds a sentence": {
            f"batch {size}": measure_speed(runs, split_batches(timed, size), seconds)
            for size in BATCH_SIZES
        },
    }


def measure_agreement(
    runs: dict[str, Run], batches: list[Batch], labels: np.ndarray
) -> dict[str, Any]:
    """The accuracy of each for labels `[N]`, and the differences between their answers."""
    answers = {
        name: [np.concatenate(parts) for parts in zip(*map(run, batches), strict=True)]
        for name, run in runs.items()
    }
    one, other = answers.values()
    classes = {name: answer[0].argmax(-1) for name, answer in answers.items()}
    return {
        "accuracy": {name: float(np.mean(c == labels)) for name, c in classes.items()},
        "same class": float(np.mean(one[0].argmax(-1) == other[0].argmax(-1))),
        "largest difference": {
            what: float(np.abs(a - b).max()) for what, a, b in zip(ANSWERS, one, other, strict=True)
        },
    }


def measure_speed(runs: dict[str, Run], batches: list[Batch], seconds: float) -> dict[str, float]:
    """The microseconds per sentence of each, timed in turns."""
    sentences = sum(len(batch["words"]) for batch in batches)
    run_all = {
        name: lambda run=run: [run(batch) for batch in batches] for name, run in runs.items()
    }
    times = timing.time_interleaved(run_all, seconds)
    return {name: float(np.median(t)) / sentences * 1e6 for name, t in times.items()}


def describe(results: dict[str, Any]) -> str:
    """The results as text."""
    names = ("JAX", "onnxruntime")
    rows = [["accuracy, %", *(f"{100 * results['accuracy'][name]:.2f}" for name in names)]]
    for size, times in results["microseconds a sentence"].items():
        rows.append([f"µs per sentence, {size}", *(f"{times[name]:.0f}" for name in names)])
    table = format_table([f"{results['sentences']} test sentences", *names], rows)
    differences = [f"{what} {d:.1e}" for what, d in results["largest difference"].items()]
    same = f"same class for {results['same class']:.2%}; largest difference in "
    return f"{table}\n{same}{', '.join(differences)}"


def ask(path: Path, sentence: str) -> str:
    """Classifies one text with nothing but the file. Returns: the answer as text."""
    session = start_session(path)
    metadata = session.get_modelmeta().custom_metadata_map
    if not metadata.keys() >= {"record", "vocabulary", "classes"}:
        raise DamagedFileError(f"{path} is no file of {COMMAND}.")
    record, vocabulary = json.loads(metadata["record"]), json.loads(metadata["vocabulary"])
    settings = sentiment.Settings.of(record)
    sentence = clean_text(sentence)
    notes = check_text(sentence, vocabulary, record)
    inputs = sentiment.encode([sentence], vocabulary, record["lexicon"], settings)
    probabilities, _, attention = session.run(None, inputs)
    tokens = text.tokenize(sentence)[: settings.max_tokens]
    classes = json.loads(metadata["classes"])
    read = attention[0, : len(tokens)]
    return describe_answer(Answer(classes, probabilities[0], tokens, read, notes))


def main(command: Command) -> None:
    """Runs the command."""
    path = command.out / MODEL
    if command.predict is not None:
        return print(ask(path, command.predict))
    trained = write_classifier(command.model, path)
    print(f"{path.stat().st_size / 1e6:.1f} MB. Comparing it with JAX on the test sentences ...")
    results = compare(trained, start_session(path), command.seconds)
    write_results(command.out / "results.json", results)
    print(f"\n{describe(results)}")
    print(f"Try: {command_line(COMMAND, '--predict', sentiment.EXAMPLES[0])}")
