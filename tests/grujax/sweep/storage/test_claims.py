"""A directory proves whose it is, and damage to it is named, mended, and never deleted."""

import json
import shutil
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from grujax import sweep
from grujax.sweep import local, storage
from grujax.sweep.storage import chunks as chunk_files
from tests.fixtures import populations
from tests.fixtures.sweep_trainings import TRIALS, assert_same, run

OTHER = {"learning_rate": 2 * TRIALS["learning_rate"]}
ABOUTS = [b"", b"{", b"[1]", b"{}", b"\xff\xfe\x00", b'{"hyperparameters": 3}']


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The result of a sweep, and its directory."""
    directory = tmp_path_factory.mktemp("sweep")
    return run(directory=directory, chunk=2), directory


@pytest.fixture
def copied(finished, tmp_path):
    """The same, with a directory of its own."""
    result, directory = finished
    shutil.copytree(directory, tmp_path / "copy")
    return result, tmp_path / "copy"


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def resumes_in_silence(directory, result):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(run(directory=directory), result)
        assert_same(sweep.SweepResult.load(directory), result)


@pytest.mark.parametrize("content", ABOUTS)
def test_a_damaged_description_is_mended_where_the_chunks_prove_it(copied, content):
    result, directory = copied
    before = json.loads((directory / "sweep.json").read_text())
    (directory / "sweep.json").write_bytes(content)
    with pytest.warns(
        UserWarning, match=r"sweep.json is damaged .* is now sweep.json.damaged, and"
    ):
        assert_same(run(directory=directory), result)
    assert json.loads((directory / "sweep.json").read_text()) == before
    assert (directory / "sweep.json.damaged").read_bytes() == content
    resumes_in_silence(directory, result)


def test_a_description_that_all_chunks_contradict_is_mended(copied):
    result, directory = copied
    path = directory / "sweep.json"
    before = path.read_text()
    path.write_text(before.replace('"number of trials": 7', '"number of trials": 3'))
    with pytest.warns(UserWarning, match=r"json is damaged \(`number of trials` is 3 there and 7"):
        assert_same(run(directory=directory), result)
    assert path.read_text() == before
    for chunk in directory.glob("chunk-*"):
        chunk.unlink()
    with pytest.raises(ValueError, match="belongs to another sweep"):  # nothing proves otherwise
        run(trials=OTHER, directory=directory)


def test_a_missing_description_is_mended_where_the_chunks_prove_it(copied):
    result, directory = copied
    (directory / "sweep.json").unlink()
    with pytest.warns(UserWarning, match=r"sweep.json is missing. A new one is written"):
        assert_same(run(directory=directory), result)
    resumes_in_silence(directory, result)


@pytest.mark.parametrize("content", [b"{", None])
@pytest.mark.parametrize("origin", ["other", "unknown"])
def test_without_a_proof_nothing_changes(copied, content, origin):
    _, directory = copied
    about = directory / "sweep.json"
    about.unlink() if content is None else about.write_bytes(content)
    if origin == "unknown":
        (chunk, *_) = storage.load_sweep(directory)[1]
        storage.write_chunk(directory, chunk._replace(origin=None))
    before = contents(directory)
    trials = OTHER if origin == "other" else TRIALS
    with pytest.raises(ValueError, match=r"sweep.json is (damaged .*|missing). The results beside"):
        run(trials=trials, directory=directory)
    assert contents(directory) | {"sweep.lock": b""} == before | {"sweep.lock": b""}


def test_damaged_files_of_another_sweep_stay(copied):
    _, directory = copied
    for name in ("chunk-000002.npz", "trials.npz"):
        (directory / name).write_bytes(b"damaged")
    before = contents(directory)
    with pytest.raises(ValueError, match="belongs to another sweep: the trials differ"):
        run(trials=OTHER, directory=directory)
    assert contents(directory) | {"sweep.lock": b""} == before | {"sweep.lock": b""}


def test_damaged_trials_are_mended(copied):
    result, directory = copied
    path = directory / "trials.npz"
    damaged = path.read_bytes()[:-100]
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"trials.npz is damaged .*The call of `run` that made it"):
        sweep.SweepResult.load(directory)
    with pytest.warns(
        UserWarning, match=r"trials.npz is damaged .* is now trials.npz.damaged, and"
    ):
        assert_same(run(directory=directory), result)
    assert (directory / "trials.npz.damaged").read_bytes() == damaged
    resumes_in_silence(directory, result)
    storage.write_arrays(path, OTHER)
    with pytest.warns(UserWarning, match="trials.npz holds other trials .* trials.npz.damaged-2"):
        assert_same(run(directory=directory), result)


def test_loading_changes_nothing(copied):
    _, directory = copied
    (directory / "chunk-000002.npz").write_bytes(b"damaged")
    before = contents(directory)
    with (
        pytest.warns(UserWarning, match=r"chunk-000002.npz is damaged .* lacks its trials"),
        pytest.raises(ValueError, match=r"lacks 2 of 7 trials \(2, 3\)"),
    ):
        sweep.SweepResult.load(directory)
    assert contents(directory) == before


@pytest.mark.parametrize("name", ["sweep.json", "trials.npz", "chunk-000002.npz", "sweep.lock"])
def test_a_folder_in_the_place_of_a_file_is_named(copied, name):
    _, directory = copied
    (directory / name).unlink()
    (directory / name).mkdir()
    with pytest.raises(ValueError, match=rf"{name} cannot be (read|opened): Is a directory"):
        run(directory=directory)
    assert (directory / name).is_dir()


def test_files_that_cannot_be_read_are_not_taken_for_damaged(copied, monkeypatch):
    _, directory = copied
    before = contents(directory)

    def read_bytes(path, original=chunk_files.Path.read_bytes):
        if path.name == "chunk-000002.npz":
            raise OSError(5, "Input/output error")
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(chunk_files.Path, "read_bytes", read_bytes)
        with pytest.raises(ValueError, match=r"chunk-000002.npz cannot be read: Input/output"):
            run(directory=directory)
    assert contents(directory) | {"sweep.lock": b""} == before | {"sweep.lock": b""}


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"`directory` .*file is a file, not a folder"):
        run(directory=tmp_path / "file")
    with pytest.raises(ValueError, match=r"file/inner cannot be created: Not a directory"):
        run(directory=tmp_path / "file" / "inner")
    with pytest.raises(ValueError, match=r"`directory` .*file is a file, not a folder"):
        populations.run(directory=tmp_path / "file")


def test_chunks_of_unknown_form_are_refused(copied):
    _, directory = copied
    path = directory / "chunk-000002.npz"
    arrays = storage.read_arrays(path)
    storage.write_arrays(path, arrays | {"origin": np.array('{"future": 1}')})
    with pytest.raises(ValueError, match="was written by another version of grujax"):
        run(directory=directory)
    storage.write_arrays(path, {"a": np.ones(2)})
    with pytest.raises(ValueError, match=r"chunk-000002.npz is no chunk of a sweep: it holds a\."):
        run(directory=directory)
    assert path.exists()


def test_rounds_and_chunks_are_ordered_by_number(tmp_path):
    for number in (9, 10, 999_999, 1_000_000):
        (tmp_path / f"round-{number:06d}.npz").touch()
    (tmp_path / "round-2.npz.damaged").touch()
    (tmp_path / "round-x.npz").touch()
    names = [path.name for path in storage.numbered_files(tmp_path, "round")]
    assert names == [
        "round-000009.npz",
        "round-000010.npz",
        "round-999999.npz",
        "round-1000000.npz",
    ]


def test_a_population_mends_its_description(tmp_path):
    options = populations.WALK | {"directory": tmp_path, "rounds": 1}
    whole = populations.run(**options)
    (tmp_path / "sweep.json").write_text("")
    with pytest.raises(ValueError, match=r"sweep.json is damaged .* belong to another sweep, or"):
        populations.run(**options, mode="max")
    with pytest.warns(UserWarning, match=r"sweep.json is damaged .*nothing beside it belongs"):
        populations.assert_same(populations.run(**options), whole)


def test_dtypes_of_metrics_are_kept(tmp_path, monkeypatch):
    dtypes = ("bool", "int8", "uint8", "int32", "uint32", "float16", "bfloat16", "complex64")

    def train(key, a):
        return {name: a.astype(name) for name in dtypes} | {"curve": a.astype("bfloat16")[None]}

    trials = {"a": np.arange(4, dtype=np.float32) % 2}
    options = {"directory": tmp_path / "sweep", "chunk": 2}
    first = run(train, trials, **options)
    (tmp_path / "sweep" / "chunk-000002.npz").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(local, "CHUNK_SECONDS", 0)
        again = run(train, trials, **options)
    first.save(tmp_path / "result.npz")
    saved = sweep.SweepResult.load(tmp_path / "result.npz")
    for result in (first, again, saved, sweep.SweepResult.load(tmp_path / "sweep")):
        assert_same(result, first)
        assert [result.metrics[name].dtype.name for name in dtypes] == list(dtypes)
        assert result.metrics["curve"].dtype == "bfloat16"
        assert result.best("bfloat16", "max").trial == 1
    assert first.table()["bfloat16"].tolist() == [0, 1, 0, 1]
    first.plot("bfloat16")


def test_a_nan_of_low_precision_never_wins():
    result = run(
        lambda key, a: {"loss": a.astype("bfloat16"), "curve": a.astype("bfloat16")[None]},
        {"a": np.array([3, np.nan, 2], np.float32)},
    )
    assert result.best("loss").trial == 2
    assert result.best("loss", "max").trial == 0
    assert result.diverged.tolist() == [False, True, False]


def test_curves_of_low_precision_are_padded_with_nan():
    def train(key, a, steps):
        return {"curve": jnp.ones(steps, "bfloat16") * a.astype("bfloat16")}

    result = run(train, sweep.grid(a=[1.0], steps=[1, 2]), static=("steps",))
    assert np.isnan(result.metrics["curve"]).tolist() == [[False, True], [False, False]]
    assert not result.diverged.any()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_random_damage_loses_nothing_and_changes_no_result(finished, tmp_path, seed):
    result, directory = finished
    names = sorted(path.name for path in directory.iterdir() if path.suffix != ".lock")
    rng = np.random.default_rng(seed)
    for number in range(30):
        copy = tmp_path / str(number)
        shutil.copytree(directory, copy)
        for name in rng.choice(names, rng.integers(1, 4), replace=False):
            content = bytearray((copy / name).read_bytes())
            kind, position = rng.integers(4), rng.integers(len(content))
            if kind == 0:
                content[position] ^= 1 << rng.integers(8)
            elif kind == 1:
                del content[position:]
            elif kind == 2:
                content[position : position + 50] = rng.bytes(50)
            else:
                content[position:position] = rng.bytes(5)
            (copy / name).write_bytes(content)
        before = sorted(contents(copy).values())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert_same(run(directory=copy), result)
            except ValueError as error:
                assert str(copy) in str(error)  # noqa: PT017 — either is right
                assert contents(copy).keys() == contents(directory).keys()
                continue
        after = list(contents(copy).values())
        assert all(content in after for content in before if content != b"")
