"""The sentences that the grammar of phrases stands for, and how they are trained on."""

import re
from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments.sentiment import vader
from experiments.sentiment.baselines import predict_baselines
from experiments.sentiment.check_list import TEXTS
from experiments.sentiment.phrases import RATINGS, Phrases, draw, draw_phrases, read_grammar
from experiments.sentiment.settings import COMPARED, OWN, Settings
from experiments.sentiment.train import classifier_training
from experiments.sentiment.training_data import prepare

SETTINGS = Settings(
    max_tokens=12, subword_buckets=64, ngram_buckets=64, num_phrases=30, phrase_weight=0.25
)


def test_every_name_is_defined_and_used():
    grammar = read_grammar()
    used = {
        name
        for alternatives in grammar.values()
        for alternative in alternatives
        for name in re.findall(r"\{(.+?)\}", alternative)
    }
    assert used | set(vader.CLASSES) == set(grammar)
    assert not any("{" in draw(name, np.random.default_rng(0)) for name in grammar)


def test_the_sentences_are_different_and_the_classes_balanced():
    texts, ratings, labels = draw_phrases(1000, seed=0)
    assert len({vader.plain_words(text) for text in texts}) == 1000
    assert np.bincount(labels).tolist() == [334, 333, 333]
    assert np.sign(ratings).tolist() == (labels - 1).tolist()
    sizes = np.abs(ratings[labels != 1])
    assert RATINGS[0] <= sizes.min() < RATINGS[0] + 0.1 < RATINGS[1] - 0.1 < sizes.max()
    assert sizes.max() <= RATINGS[1]
    assert all(re.fullmatch(r"\S+( \S+)*[.!?]", text) for text in texts)
    assert not any(re.search(r"\ba [aeio]", text) for text in texts)


def test_the_seed_determines_the_sentences():
    first, again, other = (draw_phrases(50, seed).texts.tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert draw_phrases(100, 0).texts[:50].tolist() == first


def test_held_out_sentences_are_not_drawn():
    texts = draw_phrases(50, 0).texts
    held_out = [text.upper() for text in texts[::5]]
    others = draw_phrases(50, 0, held_out).texts
    assert len(set(others)) == 50
    assert set(others).isdisjoint(texts[::5])
    assert set(draw_phrases(Settings.num_phrases, 0, TEXTS).texts).isdisjoint(TEXTS)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_no_phrase_is_a_held_out_sentence(archive, part):
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, 5, validation_parts=8, seed=0)[0]
    before = prepare(sentences, split, False, SETTINGS).train["words"][-30:]
    for row, text in zip(getattr(split, part), draw_phrases(10, 0).texts, strict=False):
        sentences.texts[row] = text
    after = prepare(sentences, split, False, SETTINGS).train["words"][-30:]
    assert before.shape == after.shape
    assert not (before[:10, None] == after[None]).all(-1).any()


def test_phrases_train_the_classes_and_the_rating_by_their_weight(archive):
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, 5, validation_parts=8, seed=0)[0]
    train = prepare(sentences, split, False, SETTINGS).train
    without = prepare(sentences, split, False, replace(SETTINGS, num_phrases=0)).train
    assert len(train["words"]) == len(without["words"]) + 30
    assert without["class_weight"].tolist() == train["class_weight"][:-30].tolist()
    assert set(without["class_weight"]) == {0, 1}
    assert set(train["class_weight"][-30:]) == {0.25}
    assert train["rating_weight"][-30:] == pytest.approx(0.25 * SETTINGS.rating_weight)
    assert set(without["rating_weight"]) == {SETTINGS.rating_weight, SETTINGS.film_weight}
    labels = np.arange(30) % 3
    assert train["target"][-30:].argmax(-1).tolist() == labels.tolist()
    np.testing.assert_allclose(train["target"][-30:].sum(-1), 1, atol=1e-6)  # not weighed by class
    np.testing.assert_array_equal(train["target"][:-30], without["target"])


def test_a_row_counts_for_the_loss_by_its_weights(archive):
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, 5, validation_parts=8, seed=0)[0]
    data = prepare(sentences, split, False, SETTINGS)
    plan = classifier_training(SETTINGS, data, 1e-3, 0.0)
    state = plan.init(jax.random.key(0))
    step = jax.jit(plan.step)
    batch = {name: array[-SETTINGS.batch_size :] for name, array in data.train.items()}

    def loss(**weights):
        ones = np.ones(SETTINGS.batch_size)
        changed = batch | {"class_weight": 0 * ones, "rating_weight": 0 * ones} | weights
        return float(step(state.params, state.optimizer_state, changed, jax.random.key(1))[1])

    first, second = np.eye(SETTINGS.batch_size)[:2]
    for name, add in (("class_weight", 0.25), ("rating_weight", 1.0)):
        losses = [loss(**{name: first}), loss(**{name: second})]
        assert losses[0] != losses[1]
        both = loss(**{name: first + 3 * second})
        assert both == pytest.approx(add * losses[0] + 3 * add * losses[1], rel=1e-5)
    assert loss() == 0


def test_phrases_are_in_no_training_of_other_texts():
    assert OWN.num_phrases == COMPARED.num_phrases == 0


def test_linear_baselines_learn_from_phrases(archive):
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, 5, validation_parts=8, seed=0)[0]
    texts = np.array(["plugh"], object)
    for label in (0, 2):
        phrases = Phrases(np.repeat(texts, 500), np.zeros(500), np.full(500, label))
        given = predict_baselines(sentences, split, texts, phrases)
        assert given["TF-IDF + logistic regression"].tolist() == [label]
