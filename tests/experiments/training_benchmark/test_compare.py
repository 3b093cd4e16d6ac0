"""The command on a small archive and a small classifier."""

import pytest

from experiments import sentiment
from experiments.training_benchmark import compare


@pytest.mark.slow
def test_it_prints_the_time_of_a_bare_step_and_of_a_step_of_an_epoch(
    archive, tmp_path, monkeypatch, capsys
):
    settings = sentiment.Settings(
        embedding_size=6,
        hidden_size=5,
        max_tokens=9,
        subword_buckets=64,
        batch_size=16,
        num_phrases=0,
    )
    monkeypatch.setattr(sentiment, "Settings", lambda: settings)
    compare.main(compare.Command(steps=2, seconds=0, out=tmp_path))
    header, bare, epoch = capsys.readouterr().out.splitlines()
    assert header.split()[-5:] == ["milliseconds", "times", "the", "bare", "step"]
    assert bare.startswith("bare step ")
    assert bare.endswith(" 1.000")
    assert epoch.startswith("step of an epoch ")
    assert float(epoch.split()[-2]) > 0
