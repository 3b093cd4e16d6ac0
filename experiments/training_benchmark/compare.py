"""Measures the overhead of the training loop, with the classifier of `experiments.sentiment`.

An epoch is one compiled program: it shuffles, gathers each batch, and takes the steps in a
`lax.scan`. It is compared with a bare step, which is compiled by itself and called from Python on
batches that are already on the device. They take turns (`experiments.common.report.timing`), with
the same parameters and shapes.

    python -m experiments.training_benchmark                 3 minutes on a busy core
    python -m experiments.training_benchmark --devices 2     also on two devices

Measured twice on one shared core: a step of an epoch takes 0.88 of the time of the bare step, in
which all arrays pass through Python (38.7 ms against 44.3, and 55.5 against 65.6).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments import sentiment
from experiments.common import training
from experiments.common.outputs import write_results
from experiments.common.report import format_table
from experiments.common.report.timing import time_interleaved
from experiments.common.training.scale import (
    ONE_DEVICE,
    Scale,
    replicate,
    replicated_outputs,
    use_mesh,
)
from experiments.sentiment import vader
from experiments.training_benchmark.settings import Command


def make_plan(settings: sentiment.Settings, steps: int) -> tuple[training.Training, dict]:
    """The training of one classifier on `steps` batches, without evaluation, and its examples."""
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, sentiment.NUM_FOLDS, validation_parts=8, seed=0)[0]
    data = sentiment.prepare(sentences, split, True, settings)
    rows = steps * settings.batch_size
    data = data._replace(
        train={name: array[:rows] for name, array in data.train.items()},
        validation={name: array[:0] for name, array in data.validation.items()},
    )
    rate, decay = settings.learning_rate, settings.weight_decay
    return sentiment.classifier_training(settings, data, rate, decay), data.train


def make_epoch(plan: training.Training, scale: Scale) -> Callable[[], object]:
    """Returns a function that trains for one more epoch."""
    mesh = scale.mesh()
    step = jax.jit(partial(plan.epoch, scale=scale), donate_argnums=0, **replicated_outputs(mesh))
    state = replicate(jax.jit(plan.init)(jax.random.key(0)), mesh)

    def run() -> object:
        nonlocal state
        with use_mesh(mesh):
            state, metrics = step(state)
        return jax.block_until_ready(metrics)

    return run


def make_bare_steps(
    plan: training.Training, examples: dict, batch_size: int
) -> Callable[[], object]:
    """Returns a function that takes the steps of one more epoch, on batches on the device."""
    step = jax.jit(plan.step, donate_argnums=(0, 1))
    state = jax.jit(plan.init)(jax.random.key(0))
    carry = state.params, state.optimizer_state
    starts = range(0, len(examples["words"]), batch_size)
    batches = [
        {name: jnp.asarray(array[i : i + batch_size]) for name, array in examples.items()}
        for i in starts
    ]
    keys = list(jax.random.split(jax.random.key(1), len(batches)))

    def run() -> object:
        nonlocal carry
        for batch, key in zip(batches, keys, strict=True):
            carry, loss = step(*carry, batch, key)
        return jax.block_until_ready(loss)

    return run


def main(command: Command) -> None:
    """Measures all programs and prints a table."""
    Scale(devices=command.devices).prepare()
    settings = sentiment.Settings()
    plan, examples = make_plan(settings, command.steps)
    bare, epoch = "bare step", "step of an epoch"
    runs = {
        bare: make_bare_steps(plan, examples, settings.batch_size),
        epoch: make_epoch(plan, ONE_DEVICE),
    }
    if command.devices > 1:
        runs[f"{epoch} on {command.devices} devices"] = make_epoch(
            plan, Scale(devices=command.devices)
        )
    times = time_interleaved(runs, command.seconds)
    write_results(
        command.out / "results.json",
        {
            name: {"milliseconds": 1e3 * float(np.median(seconds)) / command.steps}
            for name, seconds in times.items()
        },
    )
    ratios = {name: np.median(seconds / times[bare]) for name, seconds in times.items()}
    rows = [
        [name, f"{1e3 * np.median(seconds) / command.steps:.2f}", f"{ratios[name]:.3f}"]
        for name, seconds in times.items()
    ]
    print(format_table(["median of each", "milliseconds", "times the bare step"], rows))
