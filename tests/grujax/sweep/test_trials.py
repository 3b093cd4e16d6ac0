"""Trials: grids, samples, groups, and the trials that `run` refuses."""

from itertools import count

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grujax import sweep
from grujax.sweep import trials as trials_module
from tests.fixtures.sweep_trainings import KEY


def test_a_grid_has_every_combination_once():
    trials = sweep.grid(rate=[0.1, 0.2], size=range(3), cell=["gru", "lstm"])
    rows = list(zip(*(array.tolist() for array in trials.values()), strict=True))
    assert len(rows) == len(set(rows)) == 12
    assert rows[:3] == [(0.1, 0, "gru"), (0.1, 0, "lstm"), (0.1, 1, "gru")]
    assert [array.dtype.kind for array in trials.values()] == ["f", "i", "U"]


@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 70),
    lo=st.floats(1e-6, 1e3),
    factor=st.floats(1.01, 1e6),
    sobol=st.booleans(),
)
def test_samples_are_within_their_bounds(seed, n, lo, factor, sobol):
    drawn = sweep.sample(
        jax.random.key(seed),
        n,
        sobol=sobol,
        a=sweep.uniform(-lo, lo),
        b=sweep.log_uniform(lo, lo * factor),
        c=sweep.integer(-2, 3),
        d=sweep.choice(["x", "y"]),
    )
    assert {len(array) for array in drawn.values()} == {n}
    assert np.all((drawn["a"] >= -lo) & (drawn["a"] <= lo))
    assert np.all((drawn["b"] >= lo * (1 - 1e-12)) & (drawn["b"] <= lo * factor * (1 + 1e-12)))
    assert set(drawn["c"]) <= set(range(-2, 3))
    assert set(drawn["d"]) <= {"x", "y"}


def test_sobol_fills_each_sixteenth_once():
    a = sweep.sample(jax.random.key(2), 16, sobol=True, a=sweep.uniform(0, 16))["a"]
    assert sorted(np.floor(a).astype(int)) == list(range(16))


def test_a_sample_depends_on_its_key_alone():
    def draw(seed):
        return sweep.sample(jax.random.key(seed), 5, a=sweep.uniform(0, 1))["a"]

    np.testing.assert_array_equal(draw(0), draw(0))
    assert np.all(draw(0) != draw(1))
    old_style = sweep.sample(jax.random.PRNGKey(0), 5, a=sweep.uniform(0, 1))["a"]
    np.testing.assert_array_equal(draw(0), old_style)


def test_groups_keep_the_order_of_trials():
    trials = sweep.grid(rate=[0.1, 0.2], size=[4, 8])
    groups = trials_module.group_by(trials, ("size",))
    assert [(fixed, indices.tolist()) for fixed, indices in groups] == [
        ({"size": 4}, [0, 2]),
        ({"size": 8}, [1, 3]),
    ]
    assert type(groups[0][0]["size"]) is int
    signs = trials_module.group_by({"a": np.array([0.0, -0.0, np.nan, np.nan])}, ("a",))
    assert [indices.tolist() for _, indices in signs] == [[0], [1], [2, 3]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sweep.grid(), "at least one hyperparameter"),
        (lambda: sweep.grid(a=[]), "`a` must have one or more values, got a list of 0"),
        (lambda: sweep.grid(a=[1, "x"]), "`a` mixes strings with other values"),
        (lambda: sweep.grid(a=[True, 2]), "`a` mixes bools with other values"),
        (lambda: sweep.grid(a="gru"), "`a` must be a list of values, got 'gru'"),
        (lambda: sweep.grid(a={"gru", "rnn"}), "`a` must be a list of values, got a set of 2"),
        (lambda: sweep.grid(a=count()), "`a` yields more than 1048576 values"),
        (lambda: sweep.grid(**{c: range(2000) for c in "abc"}), "at most 2147483647 trials"),
        (lambda: sweep.sample(jax.random.key(0), 0, a=sweep.uniform(0, 1)), "`n` must be an inte"),
        (lambda: sweep.sample(jax.random.key(0), 2), "at least one hyperparameter"),
        (lambda: sweep.sample(jax.random.key(0), 2, a=0.5), "`a` must be a distribution"),
        (
            lambda: sweep.sample(jax.random.key(0), 2, a=lambda u: 2),
            r"`a` must be a list of values",
        ),
        (lambda: sweep.sample(jax.random.key(0), 2, a=lambda u: u[:1]), "makes 1 of 2"),
        (lambda: sweep.sample(jax.random.key(0), 2, a=lambda: 2), "but raises TypeError"),
        (
            lambda: jax.jit(lambda key: sweep.sample(key, 2, a=sweep.uniform(0, 1)))(KEY),
            "`key` must not be traced",
        ),
    ],
)
def test_bad_trials_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("trials", "static", "message"),
    [
        ({"a": [1, 2], "b": [1, 2, 3]}, (), "equally many values, got `a` 2, `b` 3"),
        ({}, (), "`trials` must have at least one hyperparameter"),
        ([1, 2], (), "`trials` must be a dict"),
        ({"a": []}, (), "`a` must have one or more values"),
        ({1: [2]}, (), "`trials` must have strings as keys"),
        ({"a": [1, "x"]}, ("a",), "`a` mixes strings with other values"),
        ({"a": [[1.0]]}, (), r"`a` must be a 1-D array, got shape \[1, 1\]"),
        ({"a": ["x"]}, (), "`a` holds strings, which cannot be traced: add it to `static`"),
        ({"a": [None]}, (), "`a` must hold numbers, bools or strings, got dtype object"),
        ({"a": [1]}, ("b",), "`static` names `b`, but the hyperparameters are `a`"),
        ({"a": [1]}, "a", "`static` must be a list of strings, got 'a'"),
        ({"b": [1]}, (), r"`train` cannot be called with \(key, b=\.\.\.\): missing a required"),
        ({"a": [1], "b": [1]}, (), r"`train` cannot be called with .*unexpected keyword .*'b'"),
        ({"a": [1], "key": [1]}, (), r"`train` cannot be called with .* values for argument 'key'"),
    ],
)
def test_run_refuses_bad_trials(trials, static, message):
    with pytest.raises(ValueError, match=message):
        sweep.run(
            lambda key, a: {"loss": a}, trials, key=jax.random.key(0), static=static, progress=False
        )
