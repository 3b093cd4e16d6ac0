"""The export of the sentiment classifier, end to end, on a small archive."""

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import jax
import numpy as np
import onnx
import pytest

from experiments.common.training.models import save_model
from experiments.export import export
from experiments.sentiment import train as sentiment
from experiments.sentiment import vader
from tests.helpers import ROOT, TOLERANCE, Draw, read_results

SETTINGS = sentiment.Settings(
    embedding_size=6,
    hidden_size=5,
    max_tokens=9,
    subword_buckets=64,
    ngram_buckets=64,
    batch_size=16,
    epochs=2,
    num_phrases=0,
)


def save_untrained(path: Path, settings: sentiment.Settings, lexicon: bool) -> None:
    """Saves a model with random weights and biases in the experiment's format."""
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, sentiment.NUM_FOLDS, validation_parts=8, seed=0)[0]
    data = sentiment.prepare(sentences, split, lexicon, settings)
    model = sentiment.Classifier(settings, len(data.vocabulary))
    inputs = {name: array[:1] for name, array in data.train.items()}
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))
    draw = Draw("classifier", "float32")
    params = jax.tree.map(lambda leaf: draw.normal(*leaf.shape, scale=0.7), shapes)
    record = {"settings": asdict(settings), "lexicon": lexicon, "fold": 0, "seed": 0}
    path.parent.mkdir(parents=True)
    save_model(path, params, record, data.vocabulary)


def command(tmp_path: Path, **changes) -> export.Command:
    model = tmp_path / "sentiment" / sentiment.MODEL
    return export.Command(**{"model": model, "seconds": 0, "out": tmp_path / "out", **changes})


def assert_agreement(results: dict) -> None:
    assert results["sentences"] > 10
    assert results["same class"] == 1
    assert all(0 <= d <= TOLERANCE["float32"] for d in results["largest difference"].values())
    assert results["accuracy"]["JAX"] == results["accuracy"]["onnxruntime"]


@pytest.mark.parametrize(
    ("lexicon", "num_layers", "ngram_buckets"),
    [(True, 1, 64), pytest.param(False, 2, 0, marks=pytest.mark.slow)],
)
def test_the_file_predicts_what_the_model_predicts(
    archive, tmp_path, capsys, lexicon, num_layers, ngram_buckets
):
    settings = replace(SETTINGS, num_layers=num_layers, ngram_buckets=ngram_buckets)
    save_untrained(command(tmp_path).model, settings, lexicon)
    export.main(command(tmp_path))
    assert_agreement(read_results(tmp_path / "out" / "results.json"))
    printed = capsys.readouterr().out
    for line in (
        "test sentences",
        "accuracy, %",
        "µs per sentence, batch 128",
        "same class for 100",
    ):
        assert line in printed

    model = onnx.load(tmp_path / "out" / export.MODEL)
    inputs = {"words", "subwords", "token_features", "lengths", "sentence_features"}
    inputs |= {"ngrams", "ngram_weights"} if ngram_buckets else set()
    assert {value.name for value in model.graph.input} == inputs
    answers = ["probabilities", "rating", "attention"]
    assert [value.name for value in model.graph.output] == answers
    assert {"record", "vocabulary", "classes", "sha256"} == {e.key for e in model.metadata_props}


@pytest.mark.slow
def test_a_trained_model_is_exported_and_used(archive, tmp_path, capsys):
    sentences = vader.read_sentences()
    split = vader.split_rated(sentences, sentiment.NUM_FOLDS, validation_parts=8, seed=0)[0]
    which = {"lexicon": True, "fold": 0, "seed": 0}
    data = sentiment.prepare(sentences, split, True, SETTINGS)
    test = sentences.texts[split.test], sentences.labels[split.test]
    sentiment.train_and_test(tmp_path / "lexicon-fold0-seed0", SETTINGS, data, test, which)
    trained = tmp_path / "lexicon-fold0-seed0" / sentiment.MODEL
    export.main(command(tmp_path, model=trained))
    assert_agreement(read_results(tmp_path / "out" / "results.json"))

    capsys.readouterr()
    export.main(command(tmp_path, predict="i love my great phone"))
    from_file = capsys.readouterr().out
    sentiment.main(sentiment.Command(SETTINGS, out=tmp_path, predict="i love my great phone"))
    assert from_file == capsys.readouterr().out
    assert any(name in from_file.splitlines()[0] for name in vader.CLASSES)
    sentiment.main(sentiment.Command(out=tmp_path, export="onnx"))
    path = Path(capsys.readouterr().out.splitlines()[0])
    assert export.ask(path, "i love my great phone") + "\n" == from_file


@pytest.mark.slow
def test_batching_and_padding_do_not_change_an_answer(archive, tmp_path):
    save_untrained(command(tmp_path).model, SETTINGS, lexicon=True)
    export.main(command(tmp_path))
    session = export.start_session(tmp_path / "out" / export.MODEL)
    texts = ["a great day", "awful, awful !!"]
    inputs = sentiment.encode(texts, ["a", "great"], True, SETTINGS)
    both = session.run(None, inputs)
    alone = session.run(None, {name: array[:1] for name, array in inputs.items()})
    short = {name: array[:1] for name, array in inputs.items()}
    for name in ("words", "subwords", "token_features"):
        short[name] = short[name][:, :3]
    cut = session.run(None, short)
    for answer in (alone, cut):
        np.testing.assert_allclose(answer[0], both[0][:1], atol=1e-6)
    assert not both[2][0, 3:].any()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "nowhere"], "Train it first: python -m experiments.sentiment"),
        (["--out", "nowhere", "--predict", "x"], "Export it first: python -m experiments.export"),
    ],
)
@pytest.mark.slow
def test_an_error_names_the_command_to_run_first(flags, message):
    result = subprocess.run(
        [sys.executable, "-m", "experiments.export", *flags],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
