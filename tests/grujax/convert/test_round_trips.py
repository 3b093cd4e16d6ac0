"""Weights from every format to every other and back, run by the frameworks themselves."""

import functools
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.fixtures.weights.formats import FORMATS, B, I, Option, T
from tests.helpers import Draw, assert_close, assert_equal

for module in ("torch", "keras", "haiku", "equinox", "onnxruntime"):
    pytest.importorskip(module)

XS = Draw("xs", "float32").normal(T, B, I)


def trips() -> list:
    """(source, target, option) for all that both formats can hold."""
    kinds = {
        name: {option._replace(biases=True) for option in format_.options}
        for name, format_ in FORMATS.items()
    }
    return [
        (source, target, option)
        for source, target in product(FORMATS, FORMATS)
        for option in FORMATS[source].options
        if option._replace(biases=True) in kinds[target]
    ]


PICKED = {
    ("torch", "keras", Option(bidirectional=True)),
    ("keras", "linen", Option(bidirectional=True)),
    ("linen", "torch", Option(num_layers=2)),
    ("haiku", "textbook", Option(reset_after=False)),
}


@functools.cache
def source_of(name: str, option: Option) -> tuple[Any, Any]:
    """Random weights of a format, and what the framework computes with them."""
    stored = FORMATS[name].draw(Draw(f"{name} {option}", "float32"), option)
    return stored, FORMATS[name].run(stored, option, XS)


def has_recurrent_bias(layers: list) -> bool:
    return any(np.any(np.asarray(cell.b_hn) != 0) for cell in cells_of(layers))


def cells_of(layers: list) -> list:
    return [cell for layer in layers for cell in (layer if isinstance(layer, tuple) else [layer])]


@pytest.mark.parametrize(
    ("source", "target", "option"),
    [pytest.param(*trip, marks=[] if trip in PICKED else pytest.mark.slow) for trip in trips()],
    ids=str,
)
def test_there_and_back(source, target, option):
    stored, want = source_of(source, option)
    layers = FORMATS[source].read(stored, option)
    if target == "nnx" and has_recurrent_bias(layers):
        with pytest.raises(ValueError, match=r"`b_hn` of shape .* must be zero"):
            FORMATS[target].write(layers)
        return
    there = FORMATS[target].write(layers)
    assert_close(FORMATS[target].run(there, option, XS), want, "float32")
    again = FORMATS[target].read(there, option)
    for got, cell in zip(cells_of(again), cells_of(layers), strict=True):
        assert got.reset_after == cell.reset_after
        assert_equal((got.w_x, got.w_h, got.b_x[:2]), (cell.w_x, cell.w_h, cell.b_x[:2]))
        if cell.reset_after:
            assert_equal(got, cell)
        assert_close(got.b_x[2] + got.b_hn, cell.b_x[2] + cell.b_hn, "float32")
    back = FORMATS[source].write(again)
    assert_close(FORMATS[source].run(back, option, XS), want, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "onnx"])
def test_a_dtype_is_kept(name, dtype, request):
    if dtype == "float64":
        request.getfixturevalue("x64")
    option = FORMATS[name].options[0]
    stored = FORMATS[name].draw(Draw(f"{name} {dtype}", dtype), option)
    layers = FORMATS[name].read(stored, option)
    assert {leaf.dtype for leaf in jax.tree.leaves(layers)} == {jnp.dtype(dtype)}
    assert_equal(FORMATS[name].read(FORMATS[name].write(layers), option), layers)
