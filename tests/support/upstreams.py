"""The real upstreams as git mirrors on disk, for checks that want the real thing.

    python tests/support/upstreams.py FOLDER

Looks for mirrors named `<owner>+<name>/repo` (in $DRIVEBUILD_UPSTREAMS, or in `.mirror` beside the checkout), and
writes FOLDER/drivebuild.yaml, which maps every git source of the recipes to its mirror. Prints the `--pin` options that
are needed because a mirror lacks a commit, or files of it: then the nearest commit is named, or a copy of the commit
without those files is made below FOLDER. Upstream's files reach no commit of this project.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.recipe.types import GitSource
from builder.source.catalog import read_catalog

ROOT = Path(__file__).resolve().parents[2]
NEAREST = {
    # The recipes' commits are newer than what these mirrors hold; facts: recipes.md section 1.2.
    "panoocc": "f7232991fba3f0393066fb501795246fdfc64544",
    "tpvformer": "4c607ce84d3f64fa091794e11f9780f451055bdd",
}
WITHOUT = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
WITHOUT |= {f"GIT_{who}_{what}": "drivebuild" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@dataclass(frozen=True)
class Upstreams:
    """What stands for each URL, what is pinned otherwise and why, and what is not there at all."""

    mirrors: Mapping[str, str]
    pins: Mapping[str, str]
    notes: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """Return the pins as words of drivebuild's command line."""
        return tuple(word for name, commit in self.pins.items() for word in ("--pin", f"{name}={commit}"))


def mirror_folder() -> Path:
    """Return where the mirrors would be. It need not be there."""
    return Path(os.environ.get("DRIVEBUILD_UPSTREAMS") or ROOT.parent / ".mirror")


def git(repository: Path, *words: str, env: Mapping[str, str] | None = None) -> str:
    """Run git on one repository; lazy fetches of a partial mirror are forbidden."""
    environment = {**os.environ, "GIT_NO_LAZY_FETCH": "1", **(env or {})}
    command = ["git", f"--git-dir={repository}", *words]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def find_upstreams(target: Path) -> Upstreams:
    """Return the mirrors of all git sources of the shipped recipes; copies are made below `target`."""
    mirrors: dict[str, str] = {}
    pins: dict[str, str] = {}
    notes: list[str] = []
    absent: list[str] = []
    for name, source in read_catalog().sources.items():
        if not isinstance(source, GitSource):
            continue
        owner, project = source.url.removesuffix(".git").split("/")[-2:]
        repository = mirror_folder() / f"{owner}+{project}" / "repo"
        if not repository.is_dir():
            absent.append(name)
            continue
        commit = source.commit if has(repository, source.commit) else NEAREST.get(name, "")
        if not commit or not has(repository, commit):
            absent.append(name)
            continue
        if commit != source.commit:
            pins[name] = commit
            notes.append(f"{name}: the mirror lacks {source.commit}; {commit} is the nearest it has")
        gone = missing(repository, commit)
        if gone:
            repository, pins[name] = without(repository, commit, gone, target / f"{name}.git")
            notes.append(f"{name}: the mirror lacks files of {commit}: {', '.join(gone)}; {pins[name]} is without them")
        mirrors[source.url] = f"file://{repository.resolve()}"
    return Upstreams(mirrors, pins, tuple(notes), tuple(absent))


def has(repository: Path, commit: str) -> bool:
    try:
        git(repository, "cat-file", "-e", f"{commit}^{{commit}}")
    except subprocess.CalledProcessError:
        return False
    return True


def missing(repository: Path, commit: str) -> list[str]:
    """Return the paths of a commit's files whose content the mirror does not have."""
    listed = git(repository, "rev-list", "--objects", "--no-walk", "--missing=print", commit)
    gone = {line[1:] for line in listed.splitlines() if line.startswith("?")}
    if not gone:
        return []
    rows = (line.split(None, 3) for line in git(repository, "ls-tree", "-r", commit).splitlines())
    return sorted(path for _, _, blob, path in rows if blob in gone)


def without(repository: Path, commit: str, gone: list[str], target: Path) -> tuple[Path, str]:
    """Make a repository with a copy of `commit` that lacks some files; return it and the copy's commit."""
    subprocess.run(["git", "init", "--quiet", "--bare", str(target)], check=True)
    (target / "objects" / "info" / "alternates").write_text(f"{(repository / 'objects').resolve()}\n", encoding="utf-8")
    index = {**WITHOUT, "GIT_INDEX_FILE": str(target / "copy.index"), "GIT_WORK_TREE": str(target)}
    git(target, "read-tree", commit, env=index)
    git(target, "update-index", "--force-remove", "--", *gone, env=index)
    tree = git(target, "write-tree", env=index)
    copy = git(target, "commit-tree", tree, "-m", f"{commit} without {', '.join(gone)}", env=index)
    git(target, "update-ref", "refs/heads/main", copy)
    return target, copy


def config_text(upstreams: Upstreams) -> str:
    """Return the text of a drivebuild.yaml that maps the URLs to the mirrors."""
    lines = [f"  {url}: [{mirror}]" for url, mirror in upstreams.mirrors.items()]
    return "\n".join(["mirrors:", *lines, ""])


def main() -> None:
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    found = find_upstreams(target)
    (target / "drivebuild.yaml").write_text(config_text(found), encoding="utf-8")
    absent = [f"no mirror of: {', '.join(found.absent)}"] if found.absent else []
    sys.stderr.writelines(f"{line}\n" for line in (*found.notes, *absent))
    sys.stdout.write(f"{' '.join(found.options)}\n")


if __name__ == "__main__":
    main()
