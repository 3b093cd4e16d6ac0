"""Spoken digits from a small archive: reading, splitting, joining, and a user's files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.common.command import InputError
from experiments.speech import spoken_digits
from experiments.speech.digit_strings import FADE, Distortion, draw_strings, make_pool
from experiments.speech.spoken_digits import Utterances, read_cepstra, split_utterances
from experiments.speech_recognition.baselines import (
    nearest_neighbor,
    resample,
    support_vector_machine,
)
from tests.fixtures.archives.spoken_digits import make_utterances

DISTORTION = Distortion(speed=0.3, loudness=0.5, color=0.5, noise=0.5, masked=5.0)


def numbered(lengths: list[int]) -> Utterances:
    """Utterances whose frames hold the number of the utterance in every coefficient."""
    frames = np.zeros((len(lengths), max(lengths), 13), np.float32)
    for i, length in enumerate(lengths):
        frames[i, :length] = i + 1
    return Utterances(frames, np.array(lengths, np.int32), np.arange(len(lengths)) % 10)


@pytest.mark.usefixtures("spoken")
def test_utterances_are_read():
    frames, digits, lengths = make_utterances()
    utterances = spoken_digits.read_utterances()
    np.testing.assert_array_equal(utterances.digits, digits)
    np.testing.assert_array_equal(utterances.lengths, lengths)
    beginnings = np.cumsum(lengths) - lengths
    for i in (0, 7, len(digits) - 1):
        one = frames[beginnings[i] : beginnings[i] + lengths[i]]
        np.testing.assert_array_equal(utterances.frames[i, : lengths[i]], one)
        assert not utterances.frames[i, lengths[i] :].any()


@pytest.mark.usefixtures("spoken")
def test_the_corpus_is_standardized_by_its_training_part():
    corpus = spoken_digits.read_corpus()
    train = corpus.train
    valid = np.arange(train.frames.shape[1]) < train.lengths[:, None]
    np.testing.assert_allclose(train.frames[valid].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(train.frames[valid].std(0), 1, atol=1e-4)
    assert not train.frames[~valid].any()
    split = split_utterances(spoken_digits.read_utterances().digits)
    original = spoken_digits.read_utterances().select(split.test)
    length = corpus.test.lengths[0]
    restored = corpus.standardizer.restore(corpus.test.frames[0, :length])
    np.testing.assert_allclose(restored, original.frames[0, :length], rtol=1e-4, atol=1e-2)


@given(each=st.integers(10, 40), seed=st.integers(0, 5))
def test_no_utterance_is_in_two_parts(each, seed):
    digits = np.random.default_rng(seed).permutation(np.repeat(np.arange(10), each))
    split = split_utterances(digits, validation=0.1, test=0.2, seed=seed)
    assert sorted(np.concatenate(split)) == list(range(10 * each))
    for part, share in zip(split, (0.7, 0.1, 0.2), strict=True):
        counts = np.bincount(digits[part], minlength=10)
        assert len(set(counts)) == 1
        assert abs(counts[0] - share * each) <= 1


@pytest.mark.usefixtures("spoken")
def test_strings_use_utterances_of_their_part_only():
    corpus = spoken_digits.read_corpus()
    seen = []
    for part in (corpus.train, corpus.validation, corpus.test):
        part = part.select(np.arange(10))
        strings = draw_strings(jax.random.key(0), make_pool(part), 50, (3, 7), 128)
        numbers = np.unique(strings.utterances)
        seen.append({part.frames[i].tobytes() for i in numbers[numbers >= 0]})
        assert len(seen[-1]) > len(part.digits) / 2
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_a_string_cross_fades_its_utterances():
    pool = make_pool(numbered([9, 12, 6, 20]))._replace(quiet=jnp.zeros((1, 13)))
    strings = draw_strings(jax.random.key(3), pool, 40, (3, 7), 150)
    strings = jax.tree.map(np.asarray, strings)
    counts = (strings.digits >= 0).sum(1)
    assert set(counts) == {3, 4, 5, 6, 7}
    for frames, length, digits, utterances, ends in zip(*strings, strict=True):
        valid = digits >= 0
        assert np.all(valid == (np.arange(7) < valid.sum()))  # the valid digits come first
        np.testing.assert_array_equal(digits[valid], utterances[valid] % 10)
        assert not frames[length:].any()
        lengths = np.asarray(pool.lengths)[utterances[valid]]
        begins, ends = ends[valid] - lengths, ends[valid]
        assert np.all(begins[1:] >= ends[:-1])
        assert np.all(begins - np.append(0, ends[:-1]) <= 8)
        for utterance, begin, end in zip(utterances[valid], begins, ends, strict=True):
            np.testing.assert_allclose(frames[begin + 2 : end - 2], utterance + 1, atol=1e-5)
        for i in np.flatnonzero(begins[1:] == ends[:-1]):  # without a pause between
            shares = (np.array([-1.5, -0.5, 0.5, 1.5]) / FADE + 0.5).clip(0, 1)
            expected = utterances[i] + 1 + (utterances[i + 1] - utterances[i]) * shares
            np.testing.assert_allclose(frames[ends[i] - 2 : ends[i] + 2, 5], expected, atol=1e-5)


def test_strings_are_a_pure_function_of_the_key():
    pool = make_pool(numbered([9, 12, 6, 20]))
    draws = [draw_strings(jax.random.key(k), pool, 4, (7, 7), 90, DISTORTION) for k in (1, 1, 2)]
    jax.tree.map(np.testing.assert_array_equal, draws[0], draws[1])
    assert np.any(draws[0].frames != draws[2].frames)
    assert np.all((draws[0].digits >= 0).sum(1) < 7)  # not all of them fit
    assert np.all(draws[0].lengths <= 90)
    assert np.all(draws[0].ends <= 90)


def test_speed_stretches_and_shrinks():
    ones = numbered([20] * 10)
    pool = make_pool(ones._replace(frames=np.ones_like(ones.frames)))
    pool = pool._replace(quiet=jnp.zeros((1, 13)))
    distortion = Distortion(speed=0.3)
    strings = draw_strings(jax.random.key(0), pool, 100, (1, 1), 60, distortion)
    sounding = (np.asarray(strings.frames).mean(-1) > 0.5).sum(1)
    assert sounding.min() in (15, 16)
    assert sounding.max() in (26, 27)


def test_noise_and_masks():
    pool = make_pool(numbered([20] * 10))
    clean, noisy, masked = (
        draw_strings(jax.random.key(0), pool, 50, (5, 5), 150, distortion).frames
        for distortion in (Distortion(), Distortion(noise=0.5), Distortion(masked=10.0))
    )
    deviations = np.std(noisy - clean, (1, 2))
    assert deviations.max() < 0.55
    assert deviations.max() > 2 * deviations.min()
    zeros = np.all(masked[:, 10:100] == 0, -1)
    assert zeros.any()
    np.testing.assert_array_equal(masked[:, 10:100][~zeros], clean[:, 10:100][~zeros])


@pytest.mark.usefixtures("spoken")
def test_the_baselines_recognize_easy_digits():
    corpus = spoken_digits.read_corpus()
    for answer in (nearest_neighbor, support_vector_machine):
        assert np.mean(answer(corpus.train, corpus.test) == corpus.test.digits) > 0.9


def test_resample_keeps_the_ends():
    frames = np.arange(5.0)[:, None] * [1, 10]
    np.testing.assert_allclose(resample(frames, 9)[:, 1], np.arange(0, 45, 5))
    np.testing.assert_allclose(resample(frames, 2), [[0, 0], [4, 40]])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 12)), r"shape \(5, 12\); \[T, 13\] is expected"),
        (np.zeros(13), r"shape \(13,\)"),
        (np.full((3, 13), "a"), "dtype <U1; expected real numbers"),
        (np.zeros((3, 13), complex), "dtype complex128"),
    ],
)
def test_arrays_that_are_not_cepstra_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=message):
        read_cepstra(tmp_path / "a.npy")


def test_a_value_that_is_not_finite_is_named(tmp_path):
    array = np.zeros((9, 13))
    array[4, 2], array[7, 0] = np.nan, np.inf
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=r"nan in frame 4, coefficient 2.*2 of 9 frames"):
        read_cepstra(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.full((2, 13), 1e300))
    with pytest.raises(ValueError, match="inf in frame 0"):
        read_cepstra(tmp_path / "a.npy")


def test_files_that_are_not_arrays_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no file .*absent\.npy"):
        read_cepstra(tmp_path / "absent.npy")
    (tmp_path / "a.npy").write_text("rubbish")
    with pytest.raises(ValueError, match=r"a\.npy is not a \.npy file"):
        read_cepstra(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_text("")
    with pytest.raises(ValueError, match=r"not a \.npy file"):
        read_cepstra(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="several arrays"):
        read_cepstra(tmp_path / "a.npz")
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="not a"):
        read_cepstra(tmp_path / "a.npy")


def test_integers_and_empty_arrays_are_cepstra(tmp_path):
    for array in (np.ones((2, 13), int), np.zeros((0, 13))):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(read_cepstra(tmp_path / "a.npy"), array)
