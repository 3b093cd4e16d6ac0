"""The n-grams of a text, and the linear branch that reads them."""

import json
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.data.text import PADDING, tokenize
from experiments.sentiment import Classifier, Settings, encode
from experiments.sentiment.model import NGRAMS, divide_logits
from experiments.sentiment.ngrams import PER_TOKEN, encode_ngrams
from tests.helpers import ROOT

SETTINGS = Settings(
    embedding_size=4, hidden_size=3, max_tokens=6, subword_buckets=32, ngram_buckets=4096
)
VOCABULARY = ["not", "a", "bad", "day"]
TEXTS = ["Not a bad day", "bad"]


def ids_of(text: str, length: int = 6) -> set[int]:
    encoded = encode_ngrams([tokenize(text)], length, 4096)
    return set(encoded["ngrams"][0].tolist()) - {PADDING}


def random_params(settings: Settings, **changes) -> dict:
    inputs = encode(TEXTS, VOCABULARY, True, settings)
    model = Classifier(settings, len(VOCABULARY))
    params = model.init(jax.random.key(0), inputs, False)["params"]
    return {"params": params | changes}


def test_words_pairs_and_characters_are_counted():
    encoded = encode_ngrams([["a", "b", "a"]], 4, 4096)
    ids, weights = encoded["ngrams"][0], encoded["ngram_weights"][0]
    assert ids.shape == weights.shape == (4 * PER_TOKEN,)
    assert (ids.dtype, weights.dtype) == (np.int32, np.float32)
    # Words: a twice, b; pairs: "a b", "b a". Characters of " a ": " a", "a ", " a "; so of b.
    words = np.array([1 + np.log(2), 1, 1, 1])
    parts = np.repeat([1 + np.log(2), 1], 3)
    expected = np.concatenate([words / np.linalg.norm(words), parts / np.linalg.norm(parts)])
    np.testing.assert_allclose(weights[:10], expected, atol=1e-6)
    assert not weights[10:].any()
    assert (ids[10:] == PADDING).all()
    assert (ids[:4] <= 4096).all()
    assert (ids[4:10] > 4096).all()
    assert ids.max() <= 2 * 4096


def test_case_is_ignored_and_what_is_past_the_last_token_is_not_read():
    assert ids_of("NOT bad") == ids_of("not bad")
    assert ids_of("not bad") != ids_of("bad not")
    assert ids_of("not bad at all", 2) == ids_of("not bad")
    long = encode_ngrams([["extraordinarily"], ["a"]], 1, 4096)["ngrams"]
    assert long.shape == (2, PER_TOKEN)
    assert (long[0] != PADDING).all()


def test_another_process_hashes_alike():
    program = (
        "from experiments.sentiment.ngrams import encode_ngrams\n"
        "print(encode_ngrams([['not', 'bad']], 2, 4096)['ngrams'][0].tolist())"
    )
    printed = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True)
    assert json.loads(printed) == encode_ngrams([["not", "bad"]], 2, 4096)["ngrams"][0].tolist()


def test_with_weights_of_zero_it_is_the_model_without_the_branch():
    params = random_params(SETTINGS)
    assert not params["params"][NGRAMS]["table"].any()
    inputs = encode(TEXTS, VOCABULARY, True, SETTINGS)
    outputs = Classifier(SETTINGS, len(VOCABULARY)).apply(params, inputs, False)
    without = replace(SETTINGS, ngram_buckets=0)
    fewer = {name: layer for name, layer in params["params"].items() if name != NGRAMS}
    expected = Classifier(without, len(VOCABULARY)).apply(
        {"params": fewer}, encode(TEXTS, VOCABULARY, True, without), False
    )
    for one, other in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_known_ngrams_change_the_logits():
    model = Classifier(SETTINGS, len(VOCABULARY))
    table = jnp.zeros((2 * SETTINGS.ngram_buckets + 1, 4)).at[PADDING].set(9.0)
    known = np.array(sorted(ids_of("bad") - ids_of("day")))
    weighed = random_params(SETTINGS, **{NGRAMS: {"table": table.at[known, 2].set(1.0)}})
    zeros = random_params(SETTINGS)
    for text, is_known in (("so bad", True), ("xyzzy plugh", False)):
        inputs = encode([text], VOCABULARY, True, SETTINGS)
        logits, rating, _ = model.apply(weighed, inputs, False)
        before, rating_before, _ = model.apply(zeros, inputs, False)
        difference = (logits - before)[0]
        np.testing.assert_allclose(difference[:2], 0, atol=1e-6)
        assert (difference[2] > 0.1) == is_known
        np.testing.assert_allclose(rating, rating_before, atol=1e-6)


def test_the_temperature_divides_the_logits_of_both_branches():
    shape = (2 * SETTINGS.ngram_buckets + 1, 4)
    table = jax.random.normal(jax.random.key(1), shape)
    params = random_params(SETTINGS, **{NGRAMS: {"table": table}})
    model, inputs = Classifier(SETTINGS, 4), encode(TEXTS, VOCABULARY, True, SETTINGS)
    logits, rating, _ = model.apply(params, inputs, False)
    divided, same, _ = model.apply(divide_logits(params, 2.0), inputs, False)
    np.testing.assert_allclose(divided, logits / 2, rtol=1e-5)
    np.testing.assert_array_equal(same, rating)


def test_the_settings_of_an_older_model_have_no_ngrams():
    assert Settings.of({"settings": {"hidden_size": 5}}).ngram_buckets == 0
    assert Settings.of({"settings": {"ngram_buckets": 7}}).ngram_buckets == 7
