"""A forward proxy that counts: what went through it, so that a test can say that nothing did.

CONNECT and plain HTTP, one request for each connection, so that none hides behind another.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_HEAD = 64 << 10
_PATIENCE = 30.0


@dataclass
class CountingProxy:
    """A proxy while it runs. `requests` are method and target, in the order in which they came."""

    address: tuple[str, int]
    refuse: bool = False
    """Answer 502 to everything: the network is off, and what is asked of it is still counted."""
    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """What HTTP_PROXY is set to."""
        return f"http://{self.address[0]}:{self.address[1]}"

    @property
    def count(self) -> int:
        """Number of requests so far; a connection without one counts, too."""
        return len(self.requests)

    def environment(self) -> dict[str, str]:
        """Return the variables that send everything through this proxy, loopback included."""
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        return {spelling: self.url for name in names for spelling in (name, name.lower())} | {
            "NO_PROXY": "",
            "no_proxy": "",
        }


@contextlib.contextmanager
def counting_proxy(host: str = "127.0.0.1", *, refuse: bool = False) -> Iterator[CountingProxy]:
    """Run a proxy. For builds in containers `host` is the address of the engine's bridge."""
    with socket.create_server((host, 0), backlog=128) as server:
        proxy = CountingProxy(address=server.getsockname()[:2], refuse=refuse)
        ended = threading.Event()
        thread = threading.Thread(target=_accept, args=(server, proxy, ended), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            ended.set()
            # accept() does not end when its socket is closed elsewhere.
            with contextlib.suppress(OSError):
                socket.create_connection(proxy.address, timeout=1).close()
            thread.join(timeout=5)


def _accept(server: socket.socket, proxy: CountingProxy, ended: threading.Event) -> None:
    while True:
        client, _ = server.accept()
        if ended.is_set():
            client.close()
            return
        threading.Thread(target=_serve, args=(client, proxy), daemon=True).start()


def _serve(client: socket.socket, proxy: CountingProxy) -> None:
    with client:
        client.settimeout(_PATIENCE)
        try:
            _forward(client, proxy)
        except (OSError, ValueError):
            # The other side has gone; who asked sees a connection that ends.
            return


def _forward(client: socket.socket, proxy: CountingProxy) -> None:
    head, rest = _read_head(client)
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    method, target = (words[0], words[1]) if len(words) == 3 else ("?", "")
    proxy.requests.append((method, target))
    if proxy.refuse or not target:
        client.sendall(b"HTTP/1.1 502 Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return
    parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        upstream = socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE)
    except OSError:
        client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return
    with upstream:
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            upstream.sendall(rest)
        else:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            upstream.sendall(_rewritten(head, method, path) + rest)
        _pump(client, upstream)


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    found = b""
    while b"\r\n\r\n" not in found and len(found) < _HEAD:
        piece = client.recv(4096)
        if not piece:
            break
        found += piece
    head, _, rest = found.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _rewritten(head: bytes, method: str, path: str) -> bytes:
    """Return a request as the server itself wants it, and as the only one of its connection."""
    lines = head.rstrip(b"\r\n").split(b"\r\n")[1:]
    kept = [line for line in lines if not re.match(rb"(?i)(proxy-[a-z]+|connection|keep-alive):", line)]
    return b"\r\n".join([f"{method} {path} HTTP/1.1".encode("latin-1"), *kept, b"Connection: close"]) + b"\r\n\r\n"


def _pump(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while selector.get_map():
            ready = selector.select(_PATIENCE)
            if not ready:
                return
            for key, _ in ready:
                source, sink = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                piece = source.recv(1 << 16)
                if piece:
                    sink.sendall(piece)
                    continue
                # One side has said all; the other may still be speaking.
                selector.unregister(source)
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)
