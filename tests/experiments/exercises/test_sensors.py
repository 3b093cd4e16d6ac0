"""A motion sensor's windows: augmentation, features, models, and votes of a recording."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.transform import Rotation

from experiments.exercises.augmentation import Augmentation, draw_windows, mirror
from experiments.exercises.baselines import random_forest, window_features
from experiments.exercises.model import ExerciseClassifier, log_probabilities
from experiments.exercises.report import classify_recordings, compare_by_subject

RNG = np.random.default_rng(0)
SIGNALS = RNG.normal(size=(3, 80, 6)).astype(np.float32)
LENGTHS, STARTS = np.array([80, 60, 70]), np.array([0, 40, 13])


def draw(signals=SIGNALS, size=20, jitter=0, **changes):
    augmentation = Augmentation(**changes)
    return draw_windows(jax.random.key(1), signals, LENGTHS, STARTS, size, jitter, augmentation)


def test_unchanged_windows_are_cut():
    expected = [signal[start : start + 20] for signal, start in zip(SIGNALS, STARTS, strict=True)]
    np.testing.assert_allclose(draw(), expected, atol=1e-6)


@given(jitter=st.integers(0, 40), speed=st.floats(0, 0.4))
def test_windows_stay_inside_and_run_at_one_speed(jitter, speed):
    ramp = np.where(np.arange(80) < LENGTHS[:, None], np.arange(80), np.nan)
    windows = np.asarray(draw(np.repeat(ramp[..., None], 6, 2), 20, jitter, speed=speed))
    assert np.isfinite(windows).all()
    steps = np.diff(windows[..., 0], axis=1)
    np.testing.assert_allclose(steps, np.repeat(steps[:, :1], 19, 1), atol=1e-3)
    assert np.all(np.abs(np.log(steps[:, 0])) <= speed + 1e-4)
    # A faster movement has a higher angular velocity.
    np.testing.assert_allclose(
        windows[..., 3:], windows[..., :3] * steps[:, :1, None], rtol=1e-3, atol=1e-3
    )


def test_both_vectors_are_rotated_together():
    before, after = (np.asarray(draw(angle=angle)).reshape(3, 20, 2, 3) for angle in (0.0, 0.7))
    assert np.abs(after - before).max() > 0.3
    for one, other in zip(before, after, strict=True):
        dots = [np.einsum("tsi,uri->tsur", xs, xs) for xs in (one, other)]
        np.testing.assert_allclose(*dots, atol=1e-4)
        rotation, _ = Rotation.align_vectors(other.reshape(-1, 3), one.reshape(-1, 3))
        np.testing.assert_allclose(rotation.apply(one[:, 1]), other[:, 1], atol=1e-4)


def test_the_mirror_agrees_with_a_rotating_body():
    """In a mirror x -> -x, an angular velocity w moves r by M(w × r) = mirror(w) × M r."""
    r, w = RNG.normal(size=(2, 3))
    flip = np.array([-1.0, 1, 1])
    mirrored = np.asarray(mirror(jnp.asarray(np.concatenate([r, w]))))
    np.testing.assert_allclose(mirrored[:3], flip * r, rtol=1e-6)
    np.testing.assert_allclose(np.cross(mirrored[3:], flip * r), flip * np.cross(w, r), rtol=1e-5)
    np.testing.assert_allclose(draw(mirrored=1.0), mirror(draw()), atol=1e-6)


def test_features_match_the_libraries():
    windows = RNG.normal(size=(2, 100, 6))
    features = window_features(windows)
    x = windows[1, :, 4]
    expected = [
        x.mean(),
        x.std(),
        *np.percentile(x, [0, 25, 50, 75, 100]),
        stats.skew(x),
        stats.kurtosis(x),
        np.abs(np.diff(x)).mean(),
    ]
    np.testing.assert_allclose(features[1, 4 : 8 * len(expected) : 8], expected, rtol=1e-4)
    correlations = np.corrcoef(windows[1].T)[np.triu_indices(6, 1)]
    np.testing.assert_allclose(features[1, -15:], correlations, atol=1e-4)
    assert np.isfinite(window_features(np.zeros((1, 100, 6)))).all()


def test_the_forest_tells_rest_from_movement(monkeypatch):
    monkeypatch.setattr("experiments.exercises.baselines.TREES", 10)
    labels = np.arange(40) % 2
    windows = RNG.normal(size=(40, 100, 6)) * (0.1 + labels[:, None, None])
    found = random_forest(windows[:30], labels[:30], windows[30:], seed=0)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found.argmax(1), labels[30:])


@pytest.mark.parametrize("vote", [False, True])
def test_windows_classify_a_recording_together(vote):
    log_probs = np.log(np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.2, 0.8]]))
    recordings = np.array([0, 0, 0, 1])
    assert classify_recordings(log_probs, recordings, vote).tolist() == [int(vote), 1]


def test_the_difference_is_bootstrapped_over_subjects():
    subjects = np.repeat(np.arange(8), 5)
    first, second = RNG.random((2, 40)) < 0.5
    difference = compare_by_subject(first, second, subjects)
    assert difference.value == pytest.approx(first.mean() - second.mean())
    assert difference.low <= difference.value <= difference.high
    gaps = (first.astype(float) - second).reshape(8, 5).mean(1)
    rng = np.random.default_rng(1)
    means = [rng.choice(gaps, 8).mean() for _ in range(4000)]  # subjects one by one
    np.testing.assert_allclose(difference[1:], np.percentile(means, [2.5, 97.5]), atol=0.03)
    always = compare_by_subject(np.ones(40), np.zeros(40), subjects)
    assert always == (1.0, 1.0, 1.0)
    assert str(always) == "+100.0 points (+100.0 to +100.0)"


def test_networks_classify_each_window_alone():
    model = ExerciseClassifier(stride=4, hidden_size=8)
    windows = RNG.normal(size=(3, 40, 6)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    params = jax.jit(jax.vmap(lambda key: model.init(key, windows[:1], False)))(keys)
    found = log_probabilities(model, params, windows)
    assert found.shape == (2, 3, 7)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, rtol=1e-5)
    second = jax.tree.map(lambda leaf: leaf[1], params)
    alone = log_probabilities(model, jax.tree.map(lambda leaf: leaf[None], second), windows[2:])[0]
    np.testing.assert_allclose(found[1, 2:], alone, atol=1e-5)
