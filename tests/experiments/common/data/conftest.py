"""A package index on this machine instead of the configured one."""

import pytest

from experiments.common.data import archives
from experiments.common.data.pip_settings import PipSettings
from tests.fixtures.machine.web_server import serve


@pytest.fixture
def server():
    """A web server on this machine."""
    with serve() as running:
        yield running


@pytest.fixture
def settings(monkeypatch, tmp_path, server):
    """A function that sets pip's settings; first, the only index is `server`'s folder simple."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("GRUJAX_DATA", raising=False)
    current = PipSettings([f"{server.url}/simple"], [], frozenset(), None, None, None, 5.0)

    def use(**changes) -> PipSettings:
        changed = current._replace(**changes)
        monkeypatch.setattr(archives, "read_pip_settings", lambda: changed)
        return changed

    use()
    return use
