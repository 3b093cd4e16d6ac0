"""Batches by length: every pair once, and the loss and gradient of each batch."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.seq2seq import buckets


def random_rows(number: int, longest: int, seed: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [list(random.integers(4, 11, n)) for n in random.integers(1, longest + 1, number)]


def test_every_pair_that_fits_is_in_one_batch_with_pairs_of_its_length():
    sources, targets = random_rows(50, 12, 0), random_rows(50, 12, 1)
    batches = buckets.make_batches(sources, targets, widths=(4, 8, 10), size=7, seed=0)
    found = []
    for source, target, bucket in zip(*batches.values(), strict=True):
        assert not source[(4, 8, 10)[bucket] :].any()
        assert not target[(4, 8, 10)[bucket] :].any()
        found += [tuple(map(tuple, pair)) for pair in zip(source.T, target.T, strict=True)]
    padded = [
        tuple((*row, *[0] * (10 - len(row))) for row in pair)
        for pair in zip(sources, targets, strict=True)
        if max(map(len, pair)) <= 10
    ]
    assert sorted(pair for pair in found if any(pair[0])) == sorted(padded)
    assert (np.diff(batches["bucket"]) >= 0).all()


def test_batches_of_widths_for_each_side():
    widths = ((4, 3), (4, 6), (8, 3), (8, 6))
    random = np.random.default_rng(0)
    lengths = random.integers(1, [9, 8], (60, 2))
    rows = [[list(random.integers(4, 11, n)) for n in column] for column in lengths.T]
    batches = buckets.make_batches(*rows, widths, size=5, seed=0)
    assert batches["source"].shape[1:] == (8, 5)
    assert batches["target"].shape[1:] == (6, 5)
    found = []
    for source, target, bucket in zip(*batches.values(), strict=True):
        width = widths[bucket]
        assert not source[width[0] :].any()
        assert not target[width[1] :].any()
        pairs = zip(source.T.tolist(), target.T.tolist(), strict=True)
        found += [tuple(map(tuple, pair)) for pair in pairs if any(pair[0])]
    expected = [
        ((*s, *[0] * (8 - len(s))), (*t, *[0] * (6 - len(t))))
        for s, t in zip(*rows, strict=True)
        if len(t) <= 6
    ]
    assert sorted(found) == sorted(expected)
    assert set(batches["bucket"]) == {0, 1, 2, 3}


def measure(params, source, target, key):
    noise = 0.0 if key is None else jax.random.normal(key)
    return (params["w"][source] * params["v"][target]).sum() + noise * params["v"].sum()


def test_loss_and_gradient_are_those_without_buckets():
    batches = buckets.make_batches(random_rows(20, 9, 0), random_rows(20, 9, 1), (4, 9), 5, 0)
    params = {"w": jnp.arange(11.0).at[0].set(0), "v": jnp.arange(1.0, 12).at[0].set(0)}
    loss = buckets.bucketed_loss(measure, (4, 9))
    total = 0
    for i in range(len(batches["bucket"])):
        key = jax.random.key(i)
        batch = jax.tree.map(lambda array, i=i: jnp.asarray(array[i : i + 1]), batches)
        plain = batch["source"][0], batch["target"][0], key
        expected = jax.value_and_grad(measure)(params, *plain)
        result = jax.value_and_grad(lambda p: 2 * loss(p, batch, key))(params)  # noqa: B023
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, 2 * b, rtol=1e-6), result, expected)
        total += measure(params, *plain[:2], None)
    np.testing.assert_allclose(
        buckets.sum_over_batches(measure, (4, 9), params, batches), total, rtol=1e-6
    )
