"""A folder of the user's images, with one subfolder for each class."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.data.class_folders import find_classes
from experiments.common.data.splits import merge_groups, note_equal, split_own
from experiments.common.outputs import write_results
from experiments.common.report.classes import report_classes
from experiments.images.baselines import logistic_regression
from experiments.vision.digits import SIDE, Digits, Splits
from experiments.vision.pictures import SUFFIXES, as_ink, find_pictures, read_picture

LEAST = 10  # images of a class


def read_own_image(path: Path) -> np.ndarray:
    """Reads an image as the network sees it: uint8 [28, 28]; 0 is paper, dark or light."""
    return np.rint(255 * as_ink(read_picture(path, SIDE))).astype(np.uint8)


class OwnImages(NamedTuple):
    """A user's images."""

    data: Splits  # equal images are in one part
    names: list[str]  # of the classes
    notes: list[str]  # one sentence per thing that the user may not expect


def read_class_folders(folder: Path) -> OwnImages:
    """Reads and splits the images.

    Raises:
      InputError: there are fewer than two classes, too few or too many images, or a damaged one.
    """
    files = find_classes(folder, find_pictures, "image", ", ".join(SUFFIXES), LEAST)
    images = np.stack([read_own_image(path) for paths in files.values() for path in paths])
    labels = np.repeat(np.arange(len(files), dtype=np.int32), list(map(len, files.values())))
    groups = merge_groups([image.tobytes() for image in images])
    split = split_own(labels, groups, list(files), "image")
    data = Splits(*(Digits(images[part], labels[part]) for part in split))
    counts = "{} images to train on, {} to validate, {} to test.".format(*map(len, split))
    return OwnImages(data, list(files), [*note_equal(groups, "image"), counts])


def report_own(
    data: Splits,
    names: list[str],
    probabilities: np.ndarray,
    confidence: dict[str, float],
    out: Path,
) -> None:
    """Prints the accuracy on the test images beside two baselines; writes results.json and a plot.

    Args:
      data: the images.
      names: of the C classes.
      probabilities: [N, C], that the network assigns to the test images.
      confidence: the temperature and the calibration errors.
      out: the folder of the training.
    """
    truth = data.test.labels
    frequent = np.bincount(data.train.labels).argmax()
    answers = {
        "bidirectional GRU by rows": probabilities.argmax(-1),
        "logistic regression": logistic_regression(data.train, data.test.images),
        f"always {names[frequent]}": np.full(len(truth), frequent),
    }
    figures = report_classes(truth, answers, names, "test images", out)
    before, after = confidence["error before"], confidence["error after"]
    print(f"\nCalibration error {before:.1%} before and {after:.1%} after temperature scaling")
    write_results(out / "results.json", figures | {"confidence": confidence})
