"""Sentences of like length together, so that little of a batch is padding.

A bundle is a batch made beforehand: sentences of about one length, cut to the first of a few
widths that holds them. Each width is a program of its own inside one `lax.switch`: nothing is
compiled anew for another length. Training takes the bundles in random order, one a step.
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
Bundles = dict[str, np.ndarray]  # "source" [N, S, B], "target" [N, T, B], "bucket" [N]: which width
Width = int | tuple[int, int]  # of source and target; one number is that of both
# (parameters, source [S, B], target [T, B], key or None) -> a pytree of scalars
Measure = Callable[[PyTree, Array, Array, Array | None], Any]


class Data(NamedTuple):
    """What one training needs."""

    train: Bundles
    validation: Bundles


def make_bundles(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    widths: Sequence[Width],
    size: int,
    seed: int,
) -> Bundles:
    """Sorts pairs of sentences by width, then length, and cuts them into N bundles, time-major.

    Args:
      sources: ids of each source sentence.
      targets: ids of each target sentence.
      widths: increasing, the last one in both directions; pairs that it does not hold are left out.
      size: B, the number of pairs in a bundle. The last bundle is filled with empty pairs.
      seed: of the order among pairs of one length.
    """
    shapes = np.array([_both(width) for width in widths])
    lengths = np.array([(len(s), len(t)) for s, t in zip(sources, targets, strict=True)], int)
    fits = (lengths <= shapes[-1]).all(1)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(fits))
    width = _first_that_holds(shapes, lengths[order])
    order = order[np.lexsort((lengths[order].max(1), width))]
    num_bundles = -(-len(order) // size)

    def bundled(rows: Sequence[Sequence[int]], width: int) -> np.ndarray:
        filled = np.zeros((num_bundles * size, width), np.int32)
        filled[: len(order)] = pad([rows[i] for i in order], width)
        return filled.reshape(num_bundles, size, -1).transpose(0, 2, 1)

    parts = [order[i * size : (i + 1) * size] for i in range(num_bundles)]
    longest = np.array([lengths[part].max(0) for part in parts]).reshape(-1, 2)
    return {
        "source": bundled(sources, shapes[-1][0]),
        "target": bundled(targets, shapes[-1][1]),
        "bucket": _first_that_holds(shapes, longest),
    }


def bundle_training(
    *,
    init_params: Callable[[Array], PyTree],
    totals: Measure,
    data: Data,
    widths: Sequence[Width],
    optimizer: optax.GradientTransformation,
    epochs: int,
) -> training.Training:
    """Builds the training that takes one bundle a step, and keeps the epoch with most tokens right.

    Args:
      init_params: key -> parameters.
      totals: gives the sums over a bundle's target tokens: their loss, how many are right, and how
        many there are. The loss of a step is the mean.
      data: the bundles, made with these widths.
      widths: see `make_bundles`.
      optimizer: its schedule takes a step for each training bundle.
      epochs: how many.
    """

    def loss(params: PyTree, source: Array, target: Array, key: Array | None) -> Mean:
        total, _, count = totals(params, source, target, key)
        return Mean(total, count.astype(jnp.float32))

    def evaluate(params: PyTree) -> training.Metrics:
        total, right, count = sum_over_bundles(totals, widths, params, data.validation)
        return {"validation_loss": total / count, "validation_accuracy": right / count}

    return training.make_training(
        init_params=init_params,
        loss=bucketed_loss(loss, widths),
        evaluate=evaluate,
        score="validation_accuracy",
        optimizer=optimizer,
        examples=jax.tree.map(jnp.asarray, data.train),
        batch_size=1,  # a bundle
        epochs=epochs,
        patience=epochs,
        row_axes={"source": 2, "target": 2, "bucket": None},
    )


def bucketed_loss(measure: Measure, widths: Sequence[Width]) -> Callable[[PyTree, Any, Array], Any]:
    """Turns the loss of one width into that of a batch of one bundle, as `make_training` takes it.

    The loss is [] or a `Mean`, whose weight has no gradient. The gradient is taken inside the
    switch: outside, every width would hand out its residuals.
    """
    plain = [_cut(measure, width) for width in widths]

    def switch(branches: Sequence[Any], params: PyTree, batch: Any, key: Array) -> Any:
        bundle = jax.tree.map(lambda array: array[0], batch)
        return jax.lax.switch(bundle["bucket"], branches, params, bundle, key)

    def differentiated(branch: Callable[..., Any]) -> Callable[..., Any]:
        def total_and_all(*arguments: Any) -> tuple[Array, Any]:
            value = branch(*arguments)
            return jax.tree.leaves(value)[0], value

        return jax.grad(total_and_all, has_aux=True)

    @jax.custom_vjp
    def loss(params: PyTree, batch: Any, key: Array) -> Any:
        return switch(plain, params, batch, key)

    def forward(params: PyTree, batch: Any, key: Array) -> tuple[Any, PyTree]:
        gradient, value = switch(list(map(differentiated, plain)), params, batch, key)
        return value, gradient

    def backward(gradient: PyTree, cotangents: Any):
        total = jax.tree.leaves(cotangents)[0]
        return jax.tree.map(lambda leaf: (total * leaf).astype(leaf.dtype), gradient), None, None

    loss.defvjp(forward, backward)
    return loss


def sum_over_bundles(
    measure: Measure, widths: Sequence[Width], params: PyTree, bundles: Bundles
) -> Any:
    """Adds up over all bundles what `measure` returns; it is given no key."""
    branches = [_cut(measure, width) for width in widths]

    def one(bundle):
        return jax.lax.switch(bundle["bucket"], branches, params, bundle, None)

    results = jax.lax.map(one, jax.tree.map(jnp.asarray, bundles))
    return jax.tree.map(lambda array: array.sum(0), results)


def _cut(measure: Measure, width: Width) -> Callable[..., Any]:
    source, target = _both(width)

    def cut(params: PyTree, bundle: Any, key: Array | None) -> Any:
        return measure(params, bundle["source"][:source], bundle["target"][:target], key)

    return cut


def _both(width: Width) -> tuple[int, int]:
    return (width, width) if isinstance(width, int) else width


def _first_that_holds(shapes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The number of the first of the shapes [W, 2] that holds each of the lengths [N, 2]."""
    return (lengths[:, None] <= shapes).all(-1).argmax(1).astype(np.int32)
