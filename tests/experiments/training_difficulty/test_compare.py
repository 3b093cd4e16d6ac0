"""What makes training difficult: the experiment on tiny settings, and how it counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.memory.tricks import TRICKS, Trick
from experiments.training_difficulty import compare as training_difficulty
from experiments.training_difficulty import report, tasks, training
from experiments.vision.digits import Digits
from grujax import sweep

SIZES = {"parameters": 40, "learning_rate": 1e-2, "batch_size": 4}


@pytest.fixture
def few_digits(monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 28, 28), np.uint8)
    few = Digits(images, np.repeat(np.arange(10, dtype=np.int32), 10))
    monkeypatch.setattr(tasks.digits, "read_digits", lambda: few)
    return few


@pytest.mark.slow
def test_the_experiment_runs_and_goes_on(tmp_path, capsys, monkeypatch, few_digits):
    monkeypatch.setattr(jax.config, "update", lambda *_: None)  # JAX has started already
    monkeypatch.setattr(training_difficulty, "CELL_NAMES", ("rnn", "gru"))
    names = ("plain", "chrono", "clipping")  # one program a cell and task
    monkeypatch.setattr(training_difficulty, "TRICKS", {name: TRICKS[name] for name in names})
    settings = training_difficulty.Settings(
        (4,), (), (784,), 4, 4, 2, every=2, seeds=2, parameters=40, batch_size=2, out=tmp_path
    )
    training_difficulty.main(settings)
    printed = capsys.readouterr().out
    assert "20 trainings" in printed
    for title in ("adding, T = 4:", "pixels, T = 784:", "All of them:"):
        assert title in printed
    assert "\nchrono" in printed
    figures = ("success", "tricks", "gradient_flow_adding", "gradient_flow_pixels")
    for name in (*(f"{figure}.png" for figure in figures), "table.csv", "sweep.npz"):
        assert (tmp_path / name).stat().st_size > 0

    before = sweep.SweepResult.load(tmp_path / "sweep.npz")
    sorted((tmp_path / "chunks").glob("chunk-*.npz"))[-1].unlink()
    training_difficulty.main(settings)  # what is gone runs again, to the same numbers
    assert capsys.readouterr().out == printed
    after = sweep.SweepResult.load(tmp_path / "sweep.npz")
    jax.tree.map(np.testing.assert_array_equal, after.metrics, before.metrics)
    monkeypatch.setattr(training, "train", None)  # everything is there already
    training_difficulty.main(settings)
    assert capsys.readouterr().out == printed


def easy_task(solved: float) -> tasks.Task:
    """To say the last input."""

    def draw(key, batch_size):
        xs = jax.random.uniform(key, (3, batch_size, 1))
        return xs, xs[-1:, :, 0]

    held_out = draw(jax.random.key(9), 64)
    return tasks.make_task("adding", 4)._replace(
        draw=draw, held_out=held_out, guessing=1 / 12, solved=solved
    )


def train(task, trick=TRICKS["plain"], cap=400, seed=0, **sizes):
    sizes = SIZES | sizes
    key = jax.random.key(seed)
    return training.train(key, task, "gru", trick, cap=cap, every=20, **sizes)


@pytest.mark.slow
def test_a_training_ends_when_its_task_is_solved():
    metrics = train(easy_task(0.5))
    errors, index = np.asarray(metrics["errors"]), int(metrics["updates"]) // 20
    assert 0 < index < 20
    assert metrics["solved"] == 1
    assert np.all(errors[: index - 1] >= 0.5)
    assert np.all(errors[index - 1 :] == metrics["error"])
    assert metrics["error"] < 0.5
    np.testing.assert_allclose(metrics["learned"], 1 - errors.clip(max=1).mean(), rtol=1e-5)
    never = train(easy_task(0.0), cap=60)
    assert (never["solved"], never["updates"]) == (0, 60)
    assert len(np.unique(never["errors"])) == 3


@pytest.mark.slow
def test_equal_seeds_begin_alike_and_a_loose_clip_changes_nothing():
    task = easy_task(0.0)
    plain = train(task, cap=40)
    assert np.array_equal(plain["errors"], train(task, Trick(max_gradient_norm=1e6), 40)["errors"])
    clipped = train(task, Trick(max_gradient_norm=1e-3), cap=40)
    assert np.any(clipped["errors"] != plain["errors"])
    np.testing.assert_array_equal(clipped["flow_before"], plain["flow_before"])
    assert plain["flow_before"].shape == (3,)
    assert plain["flow_before"][0] == plain["flow_after"][0] == 1
    assert np.any(plain["flow_before"] != plain["flow_after"])
    assert np.any(train(task, cap=40, seed=1)["errors"] != plain["errors"])


def test_a_training_that_explodes_ends_and_has_learned_nothing_more():
    metrics = train(easy_task(0.0), learning_rate=jnp.inf)
    assert np.isnan(metrics["error"])
    assert metrics["updates"] == 20
    assert (metrics["solved"], metrics["learned"]) == (0, 0)


def test_chance_is_what_guessing_gets(few_digits):
    for name, length in (("adding", 10), ("copy", 3), ("pixels", 784)):
        task = tasks.make_task(name, length)
        xs, targets = task.draw(jax.random.key(0), 2000)
        outputs = jnp.zeros((*targets.shape, task.num_outputs)) + (name == "adding")
        np.testing.assert_allclose(task.loss(outputs, targets), task.guessing, rtol=0.1)
        assert xs.shape[1] == 2000
        assert task.held_out[0].shape[::2] == xs.shape[::2]
    with pytest.raises(ValueError, match="must be one of"):
        tasks.make_task("reading", 5)


def test_pixels_are_those_of_their_labels(few_digits):
    xs, labels = tasks.make_task("pixels", 784).draw(jax.random.key(0), 20)
    pixels = np.rint(255 * np.asarray(xs[..., 0].T)).astype(int)
    everything = few_digits.images.reshape(100, 784)
    for row, label in zip(pixels, labels[0], strict=True):
        assert few_digits.labels[np.flatnonzero((everything == row).all(1))].tolist() == [label]


def test_what_the_cap_censors_is_said():
    def say(updates, solved, error):
        return report.describe_steps(np.array(updates), np.array(solved), np.array(error), cap=1500)

    assert say([600, 600], [True, True], [0.05, 0.05]) == "600"
    assert say([800, 550], [True, True], [0.05, 0.05]) == "550–800"
    assert say([1500, 700], [False, True], [0.9, 0.05]) == "700–>1,500"
    assert say([1500, 1500], [False, False], [0.96, 0.9]) == ">1,500: 93% left"
    assert say([50, 1500], [False, False], [np.nan, 0.9]) == ">1,500: diverged"


def test_effects_are_paired_by_seed():
    assert report.describe_effect(np.array([0.1, 0.3])) == "+20 ±14"
    assert report.describe_effect(np.array([-0.004])) == "+0"
    trials = training_difficulty.make_trials(training_difficulty.Settings(seeds=2))
    result = sweep.SweepResult(trials, {}, np.zeros(len(trials["seed"]), bool))
    index = report.index_trials(result)
    assert ("adding", 100, "rnn", "chrono") not in index
    assert sum(map(len, index.values())) == len(trials["seed"]) == 5 * (6 + 8 + 8) * 2
    for (task, length, cell, trick), places in index.items():
        assert trials["seed"][places].tolist() == [0, 1]
        assert set(trials["task"][places]) == {task}
        assert set(trials["length"][places]) == {length}
        assert set(trials["cell"][places]) == {cell}
        assert set(trials["zoneout"][places]) == {0.1 if trick == "zoneout" else 0.0}


def test_how_much_of_a_gradient_is_left():
    say = report.describe_flow
    assert say(np.array([1e-14, 1e-12]), np.array([0.1, 1.6])) == "1e-13 → 0.4"
    assert say(np.array([0.0, 0.0]), np.array([np.nan, 1.0])) == "<1e-37 → overflow"
