"""Steps that resume after a stop, an error, or the end of the process."""

import json

import pytest

from experiments.benchmark.gpu import steps as module
from experiments.benchmark.gpu.steps import Results, Step, Unmeasured, run_steps
from experiments.common.command import InputError

ABOUT = {"device": "a GPU", "jax": "1"}


class Steps:
    """Steps that note when they run; `broken` ones raise an error."""

    def __init__(self, *names):
        self.ran, self.broken = [], set()
        self.all = [Step(name, lambda name=name: self._run(name)) for name in names]

    def _run(self, name):
        self.ran.append(name)
        if name in self.broken:
            raise ValueError(f"{name} is broken\nin many lines")
        return {"of": name}

    def call(self, path, seconds=60.0, is_healthy=lambda: True):
        """A call of the command, in a process of its own. Returns: the results, and what ran."""
        self.ran.clear()
        results = Results(path, ABOUT)
        run_steps(self.all, results, seconds, is_healthy)
        return results, list(self.ran)


def test_a_step_runs_once_and_its_result_is_kept(tmp_path):
    steps = Steps("a", "b")
    _, ran = steps.call(tmp_path / "gpu.json")
    assert ran == ["a", "b"]
    results, ran = steps.call(tmp_path / "gpu.json")
    assert ran == []
    assert results["b"] == {"of": "b"}
    assert not Results(tmp_path / "gpu.json", ABOUT, fresh=True).attempts("a")


def test_an_error_is_recorded_and_repeated_once_after_all_others(tmp_path):
    steps = Steps("a", "b", "c")
    steps.broken = {"a"}
    results, ran = steps.call(tmp_path / "gpu.json")
    assert ran == ["a", "b", "c"]
    assert results.error("a") == "ValueError: a is broken"
    with pytest.raises(Unmeasured, match="a is broken"):
        results["a"]
    steps.all += Steps("d").all
    _, ran = steps.call(tmp_path / "gpu.json")
    assert ran == ["a"]  # "d" notes elsewhere that it ran
    results, ran = steps.call(tmp_path / "gpu.json")
    assert ran == []
    assert (results.attempts("a"), results.attempts("d")) == (2, 1)


def test_a_step_that_ends_the_process_comes_last_and_not_a_third_time(tmp_path):
    steps = Steps("a", "b")
    order = [step.run for step in steps.all]

    def end_the_process():
        steps.ran.append("a")
        raise KeyboardInterrupt

    steps.all[0] = Step("a", end_the_process)
    with pytest.raises(KeyboardInterrupt):
        steps.call(tmp_path / "gpu.json")
    assert steps.ran == ["a"]
    with pytest.raises(KeyboardInterrupt):
        steps.call(tmp_path / "gpu.json")
    assert steps.ran == ["b", "a"]
    results, ran = steps.call(tmp_path / "gpu.json")
    assert ran == []
    assert results.error("a") == module.ENDED
    assert results["b"] == order[1]()


def test_no_step_begins_when_the_time_is_over_or_the_device_is_gone(tmp_path):
    steps = Steps("a", "b")
    results, ran = steps.call(tmp_path / "gpu.json", seconds=-1)
    assert ran == []
    with pytest.raises(Unmeasured, match='time was over before the step "a"'):
        results["a"]
    steps.broken = {"a"}
    results, ran = steps.call(tmp_path / "gpu.json", is_healthy=lambda: False)
    assert ran == ["a"]
    assert not results.attempts("b")


def test_results_of_another_device_are_refused(tmp_path):
    Steps("a").call(tmp_path / "gpu.json")
    with pytest.raises(InputError, match=r"results of another device\. .*--fresh"):
        Results(tmp_path / "gpu.json", ABOUT | {"device": "another"})
    assert Results(tmp_path / "gpu.json", json.loads(json.dumps(ABOUT)))["a"] == {"of": "a"}
