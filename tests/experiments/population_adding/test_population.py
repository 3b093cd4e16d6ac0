"""The experiment with populations, end to end on tiny settings."""

from contextlib import redirect_stdout
from io import StringIO

import jax
import numpy as np
import pytest

from experiments.memory import adding
from experiments.population_adding import population as population_adding
from tests.helpers import read_results

TINY = {"steps": 4, "members": 4, "rounds": 3, "updates": 2, "hidden_size": 3, "batch_size": 2}


def run_experiment(command) -> str:
    """Returns what the experiment prints."""
    printed = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(jax.config, "update", lambda *_: None)  # JAX has started already
        population_adding.main(command)
    return printed.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A command with one seed, and what the experiment printed with them."""
    out = tmp_path_factory.mktemp("population")
    settings = population_adding.Settings(**TINY, seeds=1)
    command = population_adding.Command(settings, out=out)
    return command, run_experiment(command)


def test_the_experiment_reports_both_methods(finished):
    command, printed = finished
    assert "1 seed, two searches each of 24 updates, T = 4" in printed
    assert "of 1 seed." in (command.out / "table.txt").read_text()
    assert (command.out / "population.png").stat().st_size > 0
    [rates] = read_results(command.out / "results.json")["first and last learning rate"]
    assert rates["random"][0] == rates["random"][1]  # a random sweep keeps it
    assert f"{rates['population'][0]:.4f} to {rates['population'][1]:.4f}" in printed


@pytest.mark.slow
def test_the_experiment_resumes(tmp_path):
    settings = population_adding.Settings(**TINY, seeds=2)
    command = population_adding.Command(settings, out=tmp_path)
    printed = run_experiment(command)
    assert "2 seeds, two searches each of 24 updates, T = 4" in printed
    assert "of 2 seeds" in (tmp_path / "table.txt").read_text()
    newest = tmp_path / "population_1" / "round-000003.npz"
    newest.unlink()  # it runs again, to the same numbers
    assert run_experiment(command) == printed
    assert newest.exists()


def test_both_methods_start_with_the_same_members(finished):
    command, _ = finished
    training = population_adding.make_training(command.settings)
    one, other = (  # both are only read
        population_adding.search(command.settings, training, 0, method, command.out)
        for method in population_adding.METHODS
    )
    np.testing.assert_array_equal(
        one.metrics["error_by_round"][:, 0], other.metrics["error_by_round"][:, 0]
    )
    parents = np.arange(4)[:, None] + np.zeros(3)
    np.testing.assert_array_equal(one.metrics["parent_by_round"], parents)
    assert np.any(other.metrics["parent_by_round"] != parents)


def test_a_learner_continues_from_the_state_of_another():
    def learner(rate):
        return adding.make_learner(
            lambda key: jax.numpy.zeros(1),
            lambda params, xs: xs.prod(-1).sum(0)[:, None] + params,
            1,
            rate,
            steps=6,
            batch_size=8,
        )

    @jax.jit
    def train(rate, state, keys):
        return jax.lax.scan(learner(rate).update, state, keys)[0]

    keys = jax.random.split(jax.random.key(0), 4)
    state = learner(0.05).start(keys[0], keys[1])
    batch = adding.draw_batch(keys[2], 6, 64)
    error = jax.jit(lambda rate, state: learner(rate).error(state, *batch))
    errors = [error(0.05, state)]
    for rate in (0.1, 0.01):
        state = train(rate, state, jax.random.split(keys[3], 100))
        errors.append(error(rate, state))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < adding.SOLVED
