"""An inventory as rows for a terminal and as data for programs. Pure; what prints it escapes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from builder.provenance.inventory import Inventory, Package, summary
from builder.provenance.osv import Database
from builder.provenance.terms import Notice
from builder.provenance.vulnerable import SEVERITIES, Finding

__all__ = [
    "class_lines",
    "cut",
    "finding_rows",
    "folder_rows",
    "headline",
    "licence_rows",
    "package_rows",
    "vulnerability_line",
]

WIDEST = 60
_KINDS = {
    "deb": "Debian packages",
    "rpm": "rpm packages",
    "python": "Python distributions",
    "wheel": "compiled wheels",
    "source": "sources",
    "interpreter": "interpreter",
    "library": "libraries without a package",
    "toolkit": "toolkit",
}


def cut(text: str, width: int = WIDEST) -> str:
    """Return text of at most so many letters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def headline(inventory: Inventory) -> str:
    """Return what is in the image, counted."""
    counted = summary(inventory.packages)
    parts = [f"{title}: {counted[kind]}" for kind, title in _KINDS.items() if counted[kind]]
    owned = sum(package.files for package in inventory.packages)
    return f"{', '.join(parts) or 'no package'}; files: {owned} with an owner, {len(inventory.unowned)} without"


def package_rows(packages: Sequence[Package]) -> Iterator[tuple[str, ...]]:
    """Yield kind, name, version, files, changed files, classes of the licence, licence."""
    for each in packages:
        changed = str(len(each.changed) or len(each.changes) or "")
        said = each.expression or "; ".join(each.licences) or "-"
        flags = ", ".join(each.classes)
        yield each.kind, each.name, cut(each.version, 40), str(each.files), changed, flags, cut(said)


def licence_rows(packages: Sequence[Package]) -> Iterator[tuple[str, ...]]:
    """Yield licence, class, number of packages, and their names, the most frequent first."""
    names: dict[tuple[str, str], list[str]] = {}
    for each in packages:
        said = each.expression or "; ".join(each.licences) or "nothing said"
        names.setdefault((said, ", ".join(each.classes)), []).append(each.name)
    for (said, classes), found in sorted(names.items(), key=lambda item: (-len(item[1]), item[0])):
        yield cut(said), classes, str(len(found)), cut(", ".join(sorted(set(found))))


def class_lines(packages: Sequence[Package], notices: Sequence[Notice]) -> Iterator[str]:
    """Yield what to know about the licences: how many of a class, and which, the distribution's own only counted."""
    for name in ("gpl", "agpl", "lgpl", "non-commercial", "proprietary", "unknown"):
        found = [package for package in packages if name in package.classes]
        own = sorted({package.name for package in found if package.kind not in ("deb", "rpm")})
        system = sum(package.kind in ("deb", "rpm") for package in found)
        parts = [", ".join(own)] if own else []
        parts += [f"{system} of the distribution's packages"] if system else []
        if found:
            yield f"{name}: {'; and '.join(parts)}"
    for notice in notices:
        yield f"data: {notice.package} reads {notice.dataset}, whose terms are {notice.terms}"


def folder_rows(inventory: Inventory) -> Iterator[tuple[str, ...]]:
    """Yield folder, files and bytes of what has no owner, the largest first."""
    files: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for path in inventory.unowned:
        folder = path.rpartition("/")[0] or "/"
        entry = inventory.snapshot.entries[path]
        files[folder] += 1
        size[folder] += 0 if entry.first else entry.size
    for folder in sorted(files, key=lambda each: (-size[each], each)):
        yield folder, str(files[folder]), str(size[folder])


def finding_rows(findings: Sequence[Finding]) -> Iterator[tuple[str, ...]]:
    """Yield severity, id, package, version, the versions that mend it, and what it is."""
    for each in findings:
        score = f"{each.severity or 'unknown'}{f' {each.score:.1f}' if each.score is not None else ''}"
        yield score, each.id, each.name, each.version, cut(", ".join(each.fixed) or "-", 30), cut(each.summary)


def vulnerability_line(findings: Sequence[Finding], database: Database) -> str:
    """Return how many there are, and how old the database is."""
    counted = Counter(each.severity or "unknown" for each in findings)
    parts = ", ".join(f"{counted[name]} {name}" for name in (*SEVERITIES, "unknown") if counted[name])
    ecosystems = ", ".join(database.ecosystems) or "no ecosystem"
    of = f"{database.entries} {'entry' if database.entries == 1 else 'entries'} of {ecosystems}"
    age = f"the newest of {database.newest[:10]}" if database.newest else "none with a date"
    known = f"{len(findings)} known {'vulnerability' if len(findings) == 1 else 'vulnerabilities'}"
    return f"{known}{f' ({parts})' if parts else ''}; database: {of}, {age}"
