"""The text generation experiment, end to end on a few made-up books."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.text_generation import train as text_generation
from experiments.text_generation.prose import CORPORA, read_corpus
from tests.helpers import read_results

TINY = text_generation.Settings(parameters=1500, batch_size=4, steps=8, passes=2, parts=2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, books):
    monkeypatch.setattr(
        "experiments.text_generation.settings.QUICK", {"gru": TINY, "gru-large": TINY}
    )
    monkeypatch.setattr(text_generation, "SHARES", (0.2, 0.1))


def run(out, **changes) -> None:
    text_generation.main(text_generation.Command(**{"quick": True, "out": out, **changes}))


def test_the_whole_experiment(tmp_path, capsys):
    run(tmp_path, corpus="bible")
    printed = capsys.readouterr().out
    out = tmp_path
    assert (out / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    rows = read_results(out / "bible" / "results.json")
    assert list(rows)[:3] == ["gzip", "xz", "xz, after the training text"]
    assert all(f"\n{row} " in printed for row in rows)
    trained = [rows[text_generation.ROWS[key]] for key in ("gru", "gru-large")]
    assert all(abs(results["parameters"] - 1500) < 150 for results in trained)
    assert len({results["characters read"] for results in trained}) == 1
    assert all(0 < results["bits"] < np.log2(30) for results in trained)
    measures = [row for row in rows if "dynamic" in row or "counting on" in row or "+" in row]
    assert len(measures) == 4
    assert all(0 < rows[row]["bits"] < np.log2(30) for row in measures)
    assert all(rows[row]["megabytes"] > 0 for row in rows if "z" not in row)
    best = min(rows, key=lambda row: rows[row]["bits"])
    assert f"Fewest bits on the test text: {best}." in printed

    run(tmp_path, sample="And the", length=30)
    text = capsys.readouterr().out
    assert text.startswith("And the")
    assert len(text) == len("And the") + 30 + 1
    run(tmp_path, sample="And the", length=30)
    assert capsys.readouterr().out == text
    with pytest.raises(InputError, match=r"^The alphabet does not have 'é'\. It has"):
        run(tmp_path, sample="André")


@pytest.mark.slow
def test_both_corpora_are_read_and_written(tmp_path, capsys):
    run(tmp_path)
    assert all((tmp_path / name / "results.json").exists() for name in CORPORA)
    capsys.readouterr()
    settings = replace(TINY, seed=1)
    run(tmp_path, sample="HAMLET.\n", corpus="shakespeare", length=10, settings=settings)
    assert capsys.readouterr().out.startswith("HAMLET.\n")


@pytest.mark.slow
def test_a_resumed_training_is_the_same_bit_for_bit(tmp_path, capsys, stop_after):
    corpus = read_corpus("bible", (0.2, 0.1))

    def train(name: str):
        return text_generation.train_and_test(TINY, corpus, tmp_path / name / "gru")

    trained = train("alone")
    assert len(trained.curve.bits) == 4
    assert trained.curve.characters[-1] == trained.results["characters read"]

    stop_after(3, lambda: train("stopped"))  # in the middle of the streams
    train("stopped")
    assert "resuming after epoch 3" in capsys.readouterr().err
    metrics = [tmp_path / name / "gru" / loop.METRICS for name in ("alone", "stopped")]
    assert metrics[0].read_bytes() == metrics[1].read_bytes()
    assert len(read_records(metrics[0])) == 4


def test_sample_without_a_model_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Train it first: python -m experiments\.text_g"):
        run(tmp_path, sample="In the beginning")


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_make_train_is_pure_and_can_be_swept(cell):
    settings = replace(TINY, cell=cell)
    data = text_generation.prepare(read_corpus("bible", (0.2, 0.1)), settings)
    train = text_generation.make_train(settings, data)
    rates = jnp.array([1e-6, 1e-2])
    metrics = jax.jit(lambda rates: jax.lax.map(lambda r: train(jax.random.key(0), r), rates))(
        rates
    )
    assert metrics["validation_bits"].shape == (2, 4)
    assert metrics["validation_bits"][1, -1] < metrics["validation_bits"][0, -1]
