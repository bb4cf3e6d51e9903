"""The counting proxy counts: a test that says nothing was asked is worth no more than this."""

from __future__ import annotations

import http.server
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from support.proxy import CountingProxy, counting_proxy


@pytest.fixture(autouse=True)
def guard() -> None:
    """Stand in for the folder's guard: all sockets here are this machine's own."""


@pytest.fixture
def url() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode() + b" " + body)

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode() + str(self.headers.get("Proxy-Connection")).encode())

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def through(proxy: CountingProxy, url: str, body: bytes | None = None) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy.url}))
    request = urllib.request.Request(url, data=body, headers={"Proxy-Connection": "keep-alive"})  # noqa: S310
    with opener.open(request, timeout=10) as reply:
        return bytes(reply.read())


def test_plain_requests_arrive_and_are_counted(url: str) -> None:
    with counting_proxy() as proxy:
        assert through(proxy, f"{url}/a?b=c") == b"/a?b=cNone"
        assert through(proxy, f"{url}/d", b"x" * 200_000) == b"/d " + b"x" * 200_000
        assert proxy.requests == [("GET", f"{url}/a?b=c"), ("POST", f"{url}/d")]


def test_tunnels_arrive_and_are_counted(url: str) -> None:
    address = url.removeprefix("http://")
    with counting_proxy() as proxy, socket.create_connection(proxy.address, timeout=10) as client:
        client.sendall(f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        client.sendall(f"GET /through HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
        said = b"".join(iter(lambda: client.recv(4096), b""))
        assert said.endswith(b"/throughNone")
        assert proxy.requests == [("CONNECT", address)]


def test_what_is_refused_is_counted_and_does_not_arrive(url: str) -> None:
    with counting_proxy(refuse=True) as proxy:
        with pytest.raises(urllib.error.HTTPError, match="502"):
            through(proxy, url)
        assert proxy.count == 1


def test_a_connection_that_says_nothing_is_counted() -> None:
    with counting_proxy() as proxy:
        with socket.create_connection(proxy.address, timeout=10) as client:
            client.shutdown(socket.SHUT_WR)
            assert client.recv(4096).startswith(b"HTTP/1.1 502")
        assert proxy.count == 1


def test_an_upstream_that_is_not_there() -> None:
    with counting_proxy() as proxy, pytest.raises(urllib.error.HTTPError, match="502"):
        through(proxy, "http://127.0.0.1:1/")
