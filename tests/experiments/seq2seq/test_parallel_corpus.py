"""Corpora, and what names their data."""

import gzip
import hashlib
from datetime import date

import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.seq2seq import dates
from experiments.seq2seq.parallel_corpus import (
    date_corpus,
    debian_corpus,
    synopsis_corpus,
    user_corpus,
)


def test_a_corpus_names_the_texts_that_it_was_read_from(debian):
    pairs, summaries = debian_corpus("it", 10, 10), synopsis_corpus(10, 10)
    english = gzip.decompress((debian / "Translation-en.gz").read_bytes())
    digest = hashlib.sha256(english).hexdigest()
    assert summaries.record() == {"checksums": {"Translation-en": digest}}
    assert summaries.origin() == f"Data: Translation-en (sha256 {digest})."
    assert set(pairs.record()["checksums"]) == {"Translation-en", "Translation-it"}
    assert pairs.reduced(5).record() == pairs.record()
    assert date_corpus(30, 2, 2).record() == {}


def test_every_date_text_means_one_day_and_no_day_lies_on_two_sides():
    corpus = date_corpus(train=300, validation=20, test=50)
    assert len(corpus.sources) == 4 * 370
    days = [{corpus.targets[i] for i in part} for part in corpus.split]
    assert [len(part) for part in days] == [300, 20, 50]
    assert days[0].isdisjoint(days[1] | days[2])
    assert days[1].isdisjoint(days[2])
    ordinals = np.arange(date(2031, 1, 1).toordinal(), date(2031, 12, 31).toordinal() + 1)
    written = dates.write_dates(ordinals, 60, seed=0)
    assert set(written.locales) == {*dates.LOCALES, dates.TYPED}
    assert len(dates.LOCALES) >= 12
    meanings = dict(zip(written.texts, written.iso, strict=True))
    assert all(meanings[t] == i for t, i in zip(written.texts, written.iso, strict=True))


FIELDS = {"source": (), "target": ()}


def test_pairs_of_a_spreadsheet_are_split_without_a_common_text(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [f"satz {i};sentence {i}" for i in range(300)]
    rows += [f"SATZ {i};another {i}" for i in range(10)] + ["satz 0;sentence 0"]
    path.write_bytes("\r\n".join(["source;target", *rows]).encode("utf-16"))
    corpus, notes = user_corpus(path, FIELDS)
    assert [len(part) for part in corpus.split] == pytest.approx([266, 15, 30], abs=2)
    assert "311 pairs: " in notes[-1]
    for side in range(2):
        parts = [{t.lower() for t in corpus.select(part)[side]} for part in corpus.split]
        assert parts[0].isdisjoint(parts[1] | parts[2])
        assert parts[1].isdisjoint(parts[2])
    assert corpus.origin().startswith("Data: pairs.csv (sha256 ")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([f"a{i},b" for i in range(300)], "too many pairs share a text with others"),
        (
            [f"a{i},b{i}" for i in range(199)] * 2,
            "has 199 different pairs; at least 200 are needed",
        ),
        (["a,b,c"], "has no column 'source'"),
    ],
)
def test_pairs_that_cannot_be_used_are_refused(tmp_path, rows, message):
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(rows))
    with pytest.raises(InputError, match=message):
        user_corpus(path, FIELDS)
