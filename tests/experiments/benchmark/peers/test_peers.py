"""All libraries compute the same GRU, forward and gradients."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments.benchmark.peers import (
    LIBRARIES,
    MODES,
    can_run,
    compile_program,
    make_problem,
    why_missing,
)
from experiments.benchmark.peers.problem import KINDS, Problem, Setting
from tests.helpers import TOLERANCE

TINY = Setting(steps=5, batch=2, input_size=3, hidden_size=4)
BATCH_MAJOR = ("keras",)


def skip_unless_installed(name: str) -> None:
    reason = why_missing(name)
    if reason:
        pytest.skip(f"{name} is {reason}")


def as_library_sees_it(name: str, problem: Problem) -> Problem:
    """The problem with the parameters that this library's cell can represent."""
    changes = {
        "haiku": lambda params: replace(params, reset_after=False),
        "flax.nnx": lambda params: replace(params, b_hn=0 * params.b_hn),
    }
    change = changes.get(name, lambda params: params)
    return problem._replace(layers=[[change(params) for params in x] for x in problem.layers])


def to_numpy(array) -> np.ndarray:
    return np.asarray(array.detach() if hasattr(array, "detach") else array)


def time_major(name: str, array) -> np.ndarray:
    return np.swapaxes(to_numpy(array), 0, 1) if name in BATCH_MAJOR else to_numpy(array)


def states(values) -> np.ndarray:
    """[layers times directions, B, H]"""
    return np.stack(jax.tree.leaves(values)) if isinstance(values, list) else to_numpy(values)


# Every library and every kind once; the other combinations are slow.
PICKED = {
    ("flax.linen", "lengths"),
    ("flax.nnx", "bidirectional"),
    ("haiku", "resets"),
    ("equinox", "two layers"),
    ("keras", "lengths"),
    ("torch", "one layer"),
    ("onnxruntime", "bidirectional"),
    ("onnxruntime", "lengths"),
    ("openvino", "one layer"),
    ("openvino", "two layers"),
}


def pairs(mode: str) -> list:
    """The libraries and kinds in this mode."""
    return [
        pytest.param(name, kind, marks=[] if (name, kind) in PICKED else pytest.mark.slow)
        for name in LIBRARIES
        for kind in KINDS
        if can_run(name, replace(TINY, kind=kind), mode)
    ]


@pytest.mark.parametrize(("name", "kind"), pairs("forward"))
def test_every_library_computes_the_same_states_as_grujax(name, kind):
    skip_unless_installed(name)
    problem = make_problem(Setting(40, 3, 4, 5, kind))
    expected_problem = as_library_sees_it(name, problem)
    exists = np.asarray(problem.c) != 0  # libraries may do anything in the padding

    h_last, hs = compile_program(name, problem, "forward").run()
    expected_last, expected_hs = compile_program("grujax plain", expected_problem, "forward").run()
    tolerance = TOLERANCE["float32"]
    np.testing.assert_allclose(time_major(name, hs) * exists, expected_hs * exists, atol=tolerance)
    np.testing.assert_allclose(states(h_last), states(expected_last), atol=tolerance)


@pytest.mark.parametrize(("name", "kind"), pairs("training"))
def test_every_library_computes_the_same_gradients_as_grujax(name, kind):
    skip_unless_installed(name)
    problem = make_problem(Setting(40, 3, 4, 5, kind))
    expected_problem = as_library_sees_it(name, problem)
    tolerance = 5 * TOLERANCE["float32"]

    loss, (d_weights, d_xs, d_h0) = compile_program(name, problem, "training").run()
    expected_loss, (_, expected_xs, expected_h0) = compile_program(
        "grujax plain", expected_problem, "training"
    ).run()
    # The loss is a sum over all steps, rows and units, of either sign.
    np.testing.assert_allclose(to_numpy(loss), expected_loss, atol=1e-3)
    np.testing.assert_allclose(time_major(name, d_xs), expected_xs, atol=tolerance)
    if kind != "resets":  # Haiku resets to zero, whatever h0 is
        np.testing.assert_allclose(states(d_h0), states(expected_h0), atol=tolerance)
    for leaf in jax.tree.leaves(d_weights):
        assert np.all(to_numpy(leaf) != 0)


IN_BFLOAT16 = [
    pytest.param(name, mode, marks=[] if name == "flax.linen" else pytest.mark.slow)
    for name in LIBRARIES
    for mode in MODES
    if can_run(name, replace(TINY, dtype="bfloat16"), mode)
]


@pytest.mark.parametrize(("name", "mode"), IN_BFLOAT16)
def test_bfloat16_stays_bfloat16(name, mode):
    skip_unless_installed(name)
    problem = make_problem(replace(TINY, dtype="bfloat16"))
    for leaf in jax.tree.leaves(compile_program(name, problem, mode).run()):
        assert "bfloat16" in str(leaf.dtype)


def test_openvino_computes_the_same_in_bfloat16():
    skip_unless_installed("openvino")
    problem = make_problem(Setting(40, 3, 4, 5, dtype="bfloat16"))
    h_last, hs = compile_program("openvino", problem, "forward").run()
    expected_last, expected_hs = compile_program("grujax plain", problem, "forward").run()
    tolerance = TOLERANCE["bfloat16"]
    for ours, theirs in ((expected_hs, hs), (states(expected_last), states(h_last))):
        np.testing.assert_allclose(
            theirs.astype(np.float32), ours.astype(np.float32), atol=tolerance
        )


def test_resets_and_lengths_are_drawn():
    assert make_problem(Setting(100, 4, 1, 2, "resets")).resets.any()
    lengths = make_problem(Setting(100, 8, 1, 2, "lengths")).lengths
    assert len(set(lengths.tolist())) > 1
    assert lengths.min() >= 50
    assert lengths.max() <= 100
