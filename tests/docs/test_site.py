"""The documentation site, built without running its code, which `make docs` does."""

import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.helpers import ROOT
from tests.test_docstrings import public_names

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
COMMANDS = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The HTML pages."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    # A cell that does not run tells nobody its language.
    options = ["-D", "nb_execution_mode=off", "-D", "suppress_warnings=myst-nb.lexer"]
    command = [*build, *options, DOCS, folder]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return folder


class Targets(HTMLParser):
    """The links of a page, and the anchors that links can name."""

    def __init__(self, text: str):
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if value and ((tag, name) in {("a", "href"), ("img", "src")}):
                self.links.add(value)


def test_every_link_and_anchor_leads_somewhere(site):
    pages = {path: Targets(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > len(PAGES)
    for page, found in pages.items():
        for link in found.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (page.parent / unquote(url.path)).resolve() if url.path else page
            where = f"{page.relative_to(site)} links to {link}"
            assert target.exists(), where
            assert not url.fragment or unquote(url.fragment) in pages[target].anchors, where


def test_the_reference_has_every_public_name(site):
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    listed = {line.split(" ")[0] for line in zlib.decompress(inventory).decode().splitlines()}
    missing = {name for name in public_names() if name not in listed}
    assert not missing


@pytest.mark.parametrize("name", COMMANDS)
def test_an_experiment_has_its_page(name):
    folder_and_name = {"tutorial": "start/getting_started"}.get(name, f"experiments/{name}")
    page = DOCS / f"{folder_and_name}.md"
    assert f"python -m experiments.{name}" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_code_of_a_page_runs_when_the_site_is_built(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^ *```\{?(code-block\}? +)?python", text, re.MULTILINE), "not a cell"
    if "{code-cell}" in text:
        assert text.startswith("---\nfile_format: mystnb\n")


def test_committed_pictures_are_small():
    pictures = [path for path in DOCS.rglob("*.png") if path.is_file()]
    assert pictures
    for path in pictures:
        assert path.stat().st_size <= 100 * 1024, path
