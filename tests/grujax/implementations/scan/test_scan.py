"""The scan: its chunks, memory, batching rule, and symbolic shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax.implementations.scan.chunks import split_time
from tests.helpers import Case, Draw, assert_close, inputs_of, outputs_and_gradients


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("steps", "batch"), [(1, 1), (16, 4), (17, 4), (31, 1), (33, 300), (784, 64), (2048, 1)]
)
def test_chunks_visit_every_step_once_in_order(steps, batch, reverse):
    chunks = split_time(steps, batch, reverse)
    visited = []
    for index in range(chunks.number):
        begin = int(chunks.begin(jnp.int32(index)))
        assert 0 <= begin <= steps - chunks.length
        active = chunks.active_mask(jnp.int32(index))
        times = np.arange(begin, begin + chunks.length)
        if active is not None:
            times = times[np.asarray(active)[:, 0]]
        visited.extend(times[::-1] if reverse else times)
    assert visited == list(range(steps)[::-1] if reverse else range(steps))


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("steps", "batch"), [(32, 130), (35, 130), (47, 1), (65, 3)])
def test_any_split_into_chunks_gives_the_plain_result(x64, steps, batch, reverse, reset_after):
    lengths = tuple(int(n) for n in np.linspace(0, steps, batch))
    case = Case(f"chunks {steps}", steps, (batch,), lengths, resets=True, input_size=2)
    inputs = inputs_of(case, reset_after)
    got = outputs_and_gradients(inputs, reverse, "scan")
    assert_close(got, outputs_and_gradients(inputs, reverse, "plain"), "float64")


def temporaries(implementation, steps, batch, size):
    """Bytes that a training step takes besides its arguments and results."""
    draw = Draw("memory", "float32")
    params, xs = draw.params(size, size), draw.normal(steps, batch, size)

    @jax.jit
    def step(params, xs, hs_bar):
        def run(params, xs):
            return grujax.gru(params, xs, implementation=implementation)[1]

        return jax.vjp(run, params, xs)[1](hs_bar)

    return step.lower(params, xs, xs).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(("steps", "batch", "size"), [(256, 16, 64), (512, 64, 32)])
def test_a_training_step_takes_a_quarter_of_the_memory_of_autodiff(steps, batch, size):
    assert temporaries("scan", steps, batch, size) < temporaries("plain", steps, batch, size) / 4


def test_stacked_models_run_one_after_the_other_on_a_cpu():
    models = jax.vmap(lambda key: grujax.init_gru(key, 2, 3))(jax.random.split(jax.random.key(0)))
    xs = Draw("models", "float32").normal(5, 4, 2)

    def loss(params, xs):
        return jnp.sum(grujax.gru(params, xs, implementation="scan")[1] ** 2)

    stacked = jax.jit(jax.vmap(jax.grad(loss), (0, None)))
    batched_dot = "f32[2,4,"  # [models, B, ...]: what XLA's CPU backend is slow at
    assert batched_dot not in stacked.lower(models, xs).compile().as_text()
    one_by_one = [
        jax.grad(loss)(jax.tree.map(lambda leaf, i=i: leaf[i], models), xs) for i in range(2)
    ]
    want = jax.tree.map(lambda *leaves: jnp.stack(leaves), *one_by_one)
    assert_close(stacked(models, xs), want, "float32")


def test_exports_with_symbolic_time_and_batch():
    draw = Draw("symbolic", "float32")
    params = draw.params(2, 3)
    T, B = jax.export.symbolic_shape("T,B")
    run = jax.jit(lambda xs, lengths: grujax.gru(params, xs, lengths=lengths))
    arguments = (
        jax.ShapeDtypeStruct((T, B, 2), jnp.float32),
        jax.ShapeDtypeStruct((B,), jnp.int32),
    )
    exported = jax.export.export(run)(*arguments)
    xs, lengths = draw.normal(9, 4, 2), np.int32([9, 0, 3, 4])
    assert_close(exported.call(xs, lengths), run(xs, lengths), "float32")
