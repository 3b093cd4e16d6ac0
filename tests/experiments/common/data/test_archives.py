"""Archives from an index on this machine: no code of theirs runs, no byte is unverified."""

import errno
import hashlib
import io
import os
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from experiments.common.data import (
    Archive,
    DataError,
    archives,
    cache_directory,
    fetch,
    read_member,
)
from tests.fixtures.machine.web_server import Answer

CONTENT = b"the real content"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


ARCHIVE = Archive("thing==1.0", "thing-1.0.tar.gz", digest(CONTENT))
PAGE = Answer(b'<!DOCTYPE html><a href="../../files/thing-1.0.tar.gz">thing-1.0.tar.gz</a>')
FILE = "/files/thing-1.0.tar.gz"


def tar(**files: bytes) -> bytes:
    """A source archive thing-1.0 with these files, by their names with _ for the dot."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        for name, content in files.items():
            information = tarfile.TarInfo(f"thing-1.0/{name.replace('_', '.')}")
            information.size = len(content)
            opened.addfile(information, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def index(server, settings):
    """An index that lists the archive, with its content."""
    server.put("/simple/thing/", PAGE)
    server.put(FILE, Answer(CONTENT))
    return server


def test_fetch_downloads_once(index):
    assert fetch(ARCHIVE) == CONTENT
    assert (cache_directory() / ARCHIVE.filename).read_bytes() == CONTENT
    index.answers.clear()
    assert fetch(ARCHIVE) == CONTENT
    assert index.paths == ["/simple/thing/", FILE]
    assert [p.name for p in cache_directory().iterdir()] == [ARCHIVE.filename]


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("backend", ["setup.py", "pyproject.toml"])
def test_no_code_of_a_source_archive_runs(index, tmp_path, monkeypatch, right, backend):
    """Real pip, which builds whatever it downloads, has only its settings asked."""
    monkeypatch.setattr(archives, "read_pip_settings", REAL_SETTINGS)
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
    mark = tmp_path / "executed"
    evil = f"open({str(mark)!r}, 'w')\n".encode()
    files = {"setup_py": evil, "PKG-INFO": b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"}
    if backend == "pyproject.toml":
        project = b'[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["."]\n'
        files = {"pyproject_toml": project, "evil_py": evil}
    content = tar(**files)
    index.put(FILE, Answer(content))
    archive = ARCHIVE._replace(sha256=digest(content if right else b"another"))
    if right:
        assert fetch(archive) == content
        assert read_member(fetch(archive), f"thing-1.0/{list(files)[-1].replace('_', '.')}")
    else:
        with pytest.warns(UserWarning, match="trying once more"), pytest.raises(DataError) as error:
            fetch(archive)
        for part in (archive.filename, archive.sha256, digest(content)):
            assert part in str(error.value)
        assert list(cache_directory().iterdir()) == []
    assert not mark.exists()


REAL_SETTINGS = archives.read_pip_settings


def test_a_file_swapped_after_its_check_changes_nothing(index, monkeypatch):
    fetch(ARCHIVE)
    path = cache_directory() / ARCHIVE.filename
    compare = archives._compare

    def compare_and_swap(content, archive):
        path.write_bytes(b"another content")
        return compare(content, archive)

    monkeypatch.setattr(archives, "_compare", compare_and_swap)
    assert fetch(ARCHIVE) == CONTENT
    assert path.read_bytes() == b"another content"


def test_a_damaged_file_in_the_cache_is_named_and_fetched_again(index):
    fetch(ARCHIVE)
    path = cache_directory() / ARCHIVE.filename
    path.write_bytes(CONTENT[:5])
    with pytest.warns(UserWarning, match=f"{path} is damaged .*got {digest(CONTENT[:5])}"):
        assert fetch(ARCHIVE) == CONTENT
    assert path.read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_stays_until_it_can_be_replaced(settings):
    cache_directory().mkdir(parents=True)
    path = cache_directory() / ARCHIVE.filename
    path.write_bytes(b"rubbish")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(DataError):
        fetch(ARCHIVE)
    assert [(p, p.read_bytes()) for p in cache_directory().iterdir()] == [(path, b"rubbish")]


@pytest.mark.parametrize(
    "first",
    [Answer(CONTENT[:-1]), Answer(CONTENT[:-1], length=len(CONTENT)), Answer(status=503)],
    ids=["other bytes", "cut off", "server error"],
)
def test_a_download_that_fails_is_tried_once_more(index, first):
    index.put(FILE, first, Answer(CONTENT))
    with pytest.warns(UserWarning, match="thing-1.0.tar.gz .*trying once more"):
        assert fetch(ARCHIVE) == CONTENT


def test_an_index_with_another_file_does_not_hide_one_with_the_right_file(index, settings):
    index.put("/other/thing/", Answer(b'<a href="thing-1.0.tar.gz">'))
    index.put("/other/thing/thing-1.0.tar.gz", Answer(b"another"))
    settings(indexes=[f"{index.url}/missing", f"{index.url}/other", f"{index.url}/simple"])
    with pytest.warns(UserWarning, match="trying once more"):
        assert fetch(ARCHIVE) == CONTENT


def test_a_listed_checksum_that_is_another_saves_the_download(index):
    listed = digest(b"another")
    index.put("/simple/thing/", Answer(f'<a href="{FILE}#sha256={listed}">'.encode()))
    with pytest.raises(DataError, match=f"listed with sha256 {listed}; expected {ARCHIVE.sha256}"):
        fetch(ARCHIVE)
    assert FILE not in index.paths


def test_an_archive_larger_than_the_limit_is_not_read(index, monkeypatch):
    monkeypatch.setattr(archives, "LIMIT", len(CONTENT) - 1)
    with pytest.warns(match="once more"), pytest.raises(DataError, match="larger than 15 bytes"):
        fetch(ARCHIVE)


def test_without_an_index_the_error_says_which_file_to_place_where(settings):
    settings(indexes=["http://127.0.0.1:9/simple"])
    with pytest.raises(DataError) as caught:
        fetch(ARCHIVE)
    for part in ("Connection refused", ARCHIVE.filename, str(cache_directory()), "GRUJAX_DATA"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_message_shows_a_password(index, settings):
    settings(indexes=[index.url.replace("//", "//user:secret@") + "/missing"])
    with pytest.raises(DataError, match="/missing/thing/: HTTP Error 404") as caught:
        fetch(ARCHIVE)
    assert "secret" not in str(caught.value)
    assert "user" not in str(caught.value)


def test_a_certificate_that_is_missing_is_an_error(settings, tmp_path):
    settings(cert=str(tmp_path / "none.pem"))
    with pytest.raises(DataError, match="certificate of pip's settings cannot be used"):
        fetch(ARCHIVE)


def test_grujax_data_is_used_and_never_changed(index, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.mkdir()
    monkeypatch.setenv("GRUJAX_DATA", str(mine))
    (mine / ARCHIVE.filename).write_bytes(CONTENT)
    assert fetch(ARCHIVE) == CONTENT
    assert index.paths == []

    (mine / ARCHIVE.filename).write_bytes(b"rubbish")
    with pytest.warns(UserWarning, match=f"{mine / ARCHIVE.filename}.*wrong checksum"):
        assert fetch(ARCHIVE) == CONTENT
    assert (mine / ARCHIVE.filename).read_bytes() == b"rubbish"


def test_grujax_data_that_is_a_file_is_refused(settings, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRUJAX_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"GRUJAX_DATA is .*file, which is not a folder"):
        fetch(ARCHIVE)


def test_a_file_where_the_cache_should_be_is_an_error_before_the_download(index, tmp_path):
    (tmp_path / "cache").write_text("mine")
    with pytest.raises(DataError, match=r"cannot be kept in .*cache/grujax \(Not a directory\)"):
        fetch(ARCHIVE)
    assert index.paths == []
    assert (tmp_path / "cache").read_text() == "mine"


@pytest.mark.parametrize(
    ("place", "number"), [("mkdir", "EROFS"), ("mkdir", "EACCES"), ("write_bytes", "ENOSPC")]
)
def test_a_read_only_or_full_cache_is_one_sentence(index, monkeypatch, place, number):
    code = getattr(errno, number)

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(archives.Path, place, refuse)
        with pytest.raises(DataError) as caught:
            fetch(ARCHIVE)
    assert os.strerror(code) in str(caught.value)
    assert "XDG_CACHE_HOME" in str(caught.value)
    assert fetch(ARCHIVE) == CONTENT
    assert [p.name for p in cache_directory().iterdir()] == [ARCHIVE.filename]


def test_two_fetch_at_once(index):
    with ThreadPoolExecutor(4) as pool:
        contents = list(pool.map(fetch, [ARCHIVE] * 4))
    assert set(contents) == {CONTENT}
    assert [p.name for p in cache_directory().iterdir()] == [ARCHIVE.filename]


def test_read_member_descends_through_nested_archives():
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as opened:
        opened.writestr("data/inner.tar.gz", tar(file_txt=CONTENT))
    content = outer.getvalue()
    assert read_member(content, "data/inner.tar.gz", "thing-1.0/file.txt") == CONTENT
    with pytest.raises(KeyError, match="absent"):
        read_member(content, "data/inner.tar.gz", "absent")
