"""Lyapunov exponents of systems with known exponents."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax import analysis
from tests.helpers import Draw, assert_close


def linear(matrix, h, x):
    return h @ matrix + x


def henon(parameters, h, _):
    a, b = parameters
    return jnp.stack([1 - a * h[0] ** 2 + h[1], b * h[0]])


HENON = (1.4, 0.3)
HENON_EXPONENTS = (0.4192, -1.6232)  # Sprott 2003; they sum to log 0.3


@pytest.mark.parametrize("qr_interval", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_a_linear_system_has_the_logs_of_its_eigenvalues(qr_interval):
    moduli = np.array([1.1, 0.9, 0.7, 0.4])
    draw = Draw("linear", "float32")
    basis = draw.normal(4, 4)  # not orthogonal: the matrix is far from normal
    matrix = np.float32(np.linalg.inv(basis) @ np.diag(moduli * [1, -1, 1, -1]) @ basis)
    exponents = partial(
        analysis.lyapunov_exponents, matrix, draw.normal(900, 4), draw.normal(4), cell=linear
    )
    got = exponents(num_exponents=4, warmup=100, qr_interval=qr_interval)
    np.testing.assert_allclose(got, np.log(moduli), rtol=0.01)
    got = exponents(num_exponents=2, warmup=100, qr_interval=qr_interval)
    np.testing.assert_allclose(got, np.log(moduli[:2]), rtol=0.01)


def test_the_henon_map():
    exponents = analysis.lyapunov_exponents(
        HENON, jnp.zeros((30_000, 1)), jnp.zeros(2), num_exponents=2, cell=henon, warmup=100
    )
    np.testing.assert_allclose(exponents, HENON_EXPONENTS, rtol=0.01)
    np.testing.assert_allclose(exponents.sum(), np.log(0.3), rtol=1e-4)
    dimension = analysis.kaplan_yorke_dimension(exponents)
    np.testing.assert_allclose(dimension, 1.258, rtol=0.01)


@pytest.mark.slow
def test_a_system_driven_by_the_henon_map():
    """Two leaky units driven by the Hénon map: their exponents are the logs of their leaks, and the
    joint system has the exponents of both."""
    leaks = jnp.array([0.8, -0.5])

    def together(parameters, h, x):
        return jnp.concatenate([henon(parameters, h[:2], x), leaks * h[2:] + jnp.tanh(h[0])])

    steps = jnp.zeros((30_000, 1))
    exponents = analysis.lyapunov_exponents(
        HENON, steps, jnp.zeros(4), num_exponents=4, cell=together, warmup=100
    )
    x, y = HENON_EXPONENTS
    np.testing.assert_allclose(exponents, [x, np.log(0.8), np.log(0.5), y], rtol=0.01)

    _, states = grujax.scan_cell(henon, HENON, steps, jnp.zeros(2))
    exponents = analysis.lyapunov_exponents(
        jnp.diag(leaks), states[:1000], jnp.zeros(2), num_exponents=2, cell=linear
    )
    np.testing.assert_allclose(exponents, np.log([0.8, 0.5]), rtol=0.01)


def test_the_exponents_of_an_orthogonal_network_are_zero():
    matrix = jax.nn.initializers.orthogonal()(jax.random.key(0), (16, 16))
    xs = jax.random.normal(jax.random.key(1), (1000, 16))
    exponents = analysis.lyapunov_exponents(
        matrix, xs, jnp.zeros(16), num_exponents=16, cell=linear
    )
    np.testing.assert_allclose(exponents, np.zeros(16), atol=1e-4)


@pytest.mark.parametrize(
    "reset_after",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["after", "before"],
)
def test_all_exponents_of_a_gru_sum_to_the_mean_log_determinant(x64, reset_after):
    """Σ λ = 1/T · Σ log |det J_t| over each row's existing steps, for any tangent vectors."""
    draw = Draw("gru")
    params, xs, lengths = draw.params(3, 5, reset_after), draw.normal(60, 2, 3), np.int32([60, 23])
    h0 = draw.normal(5)
    jacobians = analysis.step_jacobians(params, xs, h0, lengths=lengths)
    logs = jnp.linalg.slogdet(jacobians)[1]  # 0 in the padding
    poisoned = np.where((np.arange(60)[:, None] < lengths)[..., None], xs, np.nan)
    for warmup, qr_interval in ((0, 1), (7, 4)):
        got = analysis.lyapunov_exponents(
            params,
            poisoned,
            h0,
            num_exponents=5,
            lengths=lengths,
            warmup=warmup,
            qr_interval=qr_interval,
        )
        assert got.shape == (2, 5)
        want = logs[warmup:].sum(0) / (lengths - warmup)
        # With QR at every fourth step the smallest direction loses digits.
        assert_close(got.sum(-1), want, "float64", tolerance=1e-7)
        assert np.all(np.diff(got) <= 0)


