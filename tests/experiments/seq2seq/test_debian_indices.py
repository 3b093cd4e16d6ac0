"""Fetching Translation indices: from signed indices alone, with their checksums recorded."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess

import pytest

from experiments.common.data import DataError, cache_directory
from experiments.seq2seq import debian_indices
from experiments.seq2seq.apt import is_installed
from experiments.seq2seq.debian_indices import Index, fetch

TEXT = "Package: a\nDescription-md5: 0\nDescription-en: one\n two\n"
needs_apt = pytest.mark.skipif(
    not (is_installed() and shutil.which("gpg")),
    reason="this system has no apt, or no gpg to sign with",
)


def index_of(text: str) -> Index:
    return Index(text, hashlib.sha256(text.encode()).hexdigest())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("GRUJAX_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_directory() / "ddtp"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A folder of gpg with a key, and the file public.gpg with its public half."""
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "me", "rsa2048", "sign"], check=True)
    exported = subprocess.check_output([*gpg, "--export", "me"])
    (home / "public.gpg").write_bytes(exported)
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


@pytest.fixture
def repository(tmp_path, key, monkeypatch):
    """A function that writes a package index, and makes it apt's only source."""
    root = tmp_path / "repository"
    release = root / "dists" / "stable"
    texts = release / "main" / "i18n"
    texts.mkdir(parents=True)
    sources = tmp_path / "sources"
    sources.mkdir()

    def write(options: str = "", *, signed: bool = True, listed: str = TEXT, config: str = ""):
        (texts / "Translation-en").write_text(TEXT)
        lines = [f" {index_of(listed).sha256} {len(listed)} main/i18n/Translation-en"]
        head = "Origin: T\nSuite: stable\nCodename: stable\nComponents: main\nArchitectures: all\n"
        content = f"{head}Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n" + "\n".join(lines) + "\n"
        (release / "Release").write_text(content)
        (release / "InRelease").unlink(missing_ok=True)
        if signed:
            command = ["gpg", "--homedir", str(key), "--batch", "--passphrase", "", "--clearsign"]
            command += ["--digest-algo", "SHA256", "-o", str(release / "InRelease")]
            subprocess.run([*command, str(release / "Release")], check=True, capture_output=True)
        (sources / "a.list").write_text(f"deb [{options}] file:{root} stable main\n")
        configuration = tmp_path / "apt.conf"
        configuration.write_text(
            f'Dir::Etc::SourceList "/dev/null";\nDir::Etc::SourceParts "{sources}";\n{config}'
        )
        monkeypatch.setenv("APT_CONFIG", str(configuration))

    return write


@needs_apt
def test_a_signed_index_is_kept_with_the_checksums_of_its_sources(repository, key, cache):
    repository(f"signed-by={key}/public.gpg")
    assert fetch(("en",)) == {"en": index_of(TEXT)}
    assert gzip.decompress((cache / "Translation-en.gz").read_bytes()) == TEXT.encode()
    record = json.loads((cache / "Translation-en.json").read_text())
    [source] = record["sources"]
    assert record["sha256"] == source["sha256"] == index_of(TEXT).sha256
    assert len(source["signed index"]["sha256"]) == 64
    assert source["signed index"]["date"] == "Thu, 01 Jan 2026 00:00:00 UTC"
    assert sorted(path.name for path in cache.iterdir()) == [
        "Translation-en.gz",
        "Translation-en.json",
    ]
    with pytest.raises(DataError, match="no signed descriptions in 'it'"):
        fetch(("en", "it"))


@needs_apt
@pytest.mark.parametrize(
    ("options", "written"),
    [
        ("trusted=yes", {"signed": False}),
        ("allow-insecure=yes", {"signed": False}),
        ("arch=all", {"signed": False, "config": 'Acquire::AllowInsecureRepositories "true";\n'}),
        ("trusted=yes", {}),  # signed with a key that is not trusted
        ("signed-by={key}/public.gpg trusted=yes", {"listed": TEXT.replace("one", "two")}),
    ],
    ids=["trusted", "insecure", "configured insecure", "unknown key", "changed text"],
)
def test_nothing_unsigned_is_read(repository, key, cache, options, written):
    repository(options.format(key=key), **written)
    with pytest.raises(DataError, match="no signed descriptions in 'en'"):
        fetch(("en",))
    assert list(cache.iterdir()) == []


def test_without_apt_one_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="through apt, which this system does not have"):
        fetch(("en", "it"))


def put(folder, text: str, sha256: str | None) -> None:
    """Writes an English index and, with `sha256`, its record."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Translation-en.gz").write_bytes(gzip.compress(text.encode()))
    if sha256 is not None:
        (folder / "Translation-en.json").write_text(json.dumps({"sha256": sha256}))


def test_what_is_kept_is_compared_with_its_record(cache, monkeypatch):
    monkeypatch.setattr(debian_indices, "_fetch_with_apt", lambda _, names: dict.fromkeys(names, 7))
    put(cache, TEXT, index_of(TEXT).sha256)
    assert fetch(("en",)) == {"en": index_of(TEXT)}
    put(cache, TEXT, "0" * 64)
    with pytest.warns(UserWarning, match=f"damaged .*expected sha256 0+, got {index_of(TEXT)[1]}"):
        assert fetch(("en",)) == {"en": 7}
    for record in ("", "{}", "[]", "3"):
        (cache / "Translation-en.json").write_text(record)
        with pytest.warns(UserWarning, match="cannot be verified"):
            assert fetch(("en",)) == {"en": 7}
    (cache / "Translation-en.json").unlink()
    with pytest.warns(UserWarning, match="cannot be verified"):
        assert fetch(("en",)) == {"en": 7}


@pytest.mark.parametrize(
    "content",
    [b"", b"text", gzip.compress(b"\xff\xfe"), gzip.compress(b"x" * 999)[:-9], b"\x1f\x8b\x08\0"],
    ids=["empty", "text", "encoding", "cut off", "header alone"],
)
def test_a_users_file_that_is_no_index_is_named(tmp_path, monkeypatch, content):
    monkeypatch.setenv("GRUJAX_DATA", str(tmp_path))
    path = tmp_path / "Translation-en.gz"
    path.write_bytes(content)
    if content:
        with pytest.raises(DataError, match=f"{path} is not a gzipped text in UTF-8"):
            fetch(("en",))
    else:
        assert fetch(("en",))["en"].text == ""
    assert path.read_bytes() == content


def test_a_users_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GRUJAX_DATA", str(tmp_path))
    monkeypatch.setattr(debian_indices, "LIMIT", 10)
    put(tmp_path, TEXT, None)
    with pytest.raises(DataError, match="holds more than 10 bytes of text"):
        fetch(("en",))


@needs_apt
def test_a_folder_that_cannot_be_written_is_named(tmp_path, cache):
    (tmp_path / "cache").write_text("mine")
    with pytest.raises(DataError, match=rf"cannot be kept in {cache} \(Not a directory\)"):
        fetch(("en",))
    assert os.path.isfile(tmp_path / "cache")
