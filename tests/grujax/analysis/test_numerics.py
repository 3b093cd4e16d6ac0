"""No result hides a NaN or an infinity, and none is made up where there is no data."""

import warnings

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

import grujax
from grujax import analysis
from grujax.analysis.numerics import of_finite, sort_descending, stable_norm

T, B, I, H = 6, 3, 2, 4  # noqa: E741
KEY = jax.random.key(0)
PARAMS = grujax.init_gru(KEY, I, H)
XS = jax.random.normal(KEY, (T, B, I))
BROKEN = jax.tree.map(lambda leaf: leaf * jnp.nan, PARAMS)
LENGTHS = jnp.array([T, 0, 3])
ANY = [jnp.nan, jnp.inf, -jnp.inf]


def spoil(array, index, value=jnp.nan):
    return jnp.asarray(array).at[index].set(value)


@pytest.mark.parametrize("value", ANY)
def test_norms_and_sorting(value):
    assert stable_norm(jnp.array([3e30, 4e30])) == pytest.approx(5e30)
    got = stable_norm(jnp.array([1.0, value]))
    assert jnp.isnan(got) if jnp.isnan(value) else got == jnp.inf
    ordered = sort_descending(jnp.array([[1.0, value, 2.0], [1.0, 3.0, 2.0]]))
    assert ordered[1].tolist() == [3.0, 2.0, 1.0]
    assert jnp.isnan(ordered[0]).all() == jnp.isnan(value)
    matrices = spoil(jnp.stack([jnp.eye(2)] * 2), (0, 1, 1), value)
    got = of_finite(lambda matrix: jnp.linalg.svd(matrix, compute_uv=False), matrices)
    assert jnp.isnan(got[0]).all()
    assert got[1].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("qr_interval", [1, 4])
@pytest.mark.parametrize("warmup", [0, 3])
def test_lyapunov_exponents_of_rows_without_steps_or_with_nan_are_nan(qr_interval, warmup):
    options = {"num_exponents": 2, "qr_interval": qr_interval, "warmup": warmup}
    exponents = analysis.lyapunov_exponents(PARAMS, XS, lengths=LENGTHS, **options)
    has_steps = [True, False, warmup < 3]
    assert np.isfinite(exponents).all(-1).tolist() == has_steps
    assert np.isnan(exponents).all(-1).tolist() == [not has for has in has_steps]
    alone = analysis.lyapunov_exponents(PARAMS, XS[:, :1], **options)
    np.testing.assert_allclose(exponents[:1], alone, rtol=1e-5)
    xs = spoil(XS, (T - 1, 0, 0))
    assert np.isnan(analysis.lyapunov_exponents(PARAMS, xs, **options)[0]).all()
    assert np.isnan(analysis.lyapunov_exponents(BROKEN, XS, **options)).all()


def test_the_lyapunov_exponent_of_a_singular_map_is_minus_infinity():
    def project(matrix, h, x):
        return matrix @ h

    exponents = analysis.lyapunov_exponents(
        jnp.diag(jnp.array([2.0, 0.0])),
        jnp.zeros((20, 1)),
        jnp.zeros(2),
        num_exponents=2,
        cell=project,
    )
    assert exponents[0] == pytest.approx(np.log(2), rel=1e-2)  # a random first direction
    assert exponents[1] == -jnp.inf


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ([jnp.nan, -1.0], jnp.nan),
        ([0.5, jnp.nan], jnp.nan),
        ([jnp.inf, -1.0], jnp.nan),
        ([0.5, -jnp.inf], 1.0),
        ([-jnp.inf, -jnp.inf], 0.0),
        ([-1.0, 0.5], 1.5),  # in any order
    ],
)
def test_the_dimension_of_unknown_exponents_is_unknown(exponents, dimension):
    got = analysis.kaplan_yorke_dimension(jnp.array([exponents, [0.4192, -1.6229]]))
    np.testing.assert_allclose(got, [dimension, 1.2583], rtol=1e-4)


def test_states_cannot_be_sampled_from_no_step():
    hs = jnp.ones((T, B, H))
    for lengths in ([0, 0, 0], jnp.zeros(B, int)):
        with pytest.raises(ValueError, match="`hs` has no step that exists"):
            analysis.sample_states(KEY, hs, 3, lengths=lengths)
    with pytest.raises(ValueError, match="`hs` has no step"):
        analysis.sample_states(KEY, hs[:0], 3)
    drawn = jax.jit(lambda lengths: analysis.sample_states(KEY, hs, 3, lengths=lengths))
    assert np.isnan(drawn(jnp.zeros(B, int))).all()
    assert (drawn(LENGTHS) == 1).all()


