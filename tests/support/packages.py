"""Small packages made here, and a package index that counts who asks for what with which credentials."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from builder.plan.requirements import LockInput

__all__ = ["WANTED", "index", "metadata", "page", "sdist", "wheel"]

WANTED = LockInput(
    path="plat/toy.x86_64.txt",
    python="3.11",
    architecture="x86_64",
    requirements=("evil",),
    constraints=(),
    overrides=(),
)


def metadata(name: str, version: str, *requires: str) -> str:
    """Return a METADATA that says nothing of what is static."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    return "\n".join((*lines, *(f"Requires-Dist: {one}" for one in requires), ""))


def sdist(name: str, version: str, **files: str) -> bytes:
    """Return a source archive of files, `setup_py` for setup.py, and a PKG-INFO without dependencies."""
    held = io.BytesIO()
    named = {key.replace("_py", ".py").replace("_toml", ".toml"): text for key, text in files.items()}
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for path, text in {**named, "PKG-INFO": metadata(name, version)}.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return held.getvalue()


def wheel(name: str, version: str, *requires: str, files: Mapping[str, str] | None = None) -> bytes:
    """Return a wheel of files."""
    held = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    texts = {
        **(files or {}),
        f"{info}/METADATA": metadata(name, version, *requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(held, "w") as archive:
        for path, text in texts.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in (*texts, f"{info}/RECORD")))
    return held.getvalue()


def page(files: Mapping[str, bytes]) -> bytes:
    """Return an index' page of files that lie below /f/."""
    links = (
        f'<a href="/f/{name}#sha256={hashlib.sha256(body).hexdigest()}">{name}</a>' for name, body in files.items()
    )
    return "<br>".join(links).encode()


@contextmanager
def index(address: str, files: Mapping[str, bytes]) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Serve files at an address that containers reach; yield the port, and what is asked with its Authorization."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(files.get(self.path))

        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization", "")))
            body = files.get(self.path)
            self.answer(body)
            self.wfile.write(body or b"")

        def answer(self, body: bytes | None) -> None:
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((address, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
