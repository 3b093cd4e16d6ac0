"""Sampling text from a language model: temperature and nucleus sampling.

Reference: Holtzman et al. 2020, "The curious case of neural text degeneration",
https://arxiv.org/abs/1904.09751.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from experiments.text_generation.model import CharacterModel
from experiments.text_generation.prose import encode


class SamplingOptions(NamedTuple):
    """How characters are sampled."""

    temperature: float  # divides the logits: below 1 sharpens, above 1 flattens; 0: greedy
    top_p: float  # sample from the most likely characters with this total probability
    seed: int


def keep_nucleus(logits: Array, top_p: float | Array) -> Array:
    """Sets the logits [V] outside the nucleus to −∞.

    The nucleus is the smallest set of most likely symbols whose probabilities add up to at least
    `top_p`; it is never empty.
    """
    order = jnp.argsort(-logits)
    probabilities = jax.nn.softmax(logits)[order]
    before = jnp.cumsum(probabilities) - probabilities  # the sum over all more likely symbols
    kept = jnp.zeros(logits.shape, bool).at[order].set((before < top_p).at[0].set(True))
    return jnp.where(kept, logits, -jnp.inf)


@partial(jax.jit, static_argnums=0)
def _sample(
    model: CharacterModel,
    params: Any,
    state: Any,
    logits: Array,
    key: Array,
    options: SamplingOptions,
) -> tuple[Any, Array, Array]:
    """Samples a symbol [] from logits [V] and reads it. Returns: state, next logits, symbol."""
    greedy = options.temperature == 0
    scaled = logits / jnp.where(greedy, 1, options.temperature)
    drawn = jax.random.categorical(key, keep_nucleus(scaled, options.top_p))
    symbol = jnp.where(greedy, logits.argmax(), drawn)
    state, logits = model.read(params, state, symbol[None, None])
    return state, logits[0, 0], symbol


def sample_text(
    model: CharacterModel, params: Any, alphabet: str, prompt: str, options: SamplingOptions
) -> Iterator[str]:
    """Continues `prompt` without end, and yields each character as soon as it is sampled.

    Equal arguments give equal texts.

    Raises:
      ValueError: the prompt is empty or has unknown characters, or an option is out of range.
    """
    if not prompt:
        raise ValueError("The prompt is empty: expected at least one character to continue.")
    if not options.temperature >= 0:
        raise ValueError(f"The temperature is {options.temperature}: expected at least 0.")
    if not 0 < options.top_p <= 1:
        raise ValueError(f"`top_p` is {options.top_p}: expected more than 0, and at most 1.")
    symbols = jnp.asarray(encode(prompt, alphabet))

    def generate() -> Iterator[str]:
        state, logits = jax.jit(model.read)(params, model.initial_state(1), symbols[:, None])
        logits, key = logits[-1, 0], jax.random.key(options.seed)
        while True:
            key, step_key = jax.random.split(key)
            state, logits, symbol = _sample(model, params, state, logits, step_key, options)
            yield alphabet[int(symbol)]

    return generate()


def print_stream(characters: Iterable[str]) -> None:
    """Prints characters as they arrive. Stops without an error when the reader closes the pipe."""
    try:
        try:
            for character in characters:
                print(character, end="", flush=True)
        finally:
            print(flush=True)  # the shell's prompt starts on a new line, also after Ctrl-C
    except BrokenPipeError:
        # Otherwise Python would fail on exit, when it flushes the rest of the buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
