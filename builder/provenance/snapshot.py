"""What is kept of an image's file system: every path with its hash, and the few files that say what is installed.

It is read from the archive that the engine exports of a container that never runs: nothing of the image is executed.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterable, Mapping
from typing import IO, Literal

import msgspec

from builder.pieces import Pieces

__all__ = ["BLOB_LIMIT", "TEXT_LIMIT", "Config", "Entry", "Snapshot", "read_archive", "resolve"]

TEXT_LIMIT = 16 << 20
"""Bytes of one file that is kept. RECORD of the largest distributions has two million."""
TEXTS_LIMIT = 512 << 20
"""Bytes of all files that are kept."""
BLOB_LIMIT = 1 << 20
"""Bytes up to which a file gets git's id, too: what patches change is smaller."""
PIECE = 1 << 20
LONGEST_PATH = 4096
"""Letters of a path that the kernel would follow; a list of files may have any."""
LINKS = 40
"""Links that are followed on the way to one file, as the kernel does."""
_KEPT = re.compile(
    r"/(?:etc|usr/lib)/os-release"
    r"|/var/lib/dpkg/(?:status|status\.d/[^/]+|info/[^/]+\.(?:list|md5sums))"
    r"|/usr/share/doc/[^/]+/copyright"
    r"|.*\.dist-info/(?:METADATA|RECORD|WHEEL|INSTALLER|direct_url\.json"
    r"|(?:licen[cs]es/)?(?i:licen[cs]e|copying|notice)[^/]*)"
    r"|.*\.egg-info(?:/PKG-INFO)?"
    r"|/opt/drivebuild/(?:manifest\.json|locks/[^/]+)"
    r"|/opt/python/include/python3\.[0-9]+/patchlevel\.h"
    r"|/opt/python/lib/python3\.[0-9]+/_sysconfigdata_[^/]*\.py"
)
_OWN = ("/opt/", "/workspace/")
"""Folders that no package of a distribution has anything in."""
# What the engine puts into every container; no image has it.
_ENGINES = re.compile(r"/\.dockerenv|/(?:proc|sys|dev)(?:/.*)?|/etc/(?:hostname|hosts|resolv\.conf|mtab)")


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One path of an image."""

    kind: Literal["file", "link", "folder", "other"]
    size: int = 0
    mode: int = 0
    owner: tuple[int, int] = (0, 0)
    """Numbers of user and group."""
    sha256: str = ""
    blob: str = ""
    """Git's id of a file of up to BLOB_LIMIT bytes."""
    md5: str = ""
    """Of what may be of the distribution's packages: dpkg knows no other sum."""
    target: str = ""
    """What a symbolic link says."""
    first: str = ""
    """Of a file with several names: the one that came first; its bytes count there only."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What an image says about how it is run."""

    labels: Mapping[str, str] = {}
    environment: tuple[str, ...] = ()
    user: str = ""
    folder: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """An image, as far as its files and its configuration say what it is."""

    id: str
    created: str
    """RFC 3339; the image's own, so the same image has the same."""
    architecture: str
    """As recipes have it: x86_64, aarch64."""
    config: Config
    layers: tuple[str, ...]
    identity: str = ""
    """What the image is whatever it is packed as: an engine and a registry give it other ids."""
    entries: dict[str, Entry]
    texts: dict[str, bytes]
    left_out: tuple[str, ...] = ()
    """Files that should have been kept and are larger than anything sensible."""

    def text(self, path: str) -> str:
        """Return a kept file as text, '' when it is not there; what is no UTF-8 is replaced."""
        return self.texts.get(path, b"").decode("utf-8", "replace")


def read_archive(pieces: Iterable[bytes]) -> tuple[dict[str, Entry], dict[str, bytes], tuple[str, ...]]:
    """Return the entries of a tar archive by absolute path, the files that are kept, and those that are too large.

    Raises:
        tarfile.TarError: it is no archive, or ends early.
    """
    entries: dict[str, Entry] = {}
    texts: dict[str, bytes] = {}
    left_out: list[str] = []
    room = TEXTS_LIMIT
    with tarfile.open(fileobj=io.BufferedReader(Pieces(pieces), PIECE), mode="r|", errors="surrogateescape") as archive:
        while (member := archive.next()) is not None:
            # It would keep them all, and a large image has a hundred thousand.
            archive.members = []  # type: ignore[attr-defined]
            path = _absolute(member.name)
            if path == "/" or _ENGINES.fullmatch(path):
                continue
            keep = bool(_KEPT.fullmatch(path)) and member.isreg()
            if keep and member.size > min(TEXT_LIMIT, room):
                left_out.append(path)
                keep = False
            entries[path], text = _entry(archive, member, entries, keep=keep, md5=not path.startswith(_OWN))
            texts.pop(path, None)
            if keep:
                texts[path] = text
                room -= len(text)
    return entries, texts, tuple(left_out)


def _absolute(name: str) -> str:
    # Names are bytes; what is no UTF-8 is spelled out, for JSON and terminals can only have text.
    plain = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "/" + "/".join(part for part in plain.split("/") if part not in ("", "."))


def _entry(
    archive: tarfile.TarFile, member: tarfile.TarInfo, before: Mapping[str, Entry], *, keep: bool, md5: bool
) -> tuple[Entry, bytes]:
    mode, owner = member.mode & 0o7777, (member.uid, member.gid)
    if member.isreg():
        stream = archive.extractfile(member)
        sums, text = _hashed(stream, member.size, keep=keep, md5=md5) if stream else ({}, b"")
        return Entry(kind="file", size=member.size, mode=mode, owner=owner, **sums), text
    if member.islnk():
        first = _absolute(member.linkname)
        same = before.get(first)
        if same is not None and same.kind == "file":
            return msgspec.structs.replace(same, first=same.first or first), b""
    if member.issym():
        target = member.linkname.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return Entry(kind="link", target=target, mode=mode, owner=owner), b""
    return Entry(kind="folder" if member.isdir() else "other", mode=mode, owner=owner), b""


def _hashed(stream: IO[bytes], size: int, *, keep: bool, md5: bool) -> tuple[dict[str, str], bytes]:
    sums = {"sha256": hashlib.sha256()}
    if size <= BLOB_LIMIT:
        # Git's name of a file's content, no safeguard.
        sums["blob"] = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    if md5:
        sums["md5"] = hashlib.md5(usedforsecurity=False)
    kept = bytearray()
    while piece := stream.read(PIECE):
        for each in sums.values():
            each.update(piece)
        if keep:
            kept += piece
    return {name: each.hexdigest() for name, each in sums.items()}, bytes(kept)


def resolve(entries: Mapping[str, Entry], path: str) -> str:
    """Return where a path leads when links are followed; the path itself where that is nowhere or goes in circles.

    A link cannot leave the image: what is above its root is its root.
    """
    if len(path) > LONGEST_PATH:
        return path
    todo = [part for part in reversed(path.split("/")) if part]
    done: list[str] = []
    followed = 0
    while todo:
        part = todo.pop()
        if part == "..":
            done = done[:-1]
            continue
        if part == ".":
            continue
        found = entries.get("/" + "/".join([*done, part]))
        if found is None or found.kind != "link":
            done.append(part)
            continue
        followed += 1
        if followed > LINKS or len(found.target) > LONGEST_PATH:
            return path
        if found.target.startswith("/"):
            done = []
        todo += [each for each in reversed(found.target.split("/")) if each]
    return "/" + "/".join(done)
