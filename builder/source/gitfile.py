"""One text file of a repository at a revision: from a mirror on this disk, or from a server that is asked."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from builder.errors import SourceError, UsageError
from builder.source.git import local_words, network_words, shown_url
from builder.source.gitref import PATIENCE, Asker, essence
from builder.source.runs import finished

__all__ = ["TextAt", "read_text_at"]

_REVISION = re.compile(r"(?!-)[A-Za-z0-9][A-Za-z0-9._/+-]{0,200}")
_SEEN = "refs/seen/wanted"


@dataclass(frozen=True, slots=True)
class TextAt:
    """A file's text, and where it is from."""

    text: str
    commit: str
    day: str
    """Of the commit, `2026-11-21`."""
    url: str


def read_text_at(url: str, revision: str, path: str, asker: Asker, *, largest: int) -> TextAt:
    """Return a file of a repository at a commit, branch or tag, from the first place that has it.

    Raises:
        UsageError: for a revision that cannot be one.
        SourceError: when no place has the revision or the file, with what each said; when the file is too large.
    """
    if not _REVISION.fullmatch(revision) or ".." in revision or "@{" in revision:
        raise UsageError(f"{revision!r} is no commit, branch or tag")
    tries: list[str] = []
    for place in asker.candidates(url):
        with _repository(place, revision, asker) as (repository, complaint):
            if not complaint:
                reader = _Reader(repository, asker)
                commit = reader.commit(revision)
                if commit:
                    return reader.text(commit, path, shown_url(place), largest)
            tries.append(f"  {shown_url(place)}: {complaint or f'it has no {revision}'}")
    lines = "\n".join(tries) or "  it has no mirror, and the site's configuration does not ask upstream"
    hint = "a mirror is configured for a URL's beginning; `drivebuild doctor --network` says which hosts answer"
    raise SourceError(f"{shown_url(url)}: {revision} cannot be had\n{lines}", hint=hint)


@contextmanager
def _repository(url: str, revision: str, asker: Asker) -> Iterator[tuple[Path, str]]:
    """Yield a repository that may have the revision, or why there is none. One on this disk is read where it lies."""
    own = _on_disk(url)
    if own is not None:
        yield own, ""
        return
    with tempfile.TemporaryDirectory(prefix="drivebuild-file-", ignore_cleanup_errors=True) as folder:
        repository = Path(folder) / "file.git"
        done = finished(
            asker.runner,
            (*local_words(repository), "init", "--quiet", "--bare", "--template=", str(repository)),
            program="git",
        )
        if done.code == 0:
            words = (
                *network_words(repository, asker.environment),
                *PATIENCE,
                "fetch",
                "--quiet",
                "--no-tags",
                "--depth=1",
            )
            options = ("--no-write-fetch-head", "--no-auto-maintenance")
            done = finished(asker.runner, (*words, *options, "--", url, f"+{revision}:{_SEEN}"), program="git")
        yield repository, "" if done.code == 0 else essence(done.stderr) or f"git fetch ended with {done.code}"


def _on_disk(url: str) -> Path | None:
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    folder = Path(unquote(parts.path))
    return next((place for place in (folder / ".git", folder) if (place / "objects").is_dir()), None)


class _Reader:
    """Asks a repository on this disk."""

    def __init__(self, repository: Path, asker: Asker) -> None:
        self._repository, self._asker = repository, asker

    def commit(self, revision: str) -> str:
        """Return the commit that a revision names; '' where there is none."""
        for name in (_SEEN, revision, f"refs/remotes/origin/{revision}"):
            done = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            if done is not None:
                return done.decode("ascii", "replace").strip()
        return ""

    def text(self, commit: str, path: str, where: str, largest: int) -> TextAt:
        size = self._git("cat-file", "-s", f"{commit}:{path}")
        if size is None:
            raise SourceError(f"{where}: commit {commit[:12]} has no file {path}", hint="was it moved, or removed?")
        if int(size) > largest:
            raise SourceError(f"{where}: {path} has {int(size)} bytes, which is no README")
        content = self._git("cat-file", "blob", f"{commit}:{path}")
        if content is None:
            raise SourceError(f"{where}: {path} at {commit[:12]} cannot be read", hint="is the mirror complete?")
        day = self._git("log", "-1", "--format=%cs", commit) or b""
        return TextAt(content.decode("utf-8", "replace"), commit, day.decode("ascii", "replace").strip(), where)

    def _git(self, *words: str) -> bytes | None:
        done = finished(self._asker.runner, (*local_words(self._repository), *words), program="git")
        return done.stdout if done.code == 0 else None
