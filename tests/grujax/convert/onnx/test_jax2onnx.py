"""The plain implementation through jax2onnx, whose pins are not ours: in its own environment."""

import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT

PACKAGES = ["jax2onnx==0.17.1", "jax==0.10.2", "onnxruntime", "flax"]


@pytest.mark.long
def test_functions_and_modules_convert_and_run_in_onnxruntime(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", *PACKAGES]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        pytest.skip(f"jax2onnx cannot be installed here: {installed.stderr[-300:]}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [python, ROOT / "tests" / "fixtures" / "machine" / "by_jax2onnx.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
