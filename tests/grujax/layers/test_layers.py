from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from tests.helpers import BOTH, Draw, assert_close, assert_equal, inputs_of

INPUTS = inputs_of(BOTH, dtype="float32")
T, B, I = INPUTS.xs.shape  # noqa: E741
H = BOTH.hidden_size
MASKS = {"lengths": INPUTS.lengths, "resets": INPUTS.resets}
PADDING = np.arange(T)[:, None] >= INPUTS.lengths
DRAW = Draw("layers", "float32")
PAIR = (DRAW.params(I, H), DRAW.params(I, H, reset_after=False))
H0_PAIR = (DRAW.normal(B, H), DRAW.normal(H))
# One direction, then two, then two again: input sizes I, H, 2H.
STACK = [DRAW.params(I, H), (DRAW.params(H, H), DRAW.params(H, H))]
STACK.append((DRAW.params(2 * H, H), DRAW.params(2 * H, H)))
SQUARE = [DRAW.params(H, H) for _ in range(3)]
SQUARE_XS = DRAW.normal(T, B, H)


# --- bidirectional_gru --------------------------------------------------------------------------


def both_directions_by_hand():
    forward = grujax.gru(PAIR[0], INPUTS.xs, H0_PAIR[0], **MASKS, reset_state=H0_PAIR[0])
    options = {**MASKS, "reset_state": H0_PAIR[1], "reverse": True}
    backward = grujax.gru(PAIR[1], INPUTS.xs, H0_PAIR[1], **options)
    return forward, backward


@pytest.mark.parametrize(
    ("merge", "merged"),
    [
        ("concat", lambda f, b: np.concatenate([f, b], axis=-1)),
        ("sum", lambda f, b: f + b),
        ("mean", lambda f, b: (f + b) / 2),
        ("mul", lambda f, b: f * b),
        (lambda f, b: f - 2 * b, lambda f, b: f - 2 * b),
    ],
    ids=["concat", "sum", "mean", "mul", "function"],
)
def test_bidirectional_merges_two_directions(merge, merged):
    (last_forward, forward), (last_backward, backward) = both_directions_by_hand()
    options = {**MASKS, "reset_state": H0_PAIR, "merge": merge}
    got = grujax.bidirectional_gru(PAIR, INPUTS.xs, H0_PAIR, **options)
    want = (last_forward, last_backward), merged(np.asarray(forward), np.asarray(backward))
    assert_close(got, want, "float32")
    assert not np.any(got[1][PADDING])


def test_a_merge_function_may_change_the_width_and_its_padding_is_zero():
    def merge(forward, backward):
        return jnp.exp(forward + backward)[..., :2]

    _, hs = grujax.bidirectional_gru(PAIR, INPUTS.xs, **MASKS, merge=merge)
    assert hs.shape == (T, B, 2)
    assert not np.any(hs[PADDING])
    assert np.all(hs[~PADDING] > 0)


def test_a_merge_function_may_return_a_pytree_whose_padding_is_zero():
    (_, forward), (_, backward) = both_directions_by_hand()
    for masks in ({}, {**MASKS, "reset_state": H0_PAIR}):
        _, hs = grujax.bidirectional_gru(
            PAIR, INPUTS.xs, H0_PAIR, **masks, merge=lambda f, b: {"f": f, "b": b + 1}
        )
        assert {name: leaf.shape for name, leaf in hs.items()} == {"f": (T, B, H), "b": (T, B, H)}
    want = {"f": forward, "b": np.where(PADDING[..., None], 0, backward + 1)}
    assert_close(hs, want, "float32")


