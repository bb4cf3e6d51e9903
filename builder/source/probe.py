"""Asks hosts whether they answer, all at once, each as the tool would that fetches from it. Nothing is kept.

Passwords stay with those who know them: git has its helper, HTTP and uv their netrc, docker its own store. None of them
gives one to a host it is not for, and what is said about an answer holds no URL with one in it.
"""

from __future__ import annotations

import os
import queue
import re
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from builder.errors import DrivebuildError
from builder.source.lock import find_uv
from builder.source.network import Network
from builder.source.runs import Done, Runner
from builder.source.wishes import Answer, Question

if TYPE_CHECKING:
    import requests

__all__ = ["CONNECT", "DEADLINE", "ask_all"]

CONNECT = 5.0
"""Seconds to reach a host, or until it says its next word."""
PATIENCE = 9
"""Seconds that a tool may take in all."""
DEADLINE = 13.0
"""Seconds after which nobody is waited for any more: a name server that keeps silent has no limit of its own."""
_AT_ONCE = 64
MISSING = 127
"""What `timeout` exits with when there is no such program."""

_SAID = (
    (r"Could not resolve|Name or service not known|[Nn]ame resolution|no such host|dns error|Resolv", "no such name"),
    (r"certificate|x509|CERTIFICATE_VERIFY|SSL: ", "its certificate is not trusted"),
    (r"[Cc]onnection refused", "refuses connections"),
    (r"[Nn]etwork is unreachable|No route to host", "cannot be reached"),
    (r"timed out|[Tt]imeout|i/o timeout", "no answer"),
    (r"\b(?:401|403|407)\b|Authentication failed|could not read Username|unauthorized|denied", "wants a sign-in"),
    (r"\b404\b|[Nn]ot found|not found|no versions|was not found|does not exist|manifest unknown", "does not have it"),
    (r"\b429\b", "asks for patience"),
    (r"\b50[0-9]\b", "is out of order"),
)


@dataclass(frozen=True, slots=True)
class _Asker:
    network: Network
    runner: Runner

    def ask(self, question: Question) -> Answer:
        """Return the answer to one question, with the time it took."""
        begin = time.monotonic()
        try:
            good, text = self._said(question)
        except DrivebuildError as error:
            good, text = False, error.message
        except (OSError, ValueError) as error:
            # A redirect to what is no address, a file that may not be looked at.
            good, text = False, _plain(str(error)) or type(error).__name__
        return Answer(good=good, text=text, ms=round((time.monotonic() - begin) * 1000))

    def _said(self, question: Question) -> tuple[bool | None, str]:
        if not question.address:
            if question.kind == "packages":
                return None, "not asked: only the image knows its mirrors"
            return False, "no mirror has it, and upstream is off"
        match question.kind:
            case "git":
                return self._git(question.address)
            case "index":
                return self._index(question)
            case "registry":
                return self._registry(question.address)
            case "packages" if "://" not in question.address:
                return self._default_packages(question.address)
            case "packages":
                return self._http(question)
            case "file" | "weights":
                path = _local_path(question.address)
                return _on_disk(path) if path else self._http(question)

    def _git(self, url: str) -> tuple[bool, str]:
        path = _local_path(url)
        if path:
            # With and without `.git` it is one place.
            spellings = (path, path.with_name(path.name.removesuffix(".git")), path.with_name(f"{path.name}.git"))
            path = next((spelling for spelling in spellings if spelling.is_dir()), None)
            if path is None:
                return False, "does not have it"
            url = path.as_uri()
        ssh = f"ssh -oBatchMode=yes -oConnectTimeout={CONNECT:.0f}"
        more = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", ssh)}
        if self.network.ca_bundle:
            more["GIT_SSL_CAINFO"] = str(self.network.ca_bundle)
        # A bare --heads would list thousands of branches; HEAD is one line.
        return self._tool(("git", "-c", "credential.interactive=false", "ls-remote", "--exit-code", url, "HEAD"), more)

    def _index(self, question: Question) -> tuple[bool, str]:
        words = ("pip", "compile", "-", "--no-deps", "--no-cache", "--no-config", "--no-header", "--quiet")
        more = {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": f"{CONNECT:.0f}", "UV_NO_PROGRESS": "1"}
        if self.network.index:
            more["UV_DEFAULT_INDEX"] = self.network.index
        # Without a word uv runs the Python of a .venv in the folder one stands in, whosever that is.
        own = ("--python", sys.executable, "--no-python-downloads")
        argv = (find_uv(), *words, *own, "--python-version", question.python)
        return self._tool(argv, more, stdin=f"{question.address}\n".encode())

    def _registry(self, image: str) -> tuple[bool, str]:
        return self._tool(("docker", "buildx", "imagetools", "inspect", "--raw", image), {})

    def _default_packages(self, suite: str) -> tuple[bool | None, str]:
        """Ask the mirror that mmdebstrap takes by itself: it writes its list, and is stopped before it fetches any."""
        hook = '--setup-hook=cat "$1"/etc/apt/sources.list >&2; false'
        said = self._run(("mmdebstrap", "--variant=custom", "--format=null", hook, suite, "/dev/null"), {})
        if said.code == MISSING:
            return None, "not asked: mmdebstrap, which knows the mirror, is not installed"
        match = re.search(r"^deb (?:\[[^\]]*\] )?(\S+) (\S+) ", said.stderr.decode("utf-8", "replace"), re.MULTILINE)
        if not match:
            return False, _short(said)
        address = f"{match[1].rstrip('/')}/dists/{match[2]}/InRelease"
        good, text = self._http(Question(kind="packages", host="", address=address))
        return good, f"{urlsplit(address).hostname}: {text}"

    def _tool(self, argv: tuple[str, ...], more: Mapping[str, str], *, stdin: bytes = b"") -> tuple[bool, str]:
        said = self._run(argv, more, stdin=stdin)
        if said.code == 0:
            return True, "answers"
        if said.code == MISSING:
            return False, f"not asked: {Path(argv[0]).name} is not installed"
        return False, "no answer" if said.code in (124, 137) else _short(said)

    def _run(self, argv: tuple[str, ...], more: Mapping[str, str], *, stdin: bytes = b"") -> Done:
        # Not every tool has a time limit of its own, and none limits name servers.
        limited = ("timeout", "--kill-after=1", str(PATIENCE), *argv)
        certificates = {"SSL_CERT_FILE": str(self.network.ca_bundle)} if self.network.ca_bundle else {}
        return self.runner.run(
            limited, stdin=stdin, env={**self.network.proxies, **certificates, **more, "LC_ALL": "C"}
        )

    def _http(self, question: Question) -> tuple[bool, str]:
        import requests

        headers = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
        if question.referer:
            headers["Referer"] = question.referer
        # Of what needs a licence accepted not one byte is fetched.
        method = "HEAD" if question.eula else "GET"
        try:
            with (
                requests.Session() as session,
                session.request(
                    method,
                    question.address,
                    headers=headers,
                    timeout=CONNECT,
                    stream=True,
                    allow_redirects=True,
                    proxies=_proxies(question.address, self.network),
                    verify=str(self.network.ca_bundle) if self.network.ca_bundle else True,
                ) as reply,
            ):
                return _judged(reply, question)
        except requests.RequestException as error:
            return False, _plain(str(error)) or "no answer"


def ask_all(questions: Iterable[Question], network: Network, runner: Runner) -> dict[Question, Answer]:
    """Ask everything at once and return every answer; who is silent until the deadline has given none."""
    todo: queue.SimpleQueue[Question] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Question, Answer]] = queue.SimpleQueue()
    asker = _Asker(network, runner)
    wanted = dict.fromkeys(questions)
    for question in wanted:
        todo.put(question)

    def work() -> None:
        while True:
            try:
                question = todo.get_nowait()
            except queue.Empty:
                return
            done.put((question, asker.ask(question)))

    for _ in range(min(len(wanted), _AT_ONCE)):
        # Daemons: one that hangs in a name server must not keep the command from ending.
        threading.Thread(target=work, daemon=True).start()
    return _collected(wanted, done)


