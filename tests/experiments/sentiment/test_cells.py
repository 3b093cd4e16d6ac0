"""The classifier with another cell than a GRU: `--cell`."""

from dataclasses import asdict, replace

import jax
import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.common.parsing import parse
from experiments.common.rivals.cells import RIVALS
from experiments.common.training.models import save_model
from experiments.export import write_classifier
from experiments.interpret.explanation import load
from experiments.sentiment import train as sentiment
from experiments.sentiment import vader
from experiments.sentiment.answering import predict
from tests.experiments.sentiment.test_user_texts import make_rows, write_csv
from tests.helpers import read_results

SETTINGS = sentiment.Settings(
    embedding_size=8,
    hidden_size=8,
    max_tokens=12,
    subword_buckets=64,
    batch_size=16,
    epochs=3,
    num_phrases=0,
)
RIVAL_CELLS = [name for name in RIVALS if name != "gru"]
WORDS, TEXT = ["great", "awful", "phone"], "What a great, great phone!"


def save_untrained(directory, cell: str):
    """Saves a model with random parameters. Returns: the model, and its parameters."""
    settings = replace(SETTINGS, cell=cell)
    model = sentiment.Classifier(settings, len(WORDS))
    inputs = sentiment.encode([TEXT], WORDS, True, settings)
    params = jax.jit(lambda key: model.init(key, inputs, False))(jax.random.key(0))
    record = {"settings": asdict(settings), "lexicon": True}
    save_model(directory / sentiment.MODEL, params, record, WORDS)
    return model, params


@pytest.mark.parametrize("cell", RIVAL_CELLS)
def test_a_saved_model_answers_alike(tmp_path, cell):
    model, params = save_untrained(tmp_path, cell)
    inputs = sentiment.encode([TEXT], WORDS, True, model.settings)
    logits, _, attention = jax.jit(lambda inputs: model.apply(params, inputs, False))(inputs)
    answer = predict(tmp_path, TEXT)
    np.testing.assert_allclose(answer.probabilities, jax.nn.softmax(logits[0]), atol=1e-6)
    np.testing.assert_allclose(answer.attention, attention[0, : len(answer.tokens)], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("cell", RIVAL_CELLS)
def test_every_cell_learns(archive, cell):
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, sentiment.NUM_FOLDS, validation_parts=8, seed=0)[0]
    settings = replace(SETTINGS, cell=cell, epochs=8, patience=8, dropout=0.1)
    train = sentiment.make_train(settings, sentiment.prepare(sentences, split, False, settings))
    metrics = jax.jit(train)(jax.random.key(0), learning_rate=1e-2)
    assert metrics["train_loss"][-1] < metrics["train_loss"][0]
    assert np.nanmax(metrics["validation_score"]) > 0.6  # of three classes


@pytest.mark.slow
def test_the_rows_of_the_table_name_the_cell(archive, tmp_path, capsys):
    settings = replace(SETTINGS, cell="min_gru")
    sentiment.main(sentiment.Command(settings, out=tmp_path))
    rows = read_results(tmp_path / "results.json")
    assert list(rows)[4:] == ["minGRU, words alone", "minGRU with VADER's lexicon"]
    capsys.readouterr()
    sentiment.main(sentiment.Command(settings, out=tmp_path, predict="my great phone"))
    assert "attended to:" in capsys.readouterr().out


@pytest.mark.slow
def test_your_own_texts(tmp_path, capsys):
    path = write_csv(tmp_path / "meinungen.csv", make_rows(90))
    settings = replace(SETTINGS, cell="lstm", rating_weight=0.0)
    out = tmp_path / "runs"
    sentiment.main(sentiment.Command(settings, out=out, train=path))
    assert list(read_results(out / "meinungen" / "results.json"))[-1] == "LSTM"
    assert "\nLSTM: " in capsys.readouterr().out
    model = out / "meinungen"
    assert (model / "lstm" / sentiment.MODEL).exists()
    command = sentiment.Command(settings, predict="Akku prima", model=model)
    sentiment.main(command)
    assert "attended to:" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="There is no trained model"):
        sentiment.main(replace(command, settings=SETTINGS))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--export onnx --cell lstm", "^--export works with a GRU, not with --cell lstm"),
        ("--compare --cell lstm", "^--cell has no effect with --compare"),
        ("--compare --folds 2", "^--folds has no effect with --compare"),
        ("--quick", "^--quick has no effect without --compare"),
        ("--rivals.seeds 2", "^--rivals.seeds has no effect without --compare"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags, message):
    with pytest.raises(InputError, match=message):
        parse(sentiment.Command, "sentiment", None, flags.split())


def test_gates_and_onnx_files_are_those_of_a_gru(tmp_path):
    save_untrained(tmp_path / "lexicon-fold0-seed0", "rnn")
    with pytest.raises(InputError, match=r"^The explanation works with a GRU, not with --cell rnn"):
        load(tmp_path)
    model = tmp_path / "lexicon-fold0-seed0" / sentiment.MODEL
    with pytest.raises(InputError, match="works with a GRU, not with --cell rnn"):
        write_classifier(model, tmp_path / "classifier.onnx")
    assert not (tmp_path / "classifier.onnx").exists()