@pytest.mark.slow
def test_the_largest_exponents_do_not_depend_on_their_number():
    draw = Draw("few", "float32")
    params, xs = draw.params(3, 8), draw.normal(2000, 3)
    many, few = (
        analysis.lyapunov_exponents(params, xs, num_exponents=k, warmup=200, key=jax.random.key(k))
        for k in (8, 2)
    )
    np.testing.assert_allclose(few, many[:2], rtol=0.01)


@pytest.mark.slow
def test_a_contracting_gru_in_bfloat16():
    draw = Draw("low", "float32")
    params, xs = draw.params(3, 4), draw.normal(50, 3)
    low = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), (params, xs))
    got = analysis.lyapunov_exponents(*low, num_exponents=2)
    assert got.dtype == jnp.float32
    want = analysis.lyapunov_exponents(params, xs, num_exponents=2)
    np.testing.assert_allclose(got, want, rtol=0.05)  # the weights were rounded


@pytest.mark.slow
def test_jit_and_a_population():
    draw = Draw("population", "float32")
    models = [draw.params(3, 5) for _ in range(3)]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    xs = draw.normal(30, 2, 3)
    exponents = partial(
        analysis.lyapunov_exponents, xs=xs, num_exponents=2, lengths=np.int32([30, 9])
    )
    together = jax.jit(jax.vmap(exponents))(population)
    assert together.shape == (3, 2, 2)
    for index, model in enumerate(models):
        assert_close(together[index], exponents(model), "float32")


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ([-0.1, -0.5], 0.0),  # a fixed point
        ([0.5, 0.1, -2.0], 2.3),
        ([0.0, -1.0], 1.0),
        ([0.3, -0.1], 2.0),  # a lower bound
        ([0.2, -0.1, -0.2], 2.5),
    ],
)
def test_kaplan_yorke_dimension(exponents, dimension):
    np.testing.assert_allclose(analysis.kaplan_yorke_dimension(exponents), dimension, rtol=1e-6)
    batch = jnp.array([exponents, exponents])
    assert analysis.kaplan_yorke_dimension(batch).shape == (2,)


def test_bad_input():
    params = Draw("bad", "float32").params(3, 5)
    exponents = partial(analysis.lyapunov_exponents, params, jnp.zeros((4, 2, 3)), num_exponents=2)
    with pytest.raises(ValueError, match="`num_exponents` must be an integer from 1 to 5, got 6"):
        exponents(num_exponents=6)
    with pytest.raises(ValueError, match="`warmup` must be an integer from 0 to 3, got 4"):
        exponents(warmup=4)
    with pytest.raises(ValueError, match="`qr_interval` must be a positive integer, got 0"):
        exponents(qr_interval=0)
    with pytest.raises(ValueError, match="`lengths` must lie in"):
        exponents(lengths=np.int32([5, 1]))
    with pytest.raises(ValueError, match="`h0` must be given with a `cell`"):
        analysis.lyapunov_exponents(HENON, jnp.zeros((4, 1)), num_exponents=2, cell=henon)
