"""The card games of POPGym: Repeat First, Repeat Previous, Autoencode and Count Recall.

Cards of shuffled decks are dealt one by one, and an answer about earlier ones earns a reward. The
sum of the rewards is 1 at best, and −1 at worst. Each episode ends with its deck.

Reference: Morad et al. 2023, "POPGym", https://arxiv.org/abs/2303.01859.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from experiments.memory_rl.environments.interface import Environment, Step, signed

SUITS, COLORS, DECK = 4, 2, 52
NEVER = jnp.bool_(False)


class Game(NamedTuple):
    """The state of a game with one deck."""

    cards: Array  # [N] int32, the suits in the order in which they are dealt
    step: Array  # [] int32, the number of steps that have been taken


@dataclass(frozen=True)
class SuitGame(Environment):
    """A game about the suits of `num_decks` shuffled decks."""

    num_decks: int = 1
    num_actions = SUITS
    optimum = 1.0

    @property
    def num_cards(self) -> int:
        """N, the number of cards in all decks."""
        return DECK * self.num_decks

    def draw(self, key: Array) -> Array:
        """Shuffles the decks: [N] suits, in the order in which they are dealt."""
        return jax.random.permutation(key, jnp.arange(self.num_cards) % SUITS)

    def begin(self, drawn: Array) -> tuple[Game, Array]:
        """Deals the first card."""
        state = Game(drawn, jnp.int32(0))
        return state, self._observe(state)

    def _observe(self, state: Game) -> Array:
        return jax.nn.one_hot(state.cards[state.step], SUITS)


@dataclass(frozen=True)
class RepeatFirst(SuitGame):
    """At every step, name the suit of the first card."""

    observation_size = SUITS

    @property
    def max_steps(self) -> int:
        """Each card but the first is dealt by a step."""
        return self.num_cards - 1

    def step(self, key: Array, state: Game, action: Array) -> Step:
        """Rewards an answer, and deals a card."""
        reward = signed(action == state.cards[0], 1 / self.max_steps)
        state = state._replace(step=state.step + 1)
        return Step(state, self._observe(state), reward, state.step == self.max_steps, NEVER)


@dataclass(frozen=True)
class RepeatPrevious(SuitGame):
    """Name the suit of the k-th last card; the card that is seen is the first of the k.

    There is no reward before k cards have been dealt.
    """

    k: int = 4
    observation_size = SUITS

    @property
    def max_steps(self) -> int:
        """Each card but the first is dealt by a step."""
        return self.num_cards - 1

    def step(self, key: Array, state: Game, action: Array) -> Step:
        """Rewards an answer, and deals a card."""
        asked = state.step - (self.k - 1)
        reward = signed(action == state.cards[asked], 1 / (self.num_cards - self.k))
        reward = jnp.where(asked >= 0, reward, 0.0)
        state = state._replace(step=state.step + 1)
        return Step(state, self._observe(state), reward, state.step == self.max_steps, NEVER)


@dataclass(frozen=True)
class Autoencode(SuitGame):
    """Watch all cards, then name their suits, the last one first."""

    observation_size = 2 + SUITS

    @property
    def max_steps(self) -> int:
        """N − 1 steps deal a card, and N ask for one."""
        return 2 * self.num_cards - 1

    def step(self, key: Array, state: Game, action: Array) -> Step:
        """Deals a card; or rewards an answer, once all cards are dealt."""
        asked = 2 * (self.num_cards - 1) - state.step
        is_play = asked < self.num_cards
        reward = signed(action == state.cards[asked], 1 / self.num_cards)
        state = state._replace(step=state.step + 1)
        observation = self._observe(state)
        return Step(
            state,
            observation,
            jnp.where(is_play, reward, 0.0),
            state.step == self.max_steps,
            NEVER,
        )

    def _observe(self, state: Game) -> Array:
        """Whether cards are dealt or asked for, and the card; while asked for, suit 0."""
        last = self.num_cards - 1
        mode = jnp.where(state.step >= last, 0, 1)
        suit = jnp.where(state.step > last, 0, state.cards[jnp.minimum(state.step, last)])
        return jnp.concatenate([jax.nn.one_hot(mode, 2), jax.nn.one_hot(suit, SUITS)])


class Count(NamedTuple):
    """The state of Count Recall."""

    values: Array  # [N] int32, the colors that are dealt
    queries: Array  # [N] int32, the colors that are asked for
    step: Array  # [] int32


@dataclass(frozen=True)
class CountRecall(Environment):
    """How many cards of the color that is asked for have been dealt?"""

    num_decks: int = 1
    observation_size = 2 * COLORS
    optimum = 1.0

    @property
    def num_cards(self) -> int:
        """N, the number of cards in the decks that are dealt."""
        return DECK * self.num_decks

    @property
    def num_actions(self) -> int:
        """The answers: from none to half of the cards."""
        return self.num_cards // COLORS + 1

    @property
    def max_steps(self) -> int:
        """Each card but the first is dealt by a step."""
        return self.num_cards - 1

    def draw(self, key: Array) -> tuple[Array, Array]:
        """Shuffles both decks: [2] arrays [N] of colors."""
        colors = jnp.arange(self.num_cards) % COLORS
        value_key, query_key = jax.random.split(key)
        return jax.random.permutation(value_key, colors), jax.random.permutation(query_key, colors)

    def begin(self, drawn: tuple[Array, Array]) -> tuple[Count, Array]:
        """Deals the first card of each deck."""
        state = Count(*drawn, jnp.int32(0))
        return state, self._observe(state)

    def step(self, key: Array, state: Count, action: Array) -> Step:
        """Rewards an answer, and deals a card of each deck."""
        is_dealt = jnp.arange(self.num_cards) <= state.step
        count = jnp.sum(is_dealt & (state.values == state.queries[state.step]))
        reward = signed(action == count, 1 / self.max_steps)
        state = state._replace(step=state.step + 1)
        return Step(state, self._observe(state), reward, state.step == self.max_steps, NEVER)

    def _observe(self, state: Count) -> Array:
        shown = jnp.stack([state.values[state.step], state.queries[state.step]])
        return jax.nn.one_hot(shown, COLORS).reshape(-1)
