"""The trained sentiment classifier as one ONNX file, which runs without JAX and without Python.

Everything that `experiments.sentiment` trained is in the file: the embedding of words and of their
beginnings and ends, the bidirectional GRUs with their lengths, attention pooling and softmax; the
vocabulary and the settings are in its metadata. Turning a text into ids stays with the caller.

    python -m experiments.sentiment                              trains the classifier first
    python -m experiments.export                                 writes, checks and times the file
    python -m experiments.export --predict "the battery died after two days"

onnxruntime and JAX then answer the test sentences of the classifier's fold, in turns, in one run.
RESULT
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import onnx
import onnxruntime
from flax import linen as nn

from experiments import sentiment
from experiments.common import text, timing, vader
from experiments.common.classifier_onnx import classifier_model
from experiments.common.command import run_command
from experiments.common.models import load_model
from experiments.common.report import describe_answer, format_table

COMMAND = "python -m experiments.export"
MODEL = "classifier.onnx"
BATCH_SIZES = (1, 128)
TIMED_SENTENCES = 512


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


def in_batches(inputs: dict[str, np.ndarray], batch_size: int) -> list[dict[str, np.ndarray]]:
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
        return session.run(["probabilities", "rating", "attention"], batch)

    batches = in_batches(inputs, 128)
    answers = {
        name: [np.concatenate(parts) for parts in zip(*map(run, batches), strict=True)]
        for name, run in (("JAX", run_jax), ("onnxruntime", run_onnx))
    }
    chances = {name: answer[0] for name, answer in answers.items()}
    classes = {name: chance.argmax(-1) for name, chance in chances.items()}
    results: dict[str, Any] = {
        "sentences": len(test),
        "accuracy": {k: float(np.mean(v == sentences.labels[test])) for k, v in classes.items()},
        "same class": float(np.mean(classes["JAX"] == classes["onnxruntime"])),
        "largest difference": {
            what: float(np.abs(one - other).max())
            for what, one, other in zip(
                ("probability", "rating", "attention"), *answers.values(), strict=True
            )
        },
        "microseconds a sentence": {},
    }
    timed = {name: array[:TIMED_SENTENCES] for name, array in inputs.items()}
    for size in BATCH_SIZES:
        parts = in_batches(timed, size)
        runs = {
            "JAX": lambda parts=parts: [jax.block_until_ready(run_jax(part)) for part in parts],
            "onnxruntime": lambda parts=parts: [run_onnx(part) for part in parts],
        }
        times = timing.time_interleaved(runs, seconds)
        results["microseconds a sentence"][f"batch {size}"] = {
            name: float(np.median(values)) / len(timed["words"]) * 1e6
            for name, values in times.items()
        }
    return results


def describe(results: dict[str, Any]) -> str:
    """The results as text."""
    names = ("JAX", "onnxruntime")
    rows = [["accuracy, %", *(f"{100 * results['accuracy'][name]:.2f}" for name in names)]]
    for size, times in results["microseconds a sentence"].items():
        rows.append([f"µs a sentence, {size}", *(f"{times[name]:.0f}" for name in names)])
    table = format_table([f"{results['sentences']} test sentences", *names], rows)
    differences = [f"{what} {d:.1e}" for what, d in results["largest difference"].items()]
    same = f"same class for {results['same class']:.2%}; largest difference of a "
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


if __name__ == "__main__":
    run_command(main, Command, __doc__)
