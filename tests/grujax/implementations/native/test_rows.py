"""What a row's results depend on: nothing but the row, in the native kernel."""

import os
import subprocess
import sys
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from tests.helpers import COMPILER, ROOT, Draw, assert_close, assert_equal

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")


class Layer(NamedTuple):
    """A layer, and what it runs on."""

    params: grujax.GRUParams
    xs: Any
    h0: Any
    masks: dict[str, Any]  # lengths and resets
    cotangents: tuple[Any, Any]

    def rows(self, rows: slice) -> "Layer":
        last, hs = self.cotangents
        masks = {name: mask[..., rows] for name, mask in self.masks.items()}
        return Layer(self.params, self.xs[:, rows], self.h0[rows], masks, (last[rows], hs[:, rows]))


class Shape(NamedTuple):
    """The sizes and forms of one program."""

    steps: int
    batch: int
    inputs: int
    hidden: int
    dtype: str = "float32"
    reset_after: bool = True
    reverse: bool = False
    masked: bool = True


def draw_layer(shape: Shape, seed: str) -> Layer:
    draw = Draw(seed, shape.dtype)
    T, B, I, H = shape[:4]  # noqa: E741
    params = draw.params(I, H, reset_after=shape.reset_after)
    params = jax.tree.map(lambda leaf: (leaf / max(1, H / 8) ** 0.5).astype(leaf.dtype), params)
    masks = {"lengths": draw.rng.integers(0, T + 1, B), "resets": draw.bools(T, B, rate=0.2)}
    cotangents = (draw.normal(B, H), draw.normal(T, B, H))
    layer = Layer(
        params, draw.normal(T, B, I), draw.normal(B, H), masks if shape.masked else {}, cotangents
    )
    return jax.tree.map(jnp.asarray, layer)


@partial(jax.jit, static_argnames=("reverse", "implementation"))
def pull_back(layer: Layer, reverse: bool, implementation: str | None = "native"):
    """The outputs, the gradients of every row, and those of the weights, which are sums of rows."""

    def run(params, xs, h0):
        options: Any = {**layer.masks, "reverse": reverse, "implementation": implementation}
        options["reset_state"] = h0
        return grujax.gru(params, xs, h0, **options)

    (last, hs), back = jax.vjp(run, layer.params, layer.xs, layer.h0)
    d_params, d_xs, d_h0 = back(layer.cotangents)
    return (last, d_h0), (hs, d_xs), d_params


def rows_of(results, rows: slice):
    """The results of some rows, without the weights' gradients."""
    states, sequences, _ = results
    return [state[rows] for state in states], [sequence[:, rows] for sequence in sequences]


# Rows of one slice, of several, and of several tasks; units of a vector, of a rest, of more than
# 128, and so many that threads share those of a few rows; weights that are packed, or read in
# place; both forms, directions and dtypes.
SHAPES = {
    "small": Shape(5, 7, 3, 5),
    "small, reverse": Shape(9, 11, 6, 21, reset_after=False, reverse=True),
    "several slices": Shape(6, 203, 5, 24, reverse=True),
    "many units": Shape(7, 45, 9, 141, reset_after=False),
    "no masks": Shape(12, 40, 17, 64, masked=False),
    "shared units": Shape(4, 20, 9, 217),
    "a single step": Shape(1, 30, 9, 32, masked=False),
    "bfloat16": Shape(8, 50, 12, 40, "bfloat16"),
    "bfloat16, reverse": Shape(6, 133, 7, 33, "bfloat16", reset_after=False, reverse=True),
}


def check_rows(shape: Shape, seed: str, rows: list[slice]) -> None:
    layer = draw_layer(shape, seed)
    whole = pull_back(layer, shape.reverse)
    for some in rows:
        alone = pull_back(layer.rows(some), shape.reverse)
        assert_equal(rows_of(alone, slice(None)), rows_of(whole, some))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("small", "no masks") else ())
        for name in SHAPES
    ],
)
def test_a_row_does_not_depend_on_the_batch_around_it(name):
    batch = SHAPES[name].batch
    check_rows(SHAPES[name], name, [slice(1, 2), slice(3, batch), slice(0, 6)])


