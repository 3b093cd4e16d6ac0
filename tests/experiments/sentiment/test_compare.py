"""The comparison of cells as classifiers of sentences."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from experiments.common.parsing import parse
from experiments.common.rivals.cells import RIVALS
from experiments.common.rivals.comparison import make_train
from experiments.common.rivals.settings import QUICK_COMPARISON, Comparison
from experiments.sentiment import train as sentiment
from experiments.sentiment import vader
from experiments.sentiment.compare import make_task
from grujax.sweep.contract import check_pure
from tests.helpers import chunk_times, read_results

SETTINGS = sentiment.Settings(
    embedding_size=8,
    hidden_size=8,
    max_tokens=12,
    subword_buckets=64,
    batch_size=16,
    epochs=2,
    num_phrases=0,
)


@pytest.mark.parametrize("cell", RIVALS)
def test_the_training_of_each_cell_is_pure(archive, cell):
    """A sweep traces it twice, and requires the same program."""
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, sentiment.NUM_FOLDS, validation_parts=8, seed=0)[0]
    task = make_task(SETTINGS, sentences, split)

    train = make_train(task)
    inputs = jax.random.key(0), jnp.float32(1e-3)
    shapes = check_pure(lambda key, rate: train(key, cell, rate), *inputs, name="train", advice="")
    assert shapes.keys() == {"validation", *task.figures}
    assert abs(task.parameters(cell) - task.parameters("gru")) < 0.15 * task.parameters("gru")


@pytest.mark.slow
def test_a_small_comparison(archive, tmp_path, capsys):
    rivals = Comparison(cells=("gru", "lstm"), learning_rates=(3e-3, 1e-2), seeds=2)
    settings = replace(SETTINGS, epochs=4)
    command = sentiment.Command(settings, compare=True, rivals=rivals, out=tmp_path)
    sentiment.main(command)
    printed = capsys.readouterr().out
    assert printed.startswith("8 trainings of 2 cells.")
    out = tmp_path / "compare"
    rows = read_results(out / "results.json")
    assert list(rows) == ["gru", "lstm", "lead"]
    for cell in rivals.cells:
        figures = rows[cell]["figures"]
        assert list(figures) == ["accuracy", "macro-F1"]
        assert all(len(figure["seeds"]) == 2 for figure in figures.values())
        assert 0.4 < figures["accuracy"]["mean"] <= 1
        assert rows[cell]["step microseconds"] is None  # it reads both ways
    before = chunk_times(out)
    sentiment.main(command)  # nothing is trained again
    assert chunk_times(out) == before
    assert read_results(out / "results.json")["lead"] == rows["lead"]


def test_quick_is_a_small_comparison():
    command = parse(sentiment.Command, "sentiment", None, ["--compare", "--quick"])
    assert command.rivals == QUICK_COMPARISON
    assert command.settings.hidden_size == 8


def test_cells_are_compared_without_the_linear_branch():
    command = parse(sentiment.Command, "sentiment", None, ["--compare"])
    assert command.settings == sentiment.Settings(ngram_buckets=0, num_phrases=0)
    assert command.rivals == Comparison()