@pytest.mark.parametrize(
    ("merge", "got"),
    [
        (lambda f, b: f[0], rf"an array of shape \[{B}, {H}\]"),
        (lambda f, b: (f, b.mean()), r"an array of shape \[\]"),
        (lambda f, b: None, "None"),
        (lambda f, b: [f, "b"], "'b'"),
    ],
    ids=["no time", "a scalar", "nothing", "a string"],
)
def test_a_merge_function_returns_arrays_over_time(merge, got):
    message = rf"`merge` must return an array.* \[T, B\] = \[{T}, {B}\] .*, got {got}"
    for options in ({}, MASKS):
        with pytest.raises(ValueError, match=message):
            grujax.bidirectional_gru(PAIR, INPUTS.xs, **options, merge=merge)


def test_a_layer_below_another_merges_to_one_array():
    def both(forward, backward):
        return forward, backward

    with pytest.raises(ValueError, match=r"`merge` must return one array .*, got a tuple of 2"):
        grujax.stacked_gru([PAIR, PAIR], INPUTS.xs, merge=both)
    _, hs = grujax.stacked_gru([PAIR], INPUTS.xs, merge=both)
    assert_equal(hs, grujax.bidirectional_gru(PAIR, INPUTS.xs, merge=both)[1])


def test_directions_of_two_widths_concatenate():
    narrow = DRAW.params(I, 2)
    (_, last_backward), hs = grujax.bidirectional_gru((PAIR[0], narrow), INPUTS.xs)
    assert (last_backward.shape, hs.shape) == ((B, 2), (T, B, H + 2))


@pytest.mark.parametrize("h0", [None, (None, None), (None, H0_PAIR[1]), [H0_PAIR[0], None]])
def test_either_half_of_a_bidirectional_h0_may_be_none(h0):
    zeros = np.zeros((B, H), "float32")
    full = [zeros, zeros] if h0 is None else [zeros if item is None else item for item in h0]
    full = type(h0 or ())(full)
    got = grujax.bidirectional_gru(PAIR, INPUTS.xs, h0, **MASKS, reset_state=h0)
    want = grujax.bidirectional_gru(PAIR, INPUTS.xs, full, **MASKS, reset_state=full)
    assert_equal(got, want)


def test_the_padding_changes_no_gradient_of_a_bidirectional_gru():
    def loss(params, xs):
        options = {**MASKS, "reset_state": H0_PAIR, "merge": "mul"}
        return jnp.sum(grujax.bidirectional_gru(params, xs, H0_PAIR, **options)[1] ** 2)

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))
    dirty = np.where(PADDING[..., None], np.nan, INPUTS.xs)
    assert_equal(gradients(PAIR, dirty), gradients(PAIR, INPUTS.xs))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"merge": "add"}, r'`merge` must be a function, "concat".*got \'add\''),
        ({"params": PAIR[0]}, r"`params` must be a pair \(forward, backward\), got a GRUParams"),
        ({"params": (*PAIR, PAIR[0])}, r"`params` must be a pair .*, got a tuple of 3"),
        ({"params": (PAIR[0], None)}, r"`params` must be an instance of GRUParams, got None"),
        (
            {"h0": H0_PAIR[0]},
            rf"`h0` must be a pair \(forward, backward\), got an array of shape \[{B}, {H}\]",
        ),
        (
            {"params": (PAIR[0], DRAW.params(I, 2)), "merge": "sum"},
            rf"`merge=\"sum\"` needs .* equal hidden size, got {H} forward and 2 backward",
        ),
        ({"params": (PAIR[0], DRAW.params(9, H))}, r"`xs` has shape .* input size 9"),
        ({"implementation": "fastest"}, r"`implementation` must be .*got 'fastest'"),
    ],
)
def test_bidirectional_bad_input(wrong, message):
    with pytest.raises(ValueError, match=message):
        grujax.bidirectional_gru(**{"params": PAIR, "xs": INPUTS.xs, **wrong})


# --- stacked_gru --------------------------------------------------------------------------------


