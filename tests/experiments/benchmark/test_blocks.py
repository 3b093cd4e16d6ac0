"""The benchmark of a GRU in blocks: all contestants compute the same."""

import jax
import numpy as np
import pytest

from experiments.benchmark import blocks, compare
from tests.helpers import assert_close

TINY = blocks.Shape(steps=5, batch=2, input_size=3, hidden_size=6, blocks=3)


def test_all_contestants_have_the_same_states():
    results = {name: run() for name, run in blocks.compile_programs(TINY, "forward").items()}
    assert results["block_gru"].shape == (5, 2, 6)
    for name in ("dense", "flax.linen"):
        assert_close(results[name], results["block_gru"], "float32")


@pytest.mark.slow
def test_all_contestants_have_the_same_gradients():
    results = {name: run() for name, run in blocks.compile_programs(TINY, "training").items()}
    params, xs = results["block_gru"]
    for name in ("dense", "flax.linen"):
        assert_close(results[name][1], xs, "float32")
    variables, _ = results["flax.linen"]
    assert_close(variables, blocks.flax_variables(params), "float32")
    diagonal = blocks.dense_params(params).w_h != 0
    dense = results["dense"][0]
    dense = jax.tree.map(np.asarray, dense)
    assert_close(np.where(diagonal, dense.w_h, 0), blocks.dense_params(params).w_h, "float32")


def test_the_table_has_both_modes_and_ratios(monkeypatch, capsys):
    times = {"block_gru": [2.0, 2.0], "dense": [3.0, 5.0], "flax.linen": [8.0, 8.0]}
    monkeypatch.setattr(blocks, "compile_programs", lambda *_: {})
    monkeypatch.setattr(
        blocks, "time_interleaved", lambda *_: {name: np.array(t) for name, t in times.items()}
    )
    compare.main(compare.Command(blocks=True))
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 1 + 2 * len(blocks.SHAPES)
    assert lines[1].startswith("T64 B16 I64 H256 K4, forward")
    assert lines[2].split()[-5:] == ["2e+03", "4e+03", "8e+03", "2.00", "4.00"]
