"""Copy memory: its inputs and its targets."""

import jax
import numpy as np
import pytest

from experiments.memory import copy_memory
from experiments.memory.copy_memory import BLANK, MARK

draw = jax.jit(copy_memory.draw_batch, static_argnums=(1, 2, 3))


@pytest.mark.parametrize(("delay", "num_symbols"), [(0, 1), (1, 3), (20, 10)])
def test_symbols_then_blanks_then_the_marker(delay, num_symbols):
    xs, targets = draw(jax.random.key(0), delay, num_symbols, 200)
    steps = copy_memory.num_steps(delay, num_symbols)
    assert xs.shape == (steps, 200, copy_memory.INPUT_SIZE)
    np.testing.assert_array_equal(xs.sum(-1), 1)
    shown = np.asarray(xs).argmax(-1)
    np.testing.assert_array_equal(shown[:num_symbols], targets)
    pause = shown[num_symbols:]
    assert np.all(pause[delay] == MARK)
    assert np.all(np.delete(pause, delay, axis=0) == BLANK)
    # The answers are due at the last steps, the first of them at the marker.
    assert steps - num_symbols == num_symbols + delay


def test_symbols_are_equally_frequent():
    _, targets = draw(jax.random.key(0), 3, 10, 2000)
    shares = np.bincount(np.ravel(targets), minlength=copy_memory.ALPHABET) / targets.size
    assert len(shares) == copy_memory.ALPHABET
    np.testing.assert_allclose(shares, 1 / 8, atol=0.01)  # 20,000 draws: 4 standard deviations
