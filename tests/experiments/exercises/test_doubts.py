"""Recordings in other units, of a motionless watch, and of other movements are told apart."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.exercises.doubts import (
    check_units,
    fit_known_movements,
    is_moving,
    knows_movement,
)
from tests.fixtures.archives.wrist import make_recordings

G = 9.81


def make_windows() -> tuple[np.ndarray, np.ndarray]:
    """Two windows [100, 6] of each recording, and the fold of each."""
    data = make_recordings()
    windows = [signal[start : start + 100] for signal in data["X"] for start in (0, 100)]
    return np.stack(windows), np.repeat(data["subject"] % 5, 2)


def test_units():
    windows, _ = make_windows()
    signal = windows[0]
    check_units(Path("a.csv"), signal)
    for factors, message in (
        ((G, 1), r"a\.csv has a median acceleration of [\d.]+; .* m/s² are divided by 9\.81"),
        ((0.1, 1), "gravity must not be removed"),
        ((1, 180 / np.pi), r"angular velocities of \d+, .* degrees per second are multiplied"),
    ):
        with pytest.raises(InputError, match=message):
            check_units(Path("a.csv"), signal * np.repeat(factors, 3))


def test_a_watch_on_a_table_does_not_move():
    windows, _ = make_windows()
    still = np.random.default_rng(0).normal(0, 0.01, (3, 100, 6))
    still[..., 2] += 1
    assert is_moving(windows).all()
    assert not is_moving(still).any()


def test_other_movements_are_not_known():
    windows, folds = make_windows()
    fitted = json.loads(json.dumps(fit_known_movements(windows, folds)))
    assert knows_movement(fitted, windows).mean() > 0.98
    rng = np.random.default_rng(0)
    times = np.arange(100) / 50
    steps = np.zeros((3, 100, 6))  # someone runs
    steps[..., 2] = 1 + 1.5 * np.abs(np.sin(2 * np.pi * 3 * times))
    steps[..., 4] = 6 * np.sin(2 * np.pi * 3 * times)
    for other in (steps, rng.normal(size=(3, 100, 6)), G * windows[:3]):
        assert not knows_movement(fitted, other).any()
