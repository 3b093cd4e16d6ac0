"""Mixtures of language models: the weights that make a text most likely."""

import numpy as np

from experiments.text_generation.mixture import fit_weights


def test_weights_in_closed_form():
    # The first model is right in 70% of the places: p = 0.1 + 0.8 w is 0.7 there at w = 0.75.
    right = np.arange(1000) % 10 >= 7
    probabilities = np.where(np.arange(2)[:, None] == right, 0.9, 0.1)
    np.testing.assert_allclose(fit_weights(probabilities), [0.75, 0.25], atol=1e-3)


def test_no_other_weights_are_more_likely():
    probabilities = np.random.default_rng(0).uniform(0.05, 1, (3, 500))
    weights = fit_weights(probabilities)
    np.testing.assert_allclose(weights.sum(), 1)
    most = np.log(weights @ probabilities).sum()
    for other in np.random.default_rng(1).dirichlet(np.ones(3), 50):
        assert np.log((0.9 * weights + 0.1 * other) @ probabilities).sum() <= most + 1e-3
