"""The first training step of a process: what is timed, and the table."""

import pytest

from experiments.benchmark import compare, first_call
from experiments.benchmark.peers import Setting

TINY = Setting(steps=5, batch=2, input_size=3, hidden_size=4)


@pytest.mark.parametrize("library", ["grujax scan", "flax.linen"])
def test_a_new_process_times_its_parts(library):
    call = first_call.measure(library, TINY)
    assert min(call) > 0
    assert call.total == pytest.approx(call.imports + call.compilation + call.step)


def test_the_table_has_the_medians_of_those_that_train(tmp_path, monkeypatch, capsys):
    seconds = iter([1.0, 9.0, 2.0, 2.0, 3.0, 1.0])
    measured = []

    def measure(library, setting):
        measured.append(library)
        return first_call.FirstCall(next(seconds), 0.25, 0.5)

    monkeypatch.setattr(first_call, "measure", measure)
    monkeypatch.setattr(first_call, "PROCESSES", 3)
    command = compare.Command(
        first_call=True,
        libraries=("flax.linen", "openvino"),
        implementations=("scan",),
        out=tmp_path,
    )
    compare.main(command)
    assert measured == ["grujax scan", "flax.linen"] * 3
    rows = (tmp_path / "first_call.md").read_text(encoding="utf-8").splitlines()[2:]
    assert rows == [
        "| grujax scan | 2.00 | 0.25 | 0.50 | 2.75 |",
        "| flax.linen | 2.00 | 0.25 | 0.50 | 2.75 |",
    ]
    assert rows[0] in capsys.readouterr().out
