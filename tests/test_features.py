"""The README's table of features: each library is asked for each of them.

A library has a feature if the program that needs it runs and gives what it must. Where a library
has no argument for it, the test names the signature in which it would be.
"""

import inspect
import os
import re
from collections.abc import Callable, Iterable

os.environ.setdefault("KERAS_BACKEND", "jax")

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import grujax
from tests.helpers import ROOT

torch = pytest.importorskip("torch")

T, B, I, H = 5, 2, 3, 4  # noqa: E741
LENGTHS = np.array([5, 2])
EXISTS = np.arange(T) < LENGTHS[:, None]  # [B, T]
XS = np.random.default_rng(0).normal(size=(B, T, I)).astype(np.float32)
PADDED_WITH_NAN = np.where(EXISTS[..., None], XS, np.nan).astype(np.float32)
HOLES = np.array([[True, False, True, True, False]] * B)  # [B, T]
TIME_MAJOR = XS.swapaxes(0, 1)

LIBRARIES = ("grujax", "Flax", "Haiku", "Equinox", "Keras", "PyTorch")


def finite(tree) -> bool:
    return all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(tree))


def skips(hs) -> bool:
    """Whether the state [T, B, H] passes the steps that `HOLES` skips, and no others."""
    return ((np.asarray(hs)[1:] == np.asarray(hs)[:-1]).all(-1) == ~HOLES.T[1:]).all()


def names(*signatures: Callable) -> set[str]:
    """The arguments of functions, whose names would announce a feature."""
    return {name for function in signatures for name in inspect.signature(function).parameters}


# grujax


def run_grujax(xs=TIME_MAJOR, **options):
    params = grujax.init_gru(jax.random.key(0), I, H)
    gradient = jax.grad(lambda p: grujax.gru(p, xs, **options)[1].sum())(params)
    return grujax.gru(params, xs, **options)[1], gradient


GRUJAX = {
    "sequence": lambda: run_grujax()[0].shape == (T, B, H),
    "lengths": lambda: not run_grujax(lengths=LENGTHS)[0][2:, 1].any(),
    "padding": lambda: finite(
        run_grujax(PADDED_WITH_NAN.swapaxes(0, 1), lengths=LENGTHS),
    ),
    "mask": lambda: skips(run_grujax(mask=HOLES.T)[0]),
    "resets": lambda: finite(run_grujax(resets=np.ones((T, B), bool))),
    "directions": lambda: (
        grujax.bidirectional_gru(
            [grujax.init_gru(jax.random.key(i), I, H) for i in range(2)], TIME_MAJOR
        )[1].shape
        == (T, B, 2 * H)
    ),
    "forms": lambda: finite(grujax.init_gru(jax.random.key(0), I, H, reset_after=False)),
    "dropout": lambda: finite(run_grujax(recurrent_dropout=0.5, key=jax.random.key(1))),
    "truncation": lambda: finite(run_grujax(stop_gradient_every=2)),
}


# Flax


def run_flax(xs=XS, **options):
    layer = nn.RNN(nn.GRUCell(H))
    variables = layer.init(jax.random.key(0), xs)

    def loss(variables):
        hs = layer.apply(variables, xs, **options)
        return jnp.where(EXISTS[..., None], hs, 0).sum()

    return layer.apply(variables, xs, **options), jax.grad(loss)(variables)


def both_directions_of_flax():
    layer = nn.Bidirectional(nn.RNN(nn.GRUCell(H)), nn.RNN(nn.GRUCell(H)))
    return layer.init_with_output(jax.random.key(0), XS)[0].shape == (B, T, 2 * H)


IN_FLAX = names(nn.GRUCell, nn.RNN, nn.RNN.__call__)
FLAX = {
    "sequence": lambda: run_flax()[0].shape == (B, T, H),
    "lengths": lambda: finite(run_flax(seq_lengths=LENGTHS)),
    "padding": lambda: finite(run_flax(PADDED_WITH_NAN, seq_lengths=LENGTHS)[1]),
    "mask": lambda: has(IN_FLAX, ".*mask"),
    "resets": lambda: has(IN_FLAX, "resets?"),
    "directions": both_directions_of_flax,
    "forms": lambda: has(IN_FLAX, "reset_after"),
    "dropout": lambda: has(IN_FLAX, ".*dropout|zoneout"),
    "truncation": lambda: has(IN_FLAX, "truncat.*|stop_gradient.*"),
}


# Haiku


def run_haiku(wrap: Callable = lambda core: core, xs=TIME_MAJOR) -> jax.Array:
    def run():
        core = wrap(hk.GRU(H))
        return hk.dynamic_unroll(core, xs, core.initial_state(B))[0]

    model = hk.transform(run)
    return model.apply(model.init(jax.random.key(0)), None)


