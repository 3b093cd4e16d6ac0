"""Resets from dones, and rollouts cut into sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import grujax
from grujax.rollouts import join_sequences, resets_from_dones, split_sequences
from tests.helpers import assert_equal

sizes = st.integers(1, 4)


def test_the_state_is_reset_before_the_step_after_a_done():
    dones = np.array([[0, 1], [1, 0], [0, 1]], bool)
    want = [[True, False], [False, True], [True, False]]
    first = np.array([True, False])
    assert resets_from_dones(dones, first).tolist() == want
    assert resets_from_dones(dones.astype("float32"), first.astype(int)).tolist() == want


def test_two_rollouts_give_the_resets_of_the_whole():
    dones = np.random.default_rng(0).random((8, 3)) < 0.4
    whole = resets_from_dones(dones, True)
    parts = [resets_from_dones(dones[:5], True), resets_from_dones(dones[5:], dones[4])]
    assert_equal(np.concatenate(parts), whole)


def test_a_network_forgets_the_previous_episode():
    params = grujax.init_gru(jax.random.key(0), 2, 4)
    xs = np.random.default_rng(1).normal(size=(6, 2)).astype("float32")
    resets = resets_from_dones(np.arange(6) == 2, True)
    _, hs = grujax.gru(params, xs, resets=resets)
    _, alone = grujax.gru(params, xs[3:])
    np.testing.assert_allclose(hs[3:], alone, atol=1e-6)


def test_no_steps_and_no_batch():
    assert resets_from_dones(np.zeros((0, 2), bool), True).shape == (0, 2)
    assert resets_from_dones(np.zeros(3, bool), True).tolist() == [True, False, False]


@settings(max_examples=10)
@given(length=sizes, parts=sizes, batch=sizes)
def test_sequences_are_contiguous_and_join_again(length, parts, batch):
    steps = length * parts
    xs = {
        "x": np.arange(steps * batch * 2, dtype="int32").reshape(steps, batch, 2),
        "done": np.ones((steps, batch), bool),
    }
    cut = split_sequences(xs, length)
    assert cut["x"].shape == (length, parts * batch, 2)
    for part in range(parts):
        for row in range(batch):
            want = xs["x"][part * length : (part + 1) * length, row]
            assert_equal(cut["x"][:, part * batch + row], want)
    assert_equal(join_sequences(cut, steps), xs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resets_from_dones(True, True), r"`dones` must have shape \[T, B\]"),
        (
            lambda: resets_from_dones(np.ones((3, 2)), np.ones(3)),
            r"`first` has shape \[3\] .* axes \[2\] of `dones`",
        ),
        (lambda: split_sequences(jnp.ones((6, 2)), 4), "`length` must divide the 6 steps .* got 4"),
        (lambda: split_sequences(jnp.ones(6), 3), r"arrays \[T, B, ...\], got one of shape \[6\]"),
        (lambda: join_sequences(jnp.ones((3, 3)), 6), "`steps` must be a multiple of the length 3"),
        (lambda: join_sequences(jnp.ones((4, 4)), 6), "`steps` must be a multiple of the length 4"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
