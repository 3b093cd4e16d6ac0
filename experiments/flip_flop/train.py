"""The 3-bit flip-flop, and the eight memories inside a GRU that has learned it.

Each of three inputs sends pulses of +1 or −1; each output holds the sign of its input's last pulse.
What the trained network remembers with must be a state that stays where it is when nothing comes
in: a stable fixed point of h ↦ GRU(h, 0) for each of the 2³ memories. The experiment trains five
networks, looks for their fixed points from states that they visit, and draws them.

    python -m experiments.flip_flop                          five seeds: a minute on 2 CPU cores
    python -m experiments.flip_flop --quick                  one small network: half a minute
    python -m experiments.flip_flop --predict "+-+ ... .+. ... -.."      what it remembers

Expected: every seed answers 100.0% of the test steps rightly, with pulses four times rarer than in
training, and has exactly the 8 stable fixed points, with ‖F(h) − h‖ ≤ 1e-6. They are the corners of
a cube, and what lies between them is found too: 12 saddles, one on each edge, with one growing
direction, 6 with two on the faces, one with three in the middle. An untrained network has one fixed
point.

FixedPointFinder's example (Golub & Sussillo 2018, https://doi.org/10.21105/joss.01003) reports the
same of a 16-unit LSTM: 8 stable fixed points, one a memory, and "a number of" saddles that mediate
the transitions. The task is that of Sussillo & Barak 2013, https://doi.org/10.1162/NECO_a_00409.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common import training
from experiments.common.command import run_command
from experiments.common.report import format_table, plots
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from grujax import GRUParams, analysis
from grujax.analysis import FixedPoints, Stability
from grujax.linen import GRU

COMMAND = "python -m experiments.flip_flop"
MODEL = "model.msgpack"
BITS = 3
SECONDS = 10  # of training and analysis a seed on 2 CPU cores


@dataclass(frozen=True)
class Settings:
    """What determines a trained network."""

    hidden_size: int = 32
    steps: int = 64  # of a training sequence
    pulse_rate: float = 0.1  # the chance of a pulse, for each bit and step
    num_examples: int = 2048
    batch_size: int = 64
    epochs: int = 30
    learning_rate: float = 1e-2  # the peak, after one epoch of warm-up; then a cosine
    max_gradient_norm: float = 1.0


class Sequences(NamedTuple):
    """N sequences."""

    pulses: Array  # [N, T, 3]: −1, 0 or 1
    memory: Array  # [N, T, 3]: −1 or 1, the last pulse's sign


def draw_sequences(key: Array, num: int, steps: int, pulse_rate: float) -> Sequences:
    """Draws random pulses. Every bit is set at the first step, so that it has a value."""
    sign_key, when_key = jax.random.split(key)
    signs = jax.random.rademacher(sign_key, (num, steps, BITS), jnp.float32)
    comes = jax.random.bernoulli(when_key, pulse_rate, signs.shape).at[:, 0].set(True)
    last = jax.lax.cummax(jnp.where(comes, jnp.arange(steps)[:, None], 0), axis=1)
    return Sequences(jnp.where(comes, signs, 0), jnp.take_along_axis(signs, last, axis=1))


class FlipFlop(nn.Module):
    """A GRU and a linear readout of its state."""

    hidden_size: int

    def setup(self) -> None:
        self.gru = GRU(self.hidden_size)
        self.readout = nn.Dense(BITS)

    def __call__(self, pulses: Array) -> tuple[Array, Array]:
        """pulses [N, T, 3]. Returns: the memory [N, T, 3], and the states [N, T, H]."""
        _, hs = self.gru(pulses)
        return self.readout(hs), hs

    def read(self, hs: Array) -> Array:
        """The memory [..., 3] that states [..., H] stand for."""
        return self.readout(hs)

    def gru_params(self) -> GRUParams:
        """The GRU's functional parameters."""
        return self.gru.gru_params(BITS)


def make_training(settings: Settings) -> training.Training:
    """Builds the training of one network."""
    model = FlipFlop(settings.hidden_size)
    size = (settings.steps, settings.pulse_rate)
    examples = draw_sequences(jax.random.key(100), settings.num_examples, *size)
    held_out = draw_sequences(jax.random.key(101), 256, *size)

    def error(params: Any, sequences: Sequences) -> Array:
        outputs: Any = model.apply(params, sequences.pulses)
        return jnp.mean((outputs[0] - sequences.memory) ** 2)

    def evaluate(params: Any) -> dict[str, Array]:
        return {"validation_score": -error(params, held_out)}

    num_batches = settings.num_examples // settings.batch_size
    return training.make_training(
        init_params=lambda key: model.init(key, examples.pulses[:1]),
        loss=lambda params, batch, key: error(params, batch),
        evaluate=evaluate,
        score="validation_score",
        optimizer=training.adamw_warmup_cosine(
            settings.learning_rate, 0.0, settings.max_gradient_norm, num_batches, settings.epochs
        ),
        examples=examples,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        patience=settings.epochs,
    )


class Result(NamedTuple):
    """What one network does, and the points at which it rests."""

    right: float  # the share of test steps at which all three bits are right
    memories: int  # how many of the 8 memories have a stable fixed point
    found: FixedPoints
    hs: np.ndarray  # [T, N, H], states on test sequences


