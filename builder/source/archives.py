"""What source archives without a wheel need: fetched without running them, asked where there is nothing to be had.

A build backend is asked as PEP 517 has it: first what it needs itself, which comes as wheels, and then for METADATA.
All it says is text of a stranger, and is checked before uv is told of it.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from builder.errors import DrivebuildError, SourceError
from builder.plan.locks import MACHINES
from builder.source.download import Download, download
from builder.source.index import Ask, IndexFile, archive_of
from builder.source.lock import find_uv
from builder.source.network import Network
from builder.source.store import Store
from builder.source.unbuilt import Stated
from builder.source.web import Web

__all__ = ["Archives", "Box"]

Box = Callable[[Path, Path | None, Sequence[str]], Mapping[str, Any]]
"""Asks an archive, given a folder of what its backend needs and the requirements that it was made of;
builder/engine/metadata.py has it."""
LARGEST = 512 << 20
"""Bytes of an archive: it goes through memory."""
ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
ROUNDS = 4
"""Questions to one archive: what it needs, what it then needs besides, METADATA; one to spare."""


class Archives:
    """Source archives that were asked, by name and version. Threads share it."""

    def __init__(
        self, *, ask: Ask, box: Box, network: Network, newest: tuple[str, ...] = (), say: Callable[[str], None]
    ) -> None:
        """Keep what asks.

        Args:
            ask: runs uv.
            box: asks an archive; called at the first need.
            newest: uv's words that bound how young a build's requirements may be.
            say: is told of each archive, once.
        """
        self._ask, self._box, self._newest, self._say = ask, box, newest, say
        # Where the index says that a file is, it may be asked for.
        self._network = replace(network, upstream=True)
        self._found: dict[tuple[str, str], Stated] = {}
        self._stopped: dict[tuple[str, str], dict[tuple[str, str], Stated]] = {}
        self._lock = threading.Lock()

    def stated(self, name: str, version: str, python: str, architecture: str) -> Stated:
        """Return what an archive says that it needs.

        Raises:
            SourceError: when it cannot be had, asked or understood.
        """
        key = canonicalize_name(name), version
        with self._lock:
            if key not in self._found:
                try:
                    self._found[key] = self._asked(name, version, python, architecture)
                except DrivebuildError as error:
                    why = f"{name} {version} has no wheel for Python {python} on {architecture}, and its source archive"
                    why += f" does not say what it needs unless a program of it runs: {error.message}"
                    hint = f"{error.hint}; or pin a version that has a wheel" if error.hint else ""
                    raise SourceError(why, hint=hint or "pin a version that has a wheel") from error
            there = self._stopped.setdefault((python, architecture), {})
            there[name, version] = replace(self._found[key], name=name)
            return there[name, version]

    def known(self, python: str, architecture: str) -> tuple[Stated, ...]:
        """Return what was asked for that Python and architecture: there none of it has a wheel."""
        with self._lock:
            return tuple(self._stopped.get((python, architecture), {}).values())

    def _asked(self, name: str, version: str, python: str, architecture: str) -> Stated:
        with TemporaryDirectory(prefix="drivebuild-archive-") as folder:
            base = Path(folder)
            file = archive_of(name, version, python=python, architecture=architecture, ask=self._ask)
            self._say(f"asking {file.name} in a container what it needs ...")
            archive = self._fetched(file, base)
            granted: list[str] = []
            library: Path | None = None
            for number in range(ROUNDS):
                answer = self._box(archive, library, granted)
                if "metadata" in answer:
                    return _stated(str(answer["metadata"]), name, version)
                granted = _texts(answer.get("requires"), "build requirements")
                library = base / f"library-{number}"
                self._install(granted, library, answer)
        raise SourceError("it asks for other build requirements each time")

    def _fetched(self, file: IndexFile, base: Path) -> Path:
        ending = next((ending for ending in ENDINGS if file.name.endswith(ending)), "")
        if not ending:
            raise SourceError(f"{file.name} is no archive of a known kind")
        wanted = Download(key=f"sdist:{file.sha256}", url=file.url, sha256=file.sha256, file=file.name)
        store = Store.make(base / "store")
        entry = download(wanted, store, self._network, web=Web(self._network))
        if entry.size > LARGEST:
            raise SourceError(f"{file.name} has {entry.size} bytes; {LARGEST} are the most")
        place = base / f"archive{ending}"
        place.hardlink_to(store.object(entry))
        return place

    def _install(self, wanted: Sequence[str], library: Path, there: Mapping[str, Any]) -> None:
        """Put what a backend needs into a folder: wheels alone, and nothing of them runs."""
        lines = [str(_requirement(text)) for text in wanted]
        file = library.with_suffix(".in")
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        library.mkdir()
        if not lines:
            return
        command = (
            find_uv(), "pip", "install", "--target", str(library), "--requirements", str(file),
            "--no-build", "--no-config", "--no-progress", "--quiet", "--link-mode", "copy",
            "--python", sys.executable, "--no-python-downloads", *self._newest,
        )  # fmt: skip
        python, machine = str(there.get("python")), str(there.get("machine"))
        if not re.fullmatch(r"3\.[0-9]{1,3}", python) or machine not in MACHINES:
            raise SourceError("the container does not say which Python it has")
        done = self._ask((*command, "--python-version", python, "--python-platform", f"{machine}-manylinux_2_28"))
        if done.code != 0:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise SourceError(f"what it is built with does not come as wheels: {', '.join(lines)}\n{said}")


def _stated(metadata: str, name: str, version: str) -> Stated:
    raw, _ = parse_email(metadata)
    try:
        own = str(raw.get("name", "")), Version(str(raw.get("version", "")))
        if canonicalize_name(own[0]) != canonicalize_name(name) or own[1] != Version(version):
            raise SourceError(f"it says to be {json.dumps(own[0])} {own[1]}")
        python = str(SpecifierSet(raw.get("requires_python", "")))
    except (InvalidVersion, InvalidSpecifier) as error:
        raise SourceError(f"its metadata is wrong: {error}") from error
    return Stated(
        name=name,
        version=version,
        requires=tuple(str(_requirement(text)) for text in raw.get("requires_dist", [])),
        extras=tuple(canonicalize_name(text) for text in raw.get("provides_extra", [])),
        python=python,
    )


def _texts(found: object, what: str) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise SourceError(f"its {what} are no list of texts")
    return list(dict.fromkeys(found))


def _requirement(text: str) -> Requirement:
    """Return a requirement of a package of the index: no address, no file of this machine, no option of uv's."""
    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        raise SourceError(f"its metadata is wrong: {json.dumps(text)}: {error}") from error
    if found.url:
        raise SourceError(f"it asks for {json.dumps(found.name)} by an address, which is not taken: {found.url}")
    return found
