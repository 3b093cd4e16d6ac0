"""Moving digits: which digit, whither, how fast, and what comes next, by a convolution and a GRU.

The digits are real, 5,000 of MNIST; their motion over a torus is generated, and noise is laid over
it. No digit lies in two of training, validation and test. Beside the GRU stand what does without
it: the mean over the frames, which does not know their order, a network that sees one frame, and
cross-correlation, which finds a motion and moves what it saw on.

    python -m experiments.video                17 minutes of a crowded core, about 8 of an idle one
    python -m experiments.video --quick
    python -m experiments.video --predict runs/video/example.npy

Measured on 1,000 clips, one of each test digit, % right on digit / direction / speed: GRU 95.9 /
100.0 / 98.2, mean over the frames 87.3 / 20.4 / 32.4, the last frame alone 92.5 / 11.8 / 35.5 (both
trained for less long), cross-correlation, which names no digit, – / 100.0 / 100.0. The frames that
the GRU expects are blurred: their PSNR, 20.4 dB for the next one and 19.0 for the fifth, is that of
the last noisy frame, moved on (20.0); the mean of all that was seen, moved on, has 30.0.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import training
from experiments.common.command import run_command
from experiments.common.training import loop
from experiments.common.training.models import load_model, save_model
from experiments.video.moving_digits import (
    DIRECTIONS,
    SIZES,
    SPEEDS,
    Clips,
    Parts,
    draw_clips,
    read_frames,
    read_parts,
)
from experiments.video.plots import plot_frames
from experiments.video.report import watch, write_report
from experiments.video.watcher import Watcher, imagine, init_watcher

COMMAND = "python -m experiments.video"
MODEL, EXAMPLE = "model.msgpack", "example.npy"
SEEN, NEXT = 10, 5  # frames that are watched, and frames after them that are expected
NOISE = 0.1  # its deviation; ink is 1
NUM_VALIDATION = 200  # clips
MINUTES = {False: 8, True: 2}  # of the whole command, without and with --quick


@dataclass(frozen=True)
class Settings:
    """What determines a trained network."""

    reader: str = "gru"  # see `Watcher`
    hidden_size: int = 128
    features: int = 64  # of what, and of where
    dropout: float = 0.2
    frame_weight: float = 0.3  # of the frames' squared error, summed over the pixels
    imagined: int = 2  # frames in a row that training expects from expected ones
    num_clips: int = 1600  # in an epoch, drawn anew in each
    batch_size: int = 32
    epochs: int = 32
    learning_rate: float = 3e-3  # the peak, after one epoch of warm-up; then a cosine
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0


SETTINGS = {
    "gru": Settings(),
    "mean": Settings("mean", epochs=12),
    "last": Settings("last", num_clips=6400, batch_size=128, epochs=16),
}
QUICK = {name: replace(settings, epochs=3) for name, settings in SETTINGS.items()}


def make_watcher(settings: Settings) -> Watcher:
    """The network of these settings."""
    return Watcher(settings.hidden_size, settings.features, settings.dropout, settings.reader)


def frame_error(model: Watcher, params: Any, hs: Array, clips: Clips, count: int) -> Array:
    """The squared error of a frame, summed over its pixels: the mean over all that are expected.

    Of the frames that are watched each is expected from those before it, and `count` that follow
    from what was expected.
    """
    before = model.apply(params, hs[:, :-1], method="expect")
    after = imagine(model, params, hs[:, -1], count)
    expected = jnp.concatenate([before, after], 1)
    return ((expected - clips.clean[:, 1 : SEEN + count]) ** 2).sum((-1, -2)).mean()


def watcher_training(
    settings: Settings, parts: Parts, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one network; the learning rate may be traced."""
    model = make_watcher(settings)
    images, labels = map(jnp.asarray, parts.train)
    validation = draw_test(parts.validation, NUM_VALIDATION, seed=1)

    def loss(params: Any, batch: Array, key: Array) -> Array:
        which, draw, dropout = jax.random.split(key, 3)
        chosen = jax.random.randint(which, batch.shape, 0, len(labels))
        clips = draw_clips(draw, images[chosen], labels[chosen], SEEN + NEXT, NOISE, True)
        seen = clips.frames[:, :SEEN].astype(jax.tree.leaves(params)[0].dtype)
        answers, hs = model.apply(params, seen, True, rngs={"dropout": dropout})
        total = jnp.float32(0)
        for name, logits in answers.items():
            truth = jax.nn.one_hot(clips.answers[name], SIZES[name])[:, None]
            total += optax.softmax_cross_entropy(logits, truth).mean()
        if settings.reader == "gru":
            total += settings.frame_weight * frame_error(
                model, params, hs, clips, settings.imagined
            )
        return total

    def evaluate(params: Any) -> training.Metrics:
        answers, hs = training.map_batches(
            partial(model.apply, params), validation.frames[:, :SEEN], 100
        )
        right = {
            name: answers[name][:, -1].argmax(-1) == validation.answers[name] for name in SIZES
        }
        metrics = {f"validation_{name}": row.mean() for name, row in right.items()}
        metrics["validation_mean"] = sum(metrics.values()) / len(SIZES)
        if settings.reader == "gru":
            metrics["validation_frame_error"] = frame_error(model, params, hs, validation, NEXT)
        return metrics

    return training.make_usual_training(
        settings,
        learning_rate,
        init_params=lambda key: init_watcher(model, key),
        loss=loss,
        evaluate=evaluate,
        score="validation_mean",
        examples=jnp.arange(settings.num_clips),  # what they are is drawn in `loss`
    )


