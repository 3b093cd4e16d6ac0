"""Judges claims by the results of the steps: a figure, and whether the claim holds.

Each raises `Unmeasured` if the figure is not there.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.benchmark.gpu.programs import Shape
from experiments.benchmark.gpu.steps import Results, Unmeasured
from experiments.benchmark.peers import MODES

LEAST_RISE = 1.5  # "almost no time": at most so many times the time
SLACK = 1.1  # for "as fast as" and "about"

Judge = Callable[[Results], "Verdict"]


class Verdict(NamedTuple):
    """The figure that was measured, and whether the claim holds."""

    figure: str
    holds: bool


def ratios(results: Results, dtype: str, mode: str, peer: str, most: int = 128) -> list[float]:
    """A peer's time divided by the kernel's, at all shapes with at most so many units.

    Raises:
      Unmeasured: at no shape both were timed.
    """
    found = [
        times[mode][peer] / times[mode]["grujax"]
        for shape, times in speeds(results).items()
        if shape.dtype == dtype and shape.units <= most and {peer, "grujax"} <= times[mode].keys()
    ]
    if not found:
        raise Unmeasured(f"the kernel and {peer} were not both timed")
    return found


def speeds(results: Results) -> dict[Shape, dict[str, dict[str, float]]]:
    """The times of all shapes that were measured, by mode and name."""
    shapes = [Shape(*shape) for shape in results.about["shapes"]]
    found = {shape: results.get(speed_step(shape)) for shape in shapes}
    return {shape: times for shape, times in found.items() if times is not None}


def speed_step(shape: Shape) -> str:
    """The name of the step that times a shape."""
    return f"speed {shape}"


def _times(results: Results, dtype: str, batch: int, units: int, mode: str) -> dict[str, float]:
    for shape, times in speeds(results).items():
        if (shape.dtype, shape.batch, shape.units) == (dtype, batch, units):
            return times[mode]
    raise Unmeasured(f"{dtype} with B = {batch}, H = {units} was not timed")


def geometric_mean(values: list[float]) -> float:
    """The exponential of the mean logarithm."""
    return float(np.exp(np.log(values).mean()))


def is_faster(peer: str, dtypes: tuple[str, ...]) -> Judge:
    """The kernel is faster than a peer at all shapes with H ≤ 128, in both modes."""

    def judge(results: Results) -> Verdict:
        least = {
            f"{dtype}, {mode}": min(ratios(results, dtype, mode, peer))
            for dtype in dtypes
            for mode in MODES
        }
        figure = "; ".join(f"{name}: at least {ratio:.2f} times" for name, ratio in least.items())
        return Verdict(figure, min(least.values()) > 1)

    return judge


def is_as_fast(
    peer: str, means: tuple[float, ...], leasts: tuple[float, ...], digits: int
) -> Judge:
    """The geometric means and the minima, forward and training, are what the page says, or more."""

    def judge(results: Results) -> Verdict:
        found = [ratios(results, "float32", mode, peer) for mode in MODES]
        measured = [*map(geometric_mean, found), *map(min, found)]
        mean_forward, mean_training, least_forward, least_training = measured
        figure = (
            f"{mean_forward:.2f} and {mean_training:.2f} times in the mean, "
            f"at least {least_forward:.2f} and {least_training:.2f}, at {len(found[0])} shapes"
        )
        claims = zip(measured, [*means, *leasts], strict=True)
        return Verdict(figure, all(round(value, digits) >= claimed for value, claimed in claims))

    return judge


def exchange_is_fast(results: Results) -> Verdict:
    """Several blocks that share the units are as fast as cuDNN."""
    times = _times(results, "float32", 256, 256, "forward")
    if not {"grujax", "cuDNN"} <= times.keys():
        raise Unmeasured("the kernel and cuDNN were not both timed")
    ratio = times["grujax"] / times["cuDNN"]
    return Verdict(f"{ratio:.2f} times cuDNN's time at H = B = 256, once 2.0", ratio < SLACK)


def tensor_cores_are_fast(results: Results) -> Verdict:
    """bfloat16 takes as much time as float32 for H ≤ 128, not more."""
    times = {
        shape: found["forward"]["grujax"]
        for shape, found in speeds(results).items()
        if "grujax" in found["forward"] and shape.units <= 128
    }
    pairs = {shape: shape._replace(dtype="float32") for shape in times if shape.dtype == "bfloat16"}
    found = [times[shape] / times[other] for shape, other in pairs.items() if other in times]
    if not found:
        raise Unmeasured("the kernel was not timed in both dtypes")
    return Verdict(
        f"bfloat16 takes at most {max(found):.2f} times the time of float32", max(found) < SLACK
    )


def scan_takes(results: Results) -> Verdict:
    """The times of `lax.scan` are in the range that the page gives for an H100."""
    limits = {"forward": (12, 23), "training": (28, 120)}
    found = {
        mode: [times[mode]["lax.scan"] for times in speeds(results).values()] for mode in MODES
    }
    if not found["forward"]:
        raise Unmeasured("lax.scan was not timed")
    figure = ", ".join(f"{mode} {min(t):.0f} to {max(t):.0f} µs" for mode, t in found.items())
    inside = [
        limits[mode][0] <= round(time) <= limits[mode][1]
        for mode, times in found.items()
        for time in times
    ]
    return Verdict(figure, all(inside))


def larger_batches_are_cheap(results: Results) -> Verdict:
    """With more rows the scan takes almost the same time."""
    rises = []
    found = speeds(results)
    for shape, times in found.items():
        larger = found.get(shape._replace(batch=256))
        if shape.batch == 16 and larger is not None:
            rises += [larger[mode]["scan"] / times[mode]["scan"] for mode in MODES]
    if not rises:
        raise Unmeasured("no shape was timed with B = 16 and with B = 256")
    figure = f"B = 256 takes at most {max(rises):.2f} times the time of B = 16"
    return Verdict(figure, max(rises) <= LEAST_RISE)


def newton_is_faster(results: Results) -> Verdict:
    """Newton's method is faster than the kernel and the scan at all long sequences."""
    factors = {}
    for steps, units in results.about["long"]:
        row = results.get(newton_step(steps, units))
        if row is not None:
            times = row["milliseconds"]
            ours = min(times[name] for name in ("dense", "diagonal") if name in times)
            factors[f"T = {steps}, H = {units}"] = (
                min(times["scan"], times.get("cuda", np.inf)) / ours
            )
    if not factors:
        raise Unmeasured("no long sequence was timed")
    figure = ", ".join(f"{name}: {factor:.2g}" for name, factor in factors.items())
    return Verdict(f"times the speed of the fastest other at {figure}", min(factors.values()) > 1)


