"""The costs of the cells: their programs and their table."""

import jax
import numpy as np
import pytest

from experiments.benchmark import compare as benchmark
from experiments.benchmark.cells import ROWS, Cost, compile_program, format_markdown
from experiments.benchmark.peers import Setting
from experiments.common.cells import CELLS
from tests.helpers import assert_close

TINY = Setting(steps=5, batch=2, input_size=3, hidden_size=4)


def test_every_cell_has_a_row():
    assert {row.cell for row in ROWS} == set(CELLS)
    assert len({row.label for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("cell", ["gru", "min_gru"])
@pytest.mark.parametrize("mode", [pytest.param("forward", marks=pytest.mark.slow), "training"])
def test_two_ways_to_run_a_cell_compute_the_same(cell, mode):
    fast, slow = (compile_program(row, TINY, mode)() for row in ROWS if row.cell == cell)
    assert_close(fast, slow, "float32")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_a_training_step_has_all_gradients(row):
    _, gradients = compile_program(row, TINY, "training")()
    assert jax.tree.leaves(gradients)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradients))


def test_the_table_has_the_columns_of_the_readme():
    costs = [[Cost(128, 74_240, 1.25, 2.0), Cost(64, 1000 + i, 0.5, 3.0)] for i in range(len(ROWS))]
    header, rule, *rows = format_markdown(costs).splitlines()
    assert header.startswith("| cell | parameters at H = 128 | forward | training | H at 74,240 ")
    assert {line.count("|") for line in (header, rule, *rows)} == {9}
    assert rows[0].startswith("| GRU, `grujax.gru` | 74,240 | 1.2 | 2.0 | 64 | 0.5 | 3.0 | ")


@pytest.mark.slow
def test_the_command_prints_and_writes_the_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "BASE", TINY)
    benchmark.main(benchmark.Settings(cells=True, seconds=0, out=tmp_path))
    table = (tmp_path / "cells.md").read_text(encoding="utf-8")
    assert table in capsys.readouterr().out
    _, _, *rows = table.splitlines()
    assert len(rows) == len(ROWS)
    for line in rows:
        _, _, count, *times, _, _ = (cell.strip() for cell in line.split("|"))
        assert int(count) > 0
        forward, training, _, forward_again, training_again = map(float, times)
        assert min(forward, training, forward_again, training_again) > 0
