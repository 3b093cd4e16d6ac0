"""Sentiment of real sentences in three classes: a bidirectional GRU with attention.

The data are 13,098 sentences (tweets, Amazon reviews, New York Times editorials), each rated by at
least twenty people, from the archive of Hutto and Gilbert 2014, "VADER". The mean rating, cut at
-0.5 and 0.5, is the class. No split separates sentences of one document, or equal sentences.

    python -m experiments.sentiment                              one of five folds: a few minutes
    python -m experiments.sentiment --folds 5 --seeds 3          everything
    python -m experiments.sentiment --predict "the battery died after two days"

Measured, mean of five folds and three seeds (accuracy / macro-F1, %), with words alone and with
VADER's lexicon, which was developed on these texts: GRU 64.1 / 62.5 and 68.2 / 66.6, TF-IDF +
logistic regression 63.6 / 62.6 and 69.3 / 68.2. A single rater agrees with the others on 76%.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import training
from experiments.common.data import text
from experiments.common.data.splits import Split
from experiments.common.provenance import command_line
from experiments.common.training import loop
from experiments.common.training.gradients import Mean
from experiments.common.training.metrics import validation_metrics
from experiments.common.training.models import load_model, save_model
from experiments.sentiment import vader
from experiments.sentiment.baselines import predict_baselines
from experiments.sentiment.modules import AttentionPooling, WordEmbedding
from experiments.sentiment.report import (
    Predictions,
    describe_prediction,
    plot_attention,
    write_report,
)
from experiments.sentiment.settings import NUM_FOLDS, Command, Settings
from grujax.linen import StackedGRU

COMMAND = "python -m experiments.sentiment"
MODEL = "model.msgpack"
MINUTES = 1.5  # of training per model on 2 CPU cores
EXAMPLES = ("the battery died after two days", "not bad at all, I would buy it again")


def encode(texts: Iterable[str], vocabulary: list[str], lexicon: bool, settings: Settings):
    """Converts texts to the classifier's inputs, see `vader.encode`."""
    return vader.encode(texts, vocabulary, lexicon, settings.max_tokens, settings.subword_buckets)


class Data(NamedTuple):
    """The data of one training: the inputs from `encode`, and the targets."""

    train: dict[str, Any]  # inputs, "target" [N, 3], "rating" [N], "film" [N]: 1 for film snippets
    validation: dict[str, Any]  # inputs, "label" [N]
    vocabulary: list[str]


def prepare(sentences: vader.Sentences, split: Split, lexicon: bool, settings: Settings) -> Data:
    """Builds vocabulary and arrays; film snippets train only the rating, not the classes."""
    texts, ratings, labels, domains, groups = sentences
    film = domains == vader.FILMS
    unseen = groups[np.concatenate([split.validation, split.test])]
    used = film & ~np.isin(groups, unseen) & (settings.film_weight > 0)
    known = np.concatenate([split.train, np.flatnonzero(used)])
    vocabulary = text.build_vocabulary(map(text.word_forms, texts[known]), min_count=2)
    train = encode(texts[known], vocabulary, lexicon, settings)
    train["target"] = vader.soft_labels(ratings[known], settings.label_width)
    train["rating"], train["film"] = ratings[known], film[known].astype(float)
    validation = encode(texts[split.validation], vocabulary, lexicon, settings)
    validation["label"] = labels[split.validation]
    return Data(train, validation, vocabulary)


class Classifier(nn.Module):
    """Embedding, stacked bidirectional GRU, attention pooling, softmax."""

    settings: Settings
    num_words: int

    @nn.compact
    def __call__(self, inputs: dict[str, Array], train: bool) -> tuple[Array, Array, Array]:
        """Returns: class logits [B, 3], mean rating [B], attention [B, T] (sums to 1)."""
        s, rate = self.settings, self.settings.dropout
        embed = WordEmbedding(self.num_words, s.subword_buckets, s.embedding_size, s.token_dropout)
        xs = embed(inputs["words"], inputs["subwords"], train)
        xs = nn.Dropout(rate, broadcast_dims=(1,))(xs, not train)
        xs = jnp.concatenate([xs, inputs["token_features"]], -1)  # [B, T, I]
        xs *= nn.Dropout(s.token_dropout / 2)(jnp.ones((*xs.shape[:2], 1)), not train) > 0
        options = {"bidirectional": True, "dropout": rate if s.num_layers > 1 else 0.0}
        gru = StackedGRU(s.hidden_size, num_layers=s.num_layers, **options)
        _, hs = gru(xs, lengths=inputs["lengths"], deterministic=not train)  # [B, T, 2H]
        hs = nn.Dropout(rate)(hs, not train)
        pooled, attention = AttentionPooling(s.hidden_size)(hs, inputs["lengths"])
        pooled = nn.Dropout(rate)(pooled, not train)
        pooled = jnp.concatenate([pooled, inputs["sentence_features"]], -1)
        return nn.Dense(3)(pooled), nn.Dense(1)(pooled)[:, 0], attention


def probabilities(model: Classifier, params: Any, inputs: dict[str, Any]) -> Array:
    """Class probabilities [N, 3] of N encoded sentences."""
    classify = partial(model.apply, params, train=False)
    return nn.softmax(training.map_batches(classify, inputs, batch_size=128)[0])


