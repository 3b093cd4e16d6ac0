"""A search resumes bit for bit in its directory, and refuses the directory of another one."""

import jax
import pytest

from grujax.sweep.populations import search
from tests.fixtures.populations import RATES, RICH, assert_same, halve, run


def test_more_rounds_continue_bit_for_bit(tmp_path):
    whole = run(**RICH)
    run(**RICH, directory=tmp_path, rounds=2)
    run(**RICH, directory=tmp_path, rounds=3)
    assert_same(run(**RICH, directory=tmp_path), whole)
    with pytest.raises(ValueError, match="holds 6 rounds already, more than 5"):
        run(**RICH, directory=tmp_path, rounds=5)


def test_a_finished_search_only_reads(tmp_path, monkeypatch):
    whole = run(directory=tmp_path)
    monkeypatch.setattr(search, "round_program", None)
    assert_same(run(directory=tmp_path), whole)


@pytest.mark.parametrize("function", [run, halve])
def test_a_stopped_search_resumes_bit_for_bit(tmp_path, monkeypatch, function):
    whole, write = function(**RICH), search.write_population

    def write_and_stop(directory, population):
        if population.rounds == 4:
            raise RuntimeError("stopped")
        write(directory, population)

    monkeypatch.setattr(search, "SAVE_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(search, "write_population", write_and_stop)
        with pytest.raises(RuntimeError, match="stopped"):
            function(**RICH, directory=tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == [
        "round-000002.npz",
        "round-000003.npz",
    ]
    newest = tmp_path / "round-000003.npz"
    newest.write_bytes(newest.read_bytes()[:-30])
    with pytest.warns(UserWarning, match=r"round-000003.npz is damaged .*from the one before"):
        assert_same(function(**RICH, directory=tmp_path), whole)
    assert (tmp_path / "round-000003.npz.damaged").exists()


@pytest.mark.parametrize("directory", [True, False])
def test_ctrl_c_keeps_all_rounds(tmp_path, monkeypatch, capsys, directory):
    place = {"directory": tmp_path} if directory else {}

    def stop_in_third(arguments, program, population, original=search._run_round):
        if population.rounds == 2:
            raise KeyboardInterrupt
        return original(arguments, program, population)

    with monkeypatch.context() as patch:
        patch.setattr(search, "_run_round", stop_in_third)
        with pytest.raises(KeyboardInterrupt):
            run(**place)
    message = capsys.readouterr().err
    assert "Sweep stopped with 2 of 6 rounds done" in message
    assert (f"saved in {tmp_path}" if directory else "no `directory` was given") in message
    assert (tmp_path / "round-000002.npz").exists() == directory
    assert_same(run(**place), run())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": jax.random.key(6)}, "`key` is"),
        ({"mode": "max"}, "`mode` is 'min' there and 'max' here"),
        ({"trials": {"learning_rate": 2 * RATES["learning_rate"]}}, "trials differ in `learn"),
    ],
)
def test_a_directory_of_another_search_is_refused(tmp_path, change, message):
    run(directory=tmp_path, rounds=1)
    with pytest.raises(ValueError, match=f"belongs to another sweep: .*{message}"):
        run(directory=tmp_path, **{"rounds": 1} | change)
    with pytest.raises(ValueError, match=r"belongs to another sweep: .*`rungs` is None there"):
        halve(directory=tmp_path)


def test_progress_shows_rounds(capsys):
    run(progress=True)
    assert "6/6" in capsys.readouterr().err
