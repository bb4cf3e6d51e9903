"""One HTTP request: redirects, certificates, proxies, credentials. What an answer means for the next try is said here.

Plain `http` is for this machine's own servers, and for a file whose checksum is pinned: then nobody on the way can
change it. No redirect leaves `https`. Credentials come from a netrc file only, for exactly the host it names.
"""

from __future__ import annotations

import email.utils
import netrc
import os
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol
from urllib.parse import urljoin, urlsplit, urlunsplit
from urllib.request import proxy_bypass

from builder import __version__
from builder.errors import SourceError

if TYPE_CHECKING:
    import urllib3

__all__ = ["Again", "Network", "Never", "Patience", "Web", "shown"]

REDIRECTS = 10
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
LOCAL = ("localhost", "127.0.0.1", "::1")


class Network(Protocol):
    """What a download asks of builder/source/network.py."""

    @property
    def ca_bundle(self) -> Path | None:
        """Certificates to trust beside the system's."""
        ...

    @property
    def proxies(self) -> Mapping[str, str]:
        """Proxy variables."""
        ...

    def candidates(self, url: str) -> tuple[str, ...]:
        """Return the addresses to try, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a download waits, in seconds, and how often it tries."""

    connect: float = 15.0
    stall: float = 30.0
    """Without a byte, or with a trickle: then the connection is taken to be dead."""
    tries: int = 5
    """In a row without a byte gained."""
    pause: float = 0.5
    """Before the second try; it doubles from try to try."""
    longest: float = 30.0
    asked: float = 120.0
    """The longest Retry-After that is waited for."""


class Again(Exception):
    """Something that may be over soon. `seconds` is what the server asks to wait; 0 if it does not say."""

    def __init__(self, why: str, seconds: float = 0.0) -> None:
        super().__init__(why)
        self.seconds = seconds


