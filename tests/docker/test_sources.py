"""`--source NAME=DIR` with real git repositories, and one of them in a real build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.engine import stage, toy_plan

from builder.engine.local import LocalSource, local_sources
from builder.engine.process import Argv, SystemRunner
from builder.engine.record import BuildRecord
from builder.errors import SourceError, UsageError

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")


def git(folder: Path, *words: str) -> str:
    command: Argv = ("git", "-C", str(folder), *IDENTITY, *words)
    result = SystemRunner().run(command)
    assert result.code == 0, result.complaint
    return result.text


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    """Return a repository with two commits, what differs from them, and the first commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "text").write_bytes(b"first\r\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    first = git(folder, "rev-parse", "HEAD")
    (folder / "text").write_text("second")
    git(folder, "commit", "--quiet", "-a", "-m", "second")
    (folder / "text").write_text("not committed")
    (folder / "untracked").write_text("x")
    return folder, first


def sources(word: str, commit: str) -> tuple[LocalSource, ...]:
    plan = toy_plan(stage("src-ops", commit=commit), stage("image", "src-ops"))
    return local_sources(plan, [word], SystemRunner())


@pytest.mark.parametrize("bare", [False, True])
def test_exactly_the_pinned_commit(repository: tuple[Path, str], tmp_path: Path, *, bare: bool) -> None:
    folder, first = repository
    if bare:
        git(tmp_path, "clone", "--quiet", "--bare", str(folder), "bare.git")
        folder = tmp_path / "bare.git"
    (found,) = sources(f"ops={folder}", first)
    assert found.stage == "src-ops"
    assert sorted(path.name for path in found.folder.iterdir()) == ["run.sh", "text"]
    assert (found.folder / "text").read_bytes() == b"first\r\n"
    assert (found.folder / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (found.folder / "text").stat().st_mode & 0o777 == 0o644
    assert first[:12] in found.note
    assert sources(f"src-ops={folder}", first) == (found,)


def test_the_repository_itself_is_not_touched(repository: tuple[Path, str]) -> None:
    folder, first = repository
    before = git(folder, "status", "--porcelain=v2")
    sources(f"ops={folder}", first)
    assert git(folder, "status", "--porcelain=v2") == before


@pytest.mark.parametrize("missing", [False, True])
def test_a_repositorys_own_settings_run_nothing(repository: tuple[Path, str], tmp_path: Path, missing: bool) -> None:
    """A stranger's repository, unpacked from an archive: its configuration names programs."""
    folder, _first = repository
    touch = f"touch {tmp_path}/pwned; cat"
    (folder / ".gitattributes").write_text("* filter=evil diff=evil\n")
    git(folder, "add", ".gitattributes")
    git(folder, "commit", "--quiet", "-m", "attributes")
    commit = "1" * 40 if missing else git(folder, "rev-parse", "HEAD")
    for name, value in (
        ("filter.evil.smudge", touch),
        ("filter.evil.process", touch),
        ("core.fsmonitor", touch),
        ("core.sshCommand", touch),
        ("core.hooksPath", str(tmp_path / "hooks")),
        ("remote.origin.url", "ssh://evil.example/x"),
        ("remote.origin.promisor", "true"),
        ("extensions.partialClone", "origin"),
        ("core.repositoryFormatVersion", "1"),
    ):
        git(folder, "config", name, value)
    hook = tmp_path / "hooks/post-checkout"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/pwned\n")
    hook.chmod(0o755)
    if missing:
        with pytest.raises(SourceError, match="does not have the pinned commit"):
            sources(f"ops={folder}", commit)
    else:
        (found,) = sources(f"ops={folder}", commit)
        assert (found.folder / "text").read_text() == "second"
    assert not (tmp_path / "pwned").exists()


def test_a_second_work_tree_of_a_repository(repository: tuple[Path, str], tmp_path: Path) -> None:
    folder, first = repository
    git(folder, "worktree", "add", "--quiet", str(tmp_path / "second"), first)
    (found,) = sources(f"ops={tmp_path / 'second'}", first)
    assert (found.folder / "text").read_bytes() == b"first\r\n"


def test_a_repository_without_the_commit(repository: tuple[Path, str]) -> None:
    with pytest.raises(SourceError) as caught:
        sources(f"ops={repository[0]}", "0" * 40)
    assert "0" * 40 in caught.value.message
    assert "fetch origin" in caught.value.hint


def test_a_plain_folder_is_used_as_it_is_even_inside_of_a_repository(repository: tuple[Path, str]) -> None:
    inside = repository[0] / "inside"
    inside.mkdir()
    (found,) = sources(f"ops={inside}", repository[1])
    assert found.folder == inside
    assert "as it is" in found.note


@pytest.mark.parametrize(
    ("word", "message"),
    [("ops", "not NAME=DIR"), ("opps=/", "no source 'opps'"), ("ops=/no/such", "no folder")],
)
def test_words_that_cannot_be_meant(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sources(word, "0" * 40)


@pytest.mark.docker
def test_a_build_from_a_repository(
    build_toy: Callable[..., BuildRecord], tag: str, repository: tuple[Path, str]
) -> None:
    folder, first = repository
    dockerfile = f"""\
FROM scratch AS src-ops
ADD https://git.drivebuild.invalid/ops.git#{first} /
FROM localhost/drivebuild/base:debian-12 AS image
COPY --from=src-ops / /ops
"""
    build_toy(dockerfile, "src-ops", "image", sources=sources(f"ops={folder}", first))
    listed = SystemRunner().run(("docker", "run", "--rm", tag, "ls", "-A", "/ops"))
    assert listed.text.split() == ["run.sh", "text"]
