"""Interpolation of padded sequences, against NumPy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from experiments.common.data.interpolation import interpolate


@given(length=st.integers(1, 8), seed=st.integers(0, 99))
def test_interpolation_ignores_the_padding(length, seed):
    rng = np.random.default_rng(seed)
    sequence = rng.normal(size=(8, 2)).astype(np.float32)
    sequence[length:] = np.nan
    positions = rng.uniform(-2, 10, 16).astype(np.float32)
    steps = np.arange(length)
    expected = [np.interp(positions, steps, column[:length]) for column in sequence.T]
    found = interpolate(sequence, length, positions)
    np.testing.assert_allclose(found, np.transpose(expected), atol=1e-5)
