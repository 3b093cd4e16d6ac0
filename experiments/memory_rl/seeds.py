"""Several seeds of one training side by side, as one training for the loop."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from experiments.common import training


def side_by_side(plan: training.Training, seeds: int) -> training.Training:
    """Runs `plan` with several keys, split from one; it must not end early.

    The final state of seed i has index i in every array of `state.carried`. The metrics of seed i
    are `NAME_i`; `NAME` is the mean.
    """

    def init(key: Array) -> training.TrainState:
        own_key, key = jax.random.split(key)
        states = jax.vmap(plan.init)(jax.random.split(key, seeds))
        return training.TrainState(
            params=(),
            optimizer_state=(),
            key=own_key,
            epoch=jnp.int32(0),
            best_params=(),
            best_score=jnp.float32(-jnp.inf),
            epochs_since_best=jnp.int32(0),
            carried=states,
        )

    def epoch(state: training.TrainState, scale: Any = None):
        states, metrics = jax.vmap(lambda one: plan.epoch(one))(state.carried)
        means = {name: values.mean() for name, values in metrics.items()}
        single = {f"{name}_{i}": x[i] for name, x in metrics.items() for i in range(seeds)}
        # The last epoch counts, so that none is chosen by its returns.
        state = training.end_epoch(state._replace(carried=states), state.epoch.astype(float))
        return state, means | single

    return training.Training(init, epoch, plan.epochs, patience=plan.epochs)
