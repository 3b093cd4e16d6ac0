"""W&B and MLflow, which are no packages of the tests: in an environment of their own."""

import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT

PACKAGES = ["wandb", "mlflow", "jax==0.10.2"]


@pytest.mark.long
def test_wandb_and_mlflow_record_each_trial_once(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", *PACKAGES]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        pytest.skip(f"wandb and mlflow cannot be installed here: {installed.stderr[-300:]}")
    program = ROOT / "tests" / "fixtures" / "machine" / "by_wandb_and_mlflow.py"
    run = subprocess.run(
        [python, program, tmp_path],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "WANDB_MODE": "offline",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "right" in run.stdout
