"""The packages of an rpm system, as the image's own rpm prints them: its database has a form that only rpm reads. Pure.

That asks a program of the image. It runs without network and without rights, and what it prints is taken as data; an
image that wants to lie about its packages could also leave them out of its database.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from builder.provenance.snapshot import Snapshot

__all__ = ["QUERY", "Rpm", "database_of", "query_command", "read_query"]

DATABASES = tuple(
    f"{folder}/{name}"
    for folder in ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
    for name in ("rpmdb.sqlite", "Packages.db", "Packages")
)
QUERY = (
    "P\\t%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%{LICENSE}\\t%{VENDOR}\\t%{SOURCERPM}\\n"
    "[F\\t%{FILENAMES}\\n]"
)
"""A line for each package, then one for each of its files."""
LABEL = "drivebuild.contents"


class Rpm(msgspec.Struct, frozen=True, kw_only=True):
    """One installed package."""

    name: str
    version: str
    """With its release, and its epoch where that is not 0."""
    architecture: str
    licence: str
    vendor: str
    source: str
    paths: tuple[str, ...]


def database_of(snapshot: Snapshot) -> str:
    """Return the folder of an image's rpm database, '' where it has none."""
    found = next((path for path in DATABASES if path in snapshot.entries), "")
    return found.rpartition("/")[0]


def query_command(image: str, folder: str) -> tuple[str, ...]:
    """Return the command that asks the rpm of an image, by its id, for what the database in `folder` has."""
    # Not read-only: rpm's SQLite writes beside its database even to read. What it writes goes with the container.
    words = ["docker", "run", "--rm", "--network", "none", "--label", LABEL, "--cap-drop", "ALL"]
    words += ["--security-opt", "no-new-privileges", "--pids-limit", "64", "--user", "0", "--entrypoint", "rpm"]
    return (*words, image, "--dbpath", folder, "--query", "--all", "--queryformat", QUERY)


def read_query(text: str) -> tuple[Rpm, ...]:
    """Return the packages of what the query printed, by name; keys of vendors, which rpm lists too, are none."""
    return tuple(sorted(_read(text), key=lambda each: (each.name, each.version, each.architecture)))


def _read(text: str) -> Iterator[Rpm]:
    head: list[str] = []
    paths: list[str] = []
    for line in [*text.split("\n"), "P"]:
        word, _, rest = line.partition("\t")
        if word == "F":
            paths.append(rest)
        elif word == "P":
            if len(head) == 7 and head[0] != "gpg-pubkey":
                yield _package(head, tuple(paths))
            head, paths = rest.split("\t"), []


def _package(fields: list[str], paths: tuple[str, ...]) -> Rpm:
    name, epoch, version, architecture, licence, vendor, source = (
        "" if field == "(none)" else " ".join(field.split()) for field in fields
    )
    version = version if epoch in ("", "0") else f"{epoch}:{version}"
    return Rpm(
        name=name,
        version=version,
        architecture=architecture,
        licence=licence,
        vendor=vendor,
        source=source,
        paths=paths,
    )
