"""The report of `experiments.video`: what the networks name, and which frames they expect."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.report import format_table
from experiments.common.report.plots import plot_confusion, plot_learning_curves
from experiments.common.training import loop, map_batches
from experiments.common.training.metrics import read_records, score_classifier
from experiments.video.motion import find_motion, move_last_on, move_mean_on
from experiments.video.moving_digits import DIRECTIONS, SIZES, SPEEDS, Clips
from experiments.video.plots import plot_errors, plot_frames
from experiments.video.watcher import Watcher, imagine

Networks = Mapping[str, tuple[Watcher, Any]]  # by the reader's name, with their parameters
NAMES = {"gru": "GRU", "mean": "mean over the frames", "last": "the last frame alone"}
CORRELATION = "cross-correlation"
SHOWN = 3  # clips
BATCH = 100


def watch(model: Watcher, params: Any, frames: np.ndarray, count: int) -> tuple[dict, np.ndarray]:
    """Watches frames [N, T, S, S] to their end.

    Returns: the probabilities of each question's answers, [N, its size], and the next `count`
    frames [N, count, S, S], none of a network without a GRU.
    """

    def some(frames: jax.Array) -> Any:
        answers, hs = model.apply(params, frames)
        chances = {name: jax.nn.softmax(logits[:, -1]) for name, logits in answers.items()}
        expects = model.reader == "gru"
        return chances, imagine(model, params, hs[:, -1], count) if expects else hs[:, :0]

    found = jax.jit(partial(map_batches, some, batch_size=min(BATCH, len(frames))))
    return jax.tree.map(np.asarray, found(jnp.asarray(frames)))


def write_report(networks: Networks, clips: Clips, seen: int, out: Path) -> None:
    """Prints how the networks do on test clips, and writes results.json and plots to `out`.

    Args:
      networks: one of each reader.
      clips: of the test digits; what follows the first `seen` frames is to be expected.
      seen: how many frames are watched.
      out: the folder, in which each training has one of the reader's name.
    """
    frames, truth = clips.frames[:, :seen], clips.clean[:, seen:]
    count = truth.shape[1]
    found = {name: watch(*network, frames, count) for name, network in networks.items()}
    direction, speed = map(np.asarray, jax.jit(jax.vmap(find_motion))(frames))
    answers = {
        NAMES[name]: {question: chances.argmax(-1) for question, chances in row.items()}
        for name, (row, _) in found.items()
    }
    answers[CORRELATION] = {"direction": direction, "speed": speed}
    named = print_answers(answers, clips)

    move = {"the last": move_last_on, "the mean of all": move_mean_on}
    expected = {"GRU": found["gru"][1], "the last frame stays": np.repeat(frames[:, -1:], count, 1)}
    for which, moved in move.items():
        run = jax.jit(jax.vmap(partial(moved, count=count)))
        expected[f"{which} moves on, by {CORRELATION}"] = np.asarray(run(frames))
    errors = print_errors(expected, np.asarray(truth))
    results = {"right": named, "mean squared error": errors}
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    plot_errors(out / "errors.png", {name: psnr(np.array(row)) for name, row in errors.items()})
    draw_plots(answers, expected["GRU"], clips, seen, out)


def print_answers(
    answers: Mapping[str, Mapping[str, np.ndarray]], clips: Clips
) -> dict[str, dict[str, float]]:
    """Prints the share of right answers [N] to each question. Returns: them."""
    table = {
        name: {
            question: float((given == np.asarray(clips.answers[question])).mean())
            for question, given in row.items()
        }
        for name, row in answers.items()
    }
    rows = [
        [name, *(f"{100 * row[q]:.1f}" if q in row else "–" for q in SIZES)]
        for name, row in table.items()
    ]
    print(f"\n{format_table([f'{len(clips.frames)} clips, % right', *SIZES], rows)}")
    return table


def print_errors(expected: Mapping[str, np.ndarray], truth: np.ndarray) -> dict[str, list[float]]:
    """Prints the mean squared errors of frames [N, K, S, S] and their PSNR. Returns: the errors."""
    errors = {
        name: ((frames - truth) ** 2).mean((0, 2, 3)).tolist() for name, frames in expected.items()
    }
    header = ["frames ahead: error (PSNR, dB)", *map(str, range(1, truth.shape[1] + 1))]
    rows = [
        [name, *(f"{error:.4f} ({psnr(error):.1f})" for error in row)]
        for name, row in errors.items()
    ]
    print(f"\n{format_table(header, rows)}")
    return errors


def psnr(error: Any) -> Any:
    """The peak signal-to-noise ratio in dB of a mean squared error, where 1 is the peak."""
    return -10 * np.log10(error)


def draw_plots(
    answers: Mapping[str, Mapping[str, np.ndarray]],
    expected: np.ndarray,
    clips: Clips,
    seen: int,
    out: Path,
) -> None:
    """Draws clips and what the GRU expects after them, directions, and learning curves."""
    shown = []
    for i in range(SHOWN):
        truth = {name: int(row[i]) for name, row in clips.answers.items()}
        given = {name: int(row[i]) for name, row in answers["GRU"].items()}
        title = f"{describe(truth)}; GRU: {describe(given)}"
        whole = np.concatenate([clips.frames[i, :seen], clips.clean[i, seen:]])
        rows = {"seen, then truth": whole, "GRU": expected[i]}
        shown.append((title, rows))
    plot_frames(out / "frames.png", shown)
    confusions = {
        name: np.asarray(
            score_classifier(
                clips.answers["direction"], row["direction"], len(DIRECTIONS)
            ).confusion
        )
        for name, row in answers.items()
        if name in ("GRU", NAMES["mean"])
    }
    plot_confusion(out / "directions.png", confusions, list(DIRECTIONS))
    records = {name: read_records(out / reader / loop.METRICS) for reader, name in NAMES.items()}
    plot_learning_curves(out / "learning_curves.png", records, "validation_mean")


def describe(answers: Mapping[str, int]) -> str:
    """Says which digit moves whither and how fast."""
    direction, speed = list(DIRECTIONS)[answers["direction"]], SPEEDS[answers["speed"]]
    return f"{answers['digit']}, {direction}, {speed} a frame"
