"""A train function travels by its import path, or by value."""

import pickle
import sys

import pytest

from grujax.sweep.executors import pack
from tests.fixtures.sweep_trainings import descend


def test_an_importable_function_goes_by_its_path():
    packed = pack(descend)
    assert b"tests.fixtures.sweep_trainings" in packed.content
    assert len(packed.content) < 100
    assert pickle.loads(packed.content) is descend
    assert pack(descend) == packed


def test_a_closure_goes_by_value():
    factor = 3
    loaded = pickle.loads(pack(lambda x: factor * x).content)
    assert loaded(2) == 6


def test_without_cloudpickle_only_importable_functions_go(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    assert pickle.loads(pack(descend).content) is descend
    with pytest.raises(ValueError, match=r"`train` cannot be sent .*, or install cloudpickle"):
        pack(lambda key: {})
    script = sys.modules["__main__"]
    monkeypatch.setattr(script, "train", lambda key: {}, raising=False)
    monkeypatch.setattr(script.train, "__module__", "__main__")
    script.train.__qualname__ = "train"
    with pytest.raises(
        ValueError, match=r"it is defined in the script itself\. Define it in a mod"
    ):
        pack(script.train)
