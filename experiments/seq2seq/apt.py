"""Indices of Debian's package index, through apt, from signed sources alone.

apt verifies the signature of each index of indices (InRelease) with the keys that the system trusts
for it. Sources that the system's settings let pass unsigned, such as those marked [trusted=yes],
are refused here. The texts are compared with the checksums in the signed files.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from experiments.common.data import DataError

HELPER = Path("/usr/lib/apt/apt-helper")
_UNSIGNED = "trusted|allow-insecure|allow-weak|allow-downgrade-to-insecure"  # options of a source
_PASSWORD = re.compile(r"//[^/@\s]*@")  # the user and the password of an address
_STRICT = """
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
"""


def is_installed() -> bool:
    """Whether this system has apt."""
    return shutil.which("apt-get") is not None and HELPER.exists()


def update(work: Path, languages: list[str]) -> tuple[list[dict[str, str]], str]:
    """Fetches the Translation indices of some languages into a folder.

    Returns: apt's description of each index that it fetched and verified, and its first complaint.
    """
    for part in ("lists/partial", "cache/archives/partial", "sources"):
        (work / part).mkdir(parents=True)
    _copy_sources(work / "sources")
    wanted = " ".join(f'"{language}";' for language in languages)
    configuration = work / "apt.conf"
    configuration.write_text(
        f"#clear Acquire::Languages;\nAcquire::Languages {{ {wanted} }};\n"
        f'Acquire::IndexTargets::deb::Packages::DefaultEnabled "false";\n{_STRICT}'
        f'Dir::State::Lists "{work}/lists";\nDir::Cache "{work}/cache";\n'
        f'Dir::Etc::SourceList "/dev/null";\nDir::Etc::SourceParts "{work}/sources";\n'
    )
    run = _run("apt-get", "-q", "-c", str(configuration), "update")
    listed = _run("apt-get", "-c", str(configuration), "indextargets").stdout
    paragraphs = [
        dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        for paragraph in listed.split("\n\n")
    ]
    targets = [target for target in paragraphs if target.get("Created-By") == "Translations"]
    complaints = [line for line in run.stderr.splitlines() if line.startswith(("E:", "W:"))]
    return targets, (complaints or ["no such language"])[0]


def _copy_sources(folder: Path) -> None:
    """Copies apt's lists of sources, without the options that let unsigned ones pass."""
    shell = _run(
        *("apt-config", "shell"),
        *("FILE", "Dir::Etc::SourceList/f", "PARTS", "Dir::Etc::SourceParts/d"),
    ).stdout
    places = dict(word.split("=", 1) for word in shlex.split(shell) if "=" in word)
    paths = [Path(places["FILE"])] if "FILE" in places else []
    if "PARTS" in places and Path(places["PARTS"]).is_dir():
        paths += sorted(Path(places["PARTS"]).iterdir())
    for number, path in enumerate(paths):
        if path.suffix in (".list", ".sources") and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            (folder / f"{number}{path.suffix}").write_text(require_signatures(text, path.suffix))


def require_signatures(sources: str, suffix: str) -> str:
    """Removes the options that let unsigned sources pass.

    Args:
      sources: a file of sources in one of apt's two formats.
      suffix: its format, ".list" or ".sources".
    """
    if suffix == ".sources":
        field = rf"^(?:{_UNSIGNED})[ \t]*:.*(?:\n[ \t].*)*\n?"
        return re.sub(field, "", sources, flags=re.M | re.I)
    # The brackets may not be empty, so an option takes the place of each.
    option = rf"(?<=[\[\s])(?:{_UNSIGNED})[+-]?=[^\s\]]*"
    return re.sub(
        r"\[[^\]\n]*\]",
        lambda options: re.sub(option, "allow-insecure=no", options[0], flags=re.I),
        sources,
    )


def verify(target: dict[str, str]) -> tuple[bytes, dict[str, Any]]:
    """Reads an index that apt fetched, and compares it with the checksum in the signed file.

    Args:
      target: apt's description of the index.

    Returns: the text, and where it is from: addresses and checksums.

    Raises:
      DataError: it cannot be read, or has another checksum.
    """
    path, key = Path(target["Filename"]), target["MetaKey"]
    description = _PASSWORD.sub("//", target["Description"])
    helper = subprocess.run([str(HELPER), "cat-file", str(path)], check=False, capture_output=True)
    if helper.returncode != 0:
        raise DataError(f"apt cannot read {description} ({helper.stderr.decode().strip()}).")
    prefix = path.name.rpartition(key.replace("/", "_"))[0]
    releases = [path.with_name(prefix + name) for name in ("InRelease", "Release")]
    release = next((place.read_bytes() for place in releases if place.is_file()), b"")
    expected = _signed_checksums(release.decode("utf-8", errors="replace")).get(
        key, "(none is listed)"
    )
    got = hashlib.sha256(helper.stdout).hexdigest()
    if got != expected:
        raise DataError(
            f"{description} differs from its signed index: expected sha256 {expected}, got {got}."
        )
    date = re.search(rb"^Date: (.*)$", release, re.M)
    return helper.stdout, {
        "description": description,
        "sha256": got,
        "signed index": {
            "sha256": hashlib.sha256(release).hexdigest(),
            "date": date[1].decode() if date else None,
        },
    }


def _signed_checksums(release: str) -> dict[str, str]:
    """The sha256 of every file that an index of indices lists."""
    section = re.search(r"^SHA256:[ \t]*\n((?:[ \t]+\S.*\n?)*)", release, re.M)
    rows = [line.split() for line in section[1].splitlines()] if section else []
    return {row[2]: row[0].lower() for row in rows if len(row) == 3}


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}
    )
