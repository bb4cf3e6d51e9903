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

from builder.errors import BuildError

__all__ = [
    "CLOCK",
    "Entry",
    "Kept",
    "Layer",
    "Member",
    "Wanted",
    "content_digest",
    "read_folder",
    "read_tar",
    "spelled",
]

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
MOST_KEPT = 512 << 20
"""Bytes of all contents that are kept of one layer."""
MOST_PATHS = 3_000_000
"""Paths of one layer: an image has some hundred thousand."""
_LONGEST_HEADER = 1 << 20
"""Bytes of a name or of attributes in a tar; tarfile would read as many as the header says."""
_LARGEST_NUMBER = 1 << 53
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class Member(tarfile.TarInfo):
    """A member whose name and attributes fit into memory: an image may come from anybody."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADERS and self.size > _LONGEST_HEADER:
            raise BuildError(f"a layer has a name or attributes of {self.size} bytes: that is no image of ours")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


def spelled(text: str) -> str:
    """Return a name or target as text that can be written: bytes that are no UTF-8 are spelled out."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def content_digest(layer: Layer) -> str:
    """Return a digest of all that a layer holds, times clamped to CLOCK: in whatever order and packing it is stored."""
    total = hashlib.sha256()
    for path in sorted(layer):
        entry = layer[path]
        clamped = msgspec.structs.replace(entry, mtime=min(entry.mtime, CLOCK), content=_encodable(entry.content))
        total.update(msgspec.json.encode((path.encode("utf-8", "surrogateescape").hex(), clamped)) + b"\n")
    return f"sha256:{total.hexdigest()}"


def _encodable(content: str) -> str:
    """Return a content for a digest: what is no UTF-8 as hex, behind what no link can have in it."""
    data = content.encode("utf-8", "surrogateescape")
    return content if data == content.encode("utf-8", "replace") else f"\0{data.hex()}"


def read_tar(file: io.RawIOBase | IO[bytes], wanted: Wanted = lambda _path: False) -> tuple[dict[str, Entry], Kept]:
    """Return a layer's entries, and the content of those that are wanted.

    Raises:
        tarfile.TarError: it is no tar, or ends early.
        BuildError: it has more paths, or a longer name, than any image.
    """
    layer: dict[str, Entry] = {}
    kept: Kept = {}
    room = MOST_KEPT
    with tarfile.open(fileobj=file, mode="r|*", tarinfo=Member, errors="surrogateescape") as archive:
        while (member := archive.next()) is not None:
            # It would keep them all.
            archive.members = []  # type: ignore[attr-defined]
            path = _path(member.name)
            if not path:
                continue
            if len(layer) > MOST_PATHS:
                raise BuildError(f"a layer has more than {MOST_PATHS} paths: that is no image of ours")
            content, size = "", 0
            if member.isfile():
                opened = archive.extractfile(member)
                pieces = _pieces(opened) if opened else ()
                content, text = _hashed(pieces, keep=member.size <= min(LARGEST_KEPT, room) and wanted(path))
                size = member.size
                if text is not None:
                    kept[path] = text
                    room -= len(text)
            layer[path] = _of_member(member, path, content, size)
    return layer, kept


def read_folder(root: Path, wanted: Wanted = lambda _path: False) -> tuple[dict[str, Entry], Kept]:
    """Return the entries of a layer in the folder where overlay2 keeps it, in a tar's words.

    Raises:
        OSError: it cannot be read.
    """
    layer: dict[str, Entry] = {}
    kept: Kept = {}
    room = MOST_KEPT
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
        if layer[name].kind == "file" and found.st_size <= min(LARGEST_KEPT, room) and wanted(name):
            kept[name] = path.read_bytes()
            room -= len(kept[name])
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
        owner=(_number(member.uid), _number(member.gid)),
        size=size,
        content=content,
        mtime=_number(member.mtime),
        xattrs=_attributes({key: value.encode("utf-8", "surrogateescape") for key, value in xattrs.items()}),
    )


def _number(value: float) -> int:
    """Return a number of a header as one that fits everywhere: pax may write infinity, or hundreds of digits."""
    if value != value:
        return 0
    return int(max(-_LARGEST_NUMBER, min(_LARGEST_NUMBER, value)))


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
    # No recursion: a path may have two thousand folders.
    todo = [iter(_sorted(root))]
    while todo:
        entry = next(todo[-1], None)
        if entry is None:
            todo.pop()
            continue
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            todo.append(iter(_sorted(entry.path)))


def _sorted(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda each: each.name)


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
