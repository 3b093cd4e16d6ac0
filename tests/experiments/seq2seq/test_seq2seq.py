"""The parts of an encoder-decoder experiment: bundles, model, search, subwords, data, scores."""

import gzip
import itertools
import re
import subprocess
from datetime import date
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.data import DataError
from experiments.seq2seq import beam_search, buckets, dates, ddtp, subwords
from experiments.seq2seq.decoding import Translator, search
from experiments.seq2seq.model import EncoderDecoder, shift_right, smoothed_cross_entropy
from experiments.seq2seq.parallel_corpus import date_corpus
from experiments.seq2seq.translation_scores import (
    score_translations,
    translation_memory,
    word_dictionary,
)

MODEL = EncoderDecoder(
    num_tokens=11, embedding_size=6, hidden_size=5, attention_size=4, dropout=0.3
)


@pytest.fixture(scope="module")
def params():
    """Random parameters, biases included."""
    tokens = jnp.ones((2, 1), int)
    params = jax.jit(MODEL.init, static_argnums=3)(jax.random.key(0), tokens, tokens, False)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noise = [0.5 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, [x + n for x, n in zip(leaves, noise, strict=True)])


def random_rows(number: int, longest: int, seed: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [list(random.integers(4, 11, n)) for n in random.integers(1, longest + 1, number)]


def test_bundles_hold_every_pair_that_fits_once_beside_pairs_of_its_length():
    sources, targets = random_rows(50, 12, 0), random_rows(50, 12, 1)
    bundles = buckets.make_bundles(sources, targets, widths=(4, 8, 10), size=7, seed=0)
    found = []
    for source, target, bucket in zip(*bundles.values(), strict=True):
        assert not source[(4, 8, 10)[bucket] :].any()
        assert not target[(4, 8, 10)[bucket] :].any()
        found += [tuple(map(tuple, pair)) for pair in zip(source.T, target.T, strict=True)]
    padded = [
        tuple((*row, *[0] * (10 - len(row))) for row in pair)
        for pair in zip(sources, targets, strict=True)
        if max(map(len, pair)) <= 10
    ]
    assert sorted(pair for pair in found if any(pair[0])) == sorted(padded)
    assert (np.diff(bundles["bucket"]) >= 0).all()


def measure(params, source, target, key):
    noise = 0.0 if key is None else jax.random.normal(key)
    return (params["w"][source] * params["v"][target]).sum() + noise * params["v"].sum()


def test_the_loss_of_a_bundle_and_its_gradient_are_those_without_buckets():
    bundles = buckets.make_bundles(random_rows(20, 9, 0), random_rows(20, 9, 1), (4, 9), 5, 0)
    params = {"w": jnp.arange(11.0).at[0].set(0), "v": jnp.arange(1.0, 12).at[0].set(0)}
    loss = buckets.bucketed_loss(measure, (4, 9))
    total = 0
    for i in range(len(bundles["bucket"])):
        key = jax.random.key(i)
        batch = jax.tree.map(lambda array, i=i: jnp.asarray(array[i : i + 1]), bundles)
        plain = batch["source"][0], batch["target"][0], key
        expected = jax.value_and_grad(measure)(params, *plain)
        result = jax.value_and_grad(lambda p: 2 * loss(p, batch, key))(params)  # noqa: B023
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, 2 * b, rtol=1e-6), result, expected)
        total += measure(params, *plain[:2], None)
    np.testing.assert_allclose(
        buckets.sum_over_bundles(measure, (4, 9), params, bundles), total, rtol=1e-6
    )


def test_steps_one_by_one_with_beams_are_teacher_forcing(params):
    source = jnp.array([[4, 5], [6, 3], [3, 0]])
    targets = jnp.array([[7, 8], [9, 3], [3, 0]])
    previous = shift_right(targets)
    logits, weights = MODEL.apply(params, source, previous, False)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    assert not weights[:, 1, 2].any()  # the padding is not looked at
    memory, carry = MODEL.apply(params, source, method="encode")
    carry = jax.tree.map(lambda x: jnp.stack([x, x]), carry)  # two beams
    for t in range(3):
        tokens = jnp.stack([previous[t]] * 2)
        carry, scores = MODEL.apply(params, memory, carry, tokens, method="step")
        for beam in scores:
            np.testing.assert_allclose(beam, jax.nn.log_softmax(logits[t]), atol=1e-5)


