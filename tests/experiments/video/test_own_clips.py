"""The user's clips: files of a camera or a program, folders of them, training and use."""

import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

from experiments.common.command import InputError
from experiments.video import train as video
from experiments.video.data import SIDE, read_frames
from experiments.video.own_clips import LONGEST, Shape, read_class_folders, read_clip
from experiments.video.settings import OWN
from tests.fixtures.own.balls import BALLS, draw_ball, save_clip
from tests.helpers import read_results


@pytest.fixture
def folder(tmp_path):
    """Ten clips of each of two classes, in every form."""
    for label in BALLS:
        base = tmp_path / "clips" / label
        base.mkdir(parents=True)
        for seed in range(10):
            frames = draw_ball(label, seed, count=8 + seed)
            if seed == 0:
                np.save(base / "0.npy", frames)
            elif seed == 1:
                (base / "one").mkdir()
                for i, frame in enumerate(frames):
                    Image.fromarray(frame).save(base / "one" / f"{i}.jpg")
            else:
                options = {"lossless": True} if seed % 3 == 0 else {}
                save_clip(base / f"{seed}{('.webp', '.gif', '.png')[seed % 3]}", frames, **options)
    return tmp_path / "clips"


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.gif", "L", {"duration": 40}),
        ("a.GIF", "RGB", {"duration": 40, "loop": 0}),
        ("a.webp", "RGB", {"lossless": True}),
        ("a.png", "RGBA", {}),
        ("a.apng", "L", {"format": "PNG"}),
        ("b.png", "L", {"default_image": True}),
    ],
)
def test_animations_are_cut_to_the_square_in_their_middle(tmp_path, name, mode, options):
    frames = draw_ball("down", 0)
    clip = read_clip(save_clip(tmp_path / name, frames, mode, **options))
    expected = np.stack(frames)[options.get("default_image", 0) :, :, 16:80] / 255
    expected = expected.reshape(-1, SIDE, 2, SIDE, 2).mean((2, 4))
    np.testing.assert_allclose(clip, expected, atol=0.02)


def test_a_turned_camera_and_arrays(tmp_path):
    frames = draw_ball("down", 0)
    exif = Image.Exif()
    exif[0x0112] = 3  # orientation: upside down
    turned = save_clip(tmp_path / "a.webp", frames, lossless=True, exif=exif)
    upright = save_clip(tmp_path / "b.webp", frames, lossless=True)
    np.testing.assert_allclose(read_clip(turned), read_clip(upright)[:, ::-1, ::-1], atol=0.02)
    for array in (np.stack(frames), np.stack(frames) / 255):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_allclose(read_clip(tmp_path / "a.npy"), read_clip(upright), atol=0.02)


def test_the_model_of_digits_reads_animations_too(tmp_path):
    """The ground is paper, dark or light, and the ball is ink."""
    frames = draw_ball("down", 0)
    dark = read_frames(save_clip(tmp_path / "dark.gif", frames))
    light = read_frames(save_clip(tmp_path / "light.gif", [255 - frame for frame in frames]))
    np.testing.assert_allclose(dark, light, atol=0.02)
    assert dark.shape == (12, SIDE, SIDE)
    with pytest.raises(InputError, match=r"still\.png holds 1 frame; at least 2 are needed"):
        read_frames(save_clip(tmp_path / "still.png", frames[:1]))


def test_long_clips_are_sampled_and_cut():
    clip = np.arange(100)
    assert Shape(1, 0.0, 1.0).choose(clip).tolist() == [*range(30, 30 + LONGEST)]
    assert Shape(3, 0.0, 1.0).choose(clip).tolist() == [*range(0, 100, 3)]


