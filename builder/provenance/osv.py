"""An export of the OSV database: files, no network. The form is https://ossf.github.io/osv-schema/."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from builder.errors import SourceError

__all__ = ["Advisory", "Affected", "Database", "Named", "Range", "Severity", "family", "plain_name", "read_database"]

LARGEST = 32 << 20
"""Bytes of one entry that are read; the largest there is has one million."""


class Named(msgspec.Struct, frozen=True):
    """A package, as an ecosystem names it: `PyPI`, `Debian:12`."""

    ecosystem: str = ""
    name: str = ""


class Range(msgspec.Struct, frozen=True):
    """Events of versions, each `introduced`, `fixed`, `last_affected` or `limit`."""

    type: str = ""
    events: tuple[Mapping[str, str], ...] = ()


class Severity(msgspec.Struct, frozen=True):
    """A vector, and the kind of it."""

    type: str = ""
    score: str = ""


class Affected(msgspec.Struct, frozen=True):
    """A package with the versions that are concerned."""

    package: Named | None = None
    ranges: tuple[Range, ...] | None = ()
    versions: tuple[str, ...] | None = ()
    severity: tuple[Severity, ...] | None = ()
    ecosystem_specific: Any = None
    database_specific: Any = None


class Advisory(msgspec.Struct, frozen=True):
    """One entry of the database, as far as it is asked for here."""

    id: str
    modified: str = ""
    withdrawn: str | None = None
    aliases: tuple[str, ...] | None = ()
    upstream: tuple[str, ...] | None = ()
    summary: str | None = ""
    affected: tuple[Affected, ...] | None = ()
    severity: tuple[Severity, ...] | None = ()
    database_specific: Any = None


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """Entries that name a package of an image."""

    advisories: tuple[Advisory, ...]
    entries: int
    """All that were read."""
    newest: str
    """When the newest of all entries was changed: how old the export is."""
    bad: tuple[str, ...]
    """Files that are no entries."""
    ecosystems: tuple[str, ...]


def read_database(path: Path, names: Iterable[tuple[str, str]]) -> Database:
    """Return the entries of an export that name one of the packages.

    Args:
        path: a zip archive, a folder or one file, of JSON files with one entry each.
        names: ecosystem without its release, and name, of the packages that matter.

    Raises:
        SourceError: there is nothing there, it cannot be read, or nothing in it is an entry.
    """
    wanted = frozenset(names)
    decoder = msgspec.json.Decoder(Advisory)
    kept: list[Advisory] = []
    bad: list[str] = []
    ecosystems: set[str] = set()
    newest, count = "", 0
    for name, data in _files(path):
        try:
            advisory = decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            bad.append(name)
            continue
        count += 1
        newest = max(newest, advisory.modified)
        named = [each.package for each in advisory.affected or () if each.package]
        found = {(family(each.ecosystem), plain_name(each)) for each in named}
        ecosystems |= {ecosystem for ecosystem, _name in found}
        if not advisory.withdrawn and not wanted.isdisjoint(found):
            kept.append(advisory)
    if not count:
        said = f"; {bad[0]} is none" if bad else ""
        raise SourceError(
            f"{path}: no entry of an OSV database{said}",
            hint="an export is a zip archive or a folder of JSON files, one for each ecosystem",
        )
    return Database(
        advisories=tuple(kept),
        entries=count,
        newest=newest,
        bad=tuple(sorted(bad)),
        ecosystems=tuple(sorted(ecosystems)),
    )


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        if path.is_dir():
            # Several ecosystems are several archives in one folder.
            for each in sorted(path.rglob("*")):
                if each.suffix == ".zip" and each.is_file():
                    yield from _zipped(each)
                elif each.suffix == ".json" and each.is_file():
                    yield str(each.relative_to(path)), _read(each)
        elif zipfile.is_zipfile(path):
            yield from _zipped(path)
        else:
            yield path.name, _read(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error


def _zipped(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            if not item.filename.endswith(".json"):
                continue
            with archive.open(item) as file:
                # Not by what the archive says of its size: it may say anything.
                data = file.read(LARGEST + 1)
            yield item.filename, data if len(data) <= LARGEST else b""


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    return data if len(data) <= LARGEST else b""


def family(ecosystem: str) -> str:
    """Return an ecosystem without its release."""
    return ecosystem.partition(":")[0]


def plain_name(named: Named) -> str:
    """Return a package's name as its ecosystem compares it."""
    if named.ecosystem != "PyPI":
        return named.name
    from packaging.utils import canonicalize_name

    return canonicalize_name(named.name)
