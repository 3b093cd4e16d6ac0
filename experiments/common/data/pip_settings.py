"""pip's settings: where its package index is, and how to reach it.

pip itself is asked for them, so its configuration files, its environment variables and its default
index hold here as they do for `pip download`.
"""

import ast
import os
import re
import subprocess
import sys
from typing import NamedTuple

from experiments.common.data.folders import DataError

_SECTIONS = ("global", "download", ":env:")  # a later one wins
_LINE = re.compile(r"^(global|download|:env:)\.([\w-]+)=('.*'|\".*\")$", re.M)
_DEFAULT_INDEX = re.compile(r"--index-url\b.*?\(default\s+(\S+?)\)", re.S)
_TRUE = ("1", "true", "yes", "on", "t", "y")
_TIMEOUT = 15.0  # seconds, pip's default


class PipSettings(NamedTuple):
    """What pip is configured to use; addresses may contain a user and a password."""

    indexes: list[str]  # the addresses or folders of package indexes
    find_links: list[str]  # addresses, folders or files that list archives
    trusted_hosts: frozenset[str]  # "host" or "host:port", whose certificates are not checked
    cert: str | None  # the file of certificate authorities; None: the system's
    client_cert: str | None  # the file of the client's certificate and key
    proxy: str | None  # None: the environment's
    timeout: float  # seconds without an answer


def read_pip_settings() -> PipSettings:
    """Asks pip for its configuration.

    Raises:
      DataError: this Python has no pip, or pip failed.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    # `--verbose` makes up for a configured `quiet`, which would hide the list.
    for section, name, value in _LINE.findall(_run_pip("--verbose", "config", "list")):
        found[section][name] = ast.literal_eval(value)
    options: dict[str, str] = {}
    for section in _SECTIONS:
        options |= {name: value for name, value in found[section].items() if value}
    indexes = []
    if options.get("no-index", "").lower() not in _TRUE:
        indexes.append(options.get("index-url") or _default_index())
        indexes += options.get("extra-index-url", "").split()
    return PipSettings(
        indexes,
        options.get("find-links", "").split(),
        frozenset(options.get("trusted-host", "").split()),
        options.get("cert"),
        options.get("client-cert"),
        options.get("proxy"),
        _as_seconds(options.get("timeout") or options.get("default-timeout")),
    )


def _default_index() -> str:
    """The index that pip uses without a configuration, from its help."""
    default = _DEFAULT_INDEX.search(_run_pip("download", "--help"))
    if default is None:
        raise DataError("pip does not say which package index it uses: set PIP_INDEX_URL.")
    return default[1]


def _as_seconds(value: str | None) -> float:
    try:
        seconds = float(value or _TIMEOUT)
    except ValueError:
        return _TIMEOUT
    return seconds if 0 < seconds < float("inf") else _TIMEOUT


def _run_pip(*arguments: str) -> str:
    # -P: a folder named "pip" in the working directory is not the user's pip.
    command = [sys.executable, "-P", "-m", "pip", *arguments]
    wide = os.environ | {"COLUMNS": "1000"}  # no line of the help is broken
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=wide)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(
            f"pip, whose settings name the package index, failed ({reason}); if this Python has no "
            f"pip, `{sys.executable} -m ensurepip` installs it."
        )
    return done.stdout
