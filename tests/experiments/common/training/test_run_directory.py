"""The run directory: nothing is lost, whatever happens to its files; one process at a time."""

import errno
import json
import os
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.common import training
from experiments.common.durable import DamagedFileError, DirectoryInUseError, lock_directory
from experiments.common.outputs import raise_late
from experiments.common.training import checkpoints, loop, metrics
from experiments.common.training.checkpoints import CheckpointError, Checkpoints
from experiments.common.training.metrics import read_records
from experiments.common.training.run_directory import claim_directory
from tests.fixtures.linear_regression import make_training
from tests.fixtures.orbax_checkpoints import save_with_orbax

SETTINGS = {"learning_rate": 0.1}
PLAN = make_training()


def run(directory: Path, plan: training.Training = PLAN) -> training.TrainState:
    return loop.run(plan, jax.random.key(0), directory, SETTINGS, "test")


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> bytes:
    """metrics.jsonl of an undisturbed run."""
    directory = tmp_path_factory.mktemp("reference")
    run(directory)
    return (directory / loop.METRICS).read_bytes()


@pytest.fixture
def stopped(tmp_path, stop_after) -> Path:
    """A run directory after four of six epochs."""
    stop_after(4, lambda: run(tmp_path))
    return tmp_path


def assert_undisturbed(directory: Path, reference: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(directory)
    assert (directory / loop.METRICS).read_bytes() == reference
    assert [row["epoch"] for row in read_records(directory / loop.TIMES)] == [1, 2, 3, 4, 5, 6]


def kept_beside(path: Path) -> bytes:
    return path.with_name(f"{path.name}.damaged").read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flip", "middle", "empty", "gone", "garbage"])
def test_rows_that_are_missing_are_restored_and_told(stopped, reference, damage):
    path = stopped / loop.METRICS
    lines = path.read_bytes().splitlines(keepends=True)
    missing, content = {
        "cut": ("epochs 3-4", b"".join(lines[:2]) + lines[2][:7]),
        "flip": ("epoch 2", b"".join(lines).replace(lines[1], lines[1].replace(b".", b"!"))),
        "middle": ("epochs 1, 3-4", lines[1]),
        "empty": ("epochs 1-4", b""),
        "gone": ("epochs 1-4", None),
        "garbage": ("epochs 1-4", b"\xff\xfe[1]\n\0\n3\n"),
    }[damage]
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    message = rf"metrics\.jsonl lacks the right rows of {missing}, restored from the checkpoint"
    with pytest.warns(UserWarning, match=message):
        run(stopped)
    assert path.read_bytes() == reference
    if content:
        assert kept_beside(path) == content
    else:
        assert not path.with_name("metrics.jsonl.damaged").exists()


def test_a_changed_digit_is_restored(stopped, reference):
    path = stopped / loop.METRICS
    changed = path.read_bytes().replace(
        b'"epoch": 2, "train_loss": ', b'"epoch": 2, "train_loss": 1'
    )
    path.write_bytes(changed)
    with pytest.warns(UserWarning, match="lacks the right rows of epoch 2, restored"):
        run(stopped)
    assert path.read_bytes() == reference
    assert kept_beside(path) == changed


def test_the_row_of_an_epoch_without_a_checkpoint_is_cut_in_silence(stopped, reference):
    for unfinished in (b'{"epoch": 5, "train_loss": 0}\n', b'{"epoch": 5, "tr'):
        with (stopped / loop.METRICS).open("ab") as file:
            file.write(unfinished)
    assert_undisturbed(stopped, reference)


def test_rows_beyond_the_checkpoint_are_kept_beside(stopped, reference):
    """The newest checkpoint is damaged: rows of two epochs are written again."""
    (stopped / "checkpoints" / "4").write_bytes(b"damaged")
    path = stopped / loop.METRICS
    with path.open("ab") as file:
        file.write(b'{"epoch": 5, "train_loss": 0}\n')
    before = path.read_bytes()
    with pytest.warns(UserWarning, match="damaged") as caught:
        run(stopped)
    assert "other rows than those up to epoch 3" in str(caught[1].message)
    assert path.read_bytes() == reference
    assert kept_beside(path) == before
    assert (stopped / "checkpoints" / "4.damaged").read_bytes() == b"damaged"


def test_without_any_checkpoint_the_rows_are_kept_beside(stopped, reference):
    for path in (stopped / "checkpoints").iterdir():
        path.unlink()
    path = stopped / loop.METRICS
    before = path.read_bytes()
    with pytest.warns(UserWarning, match="other rows than those up to epoch 0"):
        run(stopped)
    assert path.read_bytes() == reference
    assert kept_beside(path) == before


@pytest.fixture
def of_version_0_1(stopped) -> Path:
    """A run directory as version 0.1 left it after four epochs."""
    (stopped / "settings.json").write_text(json.dumps(SETTINGS))
    state = Checkpoints(stopped / "checkpoints").restore_newest(
        jax.jit(PLAN.init)(jax.random.key(0))
    )
    for path in (*(stopped / "checkpoints").iterdir(), stopped / "lock"):
        path.unlink()
    save_with_orbax(stopped / "checkpoints", {4: state.state})
    return stopped


def test_a_run_of_version_0_1_is_continued(of_version_0_1, reference):
    assert_undisturbed(of_version_0_1, reference)


def test_rows_that_version_0_1_lost_are_named_and_the_others_stay(of_version_0_1, reference):
    path = of_version_0_1 / loop.METRICS
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2][:9] + b"\n" + lines[3])
    before = path.read_bytes()
    message = r"lacks the right rows of epochs 2-3, of which the checkpoint has no copy; as it was"
    with pytest.warns(UserWarning, match=message):
        run(of_version_0_1)
    whole = reference.splitlines(keepends=True)
    assert path.read_bytes().splitlines(keepends=True) == [whole[0], *whole[3:]]
    assert kept_beside(path) == before


