"""A folder of the user's recordings: its transcripts, training on it, and use."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.speech_recognition import train as speech_recognition
from experiments.speech_recognition.own_recordings import read_folder
from experiments.speech_recognition.settings import OWN, Command
from tests.fixtures.recordings import SOUNDS, say, write_wav
from tests.helpers import read_results

WORDS = list(SOUNDS)


@pytest.fixture
def folder(tmp_path):
    """40 recordings in a subfolder, stereo at 44.1 kHz."""
    (tmp_path / "mine" / "takes").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, texts in enumerate(rng.choice(WORDS, (40, 2))):
        path = tmp_path / "mine" / "takes" / f"{i:02d}.WAV"
        write_wav(path, say(" ".join(texts), seed=i), bits=(16, 24)[i % 2])
        path.with_suffix(".txt").write_text(" ".join(texts).title() + "!\r\n", "utf-8-sig")
    return tmp_path / "mine"


def test_texts_beside_the_recordings(folder):
    own = read_folder(folder)
    assert own.names == sorted(WORDS)
    assert [len(part.lengths) for part in own[:3]] == [32, 4, 4]
    assert own.notes == ["40 recordings, whose texts are read as 4 words."]
    texts = {own.spell(row[row >= 0]) for part in own[:3] for row in part.labels}
    said = {path.read_text("utf-8-sig").strip("!\n").lower() for path in folder.rglob("*.txt")}
    assert texts == said
    frames = own.train.frames[0, : own.train.lengths[0]]
    assert np.abs(frames.mean(0)).max() < 1
    assert not own.train.frames[0, own.train.lengths[0] :].any()


def test_a_table_of_transcripts_and_what_is_left_out(folder):
    texts = {path: path.read_text("utf-8-sig").strip() for path in sorted(folder.rglob("*.txt"))}
    rows = [f"takes/{path.stem}.WAV;{text}" for path, text in texts.items()]
    for path in texts:
        path.unlink()
    rows = [row.replace(".WAV", "") for row in rows[1:20]] + rows[20:]  # the first has no text
    content = "\r\n".join(["File;Sentence", *rows]) + "\r\n"
    (folder / "list.csv").write_text(content, "utf-16")  # as Excel writes "Unicode text"
    write_wav(folder / "takes" / "01.WAV", np.zeros(44_100))
    write_wav(folder / "takes" / "02.WAV", say("one " * 40))
    own = read_folder(folder)
    assert own.notes[-4:] == [
        "Left out: 1 recording without a transcript.",
        "Left out: 1 recording without speech.",
        "Left out: 1 recording of more than 15 seconds.",
        "37 recordings, whose texts are read as 4 words.",
    ]
    (folder / "list.csv").write_text("file,text\ntakes/99.WAV,one\n")
    with pytest.raises(InputError, match=r"names 'takes/99\.WAV', which is no \.wav file in"):
        read_folder(folder)


def test_many_different_words_are_spelled_by_letters(folder):
    rng = np.random.default_rng(0)
    for path in folder.rglob("*.txt"):
        path.write_text("".join(rng.choice(list("abcdefgh"), 5)))
    own = read_folder(folder)
    assert own.names == list("abcdefgh")
    assert own.spell([0, 2]) == "ac"


def test_equal_recordings_are_on_one_side(folder):
    [first, *others] = sorted(folder.rglob("*.WAV"))
    for path in others[:8]:
        path.write_bytes(first.read_bytes())
    own = read_folder(folder)
    assert (
        own.notes[0] == "8 recordings repeat another one; equal ones are in one part of the split."
    )
    parts = [{row.tobytes() for row in np.asarray(part.frames)} for part in own[:3]]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 32
    for path in others[8:21]:
        path.write_bytes(first.read_bytes())
    with pytest.raises(InputError, match=r"has 19 usable recordings .* equal ones count once"):
        read_folder(folder)


def test_folders_that_cannot_be_used(tmp_path, folder):
    with pytest.raises(InputError, match="a folder of WAV files is expected"):
        read_folder(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no \.wav file"):
        read_folder(tmp_path / "empty")
    for path in sorted(folder.rglob("*.txt"))[19:]:
        path.unlink()
    with pytest.raises(
        InputError, match=r"has 19 usable recordings with .* at least 20 are needed"
    ):
        read_folder(folder)


@pytest.mark.slow
def test_training_on_a_folder_and_using_the_network(tmp_path, folder, capsys, monkeypatch):
    tiny = replace(OWN, hidden_size=24, num_layers=1, epochs=40, dropout=0.0)

    def run(**changes) -> str:
        command = Command(settings=tiny, out=tmp_path / "runs", train=folder, **changes)
        speech_recognition.main(command)
        return capsys.readouterr().out

    write_wav(tmp_path / "new.wav", say("three one", seed=99))
    with pytest.raises(FileNotFoundError, match=r"Train it first: python -m experiments\.sp"):
        run(predict=tmp_path / "new.wav")
    printed = run()
    results = read_results(tmp_path / "runs" / "own-mine" / "results.json")
    assert results["GRU"]["word errors"] < results["the most frequent text"]["word errors"]
    assert 0 <= results["confidence"]["error after"] <= 1
    assert "\nsaid: " in printed
    assert run(predict=tmp_path / "new.wav").startswith(("three one ", "unsure: three one "))
    write_wav(tmp_path / "silence.wav", np.zeros(44_100))
    assert run(predict=tmp_path / "silence.wav") == "no speech\n"
    (tmp_path / "song.mp3").touch()
    with pytest.raises(InputError, match=r"song\.mp3 must be a \.wav file, or a \.npy file"):
        run(predict=tmp_path / "song.mp3")
