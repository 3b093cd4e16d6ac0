"""The native kernel in the children of a process."""

import os
import subprocess
import sys

import pytest

from tests.helpers import COMPILER, ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler"),
]

PROGRAM = """
import multiprocessing, os, sys, threading
import jax, jax.numpy as jnp, numpy as np
import grujax
from grujax.implementations.native import loading

def step(implementation=None):
    params = grujax.init_gru(jax.random.key(0), 3, 40)
    xs = jax.random.normal(jax.random.key(1), (30, 50, 3))
    def loss(params):
        return jnp.sum(grujax.gru(params, xs, implementation=implementation)[1] ** 2)
    gradient = jax.jit(jax.grad(loss))
    kernel = "native" if "grujax_forward" in gradient.lower(params).as_text() else "scan"
    return kernel, [np.asarray(leaf) for leaf in jax.tree.leaves(gradient(params))]

def work(queue):
    kernel, got = step()
    _, want = step("scan")
    close = all(np.abs(a - b).max() < 1e-5 * np.abs(b).max() for a, b in zip(got, want))
    queue.put((kernel, close))

def hold_the_lock():
    with loading._lock:
        held.set()
        threading.Event().wait()

if __name__ == "__main__":
    method, before = sys.argv[1:]
    if before == "used":
        step()
    if before == "loaded":
        assert loading.is_loaded()
    if before == "loading":  # another thread, at this moment
        held = threading.Event()
        threading.Thread(target=hold_the_lock, daemon=True).start()
        held.wait()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    workers = [context.Process(target=work, args=(queue,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        assert queue.get(timeout=120) == ("native", True)
        worker.join(120)
        assert worker.exitcode == 0
"""


@pytest.mark.parametrize(
    ("method", "before"),
    [
        ("fork", "nothing"),
        ("fork", "loaded"),
        ("fork", "loading"),
        ("spawn", "used"),
        ("forkserver", "used"),
    ],
)
def test_workers_run_the_kernel(tmp_path, method, before):
    """Where JAX itself survives: not after `fork` in a process that has used JAX."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), method, before]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert run.returncode == 0, run.stderr