def test_clips_are_split_and_standardized(folder):
    save_clip(folder / "up" / "copy.png", draw_ball("up", 44))
    save_clip(folder / "up" / "twin.png", draw_ball("up", 44))
    own = read_class_folders(folder)
    assert own.names == ["down", "up"]
    assert sum(map(len, own.split)) == 22
    assert len(np.unique(np.concatenate(own.split))) == 22
    assert (own.shape.every, own.longest) == (1, 17)
    frames = own.clips.frames
    same = [i for i in range(22) if sum((frames[i] == other).all() for other in frames) == 2]
    assert len(same) == 2
    assert any(set(same) <= set(part.tolist()) for part in own.split)
    train = own.clips.select(own.split.train)
    seen = np.concatenate([x[:n] for x, n in zip(train.frames, train.lengths, strict=True)])
    assert seen.mean() == pytest.approx(0, abs=1e-3)
    assert seen.std() == pytest.approx(1, abs=1e-3)
    assert not train.frames[0, train.lengths[0] :].any()


def test_clips_that_cannot_be_used(folder, tmp_path):
    with pytest.raises(InputError, match=r"shows no motion: no pixel changes by more than 0\.0"):
        read_clip(
            save_clip(tmp_path / "still.gif", [np.full((40, 40), x, np.uint8) for x in (9, 12)])
        )
    for name, content, message in (
        ("a.mp4", b"", r"a\.mp4 must be a folder of images, or a file \.gif, \.webp, \.png, "),
        ("a.gif", b"no image", r"a\.gif cannot be read as an image"),
        ("none.gif", None, "There is no file"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_clip(tmp_path / name)
    for array, message in (
        (np.zeros((4, 4)), r"shape \(4, 4\); \[T, H, W\] is expected"),
        (np.full((3, 8, 8), 7.0), "has values from 7 to 7; 0 to 1, or integers"),
        (np.full((3, 8, 8), np.nan), "has values from nan to nan"),
        (np.zeros((1, 8, 8)), "has 1 frame; at least 2"),
    ):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(InputError, match=message):
            read_clip(tmp_path / "a.npy")
    with pytest.raises(InputError, match="a folder with one subfolder a class is expected"):
        read_class_folders(tmp_path / "a.gif")
    (folder / "up" / "bad.gif").write_bytes(b"GIF89a")
    with pytest.raises(InputError, match=r"up/bad\.gif cannot be read as an image"):
        read_class_folders(folder)
    shutil.rmtree(folder / "up")
    with pytest.raises(InputError, match=r"has 1 subfolder with clips .* at least two are needed"):
        read_class_folders(folder)
    for seed in range(4):
        save_clip(folder / "up" / f"{seed}.gif", draw_ball("up", seed))
    with pytest.raises(InputError, match=r"up holds 4 clips; at least 5 are needed"):
        read_class_folders(folder)
    for seed in range(4, 9):
        shutil.copy(folder / "up" / "3.gif", folder / "up" / f"{seed}.gif")
    for seed in range(2):
        shutil.copy(folder / "up" / "3.gif", folder / "up" / f"{seed}.gif")
    with pytest.raises(InputError, match="'up' has 2 different clips; at least 3 are needed"):
        read_class_folders(folder)


@pytest.mark.slow
def test_training_on_a_folder_and_using_the_model(folder, tmp_path, capsys, compile_quickly):
    jax.config.update("jax_disable_most_optimizations", True)
    tiny = replace(OWN, hidden_size=8, features=8, num_clips=64, batch_size=8, epochs=6)
    tiny = replace(tiny, dropout=0.0, learning_rate=1e-2)

    def run(**changes) -> str:
        video.main(video.Command(settings=tiny, out=tmp_path / "runs", **changes))
        return capsys.readouterr().out

    printed = run(train=folder)
    assert printed.startswith(
        "12 clips to train on, 4 to validate, 4 to test. The longest has 17 frames.\n"
        "Every frame is read, and at most 40 of a clip, in its middle.\n"
    )
    model = tmp_path / "runs" / "own-clips"
    results = read_results(model / "results.json")
    assert list(results["right"])[:3] == [
        "GRU",
        "linear model of the mean frame",
        "linear model of the last frame",
    ]
    assert results["right"]["GRU"] == 1
    for label in BALLS:
        clip = save_clip(tmp_path / "new.gif", draw_ball(label, 99))
        assert run(predict=clip, model=model).removeprefix("unsure: ").startswith(f"{label} ")
    assert (model / "confusion.png").exists()
