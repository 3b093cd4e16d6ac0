"""Which GPUs run the CUDA kernel, and what happens on the others."""

import logging
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

import grujax
from grujax.implementations import cuda
from grujax.implementations.cuda import devices, support
from grujax.implementations.cuda import layouts as cuda_layouts
from grujax.implementations.cuda.devices import H100, Device
from grujax.implementations.library_cache import KernelError

A100, TURING = Device((8, 0), 108), Device((7, 5), 40)


def test_without_a_device_it_raises_by_name():
    params = grujax.init_gru(jax.random.key(0), 2, 3)
    with pytest.raises(ValueError, match="has no NVIDIA GPU"):
        grujax.gru(params, jnp.ones((4, 2)), implementation="cuda")


@pytest.mark.parametrize(("units", "dtype"), [(300, "float32"), (600, "bfloat16"), (8, "float16")])
def test_unsupported_sizes_and_dtypes_raise(monkeypatch, units, dtype):
    monkeypatch.setattr(cuda, "require", lambda: None)
    shapes = [(3, 2, units), (3, units, units), (3, units), (units,)]
    params = grujax.GRUParams(*(jnp.zeros(shape, dtype) for shape in shapes))
    with pytest.raises(ValueError, match=rf"H ≤ 256.*got {dtype}, H = {units}"):
        grujax.gru(params, jnp.ones((4, 2), dtype), implementation="cuda")


def test_an_older_gpu_runs_the_scan_and_logs_once(fresh, use_gpus, caplog):
    use_gpus(SimpleNamespace(compute_capability="7.0", device_kind="NVIDIA V100"))
    with caplog.at_level(logging.INFO, "grujax"):
        assert [cuda.passes_self_test() for _ in range(2)] == [False, False]
    assert [record.getMessage() for record in caplog.records] == [
        "grujax runs its scan instead of the CUDA kernel: NVIDIA V100 has compute capability 7.0."
    ]
    with pytest.raises(ValueError, match="V100 has compute capability 7"):
        cuda.require()


def test_a_program_is_for_the_oldest_and_smallest_gpu_of_the_process(use_gpus):
    assert devices.target() == H100
    gpus = [("9.0", 132), ("8.6", 28)]
    use_gpus(*(SimpleNamespace(compute_capability=c, core_count=n) for c, n in gpus))
    assert devices.target() == Device((8, 6), 28)


@pytest.mark.parametrize(
    ("capability", "architecture", "has_clusters"),
    [
        ((7, 5), "compute_75", False),
        ((8, 0), "compute_80", False),
        ((8, 6), "compute_80", False),
        ((8, 9), "compute_80", False),
        ((9, 0), "compute_90", True),
        ((12, 0), "compute_90", True),
    ],
)
def test_a_device_runs_the_ptx_of_an_architecture_that_is_not_later(
    capability, architecture, has_clusters
):
    device = Device(capability, 10)
    assert (device.architecture, device.has_clusters) == (architecture, has_clusters)


@pytest.mark.parametrize(("device", "shared_kib"), [(TURING, 64), (A100, 163), (H100, 227)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_layout_fits_into_shared_memory(device, shared_kib, dtype):
    for units in (20, 50, 128, cuda_layouts.most_hidden(device, dtype)):
        layout = cuda_layouts.choose_layout(device, dtype, units, rows=10**5, models=1)
        assert layout.cluster == 1 or device is H100
        assert layout.resident * layout.shared_bytes(3 * layout.units) <= shared_kib * 1024


GPU_90 = SimpleNamespace(compute_capability="9.0", device_kind="NVIDIA H100", core_count=132)


@pytest.mark.parametrize("failure", ["wrong", "raises"])
def test_a_kernel_that_fails_its_self_test_is_not_used(
    fresh, use_gpus, monkeypatch, caplog, failure
):
    use_gpus(GPU_90)

    def error(dtype, units, reset_after):
        if failure == "raises":
            raise KernelError("NVRTC does not compile gru.cu")
        return float("nan")

    monkeypatch.setattr(support, "_error", error)
    with caplog.at_level(logging.INFO, "grujax"):
        assert not cuda.passes_self_test()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
