"""Single files out of a store's packs and archives, in a few milliseconds: nothing is checked out or unpacked."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.errors import SourceError
from builder.source.disk import failed
from builder.source.git import git
from builder.source.runs import Runner

__all__ = ["Node", "Packs", "read_archive", "write_node"]

_LINK, _SUBMODULE = "120000", "160000"


@dataclass(frozen=True, slots=True)
class Node:
    """A file, a link or a folder of a source; a folder comes without what is in it."""

    kind: Literal["file", "link", "folder"]
    content: bytes = b""
    """Of a link: what it leads to."""
    executable: bool = False


class Packs:
    """The commits of several packs as one repository, without copying any."""

    def __init__(self, scratch: Path, cache: Path, runner: Runner) -> None:
        """Make a bare repository in `scratch`; indexes of packs are kept in `cache`, by the packs' sha256."""
        self._runner, self._cache, self._repository = runner, cache, scratch / "packs.git"
        # By hand: `git init` would be one more process.
        for folder in ("objects/pack", "refs"):
            (self._repository / folder).mkdir(parents=True)
        (self._repository / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
        config = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
        (self._repository / "config").write_text(config, encoding="ascii")

    def add(self, pack: Path, sha256: str) -> None:
        """Add a stored pack; two sources may be one commit."""
        base = self._repository / "objects/pack" / f"pack-{sha256[:40]}"
        if base.with_suffix(".pack").is_symlink():
            return
        base.with_suffix(".pack").symlink_to(pack.resolve())
        base.with_suffix(".idx").symlink_to(self._index(pack, sha256).resolve())

    def _index(self, pack: Path, sha256: str) -> Path:
        index = self._cache / f"{sha256}.idx"
        if index.is_file():
            return index
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            # Git writes it under a name of its own; a rename within the cache makes it appear whole.
            made = self._repository / f"{sha256}.idx"
            git(self._runner, self._repository, "index-pack", "-o", str(made), str(pack.resolve()))
            draft = self._cache / f".{self._repository.parent.name}-{sha256}.idx"
            draft.write_bytes(made.read_bytes())
            draft.replace(index)
        except OSError as error:
            failed(index, error)
        return index

    def changed(self, old: str, new: str) -> tuple[str, ...]:
        """Return the paths that differ between two commits; a moved file is two.

        Raises:
            SourceError: when one of them is in no pack.
        """
        words = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new)
        said = git(self._runner, self._repository, *words).stdout.decode("utf-8", "surrogateescape")
        return tuple(path for path in said.split("\0") if path)

    def read(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, Node]]:
        """Return what each commit has at the wanted paths, and the links on the way to them, in one run of git.

        Raises:
            SourceError: when git fails, or a pack lacks a file that its commit has.
        """
        asked: dict[tuple[str, str], None] = {}
        for commit, paths in wanted.items():
            for path in paths:
                asked.update(dict.fromkeys((commit, item) for item in (path, *_above(path))))
        if not asked:
            return {commit: {} for commit in wanted}
        text = "".join(f"{commit}:{path}\n" for commit, path in asked)
        answer = git(self._runner, self._repository, "cat-file", "--batch", stdin=text.encode()).stdout
        objects = dict(zip(asked, _answers(answer, len(asked)), strict=True))
        return {commit: dict(_nodes(commit, paths, objects)) for commit, paths in wanted.items()}


Objects = Mapping[tuple[str, str], tuple[str, bytes]]


def _above(path: str) -> Iterator[str]:
    while path:
        path = posixpath.dirname(path)
        yield path


def _answers(answer: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the kind and content of each object that `git cat-file --batch` printed; kind '' for a missing one."""
    at = 0
    for _ in range(count):
        end = answer.find(b"\n", at)
        if end < 0:
            raise SourceError("git cat-file ended before it had answered all questions")
        words = answer[at:end].split(b" ")
        at = end + 1
        if words[-1] == b"missing" or len(words) != 3:
            yield "", b""
            continue
        size = int(words[2])
        yield words[1].decode(), answer[at : at + size]
        at += size + 1


def _nodes(commit: str, paths: Collection[str], objects: Objects) -> Iterator[tuple[str, Node]]:
    modes = {
        posixpath.join(path, name): mode
        for (owner, path), (kind, data) in objects.items()
        if owner == commit and kind == "tree"
        for name, mode in _entries(data)
    }
    # A missing root is a missing commit: without this, everything would look as if upstream had removed it.
    if paths and objects[commit, ""][0] != "tree":
        raise SourceError(f"the store's pack of commit {commit} cannot be read", hint="`drivebuild store verify`")
    for path in {item for wanted in paths for item in (wanted, *_above(wanted)) if item}:
        kind, content = objects[commit, path]
        mode = modes.get(path, "")
        if mode == _SUBMODULE or (kind == "tree" and path in paths):
            yield path, Node("folder")
        elif mode == _LINK:
            yield path, Node("link", content)
        elif kind == "blob" and path in paths:
            yield path, Node("file", content, executable=mode == "100755")
        elif mode and not kind:
            raise SourceError(f"the store's pack of commit {commit} lacks {path}", hint="`drivebuild store verify`")


def _entries(tree: bytes) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(tree):
        end = tree.index(b"\0", at)
        mode, _, name = tree[at:end].partition(b" ")
        yield name.decode("utf-8", "surrogateescape"), mode.decode()
        at = end + 21


def read_archive(path: Path, name: str, wanted: AbstractSet[str]) -> dict[str, Node]:
    """Return what a tar archive has at the wanted paths, below its one folder, and the links on the way to them.

    Raises:
        SourceError: for a file that is no tar archive, or a damaged one.
    """
    found: dict[str, Node] = {}
    on_the_way = {item for one in wanted for item in _above(one)}
    try:
        # As a stream: seeking back in a compressed file starts it over.
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                inner = posixpath.normpath(member.name).partition("/")[2]
                if member.issym() and (inner in wanted or inner in on_the_way):
                    found[inner] = Node("link", member.linkname.encode("utf-8", "surrogateescape"))
                elif inner in wanted and member.isreg():
                    content = archive.extractfile(member)
                    data = content.read() if content else b""
                    found[inner] = Node("file", data, executable=bool(member.mode & 0o100))
                for one in wanted:
                    if one not in found and inner.startswith(one) and f"{inner}/".startswith(f"{one}/"):
                        found[one] = Node("folder")
                # The rest costs more than all else: each archive has a thousand files, of which a few are wanted.
                if found.keys() >= wanted:
                    break
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise SourceError(f"{name}: {path} cannot be read: {error}", hint="`drivebuild store verify`") from error
    return found


def write_node(target: Path, node: Node) -> None:
    """Write a file, link or folder, with the folders above it, unless something is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if node.kind == "folder":
        target.mkdir(exist_ok=True)
    elif target.is_symlink() or target.exists():
        return
    elif node.kind == "link":
        target.symlink_to(node.content.decode("utf-8", "surrogateescape"))
    else:
        target.write_bytes(node.content)
        if node.executable:
            target.chmod(0o755)