def _collected(wanted: Iterable[Question], done: queue.SimpleQueue[tuple[Question, Answer]]) -> dict[Question, Answer]:
    end = time.monotonic() + DEADLINE
    silent = Answer(good=False, text="no answer", ms=round(DEADLINE * 1000))
    found = dict.fromkeys(wanted, silent)
    for _ in found:
        try:
            question, answer = done.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        found[question] = answer
    return found


def _judged(reply: requests.Response, question: Question) -> tuple[bool, str]:
    # Some servers refuse to say only whether they have a file; refusing so, they are there.
    if reply.status_code >= 400 and not (question.eula and reply.status_code == 405):
        return False, f"{_plain(str(reply.status_code)) or 'an error'} ({reply.status_code})"
    if question.kind != "packages" and reply.headers.get("Content-Type", "").startswith("text/html"):
        # A portal's login page comes with 200.
        return False, f"a web page instead of the file, from {urlsplit(reply.url).hostname}"
    return True, "answers"


def _proxies(url: str, network: Network) -> dict[str, str]:
    """Return the proxies for a URL; empty texts keep requests from taking the environment's all the same."""
    from requests.utils import should_bypass_proxies

    direct = should_bypass_proxies(url, network.proxies.get("no_proxy"))
    return {name: "" if direct else network.proxies.get(f"{name}_proxy", "") for name in ("http", "https")}


def _local_path(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _on_disk(path: Path) -> tuple[bool, str]:
    return (True, "is there") if path.is_file() else (False, "does not have it")


def _short(said: Done) -> str:
    lines = [line.strip() for line in said.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return _plain(" ".join(lines)) or (lines[-1][:100] if lines else f"exit code {said.code}")


def _plain(text: str) -> str:
    """Return what a tool's complaint means, in words of one line; '' where it is not known."""
    bare = re.sub(r"\w+://\S+|url: \S+", "", text)
    return next((words for pattern, words in _SAID if re.search(pattern, bare)), "")
