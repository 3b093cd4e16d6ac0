"""Links on package indexes in HTML and JSON, in folders and on pages."""

import json

import pytest

from experiments.common.data.download import REQUEST_ERRORS, Session
from experiments.common.data.package_index import ACCEPT, Link, pages, read_links
from tests.fixtures.machine.web_server import Answer

SHA = "0123456789abcdef" * 4
JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture
def read(settings):
    """A function: the links of a page."""
    return lambda page: list(read_links(Session(settings()), page))


def test_the_pages_are_those_of_pip(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changed = settings(
        indexes=["https://a.invalid/simple/", "folder"], find_links=["wheels", "https://b.invalid/"]
    )
    assert pages(changed, "Some_.Thing") == [
        f"file://{tmp_path}/wheels",
        "https://b.invalid/",
        "https://a.invalid/simple/some-thing/",
        f"file://{tmp_path}/folder/some-thing/",
    ]


def test_html_with_relative_links_a_base_and_fragments(server, read):
    page = (
        f'<html><body><a href="../../f/x-1.tar.gz#sha256={SHA.upper()}">x</a>'
        '<A HREF = "y%2B1.whl?a=1#md5=00" >y</A><a>no address</a>'
        '<a href="https://c.invalid/z&amp;1.zip">z</a></body>'
    )
    server.put("/simple/x/", Answer(page.encode()))
    assert read(f"{server.url}/simple/x/") == [
        Link(f"{server.url}/f/x-1.tar.gz", "x-1.tar.gz", SHA),
        Link(f"{server.url}/simple/x/y%2B1.whl?a=1", "y+1.whl", None),
        Link("https://c.invalid/z&1.zip", "z&1.zip", None),
    ]
    server.put("/simple/x/", Answer(b'<base href="/b/"><a href="x-1.tar.gz">'))
    assert [link.url for link in read(f"{server.url}/simple/x/")] == [f"{server.url}/b/x-1.tar.gz"]


def test_json_is_asked_for_and_read(server, read):
    files = [
        {"filename": "x-1.tar.gz", "url": "../../f/x-1.tar.gz", "hashes": {"sha256": SHA}},
        {"filename": "y.whl", "url": f"{server.url}/y.whl", "hashes": {}},
    ]
    body = json.dumps({"meta": {"api-version": "1.1"}, "name": "x", "files": files})
    server.put("/simple/x/", Answer(body.encode(), JSON))
    assert read(f"{server.url}/simple/x/") == [
        Link(f"{server.url}/f/x-1.tar.gz", "x-1.tar.gz", SHA),
        Link(f"{server.url}/y.whl", "y.whl", None),
    ]
    assert server.requests[0][1]["Accept"] == ACCEPT


def test_links_are_relative_to_where_a_redirect_leads(server, read):
    server.put("/old/x/", Answer(status=301, headers=(("Location", "/new/x/"),)))
    server.put("/new/x/", Answer(b'<a href="x-1.tar.gz">'))
    assert [link.url for link in read(f"{server.url}/old/x/")] == [f"{server.url}/new/x/x-1.tar.gz"]


@pytest.mark.parametrize(
    "body",
    ["[]", "{}", '{"files": 3}', '{"files": [3]}', '{"files": [{"url": 3}]}', "{", "", '{"a": "'],
)
def test_json_of_another_kind_is_refused(server, read, body):
    server.put("/simple/x/", Answer(body.encode(), JSON))
    with pytest.raises(REQUEST_ERRORS, match="not a list of files"):
        read(f"{server.url}/simple/x/")


def test_html_of_any_kind_is_read(server, read):
    server.put("/simple/x/", Answer(b"\xff<a href=\x00\xfe.whl><a href='http://[bad'><!--<a"))
    with pytest.raises(REQUEST_ERRORS):
        read(f"{server.url}/simple/x/")
    server.put("/simple/x/", Answer(b"<a <a href=<<a href=x.whl>>"))
    read(f"{server.url}/simple/x/")


def test_folders_and_pages_on_this_machine(tmp_path, read):
    (tmp_path / "x-1.tar.gz").touch()
    (tmp_path / "sub").mkdir()
    assert read(tmp_path.as_uri()) == [
        Link(f"{tmp_path.as_uri()}/x-1.tar.gz", "x-1.tar.gz", None),
    ]
    (tmp_path / "sub" / "index.html").write_text(f'<a href="../x-1.tar.gz#sha256={SHA}">')
    [_, link] = read(f"{tmp_path.as_uri()}/sub/")
    assert link == Link(f"{tmp_path.as_uri()}/x-1.tar.gz", "x-1.tar.gz", SHA)
    [itself] = read(f"{tmp_path.as_uri()}/x-1.tar.gz")
    assert itself.filename == "x-1.tar.gz"
    with pytest.raises(REQUEST_ERRORS):
        read(f"{tmp_path.as_uri()}/missing/")


def test_a_page_from_elsewhere_reads_no_file_of_this_machine(server, tmp_path, read):
    server.put("/simple/x/", Answer(f'<a href="{tmp_path.as_uri()}/x-1.tar.gz">'.encode()))
    assert read(f"{server.url}/simple/x/") == []
