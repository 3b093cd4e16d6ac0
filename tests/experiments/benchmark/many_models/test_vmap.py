"""Gradients of many models under one vmap, with every contestant."""

import jax

from experiments.benchmark.many_models import vmap
from tests.helpers import COMPILER, assert_close


def test_all_models_have_gradients():
    population = vmap.Population(models=3, steps=4, batch=2, units=5)
    names = vmap.CONTESTANTS if COMPILER else vmap.CONTESTANTS[1:]
    results = {name: vmap.make_run(name, population)() for name in names}
    assert all(leaf.shape[0] == 3 for leaf in jax.tree.leaves(results))
    if COMPILER:
        assert_close(results["native"], results["scan"], "float32")
    rows = vmap.report_vmap(0, names, population).splitlines()[1:]
    assert [row.split()[0] for row in rows] == list(names)
    assert rows[-1].endswith("1.0")
