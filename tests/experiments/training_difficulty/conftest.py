import numpy as np
import pytest

from experiments.training_difficulty import tasks
from experiments.vision.digits import Digits


@pytest.fixture
def few_digits(monkeypatch):
    """100 random images in place of the real ones."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 28, 28), np.uint8)
    few = Digits(images, np.repeat(np.arange(10, dtype=np.int32), 10))
    monkeypatch.setattr(tasks.digits, "read_digits", lambda: few)
    return few