def test_no_fixed_point_is_made_up():
    starts = jnp.zeros((3, H))
    with pytest.raises(ValueError, match="NaN or infinity at every one of the `starts`"):
        analysis.find_fixed_points(BROKEN, XS[0, 0], starts)
    found = jax.jit(analysis.find_fixed_points)(BROKEN, XS[0, 0], starts)
    assert found.num_found == -1
    assert np.isnan(found.points).all()
    assert (found.stability == analysis.Stability.NONE).all()
    one_bad = analysis.find_fixed_points(PARAMS, XS[0, 0], spoil(starts, (0, 0)))
    good = analysis.find_fixed_points(PARAMS, XS[0, 0], starts[1:])
    assert one_bad.num_found == good.num_found
    np.testing.assert_allclose(one_bad.points, good.points, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bound", -1.0),
        ("bound", 0.0),
        ("bound", np.nan),
        ("radius", -1e-3),
        ("radius", np.nan),
        ("tolerance", -1e-6),
        ("tolerance", np.inf),
        ("slow_tolerance", 1e-9),  # below `tolerance`
        ("steps", -1),
    ],
)
def test_numbers_that_make_no_sense_for_a_search(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        analysis.find_fixed_points(PARAMS, XS[0, 0], jnp.zeros((3, H)), **{name: value})


def test_a_nan_gate_is_neither_shut_nor_open():
    trace = analysis.trace_gates(PARAMS, XS, lengths=LENGTHS)
    whole = analysis.gate_saturation(trace)
    bad = analysis.gate_saturation(trace._replace(update=spoil(trace.update, (0, 0, 1))))
    for name in ("update_shut", "update_open"):
        got = getattr(bad, name)
        assert np.isnan(got).tolist() == [False, True, False, False]
        assert got[0] == getattr(whole, name)[0]
    np.testing.assert_array_equal(bad.reset_open, whole.reset_open)
    padded = trace._replace(update=spoil(trace.update, (T - 1, 1)))  # in the padding
    jax.tree.map(np.testing.assert_array_equal, analysis.gate_saturation(padded), whole)
    nothing = analysis.trace_gates(PARAMS, XS, lengths=jnp.zeros(B, int))
    assert all(np.isnan(share).all() for share in analysis.gate_saturation(nothing))
    assert np.isnan(analysis.memory_time_scale(nothing)).all()
    scale = analysis.memory_time_scale(trace._replace(update=spoil(trace.update, (0, 0, 1))))
    assert np.isnan(scale).tolist() == [False, True, False, False]


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf])
def test_a_gradient_that_is_not_a_number_neither_vanishes_nor_stays(value):
    flow = analysis.gradient_flow(PARAMS, XS, lambda h_last, hs: value * h_last.sum())
    assert flow.vanishes_after.tolist() == [-2]
    assert flow.explodes_after.tolist() == [-2]
    assert "unknown" in str(flow)
    fine = analysis.gradient_flow(PARAMS, XS, lambda h_last, hs: h_last.sum())
    assert "unknown" not in str(fine)


@pytest.mark.parametrize("value", ANY)
def test_singular_values_and_radius_of_what_is_not_finite(value):
    jacobians = jnp.stack([jnp.eye(H), spoil(jnp.eye(H), (0, 1), value)])
    assert np.isnan(analysis.singular_values(jacobians)).any(-1).tolist() == [False, True]
    assert np.isnan(analysis.spectral_radius(jacobians)).tolist() == [False, True]
    product = analysis.jacobian_product(jacobians)
    assert np.isnan(analysis.log_singular_values(product)).all()


@pytest.mark.parametrize("value", ANY)
def test_plots_leave_gaps_and_say_so(value):
    matplotlib.use("Agg")
    gate = np.full((T, H), 0.5)
    gate[1, 1] = value
    hs = np.array(jax.random.normal(KEY, (T, B, H)))
    hs[0, 0, 0] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = [
            analysis.plot_gates(gate),
            analysis.plot_state_space(hs),
            analysis.plot_text_saliency(list("abcdef"), gate[:, 1]),
            analysis.plot_series_saliency(gate, gate[:, 1]),
            analysis.plot_image_saliency(np.ones((T, H)), gate),
            analysis.plot_eigenvalues(gate[:, 1]),
        ]
        for figure in figures:
            figure.canvas.draw()
            texts = [text.get_text() for axis in figure.axes for text in axis.texts]
            assert any("NaN or infinite" in text for text in texts)
