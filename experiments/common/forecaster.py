"""A network that corrects a linear forecast: GRUs read what came before, and give quantiles.

The forecasts of several networks, which differ in their initial weights, are averaged. An untrained
one says what the linear forecast says.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common import training
from experiments.common.quantiles import (
    LEVELS,
    conformal_margin,
    ordered_quantiles,
    pinball_loss,
)
from experiments.common.splits import Split
from grujax.linen import GRU


class Problem(NamedTuple):
    """Forecasts of K targets from N origins, each origin a time in one of several series."""

    names: list[str]  # of the K targets
    inputs: np.ndarray  # float32 [N, T, I]: the last T steps known at each origin, standardised
    targets: np.ndarray  # [N, K]; NaN where the future is not known
    linear: np.ndarray  # [N, K], the forecast that the network corrects
    rivals: dict[str, np.ndarray]  # other forecasts to compare with, each [N, K]
    origins: np.ndarray  # [N], the time of the last step that is known
    series: np.ndarray  # str [N], the series that each origin lies in
    split: Split  # origins that have a target

    def scale(self) -> np.ndarray:
        """The linear forecast's error on the training set [K], as a standard deviation."""
        error = (self.targets - self.linear)[self.split.train]
        smallest = 1e-6 * np.nanstd(self.targets, axis=0) + 1e-30
        return np.maximum(np.sqrt(np.nanmean(error**2, axis=0)), smallest)


class Forecaster(nn.Module):
    """A GRU whose last state gives, for each target, the quantiles of the linear forecast's error.

    Attributes:
      num_targets: K.
      hidden_size: of the GRU.
      dropout: of the inputs, the same at all steps, and of the last state.
    """

    num_targets: int
    hidden_size: int
    dropout: float

    @nn.compact
    def __call__(self, inputs: Array, train: bool) -> Array:
        """inputs [B, T, I]. Returns: quantiles [B, K, Q], in units of `Problem.scale`."""
        xs = nn.Dropout(self.dropout / 2, broadcast_dims=(1,))(inputs, not train)
        h_last, _ = GRU(self.hidden_size)(xs)
        h_last = nn.Dropout(self.dropout)(h_last, not train)
        shape = (self.num_targets, len(LEVELS))
        raw = nn.DenseGeneral(shape, kernel_init=nn.initializers.zeros)(h_last)
        return ordered_quantiles(raw)


def ensemble(model: Forecaster, params: Any, inputs: Array) -> Array:
    """The mean [N, K, Q] of the quantiles of M networks, whose parameters' leaves are [M, ...]."""
    one = partial(model.apply, train=False)
    return training.map_batches(
        lambda batch: jax.vmap(one, (0, None))(params, batch).mean(0), inputs, batch_size=256
    )


def calibrated_quantiles(problem: Problem, outputs: np.ndarray) -> np.ndarray:
    """Forecasts [N, K, Q] in the targets' units from the network's outputs [N, K, Q].

    The outer interval is widened or narrowed to hold its share of the validation targets, see
    `conformal_margin`.
    """
    quantiles = problem.linear[..., None] + problem.scale()[:, None] * np.asarray(outputs)
    rows = problem.split.validation
    margin = conformal_margin(quantiles[rows], problem.targets[rows])
    quantiles[..., 0] = np.minimum(quantiles[..., 0] - margin, quantiles[..., 1])
    quantiles[..., -1] = np.maximum(quantiles[..., -1] + margin, quantiles[..., -2])
    return quantiles


def examples_of(problem: Problem, rows: np.ndarray) -> dict[str, Array]:
    """What a training sees of the origins in `rows`: "inputs", "error" of the linear forecast in
    units of `Problem.scale`, and whether it is "known" (0 or 1).
    """
    error = ((problem.targets - problem.linear) / problem.scale())[rows]
    known = np.isfinite(error)
    examples = {
        "inputs": problem.inputs[rows],
        "error": np.where(known, error, 0),
        "known": known,
    }
    return {name: jnp.asarray(array, jnp.float32) for name, array in examples.items()}


def mean_pinball_loss(quantiles: Array, examples: dict[str, Array]) -> Array:
    """The mean [] over what is known of the pinball loss; quantiles [B, K, Q]."""
    losses = pinball_loss(quantiles, examples["error"]) * examples["known"]
    return losses.sum() / jnp.maximum(examples["known"].sum(), 1)