def test_padding_and_neighbours_change_nothing(params):
    alone, _ = MODEL.apply(params, jnp.array([[4], [3]]), jnp.array([[2], [7]]), False)
    source, previous = jnp.array([[4, 5], [3, 6], [0, 3]]), jnp.array([[2, 2], [7, 8], [9, 9]])
    beside, _ = MODEL.apply(params, source, previous, False)
    np.testing.assert_allclose(beside[:2, 0], alone[:, 0], atol=1e-5)


def test_smoothed_cross_entropy_is_that_of_the_smoothed_distribution():
    logits = jax.random.normal(jax.random.key(0), (3, 2, 5))
    targets = jnp.array([[4, 1], [2, 3], [0, 0]])
    smooth = 0.8 * jax.nn.one_hot(targets, 5) + 0.2 / 5
    expected = -(smooth * jax.nn.log_softmax(logits)).sum(-1) * (targets != 0)
    np.testing.assert_allclose(smoothed_cross_entropy(logits, targets, 0.2), expected, atol=1e-6)


# A language of four words in which what is likely depends on the word before.
TABLE = jax.nn.log_softmax(2 * jax.random.normal(jax.random.key(5), (7, 7)))
LOQUACIOUS = TABLE.at[:, subwords.END].add(-9)  # it hardly ends


def next_words(carry, tokens):
    return carry, TABLE[tokens]


def every_sentence(length: int, table=TABLE):
    """(sentence, rank) of all sentences of at most `length` tokens, ended or cut off."""
    for n in range(1, length + 1):
        for words in itertools.product(range(4, 7), repeat=n - 1 if n < length else n):
            ends = [(*words, subwords.END)] if n < length else [words, (*words[:-1], subwords.END)]
            for sentence in ends:
                steps = zip((subwords.START, *sentence), sentence, strict=False)
                score = sum(float(table[a, b]) for a, b in steps)
                yield sentence, score / ((5 + len(sentence)) / 6)


def test_with_enough_beams_the_search_finds_the_best_of_all_sentences():
    tokens, rank = beam_search.beam_search(
        next_words, jnp.zeros((2, 1)), num_beams=60, max_length=4
    )
    best, expected = max(every_sentence(4), key=lambda pair: pair[1])
    for row in tokens.tolist():
        assert tuple(row) == best + (0,) * (4 - len(best))
    np.testing.assert_allclose(rank, expected, rtol=1e-5)


def test_nothing_is_said_twice_where_that_is_forbidden():
    def search_best(**options):
        return beam_search.beam_search(
            lambda carry, tokens: (carry, LOQUACIOUS[tokens]),
            jnp.zeros((1, 1)),
            num_beams=120,
            max_length=5,
            **options,
        )

    def is_new(sentence) -> bool:
        pairs = list(itertools.pairwise(sentence))
        return len(set(pairs)) == len(pairs)

    tokens, rank = search_best(no_repeat=2)
    allowed = [pair for pair in every_sentence(5, np.asarray(LOQUACIOUS)) if is_new(pair[0])]
    best, expected = max(allowed, key=lambda pair: pair[1])
    assert tuple(tokens[0].tolist()) == best + (0,) * (5 - len(best))
    np.testing.assert_allclose(rank, expected, rtol=1e-5)
    assert not is_new(search_best()[0][0].tolist())  # else this test would test nothing


def test_one_beam_is_greedy():
    tokens, _ = beam_search.beam_search(next_words, jnp.zeros((1, 1)), num_beams=1, max_length=6)
    word, greedy = subwords.START, []
    while len(greedy) < 6 and word != subwords.END:
        word = 3 + int(TABLE[word, 3:].argmax())
        greedy.append(word)
    assert tokens[0].tolist() == greedy + [0] * (6 - len(greedy))


def test_texts_come_back_from_subwords_as_they_were():
    texts = ["Go library (v1.12) -- dev files", "l'età è 3,5 anni", "C++/CLI: a  b"]
    tokenizer = subwords.learn_subwords(texts * 3, 80)
    rows = subwords.to_ids(tokenizer, texts)
    assert [row[-1] for row in rows] == [subwords.END] * 3
    assert [subwords.to_text(tokenizer, [*row, 0, 0]) for row in rows] == texts
    assert tokenizer.encode("12").tokens[-2:] == ["1", "2"]  # numbers are spelled


