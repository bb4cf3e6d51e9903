"""What `clean` has found, as a table for a person and as JSON."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from builder.cli.live import human_bytes
from builder.engine.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.engine.cacheprune import Pruned, Usage
    from builder.engine.cacherecords import Choice as CacheChoice
    from builder.engine.cacherecords import Record
    from builder.engine.leftover import Leftover
    from builder.engine.ours import Choice, Held

__all__ = ["Asked", "Found", "print_found", "print_json_of"]

_SHOWN = 10
"""Records of the build cache that have a line: the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line asks for."""

    images: bool
    records: bool
    profiles: bool
    scratch: bool
    cache: bool
    bases: bool
    seconds: int
    """Only what is older."""
    keep: int
    budget: int
    """Bytes of cache that stay."""
    builder: str


@dataclass(slots=True)
class Found:
    """What may go, and what was looked at."""

    asked: Asked
    everything: tuple[Held, ...] = ()
    choice: Choice | None = None
    files: tuple[Leftover, ...] = ()
    usage: Usage | None = None
    cache: CacheChoice | None = None

    @property
    def gone(self) -> tuple[Held, ...]:
        return tuple(each.image for each in self.choice.gone) if self.choice else ()

    @property
    def image_bytes(self) -> int:
        """Bytes of layers that no image would have any more."""
        from builder.engine.ours import freed_bytes

        return freed_bytes(self.gone, self.everything)

    @property
    def file_bytes(self) -> int:
        return sum(each.bytes for each in self.files)

    @property
    def cache_bytes(self) -> int:
        return self.cache.bytes if self.cache else 0

    @property
    def nothing(self) -> bool:
        return not (self.gone or self.files or (self.cache and self.cache.gone))


def print_found(found: Found) -> None:
    """Print what may go, what stays, and what that frees."""
    from builder.cli.inspect import print_table
    from builder.engine.ours import name_of

    now = time.time()
    rows = []
    for each in found.choice.gone if found.choice else ():
        own = human_bytes(_alone_bytes(each.image, found))
        rows.append(("image", printable(name_of(each.image)), own, _age(now - each.image.when), each.why))
    for (kind, path, why), items in _together(found.files).items():
        size, when = sum(item.bytes for item in items), max(item.when for item in items)
        rows.append((kind, printable(path), human_bytes(size), _age(now - when), why))
    for record in _largest(found):
        rows.append(("cache", f"{record.id} {_step(record)}", human_bytes(record.bytes), _age(record.idle), "not used"))
    if rows:
        print_table(rows, header=("KIND", "WHAT", "FREES", "AGE", "WHY"))
        typer.echo("")
    for kept in found.choice.kept if found.choice else ():
        typer.echo(f"kept: {printable(name_of(kept.image))}: {printable(kept.why)}")
    _print_sums(found)


def _largest(found: Found) -> Sequence[Record]:
    records = found.cache.gone if found.cache else ()
    return sorted(records, key=lambda record: -record.bytes)[:_SHOWN]


def _step(record: Record) -> str:
    text = printable(" ".join(record.what.split()))
    return text if len(text) <= 50 else f"{text[:49]}…"


def _together(files: Sequence[Leftover]) -> dict[tuple[str, str, str], list[Leftover]]:
    """Return the files by the line they are shown in: a build's logs and its record have one."""
    found: dict[tuple[str, str, str], list[Leftover]] = {}
    for item in files:
        own = item.kind in ("log", "record") and item.path.suffix
        key = ("record" if own else item.kind, str(item.path.parent if own else item.path), item.why)
        found.setdefault(key, []).append(item)
    return found


def _alone_bytes(image: Held, found: Found) -> int:
    from builder.engine.ours import freed_bytes

    return freed_bytes((image,), found.everything)


def _print_sums(found: Found) -> None:
    if found.nothing:
        typer.echo("nothing to remove")
        _print_cache(found)
        return
    if found.gone:
        typer.echo(f"images: {len(found.gone)}, together {human_bytes(found.image_bytes)} that no other image has")
        if found.usage and found.usage.shared:
            shared = human_bytes(found.usage.shared)
            typer.echo(f"  BuildKit's cache has {shared} of images' layers, too: those are freed when it lets them go")
    if found.files:
        typer.echo(f"files: {len(found.files)}, {human_bytes(found.file_bytes)}")
    _print_cache(found)


def _print_cache(found: Found) -> None:
    """Print what goes from the build cache, and why no more does."""
    if not (found.usage and found.cache):
        return
    own, gone, budget = found.usage.total - found.usage.shared, found.cache.bytes, found.asked.budget
    shared = f" and {human_bytes(found.usage.shared)} of images' layers" if found.usage.shared else ""
    more = len(found.cache.gone)
    typer.echo(f"build cache: {human_bytes(own)}{shared}; down to {human_bytes(budget)}: ", nl=False)
    typer.echo(f"{more} records, {human_bytes(gone)}, whoever made them" if more else "no record goes")
    if own - gone > budget:
        typer.echo(f"  {human_bytes(own - gone)} stay: used within --older-than, by a running build, or by what was")
    if found.cache.held:
        held = human_bytes(sum(each.bytes for each in found.cache.held))
        typer.echo(f"  of it {held} are old enough, but younger steps or images stand on them")


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


def print_json_of(found: Found, *, dry: bool, failed: Sequence[tuple[str, str]], pruned: Pruned | None = None) -> None:
    """Print the same as JSON, with what could not be removed, and what of the build cache was."""
    from builder.cli.inspect import print_json

    choice = found.choice
    print_json(
        {
            "dry_run": dry,
            "images": [
                {**_image(each.image), "evidence": each.evidence, "why": each.why}
                for each in (choice.gone if choice else ())
            ],
            "kept": [{**_image(each.image), "why": each.why} for each in (choice.kept if choice else ())],
            "files": [
                {"kind": each.kind, "path": str(each.path), "bytes": each.bytes, "written": each.when, "why": each.why}
                for each in found.files
            ],
            "bytes": {"images": found.image_bytes, "files": found.file_bytes, "cache": found.cache_bytes},
            "cache": _cache(found, pruned),
            "failed": [{"what": name, "why": why} for name, why in failed],
        }
    )


def _cache(found: Found, pruned: Pruned | None) -> dict[str, Any] | None:
    if not found.usage:
        return None
    sums: dict[str, Any] = {"total": found.usage.total, "shared": found.usage.shared}
    if found.cache:
        sums["records"] = [
            {"id": each.id, "bytes": each.bytes, "idle": each.idle, "step": each.what} for each in found.cache.gone
        ]
        sums["held"] = sum(each.bytes for each in found.cache.held)
    if pruned:
        sums |= {"freed": pruned.bytes, "stayed": [each.id for each in pruned.stayed]}
    return sums


def _image(image: Held) -> dict[str, Any]:
    return {"id": image.id, "tags": list(image.tags), "named": image.when}
