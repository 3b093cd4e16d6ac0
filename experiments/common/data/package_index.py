"""Links to archives on pip's package indexes, without pip.

The indexes follow the simple repository API in HTML (https://peps.python.org/pep-0503) or JSON
(https://peps.python.org/pep-0691); folders and pages of `find-links` are read, too.
"""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

from experiments.common.data.download import Response, Session
from experiments.common.data.pip_settings import PipSettings

PAGE_LIMIT = 2**26  # bytes
ACCEPT = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.1"
)


class Link(NamedTuple):
    """A file that an index lists."""

    url: str
    filename: str
    sha256: str | None  # hexadecimal, as the index claims


def pages(settings: PipSettings, project: str) -> list[str]:
    """The addresses that list a project's files, in the order in which they are asked."""
    name = re.sub(r"[-_.]+", "-", project).lower()
    indexes = [f"{_as_url(index).rstrip('/')}/{name}/" for index in settings.indexes]
    return [_as_url(place) for place in settings.find_links] + indexes


def read_links(session: Session, page: str) -> Iterator[Link]:
    """The links on a page, the files in a folder, or the one file that `page` itself names.

    Raises one of `download.REQUEST_ERRORS`, whose text is the reason.
    """
    if urlsplit(page).scheme == "file":
        folder = Path(url2pathname(urlsplit(page).path))
        if folder.is_dir():
            paths = sorted(path for path in folder.iterdir() if path.is_file())
            yield from (Link(path.as_uri(), path.name, None) for path in paths)
            if not (folder / "index.html").is_file():
                return
            page = (folder / "index.html").as_uri()
    itself = _link(page, {})
    if itself.filename.endswith((".whl", ".tar.gz", ".zip", ".tar.bz2")):
        yield itself
        return
    response = session.read(page, PAGE_LIMIT, ACCEPT)
    links = _from_json if response.media_type.endswith("json") else _from_html
    for link in links(response):
        # A page from elsewhere has no business with this machine's files.
        if urlsplit(link.url).scheme != "file" or urlsplit(response.url).scheme == "file":
            yield link


def _from_json(response: Response) -> list[Link]:
    try:
        files = json.loads(response.content)["files"]
        return [
            _link(urljoin(response.url, file["url"]), file.get("hashes") or {}) for file in files
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"its JSON is not a list of files: {error!r}") from None


def _from_html(response: Response) -> list[Link]:
    parser = _Anchors()
    parser.feed(response.content.decode("utf-8", errors="replace"))
    base = urljoin(response.url, parser.base)
    return [_link(urljoin(base, address), {}) for address in parser.addresses]


def _link(url: str, hashes: dict[str, Any]) -> Link:
    bare, _, fragment = url.partition("#")
    listed = re.search(r"(?:^|&)sha256=([0-9a-fA-F]{64})", fragment)
    digest = hashes.get("sha256") or (listed[1] if listed else None)
    filename = unquote(urlsplit(bare).path.rpartition("/")[2])
    return Link(bare, filename, str(digest).lower() if digest else None)


class _Anchors(HTMLParser):
    """Collects the addresses of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps the address of an anchor, or of the page's base."""
        address = dict(attrs).get("href")
        if address and tag == "a":
            self.addresses.append(address.strip())
        elif address and tag == "base" and not self.base:
            self.base = address.strip()


def _as_url(place: str) -> str:
    """An address as it is; a path as the address of the file or folder."""
    return (
        place if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:", place) else Path(place).absolute().as_uri()
    )
