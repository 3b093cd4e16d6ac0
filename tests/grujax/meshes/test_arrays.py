"""`jax.shard_map` with its defaults, and meshes with explicit axes."""

import pytest

from tests.helpers import run_on_eight_devices


@pytest.mark.parametrize("chosen", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_every_implementation_and_module_on_eight_devices(chosen):
    run_on_eight_devices("machine/on_meshes.py", "-m", chosen)
