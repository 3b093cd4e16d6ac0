"""The memory chain and the adapter beside gymnax; the tests of the adapter need the extra `rl`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.memory_rl.environments import make_environment
from experiments.memory_rl.environments.chain import Chain


def roll(environment, key, actions):
    """The first state and observation, and every step."""
    state, first = environment.reset(key)

    def step(state, inputs):
        after = environment.step(*inputs[:1], state, inputs[1])
        return after.state, after

    return (
        state,
        first,
        jax.lax.scan(step, state, (jax.random.split(key, len(actions)), actions))[1],
    )


def test_a_memory_chain_shows_the_bit_and_asks_for_it_at_the_end():
    environment = make_environment("memory_chain", 5)
    for bit in (0, 1):
        actions = jnp.array([1 - bit] * 5 + [bit])
        state, first = environment.begin(jnp.int32(bit))
        rewards, seen, ends = [], [first], []
        for action in actions:
            step = environment.step(jax.random.key(0), state, action)
            state = step.state
            rewards.append(float(step.reward))
            seen.append(step.observation)
            ends.append(bool(step.terminated))
            assert not step.truncated
        assert rewards == [0, 0, 0, 0, 0, 1]
        assert ends == [False] * 5 + [True]
        np.testing.assert_array_equal(np.array(seen)[:, 2], [2 * bit - 1] * 2 + [0] * 5)
        wrong = environment.step(jax.random.key(0), Chain(jnp.int32(bit), jnp.int32(5)), 1 - bit)
        assert wrong.reward == -1


@pytest.mark.parametrize("length", [1, 5, 64])
def test_the_memory_chain_is_that_of_gymnax(length):
    gymnax = pytest.importorskip("gymnax")
    environment = make_environment("memory_chain", length)
    other, params = gymnax.make("MemoryChain-bsuite")
    params = params.replace(memory_length=length)
    for seed in range(3):
        key = jax.random.key(seed)
        actions = jax.random.bernoulli(key, shape=(length + 1,)).astype(jnp.int32)
        observation, state = other.reset_env(key, params)
        ours, first = environment.begin(state.context[0])
        np.testing.assert_array_equal(first, observation)
        for action in actions:
            observation, state, reward, terminated, _ = other.step_env(key, state, action, params)
            step = environment.step(key, ours, action)
            ours = step.state
            np.testing.assert_array_equal(step.observation, observation)
            assert (step.reward, step.terminated) == (reward, terminated)
        assert terminated


@pytest.mark.parametrize("name", ["umbrella_chain", "bernoulli_bandit", "meta_maze"])
def test_an_adapted_task_is_that_of_gymnax_and_ends_with_its_time(name):
    pytest.importorskip("gymnax")
    environment = make_environment(name)
    steps = environment.max_steps
    actions = jax.random.randint(jax.random.key(1), (steps,), 0, environment.num_actions)
    key = jax.random.key(0)
    state, first, taken = roll(environment, key, actions)
    assert first.shape == (environment.observation_size,)
    assert taken.terminated.sum() == 1
    assert taken.terminated[-1]
    assert not taken.truncated.any()
    inner = environment.environment
    for step_key, action, reward, seen in zip(
        jax.random.split(key, steps), actions, taken.reward, taken.observation, strict=True
    ):
        observation, state, wanted, _, _ = inner.step_env(
            step_key, state, action, environment.params
        )
        assert reward == wanted
        np.testing.assert_allclose(seen, observation, atol=1e-6)


def test_without_gymnax_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnax", None)
    with pytest.raises(ImportError, match=r"BernoulliBandit-misc needs gymnax.*extra `rl`"):
        make_environment("bernoulli_bandit")
