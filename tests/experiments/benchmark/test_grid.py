"""The benchmark's grids and the roofline."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.benchmark.grid import full_grid, quick_grid, roofline_ms, short_grid
from experiments.benchmark.peers.problem import KINDS, Setting


def test_the_roofline_counts_every_layer_and_direction():
    one = Setting(10, 2, 3, 4)
    flops = 10 * 2 * (3 + 4) * 3 * 4 * 2
    floats = 10 * 2 * (3 + 4) + (3 + 4) * 3 * 4 + 4 * 4
    only_flops = roofline_ms(one, "forward", flops, np.inf)
    assert only_flops == pytest.approx(1e3)
    assert roofline_ms(one, "forward", np.inf, 4 * floats) == pytest.approx(1e3)
    assert roofline_ms(one, "training", flops, np.inf) == pytest.approx(3e3)
    half = replace(one, dtype="bfloat16")
    assert roofline_ms(half, "forward", np.inf, 4 * floats) == pytest.approx(500)
    both = replace(one, kind="bidirectional")
    assert roofline_ms(both, "forward", flops, np.inf) == pytest.approx(2e3)
    stack = replace(one, kind="two layers")
    assert roofline_ms(stack, "forward", flops, np.inf) == pytest.approx(1e3 * (1 + 8 / 7))


def test_the_short_grid_repeats_nothing():
    assert len(set(short_grid())) == len(short_grid())
    assert {setting.steps for setting in short_grid()} == {1, 4, 16}


@pytest.mark.parametrize("grid", [full_grid(), quick_grid()])
def test_a_grid_repeats_nothing_and_has_every_kind(grid):
    assert len(set(grid)) == len(grid)
    assert {setting.kind for setting in grid} == set(KINDS)
    assert {setting.dtype for setting in grid} == {"float32", "bfloat16"}
    assert all(s.steps * s.batch * s.hidden_size <= 2**23 for s in grid)
