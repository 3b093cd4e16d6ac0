"""The user's own text: from an editor's file to a continuation."""

import random
from dataclasses import replace

import pytest

from experiments.common.command import InputError
from experiments.text_generation import train as text_generation
from experiments.text_generation.prose import decode
from experiments.text_generation.settings import Command, Settings
from experiments.text_generation.user_text import REPLACEMENT, read_user_text
from tests.helpers import read_results

SETTINGS = Settings(parameters=1500, batch_size=8, steps=16, passes=3, parts=2, learning_rate=2e-2)
WORDS = ("der", "Käse", "rollt", "über", "die", "Brücke", "und", "fällt")


def make_text(num_words: int) -> str:
    words = random.Random(0).choices(WORDS, k=num_words)
    return "\r\n".join(" ".join(words[i : i + 8]) for i in range(0, num_words, 8))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "käse.txt"
    path.write_bytes(make_text(5000).encode("utf-16"))
    return path


@pytest.mark.slow
def test_a_text_is_learned_and_continued(tmp_path, path, capsys):
    out = tmp_path / "runs"
    text_generation.main(Command(SETTINGS, train=path, out=out))
    printed = capsys.readouterr().out
    assert "for testing." in printed.splitlines()[0]
    assert "the test set is the end of the text" in printed
    rows = read_results(out / "käse" / "results.json")
    assert rows["GRU"]["bits"] < rows["gzip"]["bits"] + 2
    assert any("n-grams" in row for row in rows)
    assert f"--model {out / 'käse'}" in printed.replace("'", "")

    def sample(prompt, **options):
        command = Command(sample=prompt, model=out / "käse", out=out, length=20, **options)
        text_generation.main(command)
        return capsys.readouterr().out

    greedy = sample("Ka\u0308se", temperature=0.0)  # as macOS writes ä
    assert greedy.startswith("Käse")
    assert sample("Käse", temperature=0.0, settings=replace(SETTINGS, seed=1)) == greedy
    with pytest.raises(InputError, match="The alphabet does not have 'x'"):
        sample("xylo")
    with pytest.raises(InputError, match="The prompt is empty"):
        sample("")


def test_the_end_is_held_out_and_rare_characters_are_replaced(tmp_path, path):
    text = make_text(5000) + "".join(map(chr, range(0x4E00, 0x4E00 + 260)))
    path.write_text(text, encoding="utf-8")
    corpus, notes, digest = read_user_text(path)
    whole = decode(corpus.join([0, 1, 2]), corpus.alphabet)
    assert len(corpus.alphabet) == 256
    assert whole.startswith("\n".join(make_text(5000).splitlines()))
    assert whole.count(REPLACEMENT) == len(set(text) - {"\r"}) - 255
    assert "rarest characters" in notes[1]
    sizes = [len(piece) / len(whole) for piece in corpus.symbols]
    assert sizes == pytest.approx([0.9, 0.05, 0.05], abs=1e-3)
    path.write_text(text + "a", encoding="utf-8")
    assert read_user_text(path).digest != digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zu kurz", "has 7 characters; at least 20,000 are needed"),
        (
            "".join(map(chr, range(0x4E00, 0x4E00 + 5000))) * 5,
            "5,001 different characters; the 255",
        ),
        ("a\0" * 20_000, "line 1, is not text"),
    ],
)
def test_an_unusable_text_is_refused(path, text, message):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_user_text(path)


def test_a_text_that_is_too_short_for_the_settings_is_refused(tmp_path, path):
    settings = replace(SETTINGS, batch_size=2048)
    with pytest.raises(InputError, match=r"with --batch-size 2048, .* 65,537 are needed"):
        text_generation.main(Command(settings, train=path, out=tmp_path / "runs"))
