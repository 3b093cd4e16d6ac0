"""Reading and splitting digits, from a small archive that the tests write."""

import gzip
import hashlib
import zipfile

import numpy as np
import pytest

from experiments.vision import digits
from experiments.vision.digits import Digits


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """20 images sorted by class, like the real file; the first pixel of image i is i."""
    rows = np.zeros((20, 785), int)
    rows[:, 0] = np.arange(20)
    rows[:, 29] = 255  # the second pixel of the second row
    rows[:, -1] = np.repeat(np.arange(10), 2)
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    path = tmp_path / digits.ARCHIVE.filename
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(digits.MEMBER, gzip.compress(text.encode()))
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(digits, "ARCHIVE", digits.ARCHIVE._replace(sha256=checksum))
    monkeypatch.setenv("GRUJAX_DATA", str(tmp_path))


@pytest.mark.usefixtures("archive")
def test_images_and_labels_are_read():
    images, labels = digits.read_digits()
    assert images.shape == (20, 28, 28)
    assert images.dtype == np.uint8
    assert images[:, 0, 0].tolist() == list(range(20))
    assert np.all(images[:, 1, 1] == 255)
    assert np.count_nonzero(images) == 19 + 20
    assert labels.tolist() == np.repeat(np.arange(10), 2).tolist()


def make_digits(each: int) -> Digits:
    images = np.zeros((10 * each, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(10 * each), 256)
    return Digits(images, np.repeat(np.arange(10, dtype=np.int32), each))


def test_splits_are_stratified_and_shuffled():
    train, test = digits.split_digits(make_digits(50))
    assert (len(train.labels), len(test.labels)) == (400, 100)
    assert np.bincount(train.labels).tolist() == [40] * 10
    assert np.bincount(test.labels).tolist() == [10] * 10
    indices = [
        256 * part.images[:, 0, 0].astype(int) + part.images[:, 0, 1] for part in (train, test)
    ]
    assert sorted(np.concatenate(indices)) == list(range(500))
    for part, index in zip((train, test), indices, strict=True):
        np.testing.assert_array_equal(part.labels, index // 50)  # labels stay with their images
        assert np.count_nonzero(np.diff(part.labels)) > len(part.labels) / 2  # not in order


def test_the_seed_determines_the_split():
    first, again, other = (digits.split_digits(make_digits(5), seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.images, again.images)
    assert np.any(first.images != other.images)


def test_three_splits_share_no_image():
    whole = make_digits(50)
    splits = digits.split_three_ways(whole)
    assert [len(split.labels) for split in splits] == [360, 40, 100]
    assert all(len(set(np.bincount(split.labels))) == 1 for split in splits)
    images = np.concatenate([split.images for split in splits])
    assert len(np.unique(images, axis=0)) == 500
    np.testing.assert_array_equal(splits.test.images, digits.split_digits(whole)[1].images)
    other = digits.split_three_ways(whole, validation_seed=0)
    np.testing.assert_array_equal(other.test.images, splits.test.images)
    assert np.any(other.validation.images != splits.validation.images)


def test_pixels_are_ordered_by_rows():
    images = np.arange(2 * 784).reshape(2, 28, 28) % 256
    np.testing.assert_array_equal(digits.as_pixels(images), images.reshape(2, 784))
    small = digits.as_pixels(images, 14)
    assert small.shape == (2, 196)
    assert small.dtype == np.uint8
    assert small[0, 1] == round(np.mean([2, 3, 30, 31]))
    assert small[0, 14] == np.rint(np.mean([56, 57, 84, 85]))
    with pytest.raises(ValueError, match="`side` must divide 28, got 10"):
        digits.as_pixels(images, 10)
