"""`python -m grujax`: the report, and building the kernel."""

import os
import subprocess
import sys

import pytest

from grujax import __main__ as command
from grujax.implementations.library_cache import KernelError
from grujax.implementations.native import building, loading, processor


def test_the_report_has_every_implementation_and_what_none_picks(capsys):
    assert command.main([]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    for name in ("plain", "scan", "newton"):
        assert lines[f'"{name}"'] == "available"
    assert "needs a GPU" in lines['"cuda"']
    assert "has no TPU" in lines['"tpu"']
    assert lines["grujax"].startswith(command.grujax.__version__)
    assert f"of {os.cpu_count()} processors" in lines["threads"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_none_picks_is_what_runs(dtype):
    assert command.picked(dtype) == ('"native"' if loading.is_loaded() else '"scan"')
    assert command.picked(dtype, (3, 2, 600)) == '"scan"'  # few rows, and too large for a cache


def test_without_a_library_the_reason_is_said(monkeypatch, capsys):
    monkeypatch.setattr(loading, "_loaded", None)
    monkeypatch.setattr(loading, "_failure", "It is broken.")
    assert command.main([]) == 0
    assert '"native"          not available: It is broken.' in capsys.readouterr().out


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
    table = capsys.readouterr().out.split("\n\n")[1].splitlines()
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
    ],
)
def test_the_limit_of_a_control_group(tmp_path, files, limit):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert processor.cgroup_limit(tmp_path) == limit


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
