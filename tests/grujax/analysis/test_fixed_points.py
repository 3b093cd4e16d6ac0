"""Fixed points of systems with a known solution, and of GRUs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from grujax import analysis
from grujax.analysis import Stability
from tests.helpers import Draw, assert_close


def pitchfork(gain, h, x):
    """Independent units with fixed points at 0, which repels for a gain above 1, and at ±h*."""
    return jnp.tanh(gain * h + x)


def grid(low: float, high: float, num: int, size: int) -> jax.Array:
    axes = jnp.meshgrid(*[jnp.linspace(low, high, num)] * size)
    return jnp.stack([axis.ravel() for axis in axes], -1)


def test_all_fixed_points_of_two_bistable_units():
    gain = 1.5
    found = analysis.find_fixed_points(
        gain, jnp.zeros(2), grid(-1.2, 1.2, 9, 2), cell=pitchfork, size=12
    )
    assert found.num_found == 9
    h = 1.0
    for _ in range(200):
        h = np.tanh(gain * h)
    corners, edges = found.of(Stability.STABLE), found.of(Stability.SADDLE)
    assert sorted(np.sign(corners).tolist()) == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    np.testing.assert_allclose(np.abs(corners), np.full((4, 2), h), atol=1e-5)
    np.testing.assert_allclose(np.sort(np.abs(edges)), np.tile([0, h], (4, 1)), atol=1e-5)
    np.testing.assert_allclose(found.of(Stability.UNSTABLE), np.zeros((1, 2)), atol=1e-5)
    assert found.residuals[:9].max() <= 1e-6
    assert found.num_starts[:9].sum() == 81
    # The slope at each coordinate: gain·(1 − h²).
    slopes = gain * (1 - np.asarray(found.points[:9]) ** 2)
    want = -np.sort(-slopes, axis=-1)
    np.testing.assert_allclose(found.eigenvalues[:9].real, want, atol=1e-4)
    # The other slots are unused.
    assert np.isnan(found.points[9:]).all()
    assert found.stability[9:].tolist() == [Stability.NONE] * 3
    assert found.num_starts[9:].sum() == 0


@pytest.mark.slow
def test_num_found_counts_points_without_a_slot():
    found = analysis.find_fixed_points(
        1.5, jnp.zeros(2), grid(-1.2, 1.2, 9, 2), cell=pitchfork, size=4
    )
    assert found.num_found == 9
    assert found.points.shape == (4, 2)
    assert not np.isnan(found.points).any()


def test_a_slow_point_is_the_ghost_of_two_fixed_points():
    """h + ε + h²/2 has no fixed point; its speed is lowest, ε, at 0."""

    def ghost(epsilon, h, x):
        return h + epsilon + h**2 / 2 + x

    starts = jnp.linspace(-0.5, 0.5, 7)[:, None]
    search = partial(analysis.find_fixed_points, 1e-4, jnp.zeros(1), starts, cell=ghost, size=3)
    found = search(radius=0.1)
    assert found.num_found == 1
    assert found.stability.tolist() == [Stability.SLOW, Stability.NONE, Stability.NONE]
    np.testing.assert_allclose(found.residuals[0], 1e-4, rtol=0.05)
    assert abs(found.points[0, 0]) < 0.01
    assert search(slow_tolerance=5e-5).num_found == 0
    two = analysis.find_fixed_points(-2e-2, jnp.zeros(1), starts, cell=ghost, size=3)
    np.testing.assert_allclose(np.sort(two.points[:2, 0]), [-0.2, 0.2], atol=1e-4)


@pytest.mark.parametrize(
    "reset_after",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["after", "before"],
)
def test_stable_fixed_points_attract_a_gru(reset_after):
    draw = Draw("gru", "float32")
    params, x, starts = draw.params(3, 8, reset_after), draw.normal(3), draw.normal(40, 8)
    found = analysis.find_fixed_points(params, x, starts, size=8)
    assert 1 <= found.num_found <= 8
    points, count = found.points, int(found.num_found)
    assert found.residuals[:count].max() <= 1e-6
    assert np.abs(points[:count]).max() < 1
    jacobians = jax.vmap(jax.jacfwd(lambda h: grujax.gru_cell(params, h, x)))(points[:count])
    got = jnp.linalg.eigvals(jacobians)
    assert_close(
        np.sort(np.abs(found.eigenvalues[:count])), np.sort(np.abs(got)), "float32", tolerance=1e-4
    )
    stable = found.of(Stability.STABLE)
    assert len(stable)
    steps = jnp.broadcast_to(x, (2000, len(stable), 3))
    nearby = stable + 0.01 * draw.normal(len(stable), 8)
    np.testing.assert_allclose(grujax.gru(params, steps, nearby)[0], stable, atol=1e-4)


@pytest.mark.slow
def test_without_a_bound_saturated_states_are_slow_points():
    draw = Draw("gru", "float32")
    params, x, starts = draw.params(3, 8), draw.normal(3), draw.normal(40, 8)
    found = analysis.find_fixed_points(params, x, starts, size=40, bound=None)
    outside = np.abs(found.points).max(-1) > 2
    assert outside.any()
    gates = grujax.gru_gates(params, found.points[outside], x)
    assert np.all(gates.update.max(-1) > 0.99)


def test_residuals_are_rounding_errors_in_float64(x64):
    draw = Draw("precise")
    found = analysis.find_fixed_points(draw.params(3, 8), draw.normal(3), draw.normal(10, 8))
    assert found.residuals[0] < 1e-14


@pytest.mark.slow
def test_mixed_and_low_precision(x64):
    draw = Draw("precise")
    params, x, starts = draw.params(3, 8), draw.normal(3), draw.normal(10, 8)
    want = analysis.find_fixed_points(params, x, starts)
    mixed = analysis.find_fixed_points(params, x, np.float32(starts))
    assert mixed.points.dtype == jnp.float64
    np.testing.assert_allclose(mixed.points[0], want.points[0], atol=1e-6)
    low = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), (params, x, starts))
    found = analysis.find_fixed_points(*low)
    assert found.points.dtype == jnp.float32
    assert found.residuals[0] < 1e-6  # of the rounded weights
    np.testing.assert_allclose(found.points[0], want.points[0], atol=0.05)


@pytest.mark.slow
def test_jit_and_a_population():
    draw = Draw("population", "float32")
    models = [draw.params(3, 5) for _ in range(3)]
    population = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    starts, x = draw.normal(20, 5), draw.normal(3)
    search = partial(analysis.find_fixed_points, x=x, starts=starts, size=4)
    together = jax.jit(jax.vmap(search))(population)
    for index, model in enumerate(models):
        alone = search(model)
        got = jax.tree.map(lambda leaf, i=index: leaf[i], together)
        count = int(alone.num_found)
        assert count == got.num_found > 0
        np.testing.assert_allclose(got.points[:count], alone.points[:count], atol=1e-3)
        assert got.stability.tolist() == alone.stability.tolist()


def test_sampled_states_are_states_of_existing_steps():
    hs = jnp.arange(12.0).reshape(4, 3, 1)
    states = analysis.sample_states(jax.random.key(0), hs, 500, lengths=jnp.array([2, 0, 1]))
    assert sorted(set(states[:, 0].tolist())) == [0, 2, 3]
    noisy = analysis.sample_states(jax.random.key(0), jnp.zeros((4, 3, 2)), 500, noise=0.1)
    np.testing.assert_allclose(noisy.std(), 0.1, rtol=0.1)


def test_bad_input():
    params = Draw("bad", "float32").params(3, 5)
    search = partial(analysis.find_fixed_points, params)
    with pytest.raises(ValueError, match=r"`starts` must have shape \[N, H\], N and H at least 1"):
        search(jnp.zeros(3), jnp.zeros(5))
    with pytest.raises(ValueError, match="`size` must be a positive integer, got 0"):
        search(jnp.zeros(3), jnp.zeros((2, 5)), size=0)
    with pytest.raises(ValueError, match=r"`x` has shape \[2\] but `params` expect input size 3"):
        search(jnp.zeros(2), jnp.zeros((2, 5)))
