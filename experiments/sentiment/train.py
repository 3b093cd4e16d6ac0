"""Sentiment of real sentences in three classes: a bidirectional GRU with attention.

The data are 13,098 sentences (tweets, Amazon reviews, New York Times editorials), each rated by at
least twenty people, from the archive of Hutto and Gilbert 2014, "VADER". The mean rating, cut at
-0.5 and 0.5, is the class. No split separates sentences of one document, or equal sentences.

    python -m experiments.sentiment                              one of five folds: a few minutes
    python -m experiments.sentiment --folds 5 --seeds 3          everything, 40 minutes
    python -m experiments.sentiment --predict "the battery died after two days"
    python -m experiments.sentiment --train reviews.csv          your own texts and labels
    python -m experiments.sentiment --predict "very good" --model runs/sentiment/reviews
    python -m experiments.sentiment --compare                    beside an LSTM, an RNN and others

Measured, mean of five folds and three seeds (accuracy / macro-F1, %), with words alone and with
VADER's lexicon, which was developed on these texts: GRU 64.6 / 63.6 and 69.0 / 67.8, three averaged
65.1 / 64.1 and 69.4 / 68.3, TF-IDF + logistic regression 63.9 / 62.8 and 69.3 / 68.1. Of a check
list of 40 negations, contrasts and idioms, GRUs get 73 and 75% right, TF-IDF 66 and 71%. A single
rater agrees with the others on 76%.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import training
from experiments.common.command import InputError
from experiments.common.confidence import calibrate, calibration_error, fit_temperature
from experiments.common.provenance import command_line
from experiments.common.report.counts import count
from experiments.common.report.plots import cell_title
from experiments.common.training import loop
from experiments.common.training.gradients import Mean
from experiments.common.training.metrics import validation_metrics
from experiments.common.training.models import save_model
from experiments.sentiment import user_texts, vader
from experiments.sentiment.answering import predict
from experiments.sentiment.baselines import predict_baselines
from experiments.sentiment.check_list import TEXTS
from experiments.sentiment.model import Classifier, classify, divide_logits, encode
from experiments.sentiment.report import (
    Predictions,
    describe_answer,
    judge_answers,
    plot_attention,
    write_report,
)
from experiments.sentiment.settings import COMMAND, MODEL, NUM_FOLDS, Columns, Command, Settings
from experiments.sentiment.training_data import (
    Data,
    draw_unseen_phrases,
    prepare,
    prepare_user_texts,
)

MINUTES = 1.5  # of training per model on 2 CPU cores
EXAMPLES = ("the battery died after two days", "not bad at all, I would buy it again")


def classifier_training(
    settings: Settings, data: Data, learning_rate: float | Array, weight_decay: float | Array
) -> training.Training:
    """Builds the training of one classifier; the two hyperparameters may be traced."""
    model = Classifier(settings, len(data.vocabulary), len(data.classes))
    examples = {name: jnp.asarray(array) for name, array in data.train.items()}
    num_batches = len(examples["words"]) // settings.batch_size
    optimizer = training.adamw_warmup_cosine(
        learning_rate, weight_decay, settings.max_gradient_norm, num_batches, settings.epochs
    )

    def loss(params, batch, key):
        outputs: Any = model.apply(params, batch, train=True, rngs={"dropout": key})
        logits, rating, _ = outputs
        cross_entropy = optax.softmax_cross_entropy(logits, batch["target"])
        squared_error = (rating - batch["rating"]) ** 2
        weight = batch["class_weight"]
        mean = Mean((weight * cross_entropy).sum(), weight.sum())
        return mean, (batch["rating_weight"] * squared_error).mean()

    def evaluate(params):
        predictions = classify(model, params, data.validation).argmax(-1)
        return validation_metrics(data.validation["label"], predictions, len(data.classes))

    return training.make_training(
        init_params=lambda key: model.init(key, {k: v[:1] for k, v in examples.items()}, False),
        loss=loss,
        evaluate=evaluate,
        score="validation_score",
        optimizer=optimizer,
        examples=examples,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        patience=settings.patience,
    )


def make_train(settings: Settings, data: Data) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate, weight_decay)` -> metrics of each epoch [E]."""

    def train(key, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay):
        plan = classifier_training(settings, data, learning_rate, weight_decay)
        return training.train(plan, key)[1]

    return train


class Tested(NamedTuple):
    """A trained classifier's results for M texts."""

    probabilities: np.ndarray  # [M, C], uncalibrated
    calibration_errors: tuple[float, float]  # before and after the calibration


def train_and_test(
    directory: Path,
    settings: Settings,
    data: Data,
    test: tuple[Sequence[str], np.ndarray],
    which: dict[str, Any],
) -> Tested:
    """Trains, unless already trained, calibrates on the validation set, and saves the model.

    Args:
      directory: the run directory.
      settings: of the training.
      data: its data.
      test: M texts, and the labels [N] of the first N of them, which test the calibration.
      which: what else identifies the training: "lexicon" and "seed" at least.
    """
    plan = classifier_training(settings, data, settings.learning_rate, settings.weight_decay)
    record = {"settings": asdict(settings), **which}
    state = loop.run(plan, jax.random.key(which["seed"]), directory, record, directory.name)
    texts, labels = test
    model = Classifier(settings, len(data.vocabulary), len(data.classes))
    logits = jax.jit(partial(classify, model, state.best_params))
    known = {name: array for name, array in data.validation.items() if name != "label"}
    temperature = fit_temperature(np.asarray(logits(known)), data.validation["label"])
    params = divide_logits(state.best_params, temperature)
    record |= {"classes": data.classes, "temperature": temperature}
    record["calibrated_on"] = len(data.validation["label"])
    save_model(directory / MODEL, params, record, data.vocabulary)
    outputs = np.asarray(logits(encode(texts, data.vocabulary, which["lexicon"], settings)))
    before, after = (calibrate(outputs, divisor) for divisor in (1.0, temperature))
    errors = [calibration_error(given[: len(labels)], labels) for given in (before, after)]
    return Tested(before, (errors[0], errors[1]))


