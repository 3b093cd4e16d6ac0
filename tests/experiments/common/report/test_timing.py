"""Timing in turns, with or without competing processes."""

from experiments.common.report import timing


def test_functions_are_timed_in_turns():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = timing.time_interleaved(runs, seconds=0, min_rounds=3, turn_seconds=1e-9)
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    # Two calls to estimate, then in each round one to settle and one that counts.
    turns = calls[4:]
    assert [sorted(turns[i : i + 4]) for i in (0, 4, 8)] == [["a", "a", "b", "b"]] * 3


def test_a_turn_waits_once_for_its_last_call():
    launched, waited = iter(range(99)), []
    runs = {"a": lambda: next(launched)}
    timing.time_interleaved(runs, 0, min_rounds=1, turn_seconds=1e-9, wait=waited.append)
    assert waited == [0, 1, 2, 3]  # two estimates, one call to settle, one turn
    waited.clear()
    timing.time_interleaved(runs, 0, min_rounds=1, turn_seconds=1e-5, wait=waited.append)
    assert waited[:3] == [4, 5, 6]
    assert len(waited) == 4
    assert waited[3] == next(launched) - 1


def test_more_time_gives_more_rounds():
    times = timing.time_interleaved({"a": lambda: None}, seconds=60, max_rounds=7)
    assert len(times["a"]) == 7


def test_busy_processes_are_there_meanwhile(monkeypatch):
    started = []
    start = timing.subprocess.Popen
    monkeypatch.setattr(
        timing.subprocess, "Popen", lambda x: started.append(start(x)) or started[-1]
    )
    with timing.busy_processes(2):
        assert [process.poll() for process in started] == [None, None]
    assert all(process.poll() is not None for process in started)
