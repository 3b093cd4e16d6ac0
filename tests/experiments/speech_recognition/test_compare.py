"""The comparison of cells as recognizers of streams."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from experiments.common.parsing import parse
from experiments.common.rivals.cells import RIVALS
from experiments.common.rivals.comparison import make_train
from experiments.common.rivals.settings import QUICK_COMPARISON, Comparison
from experiments.speech.spoken_digits import read_corpus
from experiments.speech_recognition import train as speech_recognition
from experiments.speech_recognition.compare import make_task
from experiments.speech_recognition.settings import COMPARED, QUICK_COMPARED
from grujax.sweep.contract import check_pure
from tests.helpers import chunk_times, read_results

TINY = replace(
    COMPARED, hidden_size=12, num_layers=1, width=100, num_strings=32, batch_size=16, epochs=2
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, spoken):
    monkeypatch.setattr("experiments.speech_recognition.settings.QUICK_COMPARED", TINY)
    monkeypatch.setattr(speech_recognition, "NUM_VALIDATION", 12)
    monkeypatch.setattr(speech_recognition, "WIDTH", 128)


@pytest.mark.parametrize("cell", RIVALS)
def test_the_training_of_each_cell_is_pure(cell):
    """A sweep traces it twice, and requires the same program."""
    corpus = read_corpus()
    strings = speech_recognition.draw_test_strings(corpus, 12)
    task = make_task(TINY, speech_recognition.prepare(corpus), strings)

    train = make_train(task)
    inputs = jax.random.key(0), jnp.float32(1e-3)
    shapes = check_pure(lambda key, rate: train(key, cell, rate), *inputs, name="train", advice="")
    assert shapes.keys() == {"validation", *task.figures}
    assert abs(task.parameters(cell) - task.parameters("gru")) < 0.1 * task.parameters("gru")
    assert task.stream(cell).input_size == 2 * 13


@pytest.mark.slow
def test_a_small_comparison(tmp_path, capsys):
    rivals = Comparison(cells=("gru", "transformer"), learning_rates=(3e-3, 1e-2), seeds=2)
    options = {"compare": True, "quick": True, "num_test": 12, "rivals": rivals}
    command = speech_recognition.Command(out=tmp_path, **options)
    speech_recognition.main(command)
    assert capsys.readouterr().out.startswith("8 trainings of 2 cells.")
    out = tmp_path / "compare"
    rows = read_results(out / "results.json")
    assert list(rows) == ["gru", "transformer", "lead"]
    for cell in rivals.cells:
        figures = rows[cell]["figures"]
        assert list(figures) == ["digit errors", "strings right"]
        assert figures["digit errors"]["mean"] > 0
        assert 0 <= figures["strings right"]["mean"] <= 1
        assert rows[cell]["step microseconds"] > 0
    before = chunk_times(out)
    speech_recognition.main(command)  # nothing is trained again
    assert chunk_times(out) == before
    assert read_results(out / "results.json")["lead"] == rows["lead"]


def test_the_settings_of_a_comparison():
    def parsed(*flags: str) -> speech_recognition.Command:
        return parse(speech_recognition.Command, "speech_recognition", None, ["--compare", *flags])

    assert parsed().compared() == COMPARED
    assert not COMPARED.bidirectional
    assert parsed("--epochs", "3").compared() == replace(COMPARED, epochs=3)
    assert parsed().rivals == Comparison()
    quick = parsed("--quick")
    assert quick.compared() == TINY  # in the place of QUICK_COMPARED
    assert (quick.rivals, quick.num_test) == (QUICK_COMPARISON, 100)
    assert QUICK_COMPARED.epochs == 1