def draw_test(digits: Any, count: int, seed: int) -> Clips:
    """Clips of all of these digits in turn."""
    chosen = jnp.arange(count) % len(digits.labels)
    images, labels = (jnp.asarray(array)[chosen] for array in digits)
    return draw_clips(jax.random.key(seed), images, labels, SEEN + NEXT, NOISE)


def make_train(settings: Settings, parts: Parts) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""
    return training.as_function(watcher_training, settings, parts)


def experiment(command: "Command") -> None:
    """Trains a network of each reader, and compares them on the test digits."""
    minutes = MINUTES[command.quick]
    print(f"Training three networks, then the report: about {minutes} minutes of an idle CPU core.")
    parts = read_parts()
    networks = {}
    for name, settings in (QUICK if command.quick else SETTINGS).items():
        plan = watcher_training(settings, parts, settings.learning_rate)
        record = {"settings": asdict(settings)}
        state = loop.run(plan, jax.random.key(0), command.out / name, record, name)
        # For questions that a network cannot answer, which epoch was the best is chance.
        params = state.best_params if name == "gru" else state.params
        networks[name] = (make_watcher(settings), params)
        save_model(command.out / name / MODEL, params, record, list(SIZES))
    clips = draw_test(parts.test, command.num_test, seed=2)
    write_report(networks, clips, SEEN, command.out)
    example = command.out / EXAMPLE
    np.save(example, np.asarray(clips.frames[0, :SEEN]))
    print(f"\nPlots and models are in {command.out}. Try: {COMMAND} --predict {example}")


def predict(out: Path, file: Path) -> str:
    """What the trained GRU sees in a file of frames; writes which frames it expects next."""
    frames = read_frames(file)
    params, record, _ = load_model(out / "gru" / MODEL, COMMAND)
    chances, expected = watch(
        make_watcher(Settings(**record["settings"])), params, frames[None], NEXT
    )
    names = {"digit": range(10), "direction": list(DIRECTIONS), "speed": SPEEDS}
    lines = [
        f"{question}: {names[question][row[0].argmax()]} ({row[0].max():.0%})"
        for question, row in chances.items()
    ]
    np.save(out / "expected.npy", expected[0])
    shown = np.concatenate([frames[-SEEN:], expected[0]])
    plot_frames(out / "expected.png", [(", ".join(lines), {"": shown})])
    return "\n".join([*lines, f"the next {NEXT} frames: {out / 'expected.npy'} and expected.png"])


@dataclass(frozen=True)
class Command:
    """Trains the networks and compares them, or asks the one with a GRU."""

    num_test: int = 1000  # test clips
    quick: bool = False  # fewer epochs
    out: Path = Path("runs/video")  # where everything is written
    predict: Path | None = None  # a .npy file of frames [T, 32, 32] to watch, instead of training


def main(command: Command) -> None:
    """Runs the command."""
    if command.quick:
        command = replace(command, out=command.out / "quick")
    if command.predict is None:
        return experiment(command)
    print(predict(command.out, command.predict))


def cli() -> None:
    """Runs the command line."""
    run_command(main, Command, __doc__, trains=True)
