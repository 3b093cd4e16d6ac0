"""A population equals a loop over its members, goes on where it was, and compiles once."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grujax import sweep
from grujax.sweep import population_search
from tests.fixtures.populations import EXPLORE, RATES, RICH, assert_same, halve, init, run, step
from tests.grujax.sweep.test_running import Compilations
from tests.helpers import ROOT


def copy_the_best(key, scores):
    """The worst becomes the best."""
    order = jnp.argsort(scores)
    return jnp.arange(len(scores)).at[order[0]].set(order[-1])


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("strategy", ["map", "vmap"])
def test_a_population_equals_a_loop(mode, strategy):
    starts, rates, rounds = np.arange(1.0, 7), np.geomspace(0.1, 0.43, 6), 5
    sign = 1 if mode == "max" else -1

    def start(key, learning_rate, start):
        return start * jnp.ones(2)

    def descend(key, w, learning_rate, start):
        return w - learning_rate * w

    def measure(key, w, learning_rate, start):
        return {"size": w.sum(), "rate": learning_rate}

    result = run(
        {"learning_rate": rates, "start": starts},
        init=start,
        step=descend,
        evaluate=measure,
        metric="size",
        mode=mode,
        strategy=strategy,
        rounds=rounds,
        exploit=copy_the_best,
        explore={"learning_rate": lambda key, value: value / 2},
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


def test_members_with_nan_are_replaced():
    trials = {"learning_rate": np.array([0.1, np.nan, 0.05, np.inf, 0.2, 0.01, 0.3, np.nan])}
    result = run(trials, rounds=3)
    assert np.isnan(result.metrics["loss_by_round"][:, 0]).tolist() == [0, 1, 0, 1, 0, 0, 0, 1]
    assert not np.isnan(result.metrics["loss_by_round"][:, 1:]).any()
    assert not result.diverged.any()
    lost = run({"learning_rate": np.full(3, np.nan)}, rounds=2)
    assert lost.diverged.all()


def test_more_rounds_go_on_to_the_bit(tmp_path):
    whole = run(**RICH)
    run(**RICH, directory=tmp_path, rounds=2)
    run(**RICH, directory=tmp_path, rounds=3)
    assert_same(run(**RICH, directory=tmp_path), whole)
    with pytest.raises(ValueError, match="holds 6 rounds already, more than 5"):
        run(**RICH, directory=tmp_path, rounds=5)


def test_a_finished_search_only_reads(tmp_path, monkeypatch):
    whole = run(directory=tmp_path)
    monkeypatch.setattr(population_search, "programs_for", None)
    assert_same(run(directory=tmp_path), whole)


@pytest.mark.parametrize("search", [run, halve])
def test_what_is_stopped_goes_on_to_the_bit(tmp_path, monkeypatch, search):
    whole, write = search(**RICH), population_search.write_population

    def write_and_stop(directory, population):
        if population.rounds == 4:
            raise OSError("no space left")
        write(directory, population)

    monkeypatch.setattr(population_search, "SAVE_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(population_search, "write_population", write_and_stop)
        with pytest.raises(OSError, match="no space left"):
            search(**RICH, directory=tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == [
        "round-000002.npz",
        "round-000003.npz",
    ]
    newest = tmp_path / "round-000003.npz"
    newest.write_bytes(newest.read_bytes()[:-30])
    with pytest.warns(UserWarning, match=r"round-000003.npz is damaged .*from the one before"):
        assert_same(search(**RICH, directory=tmp_path), whole)


@pytest.mark.parametrize("directory", [True, False])
def test_ctrl_c_keeps_all_rounds(tmp_path, monkeypatch, capsys, directory):
    place = {"directory": tmp_path} if directory else {}

    def stop_in_third(search, programs, population, original=population_search._run_round):
        if population.rounds == 2:
            raise KeyboardInterrupt
        return original(search, programs, population)

    with monkeypatch.context() as patch:
        patch.setattr(population_search, "_run_round", stop_in_third)
        with pytest.raises(KeyboardInterrupt):
            run(**place)
    told = capsys.readouterr().err
    assert "Sweep stopped with 2 of 6 rounds done" in told
    assert (f"kept in {tmp_path}" if directory else "for want of a `directory`") in told
    assert (tmp_path / "round-000002.npz").exists() == directory
    assert_same(run(**place), run())


@pytest.mark.slow
def test_any_devices_give_the_same_result():
    code = (
        "import jax\n"
        "jax.config.update('jax_num_cpu_devices', 3)\n"
        "from tests.fixtures.populations import *\n"
        "one, three = jax.devices()[1:2], jax.devices()\n"
        "for search, strategy, options in (\n"
        "    (run, 'map', RICH), (run, 'vmap', {}), (halve, 'map', {'factor': 3})\n"
        "):\n"
        "    alone = search(**options, devices=one, strategy=strategy)\n"
        "    spread = search(**options, devices=three, strategy=strategy)\n"
        "    assert_same(spread, alone, 1e-5)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env={"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    )


def test_all_rounds_are_one_program_that_is_kept():
    def own_step(key, state, learning_rate):
        return step(key, state, learning_rate)

    def compiled(rounds):
        with Compilations() as compilations:
            run(step=own_step, rounds=rounds, exploit=sweep.truncation(0.3))
        return compilations.count

    compiled(1)
    assert compiled(5) == 0


def test_steps_draw_each_for_itself_and_evaluations_alike():
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
    whole = run(**RICH, key=make_key(0))
    run(**RICH, key=make_key(0), rounds=4, directory=tmp_path)
    assert_same(run(**RICH, key=make_key(0), directory=tmp_path), whole)


def test_halving_keeps_the_best_for_longer():
    trials = {"learning_rate": np.geomspace(0.002, 0.3, 9)}
    result = halve(trials, factor=3, rounds=2, **RICH)
    counts = np.bincount(result.metrics["rounds"])
    assert {n: count for n, count in enumerate(counts) if count} == {2: 6, 8: 2, 26: 1}
    curve = result.metrics["loss_by_round"]
    assert curve.shape == (9, 26)
    best = np.argsort(curve[:, 1])[:3]
    assert set(np.flatnonzero(result.metrics["rounds"] > 2)) == set(best)
    assert set(np.flatnonzero(result.metrics["rounds"] == 26)) == {best[np.argmin(curve[best, 7])]}
    for index, ran in enumerate(result.metrics["rounds"]):
        assert not np.isnan(curve[index, :ran]).any()
        assert np.isnan(curve[index, ran:]).all()
        assert result.metrics["loss"][index] == curve[index, ran - 1]
        assert result.metrics["steps"][index] == ran
    assert list(result.states) == [np.argmax(result.metrics["rounds"])]


def test_a_halved_member_trains_as_in_a_population():
    def stay(key, scores):
        return jnp.arange(len(scores))

    halved, whole = halve(), run(rounds=7, exploit=stay)
    for index, ran in enumerate(halved.metrics["rounds"]):
        np.testing.assert_allclose(
            halved.metrics["loss_by_round"][index, :ran],
            whole.metrics["loss_by_round"][index, :ran],
            rtol=1e-5,
        )


def test_members_with_nan_leave_first():
    result = halve({"learning_rate": np.array([np.nan, 0.3, np.nan, 0.001])})
    assert result.metrics["rounds"].tolist() == [1, 7, 1, 3]
    assert result.diverged.tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": jax.random.key(6)}, "`key` is"),
        ({"mode": "max"}, "`mode` is 'min' there and 'max' here"),
        ({"exploit": sweep.truncation(0.4)}, r"`exploit` is '_truncate\(0.25\)' there and '_tru"),
        ({"explore": {"learning_rate": sweep.perturb(1e-3, 1.0)}}, "`explore` is"),
        ({"trials": {"learning_rate": 2 * RATES["learning_rate"]}}, "trials differ in `learn"),
        ({"init": lambda key, learning_rate: init(key, learning_rate)}, "`init` is 'init' there"),
    ],
)
def test_a_directory_of_another_search_is_refused(tmp_path, change, message):
    run(directory=tmp_path, rounds=1)
    with pytest.raises(ValueError, match=f"belongs to another sweep: .*{message}"):
        run(directory=tmp_path, **{"rounds": 1} | change)
    with pytest.raises(ValueError, match=r"belongs to another sweep: .*`rungs` is None there"):
        halve(directory=tmp_path)


def test_a_directory_with_other_states_or_metrics_is_refused(tmp_path):
    def longer(key, learning_rate):
        return jnp.zeros(4)

    def one_metric(key, w, learning_rate):
        return {"loss": w.sum()}

    run(directory=tmp_path, rounds=1)

    def richer(key, learning_rate):
        return RICH["init"](key, learning_rate)

    longer.__qualname__ = richer.__qualname__ = "init"
    one_metric.__qualname__ = "evaluate"
    with pytest.raises(ValueError, match=r"metrics \['first', 'loss'\], and .* \['loss'\] now"):
        run(evaluate=one_metric, directory=tmp_path)
    with pytest.raises(ValueError, match=r"an array float32 \[3\], where `init` makes float32 \[4"):
        run(init=longer, directory=tmp_path, rounds=1)
    with pytest.raises(ValueError, match="states of 1 arrays, and `init` makes 4 now"):
        run(init=richer, directory=tmp_path, rounds=1)


def test_progress_shows_rounds(capsys):
    run(progress=True)
    assert "6/6" in capsys.readouterr().err


def test_integers_and_functions_without_exploration_are_taken_over():
    trials = RATES | {
        "size": np.array([3, 1, 4, 1, 5]),
        "flag": np.array([True, False] * 2 + [True]),
    }

    def own(function):
        return lambda *arguments, size, flag, **rest: function(*arguments, **rest)

    explore = EXPLORE | {"size": sweep.perturb(1, 8, (2.0,))}
    functions = {name: own(f) for name, f in {"init": init, "step": step}.items()}
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


NOISE = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "`rounds` must be at least 1, got 0"),
        ({"mode": "least"}, '`mode` must be "min" or "max"'),
        ({"strategy": "pmap"}, "`strategy` must be None"),
        ({"devices": []}, "at least one device"),
        ({"metric": "error"}, "`metric` is 'error', but `evaluate` returns `first`, `loss`"),
        ({"explore": {"rate": sweep.perturb(0, 1)}}, "names `rate`, but the hyperparameters are"),
        ({"explore": {"learning_rate": 2}}, r"`explore\['learning_rate'\]` must be a function"),
        ({"explore": {"learning_rate": lambda key, v: jnp.ones(2)}}, r"one value for one, got sh"),
        ({"exploit": 3}, "`exploit` must be a function, got int"),
        ({"exploit": lambda key, scores: scores}, r"an integer for each of 5 members, got float"),
        ({"init": 3}, "`init` must be a function, got int"),
        ({"init": lambda key, learning_rate: {"name": "w"}}, r"its entry \['name'\] is str 'w'"),
        ({"step": lambda key, w, learning_rate: (w, w)}, "returns the tree"),
        ({"step": lambda key, w, learning_rate: w[:2]}, r"it is float32 \[2\] and was float32 \[3"),
        ({"step": lambda key, w, learning_rate: w + NOISE.random()}, "`step` is not pure"),
        ({"evaluate": lambda key, w, learning_rate: 1.0}, "a dict of metrics with at least"),
        ({"evaluate": lambda key, w, learning_rate: {"loss": w}}, "its entry `loss` is "),
        ({"evaluate": lambda key, w, learning_rate: {"loss": 0, "parent": 1}}, "entries `parent`"),
        ({"trials": {"learning_rate": ["a"]}}, "`learning_rate` holds strings, which cannot be"),
        ({"trials": {"learning_rate": [[1.0]]}}, "`learning_rate` must be a 1-D array"),
        ({"trials": {}}, "`trials` must be a dict"),
        ({"key": jax.random.split(jax.random.key(0), 2)}, r"one JAX random key, got shape \[2\]"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_bad_rungs_are_refused():
    for options, message in (({"factor": 1}, "`factor` must be at"), ({"rounds": 0}, "`rounds`")):
        with pytest.raises(ValueError, match=message):
            halve(**options)


def test_what_has_no_lineage_is_refused():
    with pytest.raises(ValueError, match="only `population` returns"):
        sweep.lineage(halve(), 0)
    with pytest.raises(ValueError, match="`member` must be below 5, got 5"):
        sweep.lineage(run(rounds=2), 5)


def test_a_hyperparameter_that_python_branches_on_is_explained():
    def branches(key, learning_rate):
        return init(key, learning_rate) if learning_rate > 0 else 0.0

    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        run(init=branches)
    assert "All hyperparameters of a population are traced" in " ".join(caught.value.__notes__)
