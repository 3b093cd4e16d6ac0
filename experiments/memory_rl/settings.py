"""The settings and flags of `experiments.memory_rl`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from experiments.common.command import InputError
from experiments.common.expectations import Expectations, Expected
from experiments.common.flags import (
    ALWAYS,
    MODE,
    Flat,
    Fraction,
    MonitorFlags,
    Needs,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ScaleFlags,
)
from experiments.common.parsing import spell

EnvironmentName = Literal[
    "memory_chain",
    "repeat_first_easy",
    "repeat_previous_easy",
    "repeat_previous_medium",
    "repeat_previous_hard",
    "autoencode_easy",
    "count_recall_easy",
    "cartpole",
    "cartpole_full",
    "pendulum",
    "pendulum_full",
    "umbrella_chain",
    "bernoulli_bandit",
    "meta_maze",
]
CellName = Literal["gru", "rnn", "lstm", "layer_norm_gru", "min_gru", "none", "frames"]


@dataclass(frozen=True)
class Settings:
    """What determines a trained agent."""

    environment: Annotated[EnvironmentName, ALWAYS] = "memory_chain"  # see `environments`
    memory_length: Annotated[PositiveInt, ALWAYS] = 64  # of the memory chain
    cell: Annotated[CellName, ALWAYS] = "gru"  # none: no memory; frames: the last observations
    frames: PositiveInt = 4  # that "frames" sees
    hidden_size: PositiveInt = 64
    chrono: bool = True  # the GRU's update gates start with memories up to a rollout's length
    num_envs: PositiveInt = 32  # B
    steps: PositiveInt = 130  # T, of a rollout
    updates: PositiveInt = 80  # rollouts
    updates_per_epoch: PositiveInt = 10  # between two records and checkpoints
    passes: PositiveInt = 4  # over each rollout
    minibatches: PositiveInt = 4
    learning_rate: NonNegativeFloat = 1e-3  # falls linearly to 0
    discount: Fraction = 0.99
    gae_lambda: Fraction = 0.95
    clip: PositiveFloat = 0.2
    entropy_cost: NonNegativeFloat = 0.01
    value_cost: NonNegativeFloat = 0.5
    max_gradient_norm: PositiveFloat = 0.5


QUICK_EXPECTED = Expectations(
    (
        Expected(("gru", "returns", 0), 1.0, 0.1),
        Expected(("no memory", "returns", 0), -0.03, 0.2),
        Expected(("last 4 observations", "returns", 0), -0.03, 0.2),
    )
)


@dataclass(frozen=True)
class Command:
    """Trains agents with and without memory, or plays an episode with a trained one."""

    settings: Flat[Settings] = Settings()
    seeds: PositiveInt = 5
    lengths: tuple[PositiveInt, ...] = ()  # memory lengths to compare, of the memory chain
    # a memory chain of 8 steps, one seed
    quick: Annotated[bool, ALWAYS] = False
    # the folder for all output
    out: Annotated[Path, ALWAYS] = Path("runs/memory_rl")
    # print an episode of the trained agent of --cell instead
    play: Annotated[bool, MODE] = False
    play_seed: Annotated[NonNegativeInt, Needs("play")] = 0  # of that episode
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if not self.quick:
            return self
        settings = replace(self.settings, memory_length=8, steps=36, updates=60, num_envs=16)
        return replace(self, settings=settings, seeds=1)

    def expected(self) -> Expectations:
        """What a quick run reaches."""
        return QUICK_EXPECTED

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        if self.settings.environment != "memory_chain":
            for name in ("lengths", "memory_length"):
                if name in given:
                    raise InputError(
                        f"{spell(name)} belongs to the memory chain: leave it out, or choose "
                        "--environment memory_chain."
                    )
        elif self.lengths and "memory_length" in given:
            raise InputError("--lengths and --memory-length exclude each other: give one of them.")
