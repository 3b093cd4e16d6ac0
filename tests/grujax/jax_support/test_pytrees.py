"""The classes of arrays under `==` and `hash`, and in `jax.export` and `flax.serialization`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization as flax_serialization
from jax import export

import grujax
import grujax.serialization
from grujax import attention, baselines
from tests.helpers import Draw, assert_equal

KEY = jax.random.key(0)
LAYERS = {
    "gru": grujax.init_gru(KEY, 3, 4, reset_after=False),
    "lstm": baselines.init_lstm(KEY, 3, 4),
    "rnn": baselines.init_rnn(KEY, 3, 4),
    "min_gru": baselines.init_min_gru(KEY, 3, 4),
    "layer_norm_gru": baselines.init_layer_norm_gru(KEY, 3, 4),
    "attention": attention.init_additive_attention(KEY, 3, 4, 2),
}
every_layer = pytest.mark.parametrize("params", LAYERS.values(), ids=LAYERS)


@every_layer
def test_equal_are_those_of_equal_shapes_dtypes_and_values(params):
    def changed(change):
        leaves, structure = jax.tree.flatten(params)
        return jax.tree.unflatten(structure, [change(leaves[0]), *leaves[1:]])

    same = jax.tree.map(np.array, params)
    assert (params == same) is True
    assert (params != same) is False
    for change in (
        lambda leaf: leaf + 1,
        lambda leaf: leaf.astype("bfloat16"),
        lambda leaf: leaf[None],
        lambda leaf: leaf * jnp.nan,
        lambda leaf: None,
    ):
        assert (params == changed(change)) is False
    assert params != "params"
    shapes = jax.eval_shape(lambda: params)
    assert shapes == jax.eval_shape(lambda: params)
    assert shapes != params
    with pytest.raises(TypeError, match="unhashable"):
        hash(params)


def test_the_forms_of_a_gru_differ():
    params = LAYERS["gru"]
    assert params != dataclasses.replace(params, reset_after=True)
    assert LAYERS["rnn"] != LAYERS["lstm"]


@every_layer
def test_traced_values_cannot_be_compared(params):
    for transform in (jax.jit, jax.grad):
        with pytest.raises(ValueError, match=f"`==` of two {type(params).__name__} returns a bool"):
            transform(lambda p: jnp.float32(p == params))(params)
    assert jax.jit(lambda p: jnp.float32(params == params))(params)  # constants are known


@every_layer
def test_a_stored_program_takes_and_returns_params(params):
    double = jax.jit(lambda p: jax.tree.map(lambda leaf: 2 * leaf, p))
    stored = export.export(double)(params).serialize()
    assert export.deserialize(bytearray(stored)).call(params) == double(params)


def test_a_stored_program_returns_named_tuples():
    params, lstm = LAYERS["gru"], LAYERS["lstm"]

    @jax.jit
    def run(params, lstm, x):
        h = jnp.zeros(4)
        state = baselines.lstm_cell(lstm, baselines.LSTMState(h, h), x)
        return grujax.gru_gates(params, h, x), state, grujax.newton_report(params, x[None])

    x = jnp.ones(3)
    stored = export.export(run)(params, lstm, x).serialize()
    got = export.deserialize(bytearray(stored)).call(params, lstm, x)
    assert_equal(got, run(params, lstm, x))


@every_layer
def test_flax_stores_and_restores_params(params):
    blank = jax.tree.map(jnp.zeros_like, params)
    stored = flax_serialization.to_bytes({"layers": [params]})
    restored = flax_serialization.from_bytes({"layers": [blank]}, stored)
    assert restored["layers"][0] == params


def test_flax_refuses_to_restore_another_form_or_class():
    stored = flax_serialization.to_bytes({"encoder": LAYERS["gru"]})
    other = {"encoder": dataclasses.replace(LAYERS["gru"], reset_after=True)}
    message = "GRUParams with reset_after=True at .*encoder, but .* reset_after=False"
    with pytest.raises(ValueError, match=message):
        flax_serialization.from_bytes(other, stored)
    with pytest.raises(ValueError, match=r"`target` holds RNNParams .*stored fields there"):
        flax_serialization.from_bytes({"encoder": LAYERS["rnn"]}, stored)


def test_params_are_still_a_pytree_whose_static_field_is_in_its_structure():
    params = Draw("static", "float32").params(3, 4)
    traces = []

    @jax.jit
    def run(params):
        traces.append(params.reset_after)
        return params.w_x

    for form in (True, False, True, False):
        run(dataclasses.replace(params, reset_after=form))
    assert traces == [True, False]
