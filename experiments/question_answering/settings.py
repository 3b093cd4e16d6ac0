"""The settings and flags of `experiments.question_answering`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from experiments.common.expectations import Expectations, Expected
from experiments.common.flags import (
    ALWAYS,
    MODE,
    TRAINING_MODE,
    CellName,
    DropoutRate,
    Flat,
    MonitorFlags,
    Needs,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ScaleFlags,
)
from experiments.common.parsing import check_values, has_no_effect
from experiments.question_answering.stories import TASKS, TaskName

STORY = "John went to the kitchen. John took the milk. John moved to the garden."


@dataclass(frozen=True)
class Settings:
    """The settings of a training."""

    # what reads words and sentences; another cell than a GRU has as many parameters
    cell: Annotated[CellName, ALWAYS] = "gru"
    tasks: tuple[TaskName, ...] = TASKS  # the kinds of questions
    hidden_size: PositiveInt = 64  # of word vectors, sentence vectors and memory
    passes: PositiveInt = 3  # of attention over the story
    num_examples: PositiveInt = 15_000  # training questions per task
    batch_size: PositiveInt = 64
    epochs: PositiveInt = 12
    learning_rate: PositiveFloat = 4e-3  # the peak: one epoch of warm-up, then a cosine
    weight_decay: NonNegativeFloat = 1e-4
    max_gradient_norm: PositiveFloat = 1.0
    dropout: DropoutRate = 0.1  # of the sentence vectors and of the last memory
    seed: NonNegativeInt = 0


QUICK = Settings(
    tasks=("one supporting fact", "two supporting facts", "yes or no"),
    hidden_size=32,
    batch_size=32,
    epochs=14,
    dropout=0.0,
)
OWN = Settings(batch_size=32, epochs=20)  # of the user's stories


@dataclass(frozen=True)
class Command:
    """Trains the network and compares it with baselines, or asks a trained one."""

    settings: Flat[Settings] = Settings()
    num_test: PositiveInt = 1000  # test and validation questions per task
    # three tasks, a small network
    quick: Annotated[bool, ALWAYS] = False
    # the output directory
    out: Annotated[Path, ALWAYS] = Path("runs/question_answering")
    # your own stories, questions and answers to train on: a table (CSV, TSV) or JSON lines
    train: Annotated[Path | None, TRAINING_MODE] = None
    # the names of its columns of stories, questions and answers
    columns: Annotated[tuple[str, str, str] | None, Needs("train")] = None
    # a question for the saved network, without training
    ask: Annotated[str | None, MODE] = None
    # the sentences about which to ask, each ended by a period
    story: Annotated[str, Needs("ask")] = STORY
    # the folder of a network that --train wrote
    model: Annotated[Path | None, Needs("ask")] = None
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if self.train:
            return replace(self, settings=OWN)
        return replace(self, settings=QUICK) if self.quick else self

    def expected(self) -> Expectations:
        """What a quick run reaches."""
        network, one, two = "episodic attention", "one supporting fact", "two supporting facts"
        return Expectations(
            (
                Expected(("bag of words", one), 0.405, 0.02),
                Expected((network, one), 1.0, 0.02),
                Expected((network, "yes or no"), 1.0, 0.02),
                Expected(("bag of words", two), 0.374, 0.02),
                Expected((network, two), 0.693, 0.31, judged=False),
            ),
            too_short=("how well two facts are found, as it differs from training to training",),
        )

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        check_values("tasks", self.settings.tasks)
        if self.train and (unused := given & {"quick", "num_test", "num_examples", "tasks"}):
            raise has_no_effect(min(unused), "train")
        if self.quick and self.model:
            raise has_no_effect("quick", "model")
