"""The GRU beside its rivals as recognizers of streams: `--compare`."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax import Array

from experiments.common import training
from experiments.common.cells import parameter_shapes
from experiments.common.rivals.comparison import Sizes, Task, compare
from experiments.common.rivals.layers import count_layer_parameters
from experiments.common.rivals.report import Figure
from experiments.speech.digit_strings import DigitStrings
from experiments.speech.recognizer import Recognizer
from experiments.speech.spoken_digits import COEFFICIENTS, read_corpus
from experiments.speech_recognition.examples import Examples, measure_errors
from experiments.speech_recognition.settings import Command, Settings
from experiments.speech_recognition.train import (
    Data,
    draw_test_strings,
    make_recognizer,
    make_training,
    prepare,
)

FIGURES = {
    "digit errors": Figure("digit errors, %", 2, scale=100, lower_is_better=True),
    "strings right": Figure("strings right, %", 1, scale=100),
}


def main(command: Command) -> None:
    """Compares all cells as recognizers of streams."""
    corpus = read_corpus()
    strings = draw_test_strings(corpus, command.num_test)
    task = make_task(command.compared(), prepare(corpus), strings)
    compare(task, command.rivals, command.out / "compare")


def make_task(settings: Settings, data: Data, strings: DigitStrings) -> Task:
    """The comparison on these test strings."""
    tested = Examples(strings.frames, strings.lengths, strings.digits)

    def model_of(cell: str) -> Recognizer:
        return make_recognizer(replace(settings, cell=cell))

    def build(cell: str, learning_rate: float | Array) -> training.Training:
        return make_training(replace(settings, cell=cell), data, learning_rate)

    def test(cell: str, params: Any) -> dict[str, Array]:
        return measure_errors(model_of(cell), params, tested)

    def parameters(cell: str) -> int:
        frames, model = jnp.zeros((1, settings.stride, COEFFICIENTS)), model_of(cell)
        shapes = parameter_shapes(lambda key: model.init(key, frames))
        return count_layer_parameters(shapes)

    def stream(cell: str) -> Sizes:
        return Sizes(settings.stride * COEFFICIENTS, model_of(cell).state_size(COEFFICIENTS))

    return Task(build, test, FIGURES, parameters, stream)
