"""How the time of a training step grows: the tables, and the memory of pieces."""

import os

import jax
import numpy as np
import pytest

from experiments.benchmark import cost
from experiments.benchmark.grid import product_flops
from experiments.benchmark.peers import Setting, make_problem
from tests.helpers import COMPILER

SWEEP = cost.Sweep(Setting(steps=6, batch=2, input_size=3, hidden_size=4), "batch", (1, 2))


def test_pieces_give_the_same_gradient_and_need_less_memory():
    problem = make_problem(Setting(steps=2000, batch=2, input_size=3, hidden_size=8))
    params = problem.layers[0][0]
    gradients, temporaries = {}, {}
    for piece in (None, 100):
        gradient = jax.jit(
            jax.grad(lambda p, piece=piece: cost.last_state(p, problem.xs, piece).sum())
        )
        compiled = gradient.lower(params).compile()
        gradients[piece] = compiled(params)
        temporaries[piece] = compiled.memory_analysis().temp_size_in_bytes
    for one, other in zip(*map(jax.tree.leaves, gradients.values()), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert temporaries[100] < temporaries[None] / 4


def test_a_process_has_the_threads_it_is_given():
    assert cost.with_threads(3, os.getenv, "PJRT_NPROC") == "3"


def test_work_is_that_of_the_products():
    # Forward, and the gradients of the operands: three times 2·T·B·3H·(I + H).
    assert product_flops(SWEEP.setting, "training") == 3 * 2 * 6 * 2 * 3 * 4 * (3 + 4)


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
def test_the_report_has_a_row_for_each_size(tmp_path, capsys):
    cost.report_cost((1, 2), 0, tmp_path / "cost.md", sweeps=(SWEEP,), lengths=(1000,))
    text = (tmp_path / "cost.md").read_text()
    assert "T = 6, H = 4, I = 3:" in text
    header, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert header.count("limit / ms") == 2
    assert [row.split(" | ")[0] for row in rows] == [
        "| 1",
        "| 2",
        "| T",
        "|---|---|---|---|---|",
        "| 1,000",
    ]
    assert text.strip() in capsys.readouterr().out.replace("\n\n\n", "\n\n")
