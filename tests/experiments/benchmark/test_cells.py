"""The costs of the cells: their programs and their table."""

import jax
import numpy as np
import pytest

from experiments.benchmark import compare as benchmark
from experiments.benchmark.cells import (
    ROWS,
    Cost,
    compile_program,
    format_markdown,
    format_peers,
)
from experiments.benchmark.peers import Setting, why_missing
from experiments.benchmark.peers import cells as peers
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


LAYERS = [
    (library, cell)
    for library in (*peers.LAYERS, "torch")
    for cell in ("lstm", "rnn")
    if peers.has_cell(library, cell)
]


@pytest.mark.parametrize(("library", "cell"), LAYERS)
def test_the_layers_of_all_libraries_train_weights_of_the_same_sizes(library, cell):
    if why_missing(library):
        pytest.skip("not installed")
    leaves = map(np.asarray, jax.tree.leaves(peers.compile_training(library, cell, TINY)()))
    gradients = list(leaves)
    assert all(np.isfinite(leaf).all() for leaf in gradients)
    number = sum(leaf.size for leaf in gradients)
    gates = 4 if cell == "lstm" else 1
    T, B, I, H = 5, 2, 3, 4  # noqa: E741
    of_weights = gates * (I * H + H * H + H)
    of_states = T * B * I + B * H * (2 if cell == "lstm" and library == "torch" else 1)
    # PyTorch has two biases.
    assert number - of_weights - of_states == (gates * H if library == "torch" else 0)


def test_the_table_of_libraries_has_the_ratio_to_the_fastest():
    times = {("rnn", 16): {"grujax": 2.0, "haiku": 5.25}}
    table = format_peers(["grujax", "haiku", "equinox"], times)
    assert table.splitlines()[-1] == "| RNN | 16 | 2 | 5.25 | – | 2.62 |"


@pytest.mark.slow
def test_the_command_prints_and_writes_the_tables(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "BASE", TINY)
    benchmark.main(benchmark.Command(cells=True, seconds=0, out=tmp_path))
    tables = (tmp_path / "cells.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert tables in printed
    assert (tmp_path / "cells_libraries.md").read_text(encoding="utf-8") in printed
    for table in tables.split("\n\n")[:2]:
        _, _, *rows = table.splitlines()
        assert len(rows) == len(ROWS)
        for line in rows:
            _, _, count, *times, _ = (cell.strip() for cell in line.split("|"))
            assert int(count.replace(",", "")) > 0
            assert min(map(float, times[:2])) > 0
