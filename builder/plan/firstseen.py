"""What was first seen of things whose checksum nobody publishes: an archive, a weight, a base image. Pure.

The lock file `locks/sources.txt` has a line for each:
`<kind>:<name> sha256:<64 hex> <size in bytes> <date of the first look> url:<16 hex of the URL's own sha256>`. Of an
image it is the digest and size of its manifest, which names all architectures. `drivebuild lock` writes the file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from builder.errors import PlanError
from builder.recipe.types import ArchiveSource, Catalog

__all__ = [
    "FIRST_SEEN",
    "Record",
    "Unpublished",
    "first_seen",
    "parse_records",
    "recorded",
    "records_text",
    "unpublished",
]

FIRST_SEEN = "sources.txt"
"""Path of the lock file below `locks/`."""
HEAD = (
    "# RENDERED BY drivebuild lock. Do not edit; `drivebuild lock --update NAME` replaces a line.",
    "# What upstream publishes no checksum of, as it was first seen: name, checksum, bytes, date, digest of the URL.",
)
Kind = Literal["archive", "image", "weight"]
_LINE = re.compile(
    r"(?P<kind>archive|image|weight):(?P<name>\S+) sha256:(?P<sha256>[0-9a-f]{64}) (?P<size>0|[1-9][0-9]*)"
    r" (?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}) url:(?P<mark>[0-9a-f]{16})\Z"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpublished:
    """A thing whose checksum the recipe does not know."""

    kind: Kind
    name: str
    """A source's name, a weight's `<model>/<file>`, or an image's reference."""
    url: str
    referer: str = ""
    eula: str = ""
    """The agreement that downloading it accepts, which only the user can."""

    @property
    def key(self) -> str:
        """The name with its kind, as the lock file and the command line have it."""
        return f"{self.kind}:{self.name}"

    @property
    def mark(self) -> str:
        """A digest of the URL: another URL is another thing, seen for the first time."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was seen of one thing, and when."""

    key: str
    sha256: str
    size: int
    """Bytes."""
    date: str
    """Day of the first look, YYYY-MM-DD, in UTC."""
    mark: str

    def __str__(self) -> str:
        return f"{self.key} sha256:{self.sha256} {self.size} {self.date} url:{self.mark}"


def unpublished(catalog: Catalog) -> tuple[Unpublished, ...]:
    """Return everything whose checksum no recipe knows, sorted by kind and name."""
    return tuple(sorted(_unpublished(catalog), key=lambda item: item.key))


def _unpublished(catalog: Catalog) -> Iterator[Unpublished]:
    for name in catalog.sources:
        yield from _archives(catalog, name)
    # Several platforms may start from one image.
    for image in {platform.base.image for platform in catalog.platforms.values()}:
        yield from _images(catalog, image)
    for model in catalog.models.values():
        # A file may be wanted in two places.
        for file in {weight.file for weight in model.weights}:
            yield from _weights(catalog, f"{model.name}/{file}")


def _archives(catalog: Catalog, name: str) -> Iterator[Unpublished]:
    source = catalog.sources.get(name)
    if isinstance(source, ArchiveSource) and source.sha256 is None:
        referer = source.referer or ""
        eula = source.eula.name if source.eula else ""
        yield Unpublished(kind="archive", name=name, url=source.url, referer=referer, eula=eula)


def _images(catalog: Catalog, name: str) -> Iterator[Unpublished]:
    bases = (platform.base for platform in catalog.platforms.values())
    # A base that drivebuild bootstraps is in no registry.
    if any(base.image == name and base.digest is None and base.bootstrap is None for base in bases):
        yield Unpublished(kind="image", name=name, url=name)


def _weights(catalog: Catalog, name: str) -> Iterator[Unpublished]:
    model, _, file = name.partition("/")
    if model in catalog.models:
        weights = (weight for weight in catalog.models[model].weights if weight.file == file)
        for url in {weight.url for weight in weights if weight.url and weight.sha256 is None}:
            yield Unpublished(kind="weight", name=name, url=url or "")


_OF_KIND: Mapping[Kind, Callable[[Catalog, str], Iterator[Unpublished]]] = {
    "archive": _archives,
    "image": _images,
    "weight": _weights,
}


def parse_records(text: str) -> dict[str, Record]:
    """Return the records of a lock file by key, none for an empty text.

    A text may be several files one after the other, each with its head: a later one's records win, as recipes do.

    Raises:
        PlanError: naming the line that is no record, or that contradicts another of its file.
    """
    found: dict[str, Record] = {}
    of_this_file: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if line == HEAD[0]:
            of_this_file.clear()
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if not match:
            raise _wrong(number, f"not a record: {line[:80]!r}")
        key = f"{match['kind']}:{match['name']}"
        if key in of_this_file:
            raise _wrong(number, f"{key!r} is recorded twice")
        of_this_file.add(key)
        found[key] = Record(
            key=key, sha256=match["sha256"], size=int(match["size"]), date=match["date"], mark=match["mark"]
        )
    return found


def _wrong(number: int, message: str) -> PlanError:
    hint = "remove the line and run `drivebuild lock`, or take the file back from the version you trust"
    return PlanError(f"locks/{FIRST_SEEN}:{number}: {message}", hint=hint)


def records_text(records: Iterable[Record]) -> str:
    """Return the text of the lock file."""
    return "\n".join((*HEAD, *(str(record) for record in sorted(records, key=lambda item: item.key)))) + "\n"


def recorded(thing: Unpublished, records: Mapping[str, Record]) -> Record | None:
    """Return what was seen of a thing under the URL that it has now, or None."""
    record = records.get(thing.key)
    return record if record and record.mark == thing.mark else None


def first_seen(catalog: Catalog, kind: Kind, name: str) -> str | None:
    """Return the checksum that was first seen, in the form the recipe would have it: hex, `sha256:` before an image's.

    None where nothing was recorded, where the URL is another one since, and where the recipe itself knows a checksum.

    Raises:
        PlanError: when the lock file cannot be read.
    """
    text = catalog.locks.get(FIRST_SEEN)
    if not text:
        return None
    records = _parsed(text)
    found = (recorded(thing, records) for thing in _OF_KIND[kind](catalog, name))
    record = next(filter(None, found), None)
    if record is None:
        return None
    return f"sha256:{record.sha256}" if kind == "image" else record.sha256


@lru_cache(maxsize=4)
def _parsed(text: str) -> Mapping[str, Record]:
    # A plan looks up everything there is, and rendering makes a hundred plans of one text.
    return parse_records(text)
