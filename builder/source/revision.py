"""Files of a repository as they were in one of its commits. Asks no server, and changes neither index nor work tree."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.errors import SourceError
from builder.source.git import local_words
from builder.source.runs import Runner, finished

__all__ = ["Revision", "enclosing", "revision_of"]

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?\Z")


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit of a repository on this disk."""

    top: Path
    """The root of the work tree."""
    commit: str
    runner: Runner

    def inside(self, path: Path) -> Path | None:
        """Return a path relative to the work tree's root, or None for one outside of it."""
        whole = path.resolve()
        return whole.relative_to(self.top) if whole.is_relative_to(self.top) else None

    def export(self, paths: Iterable[Path], into: Path) -> None:
        """Write what the commit has below `paths` (relative to the root) to a folder, under the same names.

        Raises:
            SourceError: when git cannot, such as in a clone without the files' content.
        """
        environment = {"GIT_INDEX_FILE": str(into / ".index")}
        self._git("read-tree", self.commit, environment=environment)
        # As text for git: a folder of recipes may have any name.
        wanted = [f":(top,literal){path.as_posix()}" for path in paths]
        listed = self._git("ls-files", "-z", "--", *wanted, environment=environment)
        words = ("checkout-index", "-z", "--stdin", f"--prefix={into}/")
        self._git(*words, stdin=listed, environment=environment)
        (into / ".index").unlink(missing_ok=True)

    def same(self, paths: Iterable[Path], suffix: str) -> bool:
        """Return whether the files of that suffix below `paths` are those of the commit, to the byte."""
        wanted = tuple(paths)
        words = [f":(top,literal){path.as_posix()}" for path in wanted]
        before = dict(_blobs(self._git("ls-tree", "-r", "-z", "--full-tree", self.commit, "--", *_plain(words))))
        now: dict[str, str] = {}
        for path in wanted:
            whole = self.top / path
            for file in sorted(whole.rglob(f"*{suffix}")) if whole.is_dir() else [whole] if whole.is_file() else []:
                now[file.relative_to(self.top).as_posix()] = _blob(file.read_bytes(), self.commit)
        return now == {name: blob for name, blob in before.items() if name.endswith(suffix)}

    def _git(self, *words: str, stdin: bytes = b"", environment: dict[str, str] | None = None) -> bytes:
        line = (*local_words(self.top / ".git", {"GIT_WORK_TREE": str(self.top), **(environment or {})}), *words)
        done = finished(self.runner, line, stdin=stdin, program="git")
        if done.code:
            said = done.stderr.decode("utf-8", "replace").strip()
            hint = "a clone without all content (--filter) lacks it: clone the whole repository"
            raise SourceError(f"{self.top}: git {words[0]} of {self.commit[:12]} failed: {said}", hint=hint)
        return done.stdout


def _plain(words: Iterable[str]) -> Iterable[str]:
    # ls-tree takes paths and no magic.
    return (word.partition(")")[2] for word in words)


def _blobs(listed: bytes) -> Iterable[tuple[str, str]]:
    for line in listed.split(b"\0"):
        facts, tab, name = line.partition(b"\t")
        if tab:
            yield name.decode("utf-8", "surrogateescape"), facts.split()[2].decode("ascii")


def _blob(content: bytes, like: str) -> str:
    """Return git's name of a content; repositories have SHA-1 or SHA-256."""
    made = hashlib.sha256() if len(like) == 64 else hashlib.sha1(usedforsecurity=False)
    made.update(b"blob %d\0" % len(content) + content)
    return made.hexdigest()


def enclosing(folder: Path) -> Path | None:
    """Return the root of the work tree that a folder lies in, or None."""
    whole = folder.resolve()
    # A `.git` file leads to another folder: a work tree of its own, or a submodule.
    return next((each for each in (whole, *whole.parents) if (each / ".git").exists()), None)


def revision_of(folder: Path, text: str, runner: Runner) -> Revision:
    """Return the commit that a text (`main`, `HEAD~3`, a tag, 40 digits) names in the repository of a folder.

    Raises:
        SourceError: when there is no git, no repository, or no such commit; a shallow clone is named as the reason.
    """
    top = enclosing(folder)
    if top is None:
        hint = "--since compares with a commit: keep the recipes in git, or leave it out"
        raise SourceError(f"{folder}: in no git repository", hint=hint)
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
    done = finished(runner, (*local_words(top / ".git"), *words), program="git")
    commit = done.stdout.decode("ascii", "replace").strip()
    if done.code == 0 and _COMMIT.match(commit):
        return Revision(top, commit, runner)
    said = done.stderr.decode("utf-8", "replace").strip()
    if set(text) == {"0"}:
        hint = "forty zeros are what a CI service calls the commit before a new branch: leave --since out then"
    elif (top / ".git/shallow").is_file() or _shallow(top, runner):
        hint = "this clone is shallow: `git fetch --unshallow`, or in CI the whole history (fetch-depth: 0)"
    else:
        hint = "a branch, a tag, or a commit that is in this clone; `git fetch` brings what is not"
    raise SourceError(f"{top}: there is no commit {text!r}{f' ({said})' if said else ''}", hint=hint)


def _shallow(top: Path, runner: Runner) -> bool:
    done = finished(runner, (*local_words(top / ".git"), "rev-parse", "--is-shallow-repository"), program="git")
    return done.stdout.strip() == b"true"
