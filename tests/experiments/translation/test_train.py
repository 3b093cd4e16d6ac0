"""The translation experiment, end to end on a small index of package descriptions."""

from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import pytest

from experiments.common.durable import read_json
from experiments.common.report.plots import cell_title
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import save_model
from experiments.seq2seq import training as seq2seq
from experiments.seq2seq.decoding import search
from experiments.seq2seq.parallel_corpus import debian_corpus
from experiments.seq2seq.subwords import learn_or_load_subwords, learn_subwords
from experiments.translation import settings
from experiments.translation import train as translation
from tests.experiments.typed_commands import run_typed
from tests.helpers import read_results

TINY = translation.Settings(
    vocabulary_size=120,
    embedding_size=12,
    hidden_size=12,
    attention_size=8,
    widths=(24,),
    batch_size=16,
    epochs=2,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, debian):
    monkeypatch.setitem(settings.QUICK, "ddtp", TINY)
    monkeypatch.setitem(settings.QUICK, "dates", replace(TINY, num_pairs=200))
    corpus = translation.debian_corpus

    def small_corpus(target):
        return corpus(target, validation=40, test=40)

    monkeypatch.setattr(translation, "debian_corpus", small_corpus)


def run(out, **changes) -> None:
    translation.main(translation.Command(**{"quick": True, "out": out, **changes}).presets())


def test_the_whole_experiment(tmp_path, capsys):
    run(tmp_path)
    printed = capsys.readouterr().out
    out = tmp_path / "ddtp-it"
    rows = read_results(out / "results.json")
    assert list(rows) == [
        "copy",
        "translation memory",
        "word dictionary",
        "GRU, greedy",
        "GRU, 5 beams",
    ]
    assert all(f"\n{name} " in printed for name in rows)
    assert set(rows["copy"]) == {"all", "synopsis", "paragraph"}
    assert set(rows["copy"]["all"]) == {"BLEU", "chrF", "exact"}
    assert "milliseconds per text" in printed
    checksums = read_json(out / "settings.json")["checksums"]
    assert set(checksums) == {"Translation-en", "Translation-it"}
    assert all(f"{name} (sha256 {digest})" in printed for name, digest in checksums.items())
    for plot in ("attention", "learning_curves"):
        assert (out / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    lines = (out / "translations.tsv").read_text().splitlines()
    assert lines[0] == "source\treference\toutput"

    # The saved model translates a text alone as it did in a batch.
    source, _, expected = lines[1].split("\t")
    run(tmp_path, translate=source)
    assert capsys.readouterr().out.rstrip("\n") == expected
    before = search._cache_size()
    run(tmp_path, translate="red tool")
    assert search._cache_size() == before


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "transformer"])
def test_another_cell_is_trained_and_translates_from_its_own_folder(cell, tmp_path, capsys):
    run_typed("translation", "--quick", "--cell", cell, "--out", tmp_path)
    folder = tmp_path / "quick" / cell / "ddtp-it"
    title = cell_title(cell)
    assert list(read_results(folder / "results.json"))[3:] == [
        f"{title}, greedy",
        f"{title}, 5 beams",
    ]
    assert seq2seq.load(folder, "")[1]["cell"] == cell
    assert f"Try: python -m experiments.translation --cell {cell} --quick" in (
        capsys.readouterr().out
    )
    source, _, expected = (folder / "translations.tsv").read_text().splitlines()[1].split("\t")
    use = "--quick", "--translate", source, "--out", tmp_path
    run_typed("translation", *use, "--cell", cell)
    assert capsys.readouterr().out.rstrip("\n") == expected
    with pytest.raises(SystemExit):
        run_typed("translation", *use)
    assert "Train it first" in capsys.readouterr().err


def test_a_translator_that_was_saved_before_there_were_cells_is_a_gru(tmp_path):
    saved = {name: value for name, value in asdict(TINY).items() if name != "cell"}
    save_model(tmp_path / seq2seq.MODEL, {}, {"settings": saved}, [])
    learn_or_load_subwords(tmp_path / seq2seq.TOKENIZER, ["a b"], 10)
    assert translation.load_translator(tmp_path).model.cell == "gru"


@pytest.mark.slow
def test_a_resumed_training_is_the_same_bit_for_bit(tmp_path, capsys, stop_after):
    run(tmp_path / "undisturbed")
    stop_after(1, lambda: run(tmp_path / "stopped"))
    run(tmp_path / "stopped")
    assert "resuming after epoch 1" in capsys.readouterr().err
    metrics = [tmp_path / name / "ddtp-it" / loop.METRICS for name in ("undisturbed", "stopped")]
    assert metrics[0].read_bytes() == metrics[1].read_bytes()
    assert len(read_records(metrics[0])) == 2


def test_translate_without_a_model_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Train it first: python -m experiments\.tr"):
        run(tmp_path, translate="red tool")


@pytest.mark.slow
def test_make_train_is_pure_and_can_be_swept():
    corpus = debian_corpus("it", validation=40, test=40)
    tokenizer = learn_subwords(corpus.sources + corpus.targets, TINY.vocabulary_size)
    settings = replace(TINY, vocabulary_size=tokenizer.get_vocab_size())
    train = translation.make_train(settings, seq2seq.prepare(corpus, tokenizer, settings))
    rates = jnp.array([1e-6, 1e-2])
    metrics = jax.jit(lambda rates: jax.lax.map(lambda r: train(jax.random.key(0), r), rates))(
        rates
    )
    assert metrics["train_loss"].shape == (2, 2)
    assert metrics["train_loss"][1, -1] < metrics["train_loss"][0, -1]
