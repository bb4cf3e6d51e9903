"""uv, kept from running what a source archive brings: it asks indexes and solves, and no setup.py runs here.

uv's own `--no-build` does more than that: it takes archives for files that are not there, so that another, older
version would be locked without a word, and metadata that it is told of does not change that. Here uv builds in an
environment whose Python ends at once. What has to be built is an error that names it, and its metadata comes from
elsewhere (builder/source/archives.py).
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import threading
import venv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from builder.errors import SourceError

__all__ = ["Stated", "check_holds", "held_words", "refused", "settings"]

Run = Callable[[tuple[str, ...]], tuple[int, str]]
ENDED = 97
# uv asks an interpreter what it is with -I, and runs build backends without.
LATCH = f"import os, sys; sys.flags.isolated or os._exit({ENDED})\n"
BACKEND = "open({marker!r}, 'w').close()\ndef build_wheel(*_, **__): raise SystemExit(1)\n"
PYPROJECT = "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
PKG_INFO = "Metadata-Version: 2.1\nName: drivebuild-probe\nVersion: 1\n"
_checked: set[str] = set()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a source archive says that it needs: requirements, names of extras, versions of Python."""

    name: str
    version: str
    requires: tuple[str, ...]
    extras: tuple[str, ...] = ()
    python: str = ""


def held_words(folder: Path) -> tuple[str, ...]:
    """Return what keeps `uv pip compile` from running an archive's programs; makes an environment in `folder`.

    No requirement of a build is installed there, so nothing of an archive's author can take the interpreter's place.
    """
    home = folder / "python"
    venv.EnvBuilder(symlinks=True).create(home)
    library = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    library.mkdir(parents=True, exist_ok=True)
    (library / "latch.pth").write_text(LATCH, encoding="utf-8")
    return ("--python", str(home / "bin/python"), "--no-build-isolation", "--color", "never")


def refused(output: str) -> tuple[str, str] | None:
    """Return name and version of what uv would have had to build, from its error; None for another error."""
    # Its lines are broken to a width.
    said = " ".join(output.split())
    found = re.search(r"Failed to build `([A-Za-z0-9._-]+)==([^`\s]+)`", said)
    return (found[1], found[2]) if found and re.search(rf"exit (?:status|code): {ENDED}\b", said) else None


def settings(stated: Iterable[Stated]) -> str:
    """Return uv's settings (uv.toml) that state the metadata of archives, so that it need not build them."""
    return "\n".join(line for item in stated for line in _entry(item))


def _entry(item: Stated) -> tuple[str, ...]:
    lines = ["[[dependency-metadata]]", f"name = {_text(item.name)}", f"version = {_text(item.version)}"]
    lines.append(f"requires-dist = [{', '.join(map(_text, item.requires))}]")
    lines.append(f"provides-extra = [{', '.join(map(_text, item.extras))}]")
    return (*lines, *([f"requires-python = {_text(item.python)}"] if item.python else []), "")


def _text(text: str) -> str:
    # As TOML has it, too: of what JSON leaves as it is, TOML wants one character spelled out.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def check_holds(uv: str, run: Run) -> None:
    """Try once whether this uv is kept from it, with a harmless archive; how it goes about building is its own affair.

    Raises:
        SourceError: when it is not, or when its error cannot be read.
    """
    with _lock:
        if uv in _checked:
            return
        with TemporaryDirectory(prefix="drivebuild-lock-") as name:
            folder = Path(name)
            marker = folder / "ran"
            _probe(folder / "drivebuild_probe-1.tar.gz", str(marker))
            (folder / "requirements.in").write_text("drivebuild-probe==1\n", encoding="utf-8")
            command = (
                uv, "pip", "compile", str(folder / "requirements.in"), *held_words(folder),
                "--no-index", "--find-links", str(folder), "--no-cache", "--no-config", "--no-progress", "--quiet",
                "--no-python-downloads",
            )  # fmt: skip
            _, output = run(command)
            ran = marker.exists()
        hint = "take another release of uv: `pip install uv==0.13.8` is one that does"
        if ran:
            raise SourceError(f"{uv} cannot be kept from running programs of source archives", hint=hint)
        if refused(output) != ("drivebuild-probe", "1"):
            raise SourceError(f"{uv} does not say which source archive it may not build\n{output.strip()}", hint=hint)
        _checked.add(uv)


def _probe(path: Path, marker: str) -> None:
    texts = {"PKG-INFO": PKG_INFO, "pyproject.toml": PYPROJECT, "backend.py": BACKEND.format(marker=marker)}
    with tarfile.open(path, "w:gz") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo(f"drivebuild_probe-1/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
