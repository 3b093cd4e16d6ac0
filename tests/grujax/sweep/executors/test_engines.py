"""Real workers: processes of each engine, killed or not, give the results of one process.

An engine that is not installed is skipped by its name.
"""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grujax import sweep
from grujax.sweep import storage
from tests.fixtures.sweep_trainings import assert_same, run
from tests.helpers import ROOT

PROGRAMS = ROOT / "docs" / "guides" / "executors"
MPI = ["mpiexec", "--oversubscribe", "-n", "3", sys.executable, "-m", "mpi4py.futures", "on_mpi.py"]
ENGINES = {
    "processes": ([sys.executable, "on_processes.py"], None),
    "loky": ([sys.executable, "on_loky.py"], "loky"),
    "dask": ([sys.executable, "on_dask.py"], "distributed"),
    "slurm/sweep": ([sys.executable, "on_slurm.py", "local"], "submitit"),
    "mpi": (MPI, "mpi4py"),
}


class Pool:
    """Makes pools of two new processes, and kills one now and then."""

    def __init__(self, workers=2):
        self.start = partial(
            ProcessPoolExecutor, workers, mp_context=multiprocessing.get_context("spawn")
        )
        self.made = []

    def __call__(self):
        self.made.append(self.start())
        return self.made[-1]

    def kill(self, moments):
        while not (processes := list(self.made[-1]._processes or ())):
            time.sleep(0.01)
        os.kill(moments.choice(processes), signal.SIGKILL)


def count_devices():
    return jax.device_count()


def test_new_processes_give_the_results_of_one(tmp_path):
    trials = sweep.grid(learning_rate=np.linspace(0.1, 0.9, 8), steps=[2, 3, 4])
    options = {"trials": trials, "static": ("steps",)}
    with Pool()() as pool:
        result = run(**options, executor=pool, devices=2, directory=tmp_path)
        assert pool.submit(count_devices).result() == 2
    assert_same(result, run(**options))


def work(key, learning_rate, size):
    """A training of about a fifth of a second on an idle core."""

    def step(_, x):
        return jnp.sin(x) + learning_rate

    x = jax.lax.fori_loop(0, 600_000, step, jax.random.normal(key, (size,)))
    return {"loss": x.mean()}


def at_random_moments(kill, times, directory):
    """A thread that kills workers while chunks are computed; an event stops it."""
    moments, is_over = random.Random(0), threading.Event()

    def loop():
        for _ in range(times):
            count = len(list(directory.glob("chunk-*")))
            while len(list(directory.glob("chunk-*"))) == count and not is_over.is_set():
                time.sleep(0.01)
            if is_over.wait(moments.uniform(0, 0.5)):
                return
            killed.append(kill(moments))

    killed = []
    thread = threading.Thread(target=loop)
    thread.start()
    return killed, is_over, thread


def run_while_workers_die(executor, kill, times, trials, directory):
    """Checks that nothing is lost and nothing is there twice. Returns how many were killed."""
    options = {"trials": trials, "static": ("size",), "chunk": 1}
    killed, is_over, thread = at_random_moments(kill, times, directory)
    try:
        result = run(work, **options, executor=executor, directory=directory, retries=times)
    finally:
        is_over.set()
        thread.join()
    indices = np.concatenate([chunk.indices for chunk in storage.load_sweep(directory)[1]])
    assert sorted(indices) == list(range(len(result.diverged)))
    assert_same(result, run(work, **options))
    return len(killed)


def trials_of(count):
    return sweep.grid(learning_rate=np.linspace(0.1, 0.9, count // 2), size=[48, 64])


@pytest.mark.slow
def test_a_killed_process_of_a_pool_costs_no_trial(tmp_path):
    pool = Pool()
    assert run_while_workers_die(pool, pool.kill, 2, trials_of(16), tmp_path) == 2
    assert len(pool.made) > 1


@pytest.mark.long
def test_twenty_killed_processes_of_a_pool_cost_no_trial(tmp_path):
    pool = Pool()
    assert run_while_workers_die(pool, pool.kill, 20, trials_of(80), tmp_path) == 20
    assert len(pool.made) > 10


@pytest.mark.slow
def test_a_killed_worker_of_dask_costs_no_trial(tmp_path):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:

        def kill(moments):
            pids = list(client.run(os.getpid).values())
            os.kill(moments.choice(pids), signal.SIGKILL)

        assert run_while_workers_die(client.get_executor(), kill, 1, trials_of(16), tmp_path) == 1


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A copy of the programs of the page, and the result of the one without an executor."""
    folder = tmp_path_factory.mktemp("programs") / "executors"
    shutil.copytree(PROGRAMS, folder)
    subprocess.run([sys.executable, "on_one.py"], **options_of(folder))
    return folder, sweep.SweepResult.load(folder / "runs" / "one")


def options_of(folder):
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | allowed
    return {"cwd": folder, "env": environment, "check": True, "timeout": 600}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_the_programs_of_the_page_give_the_same_result_bit_for_bit(name, programs):
    folder, whole = programs
    command, module = ENGINES[name]
    if module is not None:
        pytest.importorskip(module, reason=f"{module} is not installed")
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    subprocess.run(command, **options_of(folder))
    result = sweep.SweepResult.load(folder / "runs" / name)
    assert_same(result, whole)
    assert result.table().equals(whole.table())
