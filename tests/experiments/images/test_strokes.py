"""Photographs, noise and blots are not digits; drawings of digits are."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_image

from experiments.images.strokes import find_doubt, fit_ranges
from experiments.images.user_image import read_image, to_mnist

# As of MNIST's 5,000 digits: share of ink, gray pixels per ink, stroke width.
RANGES = [[0.03, 0.0, 0.45], [0.34, 1.2, 3.0]]


def draw_digits() -> np.ndarray:
    """Lines of several widths, like strokes of a pen."""
    images = []
    for width in (8, 10, 12):
        for end in (20, 45, 70):
            image = Image.new("L", (90, 90), 255)
            draw = ImageDraw.Draw(image)
            draw.line([(20, 15), (end + 5, 15), (35, 75)], fill=0, width=width)
            images.append(to_mnist(np.asarray(image) / 255.0))
    return np.stack(images)


def test_the_ranges_hold_all_training_images_with_a_margin():
    digits = draw_digits()
    ranges = fit_ranges(digits)
    assert all(find_doubt(digit, ranges) is None for digit in digits)
    assert find_doubt(digits[0] * 0.97, ranges) is None
    assert np.all(np.array(ranges[0]) < np.array(ranges[1]))


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize("corner", [(0, 0), (100, 200), (200, 300)])
def test_a_photograph_is_no_digit(tmp_path, name, corner):
    photo = load_sample_image(name)[corner[0] : corner[0] + 220, corner[1] : corner[1] + 160]
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    image = to_mnist(read_image(tmp_path / "photo.jpg"))
    assert find_doubt(image, RANGES) == "more gray than any digit that the networks were trained on"


def test_noise_blots_and_specks_are_no_digits():
    rng = np.random.default_rng(0)
    blot, speck = np.ones((60, 60)), np.ones((60, 60))
    blot[20:40, 20:40] = speck[30, 30] = 0
    paper = 0.9 + 0.02 * rng.normal(size=(200, 200)).clip(-3, 3)
    for gray in (rng.random((60, 60)), paper, blot, speck):
        assert find_doubt(to_mnist(gray), RANGES) is not None
    assert all(find_doubt(digit, RANGES) is None for digit in draw_digits())
