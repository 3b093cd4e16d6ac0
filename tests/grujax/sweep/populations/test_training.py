"""A population equals a loop over its members, and compiles once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grujax import sweep
from tests.fixtures.populations import (
    EXPLORE,
    RATES,
    RICH,
    WALK,
    assert_same,
    halve,
    init,
    run,
    step,
)
from tests.fixtures.sweep_trainings import Compilations


def copy_the_best(key, scores):
    """The worst member copies the best."""
    order = jnp.argsort(scores)
    return jnp.arange(len(scores)).at[order[0]].set(order[-1])


def start_at(key, learning_rate, start):
    return start * jnp.ones(2)


def descend(key, w, learning_rate, start):
    return w - learning_rate * w


def measure(key, w, learning_rate, start):
    return {"size": w.sum(), "rate": learning_rate}


def halve_rate(key, value):
    return value / 2


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("strategy", ["map", "vmap"])
def test_a_population_equals_a_loop(mode, strategy):
    starts, rates, rounds = np.arange(1.0, 7), np.geomspace(0.1, 0.43, 6), 5
    sign = 1 if mode == "max" else -1
    result = run(
        {"learning_rate": rates, "start": starts},
        init=start_at,
        step=descend,
        evaluate=measure,
        metric="size",
        mode=mode,
        strategy=strategy,
        rounds=rounds,
        exploit=copy_the_best,
        explore={"learning_rate": halve_rate},
    )
    w, expected = starts.copy(), {name: [] for name in ("size", "learning_rate", "start", "parent")}
    values = np.stack([rates, starts])
    for number in range(rounds):
        parents = np.arange(6)
        if number:
            order = np.argsort(sign * w)
            parents[order[0]] = order[-1]
            w, values = w[parents], values[:, parents]
            values[0, order[0]] /= 2
        w = w - values[0] * w
        for name, column in zip(expected, (2 * w, *values, parents), strict=True):
            expected[name].append(column.copy())
    for name, columns in expected.items():
        curve = result.metrics[f"{name}_by_round"]
        np.testing.assert_allclose(curve, np.transpose(columns), rtol=1e-5, err_msg=name)
    np.testing.assert_array_equal(result.metrics["size"], result.metrics["size_by_round"][:, -1])
    np.testing.assert_array_equal(result.trials["learning_rate"], rates)
    np.testing.assert_allclose([state.sum() for state in result.states.values()], 2 * w, rtol=1e-5)


def test_a_population_finds_what_no_member_alone_can():
    """The example of Jaderberg et al. 2017, figure 2: each member sees one of two coordinates."""

    def ascend(key, w, seen, unseen):
        h = jnp.stack([seen, unseen])
        return jax.lax.fori_loop(0, 4, lambda _, w: w - 0.05 * 2 * h * w, w)

    def search(exploit):
        return run(
            {"seen": np.array([1.0, 0.0]), "unseen": np.array([0.0, 1.0])},
            init=lambda key, seen, unseen: jnp.full(2, 0.9),
            step=ascend,
            evaluate=lambda key, w, seen, unseen: {"q": 1.2 - (w**2).sum()},
            metric="q",
            mode="max",
            rounds=40,
            exploit=exploit,
            explore={name: sweep.resample(sweep.uniform(0, 1)) for name in ("seen", "unseen")},
        )

    alone = search(lambda key, scores: jnp.arange(2))
    together = search(sweep.truncation(0.5))
    assert alone.best("q", "max").metrics["q"] == pytest.approx(1.2 - 0.9**2)
    assert together.best("q", "max").metrics["q"] > 1.19


def test_a_lineage_is_a_schedule():
    result = run(rounds=8)
    member = result.best("loss").trial
    line, parents = sweep.lineage(result, member), result.metrics["parent_by_round"]
    assert line.shape == (8,)
    assert line[-1] == member
    for number in range(1, 8):
        assert parents[line[number], number] == line[number - 1]
    assert np.all(parents[:, 0] == np.arange(5))
    rates = result.metrics["learning_rate_by_round"]
    copied = parents != np.arange(5)[:, None]
    assert copied.any()
    for member, number in zip(*np.nonzero(copied), strict=True):
        factor = rates[member, number] / rates[parents[member, number], number - 1]
        assert np.any(np.isclose(factor, [0.8, 1.25])) or np.isclose(rates[member, number], 0.4)


def test_lineage_refuses_other_results_and_members():
    with pytest.raises(ValueError, match=r"`result` has no parents .* only `population` returns"):
        sweep.lineage(halve(**RICH), 0)
    with pytest.raises(ValueError, match="`result` must be an instance of SweepResult, as"):
        sweep.lineage({}, 0)
    result = run(rounds=2)
    for member in (5, -1, 1.0, True, None):
        with pytest.raises(
            ValueError, match=f"`member` must be an integer from 0 to 4, got {member}"
        ):
            sweep.lineage(result, member)
    for parents, message in (([[0.0, 1.0]], "no parents"), ([[0, 1]], "not among its 1 members")):
        other = sweep.SweepResult({}, {"parent_by_round": parents}, [False])
        with pytest.raises(ValueError, match=f"`result` has .*{message}"):
            sweep.lineage(other, 0)


def test_members_with_nan_are_replaced():
    trials = {"learning_rate": np.array([0.1, np.nan, 0.05, np.inf, np.nan])}
    result = run(trials, rounds=3)
    assert np.isnan(result.metrics["loss_by_round"][:, 0]).tolist() == [0, 1, 0, 1, 1]
    assert not np.isnan(result.metrics["loss_by_round"][:, 1:]).any()
    assert not result.diverged.any()
    lost = run({"learning_rate": np.full(5, np.nan)}, rounds=2)
    assert lost.diverged.all()


def test_all_rounds_share_one_program_that_stays_compiled():
    def new_step(key, state, learning_rate):
        return WALK["step"](key, state, learning_rate)

    def count_compilations(rounds):
        with Compilations() as compilations:
            run(**WALK | {"step": new_step}, rounds=rounds, exploit=sweep.truncation(0.3))
        return compilations.count

    assert count_compilations(1) > 0
    assert count_compilations(5) == 0


def test_steps_draw_independently_and_evaluations_share_a_key():
    def draw(key, w, learning_rate):
        return jax.random.uniform(key, (3,))

    def tell(key, w, learning_rate):
        return {"loss": w[0], "shared": jax.random.uniform(key)}

    metrics = run(step=draw, evaluate=tell).metrics
    assert len(np.unique(metrics["loss_by_round"])) == 5 * 6
    assert np.all(metrics["shared_by_round"] == metrics["shared_by_round"][0])
    assert len(np.unique(metrics["shared_by_round"])) == 6


@pytest.mark.parametrize("make_key", [jax.random.PRNGKey, lambda s: jax.random.key(s, impl="rbg")])
def test_any_kind_of_key(make_key, tmp_path):
    options = WALK | {"key": make_key(0)}
    whole = run(**options)
    run(**options, rounds=4, directory=tmp_path)
    assert_same(run(**options, directory=tmp_path), whole)


def test_integers_are_rounded_and_unexplored_values_copied():
    trials = RATES | {
        "size": np.array([3, 1, 4, 1, 5]),
        "flag": np.array([True, False] * 2 + [True]),
    }

    def ignore_others(function):
        return lambda *arguments, size, flag, **rest: function(*arguments, **rest)

    explore = EXPLORE | {"size": sweep.perturb(1, 8, (2.0,))}
    functions = {name: ignore_others(f) for name, f in {"init": init, "step": step}.items()}
    result = run(
        trials,
        **functions,
        evaluate=lambda key, w, learning_rate, size, flag: {"loss": w.sum() + size},
        explore=explore,
    )
    sizes, flags = (result.metrics[f"{name}_by_round"] for name in ("size", "flag"))
    assert sizes.dtype == np.int32
    assert flags.dtype == bool
    parents = result.metrics["parent_by_round"]
    for number in range(1, 6):
        moved = parents[:, number] != np.arange(5)
        before = sizes[parents[:, number], number - 1]
        assert np.all(sizes[:, number] == np.where(moved, np.minimum(2 * before, 8), before))
        assert np.all(flags[:, number] == flags[parents[:, number], number - 1])
