"""The GPU benchmark's programs, without a GPU."""

import pytest

from experiments.benchmark.gpu import programs
from grujax.implementations import cuda
from grujax.implementations.cuda import nvrtc
from grujax.implementations.cuda.devices import H100, Device


@pytest.mark.skipif(nvrtc._find_library() is None, reason="there is no NVRTC")
@pytest.mark.parametrize(
    ("device", "dtype", "most"),
    [
        (Device((8, 0), 108), "float32", 128),
        pytest.param(H100, "float32", 256, marks=pytest.mark.slow),
        pytest.param(H100, "bfloat16", 512, marks=pytest.mark.slow),
    ],
)
def test_only_sizes_that_the_gpu_holds_are_measured(monkeypatch, device, dtype, most):
    monkeypatch.setattr(cuda, "require", lambda: None)
    monkeypatch.setattr(cuda, "passes_self_test", lambda: True)
    monkeypatch.setattr(cuda, "target", lambda: device)
    assert programs.holds(dtype, most)
    assert not programs.holds(dtype, most + 1)
