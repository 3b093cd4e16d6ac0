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


def test_the_tables_are_at_equal_hidden_size_and_at_equal_parameters():
    costs = [[Cost(128, 74_240, 1.25, 2.0), Cost(64, 1000 + i, 0.5, 3.0)] for i in range(len(ROWS))]
    same_size, same_count, uses = format_markdown(costs).split("\n\n")
    header, rule, *rows = same_size.splitlines()
    assert header == "| H = 128 | parameters | forward | training |"
    assert {line.count("|") for line in (header, rule, *rows)} == {5}
    assert rows[0] == "| GRU, `grujax.gru` | 74,240 | 1.2 | 2.0 |"
    header, rule, *rows = same_count.splitlines()
    assert header == "| 74,240 parameters | H | forward | training |"
    assert rule == "|---|---|---|---|"
    assert rows[0] == "| GRU, `grujax.gru` | 64 | 0.5 | 3.0 |"
    assert len(uses.splitlines()) == 2 + len(ROWS)


@pytest.mark.slow
def test_the_command_prints_and_writes_the_tables(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "BASE", TINY)
    benchmark.main(benchmark.Command(cells=True, seconds=0, out=tmp_path))
    tables = (tmp_path / "cells.md").read_text(encoding="utf-8")
    assert tables in capsys.readouterr().out
    for table in tables.split("\n\n")[:2]:
        _, _, *rows = table.splitlines()
        assert len(rows) == len(ROWS)
        for line in rows:
            _, _, count, *times, _ = (cell.strip() for cell in line.split("|"))
            assert int(count.replace(",", "")) > 0
            assert min(map(float, times[:2])) > 0
