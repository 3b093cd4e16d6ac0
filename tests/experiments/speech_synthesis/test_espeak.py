"""espeak-ng: the choice of the library, its process, and its voice if the archive is cached."""

import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from experiments.common.data import Archive, DataError, cache_directory
from experiments.speech_synthesis import espeak
from experiments.speech_synthesis.audio import RATE
from experiments.speech_synthesis.espeak import Voice

PROGRAM = """
import json, pathlib, sys
import numpy as np
library, folder, result = sys.argv[1:]
assert pathlib.Path(library).read_text() == "a library"
assert pathlib.Path(folder, "espeak-ng-data", "phontab").read_text() == "phonemes"
job = json.load(sys.stdin)
print("prints something")
lengths = np.array([len(text) * voice[1] for text, voice in job["texts"]], int)
np.savez(result, audio=np.full(lengths.sum(), job["seed"], np.int16), lengths=lengths)
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Replaces the wheel by a small one, and the program by a given one."""
    wheel = tmp_path / "small.whl"
    with zipfile.ZipFile(wheel, "w") as opened:
        opened.writestr("espeakng_loader/lib.so", "a library")
        opened.writestr("espeakng_loader/espeak-ng-data/phontab", "phonemes")
        opened.writestr("espeakng_loader/espeak-ng-data/xx_dict", "another language")
    content = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(espeak, "archive", lambda: (Archive("x==1", wheel.name, content), "lib.so"))
    monkeypatch.setenv("GRUJAX_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def use(program: str) -> None:
        path = tmp_path / "program.py"
        path.write_text(program)
        monkeypatch.setattr(espeak, "PROGRAM", path)

    use(PROGRAM)
    return use


def test_a_process_turns_texts_into_audio(small, capfd):
    texts = [("one", Voice(speed=100)), ("", Voice()), ("three", Voice(speed=200))]
    audio = espeak.speak(texts, seed=16384)
    assert [len(sound) for sound in audio] == [300, 0, 1000]
    assert audio[0].dtype == np.float32
    assert np.all(audio[2] == 0.5)
    assert espeak.speak([]) == []
    assert capfd.readouterr().out == ""


def test_only_the_needed_files_are_unpacked_and_nothing_stays(small):
    small(
        "import pathlib, sys\n"
        "names = sorted(path.name for path in pathlib.Path(sys.argv[2]).rglob('*'))\n"
        "sys.exit(' '.join(names))"
    )
    with pytest.raises(DataError, match=r"\(espeak-ng-data lib.so phontab\)"):
        espeak.speak([("one", Voice())])
    assert list(cache_directory().iterdir()) == []


def test_what_runs_is_what_was_verified(small):
    espeak.speak([("one", Voice())])
    for path in cache_directory().rglob("*"):  # a library left here would run unverified
        path.write_text("another library")
    assert len(espeak.speak([("one", Voice(speed=7))])[0]) == 21


def test_a_folder_that_cannot_be_written_is_named(small, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=rf"cannot be kept in {tmp_path}/cache/grujax \(Not a dir"):
        espeak.speak([("one", Voice())])


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; sys.exit('there is no voice')", r"status 1 \(there is no voice\)"),
        ("import os; os.abort()", r"status -6 \(no message\)"),
    ],
)
def test_a_failure_or_a_crash_raises_a_sentence(small, program, message):
    small(program)
    with pytest.raises(DataError, match=f"espeak-ng failed with {message}"):
        espeak.speak([("one", Voice())])


def test_platforms_without_a_library_are_refused(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    with pytest.raises(DataError, match=r"known for Linux x86_64, .* not for Linux riscv64"):
        espeak.speak([("one", Voice())])


def is_cached() -> bool:
    """Whether this platform's archive is available locally."""
    try:
        wheel, _ = espeak.archive()
    except DataError:
        return False
    folders = [cache_directory(), Path(os.environ.get("GRUJAX_DATA") or cache_directory())]
    return any((folder / wheel.filename).is_file() for folder in folders)


@pytest.mark.skipif(not is_cached(), reason="the archive of espeak-ng is not in the cache")
def test_the_real_voice():
    texts = [("three seven one", Voice()), ("three seven one", Voice("en-us+f3", 120, 70))]
    [first, second] = espeak.speak(texts)
    assert 0.5 * RATE < len(first) < len(second) < 2 * RATE
    assert 0.05 < np.abs(first).max() <= 1
    for one, other in zip(espeak.speak(texts), (first, second), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(DataError, match="there is no voice 'xx'"):
        espeak.speak([("one", Voice("xx"))])
