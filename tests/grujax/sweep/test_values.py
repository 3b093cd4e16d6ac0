"""A hyperparameter runs with the value that the table shows, or is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grujax import sweep
from grujax.sweep.values import as_values, check_fit
from tests.fixtures import populations
from tests.fixtures.sweep_trainings import KEY, run

# Values that JAX would change without 64 bits, and the first one of them in the message.
CHANGED = [
    ([7, 2**32 + 7], "4294967303"),  # would run as 7
    ([2**40], "1099511627776"),  # as 0
    ([0, 2**31], "2147483648"),
    ([-(2**31) - 1], "-2147483649"),
    (np.array([2**32], np.uint64), "4294967296"),
    ([1e-50], "1e-50"),  # as 0
    ([1e300], r"1e\+300"),  # as infinity
    ([0.5, -1e300], r"-1e\+300"),
    ([3.5e38], r"3.5e\+38"),
    ([1e-40], "1e-40"),  # subnormal in float32: as 0
    (np.array([-1e-40], np.float32), "-1e-40"),
    ([1 + 1e300j], r"\(1\+1e\+300j\)"),
    ([1e-50j], "1e-50j"),
]
KEPT = [
    [0.1, 1 / 3, 16777217.0],  # rounded
    [0.0, -0.0, np.nan, np.inf, -np.inf],
    [3.4e38, -3.4e38, 1.2e-38],
    [2**31 - 1, -(2**31)],
    np.array([2**32 - 1, 0], np.uint32),
    np.array([255], np.uint8),
    np.array([1e-6, 65504], np.float16),
    [True, False],
    [1 + 2j, 1e-30j],
]


@pytest.mark.parametrize(("values", "first"), CHANGED)
def test_values_that_jax_would_change_are_refused(values, first):
    array = np.asarray(values)
    trials = {"learning_rate": values}
    message = f"`learning_rate` holds {first}, which does not fit"
    with pytest.raises(ValueError, match=message):
        run(trials=trials)
    for search in (populations.run, populations.halve):
        with pytest.raises(ValueError, match=message):
            search(trials)
    with pytest.raises(ValueError, match=message):
        sweep.sample(KEY, len(array), learning_rate=lambda u: array)


@pytest.mark.parametrize("values", KEPT)
def test_values_that_jax_keeps_run(values):
    trials = sweep.grid(a=values)
    result = run(lambda key, a: {"ran": a}, trials)
    ran = result.metrics["ran"]
    np.testing.assert_array_equal(ran, trials["a"].astype(ran.dtype))
    assert ran.dtype.kind == trials["a"].dtype.kind
    np.testing.assert_array_equal(result.trials["a"], np.asarray(values))


@given(value=st.integers(-(2**63), 2**64 - 1) | st.floats(allow_subnormal=True))
def test_refused_are_exactly_the_values_that_change(value):
    array = np.asarray(value)
    with np.errstate(over="ignore"):
        kept = np.asarray(jnp.asarray(array)).astype(array.dtype)
    if array.dtype.kind == "f" and abs(kept) < np.finfo(np.float32).tiny:
        kept = 0.0  # as XLA computes with it, see below
    is_same = np.isclose(kept, array, rtol=1e-6, atol=0, equal_nan=True)
    if is_same if array.dtype.kind == "f" else kept == array:
        check_fit("a", array)
    else:
        with pytest.raises(ValueError, match=r"`a` holds .* which does not fit"):
            check_fit("a", array)


def test_xla_takes_subnormal_numbers_for_zero():
    """This is why they are refused."""
    assert jax.jit(lambda x: x * 2)(np.float32(1e-40)) == 0


def test_64_bits_lift_the_limits():
    with jax.enable_x64(True):
        for values in ([2**32 + 7, 2**63 - 1], [1e300, 1e-50]):
            result = run(lambda key, a: {"ran": a}, {"a": values})
            assert result.metrics["ran"].tolist() == result.trials["a"].tolist() == values
        with pytest.raises(ValueError, match="`a` holds 1e-310, which does not fit float64"):
            check_fit("a", 1e-310)


def test_static_values_have_no_limits():
    got = []

    def train(key, seed, rate, name):
        got.append((seed, rate, name))
        return {"loss": jnp.zeros(())}

    trials = {"seed": [2**40], "rate": [1e-50], "name": ["gru"]}
    run(train, trials, static=("seed", "rate", "name"))
    assert set(got) == {(2**40, 1e-50, "gru")}
    assert [type(value) for value in got[0]] == [int, float, str]


def test_static_values_that_are_equal_run_with_their_own_type_and_sign():
    got = []

    def note(key, n):
        got.append(repr(n))
        return {"loss": jnp.zeros(())}

    for values in ([1], [1.0], [True], [0.0, -0.0]):
        run(note, {"n": values}, static=("n",))
    assert {*got} == {"1", "1.0", "True", "0.0", "-0.0"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([2**70], "`a` must hold numbers, bools or strings, got dtype object"),
        ([1, None], "`a` must hold numbers, bools or strings, got dtype object"),
        ([b"gru"], r"`a` must hold numbers, bools or strings, got dtype \|S3"),
        (np.array(["2020-01-01"], "M8[D]"), "`a` must hold .* got dtype datetime64"),
        (np.ones(2, np.longdouble), "`a` must hold .* got dtype .*float"),
        ([2**53 + 1, 0.5], "`a` holds 9007199254740993, which float64 cannot hold"),
        ([2**63 + 1, -1], "`a` holds 9223372036854775809, which float64 cannot hold"),
        (["a\0"], "`a` holds 'a.x00', which <U2 cannot hold"),
        ([1, "a"], "`a` mixes strings with other values"),
        ([True, 2], "`a` mixes bools with other values"),
        ([[1], [1, 2]], "`a` must be a list of values, got a list of 2"),
        ([[1], [2]], r"`a` must be a 1-D array, got shape \[2, 1\]"),
        (np.array(3), r"`a` must be a 1-D array, got shape \[\]"),
        (np.ma.array([1, 2], mask=[0, 1]), "`a` must be a list of values, none of them masked"),
        (jax.random.split(KEY), "`a` must be a list of values, got an array of shape"),
        (3, "`a` must be a list of values, got 3"),
        (b"gru", "`a` must be a list of values, got b'gru'"),
    ],
)
def test_values_that_no_array_holds_unchanged_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        as_values("a", values)


@pytest.mark.parametrize(
    "values",
    [[1, 2.5], (1, np.nan), range(3), np.arange(2.0), jnp.arange(2), {"a": 1}.values(), ["é", "b"]],
)
def test_lists_of_any_kind_are_values(values):
    array = as_values("a", values)
    np.testing.assert_array_equal(array, list(values))
    assert as_values("a", iter(values)).tolist() == array.tolist() or array[1] != array[1]
