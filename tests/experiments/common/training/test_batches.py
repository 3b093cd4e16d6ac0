"""Mapping over batches."""

import jax.numpy as jnp
import numpy as np

from experiments.common import training


def test_map_batches_cuts_off_what_it_filled_up():
    xs = jnp.arange(14.0).reshape(7, 2)
    result = training.map_batches(
        lambda b: (b["x"].sum(-1), b["none"]), {"x": xs, "none": xs[:, :0]}, 3
    )
    np.testing.assert_array_equal(result[0], xs.sum(-1))
    assert result[1].shape == (7, 0)
