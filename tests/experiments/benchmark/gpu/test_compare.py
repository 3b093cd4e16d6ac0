"""The GPU benchmark on a CPU: its error, and one run with another implementation for the kernel."""

from functools import partial

import pytest

import grujax
from experiments.benchmark import newton
from experiments.benchmark.gpu import compare, programs, report_gpu, timing
from experiments.common.command import InputError


def test_it_says_that_there_is_no_gpu(tmp_path):
    with pytest.raises(InputError, match="has no NVIDIA GPU"):
        report_gpu(tmp_path)


@pytest.mark.slow
def test_a_run_writes_its_table_and_its_report(tmp_path, monkeypatch):
    run_gru = grujax.gru

    def gru(*arguments, implementation):
        name = "scan" if implementation == "cuda" else implementation
        return run_gru(*arguments, implementation=name)

    monkeypatch.setattr(grujax, "gru", gru)
    monkeypatch.setattr(programs, "STEPS", 5)
    monkeypatch.setattr(
        programs, "cudnn_calls", lambda *_: {"cuDNN a": lambda: None, "cuDNN b": lambda: None}
    )
    monkeypatch.setattr(timing, "TURN_SECONDS", 1e-6)
    monkeypatch.setattr(compare, "run_checks", lambda: "checks")
    monkeypatch.setattr(compare, "matmul_rate", partial(timing.matmul_rate, size=8))
    monkeypatch.setattr(compare, "copy_rate", partial(timing.copy_rate, numbers=8))
    monkeypatch.setattr(compare, "BATCHES", (2,))
    monkeypatch.setattr(compare, "UNITS", (3,))
    monkeypatch.setattr(compare, "LONG_SEQUENCE", (8, 3))
    monkeypatch.setattr(compare, "device_kind", lambda: "a test")
    monkeypatch.setattr(newton, "SECONDS", 0.0)
    report = report_gpu(tmp_path)
    for part in ("a test, jax", "checks", "float32, forward / training", "A long sequence"):
        assert part in report
    assert (tmp_path / "gpu.md").read_text(encoding="utf-8") == report + "\n"
    rows = (tmp_path / "gpu.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "dtype,batch,units,mode,contestant,microseconds,limit"
    assert len(rows) == 1 + 2 * 2 * 4  # dtypes, modes, contestants
