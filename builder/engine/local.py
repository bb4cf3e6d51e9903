"""`--source NAME=DIR`: a local folder or git repository in place of what a `src-*` stage would fetch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.engine.folders import make_folder, trees_folder
from builder.engine.process import CommandMissingError, Result, Runner
from builder.errors import SourceError, UsageError
from builder.plan.stage import Plan
from builder.recipe.suggest import one_of

__all__ = ["LocalSource", "local_sources"]

PREFIX = "src-"
_PLAIN = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
"""Git without anybody's settings."""


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A folder that stands for a source stage, and what it is, in a person's words."""

    stage: str
    folder: Path
    note: str


def local_sources(plan: Plan, wanted: Sequence[str], runner: Runner) -> tuple[LocalSource, ...]:
    """Return the folders that replace source stages.

    Raises:
        UsageError: for a word that is not NAME=DIR, a source the plan does not have, or no such folder.
        SourceError: for a git repository without the pinned commit.
    """
    commits = {
        stage.name: str(stage.inputs.get("commit", "")) for stage in plan.stages if stage.name.startswith(PREFIX)
    }
    found = [_local_source(word, commits, runner) for word in wanted]
    twice = {source.stage for source in found if [other.stage for other in found].count(source.stage) > 1}
    if twice:
        raise UsageError(f"--source names {', '.join(sorted(twice))} more than once")
    return tuple(found)


def _local_source(word: str, commits: Mapping[str, str], runner: Runner) -> LocalSource:
    name, separator, path = word.partition("=")
    if not separator or not name or not path:
        raise UsageError(f"--source {word!r} is not NAME=DIR")
    stage = name if name.startswith(PREFIX) else PREFIX + name
    if stage not in commits:
        known = [known.removeprefix(PREFIX) for known in commits]
        raise UsageError(f"--source: the plan has no source {name!r}", hint=one_of(name, known))
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise UsageError(f"--source {name}: {path} is no folder")
    repository = _git_dir(folder)
    if repository is None or not commits[stage]:
        return LocalSource(stage, folder, f"{folder} as it is: nothing checks that it is what the recipe pins")
    tree = _exported(repository, commits[stage], runner, shown=folder)
    return LocalSource(stage, tree, f"commit {commits[stage][:12]} of {folder}")


def _git_dir(folder: Path) -> Path | None:
    """Return the repository that `folder` is; one that merely lies inside of another is none."""
    beside = folder / ".git"
    if beside.exists():
        return beside
    bare = (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    return folder if bare else None


def _exported(repository: Path, commit: str, runner: Runner, *, shown: Path) -> Path:
    """Return a folder with exactly the files of `commit`: what is uncommitted or untracked stays out.

    Only the repository's objects are used, through one of its own: a stranger's configuration could name programs that
    git runs here, as filters of a checkout or to fetch what is missing.
    """
    asked = ("git", f"--git-dir={repository}", "rev-parse", "--path-format=absolute", "--git-path", "objects")
    objects = _git(runner, asked, shown).text
    target = trees_folder() / commit
    make_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as scratch:
        own, tree = Path(scratch) / "own.git", Path(scratch) / "tree"
        environment = {**_PLAIN, "GIT_INDEX_FILE": f"{scratch}/index", "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects}
        _git(runner, ("git", "init", "--quiet", "--bare", "--template=", str(own)), shown, environment)
        base = ("git", f"--git-dir={own}", "-c", "core.autocrlf=false", "-c", "core.bare=false")
        if runner.run((*base, "cat-file", "-e", f"{commit}^{{commit}}"), env=environment).code != 0:
            hint = f"`git -C {shown} fetch origin {commit}`, where the host can be reached"
            raise SourceError(f"{shown} does not have the pinned commit {commit}", hint=hint)
        if target.is_dir():
            return target
        tree.mkdir()
        _git(runner, (*base, "read-tree", commit), shown, environment)
        _git(runner, (*base, f"--work-tree={tree}", "checkout-index", "--all", "--force"), shown, environment)
        _moved(tree, target)
    return target


def _moved(tree: Path, target: Path) -> None:
    tree.chmod(0o755)
    try:
        tree.rename(target)
    except OSError:
        # Another build exported the same commit meanwhile; its files are the same.
        if not target.is_dir():
            raise
        shutil.rmtree(tree)


def _git(runner: Runner, argv: tuple[str, ...], shown: Path, env: Mapping[str, str] | None = None) -> Result:
    try:
        result = runner.run(argv, env=env)
    except CommandMissingError as error:
        raise SourceError(error.message, hint="install git, or export the commit's files to a folder") from error
    if result.code != 0:
        raise SourceError(f"{shown}: git {argv[-2]} failed: {result.complaint}")
    return result
