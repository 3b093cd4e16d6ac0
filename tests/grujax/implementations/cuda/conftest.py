"""What the tests of the CUDA kernel share."""

import pytest

from grujax.implementations import cuda
from grujax.implementations.cuda import devices, nvrtc, support


@pytest.fixture
def fresh(monkeypatch):
    """A process in which everything is installed and no answer is cached."""
    asked = cuda.passes_self_test, support._self_test
    for function in asked:
        function.cache_clear()
    monkeypatch.setattr(nvrtc, "is_installed", lambda: True)
    yield
    for function in asked:
        function.cache_clear()


@pytest.fixture
def use_gpus(monkeypatch):
    """Makes JAX see these GPUs, and no others."""

    def use(*gpus):
        for module in (devices, support):
            monkeypatch.setattr(module, "local_gpus", lambda: list(gpus))

    return use