def test_a_stack_equals_its_layers_one_after_the_other():
    last_0, hs = grujax.gru(STACK[0], INPUTS.xs, **MASKS)
    last_1, hs = grujax.bidirectional_gru(STACK[1], hs, **MASKS)
    last_2, hs = grujax.bidirectional_gru(STACK[2], hs, **MASKS)
    assert_equal(grujax.stacked_gru(STACK, INPUTS.xs, **MASKS), ([last_0, last_1, last_2], hs))


@pytest.mark.parametrize("residual", [False, True])
def test_a_stack_may_return_the_hs_of_every_layer(residual):
    options = {**MASKS, "residual": residual, "dropout": 0.5, "key": jax.random.key(0)}
    want_last, want = grujax.stacked_gru(SQUARE, SQUARE_XS, **options)
    h_last, hs = grujax.stacked_gru(SQUARE, SQUARE_XS, **options, return_all_layers=True)
    assert_equal((h_last, hs[-1]), (want_last, want))
    assert [layer.shape for layer in hs] == [(T, B, H)] * 3
    options = {**MASKS, "residual": residual}
    _, hs = grujax.stacked_gru(SQUARE, SQUARE_XS, **options, return_all_layers=True)
    for layers in (1, 2):
        assert_equal(hs[layers - 1], grujax.stacked_gru(SQUARE[:layers], SQUARE_XS, **options)[1])


def test_merge_reaches_every_layer_of_a_stack():
    layers = [PAIR, (SQUARE[0], SQUARE[1])]
    _, hs = grujax.bidirectional_gru(layers[0], INPUTS.xs, merge="sum")
    want, hs = grujax.bidirectional_gru(layers[1], hs, merge="sum")
    h_last, got = grujax.stacked_gru(layers, INPUTS.xs, merge="sum")
    assert_equal((h_last[1], got), (want, hs))


@pytest.mark.parametrize("implementation", ["plain", "scan"])
def test_the_implementation_reaches_every_layer(implementation, monkeypatch):
    chosen = []
    choose = grujax.sequence.implementations.choose
    monkeypatch.setattr(
        grujax.sequence.implementations,
        "choose",
        lambda name, every: chosen.append(name) or choose(name, every),
    )
    grujax.stacked_gru(STACK, INPUTS.xs, implementation=implementation)
    assert chosen == [implementation] * len(STACK)


def test_feeding_h_last_back_continues_the_sequence():
    layers = [*SQUARE]
    lengths = np.int32([T, 0, 3])
    first = grujax.stacked_gru(layers, SQUARE_XS[:3], lengths=np.minimum(lengths, 3))
    second = grujax.stacked_gru(layers, SQUARE_XS[3:], first[0], lengths=np.maximum(lengths - 3, 0))
    h_last, hs = grujax.stacked_gru(layers, SQUARE_XS, lengths=lengths)
    assert_close((second[0], np.concatenate([first[1], second[1]])), (h_last, hs), "float32")


def test_a_stacks_h0_has_the_structure_of_its_h_last():
    h_last, _ = grujax.stacked_gru(STACK, INPUTS.xs, **MASKS)
    assert isinstance(h_last, list)
    assert [isinstance(last, tuple) for last in h_last] == [False, True, True]
    again, _ = grujax.stacked_gru(STACK, INPUTS.xs, h_last, **MASKS, reset_state=h_last)
    assert jax.tree.map(jnp.shape, again) == jax.tree.map(jnp.shape, h_last)
    partly = [h_last[0], None, (None, h_last[2][1])]
    grujax.stacked_gru(STACK, INPUTS.xs, partly, **MASKS, reset_state=0.0)


def test_a_stacks_learned_h0_broadcasts_and_resets_go_back_to_it():
    h0 = [DRAW.normal(H) for _ in SQUARE]
    full = [np.broadcast_to(h, (B, H)) for h in h0]
    resets = np.ones((T, B), bool)  # every step starts from h0
    got = grujax.stacked_gru(SQUARE, SQUARE_XS, h0, resets=resets, reset_state=h0)
    want = grujax.stacked_gru(SQUARE, SQUARE_XS, full, resets=resets, reset_state=full)
    assert_close(got, want, "float32")
    steps = [grujax.stacked_gru(SQUARE, x[None], h0)[1][0] for x in SQUARE_XS]
    assert_close(got[1], np.stack(steps), "float32")


