"""Clips of moving digits, and the user's videos."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from experiments.common.command import InputError
from experiments.video.data import (
    DIRECTIONS,
    GLYPH,
    SIDE,
    SPEEDS,
    draw_clips,
    place,
    read_frames,
    read_splits,
)
from tests.fixtures.archives.handwritten import make_images

IMAGES, LABELS = make_images(each=3)


def draw(noise: float, num_frames: int = 6, distorted: bool = False):
    return draw_clips(jax.random.key(3), IMAGES, LABELS, num_frames, noise, distorted)


@given(row=st.integers(0, 99), column=st.integers(-40, 40))
def test_glyphs_wrap_around_the_edges(row, column):
    glyph = np.random.default_rng(0).random((GLYPH, GLYPH), np.float32)
    frame = np.pad(glyph, (0, SIDE - GLYPH))
    expected = np.roll(frame, (row, column), (0, 1))
    np.testing.assert_allclose(place(glyph, jnp.array([row, column])), expected, rtol=1e-6)


def test_digits_move_as_the_labels_say():
    clips = draw(0.0)
    np.testing.assert_array_equal(clips.frames, clips.clean)
    np.testing.assert_array_equal(clips.labels["digit"], LABELS)
    velocities = np.array(list(DIRECTIONS.values()))[clips.labels["direction"]]
    velocities *= np.array(SPEEDS)[clips.labels["speed"], None]
    for frames, velocity in zip(np.asarray(clips.clean), velocities, strict=True):
        for before, after in pairwise(frames):
            np.testing.assert_allclose(np.roll(before, velocity, (0, 1)), after, atol=1e-6)
    ink = IMAGES.reshape(-1, GLYPH, 2, GLYPH, 2).mean((2, 4)).sum((1, 2)) / 255
    np.testing.assert_allclose(clips.clean.sum((2, 3)), np.repeat(ink[:, None], 6, 1), rtol=1e-4)


def test_noise_has_its_deviation_and_distortion_keeps_the_motion():
    clips = draw(0.3)
    assert float((clips.frames - clips.clean).std()) == pytest.approx(0.3, rel=0.02)
    distorted = draw(0.3, distorted=True)
    assert np.abs(distorted.clean - clips.clean).max() > 0.1
    for name, label in clips.labels.items():
        np.testing.assert_array_equal(distorted.labels[name], label)


@pytest.mark.usefixtures("handwritten")
def test_no_digit_is_in_two_splits():
    splits = read_splits()
    assert [len(split.labels) for split in splits] == [70, 10, 20]
    images = np.concatenate([split.images for split in splits])
    assert len(np.unique(images.reshape(100, -1), axis=0)) == 100


def test_frames_of_integers_and_of_floats_are_read(tmp_path):
    numbers = np.random.default_rng(0).random((3, SIDE, SIDE))
    np.save(tmp_path / "a.npy", numbers)
    np.testing.assert_allclose(read_frames(tmp_path / "a.npy"), numbers, rtol=1e-6)
    integers = np.rint(255 * numbers).astype(np.uint8)
    np.save(tmp_path / "a.npy", integers)
    np.testing.assert_allclose(read_frames(tmp_path / "a.npy"), integers / 255, rtol=1e-6)


@pytest.mark.parametrize(("mode", "paper"), [("L", 0), ("RGB", 255), ("RGBA", 255)])
def test_a_folder_of_images_is_a_video(tmp_path, mode, paper):
    """Twelve frames, dark ink on light paper or the reverse, larger and wider than a frame."""
    for number in range(1, 13):
        gray = np.full((96, 128), float(paper))
        column = 20 + 6 * number
        gray[30:60, column : column + 12] = 255 - paper
        image = Image.fromarray(gray.astype(np.uint8)).convert(mode)
        image.save(tmp_path / f"frame{number}.png")
    frames = read_frames(tmp_path)
    assert frames.shape == (12, SIDE, SIDE)
    assert frames.min() == 0
    assert frames.max() == 1
    centers = (frames.sum(1) * np.arange(SIDE)).sum(1) / frames.sum((1, 2))
    assert np.all(np.diff(centers) == pytest.approx(2, abs=0.1))  # frame 10 comes after frame 9


def test_a_photographed_frame_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the camera was turned by 90 degrees
    gray = np.zeros((64, 64), np.uint8)
    gray[:16] = 255
    for name in ("1.jpg", "2.jpg"):
        Image.fromarray(gray).save(tmp_path / name, exif=exif)
        gray = np.roll(gray, 8, 0)
    assert read_frames(tmp_path)[0][:, -4:].mean() > 0.9


def test_folders_that_are_no_video(tmp_path):
    with pytest.raises(InputError, match=r"holds 0 images \(\.png, .*\); at least 2 frames"):
        read_frames(tmp_path)
    for name in ("1.png", "2.png"):
        Image.fromarray(np.full((40, 40), 200, np.uint8)).save(tmp_path / name)
    with pytest.raises(InputError, match="shows no motion: no pixel changes by more than 0; ink"):
        read_frames(tmp_path)
    (tmp_path / "3.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"3\.jpg cannot be read as an image"):
        read_frames(tmp_path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 28, 28)), r"shape \(4, 28, 28\); \[T, 32, 32\] is expected"),
        (np.zeros((32, 32)), r"shape \(32, 32\)"),
        (np.zeros((1, 32, 32)), "holds 1 frame; at least 2 are needed"),
        (np.zeros((0, 32, 32)), "holds 0 frames"),
        (np.full((2, 32, 32), np.nan), "nan in frame 0, row 0, column 0; 0 is expected for paper"),
        (np.full((2, 32, 32), 255.0), r"255\.0 in frame 0"),
        (np.full((2, 32, 32), "ink"), "dtype <U3; expected real numbers"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=message):
        read_frames(tmp_path / "a.npy")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read_frames(tmp_path / "none.npy")
    (tmp_path / "a.npy").write_text("ink")
    with pytest.raises(InputError, match=r"is not a \.npy file of numbers"):
        read_frames(tmp_path / "a.npy")
