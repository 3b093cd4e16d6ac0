"""The report of `experiments.video`: accuracy, and errors of predicted frames."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.outputs import write_results
from experiments.common.report import format_table, mean_and_deviation
from experiments.common.report.bootstrap import ratio_interval
from experiments.common.report.heat_maps import plot_confusion
from experiments.common.report.plots import Curve, cell_title, plot_learning_curves
from experiments.common.training import loop, map_batches
from experiments.common.training.metrics import read_records, score_classifier
from experiments.video.baselines import estimate_motion, extrapolate_last, extrapolate_mean
from experiments.video.data import DIRECTIONS, NUM_CLASSES, SPEEDS, Clips
from experiments.video.model import IN_ORDER, VideoNetwork, predict_frames
from experiments.video.plots import plot_frames, plot_psnr

Answers = Mapping[str, Sequence[Mapping[str, np.ndarray]]]  # by classifier, seed, label: int [N]
NAMES = {"cnn": "CNN over time", "mean": "mean over the frames", "last": "the last frame alone"}
CORRELATION = "cross-correlation"
CLIPS_DRAWN = 3
BATCH_SIZE = 100


class Trained(NamedTuple):
    """A network and its training."""

    network: VideoNetwork
    params: Any
    folder: Path  # of the training


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


def write_report(
    networks: Mapping[str, Sequence[Trained]], clips: Clips, seen: int, out: Path
) -> None:
    """Prints how the networks do on test clips, and writes results.json and plots.

    Args:
      networks: those of each reader, one for each seed. The plots of clips and of directions are of
        the first.
      clips: of test digits; the frames after the first `seen` are to be predicted.
      seen: the number of frames that the networks see.
      out: the folder to write to.
    """
    frames, truth = clips.frames[:, :seen], np.asarray(clips.clean[:, seen:])
    count = truth.shape[1]
    title = cell_title(networks["gru"][0].network.cell)
    names = {"gru": title, **NAMES}
    answers: dict[str, list[dict[str, np.ndarray]]] = {}
    predicted: dict[str, list[np.ndarray]] = {}
    for reader, rows in networks.items():
        outputs = [run_network(row.network, row.params, frames, count) for row in rows]
        answers[names[reader]] = [
            {label: row.argmax(-1) for label, row in probabilities.items()}
            for probabilities, _ in outputs
        ]
        if reader in IN_ORDER:
            predicted[names[reader]] = [continued for _, continued in outputs]
    direction, speed = map(np.asarray, jax.jit(jax.vmap(estimate_motion))(frames))
    answers[CORRELATION] = [{"direction": direction, "speed": speed}]
    accuracy = print_accuracy(answers, clips)

    predicted["the last frame stays"] = [np.repeat(frames[:, -1:], count, 1)]
    for image, extrapolate in (
        ("the last", extrapolate_last),
        ("the mean of all", extrapolate_mean),
    ):
        run = jax.jit(jax.vmap(partial(extrapolate, count=count)))
        predicted[f"{image} moves on, by {CORRELATION}"] = [np.asarray(run(frames))]
    errors = {
        name: np.stack([((row - truth) ** 2).mean((2, 3)) for row in rows])
        for name, rows in predicted.items()
    }
    decibels = print_errors(errors)
    write_results(out / "results.json", {"right": accuracy, "PSNR in dB": decibels})
    psnrs = {name: psnr_with_interval(rows.mean(0)) for name, rows in errors.items()}
    plot_psnr(out / "errors.png", psnrs)
    draw_plots(answers, predicted[title][0], clips, seen, out)
    draw_curves({names[reader]: rows[0].folder for reader, rows in networks.items()}, out)


def print_accuracy(answers: Answers, clips: Clips) -> dict[str, dict[str, list[float]]]:
    """Prints and returns the accuracies of each classifier for each label, one for each seed."""
    accuracy = {
        name: {
            label: [float((row[label] == np.asarray(clips.labels[label])).mean()) for row in rows]
            for label in rows[0]
        }
        for name, rows in answers.items()
    }
    rows = [
        [name, *(mean_and_deviation(row[label]) if label in row else "–" for label in NUM_CLASSES)]
        for name, row in accuracy.items()
    ]
    header = [f"{len(clips.frames)} clips, % correct", *NUM_CLASSES]
    print(f"\n{format_table(header, rows)}")
    return accuracy


def print_errors(errors: Mapping[str, np.ndarray]) -> dict[str, list[list[float]]]:
    """Prints and returns the PSNR of predicted frames: of each number of frames ahead, by seed.

    Args:
      errors: mean squared errors [seeds, N, count].
    """
    decibels = {name: psnr(rows.mean(1)).T for name, rows in errors.items()}
    count = len(next(iter(decibels.values())))
    header = ["PSNR in dB, frames ahead", *map(str, range(1, count + 1))]
    rows = [[name, *(f"{x:.1f}" for x in row.mean(1))] for name, row in decibels.items()]
    print(f"\n{format_table(header, rows)}")
    return {name: row.tolist() for name, row in decibels.items()}


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
    firsts = {name: rows[0] for name, rows in answers.items()}
    network, drawn = next(iter(firsts)), []
    for i in range(CLIPS_DRAWN):
        truth = {name: int(row[i]) for name, row in clips.labels.items()}
        answer = {name: int(row[i]) for name, row in firsts[network].items()}
        title = f"{describe(truth)}; {network}: {describe(answer)}"
        whole = np.concatenate([clips.frames[i, :seen], clips.clean[i, seen:]])
        drawn.append((title, {"seen, then truth": whole, network: predicted[i]}))
    plot_frames(out / "frames.png", drawn)
    truth, count = clips.labels["direction"], len(DIRECTIONS)
    confusions = {
        name: np.asarray(score_classifier(truth, firsts[name]["direction"], count).confusion)
        for name in (network, NAMES["mean"])
        if name in firsts
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
