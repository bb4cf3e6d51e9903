"""The packages of a Debian or Ubuntu system: dpkg's status, its lists of files, and the copyright files. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from builder.provenance.licences import expression_of
from builder.provenance.snapshot import Snapshot, resolve

__all__ = ["Deb", "copyright_licences", "read_packages"]

_SOURCE = re.compile(r"(\S+)(?:\s+\((\S+)\))?")
_DEPENDS = re.compile(r"\s*([a-z0-9][a-z0-9+.-]*)")
_KEPT = (
    *("list", "md5sums", "conffiles", "shlibs", "symbols", "triggers", "templates", "config"),
    *("preinst", "postinst", "prerm", "postrm"),
)
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z]+(?:-[0-9.]*[0-9])?)")
_SHORT = re.compile(r"^License:[ \t]*(\S[^\n]*)$", re.MULTILINE)


class Deb(msgspec.Struct, frozen=True, kw_only=True):
    """One installed package."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    maintainer: str
    depends: tuple[str, ...]
    """Alternatives of one dependency are all in it: which one holds is seen by what is installed."""
    licences: tuple[str, ...]
    """What its copyright file names; of one that is for people, which of the common licences it points to."""
    paths: tuple[str, ...]
    """Where its files are, links to folders followed (`/lib` is `/usr/lib`)."""
    sums: Mapping[str, str]
    """The md5 of each file as it was packed; files that are meant to be changed have none."""


def read_packages(snapshot: Snapshot) -> tuple[Deb, ...]:
    """Return what is installed, by name. A status file that is none is as good as empty."""
    from debian_inspector.debcon import get_paragraphs_data

    status = [snapshot.text("/var/lib/dpkg/status")]
    status += [snapshot.text(path) for path in sorted(snapshot.texts) if path.startswith("/var/lib/dpkg/status.d/")]
    folders: dict[str, str] = {}
    found = []
    for text in status:
        # What ends a line elsewhere ends none here.
        for fields in get_paragraphs_data(re.sub(r"[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", "?", text)):
            if fields.get("package") and "installed" in fields.get("status", "install ok installed").split():
                found.append(_package(fields, snapshot, folders))
    return tuple(sorted(found, key=lambda each: (each.name, each.architecture)))


def _package(fields: dict[str, str], snapshot: Snapshot, folders: dict[str, str]) -> Deb:
    name, version, architecture = (_one(fields.get(key, "")) for key in ("package", "version", "architecture"))
    match = _SOURCE.match(fields.get("source", "").strip())
    return Deb(
        name=name,
        version=version,
        architecture=architecture,
        source=match[1] if match else name,
        source_version=(match[2] if match else "") or version,
        maintainer=_one(fields.get("maintainer", "")),
        depends=tuple(_depends(f"{fields.get('pre-depends', '')},{fields.get('depends', '')}")),
        licences=_licences(snapshot, name),
        paths=tuple(_paths(snapshot, name, architecture, folders)),
        sums=dict(_sums(snapshot, name, architecture, folders)),
    )


def _one(text: str) -> str:
    return " ".join(text.split())


def _depends(text: str) -> Iterator[str]:
    for clause in text.split(","):
        for word in clause.split("|"):
            if (match := _DEPENDS.match(word)) is not None:
                yield match[1]


def _paths(snapshot: Snapshot, name: str, architecture: str, folders: dict[str, str]) -> Iterator[str]:
    for line in _info(snapshot, name, architecture, "list").split("\n"):
        path = _place(snapshot, line, folders)
        if path:
            yield path
    for stem in (name, f"{name}:{architecture}"):
        # What dpkg keeps of a package is the package's.
        yield from (f"/var/lib/dpkg/info/{stem}.{end}" for end in _KEPT if stem)


def _info(snapshot: Snapshot, name: str, architecture: str, kind: str) -> str:
    paths = (f"/var/lib/dpkg/info/{name}{end}.{kind}" for end in ("", f":{architecture}"))
    return next((snapshot.text(path) for path in paths if path in snapshot.texts), "")


def _place(snapshot: Snapshot, path: str, folders: dict[str, str]) -> str:
    """Return where a path of a list leads, '' for a line that is none."""
    folder, slash, base = path.rpartition("/")
    if not slash or not base or base == ".":
        return ""
    if folder not in folders:
        folders[folder] = resolve(snapshot.entries, folder).rstrip("/")
    return f"{folders[folder]}/{base}"


def _sums(snapshot: Snapshot, name: str, architecture: str, folders: dict[str, str]) -> Iterator[tuple[str, str]]:
    for line in _info(snapshot, name, architecture, "md5sums").split("\n"):
        digest, _, path = line.partition("  ")
        place = _place(snapshot, f"/{path}", folders) if path else ""
        if place:
            yield place, digest


def _licences(snapshot: Snapshot, name: str) -> tuple[str, ...]:
    path = resolve(snapshot.entries, f"/usr/share/doc/{name}/copyright")
    return copyright_licences(snapshot.text(path))


def copyright_licences(text: str) -> tuple[str, ...]:
    """Return the licences that a copyright file names, sorted.

    The machine-readable form has a short name for each group of files, and what it says holds for the sources: tests
    and documentation are in it. Of the other form only what it points to can be told.
    """
    if re.match(r"\s*Format(?:-Specification)?:", text):
        names = {_one(match) for match in _SHORT.findall(text)}
        return tuple(sorted({each for name in names for each in _alternatives(name)}))
    common = set(_COMMON.findall(text))
    if common:
        return tuple(sorted(f"{name}+" if _or_later(text, name) else name for name in common))
    found = expression_of(text)
    return (found,) if found else ()


def _alternatives(name: str) -> Iterator[str]:
    """Yield the parts of `A and B`; `A or B` is one choice, and stays together."""
    if re.search(r"\bor\b", name, re.IGNORECASE):
        parts = [expression_of(part.strip(" ,")) for part in re.split(r",?\s+or\s+", name, flags=re.IGNORECASE)]
        yield " OR ".join(parts) if all(parts) and " and " not in name.lower() else name
        return
    for part in re.split(r",?\s+and\s+|,\s+", name):
        if part.strip():
            yield part.strip()


def _or_later(text: str, name: str) -> bool:
    if not name.startswith(("GPL", "LGPL", "AGPL")) or "-" not in name:
        return False
    return bool(re.search(r"(?:either\s+)?version\s+[0-9.]+.{0,40}any\s+later\s+version", text, re.DOTALL))
