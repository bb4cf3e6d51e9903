"""Known vulnerabilities of an image's packages, from an export of the OSV database: files, no network.

The form is https://ossf.github.io/osv-schema/. Whether a version is concerned is decided as its section "evaluation"
says: a version is affected that is listed, or that lies in a range of its ecosystem's own order. PyPI's order is that
of the library `packaging`, Debian's that of dpkg, through `debian-inspector`.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from builder.errors import SourceError
from builder.provenance.inventory import Inventory, Package

__all__ = ["SEVERITIES", "Database", "Finding", "find_vulnerable", "packages_by_name", "read_database"]

SEVERITIES = ("critical", "high", "medium", "low")
LARGEST = 32 << 20
"""Bytes of one entry that are read; the largest there is has one million."""
BAD_SHOWN = 3
_LIMITS = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))
_WORDS = {"moderate": "medium", "important": "high", "urgent": "critical", "unimportant": "low"}


class _Named(msgspec.Struct, frozen=True):
    ecosystem: str = ""
    name: str = ""


class _Range(msgspec.Struct, frozen=True):
    type: str = ""
    events: tuple[Mapping[str, str], ...] = ()


class _Severity(msgspec.Struct, frozen=True):
    type: str = ""
    score: str = ""


class _Affected(msgspec.Struct, frozen=True):
    package: _Named | None = None
    ranges: tuple[_Range, ...] | None = ()
    versions: tuple[str, ...] | None = ()
    severity: tuple[_Severity, ...] | None = ()
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
    affected: tuple[_Affected, ...] | None = ()
    severity: tuple[_Severity, ...] | None = ()
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


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A package that an entry says is vulnerable."""

    id: str
    aliases: tuple[str, ...]
    key: str
    """Of the package in the inventory."""
    kind: str
    name: str
    version: str
    severity: str
    """One of SEVERITIES, or '' where the entry has none."""
    score: float | None
    vector: str
    fixed: tuple[str, ...]
    """Versions in which it is mended, those above the installed one."""
    summary: str
    modified: str


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
        found = {(_family(each.ecosystem), _plain(each)) for each in named}
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


def _family(ecosystem: str) -> str:
    return ecosystem.partition(":")[0]


def packages_by_name(inventory: Inventory) -> dict[tuple[str, str], list[Package]]:
    """Return the packages that the database may know, by ecosystem and name; a deb is known by its source package."""
    found: dict[tuple[str, str], list[Package]] = {}
    for package in inventory.packages:
        if package.kind == "deb":
            family = "Ubuntu" if package.distribution.startswith("ubuntu") else "Debian"
            found.setdefault((family, package.source), []).append(package)
        elif package.kind in ("python", "wheel"):
            found.setdefault(("PyPI", package.name), []).append(package)
    return found


def find_vulnerable(inventory: Inventory, database: Database) -> tuple[Finding, ...]:
    """Return which packages are vulnerable, the worst first."""
    there = packages_by_name(inventory)
    found: dict[tuple[str, str], Finding] = {}
    for advisory in database.advisories:
        for affected in advisory.affected or ():
            named = affected.package
            for package in there.get((_family(named.ecosystem), _plain(named)), ()) if named else ():
                if named and _same_release(named.ecosystem, package) and _concerned(affected, package):
                    finding = _finding(advisory, affected, package)
                    found.setdefault((finding.id, finding.key), finding)
    return tuple(sorted(found.values(), key=lambda each: (-(each.score or 0), _rank(each), each.id, each.key)))


def _rank(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity) if finding.severity else len(SEVERITIES)


def _plain(named: _Named) -> str:
    if named.ecosystem != "PyPI":
        return named.name
    from packaging.utils import canonicalize_name

    return canonicalize_name(named.name)


def _same_release(ecosystem: str, package: Package) -> bool:
    """Return whether an entry is of the package's release; one without a release is of all."""
    _, colon, release = ecosystem.partition(":")
    if not colon or package.kind != "deb":
        return True
    # Ubuntu's have more words, such as `22.04:LTS`.
    return release.split(":")[0] == package.distribution.partition("-")[2]


Order = Callable[[str], Any]


