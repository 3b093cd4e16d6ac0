"""The user's images are converted to look like MNIST's, or refused with a reason."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from experiments.common.command import InputError
from experiments.images import user_image
from experiments.images.user_image import read_image, to_mnist
from tests.fixtures.machine.memory import peak_memory


def draw_seven(shift=(0, 0), size=60) -> np.ndarray:
    """Draws a seven from 0 to 1 on `size` × `size` pixels."""
    image = np.zeros((size, size))
    image[10:14, 15:40] = 1
    for row in range(14, 50):
        column = 38 - (row - 14) // 2
        image[row, column - 4 : column] = 1
    return np.roll(image, shift, (0, 1))


def test_size_and_position_are_those_of_mnist():
    found = to_mnist(draw_seven())
    assert found.shape == (28, 28)
    assert found.dtype == np.float32
    assert found.min() == 0
    assert found.max() == 1
    rows, columns = (np.flatnonzero(found.max(axis) > 0) for axis in (1, 0))
    assert np.ptp(rows) + 1 == 20  # 40 pixels high, 25 wide
    assert np.ptp(columns) + 1 == round(25 / 2)
    assert np.abs(np.array(ndimage.center_of_mass(found)) - 14).max() <= 0.5
    # A pixel is the mean of the area it covers, up to linear interpolation.
    assert found.sum() == pytest.approx(draw_seven().sum() / 4, rel=0.05)


def test_conversion_is_idempotent():
    once = to_mnist(draw_seven())
    np.testing.assert_array_equal(to_mnist(once), once)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: 1 - image, id="dark on white"),
        pytest.param(lambda image: 0.2 + 0.3 * image, id="little contrast"),
        pytest.param(lambda image: 0.9 - 0.2 * image, id="dark on light, little contrast"),
        pytest.param(lambda image: np.roll(image, (9, -13), (0, 1)), id="off center"),
        pytest.param(lambda image: np.pad(image, ((50, 3), (0, 200))), id="wide margins"),
        pytest.param(lambda image: image[10:50, 19:], id="cropped on two sides"),
    ],
)
def test_contrast_polarity_and_position_do_not_matter(change):
    image = draw_seven()
    image[:, :19] = 0  # the last case cuts this off
    np.testing.assert_allclose(to_mnist(change(image)), to_mnist(image), atol=1e-6)


def test_size_hardly_matters():
    large = np.kron(draw_seven(), np.ones((9, 9)))
    assert np.abs(to_mnist(large) - to_mnist(draw_seven())).mean() < 0.02


def test_a_shadow_on_the_paper_is_not_ink():
    shadow = draw_seven() + 0.2 * np.linspace(0, 1, 60)
    assert np.abs(to_mnist(shadow) - to_mnist(draw_seven())).max() < 0.25


def test_an_off_center_stroke_stays_within_the_image():
    image = np.zeros((50, 50))
    image[5:45, 20:22] = 1
    image[44, 20:24] = 1  # the center of mass is not in the middle
    found = to_mnist(image)
    assert np.flatnonzero(found.max(1) > 0).tolist() == list(range(4, 24))


def test_files_of_all_kinds_are_read(tmp_path):
    gray = np.rint(255 * draw_seven()).astype(np.uint8)
    arrays = {
        "gray.npy": gray,
        "unit.npy": draw_seven(),
        "bool.npy": draw_seven() > 0.5,
        "one.npy": gray[..., None],
        "color.npy": np.repeat(gray[..., None], 3, -1),
    }
    for name, values in arrays.items():
        np.save(tmp_path / name, values)
        np.testing.assert_allclose(read_image(tmp_path / name), draw_seven(), atol=1e-6)
    image = Image.fromarray(gray)
    images = {
        "gray.png": image,
        "color.PNG": image.convert("RGB"),
        "palette.png": image.convert("P"),
        "bits.png": image.convert("1"),
        "sixteen.png": Image.fromarray(257 * gray.astype(np.uint16)),
        "image.bmp": image,
        "photo.jpg": image,
    }
    for name, image in images.items():
        image.save(tmp_path / name)
        atol = 0.2 if name == "photo.jpg" else 1e-2
        np.testing.assert_allclose(read_image(tmp_path / name), draw_seven(), atol=atol)


def test_sixteen_bits_are_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 300, 65535]], np.uint16)).save(tmp_path / "mine.png")
    np.testing.assert_allclose(read_image(tmp_path / "mine.png"), [[0, 300 / 65535, 1]], atol=1e-6)


def test_photos_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the camera was turned by 90 degrees
    Image.fromarray(np.zeros((8, 16), np.uint8)).save(tmp_path / "mine.jpg", exif=exif)
    assert read_image(tmp_path / "mine.jpg").shape == (16, 8)


def test_transparent_is_white(tmp_path):
    """Black ink on a transparent background."""
    ink = np.zeros((60, 60, 4))
    ink[..., 3] = draw_seven()
    Image.fromarray(np.rint(255 * ink).astype(np.uint8)).save(tmp_path / "mine.png")
    np.testing.assert_allclose(read_image(tmp_path / "mine.png"), 1 - draw_seven(), atol=1e-2)
    np.save(tmp_path / "mine.npy", ink[..., 2:])  # gray and opacity
    np.testing.assert_allclose(read_image(tmp_path / "mine.npy"), 1 - draw_seven())


def test_brightness_weighs_colors_as_the_eye_does(tmp_path):
    colors = np.eye(3)[None]  # red, green, blue
    np.save(tmp_path / "mine.npy", colors)
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
        (np.full((4, 4), "a"), "expected real numbers"),
        (np.full((4, 4), 1j), "expected real numbers"),
        (np.array([[-1.0, 1.0]]), "has values from -1 to 1; 0 to 1 or 0 to 255 is expected"),
        (np.array([[0, 256]]), "has values from 0 to 256"),
        (np.array([{}]), r"is not a \.npy file of numbers"),
    ],
)
def test_other_arrays_are_refused(tmp_path, values, message):
    np.save(tmp_path / "mine.npy", values)
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "mine.npy")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read_image(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=r"folder\.png is a folder; a file is expected"):
        read_image(tmp_path / "folder.png")
    for name in ("mine.png", "mine.jpg"):
        (tmp_path / name).write_bytes(b"no image")
        with pytest.raises(InputError, match=rf"{name} cannot be read as an image"):
            read_image(tmp_path / name)
    (tmp_path / "mine.pdf").write_bytes(b"")
    with pytest.raises(InputError, match=r"must be a \.npy file or an image \(\.png, \.jpg"):
        read_image(tmp_path / "mine.pdf")


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG file of any size, with a few of its pixels."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, body in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1000))),
        (b"IEND", b""),
    ):
        check = struct.pack(">I", zlib.crc32(name + body))
        parts += [struct.pack(">I", len(body)), name, body, check]
    return b"".join(parts)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.png", png_header(20_000, 20_000)),
        ("mine.png", png_header(2**31 - 1, 2**31 - 1)),
        (
            "mine.bmp",
            b"BM" + struct.pack("<IIIIIIHHIIIIII", 99, 0, 54, 40, 2**30, 9, 1, 24, *[0] * 6),
        ),
    ],
    ids=["png", "largest png", "bmp"],
)
def test_a_header_that_asks_for_too_much_takes_no_memory(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    message = r"cannot be read as an image \(Image size \(\d+ pixels\) exceeds limit"
    with peak_memory() as peak, pytest.raises(InputError, match=message):
        read_image(tmp_path / name)
    assert peak() < 5e7


def test_a_large_photo_is_read_in_squares(tmp_path, monkeypatch):
    large = np.rint(255 * np.kron(draw_seven(), np.ones((5, 5))))[:, :299]
    Image.fromarray(large.astype(np.uint8)).convert("RGBA").save(tmp_path / "mine.png")
    np.testing.assert_allclose(read_image(tmp_path / "mine.png"), large / 255, atol=1e-12)
    monkeypatch.setattr(user_image, "MAX_SIDE", 100)
    reduced = read_image(tmp_path / "mine.png")
    squares = large[:, :294].reshape(100, 3, 98, 3).mean((1, 3))
    last = large[:, 294:].reshape(100, 3, 5).mean((1, 2))
    np.testing.assert_allclose(reduced, np.c_[squares, last] / 255, atol=1e-12)
    Image.fromarray(large[:1].astype(np.uint8)).save(tmp_path / "mine.png")
    assert read_image(tmp_path / "mine.png").shape == (1, 99)


def test_images_without_a_digit_are_refused():
    for image in (np.ones((9, 9)), np.full((1, 1), 0.3), 0.5 + 0.01 * np.eye(9)):
        with pytest.raises(InputError, match="shows nothing"):
            to_mnist(image)
    two = np.concatenate([draw_seven(), draw_seven(), draw_seven()], 1)
    with pytest.raises(InputError, match="145 pixels wide and 40 high; one digit is expected"):
        to_mnist(two)
