"""The package `grujax.convert`: its names, its imports, and its errors for missing frameworks."""

import subprocess
import sys

import pytest

from grujax import convert
from tests.helpers import ROOT, Draw


def test_it_exports_only_the_conversions():
    frameworks = ("torch", "keras", "linen", "nnx", "haiku", "equinox", "onnx", "textbook")
    pairs = {f"{way}_{framework}" for way in ("from", "to") for framework in frameworks}
    assert set(convert.__all__) == {*pairs, "load_onnx"}


def test_importing_it_loads_no_framework():
    frameworks = ("torch", "keras", "flax", "haiku", "equinox", "onnx", "onnxruntime")
    code = f"import sys, grujax.convert; print([m for m in {frameworks} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("onnx", lambda params: convert.to_onnx([params])),
        ("onnx", lambda params: convert.load_onnx("model.onnx")),
        ("equinox", convert.to_equinox),
        ("flax.nnx", convert.to_nnx),
    ],
)
def test_a_missing_framework_names_the_extra(module, call, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"`{module}` is not installed: .*'grujax\[convert\]'"):
        call(Draw("params", "float32").params(3, 5))