def _order(package: Package) -> tuple[str, Order]:
    """Return a package's version as its ecosystem compares it, and what makes another one comparable."""
    if package.kind == "deb":
        from debian_inspector.version import Version

        return package.source_version, Version.from_string
    from packaging.version import Version as PythonVersion

    return package.version, PythonVersion


def _concerned(affected: _Affected, package: Package) -> bool:
    version, order = _order(package)
    if version in (affected.versions or ()):
        return True
    try:
        own = order(version)
    except (ValueError, TypeError, AttributeError):
        return False
    if package.kind != "deb" and any(_equal(own, each, order) for each in affected.versions or ()):
        return True
    return any(_in_range(own, each, order) for each in affected.ranges or () if each.type != "GIT")


def _equal(own: Any, text: str, order: Order) -> bool:
    try:
        return bool(order(text) == own)
    except (ValueError, TypeError, AttributeError):
        return False


def _in_range(own: Any, one: _Range, order: Order) -> bool:
    """Return whether a version lies in a range: the last event at or below it decides, as OSV's evaluation does."""
    events = []
    for event in one.events:
        for kind, text in event.items():
            try:
                place = None if text == "0" and kind == "introduced" else order(text)
            except (ValueError, TypeError, AttributeError):
                continue
            events.append((kind, place))
    if any(kind == "limit" and place is not None and own >= place for kind, place in events):
        return False
    inside = False
    for kind, place in sorted(events, key=lambda event: (event[1] is not None, _Key(event[1]))):
        if kind == "introduced" and (place is None or own >= place):
            inside = True
        elif (kind == "fixed" and own >= place) or (kind == "last_affected" and own > place):
            inside = False
    return inside


class _Key:
    """Orders versions of one kind; there is at most one `None` before them."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __lt__(self, other: _Key) -> bool:
        return self._value is not None and other._value is not None and bool(self._value < other._value)


def _finding(advisory: Advisory, affected: _Affected, package: Package) -> Finding:
    vector, score = _score((*(affected.severity or ()), *(advisory.severity or ())))
    word = _word(affected.ecosystem_specific) or _word(affected.database_specific) or _word(advisory.database_specific)
    by_score = next((name for least, name in _LIMITS if score is not None and score >= least), "")
    return Finding(
        id=advisory.id,
        aliases=tuple(sorted({*(advisory.aliases or ()), *(advisory.upstream or ())})),
        key=package.key,
        kind=package.kind,
        name=package.name,
        version=package.version,
        severity=by_score or word,
        score=score,
        vector=vector,
        fixed=_fixed(affected, package),
        summary=" ".join((advisory.summary or "").split())[:300],
        modified=advisory.modified,
    )


def _word(specific: Any) -> str:
    if not isinstance(specific, dict):
        return ""
    said = specific.get("severity") or specific.get("urgency")
    word = said.lower().strip(" *") if isinstance(said, str) else ""
    word = _WORDS.get(word, word)
    return word if word in SEVERITIES else ""


def _score(severities: Iterable[_Severity]) -> tuple[str, float | None]:
    """Return the newest vector that can be read, with its base score."""
    from cvss import CVSS2, CVSS3, CVSS4
    from cvss.exceptions import CVSSError

    kinds = {"CVSS_V4": CVSS4, "CVSS_V3": CVSS3, "CVSS_V2": CVSS2}
    for each in sorted(severities, key=lambda item: item.type, reverse=True):
        kind = kinds.get(each.type)
        if kind is None or len(each.score) > 500:
            continue
        try:
            return each.score, float(kind(each.score).scores()[0])
        except (CVSSError, ValueError, KeyError, IndexError, TypeError):
            continue
    return "", None


def _fixed(affected: _Affected, package: Package) -> tuple[str, ...]:
    version, order = _order(package)
    found = {}
    for one in affected.ranges or ():
        for event in one.events if one.type != "GIT" else ():
            text = event.get("fixed", "")
            try:
                if text and order(text) > order(version):
                    found[re.sub(r"\s+", " ", text)] = order(text)
            except (ValueError, TypeError, AttributeError):
                continue
    return tuple(sorted(found, key=found.__getitem__))
