"""Folders made of the store's contents, one for each stage that a build is to find on this disk and not in the network.

Modes are the same however a file got there, as BuildKit's cache keys hold them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from builder.errors import SourceError
from builder.plan.needs import DebianNeed, FileNeed, GitNeed, Need, PackageNeed, SystemNeed
from builder.source.disk import digest, failed
from builder.source.gitpack import export

if TYPE_CHECKING:
    from builder.source.runs import Runner
    from builder.source.store import Entry, Store

__all__ = ["Context", "make_contexts", "missing"]

ARCHIVE = "archive"
"""The folder in which the stages of single files look for them."""
_UNLINKABLE = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A folder that stands for a stage, and what it is, in a person's words."""

    stage: str
    folder: Path
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One file of a context: where it goes, and the content that it is."""

    path: str
    entry: Entry


def missing(needs: Iterable[Need], store: Store) -> tuple[Need, ...]:
    """Return the needs that the store does not have, each thing once."""
    found: dict[str, Need] = {}
    for need in needs:
        if need.key not in found and store.find(need.key) is None:
            found[need.key] = need
    return tuple(found.values())


def make_contexts(needs: Iterable[Need], store: Store, runner: Runner, *, folder: Path) -> tuple[Context, ...]:
    """Make, below `folder`, what stands for each stage, and return it; what is there already is used again.

    Every folder is named after its content, so that any number of builds can share `folder`.

    Raises:
        SourceError: naming everything that the store lacks; when a content is damaged; when the disk is full.
    """
    todo = tuple(need for need in needs if need.stage)
    lacking = missing(todo, store)
    if lacking:
        lines = "\n".join(f"  {need.title}" for need in lacking)
        hint = f"where there is a network: drivebuild fetch --store {store.root}"
        raise SourceError(f"the store {store.root} lacks {len(lacking)} things\n{lines}", hint=hint)
    stages: dict[str, list[Need]] = {}
    for need in todo:
        stages.setdefault(need.stage, []).append(need)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(_context(stage, group, store, runner, folder) for stage, group in sorted(stages.items()))
    except OSError as error:
        failed(folder, error)


def _context(stage: str, needs: Sequence[Need], store: Store, runner: Runner, folder: Path) -> Context:
    first = needs[0]
    entry = _entry(first, store)
    if isinstance(first, GitNeed):
        target = folder / first.commit
        _once(target, lambda tree: export(entry, store.object(entry), tree, runner))
        return Context(stage=stage, folder=target, note=f"commit {first.commit[:12]} of the store")
    if isinstance(first, SystemNeed):
        target = folder / f"{stage}-{entry.sha256[:16]}"
        _once(target, lambda tree: _unpack(entry, store.object(entry), tree))
        return Context(stage=stage, folder=target, note=f"{entry.note or entry.file} of the store")
    files = sorted((_placed(need, store) for need in needs), key=lambda file: file.path)
    text = "\n".join(f"{file.path} {file.entry.sha256}" for file in files)
    target = folder / f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    _check(files, store, fresh=not target.is_dir())
    _once(target, lambda tree: _fill(tree, files, store))
    note = files[0].entry.file if len(files) == 1 else f"{len(files)} files"
    return Context(stage=stage, folder=target, note=f"{note} of the store")


def _entry(need: Need, store: Store) -> Entry:
    entry = store.find(need.key)
    if entry is None:
        raise SourceError(f"{need.title}: it was in the store a moment ago", hint="is somebody clearing it up?")
    return entry


def _placed(need: Need, store: Store) -> _File:
    entry = _entry(need, store)
    match need:
        case PackageNeed():
            # The index's own name: installers read version and tags from it.
            path = str(PurePosixPath(need.folder) / (need.file or entry.file))
        case FileNeed() | DebianNeed():
            path = f"{ARCHIVE}/{need.file}"
        case _:
            raise SourceError(f"{need.title}: it is no file of a stage")
    return _File(path=path, entry=entry)


def _check(files: Sequence[_File], store: Store, *, fresh: bool) -> None:
    """Hash what no later tool hashes. uv does so with each wheel it installs; those are looked at once only."""
    for file in files:
        content = store.object(file.entry)
        if (fresh or file.path.startswith(f"{ARCHIVE}/")) and digest(content) != file.entry.sha256:
            hint = "`drivebuild store verify` finds all such; fetch replaces what is removed"
            raise SourceError(f"{content}: damaged: its sha256 is not its name ({file.path})", hint=hint)


def _once(target: Path, make: Callable[[Path], None]) -> None:
    """Have `make` fill a new folder, and give that its name when it is complete."""
    if target.is_dir():
        return
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=".context-"))
    try:
        tree = scratch / "tree"
        make(tree)
        try:
            tree.rename(target)
        except OSError:
            # Another build made the same folder meanwhile.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)


def _fill(tree: Path, files: Sequence[_File], store: Store) -> None:
    _folder(tree)
    for file in files:
        target = tree / file.path
        _folder(target.parent)
        _link(store.object(file.entry), target)


def _link(content: Path, target: Path) -> None:
    """Give a content a second name; where the disk is another, or forbids it, copy it."""
    try:
        os.link(content, target)
    except OSError as error:
        if error.errno not in _UNLINKABLE:
            raise
        shutil.copyfile(content, target)
        target.chmod(0o444)


def _unpack(entry: Entry, content: Path, tree: Path) -> None:
    """Unpack apt's lists and archives; nothing else can be in that tar."""
    if digest(content) != entry.sha256:
        raise SourceError(f"{content}: damaged: its sha256 is not its name ({entry.file})")
    _folder(tree)
    with tarfile.open(content) as tar:
        for item in tar:
            folder, _, name = item.name.partition("/")
            # A link is not looked up, and nothing but a file is opened.
            opened = tar.extractfile(item) if item.isreg() else None
            if folder not in ("lists", "archives") or not name or "/" in name or opened is None:
                raise SourceError(f"{entry.file}: {item.name!r} does not belong there")
            _folder(tree / folder)
            with (tree / folder / name).open("wb") as file:
                shutil.copyfileobj(opened, file, 1 << 20)
            (tree / folder / name).chmod(0o644)
