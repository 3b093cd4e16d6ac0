"""The GRU beside its rivals on images that are read in steps: `--compare`."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax import Array

from experiments.common import training
from experiments.common.cells import parameter_shapes
from experiments.common.rivals.comparison import Sizes, Task, compare
from experiments.common.rivals.report import Figure
from experiments.images.sequences import READINGS, hidden_size_for, reading_title
from experiments.images.settings import Command, Settings
from experiments.images.train import (
    PARAMETERS,
    image_training,
    make_network,
    predict_probabilities,
)
from experiments.vision.digits import Splits, read_digits, split_three_ways
from grujax.baselines import count_parameters

FIGURES = {"accuracy": Figure("% right", 1, scale=100)}


def main(command: Command) -> None:
    """Compares all cells on MNIST, in each reading."""
    data = split_three_ways(read_digits())
    for reading, settings in command.compared().items():
        print(f"\n{reading_title(reading)}")
        task = make_task(settings, data)
        compare(task, command.rivals, command.out / "compare" / reading)


def make_task(settings: Settings, data: Splits) -> Task:
    """The comparison on one reading."""

    def settings_of(cell: str) -> Settings:
        return replace(settings, network=cell)

    def build(cell: str, learning_rate: float | Array) -> training.Training:
        return image_training(settings_of(cell), data, learning_rate)

    def test(cell: str, params: Any) -> dict[str, Array]:
        network = make_network(settings_of(cell))
        predictions = predict_probabilities(network, params, data.test.images).argmax(-1)
        return {"accuracy": (predictions == jnp.asarray(data.test.labels)).mean()}

    def parameters(cell: str) -> int:
        return count_parameters(parameter_shapes(make_network(settings_of(cell)).init))

    def stream(cell: str) -> Sizes:
        _, input_size = READINGS[settings.reading]
        return Sizes(input_size, hidden_size_for(cell, settings.reading, PARAMETERS))

    return Task(build, test, FIGURES, parameters, stream)
