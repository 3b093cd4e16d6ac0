"""The report of `experiments.video`: accuracy, and errors of predicted frames."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.outputs import write_results
from experiments.common.report import format_table
from experiments.common.report.bootstrap import ratio_interval
from experiments.common.report.heat_maps import plot_confusion
from experiments.common.report.plots import Curve, cell_title, plot_learning_curves
from experiments.common.training import loop, map_batches
from experiments.common.training.metrics import read_records, score_classifier
from experiments.video.baselines import estimate_motion, extrapolate_last, extrapolate_mean
from experiments.video.data import DIRECTIONS, NUM_CLASSES, SPEEDS, Clips
from experiments.video.model import IN_ORDER, VideoNetwork, predict_frames
from experiments.video.plots import plot_frames, plot_psnr

Networks = Mapping[str, tuple[VideoNetwork, Any]]  # by reader, with their parameters
Answers = Mapping[str, Mapping[str, np.ndarray]]  # by classifier, then by label: int [N]
NAMES = {"cnn": "CNN over time", "mean": "mean over the frames", "last": "the last frame alone"}
CORRELATION = "cross-correlation"
CLIPS_DRAWN = 3
BATCH_SIZE = 100


def run_network(
    network: VideoNetwork, params: Any, frames: np.ndarray, count: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Classifies videos [N, T, S, S], and predicts how they continue.

    Returns: probabilities [N, C] for each of NUM_CLASSES, and the next frames [N, count, S, S], or
    none if the network does not read in order.
    """

    def run_batch(frames: jax.Array) -> Any:
        logits, hs, carry = network.apply(params, frames)
        probabilities = {name: jax.nn.softmax(row[:, -1]) for name, row in logits.items()}
        if network.reader not in IN_ORDER:
            return probabilities, hs[:, :0]
        return probabilities, predict_frames(network, params, carry, count)

    run = jax.jit(partial(map_batches, run_batch, batch_size=min(BATCH_SIZE, len(frames))))
    return jax.tree.map(np.asarray, run(jnp.asarray(frames)))


def write_report(networks: Networks, clips: Clips, seen: int, out: Path) -> None:
    """Prints how the networks do on test clips, and writes results.json and plots.

    Args:
      networks: one for each reader.
      clips: of test digits; the frames after the first `seen` are to be predicted.
      seen: the number of frames that the networks see.
      out: the folder to write to; it holds a folder for each reader's training.
    """
    frames, truth = clips.frames[:, :seen], clips.clean[:, seen:]
    count = truth.shape[1]
    outputs = {name: run_network(*network, frames, count) for name, network in networks.items()}
    direction, speed = map(np.asarray, jax.jit(jax.vmap(estimate_motion))(frames))
    title = cell_title(networks["gru"][0].cell)
    names = {"gru": title, **NAMES}
    answers: dict[str, dict[str, np.ndarray]] = {
        names[name]: {label: row.argmax(-1) for label, row in probabilities.items()}
        for name, (probabilities, _) in outputs.items()
    }
    answers[CORRELATION] = {"direction": direction, "speed": speed}
    accuracy = print_accuracy(answers, clips)

    predicted = {names[name]: outputs[name][1] for name in IN_ORDER if name in outputs}
    predicted["the last frame stays"] = np.repeat(frames[:, -1:], count, 1)
    for image, extrapolate in (
        ("the last", extrapolate_last),
        ("the mean of all", extrapolate_mean),
    ):
        run = jax.jit(jax.vmap(partial(extrapolate, count=count)))
        predicted[f"{image} moves on, by {CORRELATION}"] = np.asarray(run(frames))
    errors = print_errors(predicted, np.asarray(truth))
    decibels = {name: psnr(np.array(row)).tolist() for name, row in errors.items()}
    results = {"right": accuracy, "mean squared error": errors, "PSNR in dB": decibels}
    write_results(out / "results.json", results)
    rows = {name: ((frames - truth) ** 2).mean((2, 3)) for name, frames in predicted.items()}
    psnrs = {name: psnr_with_interval(np.asarray(row)) for name, row in rows.items()}
    plot_psnr(out / "errors.png", psnrs)
    draw_plots(answers, predicted[title], clips, seen, out)
    draw_curves({names[reader]: out / reader for reader in networks}, out)


