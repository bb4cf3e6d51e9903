"""A real registry on loopback, and a door before it that fails as it is told."""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["Fault", "FaultyDoor", "Registry", "faulty_door", "registry_on", "started_registry"]

CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}
http: {{addr: "{address}"{tls}}}
{auth}"""


@dataclass
class Registry:
    """A registry while it runs."""

    folder: Path
    address: str
    process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """End it as a machine ends whose plug is pulled."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def start(self) -> None:
        """Start it, with what it had when it was killed."""
        port = int(self.address.rpartition(":")[2])
        self.process = started_registry(self.folder, f"127.0.0.1:{port}")
        _await(port, self.process)

    @property
    def blobs(self) -> Path:
        """Where its contents lie."""
        return self.folder / "registry/docker/registry/v2/blobs/sha256"

    def blob(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        return self.blobs / name[:2] / name / "data"


def started_registry(
    folder: Path, address: str, *, inside: Sequence[str] = (), tls: str = "", auth: str = ""
) -> subprocess.Popen[bytes]:
    """Start a registry, `inside` a namespace if words that enter one are given."""
    program = shutil.which("docker-registry")
    assert program
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, address=address, tls=tls, auth=auth))
    with (folder / "log").open("ab") as log:
        return subprocess.Popen((*inside, program, "serve", str(folder / "config.yml")), stdout=log, stderr=log)


@contextlib.contextmanager
def registry_on(folder: Path) -> Iterator[Registry]:
    """Run a registry on a free port of loopback; the engine takes those without TLS."""
    made = Registry(folder, f"localhost:{_free_port()}")
    try:
        made.start()
        yield made
    finally:
        made.kill()


def _free_port() -> int:
    """Return a port that nobody has, below those of outgoing connections: who is started again wants the same one."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first // 2, first)  # noqa: S311
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 180
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        assert process.poll() is None, "the registry has ended"
        assert time.monotonic() < end, "the registry does not start"
        time.sleep(0.05)


@dataclass
class Fault:
    """What happens to the next `times` requests that fit."""

    method: str
    path: str
    times: int = 1
    status: int = 0
    """0: the connection is cut in the middle of the body."""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: Callable[[], None] = lambda: None
    """Is called when it has happened."""
    through: bool = False
    """No fault at all: once `after` has returned, the request goes on as it is."""


@dataclass
class FaultyDoor:
    """A reverse proxy while it runs."""

    address: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path and status of each; 0 for those that were cut."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def due(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in tuple(self.faults):
                if fault.times > 0 and method == fault.method and re.search(fault.path, path):
                    fault.times -= 1
                    break
            else:
                return None
        # Who comes in between comes through this door, too.
        fault.after()
        return None if fault.through else fault

    def count(self, status: int) -> int:
        return sum(1 for request in self.requests if request[2] == status)


@contextlib.contextmanager
def faulty_door(registry: Registry) -> Iterator[FaultyDoor]:
    """Run a door before a registry, on a free port of loopback."""
    port = int(registry.address.rpartition(":")[2])
    door = FaultyDoor("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    for method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", lambda request: _pass_on(request, door, port))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        door.address = f"localhost:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield door
        finally:
            server.shutdown()
            thread.join(timeout=5)


def _pass_on(request: BaseHTTPRequestHandler, door: FaultyDoor, port: int) -> None:
    fault = door.due(request.command, request.path)
    if fault and not fault.status:
        request.rfile.read1(1024)
        # A reset, and not an end in order.
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.close_connection = True
        request.connection.close()
        door.requests.append((request.command, request.path, 0))
        return
    body = _body(request)
    if fault:
        _answer(request, fault.status, list(fault.headers.items()), fault.body)
        door.requests.append((request.command, request.path, fault.status))
        return
    upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(upstream):
        kept = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        upstream.request(request.command, request.path, body=body, headers={**kept, "Content-Length": str(len(body))})
        found = upstream.getresponse()
        content = found.read()
        headers = [(name, value) for name, value in found.getheaders() if name.lower() not in _HOP]
        length = found.getheader("Content-Length") if request.command == "HEAD" else None
        _answer(request, found.status, headers, content, length=length)
        door.requests.append((request.command, request.path, found.status))


_HOP = ("transfer-encoding", "connection", "content-length", "keep-alive", "expect")


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "") == "chunked":
        parts = []
        while size := int(request.rfile.readline().split(b";")[0], 16):
            parts.append(request.rfile.read(size))
            request.rfile.readline()
        request.rfile.readline()
        return b"".join(parts)
    return request.rfile.read(int(request.headers.get("Content-Length") or 0))


def _answer(
    request: BaseHTTPRequestHandler,
    status: int,
    headers: list[tuple[str, str]],
    content: bytes,
    *,
    length: str | None = None,
) -> None:
    request.send_response_only(status)
    for name, value in headers:
        request.send_header(name, value)
    request.send_header("Content-Length", length or str(len(content)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)
