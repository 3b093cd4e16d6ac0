"""Sampling text: nucleus and temperature compared with NumPy, determinism, interruption."""

import subprocess
import sys
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from experiments.text_generation.model import CharacterModel
from experiments.text_generation.sampling import (
    SamplingOptions,
    keep_nucleus,
    print_stream,
    sample_text,
)
from tests.helpers import ROOT

ALPHABET = "\n abcde"
MODEL = CharacterModel("gru", len(ALPHABET), 6)
PARAMS = MODEL.init(jax.random.key(0))


def draw(length=40, prompt="abc", **changes) -> str:
    options = SamplingOptions(**{"temperature": 1.0, "top_p": 1.0, "seed": 0, **changes})
    return "".join(islice(sample_text(MODEL, PARAMS, ALPHABET, prompt, options), length))


def nucleus(logits: np.ndarray, top_p: float) -> set[int]:
    """The smallest set of most likely symbols that reaches `top_p`, by adding one at a time."""
    probabilities = np.exp(np.float64(logits) - logits.max())
    probabilities /= probabilities.sum()
    chosen: set[int] = set()
    for symbol in np.argsort(-probabilities, kind="stable"):
        if chosen and sum(probabilities[list(chosen)]) >= top_p:
            break
        chosen.add(int(symbol))
    return chosen


@given(
    logits=hnp.arrays(np.float32, st.integers(1, 8), elements=st.integers(-20, 20), unique=True),
    top_p=st.floats(0.01, 0.999),
)
def test_the_nucleus_beside_numpy(logits, top_p):
    logits = logits / np.float32(7)
    kept = np.asarray(keep_nucleus(jnp.asarray(logits), top_p))
    assert set(np.flatnonzero(np.isfinite(kept))) == nucleus(logits, top_p)
    np.testing.assert_array_equal(kept[np.isfinite(kept)], logits[np.isfinite(kept)])


def test_all_of_the_probability_is_every_symbol():
    assert np.isfinite(keep_nucleus(jnp.array([0.0, -5.0, -14.0, 1.0]), 1.0)).all()


def test_texts_are_of_the_alphabet_and_the_seed():
    assert draw() == draw()
    assert draw() != draw(seed=1)
    assert len(draw()) == 40
    assert set(draw(length=200)) <= set(ALPHABET)
    assert draw(length=60).startswith(draw())


def test_little_temperature_or_nucleus_is_the_most_likely_text():
    text = "abc"
    for _ in range(20):
        symbols = jnp.array([[ALPHABET.index(character)] for character in text])
        _, logits = MODEL.read(PARAMS, MODEL.initial_state(1), symbols)
        text += ALPHABET[int(logits[-1, 0].argmax())]
    assert draw(20, top_p=1e-6) == text[3:]
    assert draw(20, temperature=1e-6) == text[3:]
    assert draw(20, temperature=0.0) == text[3:]
    assert draw(20, temperature=0.0, top_p=0.5, seed=7) == text[3:]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "aXbß"}, "alphabet does not have 'X', 'ß'"),
        ({"prompt": ""}, "The prompt is empty: expected at least one character"),
        ({"temperature": -0.5}, r"temperature is -0\.5: expected at least 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, r"`top_p` is 0\.0: expected more than 0, and at most 1"),
        ({"top_p": 1.5}, r"`top_p` is 1\.5"),
    ],
)
def test_bad_choices_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        draw(**changes)


def test_interrupted_text_ends_its_line(capsys):
    def characters():
        yield from "ab"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        print_stream(characters())
    assert capsys.readouterr().out == "ab\n"


def test_a_closed_pipe_ends_it_without_a_word():
    program = (
        "from itertools import repeat\n"
        "from experiments.text_generation.sampling import print_stream\n"
        "print_stream(repeat('ab\\n'))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout.read(6) == b"ab\nab\n"
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""
