"""The images experiment, end to end on synthetic digits."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.images import settings
from experiments.images import train as images
from experiments.images.distortions import Distortion
from experiments.vision.digits import Digits, split_three_ways
from tests.helpers import read_results


def make_digits(each: int = 20) -> Digits:
    """Draws a bar per digit: vertical for the first five, horizontal for the others."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10, dtype=np.int32), each)
    shown = rng.integers(0, 60, (len(labels), 28, 28)).astype(np.uint8)
    for image, label in zip(shown, labels, strict=True):
        start = 4 + 4 * (label % 5)
        bar = image if label < 5 else image.T
        bar[4:24, start : start + 4] = 255
    return Digits(shown, labels)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(images, "read_digits", make_digits)
    monkeypatch.setattr(images, "PARAMETERS", 60)
    # As of MNIST's digits, see `strokes.fit_ranges`: the paper of those made here is gray.
    monkeypatch.setattr(images, "fit_ranges", lambda _: [[0.03, 0.0, 0.45], [0.34, 1.2, 3.0]])
    monkeypatch.setattr(settings, "RATES", {"gru": 1e-2, "rnn": 1e-3})
    monkeypatch.setattr(settings, "QUICK_EPOCHS", {"rows": 2})
    small = {"hidden_size": 4, "num_layers": 1, "patch": 7, "batch_size": 24}
    larger = {
        name: replace(images.LARGER[name], **small)
        for name in ("bidirectional GRU by rows", "ReNet")
    }
    for module in (images, settings):
        monkeypatch.setattr(module, "LARGER", larger)


def run(out, **changes) -> None:
    images.main(replace(images.Command(quick=True, out=out).presets(), **changes))


@pytest.mark.slow
def test_experiment_resume_and_predict(tmp_path, capsys, monkeypatch, stop_after):
    run(tmp_path / "alone")
    printed = capsys.readouterr().out
    out = tmp_path / "alone"
    results = read_results(out / "results.json")
    names = ["logistic regression", "support vector machine", *images.LARGER]
    assert list(results["classifiers"]) == names
    assert results["classifiers"]["support vector machine"] == [1.0]
    low, high = results["95% intervals"]["support vector machine"]
    assert low < high == 1
    assert results["cells"]["rows"]["gru"]["epochs"] >= 1
    assert {reading: list(row) for reading, row in results["cells"].items()} == {
        "rows": ["gru", "rnn"]
    }
    assert all(f"\n{name} " in printed for name in [*names, "rows, T = 28"])
    for plot in ("accuracy", "gradients", "longest", "misread", "learning_curves"):
        assert (out / f"{plot}.png").read_bytes().startswith(b"\x89PNG")

    # Interrupted after an epoch and resumed: the same numbers.
    larger = images.LARGER
    monkeypatch.setattr(settings, "LARGER", dict(list(larger.items())[:1]))
    monkeypatch.setattr(settings, "QUICK_EPOCHS", {})  # no cells
    monkeypatch.setattr(images, "write_report", lambda *_: None)
    stop_after(1, lambda: run(tmp_path / "stopped"))
    run(tmp_path / "stopped")
    assert "resuming after epoch 1" in capsys.readouterr().err
    metrics = [
        tmp_path / name / "bidirectional-seed0" / loop.METRICS for name in ("alone", "stopped")
    ]
    assert metrics[0].read_bytes() == metrics[1].read_bytes()
    assert len(read_records(metrics[0])) == 4

    # The saved networks classify the user's image.
    for module in (images, settings):
        monkeypatch.setattr(module, "LARGER", larger)
    np.save(tmp_path / "mine.npy", 255 - make_digits().images[0])
    run(tmp_path / "alone", predict=tmp_path / "mine.npy")
    printed = capsys.readouterr().out
    assert printed.count("###") >= 5
    for name in images.LARGER:
        assert re.search(rf"\n{name}: (unsure: )?\d \d+%", printed)
    assert list(results["confidence"]) == ["bidirectional-seed0", "ReNet-seed0"]
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).random((50, 50)))
    run(tmp_path / "alone", predict=tmp_path / "mine.npy")
    printed = capsys.readouterr().out
    assert "\nprobably no digit: the image has more " in printed
    assert "%" not in printed


def test_predict_explains_errors(tmp_path):
    np.save(tmp_path / "mine.npy", np.ones((9, 9)))
    with pytest.raises(InputError, match="The image shows nothing"):
        run(tmp_path, predict=tmp_path / "mine.npy")
    np.save(tmp_path / "mine.npy", np.eye(9))
    with pytest.raises(FileNotFoundError, match=r"Train it first: python -m experiments\.images"):
        run(tmp_path, predict=tmp_path / "mine.npy")


def test_trainings_are_fair():
    """The cells of a reading differ only in cell and learning rate."""
    for row in images.Command().cells().values():
        rest = {replace(settings, network="", learning_rate=0.0) for settings in row.values()}
        assert len(rest) == 1


@pytest.mark.slow
def test_make_train_is_pure_and_can_be_swept():
    settings = images.Settings("gru", batch_size=12, epochs=3, distortion=Distortion())
    train = images.make_train(settings, split_three_ways(make_digits()))
    rates = jnp.array([1e-6, 1e-2])
    metrics = jax.jit(lambda rates: jax.lax.map(lambda r: train(jax.random.key(0), r), rates))(
        rates
    )
    assert metrics["train_loss"].shape == (2, 3)
    assert metrics["train_loss"][1, -1] < metrics["train_loss"][0, -1]
