"""Networks that correct a linear forecast: GRUs, or other cells, read the last steps.

They return quantiles. The forecasts of several networks are averaged. If data are few, each network
leaves out another period for validation, so that each period trains some networks and validates
others. An untrained network returns the linear forecast.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common import training
from experiments.common.rivals.layers import last_output, make_layer
from experiments.common.training.gradients import Mean
from experiments.forecasting.problem import Problem
from experiments.forecasting.quantiles import (
    LEVELS,
    conformal_margin,
    coverage,
    ordered_quantiles,
    pinball_loss,
    widen,
)


class Forecaster(nn.Module):
    """A GRU whose last output gives the quantiles of the linear forecast's error for each target.

    Attributes:
      num_targets: K.
      hidden_size: the size of the GRU.
      dropout: the rate after the GRU; half of it, with one mask for all steps, before it.
      cell: what stands in the place of the GRU, with as many parameters, see `make_layer`.
    """

    num_targets: int
    hidden_size: int
    dropout: float
    cell: str = "gru"

    @nn.compact
    def __call__(self, inputs: Array, train: bool) -> Array:
        """Forecasts from inputs [B, T, I]: quantiles [B, K, Q], in units of `Problem.scale`."""
        xs = nn.Dropout(self.dropout / 2, broadcast_dims=(1,))(inputs, not train)
        carry, _ = make_layer(self.cell, self.hidden_size)(xs)
        h_last = nn.Dropout(self.dropout)(last_output(self.cell, carry), not train)
        shape = (self.num_targets, len(LEVELS))
        raw = nn.DenseGeneral(shape, kernel_init=nn.initializers.zeros)(h_last)
        return ordered_quantiles(raw)


def ensemble_quantiles(model: Forecaster, params: Any, inputs: Array) -> Array:
    """The quantiles [N, M, K, Q] of M networks with parameters [M, ...], from inputs [N, T, I]."""
    forecast = partial(model.apply, train=False)
    together = jax.vmap(forecast, in_axes=(0, None), out_axes=1)
    return training.map_batches(partial(together, params), inputs, batch_size=256)


def left_out_parts(members: int, num_parts: int) -> np.ndarray:
    """The part that each of M networks leaves out, in turn: int [M].

    Raises:
      ValueError: there are fewer networks than parts.
    """
    if members < num_parts:
        raise ValueError(f"`members` is {members}; there are {num_parts} parts to leave out.")
    return 1 + np.arange(members) % num_parts


def mean_over_unseen(outputs: Array, parts: Array, left_out: np.ndarray) -> Array:
    """The mean of the networks that did not train on each origin.

    Args:
      outputs: [N, M, K, Q].
      parts: int [N]; each must be left out by some network.
      left_out: int [M], see `left_out_parts`.

    Returns: [N, K, Q].
    """
    unseen = (parts[:, None] == left_out)[:, :, None, None]
    return (outputs * unseen).sum(1) / unseen.sum(1)


def calibrate_quantiles(problem: Problem, outputs: np.ndarray) -> np.ndarray:
    """Forecasts [N, K, Q] in the targets' units, from the outputs [N, M, K, Q] of M networks.

    The outer interval is widened or narrowed until it holds its share of the validation targets,
    as forecast by the networks that did not train on them, see `conformal_margin`.
    """
    rows = problem.split.validation
    margin = conformal_margin(_unseen_quantiles(problem, outputs), problem.targets[rows])
    return widen(_in_units(problem, outputs.mean(1), np.arange(len(outputs))), margin)


def validation_coverage(problem: Problem, outputs: np.ndarray) -> np.ndarray:
    """How often the outer interval held a validation target, [K].

    Each part is forecast by networks, and calibrated by other parts, that have not seen it.
    """
    rows = problem.split.validation
    quantiles, targets = _unseen_quantiles(problem, outputs), problem.targets[rows]
    for part in np.unique(problem.parts[rows]):
        own = problem.parts[rows] == part
        if not own.all():
            margin = conformal_margin(quantiles[~own], targets[~own])
            quantiles[own] = widen(quantiles[own], margin)
    return coverage(quantiles, targets)


def _unseen_quantiles(problem: Problem, outputs: np.ndarray) -> np.ndarray:
    """The validation origins' quantiles [R, K, Q] by the networks that did not train on them."""
    rows = problem.split.validation
    left_out = left_out_parts(outputs.shape[1], problem.parts.max())
    unseen = mean_over_unseen(outputs[rows], problem.parts[rows], left_out)
    return _in_units(problem, np.asarray(unseen), rows)


def _in_units(problem: Problem, outputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return problem.linear[rows, :, None] + problem.scale()[:, None] * outputs


def constant_quantiles(problem: Problem) -> np.ndarray:
    """The linear forecast with the quantiles of its training errors, [N, K, Q].

    They are calibrated as the network's quantiles are.
    """
    errors = (problem.targets - problem.linear)[problem.split.train]
    quantiles = problem.linear[..., None] + np.nanquantile(errors, LEVELS, axis=0).T
    rows = problem.split.validation
    return widen(quantiles, conformal_margin(quantiles[rows], problem.targets[rows]))


def make_examples(problem: Problem, rows: np.ndarray) -> dict[str, Array]:
    """The training examples of the origins `rows` [R].

    Returns: "inputs" [R, T, I]; "error" [R, K] of the linear forecast, in units of `Problem.scale`;
    "known" [R, K], 1 if the error is known, else 0; and "part" [R].
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


def pinball_mean(quantiles: Array, examples: dict[str, Array], left_out: Array | int = 0) -> Mean:
    """The mean pinball loss over known targets outside the part `left_out`, as sum and count.

    Args:
      quantiles: [B, K, Q].
      examples: B examples, see `make_examples`.
      left_out: [], a part; 0 for none.
    """
    counts = examples["known"] * ((examples["part"] != left_out) | (left_out == 0))[:, None]
    losses = pinball_loss(quantiles, examples["error"]) * counts
    return Mean(losses.sum(), counts.sum())
