"""The experiment, end to end on a few made-up books and digits."""

import shutil
from dataclasses import replace

import pytest

from experiments.common.training import loop
from experiments.speech_recognition import train as speech_recognition
from experiments.streaming import compare
from experiments.streaming.settings import CELLS, Command, Settings
from experiments.streaming.steps import KINDS
from experiments.streaming.text import train_models
from experiments.text_generation import settings as text_settings
from tests.helpers import read_results

TINY = Settings(
    sizes=(1000,),
    num_characters=5000,
    pieces=2,
    length=256,
    positions=(100, 300),
    hidden_size=6,
    num_strings=32,
    epochs=1,
    num_test=12,
    loop_steps=4,
    timing_seconds=0.1,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, books, spoken):
    for archive in books.iterdir():  # one folder has all archives
        shutil.copy(archive, spoken)
    small = replace(text_settings.COMPARED, batch_size=4, steps=8, parts=2)
    monkeypatch.setattr(text_settings, "COMPARED", small)
    monkeypatch.setattr("experiments.streaming.text.SHARES", (0.2, 0.1))
    monkeypatch.setattr(speech_recognition, "NUM_VALIDATION", 12)


@pytest.mark.slow
def test_the_experiment_reports_and_resumes(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    compare.main(Command(TINY, out=tmp_path))
    printed = capsys.readouterr().out
    results = read_results(tmp_path / "results.json")
    assert "bits per character, between the sizes" in printed
    text, positions = results["text"], [str(position) for position in TINY.positions]
    assert list(text["steps"]) == list(text["equal quality"]) == list(KINDS)
    for kind in KINDS:
        assert list(text["steps"][kind]) == ["1000"]
        assert all(list(rows) == positions for rows in text["steps"][kind].values())
        assert list(text["equal quality"][kind]) == positions
    best = [min(x["bits"] for x in text["trainings"][cell].values()) for cell in CELLS]
    assert text["bits at equal quality"] == max(best)
    assert list(text["beyond the window"]["gru"]) == ["0 to 127", "128 to 255"]
    assert list(results["digits"]) == list(CELLS)
    for name in ("latency", "beyond"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")

    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob(loop.METRICS)}
    assert len(records) == 2 * len(CELLS)
    models, _ = train_models(TINY, tmp_path / "trainings" / "text")
    assert {path: path.stat().st_mtime_ns for path in records} == records  # none trained again
    again = {
        cell: {str(size): trained.results for size, trained in sizes.items()}
        for cell, sizes in models.items()
    }
    assert again == text["trainings"]
