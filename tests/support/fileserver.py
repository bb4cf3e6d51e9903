"""A server of files in this process, that can be told to misbehave and counts what it is asked."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["FileServer", "Handler", "serve", "sha256"]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files` with ETag and ranges, unless `server.faults` has something for the path."""

    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        with self.server.one:
            self.server.asked[path] += 1
            self.server.requests.append((path, {name.title(): value for name, value in self.headers.items()}))
            number = self.server.asked[path]
        fault = self.server.faults.get(path)
        if fault and fault(self, number):
            return
        content = self.server.files.get(path)
        if content is None:
            self.answer(404, b"no such file")
        else:
            self.send_file(content)

    def send_file(self, content: bytes, *, cut: int | None = None, etag: str | None = None) -> None:
        """Send a content, or the range that is asked for; with `cut` only so many bytes of what was promised."""
        tag = etag if etag is not None else f'"{sha256(content)[:16]}"'
        first = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", tag) == tag:
            first = int(asked[1])
        if first >= len(content) > 0:
            self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        body = content[first:]
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.send_body(body if cut is None else body[:cut])
        if cut is not None and cut < len(body):
            self.close_connection = True

    def send_body(self, body: bytes) -> None:
        step, pause = self.server.step, self.server.pause
        for first in range(0, len(body), step):
            try:
                self.wfile.write(body[first : first + step])
                self.wfile.flush()
            except OSError:
                self.close_connection = True
                return
            if pause:
                time.sleep(pause)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> bool:
        """Send a whole answer. Returns True, so that a fault may end with it."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


Fault = Callable[[Handler, int], bool | None]
"""Is given the handler and how often the path was asked for by now; true when it has answered."""


class FileServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, Fault] = {}
        self.asked: Counter[str] = Counter()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.one = threading.Lock()
        self.step = 64 << 10
        self.pause = 0.0
        self.over = threading.Event()
        self.base = f"{'https' if context else 'http'}://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are what is tested."""


@contextmanager
def serve(context: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    server = FileServer(context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
