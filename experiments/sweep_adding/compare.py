"""The GRU beside its rivals on the adding problem: `--compare`."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from experiments.common import training
from experiments.common.cells import hidden_size_for, parameter_shapes
from experiments.common.rivals.cells import RIVALS
from experiments.common.rivals.comparison import Sizes, Task, compare
from experiments.common.rivals.report import Figure
from experiments.memory.adding import SOLVED, draw_batch
from experiments.sweep_adding.settings import Command, Compared
from grujax.baselines import count_parameters

CONSTANT_ERROR = 1 / 6  # of always answering 1
FIGURES = {
    "error": Figure("squared error, % of a constant answer's", 2, 100.0, lower_is_better=True),
    "solved": Figure("trainings that solve it, %", 0, 100.0),
}
MAX_GRADIENT_NORM = 1.0
HELD_OUT = 1000  # sequences for validation, and as many for testing


def main(command: Command) -> None:
    """Compares all cells."""
    compare(make_task(command.compared()), command.rivals, command.out / "compare")


def make_task(settings: Compared) -> Task:
    """The comparison at one length of sequences."""

    def hidden_size(cell: str) -> int:
        return hidden_size_for(RIVALS[cell], 2, settings.parameters)

    def init(cell: str, key: Array) -> tuple[Any, Array, Array]:
        size = hidden_size(cell)
        layer_key, readout_key = jax.random.split(key)
        readout = jax.random.normal(readout_key, (size,)) / size**0.5
        return RIVALS[cell].init(layer_key, 2, size), readout, jnp.zeros(())

    def squared_error(cell: str, params: Any, xs: Array, targets: Array) -> Array:
        layer, weights, bias = params
        output = RIVALS[cell].output(RIVALS[cell].run(layer, xs)[0])
        return jnp.mean((output @ weights + bias - targets) ** 2)

    def held_out_error(cell: str, params: Any, seed: int) -> Array:
        batch = draw_batch(jax.random.key(seed), settings.steps, HELD_OUT)
        return squared_error(cell, params, *batch)

    def build(cell: str, learning_rate: float | Array) -> training.Training:
        def loss(params: Any, batch: Array, key: Array) -> Array:
            return squared_error(cell, params, *draw_batch(key, settings.steps, len(batch)))

        return training.make_training(
            init_params=partial(init, cell),
            loss=loss,
            evaluate=lambda params: {"score": -held_out_error(cell, params, 1)},
            score="score",
            optimizer=training.adamw_warmup_cosine(
                learning_rate, 0.0, MAX_GRADIENT_NORM, settings.updates, settings.epochs
            ),
            examples=jnp.arange(settings.updates * settings.batch_size),  # drawn anew each time
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            patience=settings.epochs,
        )

    def test(cell: str, params: Any) -> dict[str, Array]:
        error = held_out_error(cell, params, 2)
        return {"error": error / CONSTANT_ERROR, "solved": (error < SOLVED).astype(float)}

    def parameters(cell: str) -> int:
        return count_parameters(parameter_shapes(partial(init, cell)))

    return Task(build, test, FIGURES, parameters, lambda cell: Sizes(2, hidden_size(cell)))
