import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import grujax
from grujax.cell import matmul_each
from tests.helpers import Draw, assert_close, assert_equal
from tests.reference import textbook_step, textbook_weights

both_forms = pytest.mark.parametrize("reset_after", [True, False], ids=["after", "before"])


def step_of(reset_after: bool, dtype="float64", batch=(3,)):
    draw = Draw("cell", dtype)
    return draw.params(4, 5, reset_after), draw.normal(*batch, 5), draw.normal(*batch, 4)


@both_forms
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
def test_a_step_equals_the_textbook(x64, reset_after, batch):
    params, h, x = step_of(reset_after, batch=batch)
    want = np.zeros_like(h)
    for row in np.ndindex(*batch):
        want[row] = textbook_step(textbook_weights(params), h[row], x[row], reset_after)
    assert_close(grujax.gru_cell(params, h, x), want, "float64")


@pytest.mark.parametrize(("reset_after", "candidate"), [(True, 3.5), (False, 5.0)])
def test_a_step_by_hand(reset_after, candidate):
    """r = σ(−ln 3) = 1/4, z = σ(ln 3) = 3/4, and in hundredths n = tanh(x + 1 + ...):

    reset after: r·(h + 2) = 1.5; reset before: r·h + 2 = 3.
    """
    ln3 = np.log(3)
    params = grujax.GRUParams(
        w_x=np.float32([-ln3, ln3, 0.01]).reshape(3, 1, 1),
        w_h=np.float32([0, 0, 0.01]).reshape(3, 1, 1),
        b_x=np.float32([0, 0, 0.01]).reshape(3, 1),
        b_hn=np.float32([0.02]),
        reset_after=reset_after,
    )
    h, x = np.float32([4]), np.float32([1])
    gates = grujax.gru_gates(params, h, x)
    n = np.tanh(0.01 * candidate)
    np.testing.assert_allclose(np.concatenate(gates), [0.25, 0.75, n], rtol=1e-6)
    np.testing.assert_allclose(grujax.gru_cell(params, h, x), [0.75 * 4 + 0.25 * n], rtol=1e-6)


@both_forms
def test_the_gates_make_the_state(reset_after):
    params, h, x = step_of(reset_after, "float32")
    reset, update, candidate = grujax.gru_gates(params, h, x)
    assert {gate.shape for gate in (reset, update, candidate)} == {h.shape}
    assert_close(grujax.gru_cell(params, h, x), update * h + (1 - update) * candidate, "float32")


def test_the_forms_differ_where_the_reset_gate_is_between_0_and_1():
    after, h, x = step_of(True, "float32")
    before, _, _ = step_of(False, "float32")
    difference = grujax.gru_cell(after, h, x) - grujax.gru_cell(before, h, x)
    assert np.max(np.abs(difference)) > 0.01
    # With the reset gate wide open they are one.
    after, before = (replace_bias(params, reset=100.0) for params in (after, before))
    assert_close(grujax.gru_cell(after, h, x), grujax.gru_cell(before, h, x), "float32")


def replace_bias(params, reset=0.0, update=0.0):
    b_x = params.b_x + np.float32([reset, update, 0])[:, None]
    return grujax.GRUParams(params.w_x, params.w_h, b_x, params.b_hn, params.reset_after)


@both_forms
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_update_gate_of_one_carries_the_state_bit_for_bit(reset_after, dtype):
    params, h, x = step_of(reset_after, "float32")
    params = replace_bias(params, update=np.inf)
    params, h, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (params, h, x))
    assert_equal(grujax.gru_cell(params, h, x), h)


@pytest.mark.parametrize(
    ("x_dtype", "params_dtype", "dtype"),
    [
        ("bfloat16", "bfloat16", "bfloat16"),
        ("float32", "bfloat16", "float32"),
        ("bfloat16", "float32", "float32"),
        ("float16", "bfloat16", "float32"),
    ],
)
def test_the_state_has_the_promoted_dtype_and_gates_at_least_float32(x_dtype, params_dtype, dtype):
    params, h, x = step_of(True, "float32")
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, params_dtype), params)
    x = jnp.asarray(x, x_dtype)
    assert grujax.gru_cell(params, h, x).dtype == dtype  # whatever h has
    assert {gate.dtype.name for gate in grujax.gru_gates(params, h, x)} == {"float32"}


def test_matmuls_accumulate_in_float32():
    """In bfloat16 a running sum of ones stops at 256."""
    params = grujax.init_gru(jax.random.key(0), 4096, 1, dtype=jnp.bfloat16)
    w_x = jnp.zeros((3, 4096, 1), jnp.bfloat16).at[1].set(1 / 4096)
    params = grujax.GRUParams(w_x, params.w_h, params.b_x, params.b_hn)
    update = grujax.gru_gates(params, jnp.zeros(1), jnp.ones(4096, jnp.bfloat16)).update
    np.testing.assert_allclose(update, jax.nn.sigmoid(1.0), rtol=1e-6)


@both_forms
def test_gradients_equal_finite_differences(x64, reset_after):
    step = step_of(reset_after, batch=(2,))
    check_grads(grujax.gru_cell, step, order=2, modes=["fwd", "rev"], eps=1e-5)


