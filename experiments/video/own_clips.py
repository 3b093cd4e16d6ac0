"""A folder of the user's clips, with one subfolder for each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from experiments.common.command import InputError
from experiments.common.data.arrays import load_array
from experiments.common.data.class_folders import find_classes
from experiments.common.data.splits import Split, merge_groups, note_equal, split_own
from experiments.common.report.counts import count
from experiments.video.data import FRAME_SUFFIXES, MOST_FRAMES, SIDE, is_array_file, read_images

LEAST = 5  # clips of a class
LONGEST = 40  # frames that the network reads
LEAST_CHANGE = 0.05  # of a pixel over the frames of a clip; white is 1 and black is 0


class Shape(NamedTuple):
    """What the network sees of a clip."""

    every: int  # the step between two frames
    mean: float  # of the gray values in training
    deviation: float

    def choose(self, clip: np.ndarray) -> np.ndarray:
        """The frames in the middle of a clip that the network reads: at most `LONGEST`."""
        frames = clip[:: self.every]
        first = max(len(frames) - LONGEST, 0) // 2
        return frames[first : first + LONGEST]

    def standardize(self, frames: np.ndarray) -> np.ndarray:
        """Gray values with mean 0 and deviation 1 in training."""
        return ((frames - self.mean) / self.deviation).astype(np.float32)


class Clips(NamedTuple):
    """N standardized clips in K classes."""

    frames: np.ndarray  # float32 [N, T, S, S], zero past the end
    lengths: np.ndarray  # int32 [N]
    labels: np.ndarray  # int32 [N]

    def select(self, indices: np.ndarray) -> "Clips":
        """The clips at these indices."""
        return Clips(*(field[indices] for field in self))


class OwnClips(NamedTuple):
    """What was read."""

    clips: Clips
    names: list[str]  # of the classes
    split: Split  # equal clips are in one part
    notes: list[str]  # one sentence per thing that the user may not expect
    shape: Shape
    longest: int  # frames of the longest clip, as it is in its file
    example: Path  # a clip of the test part


def read_class_folders(folder: Path) -> OwnClips:
    """Reads, splits and standardizes the clips.

    Raises:
      InputError: there are fewer than two classes, too few or too many clips, or one that is
        damaged or shows no motion.
    """
    found = find_classes(
        folder, _list_clips, "clip", f"{', '.join(FRAME_SUFFIXES)}, folders", LEAST
    )
    paths = [path for files in found.values() for path in files]
    labels = np.repeat(np.arange(len(found), dtype=np.int32), [len(x) for x in found.values()])
    clips = [read_clip(path) for path in paths]
    groups = merge_groups([clip.tobytes() for clip in clips])
    split = split_own(labels, groups, list(found), "clip")
    lengths = [len(clip) for clip in clips]
    every = max(int(np.ceil(np.median(lengths) / LONGEST)), 1)
    chosen = [Shape(every, 0.0, 1.0).choose(clip) for clip in clips]
    seen = np.concatenate([chosen[i] for i in split.train])
    shape = Shape(every, float(seen.mean()), float(seen.std()))
    return OwnClips(
        _pad([shape.standardize(clip) for clip in chosen], labels),
        list(found),
        split,
        note_equal(groups, "clip"),
        shape,
        max(lengths),
        paths[split.test[0]],
    )


def read_clip(path: Path) -> np.ndarray:
    """Reads a clip: an animation, a folder of images, or a .npy file of gray frames [T, H, W].

    Integers in a file range from 0 to 255; floating-point numbers from 0 to 1.

    Returns: gray values from 0 to 1, float32 [T, 32, 32], of the square in the middle.

    Raises:
      InputError: it is no such clip, has fewer than two frames, or shows no motion.
    """
    frames = _read_array(path) if is_array_file(path) else read_images(path)
    frames = frames.astype(np.float32)
    if len(frames) < 2:
        raise InputError(
            f"{path} has {count(len(frames), 'frame')}; at least 2 are needed to see a motion."
        )
    if (change := np.ptp(frames, axis=0).max()) < LEAST_CHANGE:
        raise InputError(
            f"{path} shows no motion: no pixel changes by more than {change:.2g}; from black to "
            "white is 1."
        )
    return frames


def _list_clips(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in FRAME_SUFFIXES or (path.is_dir() and path.name[0] != ".")
    ]


def _read_array(path: Path) -> np.ndarray:
    array = load_array(path)
    if array.ndim != 3 or 0 in array.shape or len(array) > MOST_FRAMES:
        raise InputError(
            f"{path} holds an array of shape {array.shape}; [T, H, W] is expected: at most "
            f"{MOST_FRAMES} frames of gray values."
        )
    frames = array / 255.0 if array.dtype.kind in "iu" else array
    if not (frames.min() >= 0 and frames.max() <= 1):  # NaN included
        raise InputError(
            f"{path} has values from {array.min():g} to {array.max():g}; 0 to 1, or integers from "
            "0 to 255, are expected."
        )
    images = (Image.fromarray(frame.astype(np.float32)) for frame in frames)
    small = (ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BOX) for image in images)
    return np.stack([np.asarray(image) for image in small])


def _pad(clips: Sequence[np.ndarray], labels: np.ndarray) -> Clips:
    lengths = np.array([len(clip) for clip in clips], np.int32)
    frames = np.zeros((len(clips), lengths.max(), SIDE, SIDE), np.float32)
    frames[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(clips)
    return Clips(frames, lengths, labels)
