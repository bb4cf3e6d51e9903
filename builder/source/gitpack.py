"""One commit of a git repository as one pack file: its commit object, trees and blobs, proven against its 40 digits.

A pack is what git can check by itself, on any machine: every object in it has the name it claims, and the commit
names all of them. It holds no history.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from builder.errors import SourceError
from builder.source.disk import digest
from builder.source.git import git, local_words, network_words, received, shown_url
from builder.source.runs import Runner, Stop, Tell, finished, follow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.source.store import Entry, Store

__all__ = ["Git", "Wanted", "export", "fetch_commit", "prove"]

LISTED = 10
"""Missing paths named in one message."""
# Blemishes of old commits that change no file's content. What could hurt a checkout (.git in a tree) stays an error.
OLD_BLEMISHES = (
    "zeroPaddedFilemode",
    "badTimezone",
    "badTimezoneOverflow",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingNameBeforeEmail",
    "badEmail",
    "missingEmail",
    "zeroPaddedDate",
)
# What a server says that has the repository but will not hand out a commit by its number.
_REFUSED = re.compile(
    r"not our ref|unadvertised object|couldn't find remote ref|does not support shallow|dumb http|no such remote ref"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Wanted(Protocol):
    """What to fetch; `GitNeed` is one."""

    @property
    def key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def commit(self) -> str: ...
    @property
    def ref(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """What all fetches share: the store, who runs git, where else a URL may be had, and when to give up."""

    store: Store
    runner: Runner
    candidates: Callable[[str], tuple[str, ...]]
    environment: Mapping[str, str]
    """Proxies and certificates, as git reads them."""
    stop: Stop


def fetch_commit(wanted: Wanted, tools: Git, tell: Tell | None = None) -> Entry:
    """Put a commit into the store, from the first place that has all of it.

    Raises:
        SourceError: naming every place that was asked, why each failed, and the paths that are missing.
    """
    # One clone for each repository, so that its second commit costs only what differs.
    name = f"git-{wanted.url}"
    with tools.store.lock(name, stop=tools.stop), _clone(tools, name) as clone:
        # Another drivebuild may have been at it while this one waited.
        there = tools.store.find(wanted.key)
        if there:
            return there
        tries: list[str] = []
        for url in tools.candidates(wanted.url):
            failure = _try(wanted, url, clone, tools, tell)
            if not failure:
                return _published(wanted, url, clone, tools)
            tries.append(f"{shown_url(url)}: {failure}")
    lines = "\n".join(f"  {line}" for line in tries or [f"no mirror has {wanted.url}, and upstream is not to be asked"])
    hint = f"another mirror that has it, or another commit: --pin {wanted.name}=COMMIT"
    raise SourceError(f"{wanted.name}: commit {wanted.commit} cannot be had\n{lines}", hint=hint)


@contextmanager
def _clone(tools: Git, name: str) -> Iterator[Path]:
    """Yield the bare repository that is this URL's cache. Who is killed leaves a mark; the next one starts afresh."""
    clone = tools.store.partial(name)
    mark = clone.with_name(f"{clone.name}.busy")
    if mark.exists() or not (clone / "HEAD").is_file():
        shutil.rmtree(clone, ignore_errors=True)
    mark.touch()
    if not clone.is_dir():
        git(tools.runner, clone, "init", "--quiet", "--bare", "--template=", str(clone))
    try:
        yield clone
    except SourceError:
        # A refusal is no damage; anything else may have left locks and halves behind.
        if not tools.stop():
            mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)


def _try(wanted: Wanted, url: str, clone: Path, tools: Git, tell: Tell | None) -> str:
    """Bring the commit into the clone; return why it did not work, or nothing."""
    if not _lacking(tools.runner, clone, wanted.commit):
        return ""
    ref = wanted.ref.split()[-1] if wanted.ref.split() else ""
    everything = ("+refs/heads/*:refs/copied/heads/*", "+refs/tags/*:refs/copied/tags/*")
    # By its number; then by the name people gave it; then all there is, which some servers' rules make necessary.
    steps = [("--depth=1", wanted.commit), *([("--depth=1", ref)] if _is_ref(ref) else []), everything]
    failure = ""
    for step in steps:
        failure = _fetched(step, url, clone, tools, tell)
        if not failure:
            lacking = _lacking(tools.runner, clone, wanted.commit)
            if not lacking:
                return ""
            failure = "it does not have the commit"
        elif not _REFUSED.search(failure):
            break
    return _explained(failure, url, wanted.commit, tools.runner)


def _is_ref(word: str) -> bool:
    return bool(re.fullmatch(r"(?!-)[A-Za-z0-9._/+-]+", word)) and ".." not in word and not _COMMIT.fullmatch(word)