def examine(settings: Settings, params: Any) -> Result:
    """Tests a network on long sequences with few pulses, and finds its fixed points."""
    model = FlipFlop(settings.hidden_size)
    test = draw_sequences(jax.random.key(102), 128, 4 * settings.steps, settings.pulse_rate / 4)
    answered: Any = model.apply(params, test.pulses)
    memory, hs = answered
    right = jnp.all((memory > 0) == (test.memory > 0), axis=-1).mean()

    gru = model.apply(params, method="gru_params")
    starts = analysis.sample_states(jax.random.key(103), hs, 1024, noise=0.6)
    found = jax.jit(analysis.find_fixed_points)(gru, jnp.zeros(BITS), starts)
    stable: Any = model.apply(params, found.of(Stability.STABLE), method="read")
    memories = {tuple(signs) for signs in np.sign(np.asarray(stable)).tolist()}
    return Result(float(right), len(memories), found, np.swapaxes(hs, 0, 1))


def describe(name: str, result: Result) -> list[str]:
    """A row of the report's table."""
    found, kinds = result.found, np.asarray(result.found.stability)
    saddles = np.asarray(found.eigenvalues)[kinds == Stability.SADDLE]
    growing = np.sum(np.abs(saddles) > 1, axis=-1)
    fixed = np.isin(kinds, (Stability.STABLE, Stability.SADDLE, Stability.UNSTABLE))
    return [
        name,
        f"{result.right:.2%}",
        str(np.sum(kinds == Stability.STABLE)),
        str(result.memories),
        " + ".join(str(np.sum(growing == count)) for count in (1, 2, 3)),
        str(np.sum(growing > 3)),
        str(np.sum(kinds == Stability.SLOW)),
        f"{np.asarray(found.residuals)[fixed].max(initial=0):.1e}",
    ]


HEADER = ["", "right", "stable", "memories", "saddles 1+2+3", "more", "slow", "‖F(h) − h‖"]


def experiment(settings: Settings, seeds: int, out: Path) -> None:
    """Trains the networks, finds their fixed points, reports and draws them."""
    print(f"Training {seeds} networks: about {SECONDS * seeds} seconds on 2 idle CPU cores.")
    plan = make_training(settings)
    untrained = jax.jit(plan.init)(jax.random.key(0)).params
    rows = [describe("untrained", examine(settings, untrained))]
    for seed in range(seeds):
        directory = out / f"seed{seed}"
        record = {"settings": asdict(settings), "seed": seed}
        state = loop.run(plan, jax.random.key(seed), directory, record, directory.name)
        save_model(directory / MODEL, state.best_params, record, [])
        result = examine(settings, state.best_params)
        rows.append(describe(directory.name, result))
        draw(directory, result)
    print(f"\n{format_table(HEADER, rows)}")
    (out / "results.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    records = {path.parent.name: read_records(path) for path in sorted(out.glob("*/metrics.jsonl"))}
    plots.plot_learning_curves(out / "learning_curves.png", records, "validation_score")
    print(f"\nPlots and models are in {out}. Try: {COMMAND} --predict '+-+ ... .+.'")


def draw(directory: Path, result: Result) -> None:
    """Writes the fixed points among trajectories, and the eigenvalues at the stable ones."""
    found = result.found
    analysis.plot_state_space(result.hs, found).savefig(directory / "fixed_points.png")
    stable = np.asarray(found.eigenvalues)[np.asarray(found.stability) == Stability.STABLE]
    title = "eigenvalues at the stable fixed points"
    analysis.plot_eigenvalues(stable, title=title).savefig(directory / "eigenvalues.png")


def predict(out: Path, pulses: str) -> str:
    """What the saved network remembers after each step of "+-. ..." (a word of three a step)."""
    params, record, _ = load_model(out / "seed0" / MODEL, COMMAND)
    steps = pulses.split()
    if not steps or any(len(step) != BITS or set(step) - set("+-.") for step in steps):
        raise SystemExit(f"error: expected words of {BITS} letters from '+', '-', '.': {pulses!r}")
    values = [[{"+": 1.0, "-": -1.0, ".": 0.0}[sign] for sign in step] for step in steps]
    answered: Any = FlipFlop(record["settings"]["hidden_size"]).apply(params, jnp.array([values]))
    signs = ["".join("+" if value > 0 else "-" for value in step) for step in answered[0][0]]
    return f"pulses  {' '.join(steps)}\nmemory  {' '.join(signs)}"


@dataclass(frozen=True)
class Command:
    """Trains networks on the flip-flop and finds their fixed points, or asks a trained one."""

    seeds: int = 5  # how many networks
    quick: bool = False  # one small network, trained briefly
    out: Path = Path("runs/flip_flop")  # where everything is written
    predict: str | None = None  # pulses to remember, such as "+-+ ... .+.", instead of training


def main(command: Command) -> None:
    """Runs the command."""
    if command.predict is not None:
        print(predict(command.out, command.predict))
        return
    settings = Settings()
    if command.quick:
        settings = replace(settings, hidden_size=24, num_examples=1024, epochs=20)
    experiment(settings, 1 if command.quick else command.seeds, command.out)


def cli() -> None:
    """Runs the command line."""
    run_command(main, Command, __doc__, trains=True)
