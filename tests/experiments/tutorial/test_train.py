import numpy as np

from experiments.sentiment import vader
from experiments.tutorial.settings import Command
from experiments.tutorial.train import main


def test_it_learns_which_words_are_which_class(monkeypatch, capsys):
    draw = np.random.default_rng(0)
    labels = draw.integers(3, size=300)
    fillers = draw.choice(["the", "phone", "works"], (300, 4))
    texts = [
        " ".join([*filler, ("bad", "plain", "good")[label]])
        for filler, label in zip(fillers, labels, strict=True)
    ]
    sentences = vader.Sentences(
        texts=np.array(texts, object),
        ratings=labels - 1.0,
        labels=labels,
        domains=np.array(["tweets"] * 300),
        groups=np.arange(300),
    )
    monkeypatch.setattr(vader, "read_sentences", lambda: sentences)
    main(Command(hidden_size=8, max_words=6, batch_size=16, epochs=10, learning_rate=0.02))
    *epochs, last = capsys.readouterr().out.splitlines()
    assert len(epochs) == 10
    assert last.startswith("test 100.0%, the most frequent class alone ")