def _fetched(step: tuple[str, ...], url: str, clone: Path, tools: Git, tell: Tell | None) -> str:
    deep = () if "--depth=1" in step or not (clone / "shallow").is_file() else ("--unshallow",)
    words = ("fetch", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--progress", *deep)
    options, refs = [word for word in step if word.startswith("--")], [word for word in step if word[0] != "-"]

    def hear(piece: bytes) -> None:
        if tell and (count := received(piece)):
            tell(*count)

    argv = (*network_words(clone, tools.environment), *words, *options, "--", url, *refs)
    code, said = follow(tools.runner, argv, stop=tools.stop, hear=hear, program="git")
    return "" if code == 0 else _essence(said) or f"git fetch ended with {code}"


def _essence(said: str) -> str:
    """Return git's complaint without its progress, as one line."""
    lines = [line.rsplit("\r", 1)[-1].strip() for line in said.replace("\r\n", "\n").splitlines()]
    wanted = [line for line in lines if line.startswith(("fatal:", "error:", "remote: fatal:", "ssh:", "ERROR:"))]
    return "; ".join(dict.fromkeys(wanted or [line for line in lines if line][-2:]))[:600]


def _lacking(runner: Runner, repository: Path, commit: str) -> tuple[str, ...]:
    """Return the objects of a commit that a repository does not have; the commit itself when that is missing."""
    words = (*local_words(repository), "rev-list", "--objects", "--no-walk", "--missing=print", commit)
    done = finished(runner, words, program="git")
    if done.code != 0:
        return (commit,)
    return tuple(line[1:].decode() for line in done.stdout.splitlines() if line.startswith(b"?"))


def _explained(failure: str, url: str, commit: str, runner: Runner) -> str:
    """Say what a repository on this disk lacks: git itself names the first missing object, and no path."""
    folder = _on_disk(url)
    if folder is None:
        return failure
    lacking = _lacking(runner, folder, commit)
    if lacking == (commit,):
        return "it does not have the commit"
    if not lacking:
        return failure
    listed = finished(runner, (*local_words(folder), "ls-tree", "-r", "-t", "-z", commit), program="git").stdout
    names: dict[str, str] = {}
    for row in listed.decode("utf-8", "replace").split("\0"):
        head, _, path = row.partition("\t")
        names.setdefault(head.rpartition(" ")[2], path)
    paths = sorted(names.get(one, one) for one in lacking)
    more = f", and {len(paths) - LISTED} more" if len(paths) > LISTED else ""
    return f"it has the commit, but not these files: {', '.join(paths[:LISTED])}{more}"


def _on_disk(url: str) -> Path | None:
    """Return the git folder behind a file:// URL."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    folder = Path(unquote(parts.path))
    for one in (folder / ".git", folder):
        if (one / "objects").is_dir():
            return one
    return None


def _published(wanted: Wanted, url: str, clone: Path, tools: Git) -> Entry:
    """Pack the commit, prove the pack and put it into the store."""
    kind = git(tools.runner, clone, "cat-file", "-t", wanted.commit).stdout.decode().strip()
    if kind != "commit":
        raise SourceError(f"{wanted.name}: {wanted.commit} is a {kind}, not a commit", hint=f"of {shown_url(url)}")
    scratch = clone.with_name(f"{clone.name}.scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        git(tools.runner, scratch, "init", "--quiet", "--bare", "--template=", str(scratch))
        objects = git(tools.runner, clone, "rev-list", "--objects", "--no-walk", wanted.commit).stdout
        base = scratch / "objects/pack/pack"
        # One thread: so the same objects make the same pack more often than not.
        words = ("pack-objects", "--quiet", "--threads=1", "--delta-base-offset", str(base))
        made = git(tools.runner, clone, *words, stdin=objects).stdout.decode().strip()
        pack = base.with_name(f"pack-{made}.pack")
        note = prove(tools.runner, scratch, pack, wanted.commit)
        file = f"{wanted.name}-{wanted.commit[:12]}.pack"
        return tools.store.add(wanted.key, pack, file=file, origin=shown_url(url), sha256=digest(pack), note=note)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def prove(runner: Runner, scratch: Path, pack: Path, commit: str) -> str:
    """Check that a pack in an otherwise empty repository is exactly this commit, whole; return what is odd about it.

    Raises:
        SourceError: when it is not.
    """
    # Its parents are not in the pack, and are not missed.
    (scratch / "shallow").write_text(f"{commit}\n", encoding="ascii")
    pack.with_suffix(".idx").unlink(missing_ok=True)
    _index(runner, scratch, pack)
    lacking = _lacking(runner, scratch, commit)
    if lacking:
        raise SourceError(f"the pack of commit {commit} lacks {len(lacking)} of its objects: {lacking[0]}")
    rows = git(runner, scratch, "ls-tree", "-r", "-z", commit).stdout.decode("utf-8", "replace").split("\0")
    links = [row.partition("\t")[2] for row in rows if row.startswith("160000 ")]
    return f"without its submodules: {', '.join(links)}" if links else ""


def _index(runner: Runner, scratch: Path, pack: Path) -> None:
    forgiven: list[str] = []
    while True:
        # Named one by one, as they are met: a git that does not know a name refuses the whole option.
        strict = "=".join(["--strict", *([",".join(f"{name}=warn" for name in forgiven)] if forgiven else [])])
        try:
            git(runner, scratch, "index-pack", strict, str(pack))
        except SourceError as error:
            met = [name for name in OLD_BLEMISHES if f": {name}: " in error.message and name not in forgiven]
            if not met:
                raise
            forgiven += met
        else:
            return


def export(entry: Entry, content: Path, target: Path, runner: Runner) -> None:
    """Write the files of a stored commit to `target`, which must not be there yet.

    Raises:
        SourceError: when the pack is damaged or the folder cannot be written.
    """
    commit = entry.key.partition(":")[2]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
        scratch, tree = Path(folder) / "git", Path(folder) / "tree"
        git(runner, scratch, "init", "--quiet", "--bare", "--template=", str(scratch))
        pack = scratch / "objects/pack/pack-stored.pack"
        pack.symlink_to(content.resolve())
        prove(runner, scratch, pack, commit)
        tree.mkdir(mode=0o755)
        tree.chmod(0o755)
        git(runner, scratch, "read-tree", commit)
        git(runner, scratch, f"--work-tree={tree}", "checkout-index", "--all", "--force")
        try:
            tree.rename(target)
        except OSError:
            # Another one exported the same commit meanwhile; its files are the same.
            if not target.is_dir():
                raise