@pytest.mark.slow
def test_no_row_of_random_batches_depends_on_the_batch_around_it():
    for index in range(40):
        rng = Draw(f"rows {index}").rng
        shape = Shape(
            steps=int(rng.integers(1, 40)),
            batch=int(rng.integers(1, 300)),
            inputs=int(rng.integers(1, 60)),
            hidden=int(rng.integers(1, 200)),
            dtype=str(rng.choice(["float32", "bfloat16"])),
            reset_after=bool(rng.integers(2)),
            reverse=bool(rng.integers(2)),
            masked=bool(rng.integers(2)),
        )
        first = int(rng.integers(shape.batch))
        last = int(rng.integers(first, shape.batch)) + 1
        check_rows(shape, f"rows {index}", [slice(first, last)])


def test_a_model_does_not_depend_on_the_models_around_it():
    """Under `vmap`: the weights' gradients are equal, too, where one thread computes each."""
    shape = Shape(6, 10, 5, 24)
    layers = [draw_layer(shape, f"model {index}") for index in range(5)]
    layers = [layer._replace(masks={}) for layer in layers]
    many = jax.vmap(partial(pull_back, reverse=False))(
        jax.tree.map(lambda *x: jnp.stack(x), *layers)
    )
    for index, layer in enumerate(layers):
        one = pull_back(layer, False)
        assert_equal(jax.tree.map(lambda leaf: leaf[index], many), one)  # noqa: B023


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["scan", "plain"])
def test_rows_of_the_other_implementations_agree_to_rounding(implementation):
    """The order in which XLA's products add depends on their sizes."""
    shape = SHAPES["many units"]
    layer = draw_layer(shape, "rounding")
    whole = pull_back(layer, shape.reverse, implementation)
    alone = pull_back(layer.rows(slice(0, 3)), shape.reverse, implementation)
    assert_close(
        rows_of(alone, slice(None)), rows_of(whole, slice(0, 3)), "float32", tolerance=1e-5
    )


SAVE = """
import sys
import jax, numpy as np
from tests.grujax.implementations.native.test_rows import SHAPES, Shape, draw_layer, pull_back
results = {}
for name, shape in {**SHAPES, "large": Shape(30, 96, 20, 64)}.items():
    layer = draw_layer(shape, name)
    run = lambda: jax.tree.leaves(pull_back(layer, shape.reverse))
    for index, leaf in enumerate(run()):
        results[f"{name} {index}"] = np.asarray(leaf, "float32")
    for _ in range(5):
        for index, leaf in enumerate(run()):
            assert (np.asarray(leaf, "float32") == results[f"{name} {index}"]).all(), name
np.savez(sys.argv[1], **results)
"""


@pytest.mark.slow
def test_no_row_depends_on_the_number_of_threads(tmp_path):
    """The weights' gradients, sums over rows, do by rounding. One number of threads gives the same
    bits in every call."""
    files = []
    for threads in (1, 2, 5):
        files.append(tmp_path / f"{threads}.npz")
        environment = {**os.environ, "PJRT_NPROC": str(threads)}
        command = [sys.executable, "-c", SAVE, str(files[-1])]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    one, *others = (dict(np.load(file)) for file in files)
    for other in others:
        for name, leaf in one.items():
            if int(name.split()[-1]) < 4:  # states and sequences
                np.testing.assert_array_equal(other[name], leaf)
            else:
                dtype = "bfloat16" if "bfloat16" in name else "float32"
                tolerance = {"float32": 1e-5, "bfloat16": 1e-2}[dtype]
                assert_close(other[name], leaf, dtype, tolerance=tolerance)
    assert any((other[name] != leaf).any() for other in others for name, leaf in one.items())
