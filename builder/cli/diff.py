"""`diff`: what two images differ in."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.cli.main import Settings, app
from builder.cli.options import AsJson, Platform
from builder.errors import DriftError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.provenance.differ import Difference, Pair

SCHEMA = "drivebuild-diff-1"
SHOWN = 40
"""Lines of one section, unless all are asked for."""
TITLES = {
    "packages": "PACKAGES",
    "sources": "SOURCES",
    "steps": "PATCHES, COPIES, EDITS",
    "flags": "FLAGS",
    "config": "CONFIGURATION",
}


@app.command()
def diff(
    context: typer.Context,
    before: Annotated[
        str, typer.Argument(metavar="IMAGE|MODEL[:VARIANT]", help="An image, or a model and one of its variants.")
    ],
    after: Annotated[str, typer.Argument(metavar="IMAGE|MODEL[:VARIANT]", help="What it is compared with.")],
    files: Annotated[bool, typer.Option("--files", help="List every file, not only folders.")] = False,
    depth: Annotated[int, typer.Option("--depth", min=1, max=20, help="Names of the folders that are summed up.")] = 4,
    every: Annotated[bool, typer.Option("--all", help="Show every line of each section.")] = False,
    platform: Platform = "",
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 8 when they differ.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what two images differ in: packages, sources, patches, flags, configuration, files, layers.

    `drivebuild diff streampetr:stock streampetr:lto` compares two variants of a model.
    """
    settings: Settings = context.obj
    from builder.cli.imageread import ImageReader
    from builder.provenance.differ import compare

    reader = ImageReader(settings, quiet=as_json)
    names = [reader.named(word, platform=platform) for word in (before, after)]
    one, other = (reader.inventory(name) for name in names)
    found = compare(one, other)
    layers = [reader.layers(name) for name in names]
    if as_json:
        _print_json(names, found, layers)
    else:
        _show(names, found, layers, depth=depth, files=files, limit=None if every else SHOWN)
    if exit_code and not found.same:
        raise DriftError(f"{names[0]} and {names[1]} differ")


def _show(
    names: Sequence[str],
    found: Difference,
    layers: Sequence[Sequence[tuple[str, int]]],
    *,
    depth: int,
    files: bool,
    limit: int | None,
) -> None:
    typer.echo(f"{names[0]}\n{names[1]}")
    if found.same:
        typer.echo("\nno difference")
    for name, title in TITLES.items():
        _section(title, getattr(found, name), limit)
    _show_files(found, depth=depth, files=files, limit=limit)
    typer.echo("")
    for line in layer_lines(names, layers):
        typer.echo(line)


def _section(title: str, pairs: Sequence[Pair], limit: int | None) -> None:
    from builder.provenance.tables import cut

    if not pairs:
        return
    width = 70 if limit else 4000
    rows = []
    for each in pairs:
        before, after = apart(each.before or "-", each.after or "-", width)
        rows.append((each.group, cut(each.name, width), cut(before, width), cut(after, width)))
    typer.echo("")
    _table(rows, (title, "NAME", "BEFORE", "AFTER"), limit)


def apart(before: str, after: str, width: int) -> tuple[str, str]:
    """Return two texts; of those that are too long for a column, only the words that the other has not."""
    if "-" in (before, after) or max(len(before), len(after)) <= width:
        return before, after
    words = _words(before), _words(after)
    only = [shlex.join(word for word in ours if word not in theirs) for ours, theirs in (words, words[::-1])]
    if not any(only):
        return before, after
    return f"… {only[0]}".rstrip(), f"… {only[1]}".rstrip()


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...], limit: int | None) -> None:
    from builder.cli.sbom import aligned

    lines = aligned(rows[:limit], header)
    typer.echo(typer.style(lines[0], bold=True))
    for line in lines[1:]:
        typer.echo(line)
    if limit is not None and len(rows) > limit:
        typer.echo(f"and {len(rows) - limit} more; --all shows them")


def _show_files(found: Difference, *, depth: int, files: bool, limit: int | None) -> None:
    from builder.cli.live import human_bytes
    from builder.provenance.differ import by_folder

    if not found.files:
        return
    typer.echo("")
    counts = {how: sum(each.how == how for each in found.files) for how in ("added", "removed")}
    code = sum(each.byte_code for each in found.files)
    changed = len(found.files) - sum(counts.values())
    if files:
        rows = [(each.how, each.path, each.package, f"{each.after - each.before:+d}") for each in found.files]
        _table(rows, ("FILE", "PATH", "OF", "BYTES"), None)
    else:
        groups = by_folder(found.files, depth)
        told = [
            (
                each.folder,
                str(each.added),
                str(each.removed),
                str(each.changed),
                str(each.byte_code),
                f"{'-' if each.bytes < 0 else '+'}{human_bytes(abs(each.bytes))}",
            )
            for each in groups
        ]
        _table(told, ("FOLDER", "ADDED", "REMOVED", "CHANGED", "BYTE CODE", "BYTES"), limit)
    typer.echo(
        f"\nfiles: {counts['added']} added, {counts['removed']} removed, {changed} changed; {code} of them byte code"
    )


def layer_lines(names: Sequence[str], layers: Sequence[Sequence[tuple[str, int]]]) -> list[str]:
    """Return what the images share of their layers, and what each has alone."""
    from builder.cli.live import human_bytes

    sets = [dict(each) for each in layers]
    shared = [digest for digest in sets[0] if digest in sets[1]]
    lines = [f"layers: {len(shared)} shared, {human_bytes(sum(sets[0][each] for each in shared))}"]
    for name, own in zip(names, sets, strict=True):
        alone = {digest: size for digest, size in own.items() if digest not in shared}
        lines.append(f"  {len(alone)} of {name} alone, {human_bytes(sum(alone.values()))}")
    return lines


def _print_json(names: Sequence[str], found: Difference, layers: Sequence[Sequence[tuple[str, int]]]) -> None:
    from msgspec import to_builtins

    from builder.cli.inspect import print_json

    sets = [dict(each) for each in layers]
    data: dict[str, Any] = {"schema": SCHEMA, "images": list(names), "same": found.same, **to_builtins(found)}
    data["layers"] = [
        {
            "image": name,
            "shared": [{"digest": digest, "bytes": size} for digest, size in own.items() if digest in other],
            "own": [{"digest": digest, "bytes": size} for digest, size in own.items() if digest not in other],
        }
        for name, own, other in zip(names, sets, reversed(sets), strict=True)
    ]
    print_json(data)