@both_forms
def test_the_gradient_of_a_step_is_a_stack_not_a_sum_of_padded_stacks(reset_after):
    """A loop over steps would add each of these up, at every step."""
    step = step_of(reset_after, "float32")
    gradient = jax.grad(lambda params, h, x: jnp.sum(grujax.gru_cell(params, h, x)))
    text = jax.jit(gradient).lower(*step).as_text()
    assert "stablehlo.pad" not in text
    assert "stablehlo.scatter" not in text


@pytest.mark.parametrize(("rows", "products"), [(1, 2), (5, 2), (6, 6)])
def test_few_rows_read_the_stacks_of_matrices_where_they_are(rows, products):
    """XLA copies each matrix that is taken out of its stack, at every step of a loop."""
    step = step_of(True, "float32", batch=(rows,))
    text = jax.jit(grujax.gru_cell).lower(*step).as_text()
    assert text.count("stablehlo.dot_general") == products


@pytest.mark.parametrize("batch", [(), (0,), (2, 2), (6,)])
def test_products_with_a_stack_and_their_derivatives_are_those_with_each_matrix(x64, batch):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((*batch, 3)), rng.standard_normal((2, 3, 5))

    def derivatives(multiply):
        def loss(x, w):
            return sum(jnp.sum(product**3) for product in multiply(x, w))

        return multiply(x, w), jax.grad(loss, (0, 1))(x, w), jax.hessian(loss, (0, 1))(x, w)

    found = jax.jit(derivatives, static_argnums=0)(matmul_each)
    expected = derivatives(lambda x, w: [x @ matrix for matrix in w])
    assert_close(found, expected, "float64")


def test_an_operand_without_batch_axes_serves_all_rows():
    params, h, x = step_of(True, "float32")
    want = grujax.gru_cell(params, np.broadcast_to(h[0], h.shape), x)
    assert_close(grujax.gru_cell(params, h[0], x), want, "float32")
    want = grujax.gru_cell(params, h, np.broadcast_to(x[0], x.shape))
    assert_close(grujax.gru_cell(params, h, x[0]), want, "float32")


PARAMS, STATE, INPUT = step_of(True, "float32")
BAD_STEPS = {
    "x of another input size": (
        {"x": np.ones((3, 9), "float32")},
        r"`x` has shape \[3, 9\].*input size 4",
    ),
    "h of the input's width": ({"h": INPUT}, r"`h` has shape \[3, 4\].*hidden size 5"),
    "x of integers": ({"x": np.ones((3, 4), int)}, r"`x` must have a floating dtype, got int"),
    "h of integers": ({"h": np.ones((3, 5), int)}, r"`h` must have a floating dtype, got int"),
    "x without axes": ({"x": np.float32(1)}, r"`x` has shape \[\].*input size 4"),
    "batches that do not fit": (
        {"h": np.ones((2, 5), "float32")},
        r"`h` and `x` must have equal batch axes, or none, got .* \[2, 5\] and \[3, 4\]",
    ),
    "batch axes that would broadcast": (
        {"h": np.ones((3, 1, 1, 5), "float32")},
        r"`h` and `x` must have equal batch axes, or none, got .* \[3, 1, 1, 5\] and \[3, 4\]",
    ),
    "complex x": (
        {"x": np.ones((3, 4), "complex64")},
        r"`x` must have a floating dtype, got complex64. Pass real and imaginary parts as separate",
    ),
    "params of another kind": (
        {"params": {"w_x": PARAMS.w_x}},
        r"`params` must be an instance of GRUParams, got a dict",
    ),
    "params of several models": (
        {"params": jax.tree.map(lambda leaf: np.stack([leaf, leaf]), PARAMS)},
        r"`params` must have the shapes.*w_x \[2, 3, 4, 5\].*vmap",
    ),
    "params of integers": (
        {"params": jax.tree.map(lambda leaf: leaf.astype(int), PARAMS)},
        r"`params` must have a floating dtype.*`?w_x`? .*int",
    ),
}


@pytest.mark.parametrize("function", [grujax.gru_cell, grujax.gru_gates])
@pytest.mark.parametrize("name", BAD_STEPS)
def test_bad_input(name, function):
    wrong, message = BAD_STEPS[name]
    with pytest.raises(ValueError, match=message):
        function(**{"params": PARAMS, "h": STATE, "x": INPUT, **wrong})


@pytest.mark.parametrize(("of_h", "of_x"), [((1,), (3,)), ((3,), (1,)), ((2, 1), (2, 3))])
def test_a_batch_axis_of_size_one_serves_all_rows(of_h, of_x):
    draw = Draw("one row", "float32")
    h, x = draw.normal(*of_h, 5), draw.normal(*of_x, 4)
    batch = np.broadcast_shapes(of_h, of_x)
    want = grujax.gru_cell(PARAMS, np.broadcast_to(h, (*batch, 5)), np.broadcast_to(x, (*batch, 4)))
    assert_close(grujax.gru_cell(PARAMS, h, x), want, "float32")
