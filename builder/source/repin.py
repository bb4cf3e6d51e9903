"""Replaces the commit of a git source in the recipe files that define it, and touches nothing else of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import SourceError
from builder.recipe.text import Document, Place, parse
from builder.source.tree import write_text

__all__ = ["Definition", "definitions", "recipe_text", "repin", "repinned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """Where a recipe file says a source's commit."""

    file: Path
    name: str
    place: Place

    def __str__(self) -> str:
        return f"{self.file}:{self.place.line}"


def definitions(folders: Sequence[Path], name: str) -> tuple[Definition, ...]:
    """Return every place that defines a git source: a source of one name may stand in several files, equal in all.

    Raises:
        SourceError: when a file cannot be read.
    """
    return tuple(_definitions(folders, name))


def _definitions(folders: Sequence[Path], name: str) -> Iterator[Definition]:
    # A model of a later folder replaces an earlier one whole; lists of sources add up.
    models = {path.name: path for folder in folders for path in sorted(folder.glob("models/*.yaml"))}
    lists = (path for folder in folders if (path := folder / "sources.yaml").is_file())
    for path in (*lists, *models.values()):
        document = _document(path, _read(path))
        place = document.values.get(("sources", name, "commit"))
        if place:
            yield Definition(file=path, name=name, place=place)


def repin(found: Definition, old: str, new: str, *, write: bool = True) -> None:
    """Write the new commit where the old one stands; or only make sure that it could be done.

    Raises:
        SourceError: when the old one does not stand there, alone; the file is then as it was.
    """
    # A link stays a link; the file behind it is what is replaced.
    path = found.file.resolve()
    changed = repinned(recipe_text(path), found, old, new)
    if write:
        write_text(path, changed)


def repinned(text: str, found: Definition, old: str, new: str) -> str:
    """Return a recipe file's text with the new commit; comments and layout are as they were.

    Raises:
        SourceError: when the old commit does not stand in its place, alone.
    """
    changed = _replaced(text, found, old, new)
    before, after = (_document(found.file, item.encode()) for item in (text, changed))
    before.data["sources"][found.name]["commit"] = new
    if after.mistakes or after.data != before.data:
        raise SourceError(f"{found}: replacing the commit would change more than the commit", hint=_by_hand(new))
    return changed


def _replaced(text: str, found: Definition, old: str, new: str) -> str:
    lines = text.split("\n")
    line = lines[found.place.line - 1]
    start = found.place.column - 1 + (found.place.line == 1 and text.startswith("\ufeff"))
    match = re.match(rf"""(["']?)({re.escape(old)})(?![0-9A-Za-z])""", line[start:])
    if not match:
        raise SourceError(f"{found}: {old} does not stand there", hint=_by_hand(new))
    begin = start + match.start(2)
    lines[found.place.line - 1] = line[:begin] + new + line[begin + len(old) :]
    return "\n".join(lines)


def _by_hand(new: str) -> str:
    return f"write {new} there by hand"


def recipe_text(path: Path) -> str:
    """Return a recipe file's text, line ends and mark of byte order included.

    Raises:
        SourceError: when it cannot be read.
    """
    return _read(path).decode("utf-8")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error


def _document(path: Path, content: bytes) -> Document:
    return parse(content, str(path))
