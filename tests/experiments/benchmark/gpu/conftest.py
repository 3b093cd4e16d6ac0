"""Results of the GPU benchmark, as if a GPU had been measured."""

import pytest

from experiments.benchmark.gpu.programs import Shape
from experiments.benchmark.gpu.steps import Results
from experiments.benchmark.gpu.verdicts import check_step, newton_step, speed_step
from experiments.benchmark.peers import MODES

LONG = (10_000, 4)


def times_of(batch, kernel=1.0):
    """In "training" all take twice the time; `lax.scan` takes 16 µs, and a little more for rows."""
    scan = 16 * (1 + batch / 1000)
    times = {"grujax": kernel, "cuDNN": 3.0, "scan": scan, "lax.scan": scan}
    return {mode: {n: t * (1 + i) for n, t in times.items()} for i, mode in enumerate(MODES)}


@pytest.fixture
def measured(tmp_path):
    """A function that returns results of an H100 on which all claims hold, but for `changes`."""
    shapes = [
        Shape(dtype, 1000, batch, units)
        for dtype in ("float32", "bfloat16")
        for batch in (16, 256)
        for units in (128, 256)
    ]
    about = {
        "device": "NVIDIA H100 80GB HBM3",
        "capability": [9, 0],
        "versions": {"jax": "1.2.3"},
        "kernel": "0123abcd",
        "XLA_FLAGS": "",
        "dry_run": False,
        "shapes": [list(shape) for shape in shapes],
        "long": [list(LONG)],
        "models": 32,
    }
    option = {"microseconds": 5.0, "launches": 2, "transposes": 0}
    options = ("none", "lengths", "resets", "reverse", "zoneout", "recurrent dropout", "models")
    check = {"dtype": "float32", "outputs": 1e-7, "derivatives": 2e-7, "is_right": True}
    found = {
        "self-test": {"most_units": {"float32": 256, "bfloat16": 512}},
        check_step("cuda"): [{"name": name, **check} for name in ("one block", "forward mode")],
        "options": dict.fromkeys(
            (*options, "both directions", "batch-major", "reset before"), option
        ),
        newton_step(*LONG): {
            "milliseconds": {"cuda": 9.0, "scan": 90.0, "dense": 3.0, "diagonal": 4.0},
            "iterations": {"dense": "5", "diagonal": "15"},
        },
        "models": {"grujax": 2.0, "grujax, one model": 1.0, "scan": 50.0},
        "forward mode": {"forward": {"grujax": 1.0}, "jvp": {"grujax": 20.0}},
        "memory": {
            "cuda/forward": {"temporaries": 3.0, "peak": 5.0},
            "newton/training": {"temporaries": 19.0, "peak": None},
            "plain/training": {"temporaries": 11.0, "peak": 13.0},
        },
    } | {speed_step(shape): times_of(shape.batch) for shape in shapes}

    def make(changes=None, **changed_about):
        results = Results(tmp_path / "gpu.json", about | changed_about, fresh=True)
        for name, result in (found | (changes or {})).items():
            if result is not None:
                results.begin(name)
                results.end(name, 1.0, result)
        return results

    return make