def newton_step(steps: int, units: int) -> str:
    """The name of the step that times Newton's method."""
    return f"newton T{steps} H{units}"


def check_step(implementation: str) -> str:
    """The name of the step that checks an implementation."""
    return f"right: {implementation}"


def _float32_errors(results: Results, is_tangent: bool = False) -> tuple[float, float]:
    checks = [
        check
        for check in results[check_step("cuda")]
        if check["dtype"] == "float32" and (check["name"] == "forward mode") == is_tangent
    ]
    if not checks:
        raise Unmeasured("the kernel does not run here")
    return max(c["outputs"] for c in checks), max(c["derivatives"] for c in checks)


def are_exact(most: tuple[float, float], is_tangent: bool = False) -> Judge:
    """The largest errors of the kernel in float32, of outputs and derivatives, are not larger."""

    def judge(results: Results) -> Verdict:
        outputs, derivatives = _float32_errors(results, is_tangent)
        figure = f"errors of outputs {outputs:.1e}, of derivatives {derivatives:.1e}"
        return Verdict(figure, outputs <= most[0] and derivatives <= most[1])

    return judge


def has_two_launches(*names: str) -> Judge:
    """A training step with any of these options has two launches, and no sequence is transposed."""

    def judge(results: Results) -> Verdict:
        found = {name: results["options"][name]["launches"] for name in names}
        if not any(found.values()):
            raise Unmeasured("the kernel does not run here")
        figure = ", ".join(f"{name}: {number}" for name, number in found.items())
        return Verdict(f"launches of a training step, {figure}", set(found.values()) == {2})

    return judge


def are_read_in_place(results: Results) -> Verdict:
    """No sequence is transposed around a batch-major layer."""
    found = results["options"]["batch-major"]
    if not found["launches"]:
        raise Unmeasured("the kernel does not run here")
    return Verdict(f"{found['transposes']} transposes of a sequence", found["transposes"] == 0)


def are_side_by_side(results: Results) -> Verdict:
    """Many models take less than half of their times one after the other."""
    times, models = results["models"], results.about["models"]
    if "grujax" not in times:
        raise Unmeasured("the kernel does not run here")
    ratio = times["grujax"] / times["grujax, one model"]
    return Verdict(f"{models} models take {ratio:.1f} times the time of one", ratio < models / 2)


def holds_units(float32: int, bfloat16: int) -> Judge:
    """The kernel runs up to so many units by dtype, and agrees with float64."""

    def judge(results: Results) -> Verdict:
        most = results["self-test"]["most_units"]
        right = all(check["is_right"] for check in results[check_step("cuda")])
        figure = ", ".join(f"{dtype}: H ≤ {units}" for dtype, units in most.items())
        agree = "all checks agree" if right else "some checks do not agree"
        return Verdict(
            f"{figure}; {agree} with float64",
            right and most == {"float32": float32, "bfloat16": bfloat16},
        )

    return judge


def takes_numbers(program: str, most: float) -> Judge:
    """A program takes at most so many numbers per step, row and unit."""

    def judge(results: Results) -> Verdict:
        memory = results["memory"]
        if program not in memory:
            raise Unmeasured("the kernel does not run here")
        numbers = memory[program]["temporaries"]
        return Verdict(f"{numbers:.1f}·T·B·H numbers by XLA's analysis", numbers <= most * SLACK)

    return judge


def not_by_this(reason: str) -> Judge:
    """Nothing here measures it."""

    def judge(results: Results) -> Verdict:
        raise Unmeasured(reason)

    return judge
