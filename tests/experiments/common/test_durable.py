"""Files that outlive a crash: faults while writing, damage found while reading, locks."""

import errno
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.common import durable
from experiments.common.durable import (
    DamagedFileError,
    DirectoryInUseError,
    describe,
    first_line,
    lock_directory,
    read_json,
    seal,
    unseal,
    write_durably,
    write_json,
)
from tests.helpers import ROOT


def fail(code: int):
    """A function that fails as a system call does, without a file name."""

    def call(*arguments, **options):
        raise OSError(code, os.strerror(code))

    return call


def damaged(content: bytes, place: int, bit: int | None) -> bytes:
    """The content with a flipped bit at a place, or cut there."""
    place %= len(content)
    if bit is None:
        return content[:place]
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


places = st.integers(0, 10_000)
bits = st.none() | st.integers(0, 7)


@given(st.binary(max_size=300), places, bits)
def test_a_cut_or_a_flipped_bit_breaks_a_seal(content, place, bit):
    assert unseal(seal(content), Path("x"), required=True) == content
    assert unseal(seal(content), Path("x")) == content
    with pytest.raises(DamagedFileError, match=r"^x is damaged: "):
        unseal(damaged(seal(content), place, bit), Path("x"), required=True)


def test_a_file_without_a_seal_is_read_where_it_may_be(tmp_path):
    assert unseal(b"\x82 old", tmp_path) == b"\x82 old"
    with pytest.raises(DamagedFileError):
        unseal(b"", tmp_path)


@given(places, bits)
def test_damage_to_json_is_named_or_changes_nothing(tmp_path_factory, place, bit):
    path, value = tmp_path_factory.mktemp("json") / "settings.json", {"size": 12, "name": "naïve é"}
    write_json(path, value)
    assert read_json(path) == value
    path.write_bytes(damaged(path.read_bytes(), place, bit))
    with suppress(DamagedFileError):
        assert read_json(path) == value


def test_json_without_a_checksum_is_read(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"size": 12}')
    assert read_json(path) == {"size": 12}


@pytest.mark.parametrize(("module", "name"), [(os, "fsync"), (Path, "replace"), (Path, "open")])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE])
def test_a_failed_write_leaves_the_old_content_and_names_the_file(
    tmp_path, monkeypatch, module, name, code
):
    path = tmp_path / "file"
    write_durably(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail(code))
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            write_durably(path, b"new")
    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]


def test_killed_between_writing_and_renaming(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_durably(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *paths: exec("raise KeyboardInterrupt"))
        with pytest.raises(KeyboardInterrupt):
            write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    write_durably(path, b"newer")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"newer")]


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path, monkeypatch
):
    events, fsync, replace = [], os.fsync, Path.replace

    def note_fsync(descriptor):
        kind = "folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file"
        events.append(kind)
        fsync(descriptor)

    def note_replace(self, target):
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write_durably(tmp_path / "file", b"content")
    durable.append_durably(tmp_path / "lines", b"line\n")
    durable.append_durably(tmp_path / "lines", b"line\n")
    assert events == ["file", "rename", "folder", "file", "folder", "file"]
    assert (tmp_path / "lines").read_bytes() == b"line\nline\n"


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "out").write_bytes(b"a file")
    for path in (tmp_path / "out" / "file", tmp_path / "out" / "deeper" / "file"):
        with pytest.raises(OSError) as caught:  # noqa: PT011
            write_durably(path, b"content")
        assert describe(caught.value).endswith("a file is where a folder should be")


def test_damaged_files_are_renamed_and_never_replace_each_other(tmp_path):
    for content in (b"1", b"2", b"3"):
        (tmp_path / "4").write_bytes(content)
        durable.move_aside(tmp_path / "4")
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept == {"4.damaged": b"1", "4.damaged-2": b"2", "4.damaged-3": b"3"}


def test_one_at_a_time_uses_a_folder(tmp_path):
    with lock_directory(tmp_path / "run"):
        refused = pytest.raises(DirectoryInUseError, match=f"{tmp_path}/run is in use by another")
        with refused, lock_directory(tmp_path / "run"):
            raise AssertionError
    with lock_directory(tmp_path / "run"):
        pass


def test_a_lock_ends_with_its_process(tmp_path):
    program = (
        "import pathlib, sys, time\n"
        "from experiments.common.durable import lock_directory\n"
        f"with lock_directory(pathlib.Path({str(tmp_path)!r})):\n"
        "    print('locked', flush=True); time.sleep(100)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(DirectoryInUseError), lock_directory(tmp_path):
            raise AssertionError
    finally:
        process.kill()
        process.wait()
    with lock_directory(tmp_path):
        pass


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(durable.fcntl, "flock", fail(errno.ENOLCK))
    with pytest.warns(UserWarning, match=r"cannot be locked .*: start no second training in it"):
        lock_directory(tmp_path).__enter__()


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_in_which_nothing_can_be_written_needs_no_lock(tmp_path, monkeypatch, code):
    open_ = os.open

    def refuse(path, flags, *mode):
        return fail(code)() if flags & os.O_RDWR else open_(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    with lock_directory(tmp_path):
        assert not list(tmp_path.iterdir())


def test_a_full_disk_has_no_room_for_a_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "open", fail(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left on device") as caught:
        lock_directory(tmp_path).__enter__()
    assert caught.value.filename == str(tmp_path / "lock")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("bad header.\nAt offset 3"), "bad header"),
        (RuntimeError("\n  no such node\n"), "no such node"),
        (RuntimeError(), "RuntimeError"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_reason_is_one_line(error, reason):
    assert first_line(error) == reason
