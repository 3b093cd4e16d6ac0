"""The benchmark of recurrent PPO: both contestants train the same agent."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark import compare, rl
from experiments.memory_rl import ActorCritic
from tests.helpers import assert_close

TINY = rl.make_settings(environments=8, steps=20, hidden_size=5)


def test_equal_weights_are_equal_networks():
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    inputs = draw(3, 5), draw(6, 3, 2), jnp.asarray(rng.random((6, 3)) < 0.4)
    ours, flax = (ActorCritic(core, 5, 2, (1.0, 1.0)) for core in rl.CORES.values())
    shapes, flax_shapes = (
        jax.eval_shape(network.init, jax.random.key(0), *inputs) for network in (ours, flax)
    )
    flax_params = jax.tree.map(lambda leaf: draw(*leaf.shape), flax_shapes)
    params = rl.share_weights(flax_params, shapes)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    assert_close(ours.apply(params, *inputs), flax.apply(flax_params, *inputs), "float32")


@pytest.mark.slow
def test_both_act_and_learn_alike():
    ours, flax = (rl.compile_programs(name, TINY) for name in rl.CORES)
    assert_close(ours.acting(), flax.acting(), "float32", 1e-4)
    (params, _), losses = ours.updates()
    (flax_params, _), flax_losses = flax.updates()
    np.testing.assert_allclose(losses, flax_losses, rtol=1e-3)
    same = rl.share_weights(params, flax_params)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), same, flax_params)
    (_, metrics), (_, flax_metrics) = ours.iteration(), flax.iteration()
    np.testing.assert_allclose(metrics["train_loss"], flax_metrics["train_loss"], rtol=1e-3)


def test_one_environment_is_one_minibatch():
    assert [shape.minibatches for shape in rl.SHAPES] == [1, 4, 4, 4]


def test_the_table_has_every_phase_and_ratios(monkeypatch, capsys):
    monkeypatch.setattr(rl, "compile_programs", lambda *_: rl.Programs(*[lambda: None] * 3))
    times = {"grujax": np.array([9.0, 2.0]), "flax.linen": np.array([3.0, 8.0])}
    monkeypatch.setattr(rl, "time_interleaved", lambda *_: times)
    compare.main(compare.Command(rl=True, quick=True))
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 1 + 3 * len(rl.QUICK_SHAPES)
    assert lines[1].startswith("16 environments, T128 H128, acting")
    assert lines[1].split()[-3:] == ["2e+03", "3e+03", "1.50"]
