"""Training on the user's recordings and using the model, end to end."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments.common.command import InputError
from experiments.exercises import train as exercises
from experiments.exercises.own_signals import Scale
from experiments.exercises.own_training import check_range
from experiments.exercises.settings import OWN
from tests.fixtures.own.sensors import PITCH, as_rows, move
from tests.helpers import read_results

HEADER = ["time (s)", "ax (m/s²)", "ay (m/s²)", "az (m/s²)"]


def write(path, rows, separator=","):
    mark = "," if separator == ";" else "."
    lines = [separator.join(cell.replace(".", mark) for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_values_far_outside_the_training_are_in_other_units(tmp_path):
    scale = Scale(*(np.array([x, x]) for x in (0.0, 1.0, -2.0, 2.0)))
    channels, signal = ["ax (g)", "ay (g)"], np.random.default_rng(0).uniform(-2, 2, (100, 2))
    check_range(tmp_path, signal, channels, scale)
    signal[:5, 1] = 50  # a few shocks
    check_range(tmp_path, signal, channels, scale)
    signal[:, 1] *= 9.81
    with pytest.raises(
        InputError, match=r"has 'ay' from .*; the model was trained on -2 to 2: the"
    ):
        check_range(tmp_path, signal, channels, scale)


@pytest.mark.slow
def test_training_on_a_table_and_using_the_model(tmp_path, capsys, compile_quickly, monkeypatch):
    jax.config.update("jax_disable_most_optimizations", True)
    monkeypatch.setattr("experiments.exercises.baselines.TREES", 20)
    rows = [[*HEADER, "activity", "person"]]
    for person in range(5):
        for label in PITCH:
            rows += as_rows(*move(label, 8, seed=10 * person), label, f"P{person}")
    table = write(tmp_path / "phone.csv", rows, separator=";")
    tiny = replace(OWN, hidden_size=8, stride=10, updates=12, epochs=8, batch_size=32)

    def run(**changes) -> str:
        exercises.main(exercises.Command(settings=tiny, out=tmp_path / "runs", **changes))
        return capsys.readouterr().out

    printed = run(train=table)
    assert printed.startswith(
        "50 samples per second; a window has 100 of them.\n"
        "3 persons to train on, 1 to validate, 1 to test.\n"
    )
    model = tmp_path / "runs" / "own-phone"
    results = read_results(model / "results.json")
    assert list(results["right"]) == ["GRU", "features + random forest", "always circle"]
    assert results["right"]["GRU"] > 0.8
    assert results["recordings right"]["GRU"] == 1
    low, high = results["95% interval"]["always circle"]
    assert low < results["right"]["always circle"] < high
    for plot in ("confusion", "learning_curves"):
        assert (model / f"{plot}.png").read_bytes().startswith(b"\x89PNG")

    def answer(name: str, times, values, header=HEADER) -> str:
        path = write(tmp_path / f"{name}.csv", [header, *as_rows(times, values)])
        return run(predict=path, model=model)

    run(predict=model / "example.csv", model=model)
    times, values = move("shake", 6, seed=99)
    assert answer("new", times, values).removeprefix("unsure: ").startswith("shake ")
    np.save(tmp_path / "new.npy", values)
    assert "shake " in run(predict=tmp_path / "new.npy", model=model)
    still = np.tile([0, 0, 9.81], (300, 1))
    assert answer("still", times, still) == "no answer: nothing moves in the recording\n"
    wild = values[np.random.default_rng(0).permutation(300)]
    assert answer("wild", times, wild).startswith("no answer: the recording is unlike those")
    with pytest.raises(
        InputError, match=r"has 'az' from .*; the model was trained on .*: the unit"
    ):
        answer("other", times, values / 9.81)
    with pytest.raises(InputError, match=r"has no column 'az \(m/s²\)'"):
        answer("other", times, values, [*HEADER[:3], "az (g)"])
    with pytest.raises(InputError, match="has no 2 seconds without a gap, the length of a window"):
        answer("short", times[:90], values[:90])
