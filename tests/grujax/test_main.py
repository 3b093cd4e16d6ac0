"""`python -m grujax`: the report, and building the kernel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from grujax import __main__ as command
from grujax.implementations.library_cache import KernelError
from grujax.implementations.native import building, loading, processor


def test_the_report_has_every_implementation_and_what_none_picks(capsys):
    assert command.main([]) == 0
    output = capsys.readouterr().out
    lines = dict(line.split(maxsplit=1) for line in output.splitlines() if line)
    assert len(output.splitlines()) <= 40  # one page
    for dtype in ("float32", "bfloat16"):
        assert f"None          picks {command.picked(dtype)} for {dtype}, T = 100," in output
    for name in ("plain", "scan", "newton"):
        assert lines[f'"{name}"'] == "available"
    assert "needs a GPU" in lines['"cuda"']
    assert "has no TPU" in lines['"tpu"']
    assert lines["grujax"].startswith(command.grujax.__version__)
    assert f"of {os.cpu_count()} processors" in lines["threads"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_none_picks_is_what_runs(dtype):
    assert command.picked(dtype) == ('"native"' if loading.is_loaded() else '"scan"')
    # few rows, and too large for a cache
    is_fast = loading.is_loaded() and processor.has_wide_vectors()
    assert command.picked(dtype, (3, 2, 600)) == ('"native"' if is_fast else '"scan"')


def test_without_a_library_the_reason_is_said(monkeypatch, capsys):
    monkeypatch.setattr(loading, "_loaded", None)
    monkeypatch.setattr(loading, "_failure", "It is broken.")
    assert command.main([]) == 0
    assert '"native"      not available: It is broken.' in capsys.readouterr().out


def test_the_environment_is_listed(monkeypatch):
    monkeypatch.setenv("GRUJAX_CUDA", "0")
    assert "GRUJAX_CUDA=0" in dict(command.report())["environment"]


def test_a_build_that_fails_is_a_sentence(monkeypatch, capsys):
    def fail():
        raise KernelError("There is no C++ compiler.")

    monkeypatch.setattr(building, "build", fail)
    assert command.main(["build"]) == 1
    assert "uses `lax.scan` instead. There is no C++ compiler." in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["biuld"])
    assert "invalid choice: 'biuld'" in capsys.readouterr().err


@pytest.mark.slow
def test_times_of_every_implementation(monkeypatch, capsys):
    monkeypatch.setattr(command, "SHAPES", ((5, 2, 8), (6, 9, 8)))
    monkeypatch.setattr(command, "SECONDS", 0.01)
    assert command.main(["--time"]) == 0
    table = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    names = table[0].split()[5:]
    assert {"plain", "scan", "newton"} <= set(names)
    assert all(len(line.split()) == 9 + len(names) for line in table[1:])


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
        ({"cpu.max": "nonsense"}, None),
        ({"cpu.max": "100000 0"}, None),
        ({"user/cpu.max": "max 100000", "user/mine/cpu.max": "50000 100000"}, 0.5),
        ({"user/cpu.max": "25000 100000", "user/mine/cpu.max": "50000 100000"}, 0.25),
        ({"user/other/cpu.max": "50000 100000"}, None),
        ({"cpu/old/cpu.cfs_quota_us": "20000", "cpu/old/cpu.cfs_period_us": "10000"}, 2.0),
    ],
)
def test_the_limit_of_a_control_group(tmp_path, files, limit):
    groups = tmp_path / "groups"
    groups.write_text("4:memory:/other\n3:cpu,cpuacct:/old\n0::/user/mine\n")
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert processor.cgroup_limit(tmp_path, str(groups)) == limit


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({}, 2),
        ({"PJRT_NPROC": "5"}, 5),
        ({"PJRT_NPROC": "0"}, 1),
        ({"PJRT_NPROC": "several"}, 2),
        ({"NPROC": "7"}, 7),
        ({"NPROC": "7", "PJRT_NPROC": "3"}, 3),
    ],
)
def test_the_threads_that_are_reported(monkeypatch, environment, threads):
    monkeypatch.setattr(processor, "usable_cores", lambda: 2)
    for name in ("PJRT_NPROC", "NPROC"):
        monkeypatch.delenv(name, raising=False)
        if name in environment:
            monkeypatch.setenv(name, environment[name])
    assert processor.thread_count() == threads
    assert processor.thread_count(devices=9) == 9


THREADS = """
import jax, jax.numpy as jnp, pathlib
from grujax.implementations.native import processor
jax.jit(lambda a: a @ a)(jnp.ones((500, 500))).block_until_ready()
names = [path.read_text() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
got, want = processor.thread_count(len(jax.devices())), sum("XLAEigen" in name for name in names)
assert got == want, (got, want)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="only Linux lists threads")
@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"PJRT_NPROC": "5"},
        {"PJRT_NPROC": "0"},
        {"NPROC": "7"},
        {"NPROC": "7", "PJRT_NPROC": "3"},
        {"XLA_FLAGS": "--xla_force_host_platform_device_count=6"},
    ],
)
def test_the_threads_that_are_reported_are_those_of_xla(environment):
    subprocess.run([sys.executable, "-c", THREADS], env={**os.environ, **environment}, check=True)


def test_where_jax_cannot_start_the_rest_is_reported(monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("Unable to initialize\nbackend 'nonsense'.")

    monkeypatch.setattr(command.jax, "devices", fail)
    monkeypatch.setattr(command, "_example", fail)
    assert command.main([]) == 0
    output = capsys.readouterr().out
    assert "devices       none: Unable to initialize backend 'nonsense'." in output
    assert "None          picks nothing, because JAX cannot start, for float32" in output


def test_missing_headers_are_reported(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(command.jax.ffi, "include_dir", lambda: str(tmp_path))
    assert command.main([]) == 0
    assert "XLA's interface unknown: XLA's headers" in capsys.readouterr().out


def test_a_reader_who_stops_reading_sees_no_traceback(monkeypatch, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "argv", ["grujax"])
        assert command.run() == 1
    # closing the stream, as Python does at its end, raises nothing


def test_an_interruption_is_a_word(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "main", interrupt)
    assert command.run() == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_what_is_no_text_is_printed(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", os.fsdecode(b"/nothing/\xff"))
    with (tmp_path / "output").open("w", encoding="ascii") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert command.main([]) == 0
    assert "/nothing/\\udcff" in (tmp_path / "output").read_text()


def test_a_library_that_cannot_run_has_no_ratio(monkeypatch, capsys):
    times = {"new.so": 0.002, "old.so": float("nan"), "": 0.003}
    monkeypatch.setattr(command, "_time_library", times.get)
    command._print_ratios(Path("new.so"), [Path("old.so")])
    lines = capsys.readouterr().out.splitlines()
    assert "2.00 ms, 1.00 times" in lines[1]
    assert "3.00 ms, 1.50 times" in lines[2]
    assert "it cannot run" in lines[3]


@pytest.mark.slow
def test_importing_grujax_takes_little_longer_than_importing_jax():
    """What grujax imports beside JAX: nothing but itself."""
    code = """
import sys, jax
before = set(sys.modules)
import grujax
import json
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(new - set(sys.stdlib_module_names))))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() in ('["grujax"]', '["grujax", "jax"]')
