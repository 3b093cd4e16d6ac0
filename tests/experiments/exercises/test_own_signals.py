"""The user's recordings at one rate, cut at gaps, split, and standardized."""

import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.exercises.own_signals import estimate_rate, prepare, resample, window_samples
from experiments.exercises.own_tables import Stretch, Tables
from tests.fixtures.own.sensors import PITCH, move


def stretch(times, values, label="a", person="", recording="1") -> Stretch:
    return Stretch(np.asarray(times), np.asarray(values, float), label, person, recording)


def record(persons: int, labels=tuple(PITCH), seconds: float = 6, per_person: int = 1) -> Tables:
    stretches = [
        stretch(*move(label, seconds, seed=person), label, str(person), f"{person} {label} {take}")
        for person in range(persons)
        for label in labels
        for take in range(per_person)
    ]
    return Tables(stretches, ["x", "y", "z"], True, [])


@pytest.mark.parametrize(("rate", "expected"), [(50, 50), (49.97, 50), (12.5, 12.5), (400, 100)])
def test_the_rate_is_estimated(rate, expected):
    times = np.arange(600) / rate + np.random.default_rng(0).uniform(0, 0.1 / rate, 600)
    assert estimate_rate([stretch(times, np.ones((600, 1)))]) == expected


def test_irregular_times_are_interpolated():
    rng = np.random.default_rng(0)
    times = (np.arange(200) + rng.uniform(-0.4, 0.4, 200)) / 50
    (signal,) = resample(stretch(times, np.stack([times, np.sin(times)], 1)), rate=50)
    grid = times[0] + np.arange(len(signal)) / 50
    np.testing.assert_allclose(signal[:, 0], grid, atol=1e-9)
    np.testing.assert_allclose(signal[:, 1], np.sin(grid), atol=1e-3)


def test_a_fast_sensor_is_averaged():
    times = np.arange(4000) / 400
    noise = np.random.default_rng(0).normal(size=(4000, 1))
    (signal,) = resample(stretch(times, noise), rate=100)
    assert signal.std() == pytest.approx(0.5, rel=0.15)


def test_recordings_are_cut_at_gaps_but_not_at_single_missing_cells():
    times = np.arange(500) / 50
    values = np.stack([times, times], 1)
    values[100, 0] = np.nan  # one cell
    values[200:260, 1] = np.nan  # 1.2 seconds of one channel
    times = np.where(times >= 8, times + 30 * 86_400, times)  # a month between two rows
    parts = resample(stretch(times, values), rate=50)
    np.testing.assert_allclose([len(part) for part in parts], [200, 140, 100], atol=1)
    np.testing.assert_allclose(parts[0][100], [2, 2])


def test_sensors_that_take_turns():
    """An app that writes a row at each event leaves the cells of the other sensor empty."""
    times = np.arange(400) / 100
    values = np.stack([np.where(np.arange(400) % 2, np.nan, times), times], 1)
    values[::2, 1] = np.nan
    turns = stretch(times, values)
    assert estimate_rate([turns]) == 50
    (signal,) = resample(turns, rate=50)
    np.testing.assert_allclose(signal[1:-1, 0], signal[1:-1, 1])


def test_parts_share_no_person_and_are_standardized_by_the_training_part():
    data = prepare(record(persons=6), window=2)
    assert (data.rate, data.size, data.names) == (50, 100, sorted(PITCH))
    parts = [set(data.groups[part]) for part in data.split]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 6
    train = data.pieces.select(data.split.train)
    seen = np.concatenate([x[:n] for x, n in zip(train.signals, train.lengths, strict=True)])
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(0), 1, atol=1e-4)
    restored = data.scale.restore(seen)
    assert restored[:, 2].mean() == pytest.approx(9.81, abs=0.1)
    assert data.notes == ["50 samples per second; a window has 100 of them."]


def test_long_recordings_become_pieces_of_one_recording():
    tables = record(persons=5, labels=("circle", "lift"), seconds=50)
    data = prepare(tables._replace(has_persons=False), window=2)
    counts = np.unique(data.pieces.subjects, return_counts=True)[1]
    assert counts.tolist() == [2] * 10
    assert set(data.groups[data.split.train]).isdisjoint(data.groups[data.split.test])


def test_equal_recordings_are_in_one_part():
    tables = record(persons=6, per_person=2)._replace(has_persons=False)  # each twice
    data = prepare(tables, window=2)
    number = len(data.pieces.lengths)
    assert data.notes[-1].startswith(f"{number // 2} pieces repeat another one; equal ones are in")
    signals = [{x.tobytes() for x in data.pieces.select(part).signals} for part in data.split]
    assert len(set.union(*signals)) == sum(map(len, signals)) == number // 2


def test_what_is_refused():
    few = record(persons=2)
    with pytest.raises(
        InputError, match="label 'circle' has 2 persons with a whole window; at lea"
    ):
        prepare(few, window=2)
    with pytest.raises(InputError, match=r"'circle' has 4 recordings .* at least 5 are needed"):
        prepare(record(persons=4)._replace(has_persons=False), window=2)
    with pytest.raises(InputError, match="have one label, 'lift'; at least two labels are needed"):
        prepare(record(persons=5, labels=("lift",)), window=2)
    with pytest.raises(InputError, match="have no label with a whole window"):
        prepare(record(persons=5), window=20)
    constant = record(persons=5)
    for part in constant.stretches:
        part.values[:, 1] = 3
    with pytest.raises(InputError, match="Channel 'y' is constant, 3: name the others with `--col"):
        prepare(constant, window=2)
    with pytest.raises(InputError, match=r"A window of 0\.1 seconds has 5 samples at 50 a second;"):
        window_samples(0.1, 50)
    with pytest.raises(InputError, match="The recordings are single rows"):
        estimate_rate([stretch([0.0], [[1.0]])])
