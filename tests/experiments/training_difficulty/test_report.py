"""The report: steps to the solution, and gains paired by seed."""

import numpy as np

from experiments.training_difficulty import compare, report
from grujax import sweep


def test_steps_censored_by_the_cap_are_marked():
    def describe(updates, solved, error):
        return report.describe_steps(np.array(updates), np.array(solved), np.array(error), cap=1500)

    assert describe([600, 600], [True, True], [0.05, 0.05]) == "600"
    assert describe([800, 550], [True, True], [0.05, 0.05]) == "550–800"
    assert describe([1500, 700], [False, True], [0.9, 0.05]) == "700–>1,500"
    assert describe([1500, 1500], [False, False], [0.96, 0.9]) == ">1,500: 93% left"
    assert describe([50, 1500], [False, False], [np.nan, 0.9]) == ">1,500: diverged"


def test_gains_are_paired_by_seed():
    assert report.describe_gain(np.array([0.1, 0.3])) == "+20 ±14"
    assert report.describe_gain(np.array([-0.004])) == "+0"
    trials = compare.make_trials(compare.Settings(seeds=2))
    result = sweep.SweepResult(trials, {}, np.zeros(len(trials["seed"]), bool))
    index = report.index_trials(result)
    assert ("adding", 100, "rnn", "chrono") not in index
    assert sum(map(len, index.values())) == len(trials["seed"]) == 5 * (6 + 8 + 8) * 2
    for (task, length, cell, trick), indices in index.items():
        assert trials["seed"][indices].tolist() == [0, 1]
        assert set(trials["task"][indices]) == {task}
        assert set(trials["length"][indices]) == {length}
        assert set(trials["cell"][indices]) == {cell}
        assert set(trials["zoneout"][indices]) == {0.1 if trick == "zoneout" else 0.0}
