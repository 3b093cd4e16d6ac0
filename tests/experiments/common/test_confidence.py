"""Calibrated confidence, and inputs that are unlike all training data."""

import numpy as np
import pytest
from scipy.special import log_softmax

from experiments.common.confidence import (
    calibrate,
    calibration_error,
    describe_answer,
    fit_familiarity,
    fit_temperature,
)


def overconfident(factor, number=20_000, classes=4) -> tuple[np.ndarray, np.ndarray]:
    """Logits `factor` times too large, and labels drawn from the true probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (number, classes))
    noise = rng.gumbel(size=logits.shape)
    return factor * logits, (logits + noise).argmax(-1)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_scale_of_the_logits(factor):
    logits, labels = overconfident(factor)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(factor, rel=0.05)
    assert calibration_error(calibrate(logits, temperature), labels) < 0.02
    # Log-probabilities differ from logits by a constant: the temperature is the same.
    assert fit_temperature(log_softmax(logits, -1), labels) == pytest.approx(temperature, rel=1e-4)


def test_calibration_keeps_the_order_of_the_answers_and_lowers_confidence():
    logits, labels = overconfident(3.0)
    before, after = calibrate(logits, 1.0), calibrate(logits, fit_temperature(logits, labels))
    np.testing.assert_array_equal(before.argmax(-1), after.argmax(-1))
    np.testing.assert_allclose(after.sum(-1), 1)
    assert calibration_error(before, labels) > 0.1
    assert after.max(-1).mean() < before.max(-1).mean()


def test_labels_that_are_always_right_give_a_finite_temperature():
    assert 0 < fit_temperature(np.eye(3), np.arange(3)) < 1


def test_an_unsure_answer_says_so():
    assert describe_answer(np.array([0.93, 0.066, 0.004]), "abc") == "a 93%, b 7%"
    assert describe_answer(np.array([0.25, 0.35, 0.4]), "abc", shown=2) == "unsure: c 40%, b 35%"


def test_inputs_of_another_kind_are_not_familiar():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(3, 40))  # three causes of forty correlated numbers

    def draw(number: int) -> np.ndarray:
        return rng.normal(size=(number, 3)) @ mixing + 0.1 * rng.normal(size=(number, 40))

    model = fit_familiarity(draw(500), draw(500))
    assert model.knows(draw(1000)).mean() == pytest.approx(0.99, abs=0.015)
    assert not model.knows(rng.normal(0, 2, (100, 40))).any()  # of the same size, uncorrelated
    assert not model.knows(5 * draw(100) + 40).any()
    saved = type(model)(**model._asdict())  # as a model's parameters
    np.testing.assert_array_equal(saved.distance(mixing), model.distance(mixing))


def test_few_right_answers_do_not_make_every_answer_certain():
    """With one made-up example beside five, no answer is more likely than 5/6 + 1/24."""
    logits, labels = np.eye(4)[[0, 1, 2, 3, 0]] * 3, np.array([0, 1, 2, 3, 0])
    certain, careful = (
        calibrate(logits, fit_temperature(logits, labels, prior)).max() for prior in (0, 1)
    )
    assert certain > 0.999
    assert careful == pytest.approx(5 / 6 + 1 / 24, abs=1e-3)
