"""Requests: limits, credentials, certificates, proxies."""

import base64
import shutil
import ssl
import subprocess

import pytest

from experiments.common.data.download import REQUEST_ERRORS, Session, without_password
from tests.fixtures.machine.web_server import Answer, serve


def authorization(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def with_password(url: str, credentials: str) -> str:
    return url.replace("//", f"//{credentials}@")


@pytest.mark.parametrize(("size", "length"), [(101, None), (5, 101), (101, 0)])
def test_more_than_the_limit_is_not_read(server, settings, size, length):
    server.put("/x", Answer(b"x" * size, length=length))
    if length == 0:  # nothing beyond what is announced is read
        assert Session(settings()).read(f"{server.url}/x", 100).content == b""
        return
    with pytest.raises(OSError, match="larger than 100 bytes"):
        Session(settings()).read(f"{server.url}/x", 100)


def test_a_stream_without_a_length_is_limited_too(server, settings):
    server.put("/x", Answer(b"x" * 300_000, length=-1))
    with pytest.raises(OSError, match="larger than 100 bytes"):
        Session(settings()).read(f"{server.url}/x", 100)


def test_what_ends_early_is_an_error(server, settings):
    server.put("/x", Answer(b"12345", length=9))
    with pytest.raises(REQUEST_ERRORS, match="ended after 5 of 9 bytes"):
        Session(settings()).read(f"{server.url}/x", 100)


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/x", "data:,x", "nonsense", "http:///x", "http://"]
)
def test_other_addresses_are_refused(settings, url):
    with pytest.raises(REQUEST_ERRORS):
        Session(settings()).read(url, 100)


def test_a_password_is_sent_to_its_host_alone(server, settings):
    with serve() as other:
        index = with_password(server.url, "me:a%40b") + "/simple"
        session = Session(settings(indexes=[index]))
        server.put("/y", Answer(status=302, headers=(("Location", f"{other.url}/z"),)))
        server.put("/r", Answer(status=302, headers=(("Location", "/x"),)))
        server.put("/x", Answer(b"x"))
        other.put("/z", Answer(b"z"))
        for path in ("/x", "/r", "/y"):
            session.read(f"{server.url}{path}", 100)
    assert server.paths == ["/x", "/r", "/x", "/y"]
    sent = {headers.get("Authorization") for _, headers in server.requests}
    assert sent == {authorization("me", "a@b")}
    assert ["Authorization" in headers for _, headers in other.requests] == [False]


def test_a_link_may_have_its_own_password(server, settings):
    server.put("/x", Answer(b"x"))
    Session(settings()).read(with_password(server.url, "token") + "/x", 100)
    assert server.requests[0][1]["Authorization"] == authorization("token", "")
    assert without_password("https://a:b@c.invalid/d") == "https://c.invalid/d"


@pytest.mark.parametrize("text", ["machine 127.0.0.1 login me password secret", "garbage {", None])
def test_netrc_is_used_if_there_is_one(server, settings, tmp_path, text):
    if text is not None:
        (tmp_path / "netrc").write_text(text)
    server.put("/x", Answer(b"x"))
    Session(settings()).read(f"{server.url}/x", 100)
    expected = authorization("me", "secret") if text and text.startswith("machine") else None
    assert server.requests[0][1].get("Authorization") == expected


def test_the_proxy_of_pips_settings_is_used(server, settings, monkeypatch):
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    server.put("http://index.invalid/x", Answer(b"by proxy"))
    session = Session(settings(proxy=with_password(server.url, "me:secret")))
    assert session.read("http://index.invalid/x", 100).content == b"by proxy"
    assert server.requests[0][1]["Proxy-Authorization"] == authorization("me", "secret")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The file of a certificate of 127.0.0.1 that signs itself, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    command += " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), check=True, capture_output=True, cwd=folder)
    both = folder / "both.pem"
    both.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return both


def test_certificates_are_checked_as_pip_is_told(certificate, settings):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serve(context) as server:
        server.put("/x", Answer(b"secure"))
        port = server.url.rpartition(":")[2]
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            Session(settings()).read(f"{server.url}/x", 100)
        for changes in (
            {"cert": str(certificate)},
            {"trusted_hosts": frozenset({"127.0.0.1"})},
            {"trusted_hosts": frozenset({f"127.0.0.1:{port}"})},
        ):
            session = Session(settings(**changes))
            assert session.read(f"{server.url}/x", 100).content == b"secure"
        session = Session(settings(trusted_hosts=frozenset({"127.0.0.1:1", "other"})))
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            session.read(f"{server.url}/x", 100)


def test_a_server_may_ask_for_the_clients_certificate(certificate, settings):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    with serve(context) as server:
        server.put("/x", Answer(b"known"))
        changes = {"cert": str(certificate)}
        with pytest.raises(REQUEST_ERRORS):
            Session(settings(**changes)).read(f"{server.url}/x", 100)
        session = Session(settings(**changes, client_cert=str(certificate)))
        assert session.read(f"{server.url}/x", 100).content == b"known"
