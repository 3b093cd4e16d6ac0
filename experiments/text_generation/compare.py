"""The GRU beside its rivals as language models: `--compare`."""

from dataclasses import replace
from typing import Any

from jax import Array

from experiments.common import training
from experiments.common.rivals.comparison import Sizes, Task, compare
from experiments.common.rivals.report import Figure
from experiments.text_generation.model import CharacterModel
from experiments.text_generation.prose import Corpus, read_corpus
from experiments.text_generation.settings import Command, Settings
from experiments.text_generation.train import SHARES, language_training, make_model, prepare

FIGURES = {"bits": Figure("bits per character", 3, lower_is_better=True)}


def main(command: Command) -> None:
    """Compares all cells on one corpus."""
    name = command.corpus or "bible"
    task = make_task(command.compared(), read_corpus(name, SHARES))
    compare(task, command.rivals, command.out / "compare" / name)


def make_task(settings: Settings, corpus: Corpus) -> Task:
    """The comparison on one corpus."""
    data, test_text = prepare(corpus, settings), corpus.join(corpus.split.test)

    def model_of(cell: str) -> CharacterModel:
        return make_model(replace(settings, cell=cell), data.num_symbols)

    def build(cell: str, learning_rate: float | Array) -> training.Training:
        return language_training(replace(settings, cell=cell), data, learning_rate)

    def test(cell: str, params: Any) -> dict[str, Array]:
        return {"bits": model_of(cell).text_bits(params, test_text).mean()}

    def stream(cell: str) -> Sizes:
        return Sizes(data.num_symbols, model_of(cell).hidden_size)

    return Task(build, test, FIGURES, lambda cell: model_of(cell).num_parameters(), stream)
