"""A folder of the user's images, with one subfolder for each class."""

from pathlib import Path

import numpy as np

from experiments.common.data.class_folders import find_classes
from experiments.common.outputs import write_results
from experiments.common.report.classes import report_classes
from experiments.images.baselines import logistic_regression
from experiments.vision.digits import SIDE, Digits, Splits
from experiments.vision.pictures import SUFFIXES, as_ink, find_pictures, read_picture

LEAST = 10  # images of a class
VALIDATION, TEST = 0.1, 0.2  # the share of each class in these parts


def read_own_image(path: Path) -> np.ndarray:
    """Reads an image as the network sees it: uint8 [28, 28]; 0 is paper, dark or light."""
    return np.rint(255 * as_ink(read_picture(path, SIDE))).astype(np.uint8)


def read_class_folders(folder: Path) -> tuple[Splits, list[str]]:
    """Reads and splits the images. Returns: the parts, and the names of the classes.

    Raises:
      InputError: there are fewer than two classes, too few or too many images, or a damaged one.
    """
    files = find_classes(folder, find_pictures, "images", ", ".join(SUFFIXES), LEAST)
    rng = np.random.default_rng(0)
    parts: list[list[tuple[Path, int]]] = [[], [], []]
    for label, found in enumerate(files.values()):
        paths = [found[i] for i in rng.permutation(len(found))]
        test, validation = (max(round(share * len(paths)), 1) for share in (TEST, VALIDATION))
        bounds = [0, len(paths) - test - validation, len(paths) - test, len(paths)]
        for part, first, stop in zip(parts, bounds, bounds[1:], strict=False):
            part += [(path, label) for path in paths[first:stop]]
    return Splits(*map(_read, parts)), list(files)


def _read(part: list[tuple[Path, int]]) -> Digits:
    images = np.stack([read_own_image(path) for path, _ in part])
    return Digits(images, np.array([label for _, label in part], np.int32))


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