class Never(Exception):
    """Something that another try does not change."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.hint = hint


class Web:
    """Connections that are kept and shared by threads."""

    def __init__(self, network: Network, patience: Patience | None = None, *, at_once: int = 8) -> None:
        self.patience = patience or Patience()
        self._network = network
        self._at_once = at_once
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._context: ssl.SSLContext | None = None
        self._netrc: netrc.netrc | None = None
        self._lock = threading.Lock()

    def get(self, url: str, headers: Mapping[str, str], *, proven: bool) -> tuple[urllib3.BaseHTTPResponse, str]:
        """Return the answer with status 200, 206 or 416, its body unread, and the URL that gave it in the end.

        Args:
            proven: whether a checksum will tell if somebody on the way changed the answer.

        Raises:
            Again, Never: with the reason.
        """
        current = url
        for _ in range(REDIRECTS):
            _check(current, proven=proven)
            answer = self._ask(current, headers)
            location = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                _judge(answer, current, moved=current != url)
                return answer, current
            answer.close()
            target = urljoin(current, location)
            if urlsplit(current).scheme == "https" and urlsplit(target).scheme != "https":
                raise Never(f"redirects to {shown(target)}, away from https")
            current = target
        raise Never(f"redirects more than {REDIRECTS} times, at last to {shown(current)}")

    def _ask(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        import urllib3.exceptions as broken

        wanted = {"User-Agent": f"drivebuild/{__version__}", "Accept-Encoding": "identity", **headers}
        wanted.update(self._credentials(url))
        try:
            return self._pool(url).request(
                "GET", url, headers=wanted, redirect=False, retries=False, preload_content=False, decode_content=False
            )
        except (broken.SSLError, ssl.SSLError) as error:
            _distrust(url, error)
        except broken.ProxyError as error:
            raise Again(f"its proxy: {_inner(error)}") from None
        except (broken.HTTPError, OSError) as error:
            raise Again(_inner(error)) from None

    def _pool(self, url: str) -> urllib3.PoolManager:
        import urllib3

        proxy = self._proxy(url)
        with self._lock:
            if proxy not in self._pools:
                waits = urllib3.Timeout(connect=self.patience.connect, read=self.patience.stall)
                self._context = self._context or _context(self._network.ca_bundle)
                if not proxy:
                    made = urllib3.PoolManager(
                        num_pools=64, maxsize=self._at_once, timeout=waits, ssl_context=self._context
                    )
                else:
                    made = self._through(proxy, waits)
                self._pools[proxy] = made
            return self._pools[proxy]

    def _through(self, proxy: str, waits: urllib3.Timeout) -> urllib3.PoolManager:
        import urllib3

        parts = urlsplit(proxy)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Never(f"the proxy {shown(proxy)} is not one of http", hint="name the proxy as http://HOST:PORT")
        login = f"{parts.username}:{parts.password or ''}" if parts.username else None
        return urllib3.ProxyManager(
            urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", "")),
            proxy_headers=urllib3.make_headers(proxy_basic_auth=login) if login else None,
            proxy_ssl_context=self._context,
            num_pools=64,
            maxsize=self._at_once,
            timeout=waits,
            ssl_context=self._context,
        )

    def _proxy(self, url: str) -> str:
        named = {name.lower().removesuffix("_proxy"): value for name, value in self._network.proxies.items()}
        parts = urlsplit(url)
        if parts.hostname in LOCAL or proxy_bypass(parts.netloc.rpartition("@")[2], named):
            return ""
        proxy = named.get(parts.scheme) or named.get("all", "")
        return f"http://{proxy}" if proxy and "://" not in proxy else proxy

    def _credentials(self, url: str) -> dict[str, str]:
        import urllib3

        parts = urlsplit(url)
        # A password in clear is for this machine only.
        if parts.scheme != "https" and parts.hostname not in LOCAL:
            return {}
        with self._lock:
            self._netrc = self._netrc or _read_netrc()
        found = self._netrc.hosts.get(parts.hostname or "")
        return urllib3.make_headers(basic_auth=f"{found[0]}:{found[2]}") if found else {}


def shown(url: str) -> str:
    """Return a URL for people: without a password, and without a query, which may be a signature."""
    parts = urlsplit(url)
    query = "…" if parts.query else ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def _check(url: str, *, proven: bool) -> None:
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        raise Never("not a URL") from None
    if parts.scheme not in ("https", "http") or not sound:
        raise Never(f"{shown(url)}: files come by https, http or file")
    if "@" in parts.netloc:
        raise Never(f"{shown(url)}: the URL holds a password", hint="put it into ~/.netrc instead")
    if parts.scheme == "http" and not proven and parts.hostname not in LOCAL:
        hint = "name an https mirror, or pin its sha256: then plain http is good enough"
        raise Never(f"{shown(url)}: plain http, and no checksum that would show a change on the way", hint=hint)


def _judge(answer: urllib3.BaseHTTPResponse, url: str, *, moved: bool) -> None:
    status = answer.status
    if status in (200, 206, 416):
        return
    answer.close()
    why = f"{shown(url)} answered {status}" if moved else f"answered {status}"
    if answer.reason:
        why += f" {answer.reason}"
    if status in TRANSIENT:
        raise Again(why, _retry_after(answer.headers.get("Retry-After", "")))
    hint = ""
    if status in (401, 403):
        hint = f"a login for {urlsplit(url).hostname}? Name it in ~/.netrc"
    elif status == 407:
        hint = "the proxy wants a login: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
    raise Never(why, hint=hint)


def _retry_after(text: str) -> float:
    """Return seconds from a Retry-After: a number of them, or a date."""
    if text.strip().isdigit():
        return float(text)
    date = email.utils.parsedate_tz(text)
    return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else 0.0


def _distrust(url: str, error: Exception) -> NoReturn:
    why = str(next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), error))
    verify = next(
        (item.verify_message for item in _causes(error) if isinstance(item, ssl.SSLCertVerificationError)), ""
    )
    if not verify:
        raise Again(f"TLS with {urlsplit(url).hostname} failed: {why}") from None
    hint = "behind a proxy with its own certificates? Pass them: `--ca-bundle FILE`. A check is never left out"
    raise Never(f"the certificate of {urlsplit(url).hostname} is not trusted: {verify}", hint=hint) from None


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        item = todo.pop()
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            todo += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
    return found


def _inner(error: Exception) -> str:
    """Return the system's own words where an error of urllib3 wraps them; its own hold addresses of objects."""
    own = [item for item in _causes(error) if isinstance(item, OSError) and item.strerror]
    text = own[-1].strerror if own else str(error).rpartition(": ")[2]
    return str(text)


def _context(bundle: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    places = ssl.get_default_verify_paths()
    if not places.cafile and not (places.capath and any(os.scandir(places.capath))):
        # A Python from elsewhere than the distribution may look where this one keeps nothing.
        import certifi

        context.load_verify_locations(certifi.where())
    if bundle:
        try:
            context.load_verify_locations(bundle)
        except (OSError, ssl.SSLError) as error:
            raise SourceError(f"{bundle}: not a file of certificates: {error}", hint="a PEM file is wanted") from None
    return context


def _read_netrc() -> netrc.netrc:
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return netrc.netrc(str(path))
    except FileNotFoundError:
        return netrc.netrc(os.devnull)
    except netrc.NetrcParseError as error:
        # The parser's message may quote the token it stumbled over: a password.
        raise SourceError(f"{path}, line {error.lineno}: not a netrc file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read: {getattr(error, 'strerror', '') or 'not text'}") from None
