"""A folder of the user's images, one subfolder a class: reading, training and use."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from experiments.common.command import InputError
from experiments.images import train as images
from experiments.images.distortions import Distortion
from experiments.images.own_images import read_class_folders, read_own_image
from tests.helpers import read_results


def draw_sign(name: str, seed: int, light: bool = True) -> Image.Image:
    """A bar, upright or lying, on 90 × 70 pixels of noisy paper, in color."""
    rng = np.random.default_rng(seed)
    ink = np.zeros((90, 70))
    place = rng.integers(28, 38)
    if name == "upright":
        ink[15:75, place : place + 8] = 1
    else:
        ink[place : place + 8, 5:65] = 1
    gray = np.clip((1 - ink if light else ink) + rng.normal(0, 0.05, ink.shape), 0, 1)
    return Image.fromarray(np.rint(255 * gray[..., None] * [1, 1, 0.9]).astype(np.uint8))


@pytest.fixture
def folder(tmp_path):
    """20 images of each of two classes: PNG with opacity, and JPEG turned by its EXIF entry."""
    turned = Image.Exif()
    turned[0x0112] = 8  # orientation: to be turned left
    for name in ("lying", "upright"):
        (tmp_path / "signs" / name).mkdir(parents=True)
        for seed in range(20):
            image, path = draw_sign(name, seed), tmp_path / "signs" / name / str(seed)
            if seed % 2:
                image.convert("RGBA").save(path.with_suffix(".PNG"))
            else:
                image.rotate(-90, expand=True).save(path.with_suffix(".jpg"), exif=turned)
    (tmp_path / "signs" / "upright" / "notes.txt").write_text("not an image")
    return tmp_path / "signs"


def test_images_are_read_split_and_made_alike(folder, tmp_path):
    data, names, notes = read_class_folders(folder)
    assert names == ["lying", "upright"]
    assert [len(part.labels) for part in data] == [24, 8, 8]
    assert notes == ["24 images to train on, 8 to validate, 8 to test."]
    for part in data:
        assert np.bincount(part.labels).tolist() == [len(part.labels) // 2] * 2
        for image, label in zip(part.images.astype(float), part.labels, strict=True):
            spread = [(image.sum(axis) > image.sum() / 28).sum() for axis in (0, 1)]
            assert (spread[0] > spread[1]) == (names[label] == "lying")
    draw_sign("lying", 3).save(tmp_path / "light.png")
    draw_sign("lying", 3, light=False).save(tmp_path / "dark.png")
    files = (tmp_path / "light.png", tmp_path / "dark.png")
    light, dark = (read_own_image(path).astype(int) for path in files)
    assert np.abs(light - dark).mean() < 25


def test_equal_images_are_in_one_part(folder):
    [first, *others] = sorted((folder / "upright").glob("*.PNG"))
    Image.open(first).save(folder / "lying" / "copy.webp", lossless=True)  # other bytes
    for path in others[:5]:
        shutil.copy(first, path)
    data, _, notes = read_class_folders(folder)
    assert notes[0] == "6 images repeat another one; equal ones are in one part of the split."
    parts = [{image.tobytes() for image in part.images} for part in data]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 35


def test_folders_that_cannot_be_used(folder, tmp_path):
    with pytest.raises(InputError, match="a folder with one subfolder a class is expected"):
        read_class_folders(tmp_path / "none")
    one_class = tmp_path / "one"
    (one_class / "empty").mkdir(parents=True)
    shutil.copytree(folder / "lying", one_class / "lying")
    with pytest.raises(InputError, match=r"has 1 subfolder with images .* at least two"):
        read_class_folders(one_class)
    for path in sorted((folder / "lying").iterdir())[9:]:
        path.unlink()
    with pytest.raises(InputError, match=r"lying holds 9 images; at least 10 are needed"):
        read_class_folders(folder)
    for number in range(5):
        (folder / "lying" / f"broken{number}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\d\.png cannot be read as an image"):
        read_class_folders(folder)


@pytest.mark.slow
def test_training_on_a_folder_and_using_the_network(folder, tmp_path, capsys):
    tiny = images.Settings(
        "bidirectional", hidden_size=8, num_layers=1, batch_size=16, epochs=30, dropout=0.0
    )
    tiny = replace(tiny, distortion=Distortion())

    def run(**changes) -> str:
        images.main(images.Command(settings=tiny, out=tmp_path / "runs", train=folder, **changes))
        return capsys.readouterr().out

    printed = run()
    assert printed.startswith("24 images to train on, 8 to validate, 8 to test.\n")
    results = read_results(tmp_path / "runs" / "own-signs" / "results.json")
    assert list(results["right"]) == [
        "bidirectional GRU by rows",
        "logistic regression",
        "always lying",
    ]
    assert results["right"]["bidirectional GRU by rows"] == 1
    for name in ("lying", "upright"):
        draw_sign(name, 99, light=False).save(tmp_path / "new.jpg")
        assert run(predict=tmp_path / "new.jpg").startswith(f"{name} ")