def test_residual_adds_each_layers_input_but_the_firsts_and_leaves_the_states_alone():
    last_0, hs_0 = grujax.gru(SQUARE[0], SQUARE_XS, **MASKS)
    last_1, outputs = grujax.gru(SQUARE[1], hs_0, **MASKS)
    hs_1 = hs_0 + outputs
    last_2, outputs = grujax.gru(SQUARE[2], hs_1, **MASKS)
    got = grujax.stacked_gru(SQUARE, SQUARE_XS, **MASKS, residual=True)
    assert_close(got, ([last_0, last_1, last_2], hs_1 + outputs), "float32")
    assert not np.any(got[1][PADDING])


def test_a_residual_adds_what_dropout_left_alone():
    """GNMT: dropout acts on what a layer reads, not on the path round it."""
    silent = jax.tree.map(np.zeros_like, SQUARE[1])
    layers = [SQUARE[0], silent]
    key = jax.random.key(0)
    _, hs = grujax.stacked_gru(layers, SQUARE_XS, residual=True, dropout=0.5, key=key)
    assert_close(hs, grujax.gru(SQUARE[0], SQUARE_XS)[1], "float32")


# --- dropout ------------------------------------------------------------------------------------


def reads_its_input(size: int, gain: float = 1e-3):
    """A layer whose outputs are `gain` times its inputs: z = 0, and tanh(x) ≈ x."""
    w_x = np.zeros((3, size, size), "float32")
    w_x[2] = gain * np.eye(size)
    b_x = np.zeros((3, size), "float32")
    b_x[1] = -100
    zeros = np.zeros((3, size, size), "float32")
    return grujax.GRUParams(w_x, zeros, b_x, np.zeros(size, "float32"))


WIDE = 64
READERS = [reads_its_input(WIDE, 1.0)] + [reads_its_input(WIDE) for _ in range(2)]
WIDE_XS = DRAW.normal(T, B, WIDE, scale=0.5)


def dropped(key, rate, layers=READERS[:2]):
    """What the top layer reads, divided by what it would read without dropout."""
    _, hs = grujax.stacked_gru(layers, WIDE_XS, dropout=rate, key=key)
    _, clean = grujax.stacked_gru(layers, WIDE_XS)
    return np.asarray(hs) / np.asarray(clean)


def test_dropout_zeroes_at_its_rate_and_scales_the_rest():
    ratio = dropped(jax.random.key(0), 0.25)
    gone = ratio == 0
    np.testing.assert_allclose(ratio[~gone], 1 / 0.75, rtol=1e-4)  # tanh(x) ≈ x
    deviation = np.sqrt(0.25 * 0.75 / gone.size)
    assert abs(gone.mean() - 0.25) < 4 * deviation
    # Each step, row and unit by itself.
    assert all(0 < gone.mean(axis=axis).std() < 0.2 for axis in ((0, 1), (0, 2), (1, 2)))


def test_every_layer_but_the_first_draws_its_own_dropout():
    twice = dropped(jax.random.key(0), 0.5, READERS) == 0
    once = dropped(jax.random.key(0), 0.5) == 0
    assert abs(twice.mean() - 0.75) < 0.05
    assert np.all(twice[once])


def test_dropout_between_the_layers_of_one_layer_warns():
    with pytest.warns(UserWarning, match="`dropout` .* `input_dropout` acts") as caught:
        alone = grujax.stacked_gru(READERS[:1], WIDE_XS, dropout=0.5, key=jax.random.key(0))
    assert caught[0].filename == __file__
    assert_equal(alone, grujax.stacked_gru(READERS[:1], WIDE_XS))


