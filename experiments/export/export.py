"""The trained sentiment classifier as one ONNX file, which runs without JAX and without Python.

Everything that `experiments.sentiment` trained is in the file: the embedding of words and of their
beginnings and ends, the bidirectional GRUs with their lengths, attention pooling and softmax; the
vocabulary and the settings are in its metadata. Turning a text into ids stays with the caller.

    python -m experiments.sentiment                              trains the classifier first
    python -m experiments.export                                 writes, checks and times the file
    python -m experiments.export --predict "the battery died after two days"

onnxruntime and JAX then answer the 2,612 test sentences of the classifier's fold, and are timed in
turns: half a minute. Measured: the same class for every sentence, probabilities within 3e-7. One
sentence at a time onnxruntime takes 0.3 to 0.6 of JAX's time. In batches of 128 it took 0.8 of it
in two of eight runs, and 1.7 to 5.3 times it in the others, in which other programs shared the
cores.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import onnx
import onnxruntime
from flax import linen as nn

from experiments import sentiment
from experiments.common.command import run_command
from experiments.common.data import text
from experiments.common.report import describe_answer, format_table, timing
from experiments.common.training.models import load_model
from experiments.export.classifier_onnx import classifier_model
from experiments.sentiment import vader

COMMAND = "python -m experiments.export"
MODEL = "classifier.onnx"
BATCH_SIZES = (1, 128)
TIMED_SENTENCES = 512
ANSWERS = ("probabilities", "rating", "attention")  # outputs of the file

Batch = dict[str, np.ndarray]
Run = Callable[[Batch], Sequence[Any]]  # -> ANSWERS


class Trained(NamedTuple):
    """What `experiments.sentiment` saved."""

    params: dict[str, Any]
    record: dict[str, Any]  # "settings", and which training it was
    vocabulary: list[str]

    @property
    def settings(self) -> sentiment.Settings:
        return sentiment.Settings(**self.record["settings"])


def start_session(path: Path) -> onnxruntime.InferenceSession:
    """Loads the file for the CPU."""
    if not path.exists():
        raise FileNotFoundError(f"There is no exported model {path}. Export it first: {COMMAND}")
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def in_batches(inputs: Batch, batch_size: int) -> list[Batch]:
    """Whole batches; what is left over at the end is a smaller one."""
    starts = range(0, len(inputs["words"]), batch_size)
    return [{k: v[i : i + batch_size] for k, v in inputs.items()} for i in starts]


def compare(trained: Trained, session: onnxruntime.InferenceSession, seconds: float) -> dict:
    """Answers the test sentences with both, and times both. Returns: the results, JSON values."""
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
        **agreement(runs, in_batches(inputs, max(BATCH_SIZES)), sentences.labels[test]),
        "microseconds a sentence": {
            f"batch {size}": speed(runs, in_batches(timed, size), seconds) for size in BATCH_SIZES
        },
    }


def agreement(runs: dict[str, Run], batches: list[Batch], labels: np.ndarray) -> dict[str, Any]:
    """How often each is right, and how far their answers lie apart."""
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


def speed(runs: dict[str, Run], batches: list[Batch], seconds: float) -> dict[str, float]:
    """The microseconds that each takes for a sentence, timed in turns."""
    sentences = sum(len(batch["words"]) for batch in batches)
    everything = {
        name: lambda run=run: [run(batch) for batch in batches] for name, run in runs.items()
    }
    times = timing.time_interleaved(everything, seconds)
    return {name: float(np.median(t)) / sentences * 1e6 for name, t in times.items()}


def describe(results: dict[str, Any]) -> str:
    """The results as text."""
    names = ("JAX", "onnxruntime")
    rows = [["accuracy, %", *(f"{100 * results['accuracy'][name]:.2f}" for name in names)]]
    for size, times in results["microseconds a sentence"].items():
        rows.append([f"µs a sentence, {size}", *(f"{times[name]:.0f}" for name in names)])
    table = format_table([f"{results['sentences']} test sentences", *names], rows)
    differences = [f"{what} {d:.1e}" for what, d in results["largest difference"].items()]
    same = f"same class for {results['same class']:.2%}; largest difference in "
    return f"{table}\n{same}{', '.join(differences)}"


def ask(path: Path, sentence: str) -> str:
    """What the file, by itself, answers to one text."""
    session = start_session(path)
    about = session.get_modelmeta().custom_metadata_map
    record, vocabulary = json.loads(about["record"]), json.loads(about["vocabulary"])
    settings = sentiment.Settings(**record["settings"])
    inputs = sentiment.encode([sentence], vocabulary, record["lexicon"], settings)
    chances, _, attention = session.run(None, inputs)
    tokens = text.tokenize(sentence)[: settings.max_tokens]
    classes = json.loads(about["classes"])
    return describe_answer(classes, chances[0], tokens, attention[0, : len(tokens)])


@dataclass(frozen=True)
class Command:
    """Writes the trained classifier as an ONNX file and compares it with JAX, or asks the file."""

    model: Path = Path("runs/sentiment/lexicon-fold0-seed0") / sentiment.MODEL  # the trained one
    seconds: float = 30.0  # of timing, for each batch size
    out: Path = Path("runs/export")  # where everything is written
    predict: str | None = None  # a text for the exported file to classify


def main(command: Command) -> None:
    """Runs the command."""
    path = command.out / MODEL
    if command.predict is not None:
        return print(ask(path, command.predict))
    trained = Trained(*load_model(command.model, sentiment.COMMAND))
    command.out.mkdir(parents=True, exist_ok=True)
    about = {"record": trained.record, "vocabulary": trained.vocabulary, "classes": vader.CLASSES}
    metadata = {name: json.dumps(value) for name, value in about.items()}
    onnx.save(classifier_model(trained.params, metadata), path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB. Comparing it with JAX ...")
    results = compare(trained, start_session(path), command.seconds)
    (command.out / "results.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    print(f"\n{describe(results)}")
    print(f'Try: {COMMAND} --predict "{sentiment.EXAMPLES[0]}"')


def cli() -> None:
    """Runs the command line."""
    run_command(main, Command, __doc__)