def classifier_training(
    settings: Settings, data: Data, learning_rate: float | Array, weight_decay: float | Array
) -> training.Training:
    """Builds the training of one classifier; the two hyperparameters may be traced."""
    model = Classifier(settings, len(data.vocabulary))
    examples = {name: jnp.asarray(array) for name, array in data.train.items()}
    num_batches = len(examples["words"]) // settings.batch_size
    optimizer = training.adamw_warmup_cosine(
        learning_rate, weight_decay, settings.max_gradient_norm, num_batches, settings.epochs
    )

    def loss(params, batch, key):
        outputs: Any = model.apply(params, batch, train=True, rngs={"dropout": key})
        logits, rating, _ = outputs
        has_class = 1 - batch["film"]
        cross_entropy = has_class * optax.softmax_cross_entropy(logits, batch["target"])
        weight = jnp.where(batch["film"], settings.film_weight, settings.rating_weight)
        squared_error = weight * (rating - batch["rating"]) ** 2
        return Mean(cross_entropy.sum(), has_class.sum()), squared_error.mean()

    def evaluate(params):
        predictions = probabilities(model, params, data.validation).argmax(-1)
        return validation_metrics(data.validation["label"], predictions, num_classes=3)

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


def train_and_test(
    out: Path, settings: Settings, sentences: vader.Sentences, split: Split, which: dict[str, Any]
) -> np.ndarray:
    """Trains, unless already trained, and saves the model. Returns: probabilities [N, 3].

    `which` identifies the training: "lexicon" (bool), "fold" and "seed".
    """
    lexicon, fold, seed = which["lexicon"], which["fold"], which["seed"]
    directory = out / f"{'lexicon' if lexicon else 'words'}-fold{fold}-seed{seed}"
    data = prepare(sentences, split, lexicon, settings)
    plan = classifier_training(settings, data, settings.learning_rate, settings.weight_decay)
    record = {"settings": asdict(settings), **which}
    state = loop.run(plan, jax.random.key(seed), directory, record, directory.name)
    save_model(directory / MODEL, state.best_params, record, data.vocabulary)
    inputs = encode(sentences.texts[split.test], data.vocabulary, lexicon, settings)
    model = Classifier(settings, len(data.vocabulary))
    return np.asarray(jax.jit(partial(probabilities, model))(state.best_params, inputs))


def experiment(settings: Settings, folds: int, seeds: int, out: Path) -> None:
    """Trains on each fold and compares all classifiers on its test set."""
    models = 2 * folds * seeds
    print(f"Training {models} models: about {MINUTES * models:.0f} minutes on 2 idle CPU cores.")
    sentences = vader.read_sentences()
    splits = vader.split_rated(sentences, NUM_FOLDS, validation_parts=8, seed=0)
    rows: dict[str, list[Predictions]] = {}
    for fold, split in enumerate(splits[:folds]):
        predictions = predict_baselines(sentences, split)
        for lexicon, name in ((False, "GRU, words alone"), (True, "GRU with VADER's lexicon")):
            runs = [{"lexicon": lexicon, "fold": fold, "seed": seed} for seed in range(seeds)]
            outputs = [train_and_test(out, settings, sentences, split, which) for which in runs]
            predictions[name] = [output.argmax(-1) for output in outputs]
            if seeds > 1:
                predictions[f"{name}, {seeds} seeds averaged"] = [np.mean(outputs, 0).argmax(-1)]
        labels, domains = sentences.labels[split.test], sentences.domains[split.test]
        for name, row in predictions.items():
            rows.setdefault(name, []).extend(Predictions(labels, p, domains) for p in row)
    print(f"\nOn the test sentences of {folds} of {NUM_FOLDS} folds:")
    write_report(rows, vader.RATED, vader.CLASSES, out)
    plot_attention(
        out / "attention.png", [predict(out, sentence) for sentence in EXAMPLES], vader.CLASSES
    )
    print(f"Try: {command_line(COMMAND, '--predict', EXAMPLES[0])}")


def predict(out: Path, sentence: str) -> tuple[np.ndarray, list[str], np.ndarray]:
    """The saved model's class probabilities [3], the tokens [T], and its attention [T]."""
    params, record, vocabulary = load_model(out / "lexicon-fold0-seed0" / MODEL, COMMAND)
    settings = Settings(**record["settings"])
    inputs = encode([sentence], vocabulary, record["lexicon"], settings)
    model = Classifier(settings, len(vocabulary))
    logits, _, attention = map(np.asarray, model.apply(params, inputs, train=False))
    tokens = text.tokenize(sentence)[: settings.max_tokens]
    return np.asarray(nn.softmax(logits)[0]), tokens, np.asarray(attention)[0, : len(tokens)]


def export(out: Path) -> Path:
    """Writes the saved model as an ONNX file, see `experiments.export`, and returns its path."""
    from experiments.export import write_classifier  # which imports this module

    path = out / "lexicon-fold0-seed0" / "classifier.onnx"
    write_classifier(path.with_name(MODEL), path)
    return path


def main(command: Command) -> None:
    """Runs the command."""
    if command.export is not None:
        return print(export(command.out))
    if command.predict is None:
        return experiment(command.settings, command.folds, command.seeds, command.out)
    print(describe_prediction(vader.CLASSES, *predict(command.out, command.predict)))
