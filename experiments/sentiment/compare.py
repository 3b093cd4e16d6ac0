"""The GRU beside its rivals as classifiers of sentences, by their words alone: `--compare`."""

from dataclasses import replace
from typing import Any

from jax import Array

from experiments.common import training
from experiments.common.cells import parameter_shapes
from experiments.common.data.splits import Split
from experiments.common.rivals.comparison import Task, compare
from experiments.common.rivals.layers import count_layer_parameters
from experiments.common.rivals.report import Figure
from experiments.common.training.metrics import score_classifier
from experiments.sentiment import vader
from experiments.sentiment.model import Classifier, classify, encode
from experiments.sentiment.settings import NUM_FOLDS, Command, Settings
from experiments.sentiment.train import classifier_training
from experiments.sentiment.training_data import prepare

FIGURES = {
    "accuracy": Figure("% correct", 1, scale=100),
    "macro-F1": Figure("macro-F1, %", 1, scale=100),
}


def main(command: Command) -> None:
    """Compares all cells on the first fold."""
    sentences = vader.read_sentences()
    [split, *_] = vader.split_rated(sentences, NUM_FOLDS, validation_parts=8, seed=0)
    task = make_task(command.settings, sentences, split)
    compare(task, command.rivals, command.out / "compare")


def make_task(settings: Settings, sentences: vader.Sentences, split: Split) -> Task:
    """The comparison on one fold."""
    data = prepare(sentences, split, False, settings)
    texts, labels = sentences.texts[split.test], sentences.labels[split.test]
    inputs = encode(texts, data.vocabulary, False, settings)

    def build(cell: str, learning_rate: float | Array) -> training.Training:
        changed = replace(settings, cell=cell)
        return classifier_training(changed, data, learning_rate, settings.weight_decay)

    def model_of(cell: str) -> Classifier:
        return Classifier(replace(settings, cell=cell), len(data.vocabulary))

    def test(cell: str, params: Any) -> dict[str, Array]:
        predictions = classify(model_of(cell), params, inputs).argmax(-1)
        score = score_classifier(labels, predictions, len(vader.CLASSES))
        return {"accuracy": score.accuracy, "macro-F1": score.macro_f1}

    def parameters(cell: str) -> int:
        one = {name: array[:1] for name, array in inputs.items()}
        model = model_of(cell)
        shapes = parameter_shapes(lambda key: model.init(key, one, False))
        return count_layer_parameters(shapes)

    return Task(build, test, FIGURES, parameters)
