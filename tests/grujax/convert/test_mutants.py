"""Weights that are changed at random are refused by name, or mean what they mean at the source."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import grujax
from tests.fixtures.weights.formats import FORMATS, B, I, T
from tests.fixtures.weights.mutants import Mutant, mutants
from tests.helpers import Draw

for module in ("torch", "keras", "haiku", "equinox"):
    pytest.importorskip(module)

XS = Draw("xs", "float32").normal(T, B, I)
# What an error names where an array has no name of its own, or all are missing.
OTHER_NAMES = ("weights", "kernel", "recurrent_kernel", "bias", "variables", "state_dict")


def verdict(mutant: Mutant) -> str:
    """Either "refused" or "equal", or else what is wrong."""
    format_ = FORMATS[mutant.format]
    try:
        layers = format_.read(mutant.stored, mutant.option)
    except ValueError as error:
        named = any(f"{name}" in str(error) for name in (*map(str, mutant.names), *OTHER_NAMES))
        return "refused" if named else f"refused without a name: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    got = outputs(lambda: grujax.stacked_gru(layers, XS)[1])
    want = outputs(lambda: format_.run(mutant.stored, mutant.option, XS))
    if isinstance(want, str) or isinstance(got, str):  # both may be GRUs of other inputs
        return "equal" if type(want) is type(got) else f"not equal: {got}; {want}"
    close = got.shape == want.shape and np.allclose(got, want, atol=1e-5)
    return "equal" if close else "another result"


def outputs(run: Callable[[], Any]) -> Any:
    """What a GRU returns, or a text if it refuses the inputs."""
    try:
        return np.asarray(run())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def check(count: int, seed: str) -> Counter:
    verdicts = [(mutant, verdict(mutant)) for mutant in mutants(count, seed)]
    wrong = [
        f"{mutant.format} ({mutant.option}): {mutant.change} {mutant.names}: {text}"
        for mutant, text in verdicts
        if text not in ("refused", "equal")
    ]
    assert not wrong, "\n".join(wrong)
    return Counter(text for _, text in verdicts)


def test_a_few_mutants():
    assert check(7, "few")["refused"] > 3


@pytest.mark.slow
def test_many_mutants():
    counts = check(280, "many")
    assert counts["refused"] > 200
    assert counts["equal"] > 20
