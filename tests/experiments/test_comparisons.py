"""The comparisons of cells on characters, images and the adding problem, on small made-up data."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.rivals.cells import RIVALS
from experiments.common.rivals.comparison import SCORE, Task, compare, make_train
from experiments.common.rivals.settings import Comparison
from experiments.images import compare as images
from experiments.images.settings import CELL
from experiments.sweep_adding import compare as adding
from experiments.sweep_adding.settings import Compared
from experiments.text_generation import compare as text_generation
from experiments.text_generation.prose import read_corpus
from experiments.text_generation.settings import Settings
from experiments.vision.digits import Digits, split_three_ways
from grujax.sweep.contract import check_pure
from tests.helpers import read_results


def characters() -> Task:
    """The made-up Bible, by few parameters."""
    settings = Settings(parameters=1500, batch_size=4, steps=8, passes=2, parts=2)
    return text_generation.make_task(settings, read_corpus("bible", (0.2, 0.1)))


def rows_of_images() -> Task:
    """Random images, of which each class is brighter than the one before."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10, dtype=np.int32), 20)
    shown = rng.integers(0, 30, (200, 28, 28)) + 20 * labels[:, None, None]
    data = split_three_ways(Digits(shown.astype(np.uint8), labels))
    return images.make_task(replace(CELL, epochs=2), data)


def sums() -> Task:
    """The adding problem at T = 4."""
    return adding.make_task(Compared(steps=4, parameters=4000, batch_size=8, updates=8, epochs=2))


TASKS = {"characters": characters, "images": rows_of_images, "adding": sums}


@pytest.fixture(params=TASKS.values(), ids=TASKS)
def task(request, books) -> Task:
    make: Callable[[], Task] = request.param
    return make()


@pytest.mark.parametrize("cell", RIVALS)
def test_a_training_is_pure_and_at_equal_parameters(task, cell):
    """A sweep traces it twice, and requires the same program."""
    train = partial(make_train(task), cell=cell)
    shapes = check_pure(
        lambda key, rate: train(key, learning_rate=rate),
        jax.random.key(0),
        jnp.float32(1e-3),
        name="train",
        advice="",
    )
    assert shapes.keys() == {SCORE, *task.figures}
    assert all(shape.shape == () for shape in shapes.values())
    assert abs(task.parameters(cell) / task.parameters("gru") - 1) < 0.15


@pytest.mark.slow
def test_a_small_comparison(task, tmp_path, capsys):
    plan = Comparison(cells=("gru", "transformer"), learning_rates=(3e-3, 1e-2, 3e-2), seeds=2)
    compare(task, plan, tmp_path)
    assert capsys.readouterr().out.startswith("10 trainings of 2 cells.")
    rows = read_results(tmp_path / "results.json")
    assert list(rows) == ["gru", "transformer", "lead"]
    for cell in plan.cells:
        assert rows[cell]["figures"].keys() == task.figures.keys()
        assert all(len(figure["seeds"]) == 2 for figure in rows[cell]["figures"].values())
        tuning = {float(rate): score for rate, score in rows[cell]["tuning"].items()}
        assert min(tuning) < rows[cell]["learning rate"] < max(tuning)
        assert rows[cell]["seconds"] > 0
        assert rows[cell]["step microseconds"] > 0
