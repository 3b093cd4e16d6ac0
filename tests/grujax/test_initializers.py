"""The initializers, tested by the behavior of cells that use them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import initializers

import grujax
from grujax import baselines
from grujax.initializers import chrono, identity
from tests.helpers import Draw, assert_equal

KEY = jax.random.key(0)
I, H = 3, 8  # noqa: E741


def forgetting_gru(update_bias_init, hidden_size: int = H) -> grujax.GRUParams:
    """A GRU in which only the update gate's bias acts, and the candidate is zero: h' = σ(b) ∘ h."""
    return grujax.init_gru(
        KEY,
        I,
        hidden_size,
        kernel_init=initializers.zeros,
        recurrent_kernel_init=initializers.zeros,
        update_bias_init=update_bias_init,
    )


def lifetimes(params: grujax.GRUParams, steps: int) -> np.ndarray:
    """The mean memory of each unit: the sum over time of what remains of an initial 1."""
    _, hs = grujax.gru(params, np.zeros((steps, I), "float32"), np.ones(H, "float32"))
    return 1 + np.sum(hs, axis=0)


@pytest.mark.parametrize("gain", [1.0, 0.5, 2.0])
def test_orthogonal_scales_the_norm_by_the_gain_in_every_gate(gain):
    init = initializers.orthogonal(gain)
    params = grujax.init_gru(KEY, I, H, recurrent_kernel_init=init)
    h = Draw("norm", "float32").normal(H)
    for w in params.w_h:
        np.testing.assert_allclose(w @ w.T, gain**2 * np.eye(H), atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(h @ w), gain * np.linalg.norm(h), rtol=1e-5)


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_identity_carries_each_unit_by_itself(gain):
    params = baselines.init_rnn(KEY, I, H, recurrent_kernel_init=identity(gain))
    h0 = Draw("small", "float32").normal(H, scale=1e-4)  # where tanh is linear
    h_last, _ = grujax.scan_cell(baselines.rnn_cell, params, np.zeros((10, I), "float32"), h0)
    np.testing.assert_allclose(h_last, gain**10 * h0, rtol=1e-5)


def test_identity_applies_to_each_gate_and_has_the_given_dtype():
    params = grujax.init_gru(KEY, I, H, recurrent_kernel_init=identity(0.5), dtype=jnp.bfloat16)
    assert_equal(params.w_h, jnp.stack([0.5 * jnp.eye(H, dtype=jnp.bfloat16)] * 3))


@pytest.mark.parametrize("shape", [(2, 3), (4,), (3, 2, 2)])
def test_identity_requires_a_square_shape(shape):
    with pytest.raises(ValueError, match=r"`identity` needs a square shape \[H, H\], got"):
        identity()(KEY, shape)


def test_with_zeros_the_gates_depend_on_the_input_only():
    params = grujax.init_gru(KEY, I, H, recurrent_kernel_init=initializers.zeros)
    draw = Draw("zeros", "float32")
    x = draw.normal(I)
    gates = [grujax.gru_gates(params, draw.normal(H), x) for _ in range(2)]
    assert_equal(*gates)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0, 3.0])
def test_with_a_constant_update_bias_the_mean_memory_is_one_plus_its_exponential(value):
    params = forgetting_gru(initializers.constant(value))
    np.testing.assert_allclose(lifetimes(params, 400), 1 + np.exp(value), rtol=1e-4)


def test_chrono_gives_memories_between_two_steps_and_t_max():
    t_max = 20
    params = forgetting_gru(chrono(t_max))
    got = lifetimes(params, 800)
    np.testing.assert_allclose(got, 1 / (1 - jax.nn.sigmoid(params.b_x[1])), rtol=1e-4)
    assert got.min() >= 2
    assert got.max() <= t_max + 1e-3
    assert not np.any(params.b_x[0])
    assert not np.any(params.b_x[2])


@pytest.mark.parametrize("t_max", [3, 100, 10_000])
def test_chrono_gives_uniform_memories(t_max):
    biases = forgetting_gru(chrono(t_max), hidden_size=1000).b_x[1]
    lifetime = np.sort(1 + np.exp(np.asarray(biases, "float64")))
    uniform = np.linspace(2, t_max, 1000)
    # The Kolmogorov-Smirnov distance of 1000 draws exceeds 0.052 in 1% of samples.
    assert np.max(np.abs(lifetime - uniform)) < 0.052 * (t_max - 2)


def test_chrono_works_for_the_lstm_and_the_minimal_gru():
    lstm = baselines.init_lstm(KEY, I, H, forget_bias_init=chrono(50))
    minimal = baselines.init_min_gru(KEY, I, H, update_bias_init=chrono(50))
    for biases in (lstm.b[1], minimal.b[0]):
        assert np.all((biases >= 0) & (biases <= np.log(49)))
        assert len(set(biases.tolist())) == H


def test_chrono_with_the_shortest_memory_gives_zero_biases():
    assert not np.any(chrono(2)(KEY, (H,)))


def test_t_max_may_be_traced():
    t_max = jnp.array([2.0, 50.0])
    got = jax.jit(jax.vmap(lambda t_max: chrono(t_max)(KEY, (H,))))(t_max)
    np.testing.assert_allclose(got[1], chrono(50)(KEY, (H,)), rtol=1e-6)
    assert not np.any(got[0])


@pytest.mark.parametrize("t_max", [1.9, 0, float("nan")])
def test_bad_t_max(t_max):
    with pytest.raises(ValueError, match=r"`t_max` must be a number in \[2, inf\), got"):
        chrono(t_max)
