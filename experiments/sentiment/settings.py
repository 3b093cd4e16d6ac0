"""The settings and flags of `experiments.sentiment`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from experiments.common.flags import (
    ALWAYS,
    MODE,
    TRAINING_MODE,
    CellName,
    DropoutRate,
    Export,
    Flat,
    MonitorFlags,
    Needs,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Range,
    ScaleFlags,
)
from experiments.common.parsing import has_no_effect
from experiments.common.rivals.settings import QUICK_COMPARISON, Comparison, require_gru

COMMAND = "python -m experiments.sentiment"
MODEL = "model.msgpack"
NUM_FOLDS = 5


@dataclass(frozen=True)
class Settings:
    """The settings of a training."""

    # what reads the words; another cell than a GRU has as many parameters
    cell: Annotated[CellName, ALWAYS] = "gru"
    embedding_size: PositiveInt = 48  # of words, prefixes and suffixes, which are added
    hidden_size: PositiveInt = 64  # of the GRU, in each direction
    num_layers: PositiveInt = 1  # of bidirectional GRUs
    max_tokens: PositiveInt = 40  # longer sentences, 3% of them, are truncated
    subword_buckets: PositiveInt = 16384  # of the hashed prefixes and suffixes
    # of hashed words and pairs, and as many of character n-grams; 0 leaves out their linear branch
    ngram_buckets: NonNegativeInt = 32768
    batch_size: PositiveInt = 64
    epochs: PositiveInt = 3  # at most
    patience: PositiveInt = 3  # epochs without a better validation score
    learning_rate: PositiveFloat = 2e-3  # the peak: one epoch of warm-up, then a cosine
    weight_decay: NonNegativeFloat = 0.02
    max_gradient_norm: PositiveFloat = 1.0
    dropout: DropoutRate = 0.5  # of embeddings, GRU outputs, the pooled vector and n-grams
    token_dropout: DropoutRate = 0.25  # share of words read as unknown; half as many are zeroed
    label_width: PositiveFloat = 0.35  # sd, in rating units, of the noise that softens the labels
    class_balance: NonNegativeFloat = 1.0  # 1: all classes weigh the same; 0: all texts do
    rating_weight: NonNegativeFloat = 0.3  # of the squared error of the predicted mean rating
    film_weight: NonNegativeFloat = 0.3  # the same on 10,605 rated film snippets; 0 leaves them out
    phrase_weight: NonNegativeFloat = 0.25  # of phrases drawn from a grammar in the loss
    num_phrases: NonNegativeInt = 6000  # 0 leaves them out

    @staticmethod
    def of(record: dict[str, Any]) -> "Settings":
        """The settings of a saved model; older ones than the n-grams have none."""
        return Settings(**{"ngram_buckets": 0} | record["settings"])


# Of the user's texts, which may be few, and have no ratings.
OWN = Settings(
    batch_size=16,
    epochs=20,
    patience=6,
    rating_weight=0.0,
    film_weight=0.0,
    num_phrases=0,
    class_balance=0.0,
)
# Of --compare: without the linear branch, which is the same for all and hides what a cell does, and
# with real sentences alone.
COMPARED = Settings(ngram_buckets=0, num_phrases=0)
QUICK_COMPARED = Settings(  # with --quick
    embedding_size=8,
    hidden_size=8,
    max_tokens=12,
    subword_buckets=256,
    ngram_buckets=0,
    epochs=1,
    film_weight=0.0,
    num_phrases=0,
)
Columns = tuple[str, str]  # the names of the columns of texts and labels


@dataclass(frozen=True)
class Command:
    """Trains and compares the classifiers, or applies a trained one."""

    settings: Flat[Settings] = Settings()
    folds: Annotated[int, Range(1, NUM_FOLDS)] = 1  # of the five folds
    seeds: PositiveInt = 1  # trainings per fold and kind of input
    out: Annotated[Path, ALWAYS] = Path("runs/sentiment")  # the output directory
    # your own texts and labels to train on: a table (CSV, TSV) or JSON lines
    train: Annotated[Path | None, TRAINING_MODE] = None
    # the names of its columns of texts and labels
    columns: Annotated[Columns | None, Needs("train")] = None
    # train and test other cells and a Transformer, at equal parameters, beside the GRU
    compare: Annotated[bool, TRAINING_MODE] = False
    rivals: Annotated[Comparison, Needs("compare")] = Comparison()  # what is compared
    # compare small networks after an epoch, to try it out
    quick: Annotated[bool, Needs("compare")] = False
    # a text to classify with the saved model, without training
    predict: Annotated[str | None, MODE] = None
    # write the saved model as a file for onnxruntime, without training
    export: Export = None
    # the folder of a model that --train wrote
    model: Annotated[Path | None, Needs("predict", "export")] = None
    scale: Flat[ScaleFlags] = ScaleFlags()  # where and how it trains
    common: Flat[MonitorFlags] = MonitorFlags()  # how it is watched

    def presets(self) -> "Command":
        """The defaults of the flags that are not given."""
        if self.train:
            return replace(self, settings=OWN)
        if self.quick:
            return replace(self, settings=QUICK_COMPARED, rivals=QUICK_COMPARISON)
        return replace(self, settings=COMPARED) if self.compare else self

    def check(self, given: frozenset[str]) -> None:
        """Raises InputError if flags do not fit together."""
        if self.export:
            require_gru(self.settings.cell, "--export")
        if self.compare:
            self.rivals.check(given, ("cell", "folds", "seeds"))
        unused = given & {"folds", "seeds", "label_width", "rating_weight", "film_weight"}
        unused |= given & {"phrase_weight", "num_phrases"}
        if self.train and unused:
            raise has_no_effect(min(unused), "train")
