from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from grujax import sweep
from grujax.sweep import programs


def descend(key, rate):
    """Gradient descent on (w − 1)²; a curve that shows the key, too."""
    w = jax.lax.fori_loop(0, 4, lambda _, w: w - rate * 2 * (w - 1), 0.0)
    return {"loss": (w - 1) ** 2, "curve": jnp.stack([w, jax.random.normal(key)])}


@pytest.fixture
def search() -> Callable[..., Any]:
    """`sweep.search` with arguments that each test changes some of."""
    return partial(
        sweep.search,
        descend,
        {"rate": sweep.log_uniform(1e-3, 0.9)},
        trials=12,
        batch=4,
        key=jax.random.key(0),
        metric="loss",
        progress=False,
    )


@pytest.fixture
def compiled(monkeypatch):
    """The plans that are compiled."""
    plans, compile_one = [], programs._compile

    def note(train, plan):
        plans.append(plan)
        return compile_one(train, plan)

    monkeypatch.setattr(programs, "_compile", note)
    return plans
