"""The tasks: what is asked, and that streams go on from window to window."""

import jax
import numpy as np
import pytest

from experiments.online_learning import tasks
from experiments.online_learning.settings import Settings
from experiments.vision.digits import Digits

SETTINGS = Settings(copy_delay=3, copy_symbols=2, adding_steps=6, window=4, recall_lag=7)
ROWS, NUM = 3, 5


def draw(name: str) -> tuple[tasks.Task, tasks.Window]:
    task = tasks.make_task(name, SETTINGS)
    windows = task.draw("train", jax.random.key(0), NUM, ROWS)
    return task, jax.tree.map(np.asarray, windows)


@pytest.fixture
def few_digits(monkeypatch):
    """100 pictures of one gray each, which is 10 times the class."""
    labels = np.repeat(np.arange(10, dtype=np.int32), 10)
    images = np.broadcast_to((10 * labels).astype(np.uint8)[:, None, None], (100, 28, 28))
    monkeypatch.setattr(tasks.digits, "read_digits", lambda: Digits(images, labels))


@pytest.mark.parametrize("name", ["copy", "adding", "digits", "flip_flop", "recall"])
def test_windows_have_the_sizes_of_the_task(name, few_digits):
    task, windows = draw(name)
    assert windows.xs.shape == (NUM, task.steps, ROWS, task.input_size)
    assert windows.targets.shape[:3] == windows.weights.shape == (NUM, task.steps, ROWS)
    joined = tasks.join(windows, task.is_stream)
    axes = (NUM * task.steps, ROWS) if task.is_stream else (task.steps, NUM * ROWS)
    assert joined.xs.shape == (*axes, task.input_size)
    outputs = np.zeros((*axes, task.num_outputs), np.float32)
    assert task.losses(outputs, joined.targets).shape == axes
    assert task.errors(outputs, joined.targets).shape == axes
    if name != "recall":  # where not every window asks
        np.testing.assert_allclose(windows.weights.sum(1), 1, rtol=1e-6)


def test_recall_asks_for_the_last_bit_after_the_lag():
    _, windows = draw("recall")
    stream = tasks.join(windows, True)
    asked = np.argwhere(stream.weights > 0)
    assert len(asked) > 3
    for time, row in asked:
        bit, is_shown, _ = stream.xs[time - SETTINGS.recall_lag + 1, row]
        assert is_shown
        assert abs(bit) == 1
        assert stream.targets[time, row] == bit
        between = stream.xs[time - SETTINGS.recall_lag + 2 : time + 1, row]
        assert not between[:, :2].any()
        np.testing.assert_array_equal(np.flatnonzero(between[:, 2]), len(between) - 1)


def test_the_flip_flop_remembers_across_windows():
    _, windows = draw("flip_flop")
    stream = tasks.join(windows, True)
    memory = np.zeros_like(stream.xs[0])
    for pulses, target in zip(stream.xs, stream.targets, strict=True):
        memory = np.where(pulses != 0, pulses, memory)
        np.testing.assert_array_equal(target, memory)


@pytest.mark.parametrize("name", ["flip_flop", "recall"])
def test_a_network_that_diverged_is_not_right(name):
    task, windows = draw(name)
    outputs = np.full((*windows.weights.shape, task.num_outputs), np.nan, np.float32)
    assert np.all(task.errors(outputs, windows.targets) == 1)


def test_joined_sequences_keep_their_answers():
    _, windows = draw("copy")
    joined = tasks.join(windows, False)
    symbols = SETTINGS.copy_symbols
    answers = np.where(joined.weights > 0, joined.targets, -1)[-symbols:]
    np.testing.assert_array_equal(answers, joined.xs[:symbols].argmax(-1))


def test_digits_keep_their_classes_and_the_splits_are_disjoint(few_digits, monkeypatch):
    task, windows = draw("digits")
    gray = windows.xs[:, 0, :, 0] * 255
    np.testing.assert_allclose(gray, 10 * windows.targets[:, -1], rtol=1e-5)
    labels = np.repeat(np.arange(10, dtype=np.int32), 10)
    images = np.zeros((100, 28, 28), np.uint8)
    images[:, 0, :2] = images[:, 1, :2] = np.arange(100)[:, None]  # the first pixel: which one
    monkeypatch.setattr(tasks.digits, "read_digits", lambda: Digits(images, labels))
    task = tasks.make_task("digits", SETTINGS)
    seen = [
        set(np.ravel(task.draw(split, jax.random.key(1), 50, 4).xs[:, 0, :, 0]))
        for split in ("train", "validation", "test")
    ]
    assert all(seen)
    assert len(set.union(*seen)) == sum(map(len, seen))
