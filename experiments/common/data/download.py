"""Reading addresses into memory, with pip's credentials, certificates and proxy."""

import http.client
import netrc
import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib import request
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit

from tqdm import tqdm

from experiments.common.data.pip_settings import PipSettings

SCHEMES = ("https", "http", "file")
CHUNK = 2**16  # bytes
# What a failed request raises: no network, a refusal, broken HTTP, a malformed address.
REQUEST_ERRORS = (OSError, http.client.HTTPException, ValueError)


class Response(NamedTuple):
    """An answer, read in full."""

    content: bytes
    url: str  # after redirects
    media_type: str  # such as "text/html"


class Session:
    """What all requests to the hosts of pip's settings share.

    The user and the password of an address are sent to its host alone, over the same scheme and
    port, and never appear in a message. Other hosts get those of the user's .netrc, if any.
    """

    def __init__(self, settings: PipSettings):
        """Raises OSError if a certificate cannot be read."""
        self._timeout = settings.timeout
        self._passwords = request.HTTPPasswordMgrWithPriorAuth()
        proxies = dict.fromkeys(("http", "https"), settings.proxy) if settings.proxy else None
        self._opener = request.build_opener(
            request.ProxyHandler(proxies),
            request.HTTPBasicAuthHandler(self._passwords),
            _HTTPSHandler(settings),
        )
        for url in (*settings.indexes, *settings.find_links):
            self._keep_password(url)

    def read(
        self, url: str, limit: int, accept: str = "*/*", *, progress: bool = False
    ) -> Response:
        """Reads an address.

        Args:
          url: its scheme is one of `SCHEMES`.
          limit: the largest number of bytes; nothing beyond it is read.
          accept: the media types that are understood.
          progress: shows a progress bar on a terminal.

        Raises one of `REQUEST_ERRORS`, whose text is the reason.
        """
        if urlsplit(url).scheme not in SCHEMES:
            raise ValueError(f"its scheme is not one of {', '.join(SCHEMES)}")
        self._keep_password(url)
        bare = without_password(url)
        asked = request.Request(bare, headers={"Accept": accept, "User-Agent": "grujax"})
        try:
            with self._opener.open(asked, timeout=self._timeout) as response:
                content = _read_limited(response, limit, progress)
                return Response(content, response.url, response.headers.get_content_type())
        except HTTPError as error:
            error.close()
            raise

    def _keep_password(self, url: str) -> None:
        """Remembers the credentials of an address, or those of its host in .netrc."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return
        root = without_password(urlunsplit((*parts[:2], "/", "", "")))
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
        elif not self._passwords.is_authenticated(root) and (kept := _from_netrc(parts.hostname)):
            user, password = kept
        else:
            return
        self._passwords.add_password(None, root, user, password, is_authenticated=True)


class _HTTPSHandler(request.HTTPSHandler):
    """HTTPS with pip's certificates; those of its trusted hosts are not checked."""

    def __init__(self, settings: PipSettings):
        names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # which pip obeys, too
        authorities = settings.cert or next(filter(None, map(os.environ.get, names)), None)
        self._checked = ssl.create_default_context()
        if authorities:
            is_folder = os.path.isdir(authorities)
            self._checked = ssl.create_default_context(
                cafile=None if is_folder else authorities, capath=authorities if is_folder else None
            )
        elif not self._checked.cert_store_stats()["x509_ca"]:  # Python's own builds for macOS
            with suppress(ImportError):
                import certifi

                self._checked.load_verify_locations(certifi.where())
        self._unchecked = ssl.create_default_context()
        self._unchecked.check_hostname = False
        self._unchecked.verify_mode = ssl.CERT_NONE
        self._trusted = settings.trusted_hosts
        for context in (self._checked, self._unchecked):
            context.set_alpn_protocols(["http/1.1"])
            if settings.client_cert:
                context.load_cert_chain(settings.client_cert)
        super().__init__(context=self._checked)

    def https_open(self, req: request.Request) -> http.client.HTTPResponse:
        """Opens an address with the context of its host."""
        parts = urlsplit(req.full_url)
        trusted = {parts.hostname, f"{parts.hostname}:{parts.port or 443}"} & self._trusted
        context = self._unchecked if trusted else self._checked
        return self.do_open(http.client.HTTPSConnection, req, context=context)


def without_password(url: str) -> str:
    """The address without user and password, which no message may show."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _from_netrc(host: str) -> tuple[str, str] | None:
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        found = netrc.netrc(path).authenticators(host)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return None
    return (found[0], found[2] or "") if found else None


def _read_limited(response: http.client.HTTPResponse, limit: int, progress: bool) -> bytes:
    """Reads all of a response, which must be complete and no larger than `limit` bytes."""
    announced = response.headers.get("Content-Length", "")
    total = int(announced) if announced.isdecimal() else None
    content = bytearray()
    bar = tqdm(total=total, unit="B", unit_scale=True, leave=False, disable=None if progress else 1)
    with bar:
        while (total or 0) <= limit and (chunk := response.read(CHUNK)):
            content += chunk
            bar.update(len(chunk))
            if len(content) > limit:
                break
    if max(len(content), total or 0) > limit:
        raise OSError(f"it is larger than {limit:,} bytes")
    if total is not None and len(content) < total:
        raise OSError(f"it ended after {len(content):,} of {total:,} bytes")
    return bytes(content)
