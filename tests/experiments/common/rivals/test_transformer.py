"""The Transformer: its equations, its cache, lengths, resets, and both directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.common.rivals import transformer
from experiments.common.rivals.transformer import (
    HEADS,
    encode,
    head_size,
    init_transformer,
    initial_cache,
    run_transformer,
    transformer_step,
)
from tests.helpers import Draw, assert_close, assert_equal

T, B, I, H = 7, 3, 4, 5  # noqa: E741
LENGTHS = np.array([7, 3, 1])
XS = Draw("sequence", "float32").normal(T, B, I)
STEPS = np.arange(T)
AGES = STEPS[:, None] - STEPS  # how many steps before each step the others are
sizes = st.integers(1, 6)


def random_params(hidden_size: int = H):
    """Random scales, too: ones would hide a lost one."""
    draw = Draw("transformer", "float32")
    drawn = init_transformer(jax.random.key(0), I, hidden_size)
    return jax.tree.map(lambda leaf: draw.normal(*leaf.shape, scale=0.7), drawn)


PARAMS = random_params()
run = jax.jit(run_transformer)
step = jax.jit(transformer_step)
encode_jit = jax.jit(encode)


def reference(params, xs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The equations for one sequence [T, I] in float64; mask [T, S] says who attends to whom."""

    def normalize(x, scale):
        return scale * x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-6)

    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x = xs @ params.w_in
    size = head_size(x.shape[-1])
    speeds = 10_000.0 ** -(np.arange(size // 2) / (size // 2))
    turns = np.exp(1j * np.arange(len(xs))[:, None] * speeds)
    for block in params.blocks:
        parts = normalize(x, block.attention_scale) @ block.w_qkv
        queries, keys, values = parts.reshape(len(xs), 3, HEADS, size).swapaxes(0, 1)
        read = []
        for head in range(HEADS):
            q, k = (
                turns * (part[:, head, : size // 2] + 1j * part[:, head, size // 2 :])
                for part in (queries, keys)
            )
            scores = np.where(mask, (q @ k.conj().T).real / np.sqrt(size), -np.inf)
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            read.append(shares / shares.sum(-1, keepdims=True) @ values[:, head])
        x = x + np.concatenate(read, -1) @ block.w_out
        wide = normalize(x, block.mlp_scale) @ block.w_up
        gelu = 0.5 * wide * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
        x = x + gelu @ block.w_down
    return normalize(x, params.scale)


def step_by_step(params, state, xs):
    """The outputs [T, B, H] of one step after the other, and the state after the last."""
    outputs = []
    for x in xs:
        state = step(params, state, x)
        outputs.append(state.h)
    return state, jnp.stack(outputs)


def known(state):
    """What a cache holds, by row and number of the step: free places do not matter."""
    return [
        {
            int(number): (state.keys[row, :, place], state.values[row, :, place])
            for place, number in enumerate(state.positions[row])
            if number >= 0
        }
        for row in range(len(state.count))
    ]


def assert_same_state(got, want):
    assert_close(got.h, want.h, "float32", tolerance=1e-4)
    assert_equal(got.count, want.count)
    assert_close(known(got), known(want), "float32", tolerance=1e-4)


@pytest.mark.parametrize("hidden_size", [1, 4, H])
def test_the_equations(hidden_size):
    params = random_params(hidden_size)
    outputs = run_transformer(params, XS)[1]
    both_ways = encode(params, XS)
    for row in range(B):
        want = reference(params, XS[:, row], AGES >= 0)
        assert_close(outputs[:, row], want, "float32", tolerance=1e-4)
        want = reference(params, XS[:, row], np.ones((T, T), bool))
        assert_close(both_ways[:, row], want, "float32", tolerance=1e-4)


def test_a_run_is_one_step_after_the_other():
    start = initial_cache((B, H), jnp.float32, window=T + 2)
    state, outputs = step_by_step(PARAMS, start, XS)
    assert_close(outputs, run(PARAMS, XS)[1], "float32", tolerance=1e-4)
    got_state, got = run(PARAMS, XS, start)
    assert_close(got, outputs, "float32", tolerance=1e-4)
    assert_same_state(got_state, state)


def test_a_full_cache_is_attention_to_the_last_steps():
    window = 3
    start = initial_cache((B, H), jnp.float32, window)
    recent = np.isin(AGES, range(window))
    want = np.stack([reference(PARAMS, XS[:, row], recent) for row in range(B)], 1)
    state, outputs = step_by_step(PARAMS, start, XS)
    assert_close(outputs, want, "float32", tolerance=1e-4)
    for cut in (0, 2, 5):  # in two runs
        middle, first = run(PARAMS, XS[:cut], start)
        got_state, second = run(PARAMS, XS[cut:], middle)
        assert_close(jnp.concatenate([first, second]), want, "float32", tolerance=1e-4)
        assert_same_state(got_state, state)


def test_padding_is_not_read_and_its_outputs_are_zero():
    noise = np.where(STEPS[:, None, None] < LENGTHS[:, None], XS, np.nan)
    state, outputs = run(PARAMS, noise, lengths=LENGTHS)
    both_ways = encode_jit(PARAMS, noise, LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone = XS[:length, row : row + 1]
        want_state, want = run_transformer(PARAMS, alone)
        assert_close(outputs[:length, row], want[:, 0], "float32", tolerance=1e-4)
        assert_close(state.h[row], want_state.h[0], "float32", tolerance=1e-4)
        assert_close(known(state)[row], known(want_state)[0], "float32", tolerance=1e-4)
        want = encode(PARAMS, alone)[:, 0]
        assert_close(both_ways[:length, row], want, "float32", tolerance=1e-4)
        assert not outputs[length:, row].any()
        assert not both_ways[length:, row].any()


def test_a_row_without_a_step_keeps_its_state():
    start, _ = run(PARAMS, XS, initial_cache((B, H), jnp.float32, T))
    state, outputs = run(PARAMS, XS, start, lengths=np.zeros(B, int))
    assert not outputs.any()
    assert_same_state(state, start)


def test_a_reset_forgets_all_before_it():
    start, _ = run(PARAMS, XS[::-1], initial_cache((B, H), jnp.float32, T))
    resets = np.zeros((T, B), bool)
    resets[[0, 4], 0] = resets[6, 1] = True
    state, outputs = run(PARAMS, XS, start, resets=resets)
    for row, since in ((0, 4), (1, 6)):
        want_state, want = run_transformer(PARAMS, XS[since:, row : row + 1])
        assert_close(outputs[since:, row], want[:, 0], "float32", tolerance=1e-4)
        assert len(known(state)[row]) == T - since
        assert_close(state.h[row], want_state.h[0], "float32", tolerance=1e-4)
    assert_close(outputs[:4, 0], run(PARAMS, XS)[1][:4, 0], "float32", tolerance=1e-4)
    assert_close(outputs[:, 2], run(PARAMS, XS, start)[1][:, 2], "float32", tolerance=1e-4)
    # The next run does not see what was before, either.
    following = run(PARAMS, XS, state)[1]
    alone = run_transformer(PARAMS, np.concatenate([XS[4:, :1], XS[:, :1]]))[1][3:]
    recent = run(PARAMS, XS[4:], initial_cache((B, H), jnp.float32, T))[0]
    assert_close(following[:4, 0], alone[:4, 0], "float32", tolerance=1e-4)
    assert_close(following[:, 0], run(PARAMS, XS, recent)[1][:, 0], "float32", tolerance=1e-4)


def test_a_reset_in_the_padding_does_nothing():
    resets = np.zeros((T, B), bool)
    resets[3:, 1] = True
    start, _ = run(PARAMS, XS[::-1], initial_cache((B, H), jnp.float32, T))
    want = run(PARAMS, XS, start, lengths=LENGTHS)
    assert_equal(run(PARAMS, XS, start, lengths=LENGTHS, resets=resets), want)


def test_no_steps():
    nothing = XS[:0]
    assert run(PARAMS, nothing)[1].shape == encode(PARAMS, nothing).shape == (0, B, H)
    start, _ = run(PARAMS, XS, initial_cache((B, H), jnp.float32, T))
    state, outputs = run(PARAMS, nothing, start)
    assert outputs.shape == (0, B, H)
    assert_equal(state, start)


def test_rows_do_not_see_each_other():
    order = np.array([2, 0, 1])
    want = encode_jit(PARAMS, XS, LENGTHS)[:, order]
    assert_close(encode_jit(PARAMS, XS[:, order], LENGTHS[order]), want, "float32")


def test_the_gradient_of_padding_is_zero():
    gradient = jax.grad(lambda xs: jnp.sum(encode(PARAMS, xs, LENGTHS) ** 2))(XS)
    valid = STEPS[:, None] < LENGTHS
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient).any(-1) == valid).all()


def test_reading_backward_is_refused():
    with pytest.raises(ValueError, match="see `encode`"):
        run_transformer(PARAMS, XS, reverse=True)


@given(steps=sizes, rows=sizes, input_size=sizes, hidden_size=sizes, window=sizes)
def test_shapes_and_dtypes(steps, rows, input_size, hidden_size, window):
    """By tracing: a step and a run keep the shapes of the state, in which loops carry it."""
    dtype = jnp.bfloat16 if steps % 2 else jnp.float32
    params = jax.eval_shape(
        lambda key: jax.tree.map(
            lambda leaf: leaf.astype(dtype), init_transformer(key, input_size, hidden_size)
        ),
        jax.eval_shape(jax.random.key, 0),
    )
    assert params.hidden_size == hidden_size
    assert transformer.head_size(hidden_size) % 2 == 0
    xs = jax.ShapeDtypeStruct((steps, rows, input_size), dtype)
    state = jax.eval_shape(lambda: initial_cache((rows, hidden_size), dtype, window))
    lengths = jax.ShapeDtypeStruct((rows,), jnp.int32)
    want = jax.ShapeDtypeStruct((steps, rows, hidden_size), dtype)
    got_state, got = jax.eval_shape(run_transformer, params, xs, state)
    assert (got, got_state) == (want, state)
    got_state, got = jax.eval_shape(run_transformer, params, xs)
    assert got == want
    assert got_state.positions.shape == (rows, steps)
    x = jax.ShapeDtypeStruct((rows, input_size), dtype)
    assert jax.eval_shape(transformer_step, params, state, x) == state
    assert jax.eval_shape(encode, params, xs, lengths) == want
