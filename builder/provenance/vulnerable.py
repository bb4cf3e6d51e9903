"""Known vulnerabilities of an image's packages, by the entries of an OSV database. Pure.

Whether a version is concerned is decided as its section "evaluation"
says: a version is affected that is listed, or that lies in a range of its ecosystem's own order. PyPI's order is that
of the library `packaging`, Debian's that of dpkg, through `debian-inspector`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from builder.provenance.inventory import Inventory, Package
from builder.provenance.osv import Advisory, Affected, Database, Range, Severity, family, plain_name

__all__ = ["SEVERITIES", "Finding", "find_vulnerable", "packages_by_name"]

SEVERITIES = ("critical", "high", "medium", "low")
_LIMITS = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))
_WORDS = {"moderate": "medium", "important": "high", "urgent": "critical", "unimportant": "low"}


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
            for package in there.get((family(named.ecosystem), plain_name(named)), ()) if named else ():
                if named and _same_release(named.ecosystem, package) and _concerned(affected, package):
                    finding = _finding(advisory, affected, package)
                    found.setdefault((finding.id, finding.key), finding)
    return tuple(sorted(found.values(), key=lambda each: (-(each.score or 0), _rank(each), each.id, each.key)))


def _rank(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity) if finding.severity else len(SEVERITIES)


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


def _concerned(affected: Affected, package: Package) -> bool:
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


def _in_range(own: Any, one: Range, order: Order) -> bool:
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


def _finding(advisory: Advisory, affected: Affected, package: Package) -> Finding:
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


def _score(severities: Iterable[Severity]) -> tuple[str, float | None]:
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


def _fixed(affected: Affected, package: Package) -> tuple[str, ...]:
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
