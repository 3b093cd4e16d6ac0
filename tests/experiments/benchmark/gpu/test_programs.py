"""The GPU benchmark's programs, without a GPU."""

from types import SimpleNamespace

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
    programs.holds.cache_clear()
    assert programs.holds(dtype, most)
    assert not programs.holds(dtype, most + 1)
    programs.holds.cache_clear()


def test_launches_and_transposes_are_counted_in_the_program():
    text = """
      %custom-call.1 = f32[4]{0} custom-call(%x), custom_call_target="__gpu$xla.gpu.ptx", x=1
      %custom-call.2 = f32[4]{0} custom-call(%x), custom_call_target="__cublas$gemm"
      %transpose.1 = f32[100,3,8]{2,1,0} transpose(%y), dimensions={1,0,2}
      %transpose.2 = f32[3,8]{1,0} transpose(%w), dimensions={1,0}
    """
    compiled = SimpleNamespace(as_text=lambda: text)
    assert programs.count_launches(compiled) == 1
    assert programs.count_transposes(compiled, 2400) == 1
    assert programs.count_transposes(compiled, 24) == 2
