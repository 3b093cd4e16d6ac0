"""Images of one's own are made to look as MNIST's, or a sentence says what is wrong with them."""

import numpy as np
import pytest
from matplotlib import image as matplotlib_image
from scipy import ndimage

from experiments.common.command import InputError
from experiments.images.files import like_mnist, read_image


def drawn(shift=(0, 0), size=60) -> np.ndarray:
    """A seven, from 0 to 1, on a `size` by `size` image."""
    image = np.zeros((size, size))
    image[10:14, 15:40] = 1
    for row in range(14, 50):
        column = 38 - (row - 14) // 2
        image[row, column - 4 : column] = 1
    return np.roll(image, shift, (0, 1))


def test_a_digit_has_the_size_and_the_place_of_mnists():
    found = like_mnist(drawn())
    assert found.shape == (28, 28)
    assert found.dtype == np.float32
    assert found.min() == 0
    assert found.max() == 1
    rows, columns = (np.flatnonzero(found.max(axis) > 0) for axis in (1, 0))
    assert np.ptp(rows) + 1 == 20  # 40 pixels high, 25 wide
    assert np.ptp(columns) + 1 == round(25 / 2)
    assert np.abs(np.array(ndimage.center_of_mass(found)) - 14).max() <= 0.5
    # A pixel is the mean of what it covers, within the reach of linear interpolation.
    assert found.sum() == pytest.approx(drawn().sum() / 4, rel=0.05)


def test_what_is_like_mnist_stays_as_it_is():
    once = like_mnist(drawn())
    np.testing.assert_array_equal(like_mnist(once), once)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: 1 - image, id="dark on white"),
        pytest.param(lambda image: 0.2 + 0.3 * image, id="little contrast"),
        pytest.param(lambda image: 0.9 - 0.2 * image, id="dark on light, little contrast"),
        pytest.param(lambda image: np.roll(image, (9, -13), (0, 1)), id="elsewhere"),
        pytest.param(lambda image: np.pad(image, ((50, 3), (0, 200))), id="much paper"),
        pytest.param(lambda image: image[10:50, 19:], id="cropped at two sides"),
    ],
)
def test_what_does_not_count(change):
    image = drawn()
    image[:, :19] = 0  # what the last case cuts off
    np.testing.assert_allclose(like_mnist(change(image)), like_mnist(image), atol=1e-6)


def test_size_counts_little():
    large = np.kron(drawn(), np.ones((9, 9)))
    assert np.abs(like_mnist(large) - like_mnist(drawn())).mean() < 0.02


def test_a_shadow_on_the_paper_is_not_ink():
    shadow = drawn() + 0.2 * np.linspace(0, 1, 60)
    assert np.abs(like_mnist(shadow) - like_mnist(drawn())).max() < 0.25


def test_one_stroke_keeps_within_the_image():
    image = np.zeros((50, 50))
    image[5:45, 20:22] = 1
    image[44, 20:24] = 1  # where most of the mass is not in the middle
    found = like_mnist(image)
    assert np.flatnonzero(found.max(1) > 0).tolist() == list(range(4, 24))


def test_png_and_npy_of_all_kinds_are_read(tmp_path):
    grey = np.rint(255 * drawn()).astype(np.uint8)
    files = {
        "grey.npy": grey,
        "unit.npy": drawn(),
        "bool.npy": drawn() > 0.5,
        "one.npy": grey[..., None],
        "colour.npy": np.repeat(grey[..., None], 3, -1),
    }
    for name, values in files.items():
        np.save(tmp_path / name, values)
        np.testing.assert_allclose(read_image(tmp_path / name), drawn(), atol=1e-6)
    for name in ("grey.png", "colour.PNG"):
        matplotlib_image.imsave(tmp_path / name, drawn(), cmap="gray", format="png")
        np.testing.assert_allclose(read_image(tmp_path / name), drawn(), atol=1e-2)


def test_transparent_is_white(tmp_path):
    """Black ink on nothing."""
    ink = np.zeros((60, 60, 4))
    ink[..., 3] = drawn()
    matplotlib_image.imsave(tmp_path / "mine.png", ink)
    np.testing.assert_allclose(read_image(tmp_path / "mine.png"), 1 - drawn(), atol=1e-2)
    np.save(tmp_path / "mine.npy", ink[..., 2:])  # grey, and how opaque
    np.testing.assert_allclose(read_image(tmp_path / "mine.npy"), 1 - drawn())


def test_colours_are_as_bright_as_they_look(tmp_path):
    colours = np.eye(3)[None]  # red, green, blue
    np.save(tmp_path / "mine.npy", colours)
    red, green, blue = read_image(tmp_path / "mine.npy")[0]
    assert green > red > blue
    assert red + green + blue == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(5), r"has the shape \[5\]; \[H, W\] or \[H, W, 1 to 4\] is expected"),
        (np.zeros((4, 4, 5)), r"has the shape \[4, 4, 5\]"),
        (np.zeros((0, 4)), "has no pixels"),
        (np.full((4, 4), np.nan), "must hold finite numbers"),
        (np.full((4, 4), "a"), "must hold finite numbers"),
        (np.array([[-1.0, 1.0]]), "has values from -1 to 1; 0 to 1 or 0 to 255 is expected"),
        (np.array([[0, 256]]), "has values from 0 to 256"),
        (np.array([{}]), "cannot be read as an image"),
    ],
)
def test_arrays_that_are_no_image(tmp_path, values, message):
    np.save(tmp_path / "mine.npy", values)
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "mine.npy")


def test_files_that_are_no_image(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read_image(tmp_path / "none.png")
    (tmp_path / "mine.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"mine\.png cannot be read as an image"):
        read_image(tmp_path / "mine.png")
    (tmp_path / "mine.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"must be a \.png or a \.npy file"):
        read_image(tmp_path / "mine.jpg")


def test_images_without_a_digit():
    for image in (np.ones((9, 9)), np.full((1, 1), 0.3), 0.5 + 0.01 * np.eye(9)):
        with pytest.raises(InputError, match="shows nothing"):
            like_mnist(image)
    two = np.concatenate([drawn(), drawn(), drawn()], 1)
    with pytest.raises(InputError, match="145 pixels wide and 40 high; one digit is expected"):
        like_mnist(two)
