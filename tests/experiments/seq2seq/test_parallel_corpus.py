"""Corpora, and what names their data."""

import gzip
import hashlib
from datetime import date

import numpy as np

from experiments.seq2seq import dates
from experiments.seq2seq.parallel_corpus import date_corpus, debian_corpus, synopsis_corpus


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
    assert set(written.locales) == set(dates.LOCALES)
    assert len(dates.LOCALES) >= 12
    meanings = dict(zip(written.texts, written.iso, strict=True))
    assert all(meanings[t] == i for t, i in zip(written.texts, written.iso, strict=True))
