"""One file of a source, out of a store."""

from __future__ import annotations

import tempfile
from pathlib import Path

from builder.errors import SourceError
from builder.recipe.types import GitSource, Source
from builder.source.patchfiles import Packs, read_archive
from builder.source.patchplan import store_key
from builder.source.runs import Runner
from builder.source.store import Store

__all__ = ["read_piece"]


def read_piece(source: Source, name: str, path: str, *, store: Store, cache: Path, runner: Runner) -> bytes | None:
    """Return a file's content, or None where the store does not have the source or that the file.

    Args:
        source: the source.
        name: its name in recipes.
        path: the file's path in it.
        store: where it may be.
        cache: keeps indexes of packs.
        runner: runs git.
    """
    try:
        entry = store.find(store_key(source))
        if entry is None:
            return None
        if not isinstance(source, GitSource):
            nodes = read_archive(store.object(entry), name, {path})
        else:
            with tempfile.TemporaryDirectory(prefix="drivebuild-piece-") as folder:
                packs = Packs(Path(folder).resolve(), cache, runner)
                packs.add(store.object(entry), entry.sha256)
                nodes = packs.read({source.commit: [path]})[source.commit]
    except SourceError:
        # Where a file is from is told without it, too.
        return None
    node = nodes.get(path)
    return node.content if node is not None and node.kind == "file" else None
