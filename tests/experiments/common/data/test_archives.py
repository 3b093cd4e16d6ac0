"""Fetching archives, against a `pip` that the tests put in the real one's place: no network."""

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from experiments.common.data import Archive, DataError, cache_directory, fetch, read_member

CONTENT = b"the real content"
ARCHIVE = Archive("thing==1.0", "thing-1.0.tar.gz", hashlib.sha256(CONTENT).hexdigest())

FAKE_PIP = """
import pathlib, sys
served = pathlib.Path({served!r})
destination = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
files = sorted(served.iterdir())
if not files:
    sys.exit("ERROR: no network")
(destination / {filename!r}).write_bytes(files[0].read_bytes())
if len(files) > 1:
    files[0].unlink()
"""


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder whose files the fake pip serves, in the order of their names, the last for ever."""
    served = tmp_path / "served"
    served.mkdir()
    package = tmp_path / "python" / "pip"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    program = FAKE_PIP.format(served=str(served), filename=ARCHIVE.filename)
    (package / "__main__.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GRUJAX_DATA", raising=False)
    return served


def test_fetch_downloads_once(index):
    (index / "0").write_bytes(CONTENT)
    path = fetch(ARCHIVE)
    assert path == cache_directory() / ARCHIVE.filename
    assert path.read_bytes() == CONTENT
    (index / "0").unlink()
    assert fetch(ARCHIVE) == path
    assert [p.name for p in cache_directory().iterdir()] == [ARCHIVE.filename]


def test_damaged_file_in_the_cache_is_named_and_fetched_again(index):
    (index / "0").write_bytes(CONTENT)
    path = fetch(ARCHIVE)
    path.write_bytes(CONTENT[:5])
    with pytest.warns(UserWarning, match=f"{path} is damaged"):
        assert fetch(ARCHIVE).read_bytes() == CONTENT


def test_damaged_file_in_the_cache_is_deleted_even_without_a_network(index):
    cache_directory().mkdir(parents=True)
    path = cache_directory() / ARCHIVE.filename
    path.write_bytes(b"rubbish")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(DataError):
        fetch(ARCHIVE)
    assert not path.exists()


def test_truncated_download_is_fetched_once_more(index):
    (index / "0").write_bytes(CONTENT[:-1])
    (index / "1").write_bytes(CONTENT)
    with pytest.warns(UserWarning, match="thing-1.0.tar.gz was damaged"):
        assert fetch(ARCHIVE).read_bytes() == CONTENT


def test_download_damaged_twice_is_an_error_and_leaves_nothing(index):
    (index / "0").write_bytes(b"rubbish")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(DataError, match="twice"):
        fetch(ARCHIVE)
    assert list(cache_directory().iterdir()) == []


def test_without_a_network_the_error_says_which_file_to_place_where(index):
    with pytest.raises(DataError) as caught:
        fetch(ARCHIVE)
    for part in ("no network", ARCHIVE.filename, str(cache_directory()), "GRUJAX_DATA"):
        assert part in str(caught.value)


def test_real_pip_without_an_index(tmp_path, monkeypatch):
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("this Python has no pip")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    archive = Archive("thing==1.0", wheel.name, "")
    with pytest.raises(DataError, match=r"thing==1.0.*No matching distribution"):
        fetch(archive)
    with zipfile.ZipFile(wheel, "w") as opened:
        opened.writestr(
            "thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
        )
        opened.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        opened.writestr("thing-1.0.dist-info/RECORD", "")
    archive = archive._replace(sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert fetch(archive).read_bytes() == wheel.read_bytes()


def test_grujax_data_is_used_and_never_changed(index, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.mkdir()
    monkeypatch.setenv("GRUJAX_DATA", str(mine))
    (mine / ARCHIVE.filename).write_bytes(CONTENT)
    assert fetch(ARCHIVE) == mine / ARCHIVE.filename

    (mine / ARCHIVE.filename).write_bytes(b"rubbish")
    (index / "0").write_bytes(CONTENT)
    with pytest.warns(UserWarning, match=f"{mine / ARCHIVE.filename}.*wrong checksum"):
        assert fetch(ARCHIVE) == cache_directory() / ARCHIVE.filename
    assert (mine / ARCHIVE.filename).read_bytes() == b"rubbish"


def test_two_fetch_at_once(index):
    (index / "0").write_bytes(CONTENT)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(fetch, [ARCHIVE] * 4))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert [p.name for p in cache_directory().iterdir()] == [ARCHIVE.filename]


def test_read_member_descends_through_nested_archives(tmp_path):
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as opened:
        information = tarfile.TarInfo("folder/file.txt")
        information.size = len(CONTENT)
        opened.addfile(information, io.BytesIO(CONTENT))
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as opened:
        opened.writestr("data/inner.tar.gz", inner.getvalue())
    assert read_member(outer, "data/inner.tar.gz", "folder/file.txt") == CONTENT
    with pytest.raises(KeyError, match="absent"):
        read_member(outer, "data/inner.tar.gz", "absent")
