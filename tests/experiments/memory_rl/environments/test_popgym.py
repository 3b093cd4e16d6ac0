"""The games and the bodies, step by step beside POPGym 1.0.7: see `record_popgym.py`."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.memory_rl.environments import make_environment
from tests.helpers import ROOT

FOLDER = ROOT / "tests" / "experiments" / "memory_rl" / "environments"
NAMES = (
    "repeat_first_easy",
    "repeat_previous_easy",
    "repeat_previous_medium",
    "repeat_previous_hard",
    "autoencode_easy",
    "count_recall_easy",
    "cartpole",
    "pendulum",
)
CLASSES = {"repeat_first_easy": [4], "autoencode_easy": [2, 4], "count_recall_easy": [2, 2]}


def shown(name, observations):
    """The observations of POPGym as those of the ports: one-hot, or as they are."""
    if name in ("cartpole", "pendulum"):
        return observations
    sizes = CLASSES.get(name, [4])
    columns = observations.astype(int).T
    return np.concatenate([np.eye(n)[x] for n, x in zip(sizes, columns, strict=True)], axis=-1)


def check(name, episodes):
    """Replays recorded episodes: a dict of NAME/EPISODE/FIELD -> array."""
    environment = make_environment(name)

    @jax.jit
    def replay(drawn, actions):
        state, first = environment.begin(drawn)

        def step(state, action):
            after = environment.step(jax.random.key(0), state, action)
            return after.state, after._replace(state=())

        return first, jax.lax.scan(step, state, actions)[1]

    numbers = {key.split("/")[1] for key in episodes if key.startswith(f"{name}/")}
    assert numbers
    for number in numbers:
        fields = ("drawn", "actions", "observations", "rewards", "terminated", "truncated")
        recorded = {field: episodes[f"{name}/{number}/{field}"] for field in fields}
        drawn = recorded["drawn"]
        drawn = drawn.astype(float if drawn.dtype.kind == "f" else np.int32)
        # In float64 as Gymnasium: a pole that is about to fall multiplies the errors of rounding.
        with jax.enable_x64(True):
            first, steps = replay(jnp.array(drawn), jnp.array(recorded["actions"]))
        observations = np.concatenate([first[None], steps.observation])
        np.testing.assert_allclose(observations, shown(name, recorded["observations"]), atol=1e-6)
        np.testing.assert_allclose(steps.reward, recorded["rewards"], atol=1e-6)
        np.testing.assert_array_equal(steps.terminated, recorded["terminated"])
        np.testing.assert_array_equal(steps.truncated, recorded["truncated"])
        assert len(steps.reward) <= environment.max_steps


@pytest.mark.parametrize("name", NAMES)
def test_a_port_replays_recorded_episodes(name):
    with np.load(FOLDER / "popgym_episodes.npz") as episodes:
        check(name, episodes)


@pytest.mark.long
def test_the_record_is_that_of_popgym():
    pytest.importorskip("popgym")
    path = FOLDER / "record_popgym.py"
    spec = importlib.util.spec_from_file_location("record_popgym", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recorded = module.record()
    for name in NAMES:
        check(name, recorded)


@pytest.mark.parametrize("name", NAMES)
def test_a_start_draws_what_begin_takes(name):
    environment = make_environment(name)
    state, observation = environment.reset(jax.random.key(1))
    assert observation.shape == (environment.observation_size,)
    again = environment.begin(environment.draw(jax.random.key(1)))
    jax.tree.map(np.testing.assert_array_equal, (state, observation), again)


def test_every_deck_is_complete():
    decks = jax.vmap(make_environment("repeat_previous_medium").draw)(
        jax.random.split(jax.random.key(0), 5)
    )
    assert all(np.bincount(deck).tolist() == [26] * 4 for deck in np.asarray(decks))
    assert len(np.unique(decks, axis=0)) == 5
    values, queries = make_environment("count_recall_easy").draw(jax.random.key(0))
    assert np.bincount(values).tolist() == np.bincount(queries).tolist() == [26, 26]
    assert (values != queries).any()


def test_an_unknown_name_is_a_value_error():
    with pytest.raises(ValueError, match=r"one of memory_chain, repeat_first_easy.*got 'chess'"):
        make_environment("chess")
