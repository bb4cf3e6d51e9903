"""A server of compiles as ccache wants one: GET, HEAD, PUT and DELETE of whatever it is given, behind a password."""

from __future__ import annotations

import base64
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["PASSWORD", "USER", "CompileServer", "serve_compiles"]

USER, PASSWORD = "builder", "not-in-a-layer"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CompileServer

    def do_GET(self) -> None:
        self._found(body=True)

    def do_HEAD(self) -> None:
        self._found(body=False)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self._allowed("PUT"):
            self.server.files[self.path] = content
            self._answer(201)

    def do_DELETE(self) -> None:
        if self._allowed("DELETE"):
            self._answer(200 if self.server.files.pop(self.path, None) is not None else 404)

    def _found(self, *, body: bool) -> None:
        if self._allowed(self.command):
            content = self.server.files.get(self.path)
            self.server.hits += content is not None
            self._answer(404 if content is None else 200, content or b"", body=body)

    def _allowed(self, command: str) -> bool:
        self.server.asked[command] += 1
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == f"Basic {wanted}":
            return True
        self.server.refused += 1
        self._answer(401)
        return False

    def _answer(self, status: int, content: bytes = b"", *, body: bool = True) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class CompileServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: str) -> None:
        super().__init__((address, 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.hits = 0
        self.refused = 0
        self.url = f"http://{USER}:{PASSWORD}@{address}:{self.server_address[1]}/compiles"


@contextmanager
def serve_compiles(address: str) -> Iterator[CompileServer]:
    """Serve on an address of this machine until the end of the block."""
    server = CompileServer(address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
