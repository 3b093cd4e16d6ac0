import pytest

from grujax.sweep import local, programs


@pytest.fixture
def stop_in_chunk(monkeypatch):
    """A function: calls `run_sweep` and interrupts it in the nth chunk, as Ctrl-C does."""

    def stop(number, run_sweep):
        calls = []

        def run_or_stop(*arguments):
            calls.append(1)
            if len(calls) == number:
                raise KeyboardInterrupt
            return programs.run_chunk(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(local, "run_chunk", run_or_stop)
            with pytest.raises(KeyboardInterrupt):
                run_sweep()

    return stop