def test_no_program_is_compiled_for_another_length_or_a_part_of_a_batch(params):
    tokenizer = subwords.learn_subwords(["abcd"], 11)
    translator = Translator(MODEL, params, tokenizer, (4, 8), 2)
    before = search._cache_size()
    assert len(translator(["ab", "a", "abc abc"], 2)) == 3
    assert search._cache_size() == before + 2  # a program a width
    assert len(translator(["b", "a b", "ca", "", "abab", "a b c a b c a b c"], 2)) == 6
    assert search._cache_size() == before + 2


def test_a_sentence_translated_alone_and_among_others_is_the_same(params):
    tokenizer = subwords.learn_subwords(["abcd"], 11)
    translator = Translator(MODEL, params, tokenizer, (8,), 3)
    texts = ["abcd", "a", "dcb a", "bb"]
    together = translator(texts, 4)
    assert [translator([text], 1)[0] for text in texts] == together


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


@pytest.mark.parametrize(
    ("package", "family"),
    [
        ("libx2go-utils-perl", "x2go"),
        ("x2go-doc", "x2go"),
        ("librust-bstr+regex-dev", "bstr"),
        ("golang-github-eclipse-paho.mqtt.golang-dev", "eclipse"),
        ("libavif15", "avif"),
        ("python3-doc", "python"),
    ],
)
def test_package_family(package, family):
    assert ddtp.package_family(package) == family


def test_pairs_are_aligned_and_no_group_straddles_a_split(debian):
    pairs = ddtp.read_pairs(ddtp.fetch(("en", "it")), "it")
    assert len(set(pairs.sources)) == len(pairs.sources)
    assert ("The red tool does 7 things.", "Lo strumento rosso fa 7 cose.") in set(
        zip(pairs.sources, pairs.targets, strict=True)
    )
    assert set(pairs.kinds) == set(ddtp.KINDS)
    split = ddtp.split_pairs(pairs.groups, num_validation=40, num_test=60, seed=0)
    groups = [set(pairs.groups[part]) for part in split]
    assert all(len(part) > 20 for part in split)
    assert groups[0].isdisjoint(groups[1] | groups[2])
    assert groups[1].isdisjoint(groups[2])
    assert sum(map(len, split)) == len(pairs.sources)


def test_a_sentence_shared_by_two_families_makes_one_group(debian):
    pairs = ddtp.read_pairs(ddtp.fetch(("en", "it")), "it")
    number = dict(zip(pairs.sources, pairs.groups, strict=True))
    # Both say "This package contains the documentation."
    assert number["red tool number 0"] == number["red tool number 3"]
    assert number["red tool number 0"] != number["red tool number 1"]


def test_without_apt_one_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.delenv("GRUJAX_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="through apt, which this system does not have"):
        ddtp.fetch(("en", "it"))


def test_what_apt_delivers_is_kept_and_what_it_does_not_is_named(monkeypatch, tmp_path):
    def apt(command, **_):
        folder = re.search(r'State::Lists "(.*)"', Path(command[3]).read_text())[1]
        (Path(folder) / "host_i18n_Translation-en").touch()
        return subprocess.CompletedProcess(command, 100, "", "E: no network\n")

    monkeypatch.delenv("GRUJAX_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(ddtp.shutil, "which", lambda _: "/bin/true")
    monkeypatch.setattr(ddtp.Path, "exists", lambda _: True)
    monkeypatch.setattr(ddtp.subprocess, "run", apt)
    monkeypatch.setattr(ddtp.subprocess, "check_output", lambda _: b"Package: a")
    path = ddtp.fetch(("en",))["en"]
    assert gzip.decompress(path.read_bytes()) == b"Package: a"
    with pytest.raises(DataError, match=r"no descriptions in 'it' \(E: no network\)"):
        ddtp.fetch(("it",))


def test_baselines_and_scores():
    sources = ["red tool", "red car", "blue car"] * 3
    targets = ["strumento rosso", "auto rossa", "auto blu"] * 3
    assert translation_memory(sources, targets, ["a red tool", "zzz"]) == [targets[0], targets[0]]
    assert word_dictionary(sources, targets, ["blue Car X"]) == ["blu auto X"]
    scores = score_translations(targets, targets)
    assert scores["exact"] == 100
    assert scores["chrF"] == pytest.approx(100)
