"""The user's own pairs: from a spreadsheet's file to a translation."""

from functools import partial

import pytest

from experiments.common.command import InputError
from experiments.common.parsing import parse
from experiments.seq2seq.parallel_corpus import date_corpus, user_corpus
from experiments.translation import settings
from experiments.translation import train as translation
from experiments.translation.settings import Command, Settings
from tests.helpers import read_results

TINY = Settings(
    vocabulary_size=60,
    embedding_size=12,
    hidden_size=12,
    attention_size=8,
    widths=(24,),
    batch_size=16,
    epochs=2,
)


def write_pairs(path, num: int):
    """Numbers with their digits reversed, as a spreadsheet writes them; one pair is too long."""
    rows = [f"{1000 + 7 * i};{str(1000 + 7 * i)[::-1]}" for i in range(num)]
    rows += [";leer", f"{'1' * 60};{'1' * 60}"]
    path.write_bytes("\r\n".join(["Quelle;Ziel", *rows]).encode("cp1252"))
    return path


@pytest.mark.slow
def test_a_spreadsheet_is_learned_and_a_text_is_translated(tmp_path, capsys):
    path, out = write_pairs(tmp_path / "umgekehrt.csv", 400), tmp_path / "runs"
    columns = ("Quelle", "Ziel")
    translation.main(Command(TINY, train=path, columns=columns, out=out))
    printed = capsys.readouterr().out
    assert "Left out: 1 row without a source or a target" in printed
    assert "401 pairs: 341 for training, 20 for validation, 40 for testing." in printed
    rows = read_results(out / "umgekehrt" / "results.json")
    assert list(rows)[:3] == ["copy", "translation memory", "word dictionary"]
    assert set(rows["GRU, greedy"]["all"]) == {"BLEU", "chrF", "exact"}
    lines = (out / "umgekehrt" / "translations.tsv").read_text().splitlines()
    source, _, expected = lines[1].split("\t")

    def ask(text):
        translation.main(Command(translate=text, model=out / "umgekehrt", out=out))
        return capsys.readouterr()

    assert ask(f" {source}\n").out.rstrip("\n") == expected
    assert "note: The model does not know x." in ask("12x4").err
    assert "the end is left out" in ask("1" * 30).err
    with pytest.raises(InputError, match="The text is empty"):
        ask("")
    with pytest.raises(InputError, match="The model knows no character of 'xyz'"):
        ask("xyz")


def test_equal_pairs_are_in_one_part(tmp_path):
    path = write_pairs(tmp_path / "a.csv", 300)
    lines = path.read_text("cp1252").splitlines()
    path.write_text("\n".join([*lines, *lines[1:41]]))
    corpus, notes = user_corpus(path, translation.FIELDS)
    assert "40 pairs repeat another one; equal ones are in one part of the split." in notes
    parts = [{corpus.sources[i] for i in part} for part in corpus.split]
    assert len(set.union(*parts)) == sum(map(len, parts))


@pytest.mark.slow
def test_what_is_no_date_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(settings.QUICK, "dates", TINY)
    monkeypatch.setattr(translation, "date_corpus", partial(date_corpus, 50, 10, 10))
    command = Command(data="dates", quick=True, out=tmp_path).presets()
    translation.main(command)
    assert "typed in English or numbers" in capsys.readouterr().out
    for text in ("the weather is nice", "room 12 of 99999"):
        with pytest.raises(InputError, match="is no date that the model can read"):
            translation.main(Command(data="dates", out=tmp_path, translate=text))
    with pytest.raises(InputError, match="The text is empty"):
        translation.main(Command(data="dates", out=tmp_path, translate=""))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train", "a.csv", "--data", "dates"], "--data has no effect with --train"),
        (["--translate", "a", "--model", "b", "--quick"], "--quick has no effect with --train or"),
        (["--columns", "a", "b"], "--columns"),
        (["--train", "a.csv", "--translate", "b"], "--train"),
    ],
)
def test_flags_that_do_not_fit_together(words, message):
    with pytest.raises(InputError, match=message):
        parse(Command, "translation", None, words)
