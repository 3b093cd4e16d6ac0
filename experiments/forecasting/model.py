"""A network that corrects a linear forecast: GRUs read what came before, and give quantiles.

The forecasts of several networks are averaged. Where data are few, each leaves out another part of
the time for validation, so that all parts train some network and validate some other. An untrained
network says what the linear forecast says.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common import training
from experiments.common.data.splits import Split
from experiments.common.training.gradients import Mean
from experiments.forecasting.quantiles import (
    LEVELS,
    conformal_margin,
    ordered_quantiles,
    pinball_loss,
    widened,
)
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
    split: Split  # origins that have a target; validation ones may also be for training
    parts: np.ndarray  # int [N]: the part of the validation set, from 1 on; 0: of none

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
    """The quantiles [N, M, K, Q] of M networks, whose parameters' leaves are [M, ...]."""
    one = partial(model.apply, train=False)
    together = jax.vmap(one, in_axes=(0, None), out_axes=1)
    return training.map_batches(partial(together, params), inputs, batch_size=256)


def left_out_parts(members: int, num_parts: int) -> np.ndarray:
    """The part that each of M networks leaves out, [M]: they take turns.

    Raises:
      ValueError: some part would be left out by none.
    """
    if members < num_parts:
        raise ValueError(f"`members` is {members}; there are {num_parts} parts to leave out.")
    return 1 + np.arange(members) % num_parts


def mean_of_unseen(outputs: Array, parts: Array, left_out: np.ndarray) -> Array:
    """The mean of those networks that did not train on an origin.

    Args:
      outputs: [N, M, K, Q].
      parts: int [N], each one left out by some network.
      left_out: int [M], see `left_out_parts`.

    Returns: [N, K, Q].
    """
    unseen = (parts[:, None] == left_out)[:, :, None, None]
    return (outputs * unseen).sum(1) / unseen.sum(1)


def calibrated_quantiles(problem: Problem, outputs: np.ndarray) -> np.ndarray:
    """Forecasts [N, K, Q] in the targets' units, from the outputs [N, M, K, Q] of M networks.

    The outer interval is widened or narrowed to hold its share of the validation targets by the
    networks that did not train on them, see `conformal_margin`.
    """

    def in_units(outputs: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
        return problem.linear[rows, :, None] + problem.scale()[:, None] * outputs

    rows = problem.split.validation
    left_out = left_out_parts(outputs.shape[1], problem.parts.max())
    unseen = mean_of_unseen(outputs[rows], problem.parts[rows], left_out)
    margin = conformal_margin(in_units(unseen, rows), problem.targets[rows])
    return widened(in_units(outputs.mean(1), slice(None)), margin)


def constant_quantiles(problem: Problem) -> np.ndarray:
    """The linear forecast with the quantiles of its errors in training about it, [N, K, Q].

    Calibrated as the network's are.
    """
    errors = (problem.targets - problem.linear)[problem.split.train]
    quantiles = problem.linear[..., None] + np.nanquantile(errors, LEVELS, axis=0).T
    rows = problem.split.validation
    return widened(quantiles, conformal_margin(quantiles[rows], problem.targets[rows]))


def examples_of(problem: Problem, rows: np.ndarray) -> dict[str, Array]:
    """What a training sees of the origins in `rows`: "inputs", "error" of the linear forecast in
    units of `Problem.scale`, whether it is "known" (0 or 1), and "part".
    """
    error = ((problem.targets - problem.linear) / problem.scale())[rows]
    known = np.isfinite(error)
    examples = {
        "inputs": problem.inputs[rows],
        "error": np.where(known, error, 0),
        "known": known,
    }
    examples = {name: jnp.asarray(array, jnp.float32) for name, array in examples.items()}
    return examples | {"part": jnp.asarray(problem.parts[rows])}


def mean_pinball_loss(
    quantiles: Array, examples: dict[str, Array], left_out: Array | int = 0
) -> Array:
    """The mean [] of the pinball loss over what is known and not in the part `left_out`.

    Args:
      quantiles: [B, K, Q].
      examples: B of them, see `examples_of`.
      left_out: [] a part.
    """
    return pinball_mean(quantiles, examples, left_out).value()


def pinball_mean(quantiles: Array, examples: dict[str, Array], left_out: Array | int = 0) -> Mean:
    """The mean of `mean_pinball_loss`, told in two parts."""
    counts = examples["known"] * ((examples["part"] != left_out) | (left_out == 0))[:, None]
    losses = pinball_loss(quantiles, examples["error"]) * counts
    return Mean(losses.sum(), counts.sum())
