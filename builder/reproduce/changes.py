"""What the layers of an image change, whatever else a store has written into them.

A layer of the engine's own store is a folder of overlayfs: it has every path that a step opened for writing, changed or
not, the folders above mounts, and a mark on each new folder that nothing below it is to be seen, where nothing is.
containerd's store compares with the layers below and leaves that out. Here a layer is what makes the whole another one
than before it, so two images can be compared across stores. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from builder.reproduce.entries import OPAQUE, WHITEOUT, Entry, Layer

__all__ = ["changes"]


def changes(layers: Sequence[Layer]) -> Iterator[dict[str, Entry]]:
    """Yield for each layer, the lowest first, the paths that are new, changed or removed. A time is no change.

    Of a removed folder only itself is named, not what was in it.
    """
    whole: dict[str, Entry] = {}
    for layer in layers:
        lost = _lost(layer, whole)
        made = {
            path: entry
            for path, entry in layer.items()
            if entry.kind != "removal" and not _same(entry, lost.get(path) or whole.get(path))
        }
        whole.update((path, entry) for path, entry in layer.items() if entry.kind != "removal")
        for path in lost:
            folder, slash, name = path.rpartition("/")
            # A layer need not name the folders of its paths; what a file is in the place of went with the folder.
            holder = whole.get(folder)
            if path not in whole and (holder.kind == "folder" if holder else folder not in lost):
                made[f"{folder}{slash}{WHITEOUT}{name}"] = Entry(kind="removal")
        yield made


def _same(entry: Entry, there: Entry | None) -> bool:
    return there is not None and there.plain() == entry.plain()


def _lost(layer: Layer, whole: dict[str, Entry]) -> dict[str, Entry]:
    """Take out of the whole what a layer hides or removes, and return it."""
    emptied, gone = set[str](), set[str]()
    for path, entry in layer.items():
        folder, slash, name = path.rpartition("/")
        if entry.kind != "removal":
            there = whole.get(path)
            if there is not None and there.kind == "folder" and entry.kind != "folder":
                emptied.add(path)
        elif name == OPAQUE:
            emptied.add(folder)
        else:
            gone.add(f"{folder}{slash}{name.removeprefix(WHITEOUT)}")
    emptied |= gone
    if not emptied:
        return {}
    lost = {
        path: entry for path, entry in whole.items() if path in gone or any(above in emptied for above in _above(path))
    }
    for path in lost:
        del whole[path]
    return lost


def _above(path: str) -> Iterator[str]:
    """Yield the folders that a path lies in; the root of all is ''."""
    while path:
        path = path.rpartition("/")[0]
        yield path
