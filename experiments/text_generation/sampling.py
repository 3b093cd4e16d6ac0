"""Text drawn from a language model, character by character: temperature and nucleus sampling.

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


class Choice(NamedTuple):
    """How a character is chosen."""

    temperature: float  # logits are divided by it: below 1 bolder, above 1 more even
    top_p: float  # of the most likely characters so many that they have this probability together
    seed: int


def keep_nucleus(logits: Array, top_p: float | Array) -> Array:
    """Sets the logits [V] outside the nucleus to −∞.

    The nucleus is the smallest set of most likely symbols whose probabilities add up to at least
    `top_p`; it is never empty.
    """
    order = jnp.argsort(-logits)
    probabilities = jax.nn.softmax(logits)[order]
    before = jnp.cumsum(probabilities) - probabilities  # of all that are more likely
    kept = jnp.zeros(logits.shape, bool).at[order].set((before < top_p).at[0].set(True))
    return jnp.where(kept, logits, -jnp.inf)


@partial(jax.jit, static_argnums=0)
def _draw(
    model: CharacterModel, params: Any, state: Any, logits: Array, key: Array, choice: Choice
) -> tuple[Any, Array, Array]:
    """Draws a symbol [] from logits [V], and reads it. Returns: state, its logits, the symbol."""
    symbol = jax.random.categorical(key, keep_nucleus(logits / choice.temperature, choice.top_p))
    state, logits = model.read(params, state, symbol[None, None])
    return state, logits[0, 0], symbol


def draw_text(
    model: CharacterModel, params: Any, alphabet: str, prompt: str, choice: Choice
) -> Iterator[str]:
    """Goes on after `prompt` without end: each character comes as soon as it is drawn.

    Equal arguments give equal texts.

    Raises:
      ValueError: the prompt is empty or has unknown characters, or a choice is out of its range.
    """
    if not prompt:
        raise ValueError("The prompt is empty: expected at least one character to go on from.")
    if not choice.temperature > 0:
        raise ValueError(f"The temperature is {choice.temperature}: expected more than 0.")
    if not 0 < choice.top_p <= 1:
        raise ValueError(f"`top_p` is {choice.top_p}: expected more than 0, and at most 1.")
    symbols = jnp.asarray(encode(prompt, alphabet))

    def go_on() -> Iterator[str]:
        state, logits = jax.jit(model.read)(params, model.initial_state(1), symbols[:, None])
        logits, key = logits[-1, 0], jax.random.key(choice.seed)
        while True:
            key, now = jax.random.split(key)
            state, logits, symbol = _draw(model, params, state, logits, now, choice)
            yield alphabet[int(symbol)]

    return go_on()


def show(characters: Iterable[str]) -> None:
    """Prints characters as they come. A reader that closes the pipe ends it without an error."""
    try:
        try:
            for character in characters:
                print(character, end="", flush=True)
        finally:
            print(flush=True)  # after Ctrl-C, too, the shell's prompt has a line of its own
    except BrokenPipeError:
        # What is still in the buffer would be written, and fail, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
