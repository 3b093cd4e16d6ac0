"""The 3-bit flip-flop, and the eight memories inside a GRU that has learned it.

Each of three inputs sends pulses of +1 or −1; each output is the sign of its input's last pulse. To
remember, a trained network needs states that persist without input: a stable fixed point of
h ↦ GRU(h, 0) for each of the 2³ memories. The experiment trains five networks, searches for their
fixed points starting from states that they visit, and draws them.

    python -m experiments.flip_flop                          five seeds: a minute on 2 CPU cores
    python -m experiments.flip_flop --quick                  one small network: half a minute
    python -m experiments.flip_flop --predict "+-+ ... .+. ... -.."      what it remembers

Expected: every seed gets 100.0% of the test steps right, with pulses four times rarer than in
training, and has exactly the 8 stable fixed points, with ‖F(h) − h‖ ≤ 1e-6. They are the corners of
a cube. The search also finds 12 saddles with one growing direction, one on each edge, 6 with two on
the faces, and one with three in the middle. An untrained network has one fixed point.

FixedPointFinder's example (Golub & Sussillo 2018, https://doi.org/10.21105/joss.01003) reports the
same of a 16-unit LSTM: 8 stable fixed points, one per memory, and "a number of" saddles that
mediate the transitions. The task is from Sussillo & Barak 2013,
https://doi.org/10.1162/NECO_a_00409.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from experiments.common import training
from experiments.common.command import InputError
from experiments.common.onnx.files import export_model
from experiments.common.onnx.models import draw_examples
from experiments.common.outputs import write_results
from experiments.common.provenance import command_line
from experiments.common.report import plots
from experiments.common.report.counts import count
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from experiments.flip_flop.data import BITS, Sequences, draw_sequences
from experiments.flip_flop.model import FlipFlop
from experiments.flip_flop.onnx_model import build_model
from experiments.flip_flop.report import analyze, draw, format_summaries, summarize
from experiments.flip_flop.settings import Command, Settings

COMMAND = "python -m experiments.flip_flop"
MODEL = "model.msgpack"
SECONDS = 10  # per seed, training and analysis, on 2 CPU cores


def draw_training_data(settings: Settings) -> Sequences:
    """Draws the sequences to train on."""
    size = (settings.num_examples, settings.steps, settings.pulse_rate)
    return draw_sequences(jax.random.key(100), *size)


def flip_flop_training(
    settings: Settings, data: Sequences, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one network; the learning rate may be traced."""
    model = FlipFlop(settings.hidden_size)
    held_out = draw_sequences(jax.random.key(101), 256, settings.steps, settings.pulse_rate)

    def error(params: Any, sequences: Sequences) -> Array:
        outputs: Any = model.apply(params, sequences.pulses)
        return jnp.mean((outputs[0] - sequences.memory) ** 2)

    num_batches = settings.num_examples // settings.batch_size
    return training.make_training(
        init_params=lambda key: model.init(key, data.pulses[:1]),
        loss=lambda params, batch, key: error(params, batch),
        evaluate=lambda params: {"validation_score": -error(params, held_out)},
        score="validation_score",
        optimizer=training.adamw_warmup_cosine(
            learning_rate, 0.0, settings.max_gradient_norm, num_batches, settings.epochs
        ),
        examples=data,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        patience=settings.epochs,
    )


def make_train(settings: Settings, data: Sequences) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics per epoch [E]."""
    return training.as_function(flip_flop_training, settings, data)


def experiment(settings: Settings, seeds: int, out: Path) -> None:
    """Trains the networks, finds their fixed points, reports and draws them."""
    print(
        f"Training {count(seeds, 'network')}: about {SECONDS * seeds} seconds on 2 idle CPU cores."
    )
    model = FlipFlop(settings.hidden_size)
    plan = flip_flop_training(settings, draw_training_data(settings), settings.learning_rate)
    test = draw_sequences(jax.random.key(102), 128, 4 * settings.steps, settings.pulse_rate / 4)
    untrained = jax.jit(plan.init)(jax.random.key(0)).params
    summaries = {"untrained": summarize(analyze(model, untrained, test))}
    for seed in range(seeds):
        directory = out / f"seed{seed}"
        record = {"settings": asdict(settings), "seed": seed}
        state = loop.run(plan, jax.random.key(seed), directory, record, directory.name)
        save_model(directory / MODEL, state.best_params, record, [])
        result = analyze(model, state.best_params, test)
        summaries[directory.name] = summarize(result)
        draw(directory, result)
    print(f"\n{format_summaries(summaries)}")
    results = {name: summary._asdict() for name, summary in summaries.items()}
    write_results(out / "results.json", results)
    records = {path.parent.name: read_records(path) for path in sorted(out.glob("*/metrics.jsonl"))}
    metric = plots.Curve("validation_score", "validation mean squared error", is_negated=True)
    plots.plot_learning_curves(out / "learning_curves.png", records, "mean squared error", metric)
    line = command_line(COMMAND, "--predict", "+-+ ... .+.")
    print(f"\nPlots and models are in {out}. Try: {line}")


def predict(out: Path, pulses: str) -> str:
    """Feeds pulses "+-. ...", one word of three signs per step, to the saved network."""
    params, record, _ = load_model(out / "seed0" / MODEL, COMMAND)
    steps = pulses.split()
    if not steps or any(len(step) != BITS or set(step) - set("+-.") for step in steps):
        raise InputError(
            f"--predict must be words of {BITS} letters from '+', '-', '.', got {pulses!r}."
        )
    values = [[{"+": 1.0, "-": -1.0, ".": 0.0}[sign] for sign in step] for step in steps]
    outputs: Any = FlipFlop(record["settings"]["hidden_size"]).apply(params, jnp.array([values]))
    signs = ["".join("+" if value > 0 else "-" for value in step) for step in outputs[0][0]]
    return f"pulses  {' '.join(steps)}\nmemory  {' '.join(signs)}"


def export(out: Path) -> None:
    """Writes the saved network as an ONNX file."""
    params, record, _ = load_model(out / "seed0" / MODEL, COMMAND)
    model = FlipFlop(record["settings"]["hidden_size"])

    @jax.jit
    def run(xs: Array) -> list[Array]:
        outputs: Any = model.apply(params, xs.swapaxes(0, 1))
        return [outputs[0].swapaxes(0, 1)]

    examples = draw_examples({"xs": (9, 4, BITS)}, {"xs": (5, 1, BITS)})
    export_model(out / "seed0" / "model.onnx", build_model(params), run, examples)


def main(command: Command) -> None:
    """Runs the command."""
    if command.export is not None:
        return export(command.out)
    if command.predict is not None:
        return print(predict(command.out, command.predict))
    experiment(command.settings, command.seeds, command.out)