IN_HAIKU = names(hk.GRU, hk.dynamic_unroll, hk.static_unroll)
HAIKU = {
    "sequence": lambda: run_haiku().shape == (T, B, H),
    "lengths": lambda: has(IN_HAIKU, ".*length.*|mask"),
    "padding": lambda: has(IN_HAIKU, ".*length.*|mask"),
    "mask": lambda: has(IN_HAIKU, ".*mask"),
    "resets": lambda: finite(run_haiku(hk.ResetCore, (TIME_MAJOR, np.ones((T, B), bool)))),
    "directions": lambda: has(dir(hk), "Bi.*RNN|Bidirectional.*"),
    "forms": lambda: has(IN_HAIKU, "reset_after"),
    "dropout": lambda: has(IN_HAIKU, ".*dropout|zoneout"),
    "truncation": lambda: has(IN_HAIKU, "truncat.*|stop_gradient.*"),
}


# Equinox: a cell, which the user scans.

IN_EQUINOX = names(eqx.nn.GRUCell, eqx.nn.GRUCell.__call__)
EQUINOX = {
    "sequence": lambda: has(dir(eqx.nn), "GRU|RNN"),
    "lengths": lambda: has(IN_EQUINOX, ".*length.*|mask"),
    "padding": lambda: has(IN_EQUINOX, ".*length.*|mask"),
    "mask": lambda: has(IN_EQUINOX, ".*mask"),
    "resets": lambda: has(IN_EQUINOX, "resets?"),
    "directions": lambda: has(dir(eqx.nn), "Bidirectional.*"),
    "forms": lambda: has(IN_EQUINOX, "reset_after"),
    "dropout": lambda: has(IN_EQUINOX, ".*dropout|zoneout"),
    "truncation": lambda: has(IN_EQUINOX, "truncat.*|stop_gradient.*"),
}


# Keras


def run_keras(xs=XS, mask=None, **options):
    layer = keras.layers.GRU(H, return_sequences=True, **options)
    layer.build(xs.shape)
    values = [variable.value for variable in layer.trainable_variables]
    others = [variable.value for variable in layer.non_trainable_variables]

    def loss(values):
        hs, _ = layer.stateless_call(values, others, xs, mask=mask, training=False)
        return jnp.where(EXISTS[..., None], hs, 0).sum()

    return layer(xs, mask=mask), jax.grad(loss)(values)


IN_KERAS = names(keras.layers.GRU, keras.layers.GRU.call)
KERAS = {
    "sequence": lambda: run_keras()[0].shape == (B, T, H),
    "lengths": lambda: finite(run_keras(mask=EXISTS)),
    "padding": lambda: finite(run_keras(PADDED_WITH_NAN, mask=EXISTS)[1]),
    "mask": lambda: skips(np.swapaxes(run_keras(mask=HOLES)[0], 0, 1)),
    "resets": lambda: has(IN_KERAS, "resets?"),
    "directions": lambda: keras.layers.Bidirectional(keras.layers.GRU(H))(XS).shape == (B, 2 * H),
    "forms": lambda: finite(run_keras(reset_after=False)),
    "dropout": lambda: finite(run_keras(recurrent_dropout=0.5)),
    "truncation": lambda: has(IN_KERAS, "truncat.*|stop_gradient.*"),
}


# PyTorch


def run_torch(xs=XS, lengths=None, **options):
    layer = torch.nn.GRU(I, H, batch_first=True, **options)
    inputs = torch.tensor(xs)
    if lengths is not None:
        inputs = torch.nn.utils.rnn.pack_padded_sequence(
            inputs, torch.tensor(lengths), batch_first=True
        )
    hs, h_last = layer(inputs)
    h_last.sum().backward()
    return hs, [parameter.grad.numpy() for parameter in layer.parameters()]


IN_TORCH = set(re.findall(r"\w+", torch.nn.GRU.__doc__.split("Inputs:")[0]))
TORCH = {
    "sequence": lambda: run_torch()[0].shape == (B, T, H),
    "lengths": lambda: finite(run_torch(lengths=LENGTHS)[1]),
    "padding": lambda: finite(run_torch(PADDED_WITH_NAN, LENGTHS)[1]),
    "mask": lambda: has(IN_TORCH, ".*mask"),
    "resets": lambda: has(IN_TORCH, "resets"),
    "directions": lambda: run_torch(bidirectional=True)[0].shape == (B, T, 2 * H),
    "forms": lambda: has(IN_TORCH, "reset_after"),
    "dropout": lambda: has(IN_TORCH, "recurrent_dropout|zoneout"),  # `dropout` is between layers
    "truncation": lambda: has(IN_TORCH, "truncat.*|stop_gradient.*"),
}


def has(candidates: Iterable[str], pattern: str) -> bool:
    return any(re.fullmatch(pattern, name) for name in candidates)


PROBES = dict(zip(LIBRARIES, (GRUJAX, FLAX, HAIKU, EQUINOX, KERAS, TORCH), strict=True))


def published() -> list[list[str]]:
    """The cells of the README's table, row by row."""
    section = (ROOT / "README.md").read_text().split("\n## Features\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_features_is_true():
    head, _, *rows = published()
    assert head[1:] == list(LIBRARIES)
    assert len(rows) == len(GRUJAX), "a row for each feature"
    for feature, row in zip(GRUJAX, rows, strict=True):
        for library, cell in zip(LIBRARIES, row[1:], strict=True):
            assert PROBES[library][feature]() == (cell == "✓"), f"{library}: {feature}"
            assert cell in ("✓", "–")
