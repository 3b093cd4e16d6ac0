"""Progress: a bar on a terminal, lines elsewhere, nothing if it is not wanted."""

import io
import subprocess
import sys

from grujax.sweep import progress
from tests.fixtures.sweep_trainings import assert_same, run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch) -> str:
    """What a sweep says where stderr is a terminal."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Terminal())
        assert_same(run(progress=True), run())
        return sys.stderr.getvalue()


def test_a_terminal_has_a_bar(monkeypatch):
    text = on_a_terminal(monkeypatch)
    assert "7/7" in text
    assert "\r" in text


def test_without_tqdm_there_is_no_bar_and_a_line_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    line = "No progress bar: it needs tqdm (pip install 'grujax[sweep]').\n"
    assert on_a_terminal(monkeypatch) == line


def test_elsewhere_it_is_a_line_now_and_then(capsys, monkeypatch):
    clock = iter([0.0, 4.0, 11.0, 15.0, 16.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.progress_bar(True, 10, 2, "trial") as update:
        for count in (1, 2, 3):
            update(count)
        update(2, {"loss": 0.25})
    assert capsys.readouterr().err == (
        "sweep: 5/10 trials in 11 s\nsweep: 10/10 trials in 16 s, loss 0.250\n"
    )


def test_a_sweep_in_a_pipe_shows_lines():
    code = (
        "from tests.fixtures.sweep_trainings import run\n"
        "run(progress=True, chunk=3); run(progress=False)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "\r" not in process.stderr
    lines = [line for line in process.stderr.splitlines() if line.startswith("sweep: ")]
    assert len(lines) == 1
    assert lines[0].startswith("sweep: 7/7 trials in ")
