"""Comparisons: learning rates are tuned beyond the ends, and a killed comparison resumes."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.common.rivals.comparison import (
    best_rate,
    compare,
    make_train,
    rates_beyond,
    tune,
)
from experiments.common.rivals.settings import Comparison, require_gru
from tests.experiments.common.rivals.tiny_comparison import BEST, PLAN, TASK
from tests.helpers import ROOT, chunk_times, read_results


@pytest.mark.parametrize(
    ("scores", "beyond"),
    [
        ({0.01: 1.0}, []),
        ({0.01: 1.0, 0.03: 2.0, 0.1: 1.5}, []),
        ({0.01: 1.0, 0.03: 2.0}, [0.09]),
        ({0.01: 3.0, 0.03: 2.0}, [0.003]),
        ({1e-4: 3.0, 3e-4: 2.0, 1e-3: 1.0}, [3e-5]),
        ({0.1: 1.0, 0.3: 2.0, 0.03: 0.0}, [0.9]),
        ({0.1: 1.0, 0.3: -np.inf}, [0.03]),
        ({0.1: 2.0, 0.3: 2.0, 1.0: 1.0}, [0.03]),  # of equal ones the first
    ],
)
def test_the_next_rate_is_beyond_the_end_that_is_best(scores, beyond):
    assert rates_beyond(scores) == beyond


def test_tuning_goes_on_until_the_best_rate_is_no_end(tmp_path):
    scores = tune(make_train(TASK), PLAN.cells, [0.003, 0.01], tmp_path)
    assert sorted(scores["gru"]) == [0.003, 0.01, 0.03, 0.09, 0.3]
    assert sorted(scores["lstm"]) == [0.0009, 0.003, 0.01]
    assert scores["gru"][0.3] == -np.inf  # diverged
    for cell, of_cell in scores.items():
        rates = sorted(of_cell)
        assert rates[0] < best_rate(of_cell) < rates[-1]
        distance = abs(np.log(best_rate(of_cell) / BEST[cell]))
        assert of_cell[best_rate(of_cell)] == pytest.approx(-distance, abs=0.05)


def test_a_killed_comparison_resumes(tmp_path):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    compare(TASK, PLAN, alone)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.experiments.common.rivals.tiny_comparison", str(killed)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    deadline = time.monotonic() + 300
    while len(chunk_times(killed)) < 3:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = chunk_times(killed)
    assert not (killed / "results.json").exists()
    compare(TASK, PLAN, killed)
    after = chunk_times(killed)
    assert before.items() < after.items()  # what had been trained was not trained again
    results = [read_results(out / "results.json") for out in (alone, killed)]
    for rows in results:
        for cell in BEST:
            assert rows[cell].pop("seconds") >= 0
    assert results[0] == results[1]
    assert (killed / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_results_and_the_table(tmp_path, capsys):
    compare(TASK, PLAN, tmp_path)
    printed = capsys.readouterr().out
    rows = read_results(tmp_path / "results.json")
    assert list(rows) == ["lstm", "gru", "lead"]
    assert rows["gru"]["parameters"] == 10
    assert rows["gru"]["learning rate"] == 0.09
    assert rows["lstm"]["learning rate"] == 0.003
    assert rows["gru"]["step microseconds"] is None
    assert len(rows["gru"]["figures"]["distance"]["seeds"]) == 2
    assert rows["lead"]["first"] == "lstm"
    assert "distance: LSTM is first, 0.0" in printed


@pytest.mark.parametrize(
    ("plan", "given", "message"),
    [
        (Comparison(cells=()), {"rivals.cells"}, "--rivals.cells needs at least one value"),
        (Comparison(cells=("gru", "gru")), set(), "--rivals.cells names a value twice: gru gru"),
        (Comparison(learning_rates=(0.1, 0.1)), set(), "--rivals.learning-rates names"),
        (Comparison(), {"learning_rate"}, "--learning-rate has no effect with --compare"),
        (Comparison(), {"folds"}, "--folds has no effect with --compare"),
    ],
)
def test_what_does_not_fit_is_refused(plan, given, message):
    with pytest.raises(InputError, match=message):
        plan.check(frozenset(given), ("folds",))


def test_what_works_with_a_gru_alone():
    require_gru("gru", "--export")
    with pytest.raises(InputError, match=r"^--export works with a GRU, not with --cell lstm\.$"):
        require_gru("lstm", "--export")
