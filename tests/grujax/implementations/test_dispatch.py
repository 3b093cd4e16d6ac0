"""Which implementation runs: tracing is the same everywhere, and lowering picks the kernel."""

import jax
import jax.numpy as jnp
import pytest

import grujax
from grujax.implementations import cuda, native
from grujax.implementations.cuda import nvrtc
from tests.helpers import Draw, assert_close

both_kinds = pytest.mark.parametrize("both", [False, True], ids=["one", "both directions"])


def gradient_of(steps: int, batch: int, implementation: str | None, both: bool):
    """The gradient of a loss, and parameters to call it with."""
    draw = Draw("dispatch", "float32")
    params, xs = draw.params(3, 5), jnp.asarray(draw.normal(steps, batch, 3))

    def loss(params):
        options = {"implementation": implementation}
        if both:
            return jnp.sum(grujax.bidirectional_gru((params, params), xs, **options)[1])
        return jnp.sum(grujax.gru(params, xs, **options)[1])

    return jax.grad(loss), params


def traced_program(*arguments) -> str:
    gradient, params = gradient_of(*arguments)
    return str(jax.make_jaxpr(gradient)(params))


@both_kinds
@pytest.mark.parametrize("implementation", [None, "scan", "newton"])
@pytest.mark.parametrize(("steps", "batch"), [(5, 2), (300, 17)], ids=["short", "long"])
def test_the_traced_program_does_not_depend_on_the_machine(
    monkeypatch, steps, batch, implementation, both
):
    arguments = steps, batch, implementation, both
    monkeypatch.setattr(nvrtc, "is_installed", lambda: False)
    monkeypatch.setattr(native, "is_installed", lambda: False)
    without_kernels = traced_program(*arguments)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(nvrtc, "is_installed", lambda: True)
    monkeypatch.setattr(native, "is_installed", lambda: True)
    assert traced_program(*arguments) == without_kernels


@both_kinds
def test_without_the_kernel_the_scan_is_lowered_and_gives_the_same(monkeypatch, both):
    gradient, params = gradient_of(9, 3, None, both)
    by_scan, _ = gradient_of(9, 3, "scan", both)
    monkeypatch.setattr(native, "is_installed", lambda: False)
    monkeypatch.setattr(cuda, "passes_self_test", lambda: False)
    lowered = jax.jit(gradient).lower(params)
    assert "@grujax_" not in lowered.as_text()
    assert_close(lowered.compile()(params), by_scan(params), "float32")


def test_the_default_runs_under_disable_jit():
    gradient, params = gradient_of(5, 2, None, False)
    want = gradient(params)
    with jax.disable_jit():
        assert_close(gradient(params), want, "float32")
