"""Weights from and to Haiku; its GRU is the reference."""

import jax
import jax.numpy as jnp
import pytest

import grujax
from grujax.convert import from_haiku, to_haiku
from tests.helpers import Draw, assert_close, assert_equal

haiku = pytest.importorskip("haiku")

T, B, I, H = 7, 4, 3, 5  # noqa: E741
XS, H0 = Draw("xs", "float32").normal(T, B, I), Draw("h0", "float32").normal(B, H)


@haiku.without_apply_rng
@haiku.transform
def model(xs, h0, resets=None):
    core = haiku.GRU(H)
    if resets is not None:
        core, xs = haiku.ResetCore(core), (xs, resets)
    hs, h_last = haiku.dynamic_unroll(core, xs, h0)
    return h_last, hs


def random_params():
    draw = Draw("haiku", "float32")
    shapes = jax.eval_shape(model.init, jax.random.key(0), XS, H0)
    return jax.tree.map(lambda leaf: jnp.asarray(draw.normal(*leaf.shape, scale=0.6)), shapes)


def test_agrees_with_haiku():
    params = random_params()
    got = grujax.gru(from_haiku(params["gru"]), XS, H0)
    assert_close(got, model.apply(params, XS, H0), "float32")


def test_resets_agree_with_haiku():
    params, resets = random_params(), Draw("resets").bools(T, B)
    got = grujax.gru(from_haiku(params["gru"]), XS, resets=resets)
    assert_close(got, model.apply(params, XS, 0 * H0, resets), "float32")


def test_to_haiku_runs_in_haiku():
    params = Draw("params", "float32").params(I, H, reset_after=False)
    got = model.apply({"gru": to_haiku(params)}, XS, H0)
    assert_close(got, grujax.gru(params, XS, H0), "float32")


def test_a_round_trip_is_exact():
    params = random_params()["gru"]
    assert_equal(to_haiku(from_haiku(params)), params)


def test_errors_name_the_tensor():
    params = random_params()
    with pytest.raises(
        ValueError, match=r"not of a GRU: `gru/b`, `gru/w_h`, `gru/w_i` .* under `prefix` 'gru/'"
    ):
        from_haiku(params)
    with pytest.raises(ValueError, match=r"`b` has shape \[20\], expected \[3H\] with H = 5"):
        from_haiku({**params["gru"], "b": jnp.ones(20)})
    with pytest.raises(ValueError, match=r"haiku\.GRU .*`reset_after=False`"):
        to_haiku(Draw("after", "float32").params(I, H))


def test_a_gru_inside_a_model():
    params = random_params()["gru"]
    model = {"net/~/gru": params, "linear": {"w": jnp.ones((3, 3))}}
    assert_equal(from_haiku(model, prefix="net/~/gru"), from_haiku(params))
    for prefix in ("", "gru", "linear"):
        with pytest.raises(ValueError, match=r"GRUs are under `prefix` 'net/~/gru/'"):
            from_haiku(model, prefix=prefix)
