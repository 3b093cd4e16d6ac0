"""The sentiment experiment, end to end on a small made-up archive."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import data
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.sentiment import train as sentiment
from experiments.sentiment import vader
from experiments.sentiment.baselines import predict_baselines, vader_rule
from experiments.sentiment.model import NGRAMS
from experiments.sentiment.phrases import draw_phrases
from experiments.sentiment.training_data import class_weights
from grujax import sweep
from tests.helpers import ROOT, read_results

SETTINGS = sentiment.Settings(
    embedding_size=8,
    hidden_size=8,
    max_tokens=12,
    subword_buckets=64,
    ngram_buckets=64,
    batch_size=16,
    epochs=3,
    num_phrases=30,
)


def command(out: Path, **changes) -> sentiment.Command:
    return sentiment.Command(**{"settings": SETTINGS, "out": out, **changes})


@pytest.mark.slow
def test_the_whole_experiment(archive, tmp_path, capsys):
    sentiment.main(command(tmp_path))
    printed = capsys.readouterr().out
    assert printed.startswith("Training 2 models: about ")
    rows = read_results(tmp_path / "results.json")
    assert list(rows) == [
        "majority class",
        "VADER's rule",
        "TF-IDF + logistic regression",
        "TF-IDF + VADER's scores + logistic regression",
        "GRU, words alone",
        "GRU with VADER's lexicon",
    ]
    assert all(f"\n{name} " in printed for name in rows)
    assert rows["GRU with VADER's lexicon"]["accuracy"] > rows["majority class"]["accuracy"] + 0.2
    columns = {"accuracy", "macro-F1", "tweets", "Amazon", "NYT"}
    checks = {"check list", "check list, share wrong"}
    assert set(rows["VADER's rule"]) == columns | checks
    assert checks <= set(rows["GRU with VADER's lexicon"])
    assert "Check list of 40 sentences: VADER's rule gets " in printed
    for plot in ("confusion", "learning_curves", "attention"):
        assert (tmp_path / f"{plot}.png").read_bytes().startswith(b"\x89PNG")

    # The saved model predicts, without the archive.
    sentiment.main(command(tmp_path, predict="i love my great great phone"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "positive"
    shares = [int(share.rstrip("%")) for share in lines[1].split()[1::2]]
    assert shares[2] == max(shares)
    assert abs(sum(shares) - 100) <= 1
    assert "love" in lines[2] or "great" in lines[2]

    # Other settings do not mix with these.
    other = replace(SETTINGS, dropout=0.1)
    with pytest.raises(loop.SettingsMismatchError, match="dropout"):
        sentiment.main(command(tmp_path, settings=other))


@pytest.mark.slow
def test_two_seeds_are_averaged_and_trained_only_once(archive, tmp_path, capsys):
    sentiment.main(command(tmp_path, seeds=2))
    assert capsys.readouterr().out.startswith("Training 4 models: about ")
    rows = read_results(tmp_path / "results.json")
    assert list(rows)[4:] == [
        "GRU, words alone",
        "GRU, words alone, 2 seeds averaged",
        "GRU with VADER's lexicon",
        "GRU with VADER's lexicon, 2 seeds averaged",
    ]
    before = {path: path.read_bytes() for path in tmp_path.glob("*/*.jsonl")}
    sentiment.main(command(tmp_path, seeds=2))
    assert capsys.readouterr().err.count("already trained (3 epochs") == 4
    assert before == {path: path.read_bytes() for path in tmp_path.glob("*/*.jsonl")}
    assert read_results(tmp_path / "results.json") == rows


def test_predict_without_a_model_names_the_command(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "experiments.sentiment", "--out", str(tmp_path), "--predict", "x"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 1
    assert "Train it first: python -m experiments.sentiment" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_kill_9_and_resume_gives_bit_identical_metrics(archive, tmp_path):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    program = (
        "import pathlib, time\n"
        "from experiments.sentiment import train as sentiment, vader\n"
        "from experiments.common.training import run_directory\n"
        f"vader.ARCHIVE = vader.ARCHIVE._replace(sha256={archive.sha256!r})\n"
        "append = run_directory.append_record\n"
        "run_directory.append_record = lambda *a: (append(*a), time.sleep(0.2))\n"
        f"settings = sentiment.{SETTINGS!r}\n"
        f"sentiment.main(sentiment.Command(settings, out=pathlib.Path({str(killed)!r})))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=os.environ)
    metrics = killed / "words-fold0-seed0" / loop.METRICS
    deadline = time.monotonic() + 300
    while len(read_records(metrics)) < 2:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for out in (killed, alone):
        sentiment.main(command(out))
    for name in ("words-fold0-seed0", "lexicon-fold0-seed0"):
        expected = (alone / name / loop.METRICS).read_bytes()
        assert (killed / name / loop.METRICS).read_bytes() == expected
    results = [read_results(out / "results.json") for out in (killed, alone)]
    assert results[0] == results[1]


def test_sentences_labels_and_groups(archive):
    sentences = vader.read_sentences()
    assert len(sentences.texts) == 240
    assert set(sentences.labels[sentences.ratings == 2]) == {2}
    assert set(sentences.labels[sentences.ratings == 0]) == {1}
    assert sentences.groups[0] == sentences.groups[1] == sentences.groups[2]
    for split in vader.split_rated(sentences, 5, validation_parts=8, seed=0):
        groups = [set(sentences.groups[part]) for part in split]
        assert groups[0].isdisjoint(groups[1] | groups[2])
        assert groups[1].isdisjoint(groups[2])
        assert not any((sentences.domains[part] == vader.FILMS).any() for part in split)


def test_no_film_snippet_repeats_a_held_out_sentence(archive):
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, 5, validation_parts=8, seed=0)[0]
    film = np.flatnonzero(sentences.domains == vader.FILMS)[0]
    before = sentiment.prepare(sentences, split, False, SETTINGS)
    sentences.groups[film] = sentences.groups[split.test[0]]
    after = sentiment.prepare(sentences, split, False, SETTINGS)
    assert len(after.train["words"]) == len(before.train["words"]) - 1


@pytest.mark.parametrize("lexicon", [False, True])
def test_padding_and_other_rows_change_nothing(archive, lexicon):

    def encode(texts, length):
        settings = replace(SETTINGS, max_tokens=length)
        return sentiment.encode(texts, ["a", "great", "day"], lexicon, settings)

    model = sentiment.Classifier(SETTINGS, 3)
    table = jax.random.normal(jax.random.key(1), (129, 4))
    short = encode(["A great day"], 3)
    params = jax.jit(partial(model.init, train=False))(jax.random.key(0), short)
    params = {"params": params["params"] | {NGRAMS: {"table": table}}}
    classify = jax.jit(partial(model.apply, train=False))
    both = encode(["A great day", "what an awful, awful day !!"], 9)
    alone, together = classify(params, short)[0], classify(params, both)[0]
    np.testing.assert_allclose(together[0], alone[0], atol=1e-6)
    assert not np.allclose(together[1], together[0])


def test_class_weights_have_a_mean_of_one():
    labels = np.array([0, 0, 0, 2])
    for balance in (0.0, 0.5, 1.0):
        assert class_weights(labels, 3, balance)[labels].mean() == pytest.approx(1)
    np.testing.assert_allclose(class_weights(labels, 3, 0.0), 1)
    weights = class_weights(labels, 3, 1.0)
    assert 3 * weights[0] == pytest.approx(weights[2])


def test_the_baselines_learn_from_film_snippets_but_not_from_the_test_set(archive):
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, 5, validation_parts=8, seed=0)[0]
    films = sentences.domains == vader.FILMS
    texts = np.array(["plugh"] * 2, object)
    name = "TF-IDF + logistic regression"
    sentences.texts[films] = "plugh"
    for label in (0, 2):
        sentences.labels[films] = label
        assert (
            predict_baselines(sentences, split, texts, draw_phrases(0, 0))[name].tolist()
            == [label] * 2
        )
    sentences.groups[films] = sentences.groups[split.test[0]]
    assert not len(vader.film_snippets(sentences, split.test))


def test_soft_labels_are_distributions_around_the_cut():
    soft = vader.soft_labels(np.array([-4.0, -0.5, 0.0, 0.5, 4.0]), 0.35)
    np.testing.assert_allclose(soft.sum(-1), 1, atol=1e-6)
    assert soft.argmax(-1)[[0, 2, 4]].tolist() == [0, 1, 2]
    assert soft[1, 0] == pytest.approx(0.5)


@pytest.mark.parametrize(("compound", "label"), [(0.05, 2), (0.049, 1), (-0.049, 1), (-0.05, 0)])
def test_vader_rule(compound, label):
    assert vader_rule(np.array([[compound, 0, 0, 0]])).tolist() == [label]


@pytest.mark.slow
def test_make_train_is_pure_and_can_be_swept(archive):
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, 5, validation_parts=8, seed=0)[0]
    prepared = sentiment.prepare(sentences, split, True, replace(SETTINGS, film_weight=0.0))
    train = sentiment.make_train(replace(SETTINGS, epochs=2), prepared)
    rates = jnp.array([1e-4, 1e-2])
    metrics = jax.jit(jax.vmap(lambda rate: train(jax.random.key(0), learning_rate=rate)))(rates)
    assert metrics["train_loss"].shape == (2, 2)
    assert metrics["train_loss"][1, -1] < metrics["train_loss"][0, -1]


def test_the_real_archive():
    folder = Path(os.environ.get("GRUJAX_DATA") or data.cache_directory())
    if not (folder / vader.ARCHIVE.filename).exists():
        pytest.skip(f"{vader.ARCHIVE.filename} has not been fetched; the demo does it")
    sentences = vader.read_sentences()
    rated = sentences.domains != vader.FILMS
    assert np.bincount(sentences.labels[rated]).tolist() == [4105, 3711, 5282]


@pytest.mark.slow
def test_the_training_can_be_swept(archive):
    settings = replace(SETTINGS, epochs=2, patience=2)
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, sentiment.NUM_FOLDS, validation_parts=8, seed=0)[0]
    curves = sentiment.make_train(settings, sentiment.prepare(sentences, split, True, settings))

    def train(key, **rates):
        metrics = curves(key, **rates)
        return metrics | {"score": metrics["validation_score"].max()}

    trials = sweep.grid(learning_rate=[1e-9, 1e-2])
    result = sweep.run(train, trials, key=jax.random.key(0), progress=False)
    assert result.metrics["validation_score"].shape == (2, 2)
    assert result.best("score", mode="max").hyperparameters == {"learning_rate": 1e-2}
    alone = jax.jit(train)(sweep.trial_key(jax.random.key(0), 1), learning_rate=1e-2)
    np.testing.assert_allclose(result.metrics["train_loss"][1], alone["train_loss"], rtol=1e-5)
