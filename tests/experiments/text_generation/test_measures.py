"""Dynamic evaluation and n-grams beside a network: what the rows of the table are."""

import jax
import numpy as np
import pytest

from experiments.text_generation import ngram
from experiments.text_generation.adaptation import OPTIMIZER, adaptive_bits
from experiments.text_generation.measures import fit_weights, measure
from experiments.text_generation.model import CharacterModel
from experiments.text_generation.prose import Texts

MODEL = CharacterModel("gru", num_symbols=4, hidden_size=3)
ORDER = 3


@pytest.fixture(scope="module")
def texts() -> Texts:
    generator = np.random.default_rng(0)
    steps = generator.choice(4, size=1400, p=[0.1, 0.7, 0.1, 0.1])
    symbols = (np.cumsum(steps) % 4).astype(np.uint8)
    return Texts(4, *np.split(symbols, [600, 1000]))


def test_rows(texts):
    params = MODEL.init(jax.random.key(0))
    rows = measure("GRU", MODEL, params, texts, ORDER)
    assert list(rows) == [
        "GRU, dynamic evaluation",
        "n-grams, counting on",
        "GRU + n-grams",
        "GRU, dynamic evaluation + n-grams, counting on",
    ]
    dynamic, counting, fixed, both = rows.values()
    adapted = adaptive_bits(MODEL, params, texts.test, OPTIMIZER).mean()
    np.testing.assert_allclose(dynamic["bits"], adapted, rtol=1e-5)
    counted = ngram.probabilities_counting_on(texts.train, texts.test, 4, ORDER)
    np.testing.assert_allclose(counting["bits"], -np.log2(counted).mean())

    # The network is not trained, and the weights are those of the validation text.
    grams = ngram.bits(ngram.fit(texts.train, 4, ORDER), texts.test).mean()
    assert dynamic["bits"] > both["bits"]
    assert fixed["bits"] < grams + 0.05
    assert fixed["megabytes"] > dynamic["megabytes"] == 4 * MODEL.num_parameters() / 1e6
    assert both["megabytes"] == pytest.approx(dynamic["megabytes"] + counting["megabytes"])


def test_the_test_text_does_not_choose_the_weights(texts):
    params = MODEL.init(jax.random.key(0))
    other = texts._replace(test=texts.test[::-1])
    first, second = (measure("GRU", MODEL, params, each, ORDER) for each in (texts, other))
    for row in first:
        assert first[row]["validation bits"] == second[row]["validation bits"]
        assert first[row]["bits"] != second[row]["bits"]


def test_weights_in_closed_form():
    # The first model is right in 70% of the places: p = 0.1 + 0.8 w is 0.7 there at w = 0.75.
    right = np.arange(1000) % 10 >= 7
    probabilities = np.where(np.arange(2)[:, None] == right, 0.9, 0.1)
    np.testing.assert_allclose(fit_weights(probabilities), [0.75, 0.25], atol=1e-3)


def test_no_other_weights_are_more_likely():
    probabilities = np.random.default_rng(0).uniform(0.05, 1, (3, 500))
    weights = fit_weights(probabilities)
    np.testing.assert_allclose(weights.sum(), 1)
    most = np.log(weights @ probabilities).sum()
    for other in np.random.default_rng(1).dirichlet(np.ones(3), 50):
        assert np.log((0.9 * weights + 0.1 * other) @ probabilities).sum() <= most + 1e-3
