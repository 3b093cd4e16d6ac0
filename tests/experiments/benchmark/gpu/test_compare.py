"""The GPU benchmark on a CPU: its error, and dry runs."""

import json

import jax.numpy as jnp
import pytest

from experiments.benchmark import compare as benchmark
from experiments.benchmark.gpu import compare, report_gpu
from experiments.benchmark.settings import Command
from experiments.common.command import InputError


def test_it_says_that_there_is_no_gpu(tmp_path):
    with pytest.raises(InputError, match="has no NVIDIA GPU"):
        report_gpu(tmp_path, 1)


def test_a_dry_run_goes_on_where_the_time_was_over(tmp_path, monkeypatch, capsys):
    sizes = compare.DRY._replace(checks={}, rest=())
    monkeypatch.setattr(compare, "DRY", sizes)
    speeds = [step for step in compare.plan(sizes) if step.name.startswith("speed")]
    monkeypatch.setattr(compare, "plan", lambda _: speeds)
    command = Command(out=tmp_path, gpu=True, dry_run=True, minutes=1e-9)
    benchmark.main(command)
    assert "Left out, because the time was over: speed float32" in capsys.readouterr().out
    report = report_gpu(tmp_path, 5, dry_run=True)
    assert "time was over" not in report
    assert "Left out in a dry run: the kernel, cuDNN" in report
    assert "| 3, 2 | – / – | – / – | " in report
    assert (tmp_path / "gpu-dry-run.md").read_text(encoding="utf-8") == report + "\n"
    records = json.loads((tmp_path / "gpu-dry-run.json").read_text())["content"]["records"]
    assert {name: record["error"] for name, record in records.items()} == dict.fromkeys(records, "")
    monkeypatch.setattr(compare, "plan", lambda _: [])
    assert report_gpu(tmp_path, 5, dry_run=True) == report


@pytest.mark.slow
def test_a_dry_run_exercises_every_step(tmp_path):
    report = report_gpu(tmp_path, 60, dry_run=True)
    assert "Failed" not in report
    records = json.loads((tmp_path / "gpu-dry-run.json").read_text())["content"]["records"]
    assert records.keys() == {step.name for step in compare.plan(compare.DRY)}
    kinds = {step.name.split()[0] for step in compare.plan(compare.ON_A_GPU)}
    assert {name.split()[0] for name in records} == kinds


def test_the_plan_begins_with_what_is_right_and_leaves_out_what_the_gpu_does_not_hold(monkeypatch):
    monkeypatch.setattr(compare, "holds", lambda dtype, units: (dtype, units) == ("bfloat16", 256))
    names = [step.name for step in compare.plan(compare.ON_A_GPU)]
    assert names[:4] == ["right: cuda", "right: scan", "right: plain", "right: newton"]
    assert names[4].startswith("speed float32 T1000 B16 H128")
    assert "speed bfloat16 T1000 B16 H256" in names
    assert not [name for name in names if "H512" in name or ("float32" in name and "H256" in name)]
    assert len(names) == len(set(names))


def test_a_broken_device_is_noticed(monkeypatch):
    assert compare._is_healthy()

    def fail(*_):
        raise RuntimeError("an illegal memory access")

    monkeypatch.setattr(jnp, "ones", fail)
    assert not compare._is_healthy()
