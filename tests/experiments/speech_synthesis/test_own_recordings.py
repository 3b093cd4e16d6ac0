"""A folder of the user's recordings: what is read, training on it, and speaking new texts."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import wavfile

from experiments.common.command import run
from experiments.speech_synthesis import text_to_speech
from experiments.speech_synthesis import train as speech_synthesis
from experiments.speech_synthesis.audio import RATE
from experiments.speech_synthesis.own_recordings import read_folder, trim
from experiments.speech_synthesis.settings import OWN, Command
from tests.fixtures.recordings import SOUNDS, say, write_wav
from tests.helpers import read_results

TINY = replace(
    OWN,
    embedding_size=16,
    encoder_size=16,
    hidden_size=32,
    attention_size=16,
    prenet_size=32,
    epochs=30,
)


@pytest.fixture
def folder(tmp_path):
    """30 recordings of two words, stereo at 44.1 kHz, between pauses of a second."""
    (tmp_path / "mine").mkdir()
    silence = np.zeros(44_100)
    for i, words in enumerate(np.random.default_rng(0).choice(list(SOUNDS), (30, 2))):
        path = tmp_path / "mine" / f"take{i:02d}.wav"
        write_wav(path, np.concatenate([silence, say(" ".join(words), seed=i), silence]))
        path.with_suffix(".txt").write_text(f"{' '.join(words).title()}!")
    return tmp_path / "mine"


def typed(monkeypatch, capsys, *words) -> tuple[int, str]:
    """What a command line ends with: its status, and stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["speech_synthesis", *map(str, words)])
    try:
        run("experiments.speech_synthesis.settings", "experiments.speech_synthesis.train")
        status = 0
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr()
    return status, said.out + said.err


def test_recordings_are_trimmed_and_split(folder):
    (folder / "take00.wav").write_bytes((folder / "take01.wav").read_bytes())
    own = read_folder(folder)
    assert sum(len(part.texts) for part in own[:3]) == 30
    assert min(len(part.texts) for part in own[:3]) >= 2
    assert own.alphabet == "".join(sorted({*" onetwthrfu"}))
    assert (
        own.notes[0] == "1 recording repeats another one; equal ones are in one part of the split."
    )
    assert own.notes[1].startswith("30 recordings of 0.5 minutes")
    assert own.notes[2] == (
        "The texts have 4 different words, each said 15.0 times on average; none of the "
        f"{len(own.test.texts)} test texts are also for training."
    )
    assert not {*own.test.texts, *own.validation.texts} & {*own.train.texts}
    for sound in own.train.audio:
        assert np.abs(sound).max() == pytest.approx(0.7)
        assert 0.9 * RATE < len(sound) < 1.4 * RATE
    assert own.longest() == len("three three")
    assert own.digest() == read_folder(folder).digest()
    (folder / "take05.txt").write_text("one one one")
    assert own.digest() != read_folder(folder).digest()


def test_single_words_are_in_all_parts(folder):
    for i, path in enumerate(sorted(folder.glob("*.wav"))):
        word = list(SOUNDS)[i % 4]
        write_wav(path, say(word, seed=i))
        path.with_suffix(".txt").write_text(word)
    own = read_folder(folder)
    assert [len(part.texts) for part in own[:3]] == [24, 3, 3]
    assert {*own.train.texts} == {*SOUNDS}
    assert "3 of the 3 test texts are also for training" in own.notes[1]


def test_silence_is_cut_at_both_ends_alone():
    word, pause = say("one", RATE), 1e-3 * np.random.default_rng(0).normal(size=RATE)
    sound = trim(np.concatenate([pause, word, pause, word, pause]))
    assert abs(len(sound) - 2 * len(word) - RATE) < 0.3 * RATE
    assert trim(pause) is None


def test_folders_that_cannot_be_used_are_refused_in_one_sentence(
    tmp_path, folder, monkeypatch, capsys
):
    (tmp_path / "empty").mkdir()
    for path in sorted(folder.glob("*.txt"))[19:]:
        path.unlink()
    for name, sentence in (
        ("none", f"`--train` is {tmp_path}/none; a folder of WAV files is expected."),
        ("empty", f"{tmp_path}/empty holds no .wav file."),
        (
            "mine",
            f"{folder} has 19 usable recordings with a transcript, where equal ones count once; at "
            "least 20 are needed, and a few hundred to learn well.",
        ),
    ):
        words = ("--train", tmp_path / name, "--out", tmp_path / "runs")
        assert typed(monkeypatch, capsys, *words) == (2, f"error: {sentence}\n")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_training_on_a_folder_and_speaking_a_new_text(tmp_path, folder, monkeypatch, capsys):
    monkeypatch.setattr(text_to_speech, "ITERATIONS", 2)
    speech_synthesis.main(Command(settings=TINY, out=tmp_path / "runs", train=folder))
    out = tmp_path / "runs" / "own-mine"
    results = read_results(out / "results.json")
    gru, mean = (results[name]["MCD in dB"] for name in ("GRU", "mean frame"))
    assert gru < 0.8 * mean
    assert results["recording through Griffin–Lim"]["MCD in dB"] < gru
    for plot in ("attention", "spectrograms", "learning_curves"):
        assert (out / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(out.glob("*.recording.wav"))) == 2
    printed = capsys.readouterr().out
    assert f"--model {out}\n" in printed

    speak = ("--model", out, "--predict")
    status, said = typed(monkeypatch, capsys, *speak, "Four, three! Two one two.")
    assert (status, said.startswith(f"{out}/spoken.wav: ")) == (0, True)
    rate, samples = wavfile.read(out / "spoken.wav")
    assert (rate, samples.dtype, samples.ndim) == (22_050, np.int16, 1)
    assert np.abs(samples).max() > 50
    for text, message in (
        ("one six", "error: The text has 'i', 's', 'x', but only the letters that were trained"),
        ("...", "error: There is nothing to say: the text has no letter."),
    ):
        status, said = typed(monkeypatch, capsys, *speak, text)
        assert (status, said.count("\n"), said.startswith(message)) == (2, 1, True)
    with pytest.raises(FileNotFoundError, match="There is no trained model"):
        speech_synthesis.main(Command(predict="one", model=tmp_path))


def test_flags_that_have_no_effect(monkeypatch, capsys):
    for words, flag in (
        ("--num-test 3", "--num-test has no effect with --train"),
        ("--listener.epochs 3", "--listener.epochs has no effect with --train"),
        ("--quick", "--quick has no effect with --train"),
    ):
        status, said = typed(monkeypatch, capsys, "--train", "x", *words.split())
        assert (status, said) == (2, f"error: {flag}: leave it out.\n")
