"""The flip-flop task."""

import jax
import numpy as np

from experiments.flip_flop.data import draw_sequences


def test_memory_is_the_sign_of_the_last_pulse():
    drawn = jax.jit(draw_sequences, static_argnums=(1, 2))(jax.random.key(0), 5, 40, 0.2)
    pulses, memory = map(np.asarray, drawn)
    assert pulses.shape == memory.shape == (5, 40, 3)
    assert 0.1 < np.mean(pulses[:, 1:] != 0) < 0.3
    want = np.zeros((5, 3))
    for t in range(40):
        want = np.where(pulses[:, t] != 0, pulses[:, t], want)
        np.testing.assert_array_equal(memory[:, t], want)
    assert set(np.unique(memory)) == {-1.0, 1.0}