def test_dropout_is_reproducible_by_its_key():
    run = partial(grujax.stacked_gru, SQUARE, SQUARE_XS, dropout=0.5)
    assert_equal(run(key=jax.random.key(3)), run(key=jax.random.key(3)))
    assert not np.array_equal(run(key=jax.random.key(3))[1], run(key=jax.random.key(4))[1])


def test_without_a_key_or_at_rate_zero_there_is_no_dropout():
    clean = grujax.stacked_gru(SQUARE, SQUARE_XS)
    assert_equal(grujax.stacked_gru(SQUARE, SQUARE_XS, dropout=0.5), clean)
    for rate in (0.0, jnp.float32(0.0)):
        key = jax.random.key(0)
        assert_equal(grujax.stacked_gru(SQUARE, SQUARE_XS, dropout=rate, key=key), clean)


def test_dropout_keeps_the_padding_zero_and_the_dtype():
    layers = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), SQUARE)
    xs = jnp.asarray(SQUARE_XS, jnp.bfloat16)
    for rate in (0.5, jnp.float32(0.5)):
        _, hs = grujax.stacked_gru(layers, xs, **MASKS, dropout=rate, key=jax.random.key(0))
        assert hs.dtype == jnp.bfloat16
        assert not np.any(hs[PADDING])


def test_the_rate_may_be_traced_and_mapped():
    key, rates = jax.random.key(0), jnp.array([0.0, 0.3, 0.6])

    def run(rate):
        return grujax.stacked_gru(SQUARE, SQUARE_XS, dropout=rate, key=key)[1]

    got = jax.jit(jax.vmap(run))(rates)
    assert_close(got, np.stack([run(float(rate)) for rate in rates]), "float32")


def test_a_stack_trains_under_jit_and_vmap_over_models():
    models = jax.tree.map(lambda leaf: np.stack([leaf, 0.5 * leaf]), STACK)

    def loss(layers):
        h_last, hs = grujax.stacked_gru(layers, INPUTS.xs, **MASKS)
        return jnp.sum(hs**2) + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(h_last))

    got = jax.jit(jax.vmap(jax.grad(loss)))(models)
    gradients = jax.jit(jax.grad(loss))
    for index in range(2):
        want = gradients(jax.tree.map(lambda leaf, i=index: leaf[i], models))
        assert_close(jax.tree.map(lambda leaf, i=index: leaf[i], got), want, "float32")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": []}, r"`layers` must be a non-empty list.*got a list of 0"),
        ({"layers": SQUARE[0]}, r"`layers` must be a non-empty list.*got a GRUParams"),
        ({"layers": [{"w": 1}]}, r"`layers\[0\]` must be a pair.*got a dict"),
        ({"h0": [None]}, r"`h0` must have the structure.*a list of 3, got a list of 1"),
        (
            {"h0": np.zeros((3, B, H), "float32")},
            rf"`h0` must have the structure.*a list of 3, got an array of shape \[3, {B}, {H}\]",
        ),
        ({"dropout": 1.0}, r"`dropout` must be a number in \[0, 1\), got 1.0"),
        ({"dropout": np.float32(1.5)}, r"`dropout` must be a number in \[0, 1\), got 1.5"),
        ({"dropout": -0.1}, r"`dropout` must be a number in \[0, 1\), got -0.1"),
        (
            {"layers": [SQUARE[0], DRAW.params(H, 2)], "residual": True},
            rf"`residual` needs equal widths, but layer 1 maps {H} to 2",
        ),
        ({"layers": [SQUARE[0], DRAW.params(9, H)]}, r"`xs` has shape .* input size 9"),
        ({"merge": "add", "layers": [STACK[1]]}, r"`merge` must be .*got 'add'"),
    ],
)
def test_stacked_bad_input(wrong, message):
    with pytest.raises(ValueError, match=message):
        grujax.stacked_gru(**{"layers": SQUARE, "xs": SQUARE_XS, **wrong})
