"""What a layer holds, path by path, from a tar or from the folder in which an engine keeps it."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

import msgspec

__all__ = ["CLOCK", "Entry", "Kept", "Layer", "Wanted", "content_digest", "read_folder", "read_tar"]

CLOCK = 1609459200
"""Seconds since the epoch to which times are clamped: those of the bases that drivebuild bootstraps."""
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_BLOCK = 1 << 20
# What an engine keeps of its own beside the files: it never leaves it.
_ENGINES = ("trusted.overlay.", "user.overlay.")
_KINDS = {
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "name",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
}

Kind = Literal["file", "folder", "link", "name", "device", "pipe", "removal"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One path of a layer."""

    kind: Kind
    mode: int = 0
    """Permissions, with set-id bits."""
    owner: tuple[int, int] = (0, 0)
    """Numbers of user and group."""
    size: int = 0
    content: str = ""
    """sha256 of a file; what a link says; the path that a second name stands for; a device's numbers."""
    mtime: int = 0
    """Whole seconds since the epoch."""
    xattrs: tuple[tuple[str, str], ...] = ()

    def plain(self) -> Entry:
        """Return the entry without its time."""
        return msgspec.structs.replace(self, mtime=0)


Layer = Mapping[str, Entry]
"""By path, without a slash in front."""
Wanted = Callable[[str], bool]
"""Whether of a path the content is kept, not only its digest."""
Kept = dict[str, bytes]
LARGEST_KEPT = 32 << 20


def content_digest(layer: Layer) -> str:
    """Return a digest of all that a layer holds, times clamped to CLOCK: in whatever order and packing it is stored."""
    total = hashlib.sha256()
    for path in sorted(layer):
        entry = layer[path]
        clamped = msgspec.structs.replace(entry, mtime=min(entry.mtime, CLOCK))
        total.update(msgspec.json.encode((path.encode("utf-8", "surrogateescape").hex(), clamped)) + b"\n")
    return f"sha256:{total.hexdigest()}"


def read_tar(file: io.RawIOBase | IO[bytes], wanted: Wanted = lambda _path: False) -> tuple[dict[str, Entry], Kept]:
    """Return a layer's entries, and the content of those that are wanted.

    Raises:
        tarfile.TarError: it is no tar, or ends early.
    """
    layer: dict[str, Entry] = {}
    kept: Kept = {}
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            path = _path(member.name)
            if not path:
                continue
            content, size = "", 0
            if member.isfile():
                opened = archive.extractfile(member)
                pieces = _pieces(opened) if opened else ()
                content, text = _hashed(pieces, keep=member.size <= LARGEST_KEPT and wanted(path))
                size = member.size
                if text is not None:
                    kept[path] = text
            layer[path] = _of_member(member, path, content, size)
    return layer, kept


def read_folder(root: Path, wanted: Wanted = lambda _path: False) -> tuple[dict[str, Entry], Kept]:
    """Return the entries of a layer in the folder where overlay2 keeps it, in a tar's words.

    Raises:
        OSError: it cannot be read.
    """
    layer: dict[str, Entry] = {}
    kept: Kept = {}
    names: dict[tuple[int, int], str] = {}
    for path in _below(root):
        name = str(path.relative_to(root))
        found = path.lstat()
        removed = stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
        if removed:
            folder, _, base = name.rpartition("/")
            layer[f"{folder}/{WHITEOUT}{base}".lstrip("/")] = Entry(kind="removal")
            continue
        if stat.S_ISDIR(found.st_mode) and _attribute(path, "trusted.overlay.opaque") == b"y":
            layer[f"{name}/{OPAQUE}"] = Entry(kind="removal")
        first = names.setdefault((found.st_dev, found.st_ino), name) if found.st_nlink > 1 else name
        layer[name] = _of_path(path, found, first if first != name and stat.S_ISREG(found.st_mode) else "")
        if layer[name].kind == "file" and found.st_size <= LARGEST_KEPT and wanted(name):
            kept[name] = path.read_bytes()
    return layer, kept


def _of_member(member: tarfile.TarInfo, path: str, content: str, size: int) -> Entry:
    base = path.rpartition("/")[2]
    if base.startswith(WHITEOUT):
        return Entry(kind="removal")
    kind = _KINDS.get(member.type, "file")
    if kind in ("link", "name"):
        content = member.linkname if kind == "link" else _path(member.linkname)
    elif kind == "device":
        content = f"{member.devmajor}:{member.devminor}"
    prefix = "SCHILY.xattr."
    xattrs = {key.removeprefix(prefix): value for key, value in member.pax_headers.items() if key.startswith(prefix)}
    return Entry(
        kind=kind,  # type: ignore[arg-type]
        mode=member.mode & 0o7777,
        owner=(member.uid, member.gid),
        size=size,
        content=content,
        mtime=int(member.mtime),
        xattrs=_attributes({key: value.encode("utf-8", "surrogateescape") for key, value in xattrs.items()}),
    )


def _of_path(path: Path, found: os.stat_result, first: str) -> Entry:
    mode = found.st_mode
    kind: Kind = "file"
    content, size = "", 0
    if first:
        kind, content = "name", first
    elif stat.S_ISDIR(mode):
        kind = "folder"
    elif stat.S_ISLNK(mode):
        kind, content = "link", str(path.readlink())
    elif stat.S_ISREG(mode):
        with path.open("rb") as file:
            content, _ = _hashed(_pieces(file), keep=False)
        size = found.st_size
    elif stat.S_ISFIFO(mode):
        kind = "pipe"
    else:
        kind, content = "device", f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    names = os.listxattr(path, follow_symlinks=False)
    return Entry(
        kind=kind,
        mode=stat.S_IMODE(mode),
        owner=(found.st_uid, found.st_gid),
        size=size,
        content=content,
        mtime=int(found.st_mtime),
        xattrs=_attributes({name: os.getxattr(path, name, follow_symlinks=False) for name in names}),
    )


def _attributes(found: Mapping[str, bytes]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value.hex()) for name, value in found.items() if not name.startswith(_ENGINES)))


def _attribute(path: Path, name: str) -> bytes:
    with suppress(OSError):
        return os.getxattr(path, name, follow_symlinks=False)
    return b""


def _below(root: Path) -> Iterator[Path]:
    """Yield all paths below a folder in one order, so that of a file's names the same is the first."""
    for entry in sorted(os.scandir(root), key=lambda each: each.name):
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path))


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_BLOCK):
        yield piece


def _hashed(pieces: Iterable[bytes], *, keep: bool) -> tuple[str, bytes | None]:
    total = hashlib.sha256()
    kept = bytearray()
    for piece in pieces:
        total.update(piece)
        if keep:
            kept += piece
    return total.hexdigest(), bytes(kept) if keep else None


def _path(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))