def print_accuracy(answers: Answers, clips: Clips) -> dict[str, dict[str, float]]:
    """Prints and returns the accuracy of each classifier for each label."""
    accuracy = {
        name: {
            label: float((answer == np.asarray(clips.labels[label])).mean())
            for label, answer in row.items()
        }
        for name, row in answers.items()
    }
    rows = [
        [name, *(f"{100 * row[label]:.1f}" if label in row else "–" for label in NUM_CLASSES)]
        for name, row in accuracy.items()
    ]
    header = [f"{len(clips.frames)} clips, % correct", *NUM_CLASSES]
    print(f"\n{format_table(header, rows)}")
    return accuracy


def print_errors(predicted: Mapping[str, np.ndarray], truth: np.ndarray) -> dict[str, list[float]]:
    """Prints mean squared errors and PSNR of frames [N, count, S, S]. Returns: the errors."""
    errors = {
        name: ((frames - truth) ** 2).mean((0, 2, 3)).tolist() for name, frames in predicted.items()
    }
    header = ["frames ahead: error (PSNR, dB)", *map(str, range(1, truth.shape[1] + 1))]
    rows = [
        [name, *(f"{error:.4f} ({psnr(error):.1f})" for error in row)]
        for name, row in errors.items()
    ]
    print(f"\n{format_table(header, rows)}")
    return errors


def psnr(error: Any) -> Any:
    """Computes the peak signal-to-noise ratio in dB from a mean squared error, for peak 1."""
    return -10 * np.log10(error)


def psnr_with_interval(errors: np.ndarray) -> np.ndarray:
    """The PSNR of the mean of errors [N, count], and its 95% interval by bootstrap over clips.

    Returns: [3, count]: the PSNR, and the interval's lower and upper end.
    """
    ones, clips = np.ones(len(errors)), np.arange(len(errors))
    ends = [ratio_interval(column, ones, clips, draws=1000) for column in errors.T]
    low, high = np.transpose(ends)
    return psnr(np.stack([errors.mean(0), high, low]))


def draw_plots(answers: Answers, predicted: np.ndarray, clips: Clips, seen: int, out: Path) -> None:
    """Draws clips with the predictions of the first network, and its confusion of directions."""
    network, drawn = next(iter(answers)), []
    for i in range(CLIPS_DRAWN):
        truth = {name: int(row[i]) for name, row in clips.labels.items()}
        answer = {name: int(row[i]) for name, row in answers[network].items()}
        title = f"{describe(truth)}; {network}: {describe(answer)}"
        whole = np.concatenate([clips.frames[i, :seen], clips.clean[i, seen:]])
        drawn.append((title, {"seen, then truth": whole, network: predicted[i]}))
    plot_frames(out / "frames.png", drawn)
    truth, count = clips.labels["direction"], len(DIRECTIONS)
    confusions = {
        name: np.asarray(score_classifier(truth, answers[name]["direction"], count).confusion)
        for name in (network, NAMES["mean"])
        if name in answers
    }
    plot_confusion(out / "directions.png", confusions, list(DIRECTIONS))


def draw_curves(folders: Mapping[str, Path], out: Path) -> None:
    """Draws the learning curves of the trainings in these folders."""
    records = {name: read_records(folder / loop.METRICS) for name, folder in folders.items()}
    loss = "cross-entropy, nats, and error of frames"
    metric = Curve("validation_mean", "validation accuracy, mean over the labels")
    plot_learning_curves(out / "learning_curves.png", records, loss, metric)


def describe(labels: Mapping[str, int]) -> str:
    """Describes a clip by its labels: "7, down left, speed 2"."""
    direction, speed = list(DIRECTIONS)[labels["direction"]], SPEEDS[labels["speed"]]
    return f"{labels['digit']}, {direction}, speed {speed}"
