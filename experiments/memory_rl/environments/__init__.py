"""Environments that need memory, with one interface: pure `reset` and `step`, see `interface`.

`make_environment` builds one by name. Those of `gymnax_tasks` need gymnax: the extra `rl`, on
Python 3.11.
"""

from collections.abc import Callable

from experiments.memory_rl.environments import gymnax_tasks
from experiments.memory_rl.environments.cards import (
    Autoencode,
    CountRecall,
    RepeatFirst,
    RepeatPrevious,
)
from experiments.memory_rl.environments.chain import MemoryChain
from experiments.memory_rl.environments.control import CartPole, Pendulum
from experiments.memory_rl.environments.interface import Environment, Step

__all__ = ["ENVIRONMENTS", "Environment", "Step", "make_environment"]

ENVIRONMENTS: dict[str, Callable[[], Environment]] = {
    "repeat_first_easy": RepeatFirst,
    "repeat_previous_easy": RepeatPrevious,
    "repeat_previous_medium": lambda: RepeatPrevious(num_decks=2, k=32),
    "repeat_previous_hard": lambda: RepeatPrevious(num_decks=3, k=64),
    "autoencode_easy": Autoencode,
    "count_recall_easy": CountRecall,
    "cartpole": CartPole,
    "cartpole_full": lambda: CartPole(full=True),
    "pendulum": Pendulum,
    "pendulum_full": lambda: Pendulum(full=True),
    "umbrella_chain": gymnax_tasks.umbrella_chain,
    "bernoulli_bandit": gymnax_tasks.bernoulli_bandit,
    "meta_maze": gymnax_tasks.meta_maze,
}


def make_environment(name: str, memory_length: int = 64) -> Environment:
    """Builds an environment.

    Args:
      name: "memory_chain", or one of ENVIRONMENTS.
      memory_length: of the memory chain.

    Raises:
      ValueError: there is no such environment.
      ImportError: it needs gymnax, which is not installed.
    """
    if name == "memory_chain":
        return MemoryChain(memory_length)
    if name not in ENVIRONMENTS:
        names = ", ".join(["memory_chain", *ENVIRONMENTS])
        raise ValueError(f"`environment` must be one of {names}, got {name!r}.")
    return ENVIRONMENTS[name]()
