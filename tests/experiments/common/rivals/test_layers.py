"""The layers that `--cell` chooses: their sizes, their states, and their dropout."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.cells import parameter_shapes
from experiments.common.rivals.cells import RIVALS
from experiments.common.rivals.layers import (
    count_layer_parameters,
    equal_size,
    first_size,
    last_outputs,
    make_layer,
    make_layers,
    output_size,
    start_steps,
)
from grujax.baselines import count_parameters
from grujax.linen import StackedGRU
from tests.helpers import Draw, assert_close, assert_equal

B, T, I, H = 2, 6, 3, 6  # noqa: E741
XS = Draw("sequence", "float32").normal(B, T, I)
RIVAL_CELLS = [name for name in RIVALS if name != "gru"]
every_cell = pytest.mark.parametrize("cell", list(RIVALS))
every_rival = pytest.mark.parametrize("cell", RIVAL_CELLS)
every_shape = pytest.mark.parametrize(
    ("num_layers", "bidirectional"), [(1, False), (2, False), (1, True), (3, True)]
)


def parameters(layers, input_size: int) -> int:
    """The number of parameters, by tracing."""
    return count_parameters(
        parameter_shapes(lambda key: layers.init(key, jnp.zeros((1, 2, input_size))))
    )


@every_rival
@every_shape
def test_a_rival_has_as_many_parameters_as_the_gru(cell, num_layers, bidirectional, monkeypatch):
    options = {"num_layers": num_layers, "bidirectional": bidirectional}
    gru = parameters(make_layers("gru", 48, **options), 20)
    found = parameters(make_layers(cell, 48, **options), 20)
    assert abs(found - gru) < 0.07 * gru
    size = equal_size(cell, 48, num_layers, bidirectional, 20)
    for other in (size - 1, size + 1):  # no other size is closer
        monkeypatch.setattr("experiments.common.rivals.layers.equal_size", lambda *_, n=other: n)
        assert abs(parameters(make_layers(cell, 48, **options), 20) - gru) >= abs(found - gru)


@every_shape
def test_the_gru_has_its_own_size(num_layers, bidirectional):
    assert equal_size("gru", 17, num_layers, bidirectional, 5) == 17
    layers = make_layers("gru", 17, num_layers=num_layers, bidirectional=bidirectional)
    assert isinstance(layers, StackedGRU)
    assert layers.features == 17


@every_rival
def test_a_carry_continues_a_stream(cell):
    layers = make_layers(cell, H, num_layers=2)
    params = layers.init(jax.random.key(0), XS)
    start = [RIVALS[cell].initial_state((B, layers.size(I)), jnp.float32)] * 2
    want_carry, want = layers.apply(params, XS, start)
    assert want.shape == (B, T, layers.size(I))
    carry, first = layers.apply(params, XS[:, :4], start)
    carry, second = layers.apply(params, XS[:, 4:], carry)
    both = jnp.concatenate([first, second], 1)
    assert_close((carry, both), (want_carry, want), "float32", tolerance=1e-4)
    assert_close(layers.apply(params, XS)[1], want, "float32", tolerance=1e-4)


@every_cell
def test_steps_one_by_one_from_a_vector_also_in_beams_are_all_at_once(cell):
    layer = make_layer(cell, H, time_major=True)
    xs, first = XS.swapaxes(0, 1), Draw("first", "float32").normal(B, first_size(cell, H, I))
    params = layer.init(jax.random.key(0), xs)
    _, want = layer.apply(params, xs, jnp.asarray(first))
    assert want.shape == (T, B, output_size(cell, H, I))
    assert not np.allclose(want[-1], layer.apply(params, xs)[1][-1], atol=1e-4)
    carry = nn.apply(lambda layer: start_steps(cell, layer, first, T), layer)(params)
    carry = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), carry)
    step = jax.jit(layer.apply)
    for x, h in zip(xs, want, strict=True):
        carry, hs = step(params, jnp.stack([x, x])[None], carry)
        assert_close(hs, jnp.stack([h, h])[None], "float32", tolerance=1e-4)


@every_cell
def test_the_last_outputs_of_both_directions_are_those_of_the_valid_steps(cell):
    layer = make_layer(cell, H, bidirectional=True)
    params = layer.init(jax.random.key(0), XS)
    carry, outputs = layer.apply(params, XS, lengths=np.array([6, 2]))
    last = last_outputs(cell, carry)
    assert outputs.shape[-1] == last.shape[-1] == output_size(cell, H, I, bidirectional=True)
    alone, _ = layer.apply(params, XS[1:, :2])
    assert_close(last[1:], last_outputs(cell, alone), "float32", tolerance=1e-4)
    assert not np.allclose(last[0], last_outputs(cell, layer.apply(params, XS[:1, :2])[0]))


@every_rival
def test_padding_changes_nothing(cell):
    lengths = np.array([6, 2])
    noise = np.where(np.arange(T)[:, None] < lengths[:, None, None], XS, np.nan)
    for bidirectional in (False, True):
        layers = make_layers(cell, H, num_layers=2, bidirectional=bidirectional)
        params = layers.init(jax.random.key(0), XS)
        _, outputs = layers.apply(params, noise, lengths=lengths)
        _, alone = layers.apply(params, XS[1:, :2])
        assert_close(outputs[1:, :2], alone, "float32", tolerance=1e-4)
        assert not outputs[1, 2:].any()


def test_dropout_is_drawn_between_layers_in_training_alone():
    for num_layers in (1, 2):
        layers = make_layers("rnn", H, num_layers=num_layers, dropout=0.5)
        params = layers.init(jax.random.key(0), XS)
        plain = layers.apply(params, XS)[1]
        draw = {"rngs": {"dropout": jax.random.key(1)}}
        assert_equal(layers.apply(params, XS, **draw)[1], plain)
        trained = layers.apply(params, XS, deterministic=False, **draw)[1]
        assert np.array_equal(trained, plain) == (num_layers == 1)


def test_the_parameters_of_the_layers_of_a_network_are_counted():
    layers = {"layer_0": {".w": jnp.zeros((3, 4))}}
    others = {"Dense_0": {"kernel": jnp.zeros((5, 5))}}
    for name in ("StackedGRU_0", "RivalLayers_0"):
        assert count_layer_parameters({"params": {name: layers, **others}}) == 12
