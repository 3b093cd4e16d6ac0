"""Trained models in files: what is read back is what was written, or an error names the file."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from flax.serialization import msgpack_serialize

from experiments.common.durable import DamagedFileError
from experiments.common.flags import ALWAYS
from experiments.common.provenance import use_run
from experiments.common.training.models import load_model, save_model

PARAMS = {"gru": {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, "out": np.float32(0.5)}
ABOUT = '{"settings": {"size": 2}, "words": ["naïve", "é"]}'


@pytest.fixture
def saved(tmp_path) -> Path:
    save_model(tmp_path / "model.msgpack", PARAMS, {"size": 2}, ["naïve", "é"])
    return tmp_path / "model.msgpack"


def assert_loads(path: Path) -> None:
    params, settings, words = load_model(path, "COMMAND")
    np.testing.assert_array_equal(params["gru"]["w"], PARAMS["gru"]["w"])
    assert params["gru"]["w"].dtype == np.float32
    assert (settings, words) == ({"size": 2}, ["naïve", "é"])


def test_a_model_is_loaded(saved):
    assert_loads(saved)


def test_a_model_of_version_0_1_is_loaded(tmp_path):
    content = msgpack_serialize({"params": PARAMS, "about": ABOUT})
    (tmp_path / "old").write_bytes(content)
    assert_loads(tmp_path / "old")
    for place in range(len(content)):
        (tmp_path / "old").write_bytes(content[:place])
        with pytest.raises(DamagedFileError, match=f"{tmp_path / 'old'} is damaged"):
            load_model(tmp_path / "old", "COMMAND")


@dataclass(frozen=True)
class Command:
    """The flags that name a model."""

    out: Annotated[Path, ALWAYS]
    quick: Annotated[bool, ALWAYS] = False
    train: Path | None = None
    model: Path | None = None


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({}, "There is no trained model {}. Train it first: NAME"),
        ({"quick": True}, "There is no trained model {}. Train it first: NAME"),
        (
            {"model": Path("x")},
            "There is no trained model {}; --model takes the folder of one that",
        ),
    ],
)
def test_a_model_that_is_missing(tmp_path, flags, sentence):
    path = tmp_path / "dates" / "model.msgpack"
    with use_run(Command(tmp_path, **flags), "other"), pytest.raises(FileNotFoundError) as caught:
        load_model(path, "NAME")
    assert str(caught.value).startswith(sentence.format(path))


def test_a_model_that_only_a_quick_run_has_written(tmp_path):
    path = Path("dates", "model.msgpack")
    save_model(tmp_path / "quick" / path, PARAMS, {}, [])
    with (
        use_run(Command(tmp_path), "other"),
        pytest.raises(FileNotFoundError, match=r"but that of --quick: add --quick .* one: NAME"),
    ):
        load_model(tmp_path / path, "NAME")


def test_a_flip_or_a_cut_anywhere_is_named(saved):
    content = saved.read_bytes()
    for place in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        for damaged in (bytes(flipped), content[:place]):
            saved.write_bytes(damaged)
            with pytest.raises(DamagedFileError, match=f"{saved} is damaged"):
                load_model(saved, "COMMAND")


@pytest.mark.parametrize("content", [{}, {"params": 1}, {"params": 1, "about": "{}"}, [1], "text"])
def test_other_files_are_no_models(tmp_path, content):
    (tmp_path / "other").write_bytes(msgpack_serialize(content))
    with pytest.raises(DamagedFileError, match=r"or no trained model \(.*Train it again: COMMAND"):
        load_model(tmp_path / "other", "COMMAND")


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE])
def test_a_model_that_cannot_be_read_is_named(saved, monkeypatch, code):
    def fail(self):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        load_model(saved, "COMMAND")
    assert caught.value.filename == str(saved)


def test_a_model_is_not_written_twice(saved, monkeypatch):
    monkeypatch.setattr(os, "fsync", None)  # whoever writes, calls it
    save_model(saved, PARAMS, {"size": 2}, ["naïve", "é"])
    with pytest.raises(TypeError):
        save_model(saved, PARAMS, {"size": 3}, ["naïve", "é"])
