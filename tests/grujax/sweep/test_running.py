"""A trial of a sweep equals the trial alone, however it runs; and it compiles once."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grujax import sweep
from grujax.sweep import local, programs
from tests.fixtures.sweep_trainings import (
    GRU_TRIALS,
    KEY,
    TRIALS,
    Compilations,
    assert_equals_trials_alone,
    descend,
    run,
    train_gru,
)


def new_train():
    """A function that no program was compiled for."""
    return lambda key, learning_rate: descend(key, learning_rate)


@pytest.mark.parametrize("strategy", [None, "map", "vmap"])
@pytest.mark.parametrize(("train", "chunk"), [(train_gru, None), (descend, 2)])
def test_a_trial_equals_the_trial_alone(train, strategy, chunk):
    result = run(train, GRU_TRIALS, strategy=strategy, chunk=chunk)
    assert_equals_trials_alone(result, train, GRU_TRIALS)
    assert result.diverged.tolist() == [False] * 4 + [True]
    assert np.isnan(result.metrics["loss"][4])


def test_static_values_group_trials():
    def train(key, learning_rate, hidden_size):
        return descend(key, learning_rate) | {"hidden": jnp.zeros(hidden_size).size}

    trials = sweep.grid(learning_rate=[0.1, 0.5], hidden_size=[2, 3])
    result = run(train, trials, static=("hidden_size",))
    assert result.metrics.pop("hidden").tolist() == [2, 3, 2, 3]
    trials.pop("hidden_size")
    assert_equals_trials_alone(result, descend, trials)


def test_shorter_curves_are_padded_with_nan():
    trials = sweep.grid(learning_rate=[0.1], steps=[2, 4])
    result = run(descend, trials, static=("steps",))
    assert np.isnan(result.metrics["losses"]).tolist() == [[False] * 2 + [True] * 2, [False] * 4]
    assert not result.diverged.any()


@pytest.mark.parametrize("make_key", [jax.random.PRNGKey, lambda s: jax.random.key(s, impl="rbg")])
def test_any_kind_of_key(make_key):
    key = make_key(0)
    result = run(lambda key, a: {"u": jax.random.uniform(key) + a}, {"a": np.zeros(3)}, key=key)
    expected = [jax.random.uniform(jax.random.fold_in(key, i)) for i in range(3)]
    np.testing.assert_allclose(result.metrics["u"], expected, rtol=1e-6)


@pytest.mark.parametrize("strategy", ["map", "vmap"])
def test_repeating_a_sweep_compiles_nothing(strategy):
    train = new_train()
    with Compilations() as first:
        run(train, strategy=strategy)
    with Compilations() as again:
        run(train, strategy=strategy)
        run(train, sweep.grid(learning_rate=np.linspace(0.2, 0.3, 7)), strategy=strategy)
    assert first.count >= 1
    assert again.count == 0


def test_a_program_lives_as_long_as_its_train_function():
    train = new_train()
    run(train)
    reference = weakref.ref(train)
    assert train in programs._PROGRAMS
    del train
    gc.collect()
    assert reference() is None


def test_a_callable_without_a_hash_is_a_train_function():
    class Train:
        __hash__ = None

        def __call__(self, key, learning_rate):
            return descend(key, learning_rate)

    assert_equals_trials_alone(run(Train()), descend, TRIALS)


def test_a_map_program_serves_every_number_of_trials(monkeypatch, chunks_run):
    def sizes():
        return [len(chunk) for chunk in chunks_run]

    result = run(chunk=3, strategy="map")
    assert sizes() == [3, 3, 1]
    chunks_run.clear()
    assert_equals_trials_alone(result, descend, TRIALS)
    run(strategy="map")
    assert sizes()[0] == 1
    assert sum(sizes()) == 7
    monkeypatch.setattr(local, "CHUNK_SECONDS", 0)
    chunks_run.clear()
    run(strategy="map")
    assert sizes() == [1] * 7


def test_vmap_takes_as_many_trials_as_fit(monkeypatch):
    widths = []

    def compile_and_note(train, plan, build=programs._compile):
        program = build(train, plan)
        widths.append(program.capacity)
        return program

    monkeypatch.setattr(programs, "_compile", compile_and_note)
    monkeypatch.setattr(programs, "_available_bytes", lambda devices: 1)
    result = run(new_train(), strategy="vmap")
    assert widths == [1]
    assert_equals_trials_alone(result, descend, TRIALS)


def test_the_memory_available_is_divided_among_devices():
    one, two = (programs._available_bytes(jax.devices() * n) for n in (1, 2))
    assert 1.5 < one / two < 2.5  # it changes between two calls


def test_a_nan_stops_no_other_trial():
    trials = {"learning_rate": np.array([0.1, np.nan, 0.5])}
    result = run(trials=trials)
    assert result.diverged.tolist() == [False, True, False]
    assert_equals_trials_alone(result, descend, trials)


@pytest.mark.parametrize("directory", [True, False])
def test_ctrl_c_says_what_is_saved(tmp_path, monkeypatch, capsys, directory):
    calls = []

    def stop_in_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return programs.run_chunk(*arguments)

    options = {"chunk": 2} | ({"directory": tmp_path} if directory else {})
    with monkeypatch.context() as patch:
        patch.setattr(local, "run_chunk", stop_in_third)
        with pytest.raises(KeyboardInterrupt):
            run(**options)
    message = capsys.readouterr().err
    assert "Sweep stopped with 4 of 7 trials done" in message
    assert (f"saved in {tmp_path}" if directory else "no `directory` was given") in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "pmap"}, "`strategy` must be None"),
        ({"chunk": 0}, "`chunk` must be an integer from 1 to 2147483647, got 0"),
        ({"devices": []}, "`devices` must name at least one device"),
        ({"key": jax.random.split(KEY, 2)}, r"one JAX random key, .* of shape \[2\]"),
        ({"devices": jax.devices() * 2}, "`devices` must name .* each once, got 2"),
        ({"devices": ["cpu"]}, "`devices` must be a list of JAX devices .*, got a list of 1"),
        ({"devices": 99}, "`devices` is 99, but this process has "),
        ({"devices": True}, "`devices` must be a positive integer, got True"),
        ({"train": 3}, r"`train` must be a function `train\(key, learning_rate=...\)`, got 3"),
        ({"train": int}, r"`train` cannot be called with \(key, learning_rate=...\): "),
        ({"progress": "no"}, "`progress` must be True or False, got 'no'"),
        ({"directory": b"x"}, "`directory` must be a path, got b'x'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_groups_must_return_the_same_metrics():
    def names(key, size):
        return {f"loss{size}": jnp.zeros(())}

    def shapes(key, size):
        return {"counts": jnp.zeros(size, jnp.int32)}

    for train, message in ((names, "the metrics"), (shapes, r"`counts` as int32 \[1\]")):
        with pytest.raises(ValueError, match=message):
            run(train, sweep.grid(size=[1, 2]), static=("size",))
