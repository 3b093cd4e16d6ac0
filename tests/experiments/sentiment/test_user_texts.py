"""The user's own texts: from a spreadsheet's file to an answer."""

import random
from dataclasses import replace

import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.sentiment import train as sentiment
from experiments.sentiment.answering import check_text
from experiments.sentiment.user_texts import describe_accuracy, read_labeled_texts
from tests.helpers import read_results

SETTINGS = sentiment.Settings(
    embedding_size=8,
    hidden_size=8,
    max_tokens=12,
    subword_buckets=64,
    batch_size=8,
    epochs=8,
    dropout=0.1,
    learning_rate=2e-2,
    rating_weight=0.0,
)
OPINIONS = {
    "gut": ("schön", "großartig", "prima"),
    "schlecht": ("kaputt", "schwach", "übel"),
    "weiß nicht": ("mittel", "irgendwie", "naja"),
}
THINGS = ("Akku", "Hülle", "Klang", "Größe", "Preis", "Gerät")


def make_rows(num: int) -> list[tuple[str, str]]:
    random.seed(0)
    rows = []
    for i in range(num):
        label = list(OPINIONS)[i % len(OPINIONS)]
        opinion, thing = random.choice(OPINIONS[label]), random.choice(THINGS)
        rows.append((f"N{i}: {thing} {opinion}; wirklich {opinion}", label))
    return rows


def write_csv(path, rows, encoding="cp1252"):
    lines = ["Text;Label", *(f'"{text}";{label}' for text, label in rows)]
    path.write_bytes("\r\n".join([*lines, ";", '"ohne Urteil";', ""]).encode(encoding))
    return path


@pytest.mark.slow
def test_a_spreadsheet_is_learned_and_a_text_is_classified(tmp_path, capsys):
    path = write_csv(tmp_path / "meinungen.csv", make_rows(90))
    out = tmp_path / "runs"
    sentiment.main(sentiment.Command(SETTINGS, out=out, train=path))
    printed = capsys.readouterr().out
    assert "separated by semicolons." in printed
    assert "Left out: 1 row without a text or a label, first in line 93." in printed
    assert "90 texts in 3 classes: 63 for training, 9 for validation, 18 for testing." in printed
    rows = read_results(out / "meinungen" / "results.json")
    assert list(rows) == ["majority class", "TF-IDF + logistic regression", "GRU"]
    assert rows["GRU"]["accuracy"] > rows["majority class"]["accuracy"] + 0.3
    assert 0 <= rows["GRU"]["calibration error"] <= 1
    assert "of 18 test texts are right" in printed
    assert f"--model {out / 'meinungen'}" in printed

    def ask(sentence):
        sentiment.main(
            sentiment.Command(SETTINGS, predict=sentence, model=out / "meinungen", out=out)
        )
        return capsys.readouterr().out.splitlines()

    # As macOS writes ö.
    lines = ask("  Akku scho\u0308n, Elefant " + "wirklich scho\u0308n " * 6 + " Sonnenuntergang")
    assert lines[0].endswith("gut")
    assert lines[3] == "The model does not know 1 of 11 words: Elefant."
    assert lines[4] == "Only the first 12 of 17 words and signs are read."
    assert lines[5] == "The percentages are calibrated on 9 validation texts."
    for nonsense in ("", " ?! ", "12 34", "@me http://a.b"):
        with pytest.raises(InputError, match="has no word; a text to classify is expected"):
            ask(nonsense)
    with pytest.raises(InputError, match="The model knows no word of 'xyzzy plugh'"):
        ask("xyzzy plugh")


def test_an_emoticon_is_an_answerable_text():
    record = {"settings": {"max_tokens": 9}}
    assert check_text(":)", [":)"], record) == []
    with pytest.raises(InputError, match="knows no word of ':\\('"):
        check_text(":(", [":)"], record)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("a", "x"), *make_rows(60)],
            "the label 'x', in line 2, has 1 text; at least 10 are need",
        ),
        ([(text, "x") for text, _ in make_rows(60)], "has one label, 'x'; at least two are needed"),
        (make_rows(36), "has 36 different texts; at least 50 are needed"),
        ([("gut", label) for _, label in make_rows(90)], "has 1 text; at least 10"),
        ([(f"Satz s{i}", f"L{i // 10:02}") for i in range(510)], "has 51 labels; at most 50"),
    ],
)
def test_too_few_examples_are_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read_labeled_texts(write_csv(tmp_path / "a.csv", rows), None)


def test_equal_texts_are_on_one_side_and_a_batch_must_be_filled(tmp_path):
    rows = [*make_rows(60), *((text.upper(), label) for text, label in make_rows(30))]
    path = write_csv(tmp_path / "a.csv", rows)
    data = read_labeled_texts(path, None)
    parts = [{text.lower() for text in data.texts[part]} for part in data.split]
    assert parts[0].isdisjoint(parts[1] | parts[2])
    assert parts[1].isdisjoint(parts[2])
    assert data.notes[-1].startswith("20 texts repeat another one; equal ones are in one part")
    settings = replace(SETTINGS, batch_size=100)
    with pytest.raises(InputError, match="texts for training, fewer than the 100 of a batch"):
        sentiment.train_on_file(path, None, settings, tmp_path)


def test_the_interval_of_an_accuracy():
    right = describe_accuracy("GRU", np.ones(10, int), np.array([1] * 8 + [0] * 2))
    assert right == "GRU: 8 of 10 test texts are right, 80.0% (95% interval 49.0% to 94.3%)."
