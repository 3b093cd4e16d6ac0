"""The settings that the benchmark measures, and the roofline of each.

The full grid: T in 32, 128, 784, 2048; B in 1, 16, 64, 256; H in 32, 64, 128, 256, 512, where
T·B·H ≤ 2²², which keeps every library's training step below about half a second. I = 64 everywhere;
additionally I = 1 at T = 784 (an image pixel by pixel) and I = H at T = 128 (a layer in a stack).
Then bidirectional, two layers, lengths, resets and bfloat16 at three shapes each.
"""

from dataclasses import replace

import jax

from experiments.benchmark.peers import Setting

BASE = Setting(steps=128, batch=16, input_size=64, hidden_size=128)  # where the plots' axes cross
VARIANT_KINDS = ("bidirectional", "two layers", "lengths", "resets")


def full_grid() -> list[Setting]:
    """All points, by the rule above."""
    grid = [
        Setting(steps, batch, input_size, hidden)
        for steps in (32, 128, 784, 2048)
        for batch in (1, 16, 64, 256)
        for hidden in (32, 64, 128, 256, 512)
        for input_size in sorted({64, *[1] * (steps == 784), *[hidden] * (steps == 128)})
        if steps * batch * hidden <= 2**22
    ]
    shapes = (BASE, Setting(784, 64, 64, 64), Setting(128, 64, 64, 256))
    return grid + [setting for shape in shapes for setting in variants(shape)]


def quick_grid() -> list[Setting]:
    """A cross through BASE with fewer and more steps, rows and units, and the variants of BASE."""
    arms = {"steps": (32, 784), "batch": (1, 64), "hidden_size": (32, 256)}
    cross = [replace(BASE, **{axis: size}) for axis, sizes in arms.items() for size in sizes]
    return [BASE, *cross, *variants(BASE)]


def short_grid() -> list[Setting]:
    """Calls of a few steps, as an agent or a service makes them: T = 1, 4, 16 and B = 1, 16, 64."""
    return [
        Setting(steps, batch, 64, hidden)
        for steps in (1, 4, 16)
        for batch in (1, 16, 64)
        for hidden in (64, 128, 256)
    ]


def variants(shape: Setting) -> list[Setting]:
    """The other kinds of layers, and bfloat16, at one shape."""
    kinds = [replace(shape, kind=kind) for kind in VARIANT_KINDS]
    return [*kinds, replace(shape, dtype="bfloat16")]


def product_flops(setting: Setting, mode: str) -> float:
    """The operations of the matrix products, T·B·(I + H)·3H·2, and in training three times that."""
    h, rows = setting.hidden_size, setting.steps * setting.batch
    forward = sum(rows * (i + h) * 3 * h * 2 for layer in setting.input_sizes() for i in layer)
    return float(forward * (3 if mode == "training" else 1))


def roofline_ms(setting: Setting, mode: str, flops: float, bytes_: float) -> float:
    """The least time for a setting on a machine with these rates per second.

    For the forward pass: the flops of the matrix products, plus the bytes of one pass over inputs,
    states and weights, (T·B·(I + H) + weights)·itemsize. A training step takes three such passes.
    """
    h, rows = setting.hidden_size, setting.steps * setting.batch
    itemsize = jax.numpy.dtype(setting.dtype).itemsize
    passed = 0
    for i in [size for layer in setting.input_sizes() for size in layer]:
        weights = (i + h) * 3 * h + 4 * h
        passed += (rows * (i + h) + weights) * itemsize
    passes = 3 if mode == "training" else 1
    return 1e3 * (product_flops(setting, mode) / flops + passes * passed / bytes_)
