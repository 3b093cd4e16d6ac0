"""Learning online on several devices."""

import pytest

from tests.helpers import run_on_eight_devices


@pytest.mark.parametrize("chosen", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_every_method_on_eight_devices(chosen):
    run_on_eight_devices("machine/online_on_meshes.py", "-m", chosen)
