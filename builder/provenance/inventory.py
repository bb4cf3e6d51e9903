"""All packages of an image in one form, each with its licence and its files, and the files that nobody owns. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from builder.provenance.manifest import Change, Manifest
from builder.provenance.snapshot import Snapshot

__all__ = ["Facts", "Inventory", "Kind", "Package", "summary"]

Kind = Literal["deb", "rpm", "python", "wheel", "source", "interpreter", "library", "toolkit", "records"]
"""`wheel` was compiled for the image, `python` came from an index. `source`: a tree that lies in the image, or that a
wheel, the interpreter or a library was compiled from. `records`: what drivebuild itself adds."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What recipes know and an image does not say: names and licences of components and sources. May be empty."""

    distributions: Mapping[str, str] = {}
    """The distribution that each component installs."""
    licences: Mapping[str, str] = {}
    """Of sources and components, by name."""
    tree: str = ""
    """The source of the model's own tree."""
    kept: Mapping[str, str] = {}
    """Sources of components that lie in the image, too, by their folders there, which end in a slash."""
    packages: Mapping[str, str] = {}
    """The distribution's package of a library that is in the image as a file only, by the library's name."""


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was installed, compiled or copied."""

    kind: Kind
    name: str
    version: str
    place: str = ""
    """A folder that tells it from another one of the same name and version."""
    architecture: str = ""
    distribution: str = ""
    """Of a deb or rpm: `debian-12`."""
    source: str = ""
    """The source package of a deb; the source of what was compiled."""
    source_version: str = ""
    supplier: str = ""
    licences: tuple[str, ...] = ()
    """As they are said."""
    expression: str = ""
    """One SPDX expression; '' where nothing is known."""
    classes: tuple[str, ...] = ()
    """What its licence demands: builder/provenance/licences.py."""
    requires: tuple[str, ...] = ()
    url: str = ""
    sha256: tuple[str, ...] = ()
    """Of the archive it came as."""
    changes: tuple[Change, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    files: int = 0
    bytes: int = 0
    changed: tuple[str, ...] = ()
    """Its files whose content is not what was installed."""
    missing: int = 0
    """Its files that are not in the image."""

    @property
    def key(self) -> str:
        """What one package is told from all others by."""
        return ":".join(filter(None, (self.kind, self.name, self.version, self.architecture, self.place)))


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """An image as a list of packages."""

    snapshot: Snapshot
    manifest: Manifest
    packages: tuple[Package, ...]
    owners: Mapping[str, int]
    """Number of the package that each file is of."""
    unowned: tuple[str, ...]
    """Files that are of none, byte code of known sources not counted."""
    notes: tuple[str, ...]
    """What could not be read, and what a reader must know."""

    def of(self, path: str) -> Package | None:
        """Return the package that a file is of."""
        number = self.owners.get(path)
        return None if number is None else self.packages[number]

    @property
    def unowned_bytes(self) -> int:
        """Bytes of files without an owner; a file with several names counts once."""
        return sum(self.snapshot.entries[path].size for path in self.unowned if not self.snapshot.entries[path].first)


def summary(packages: Iterable[Package]) -> Counter[str]:
    """Return how many packages there are of each kind."""
    return Counter(package.kind for package in packages)
