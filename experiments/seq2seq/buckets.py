"""Batches of sentences of similar length, to keep padding small.

Batches are made in advance: sentences of similar length, padded to the first of a few widths
(buckets) that holds them. Each width is one branch of a `lax.switch`, so no length needs another
compilation. Training takes the batches in random order, one per step.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import training
from experiments.common.data.text import pad
from experiments.common.training.gradients import Mean

PyTree = Any
# N batches: "source" [N, S, B], "target" [N, T, B], "bucket" [N], the index of the width
Batches = dict[str, np.ndarray]
Width = int | tuple[int, int]  # of source and target; a single number holds for both
# (parameters, source [S, B], target [T, B], key or None) -> a pytree of scalars
Measure = Callable[[PyTree, Array, Array, Array | None], Any]


class Data(NamedTuple):
    """The data of one training."""

    train: Batches
    validation: Batches


def make_batches(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    widths: Sequence[Width],
    size: int,
    seed: int,
) -> Batches:
    """Sorts pairs of sentences by width, then length, and cuts them into N batches, time-major.

    Args:
      sources: the ids of each source sentence.
      targets: the ids of each target sentence.
      widths: increasing; the last one is the largest on both sides, and longer pairs are dropped.
      size: B, the number of pairs per batch. The last batch is filled with empty pairs.
      seed: shuffles pairs of equal length.
    """
    shapes = np.array([as_pair(width) for width in widths])
    lengths = np.array([(len(s), len(t)) for s, t in zip(sources, targets, strict=True)], int)
    fits = (lengths <= shapes[-1]).all(1)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(fits))
    width = _first_that_fits(shapes, lengths[order])
    order = order[np.lexsort((lengths[order].max(1), width))]
    num_batches = -(-len(order) // size)

    def batched(rows: Sequence[Sequence[int]], width: int) -> np.ndarray:
        filled = np.zeros((num_batches * size, width), np.int32)
        filled[: len(order)] = pad([rows[i] for i in order], width)
        return filled.reshape(num_batches, size, -1).transpose(0, 2, 1)

    parts = [order[i * size : (i + 1) * size] for i in range(num_batches)]
    longest = np.array([lengths[part].max(0) for part in parts]).reshape(-1, 2)
    return {
        "source": batched(sources, shapes[-1][0]),
        "target": batched(targets, shapes[-1][1]),
        "bucket": _first_that_fits(shapes, longest),
    }


def bucketed_training(
    *,
    init_params: Callable[[Array], PyTree],
    totals: Measure,
    data: Data,
    widths: Sequence[Width],
    optimizer: optax.GradientTransformation,
    epochs: int,
) -> training.Training:
    """Builds a training of one batch per step that keeps the epoch with the best token accuracy.

    Args:
      init_params: key -> parameters.
      totals: returns three sums over the target tokens of a batch: the losses, the correct
        predictions, the number of tokens. The loss of a step is the mean.
      data: the batches, made with these widths.
      widths: see `make_batches`.
      optimizer: its schedule counts one step per training batch.
      epochs: the number of epochs.
    """

    def loss(params: PyTree, source: Array, target: Array, key: Array | None) -> Mean:
        total, _, count = totals(params, source, target, key)
        return Mean(total, count.astype(jnp.float32))

    def evaluate(params: PyTree) -> training.Metrics:
        total, correct, count = sum_over_batches(totals, widths, params, data.validation)
        return {"validation_loss": total / count, "validation_accuracy": correct / count}

    return training.make_training(
        init_params=init_params,
        loss=bucketed_loss(loss, widths),
        evaluate=evaluate,
        score="validation_accuracy",
        optimizer=optimizer,
        examples=jax.tree.map(jnp.asarray, data.train),
        batch_size=1,  # each example is a whole batch
        epochs=epochs,
        patience=epochs,
        row_axes={"source": 2, "target": 2, "bucket": None},
    )


def bucketed_loss(measure: Measure, widths: Sequence[Width]) -> Callable[[PyTree, Any, Array], Any]:
    """Converts the loss of one width to the loss of an example [1, ...] for `make_training`.

    The loss is [] or a `Mean`, whose weight has no gradient. The gradient is computed inside the
    switch, because outside of it every width would return its residuals.
    """
    branches = [_at_width(measure, width) for width in widths]

    def switch(functions: Sequence[Any], params: PyTree, batch: Any, key: Array) -> Any:
        batch = jax.tree.map(lambda array: array[0], batch)
        return jax.lax.switch(batch["bucket"], functions, params, batch, key)

    def differentiated(branch: Callable[..., Any]) -> Callable[..., Any]:
        def total_and_all(*arguments: Any) -> tuple[Array, Any]:
            value = branch(*arguments)
            return jax.tree.leaves(value)[0], value

        return jax.grad(total_and_all, has_aux=True)

    @jax.custom_vjp
    def loss(params: PyTree, batch: Any, key: Array) -> Any:
        return switch(branches, params, batch, key)

    def forward(params: PyTree, batch: Any, key: Array) -> tuple[Any, PyTree]:
        gradient, value = switch(list(map(differentiated, branches)), params, batch, key)
        return value, gradient

    def backward(gradient: PyTree, cotangents: Any):
        total = jax.tree.leaves(cotangents)[0]
        return jax.tree.map(lambda leaf: (total * leaf).astype(leaf.dtype), gradient), None, None

    loss.defvjp(forward, backward)
    return loss


def sum_over_batches(
    measure: Measure, widths: Sequence[Width], params: PyTree, batches: Batches
) -> Any:
    """Sums the results of `measure` without a key over all batches."""
    branches = [_at_width(measure, width) for width in widths]

    def measure_batch(batch):
        return jax.lax.switch(batch["bucket"], branches, params, batch, None)

    results = jax.lax.map(measure_batch, jax.tree.map(jnp.asarray, batches))
    return jax.tree.map(lambda array: array.sum(0), results)


def _at_width(measure: Measure, width: Width) -> Callable[..., Any]:
    """`measure` of a batch that is cut to one width."""
    source, target = as_pair(width)

    def measure_width(params: PyTree, batch: Any, key: Array | None) -> Any:
        return measure(params, batch["source"][:source], batch["target"][:target], key)

    return measure_width


def as_pair(width: Width) -> tuple[int, int]:
    """The widths of source and target."""
    return (width, width) if isinstance(width, int) else width


def _first_that_fits(shapes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The index of the first of the shapes [W, 2] that holds each of the lengths [N, 2]."""
    return (lengths[:, None] <= shapes).all(-1).argmax(1).astype(np.int32)
