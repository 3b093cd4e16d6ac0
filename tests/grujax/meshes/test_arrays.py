"""`jax.shard_map` with its defaults, and meshes with explicit axes."""

import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT


@pytest.mark.parametrize("chosen", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_every_implementation_and_module_on_eight_devices(chosen):
    """JAX fixes the number of devices at its start, so the cases run in a new process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", chosen]
    result = subprocess.run(
        [*command, str(ROOT / "tests" / "fixtures" / "machine" / "on_meshes.py")],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 0, result.stdout
