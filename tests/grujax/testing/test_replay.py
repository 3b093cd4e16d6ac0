"""`check_replay`: it names each planted fault, and accuses no replay that is right."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import grujax
from grujax.rollouts import join_sequences, resets_from_dones, split_sequences
from grujax.testing import check_replay

T, B, I, H = 12, 4, 2, 6  # noqa: E741
STATE, X = jnp.zeros((B, H)), jnp.zeros((B, I))
W_X, W_H = (
    jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)
    for seed, shape in enumerate([(I, H), (H, H)])
)


def step(x, h, reset):
    """A simple recurrent network, which compiles fast."""
    h = jnp.tanh(x @ W_X + jnp.where(reset[:, None], 0, h) @ W_H)
    return h, h


def run(h, xs, resets):
    return jax.lax.scan(lambda h, inputs: step(inputs[0], h, inputs[1]), h, (xs, resets))[1]


def in_chunks(rollout, start=lambda states: states[0], flags=lambda resets: resets, length=4):
    cut = partial(split_sequences, length=length)
    start, flags = start(cut(rollout.states)), flags(cut(rollout.resets))
    return join_sequences(run(start, cut(rollout.xs), flags), T)


def interleaved(rollout):
    def cut(leaf):
        return leaf.reshape(4, -1, *leaf.shape[2:])

    hs = run(cut(rollout.states)[0], cut(rollout.xs), cut(rollout.resets))
    return hs.reshape(T, B, H)


def rows_mixed(rollout):
    def cut(leaf):
        return leaf.reshape(-1, 4, *leaf.shape[2:]).swapaxes(0, 1)

    hs = run(cut(rollout.states)[0], cut(rollout.xs), cut(rollout.resets))
    return hs.swapaxes(0, 1).reshape(T, B, H)


def packed(rollout):
    def pack(leaf):
        return jnp.concatenate([leaf[:, :2], leaf[:, 2:]])

    hs = run(rollout.first_state[:2], pack(rollout.xs), pack(rollout.resets))
    return jnp.concatenate([hs[:T], hs[T:]], axis=1)


def resets_to_the_start(rollout):
    def to_start(h, inputs):
        x, reset = inputs
        h = jnp.where(reset[:, None], rollout.first_state, h)
        return step(x, h, jnp.zeros(B, bool))

    return jax.lax.scan(to_start, rollout.first_state, (rollout.xs, rollout.resets))[1]


def with_resets(change):
    return lambda rollout: run(rollout.first_state, rollout.xs, change(rollout))


def from_state(change):
    return lambda rollout: run(change(rollout), rollout.xs, rollout.resets)


NONE = jnp.zeros((1, B), bool)
FAULTS = {
    "dones as resets": (with_resets(lambda r: r.dones), "resets come one step early"),
    "resets[1:]": (
        with_resets(lambda r: jnp.concatenate([r.resets[1:], NONE])),
        "resets come one step early",
    ),
    "a shift too many": (
        with_resets(lambda r: jnp.concatenate([NONE, r.resets[:-1]])),
        "resets come one step late",
    ),
    "no resets": (with_resets(lambda r: r.resets & False), "it never resets"),
    "no first flag": (
        with_resets(lambda r: resets_from_dones(r.dones, first=False)),
        "the reset before the first step is lost",
    ),
    "terminations alone": (
        with_resets(lambda r: resets_from_dones(r.terminations, r.resets[0])),
        "after terminations, not after truncations",
    ),
    "one flag for all rows": (
        with_resets(lambda r: jnp.repeat(r.resets.any(1, keepdims=True), B, axis=1)),
        "a reset of one row resets all rows",
    ),
    "flags reshaped": (
        with_resets(lambda r: r.resets.T.reshape(T, B)),
        r"flags \[B, T\] are reshaped",
    ),
    "no reset_state": (resets_to_the_start, "resets go back to the state that the sequence"),
    "stored after the step": (
        from_state(lambda r: step(r.xs[0], r.first_state, r.resets[0])[0]),
        "state that was stored after step 0",
    ),
    "zeros": (from_state(lambda r: STATE), "it starts from the initial state, not from the stored"),
    "another row's state": (
        from_state(lambda r: jnp.roll(r.first_state, 1, axis=0)),
        "it starts from the state of another row",
    ),
    "interleaved": (interleaved, "interleaves the steps.*holds steps 0, 3, 6 and so on"),
    "rows mixed": (rows_mixed, "a reshape to sequences of 4 steps mixes the rows"),
    "packed": (packed, "2 slices are packed one after another along time, and the state leaks"),
    "zeros in chunks": (
        partial(in_chunks, start=lambda states: 0 * states[0]),
        "it starts from the initial state, not from the stored",
    ),
    "the end of a chunk": (
        partial(in_chunks, start=lambda states: states[-1]),
        "it starts from the last stored state",
    ),
    "no first flag in chunks": (
        partial(in_chunks, flags=lambda resets: resets.at[0].set(False)),
        "the reset before the first step is lost",
    ),
    "the next observation": (
        lambda r: run(r.first_state, jnp.concatenate([r.xs[1:], r.xs[-1:]]), r.resets),
        "the inputs are those of one step later",
    ),
    "zeros, no resets": (
        lambda r: run(STATE, r.xs, r.resets & False),
        "it starts from the initial state.*, and it never resets",
    ),
    "a mean over the batch": (
        lambda r: run(r.first_state, r.xs - r.xs.mean(1, keepdims=True), r.resets),
        "a leak between rows",
    ),
    "the mean over time": (
        lambda r: run(r.first_state, r.xs - r.xs.mean(0), r.resets),
        "it looks ahead",
    ),
    "unknown": (from_state(lambda r: 0.9 * r.first_state), "none of the faults that the check"),
}  # fmt: skip
QUICK = {"dones as resets", "no reset_state", "interleaved"}


def check(replay, act=step, state=STATE, x=X, steps=T, **options):
    check_replay(act, jax.jit(replay), state, x, steps=steps, **options)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FAULTS]
)
def test_a_planted_fault_is_named(name):
    replay, message = FAULTS[name]
    with pytest.raises(AssertionError, match=rf"(?s)from step \d+ on, first in rows? .*{message}"):
        check(replay)


def test_a_right_replay_passes():
    check(with_resets(lambda r: r.resets))


@pytest.mark.slow
@settings(max_examples=10)
@given(length=st.integers(1, 4), parts=st.integers(1, 3), rows=st.integers(4, 6))
def test_any_size_passes(length, parts, rows):
    steps = max(4, length) * parts

    def replay(rollout):
        cut = partial(split_sequences, length=max(4, length))
        hs = run(cut(rollout.states)[0], cut(rollout.xs), cut(rollout.resets))
        return join_sequences(hs, steps)

    check(replay, state=jnp.zeros((rows, H)), x=jnp.zeros((rows, I)), steps=steps)


@cache
def gru_params(dtype):
    return grujax.init_gru(jax.random.key(0), I, H, dtype=dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float32", marks=pytest.mark.slow)])
def test_a_gru_over_time_agrees_with_its_cell(dtype):
    params, zeros = gru_params(dtype), jnp.zeros(H, dtype)

    def act(x, h, reset):
        h = grujax.gru_cell(params, jnp.where(reset[:, None], zeros, h), x)
        return h, h

    def replay(rollout):
        h0 = rollout.first_state
        return grujax.gru(
            params,
            rollout.xs,
            h0,
            resets=rollout.resets,
            reset_state=zeros,
            implementation="plain",
        )[1]

    check(replay, act, STATE.astype(dtype), X.astype(dtype))


def test_states_inputs_and_outputs_are_pytrees():
    def act(x, state, reset):
        h, _ = step(x["seen"] + x["action"][:, None], state["h"], reset)
        count = jnp.where(reset, 0, state["count"]) + 1
        return {"h": h, "count": count}, {"y": h, "count": count}

    def replay(rollout):
        def body(state, inputs):
            return act(inputs[0], state, inputs[1])

        return jax.lax.scan(body, rollout.first_state, (rollout.xs, rollout.resets))[1]

    state = {"h": STATE, "count": jnp.zeros(B, jnp.int32)}
    check(replay, act, state, {"seen": X, "action": jnp.arange(B)})


def test_an_actor_without_resets_is_named():
    def act(x, h, reset):
        return step(x, h, reset & False)

    with pytest.raises(AssertionError, match=r"`step` does not reset .* it ignores `reset`"):
        check(FAULTS["no resets"][0], act)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"state": jnp.zeros((3, H))},
            r"`initial_state` must hold arrays .* rows, and at least 4, got",
        ),
        ({"x": jnp.zeros((5, I))}, "`x` must hold arrays .* 4 rows, as `initial_state` has"),
        ({"replay": lambda r: r.xs}, r"`replay` must return .*\[\[12, 4, 6\]\], got \[\[12, 4, 2"),
        ({"act": lambda x, h, reset: (h, x)}, "outputs of `step` hardly depend on its state"),
        ({"steps": 3}, "`steps` must be an integer of at least 4, got 3"),
        ({"tolerance": 0.0}, r"`tolerance` must be a number in \(0, 1\), got 0.0"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        check(**{"replay": FAULTS["no resets"][0], **options})
