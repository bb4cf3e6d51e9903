"""What happened between two commits. Asks a git server for history, not for files; writes no recipe."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.errors import SourceError
from builder.source.git import local_words, network_words, shown_url
from builder.source.gitref import PATIENCE, Asker, Found, clean, essence
from builder.source.runs import finished

__all__ = ["SHOWN", "Between", "Commit", "compare", "history"]

SHOWN = 30
"""Commits of a log that are shown."""

Relation = Literal["forward", "back", "apart", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit of a log; its title is a stranger's text without control characters."""

    id: str
    day: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """How a new commit stands to an old one."""

    relation: Relation
    """`forward`: the old one is an ancestor. `back`: the new one is. `apart`: neither. `gone`: there is no old one."""
    ahead: int = 0
    """How many commits the new one has that the old one has not."""
    behind: int = 0
    commits: tuple[Commit, ...] = ()
    """Of those ahead the newest, at most SHOWN."""
    old_day: str = ""
    new_day: str = ""


def compare(old: str, found: Found, asker: Asker) -> Between:
    """Return what happened between the old commit and the one that was found.

    Raises:
        SourceError: when the new commit cannot be fetched, or is no commit.
    """
    with tempfile.TemporaryDirectory(prefix="drivebuild-log-", ignore_cleanup_errors=True) as folder:
        log = _Log(Path(folder) / "log.git", found.url, asker)
        log.bring(old, found)
        return log.between(old, found.commit)


def history(old: str, found: Found, asker: Asker) -> tuple[str, ...]:
    """Return the same as lines for people.

    Raises:
        SourceError: as `compare`.
    """
    return tuple(_told(old, found, compare(old, found, asker)))


def _told(old: str, found: Found, between: Between) -> Iterator[str]:
    """Yield the lines; both commits' days where one does not come from the other."""
    ahead, behind = between.ahead, between.behind
    new = f"new: {found.commit} of {between.new_day}"
    match between.relation:
        case "gone":
            where = shown_url(found.url)
            yield f"the old commit is not in {where}: its history was rewritten, or it is another repository"
            yield new
        case "apart":
            yield "the old commit is not an ancestor of the new one: another line, or history was rewritten"
        case "back":
            number = f"{behind} commit{'s' * (behind > 1)}"
            yield f"the new commit is {number} before the old one: history was taken back, or the mirror is older"
        case "forward":
            pass
    if behind:
        yield f"old: {old} of {between.old_day}"
        yield new
    if ahead:
        yield f"{ahead} commit{'s' * (ahead > 1)}:"
        yield from (f"  {one.id} {one.title}"[:200] for one in between.commits)
    if ahead > SHOWN:
        yield f"  and {ahead - SHOWN} more"


@dataclass(frozen=True, slots=True)
class _Log:
    """A repository that has commits and, where the server can leave them out, no files."""

    repository: Path
    url: str
    asker: Asker

    def bring(self, old: str, found: Found) -> None:
        """Fetch both commits with their history; the old one may be gone.

        Raises:
            SourceError: when the new one cannot be had or is no commit.
        """
        self._local("init", "--quiet", "--bare", "--template=", str(self.repository))
        self._local("config", "remote.origin.url", self.url)
        # By the ref's name: some servers hand out no commit by its number.
        complaint = self._fetch(found.ref)
        if complaint:
            raise SourceError(f"{shown_url(self.url)}: {found.ref} cannot be fetched: {complaint}", hint="try again")
        if not self._has(found.commit):
            # A branch may have moved since it was asked for; a ref may name a tree or a file, which have no history.
            message = f"{shown_url(self.url)}: {found.ref} is no commit, or moved this moment: {found.commit}"
            raise SourceError(message, hint="try again")
        if not self._has(old):
            self._fetch(old)

    def between(self, old: str, new: str) -> Between:
        if not self._has(old):
            return Between(relation="gone", new_day=self._day(new))
        ahead, behind = self._count(f"{old}..{new}"), self._count(f"{new}..{old}")
        relation: Relation = ("apart" if ahead else "back") if behind else "forward"
        # Titles are strangers' texts: the zero byte is the one character they cannot have.
        words = ("log", "-z", "--format=%h%n%cs%n%s", "--no-color", f"--max-count={SHOWN}", f"{old}..{new}")
        rows = [row.split("\n", 2) for row in self._local(*words).split("\0") if row]
        return Between(
            relation=relation,
            ahead=ahead,
            behind=behind,
            commits=tuple(Commit(id=row[0], day=row[1], title=clean(row[2])) for row in rows if len(row) == 3),
            old_day=self._day(old),
            new_day=self._day(new),
        )

    def _fetch(self, what: str) -> str:
        words = (*network_words(self.repository, self.asker.environment), *PATIENCE, "fetch", "--quiet", "--no-tags")
        options = ("--no-write-fetch-head", "--no-auto-maintenance", "--filter=tree:0")
        done = finished(self.asker.runner, (*words, *options, "origin", f"+{what}:refs/seen/{what}"), program="git")
        return "" if done.code == 0 else essence(done.stderr) or f"git fetch ended with {done.code}"

    def _has(self, commit: str) -> bool:
        words = (*local_words(self.repository), "cat-file", "-t", commit)
        return finished(self.asker.runner, words, program="git").stdout.strip() == b"commit"

    def _day(self, commit: str) -> str:
        return self._local("log", "-1", "--format=%cs", commit).strip()

    def _count(self, commits: str) -> int:
        return int(self._local("rev-list", "--count", commits))

    def _local(self, *words: str) -> str:
        done = finished(self.asker.runner, (*local_words(self.repository), *words), program="git")
        if done.code != 0:
            raise SourceError(f"git {words[0]} failed: {essence(done.stderr)}")
        return done.stdout.decode("utf-8", "replace")
