"""A git server on loopback that wants a password, by git's own http-backend; it notes the options of every push."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.repos import ALONE

__all__ = ["GitServer", "serve_git"]

_HOOK = """#!/bin/sh
for number in $(seq 0 $((${GIT_PUSH_OPTION_COUNT:-0} - 1))); do
    eval "printf '%s\\\\n' \\"\\$GIT_PUSH_OPTION_$number\\"" >> push-options
done
echo "--" >> push-options
cat answer 2> /dev/null || true
"""


class _Handler(BaseHTTPRequestHandler):
    server: GitServer

    def do_GET(self) -> None:
        expected = base64.b64encode(f"{self.server.user}:{self.server.password}".encode()).decode()
        given = self.headers.get("Authorization", "")
        if given != f"Basic {expected}":
            self.server.refused.append(given)
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            **ALONE,
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": self.server.user,
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        environment["CONTENT_LENGTH"] = str(len(body))
        done = subprocess.run(("git", "http-backend"), input=body, env=environment, capture_output=True, check=False)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((value for name, value in fields if name == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class GitServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path, user: str, password: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.user, self.password = root, user, password
        self.refused: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def project(self, name: str, source: Path) -> Path:
        """Make a bare repository of another one's commits, that takes pushes with options."""
        folder = self.root / f"{name}.git"
        for words in (
            ("clone", "--quiet", "--bare", str(source), str(folder)),
            ("-C", str(folder), "config", "receive.advertisePushOptions", "true"),
            ("-C", str(folder), "config", "http.receivepack", "true"),
        ):
            subprocess.run(("git", *words), env={**os.environ, **ALONE}, check=True)
        hook = folder / "hooks/post-receive"
        hook.write_text(_HOOK)
        hook.chmod(0o755)
        return folder


@contextmanager
def serve_git(root: Path, *, user: str, password: str) -> Iterator[GitServer]:
    server = GitServer(root, user, password)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
