"""Asks a source archive what it needs, in a container that has neither a network nor anything of this machine."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from builder.engine.process import CommandMissingError, Runner
from builder.errors import BuildError

__all__ = ["LABEL", "ask_archive", "box_command"]

LABEL = "drivebuild.metadata"
MARK = "drivebuild-metadata "
MOST_SAID = 8 << 20
"""Bytes of output that are read; METADATA has a README in it."""
PATIENCE = 300
"""Seconds for one archive: setuptools takes one or two."""
NOBODY = "65534:65534"
# docker gives containers the proxies of its own settings, with their passwords.
PROXIES = tuple(f"{kind}_proxy" for kind in ("http", "https", "ftp", "no", "all"))
BOOT = (
    "import os, sys, tarfile; os.chdir('/tmp'); tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall(); "
    "os.execv(sys.executable, [sys.executable, '-B', 'ask.py', *sys.argv[1:]])"
)


class _TooMuch(Exception):
    """More output than is read."""


def box_command(image: str, name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a tar's `ask.py` in a container: the tar comes on standard input."""
    words = ["docker", "run", "--rm", "--interactive", "--pull", "never", "--name", name, "--label", LABEL]
    words += ["--network", "none", "--read-only", "--tmpfs", "/tmp:rw,exec,nosuid,nodev,size=1g,mode=1777"]
    words += ["--user", NOBODY, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    words += ["--memory", "2g", "--memory-swap", "2g", "--pids-limit", "256"]
    for proxy in PROXIES:
        words += ["--env", f"{proxy}=", "--env", f"{proxy.upper()}="]
    # Its first process: nothing in the container can end it before its time.
    words += ["--entrypoint", "timeout", image, "--kill-after=5", str(PATIENCE), "python3", "-I", "-B", "-c", BOOT]
    return (*words, *arguments)


def ask_archive(
    image: str, archive: Path, library: Path | None, granted: Sequence[str], runner: Runner
) -> Mapping[str, Any]:
    """Return what an archive answers: `requires` (what its backend needs first, and `python`), or `metadata`.

    All of it is the archive's own word.

    Args:
        image: has python3 of 3.11 or newer.
        library: a folder with what the backend needs, made of `granted`; none at first.

    Raises:
        BuildError: when it gives no answer.
    """
    name = f"drivebuild-metadata-{uuid.uuid4().hex[:12]}"
    asked = json.dumps(list(granted)) if library else "null"
    said = bytearray()

    def hear(piece: bytes) -> None:
        said.extend(piece)
        if len(said) > MOST_SAID:
            raise _TooMuch

    try:
        command = box_command(image, name, f"/tmp/{archive.name}", "/tmp/library", asked)
        code = runner.stream(command, hear, stdin=_packed(archive, library))
    except CommandMissingError as error:
        raise BuildError(error.message, hint="install docker") from error
    except _TooMuch:
        raise BuildError(f"it prints more than {MOST_SAID >> 20} MiB") from None
    except BrokenPipeError:
        raise BuildError("`docker run` ended before it had read the archive") from None
    finally:
        # After an interrupt it would go on until its time is over.
        runner.run(("docker", "rm", "--force", name))
    return _answer(said.decode("utf-8", "replace"), code)


def _answer(said: str, code: int) -> Mapping[str, Any]:
    lines = said.splitlines()
    marked = [line for line in lines if line.startswith(MARK)]
    try:
        answer = json.loads(marked[-1].removeprefix(MARK)) if marked else {}
    except (ValueError, RecursionError):
        answer = {}
    if isinstance(answer, dict) and ("requires" in answer or "metadata" in answer):
        return answer
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        lines = answer["error"].splitlines()
    why = f"it took longer than {PATIENCE} s" if code in (124, 137) else f"exit code {code}"
    tail = "\n".join(f"  | {line}" for line in lines[-15:])
    raise BuildError(f"it gives no answer ({why})" + (f"\n{tail}" if tail else ""))


def _packed(archive: Path, library: Path | None) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        script = (files("builder.engine") / "inside/metadata.py").read_bytes()
        member = tarfile.TarInfo("ask.py")
        member.size = len(script)
        tar.addfile(member, io.BytesIO(script))
        tar.add(archive, archive.name, filter=_plain)
        if library:
            tar.add(library, "library", filter=_plain)
    return held.getvalue()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out whose a file is here, and when it was made."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member