def test_a_second_process_is_refused_and_changes_nothing(stopped, reference):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    refused = pytest.raises(DirectoryInUseError, match=f"{stopped} is in use by another process")
    with lock_directory(stopped), refused:
        run(stopped)
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before
    assert_undisturbed(stopped, reference)


def test_a_run_holds_the_lock_until_it_ends(tmp_path, monkeypatch):
    save, refused = Checkpoints.save, []

    def save_and_start_another(self, *content):
        save(self, *content)
        with pytest.raises(DirectoryInUseError):
            run(tmp_path)
        refused.append(content[0])

    monkeypatch.setattr(Checkpoints, "save", save_and_start_another)
    run(tmp_path)
    assert refused == [1, 2, 3, 4, 5, 6]


def test_damaged_settings_are_named(tmp_path):
    claim_directory(tmp_path, {"size": 12})
    path = tmp_path / "settings.json"
    path.write_bytes(path.read_bytes().replace(b"12", b"13"))
    with pytest.raises(DamagedFileError, match=f"{path} is damaged"):
        claim_directory(tmp_path, {"size": 12})
    path.write_bytes(b"[]")
    with pytest.raises(DamagedFileError, match="holds no settings"):
        claim_directory(tmp_path, {"size": 12})


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("module", [metrics, checkpoints], ids=["metrics", "checkpoint"])
def test_the_disk_is_full_in_the_middle(stopped, monkeypatch, reference, module):
    with monkeypatch.context() as patch:
        name = "append_durably" if module is metrics else "write_durably"
        patch.setattr(module, name, full)
        with pytest.raises(OSError, match="No space left on device"):
            run(stopped)
    assert_undisturbed(stopped, reference)


@pytest.mark.parametrize("module", [metrics, checkpoints], ids=["metrics", "checkpoint"])
def test_the_disk_is_full_after_the_last_epoch(
    stop_after, tmp_path, monkeypatch, reference, module
):
    stop_after(5, lambda: run(tmp_path))
    states = []

    @raise_late()
    def command():
        states.append(run(tmp_path))

    with monkeypatch.context() as patch:
        name = "append_durably" if module is metrics else "write_durably"
        patch.setattr(module, name, full)
        with pytest.raises(OSError, match="No space left on device"):
            command()
    [state] = states
    assert int(state.epoch) == 6
    assert_undisturbed(tmp_path, reference)
    np.testing.assert_array_equal(state.best_params["w"], run(tmp_path).best_params["w"])


@pytest.fixture
def read_only(monkeypatch):
    """A function that makes the disk read-only: `os.chmod` does not bind the superuser."""

    def refuse(call, writes):
        def wrapped(path, *arguments, **options):
            if not writes(path, *arguments, **options):
                return call(path, *arguments, **options)
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        return wrapped

    def start():
        def creates(path, **options):
            return not path.exists()

        def is_written(path, mode="r"):
            return mode not in ("r", "rb")

        monkeypatch.setattr(os, "open", refuse(os.open, lambda path, flags, *_: flags & os.O_RDWR))
        monkeypatch.setattr(Path, "open", refuse(Path.open, is_written))
        monkeypatch.setattr(Path, "mkdir", refuse(Path.mkdir, creates))
        for name in ("replace", "rename", "unlink"):
            monkeypatch.setattr(Path, name, refuse(getattr(Path, name), lambda *_: True))

    return start


def test_a_finished_training_on_a_read_only_disk_returns_its_result(tmp_path, read_only, capsys):
    first = run(tmp_path)
    (tmp_path / "lock").unlink()
    read_only()
    again = run(tmp_path, PLAN._replace(epoch=None))
    np.testing.assert_array_equal(first.best_params["w"], again.best_params["w"])
    assert "already trained (6 epochs" in capsys.readouterr().err


def test_an_unfinished_training_on_a_read_only_disk_does_not_start(stopped, read_only):
    read_only()
    with pytest.raises(OSError, match=r"Read-only file system: .*metrics\.jsonl"):
        run(stopped, PLAN._replace(epoch=None))


@pytest.mark.parametrize("name", ["", "checkpoints", "metrics.jsonl"])
def test_a_file_or_folder_in_the_wrong_place_is_told_before_an_epoch(tmp_path, name):
    if name == "metrics.jsonl":
        (tmp_path / "run" / name).mkdir(parents=True)
    elif name:
        (tmp_path / "run").mkdir()
    if name != "metrics.jsonl":
        (tmp_path / "run" / name).write_text("a file")
    with pytest.raises(OSError, match=str(tmp_path / "run" / name)):
        run(tmp_path / "run", PLAN._replace(epoch=None))


def test_an_upgrade_stops_and_leaves_all_as_it_was(stopped, reference):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="`carried` is missing there and float32"):
        run(
            stopped,
            PLAN._replace(init=lambda key: PLAN.init(key)._replace(carried=1.0 * key_of(key))),
        )
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before
    assert_undisturbed(stopped, reference)


def key_of(key):
    return jax.random.uniform(key)


def test_a_damaged_row_is_named_where_it_is_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"epoch": 1}\n{"epo\xff')
    assert read_records(path) == [{"epoch": 1}]
    path.write_bytes(b'{"epoch": 1}\n{"epo\xff\n{"epoch": 3}\n')
    with pytest.raises(DamagedFileError, match=r"metrics\.jsonl is damaged: line 2 is no record"):
        read_records(path)