def experiment(settings: Settings, folds: int, seeds: int, out: Path) -> None:
    """Trains on each fold and compares all classifiers on its test set."""
    models = 2 * folds * seeds
    print(
        f"Training {count(models, 'model')}: about {MINUTES * models:.0f} minutes on 2 idle CPU "
        "cores."
    )
    sentences = vader.read_sentences()
    splits = vader.split_rated(sentences, NUM_FOLDS, validation_parts=8, seed=0)
    rows: dict[str, list[Predictions]] = {}
    for fold, split in enumerate(splits[:folds]):
        labels, domains = sentences.labels[split.test], sentences.domains[split.test]
        texts = np.concatenate([sentences.texts[split.test], TEXTS])
        judge = partial(judge_answers, labels, domains)
        phrases = draw_unseen_phrases(sentences, split, settings)
        for name, given in predict_baselines(sentences, split, texts, phrases).items():
            rows.setdefault(name, []).append(judge(given))
        cell = cell_title(settings.cell)
        for lexicon, name in (
            (False, f"{cell}, words alone"),
            (True, f"{cell} with VADER's lexicon"),
        ):
            kind = "lexicon" if lexicon else "words"
            data = prepare(sentences, split, lexicon, settings)
            outputs = [
                train_and_test(
                    out / f"{kind}-fold{fold}-seed{seed}",
                    settings,
                    data,
                    (texts, labels),
                    {"lexicon": lexicon, "fold": fold, "seed": seed},
                )
                for seed in range(seeds)
            ]
            for output in outputs:
                given = output.probabilities.argmax(-1)
                rows.setdefault(name, []).append(judge(given, output.calibration_errors))
            if seeds > 1:
                mean = np.mean([output.probabilities for output in outputs], 0).argmax(-1)
                rows.setdefault(f"{name}, {seeds} seeds averaged", []).append(judge(mean))
    print(f"\nOn the test sentences of {folds} of {NUM_FOLDS} folds:")
    write_report(rows, vader.RATED, vader.CLASSES, out)
    model = out / "lexicon-fold0-seed0"
    plot_attention(out / "attention.png", [predict(model, sentence) for sentence in EXAMPLES])
    print(f"Try: {command_line(COMMAND, '--predict', EXAMPLES[0])}")


def train_on_file(path: Path, columns: Columns | None, settings: Settings, out: Path) -> None:
    """Trains on the user's texts, and compares with the baselines on texts that are held out."""
    data = user_texts.read_labeled_texts(path, columns)
    sizes = [len(part) for part in data.split]
    if sizes[0] < settings.batch_size:
        raise InputError(
            f"{path} has {count(sizes[0], 'text')} for training, fewer than the "
            f"{settings.batch_size} of a batch (`--batch-size`)."
        )
    print("\n".join(data.notes))
    print(
        f"{len(data.texts)} texts in {len(data.classes)} classes: {sizes[0]} for training, "
        f"{sizes[1]} for validation, {sizes[2]} for testing."
    )
    which = {"lexicon": False, "seed": 0, "data": data.digest}
    test = data.texts[data.split.test], data.labels[data.split.test]
    prepared = prepare_user_texts(data, settings)
    directory = out / path.stem
    tested = train_and_test(directory / settings.cell, settings, prepared, test, which)
    given = tested.probabilities.argmax(-1)
    no_parts = np.full(len(given), "")
    rows = {
        name: [Predictions(test[1], predictions, no_parts)]
        for name, predictions in user_texts.predict_baselines(data).items()
    }
    name = cell_title(settings.cell)
    rows[name] = [Predictions(test[1], given, no_parts, tested.calibration_errors)]
    write_report(rows, [], data.classes, directory)
    print(user_texts.describe_accuracy(name, test[1], given))
    line = command_line(COMMAND, "--predict", test[0][0], "--model", str(directory))
    print(f"Try: {line}")


def export(directory: Path) -> None:
    """Writes the saved model as an ONNX file, see `experiments.export`."""
    from experiments.export import write_classifier  # which imports this module

    write_classifier(directory / MODEL, directory / "classifier.onnx")


def main(command: Command) -> None:
    """Runs the command."""
    saved = command.out / "lexicon-fold0-seed0"
    if command.model is not None:
        saved = command.model / command.settings.cell
    if command.export is not None:
        return export(saved)
    if command.predict is not None:
        return print(describe_answer(predict(saved, command.predict)))
    if command.train is not None:
        return train_on_file(command.train, command.columns, command.settings, command.out)
    if command.compare:
        from experiments.sentiment.compare import main as compare  # which imports this module

        return compare(command)
    experiment(command.settings, command.folds, command.seeds, command.out)
