"""pip's settings, as the real pip reports them."""

import subprocess
import sys

import pytest

from experiments.common.data import DataError, pip_settings
from experiments.common.data.pip_settings import read_pip_settings


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """A function that makes a text pip's only configuration file."""
    for name in [name for name in pip_settings.os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "pip.conf"

    def write(text: str) -> None:
        path.write_text(text)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
        monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    return write


def test_files_sections_and_the_environment_count_as_for_pip(configure, monkeypatch):
    configure(
        "[global]\nindex-url = https://a.invalid/simple\nextra_index_url =\n  https://b.invalid/x\n"
        "  https://user:it's@c.invalid/y\ntrusted-host = b.invalid c.invalid:8443\n"
        "proxy = http://proxy.invalid:3128\ncert = /a.pem\nclient-cert = /b.pem\nquiet = 1\n"
        "[download]\nindex-url = https://d.invalid/simple\n[install]\nproxy = http://no.invalid\n"
    )
    monkeypatch.setenv("PIP_TIMEOUT", "7")
    monkeypatch.setenv("PIP_CLIENT_CERT", "/c.pem")
    monkeypatch.setenv("PIP_FIND_LINKS", "/some /more")
    found = read_pip_settings()
    assert found.indexes == [
        "https://d.invalid/simple",
        "https://b.invalid/x",
        "https://user:it's@c.invalid/y",
    ]
    assert found.find_links == ["/some", "/more"]
    assert found.trusted_hosts == {"b.invalid", "c.invalid:8443"}
    assert (found.proxy, found.cert, found.client_cert) == (
        "http://proxy.invalid:3128",
        "/a.pem",
        "/c.pem",
    )
    assert found.timeout == 7


def test_no_index_leaves_find_links(configure, monkeypatch):
    configure("[global]\nindex-url = https://a.invalid\nextra-index-url = https://b.invalid\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/some")
    found = read_pip_settings()
    assert (found.indexes, found.find_links) == ([], ["/some"])


def test_without_a_configuration_the_index_is_pips_own(monkeypatch):
    for name in [name for name in pip_settings.os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    [index] = read_pip_settings().indexes
    code = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    expected = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert index == expected.strip()


@pytest.mark.parametrize("value", ["nonsense", "-1", "inf", "nan", "0"])
def test_a_timeout_that_is_none_is_pips_default(configure, monkeypatch, value):
    monkeypatch.setattr(pip_settings, "_run_pip", lambda *_: f"global.timeout='{value}'")
    monkeypatch.setattr(pip_settings, "_default_index", lambda: "x")
    assert read_pip_settings().timeout == 15


def test_a_python_without_pip_is_an_error(monkeypatch):
    monkeypatch.setattr(pip_settings.sys, "executable", "/bin/false")
    with pytest.raises(DataError, match=r"pip.*failed \(no message\).*ensurepip"):
        read_pip_settings()


def test_a_pip_that_names_no_index_is_an_error(monkeypatch):
    monkeypatch.setattr(pip_settings, "_run_pip", lambda *_: "")
    with pytest.raises(DataError, match="set PIP_INDEX_URL"):
        read_pip_settings()


def test_a_folder_named_pip_is_not_pip(tmp_path, monkeypatch):
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()
    (tmp_path / "pip" / "__main__.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_INDEX_URL", "https://a.invalid")
    read_pip_settings()
    assert not (tmp_path / "ran").exists()
