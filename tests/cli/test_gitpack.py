"""Git commits as packs: from real repositories on disk, whole ones, refusing ones, and ones that lack something."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.repos import Repository

from builder.engine.process import SystemRunner
from builder.errors import SourceError
from builder.plan.needs import GitNeed
from builder.source import git as git_words
from builder.source.gitpack import Git, export, fetch_commit
from builder.source.store import Entry, Store

URL = "https://example.org/toy.git"


@pytest.fixture(autouse=True)
def guard() -> None:
    """Stand in for the folder's guard: this is about the real git, on this disk."""


@dataclass
class Site:
    """A store, and where a URL may be had."""

    store: Store
    folder: Path
    places: tuple[str, ...] = ()
    stop: bool = False

    def need(self, commit: str, ref: str = "") -> GitNeed:
        return GitNeed(stage="src-toy", name="toy", url=URL, commit=commit, ref=ref)

    def fetch(self, commit: str, *places: str, ref: str = "") -> Entry:
        self.places = places or self.places
        tools = Git(
            store=self.store,
            runner=SystemRunner(),
            candidates=lambda _: self.places,
            environment={},
            stop=lambda: self.stop,
        )
        return fetch_commit(self.need(commit, ref), tools)

    def refused(self, commit: str, *places: str, ref: str = "") -> SourceError:
        with pytest.raises(SourceError) as caught:
            self.fetch(commit, *places, ref=ref)
        assert self.store.find(f"git:{commit}") is None
        return caught.value

    def export(self, entry: Entry) -> Path:
        target = self.folder / entry.key[4:16]
        export(entry, self.store.object(entry), target, SystemRunner())
        return target


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "trees").mkdir()
    return Site(store=Store.make(tmp_path / "store"), folder=tmp_path / "trees")


@pytest.fixture
def upstream(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "upstream")
    made.write("README.md", "one\n")
    made.write("crlf.txt", b"a\r\nb\r\n")
    made.write("bin/run.sh", "#!/bin/sh\n", mode=0o755)
    made.write("a name with blanks/ünï.txt", "x")
    (made.folder / "link").symlink_to("README.md")
    made.commit("first")
    return made


def files(tree: Path) -> dict[str, tuple[int, bytes]]:
    found = {}
    for path in sorted(tree.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(tree))] = (0, str(path.readlink()).encode())
        elif path.is_file():
            found[str(path.relative_to(tree))] = (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
    return found


WHOLE = {
    "README.md": (0o644, b"one\n"),
    "a name with blanks/ünï.txt": (0o644, b"x"),
    "bin/run.sh": (0o755, b"#!/bin/sh\n"),
    "crlf.txt": (0o644, b"a\r\nb\r\n"),
    "link": (0, b"README.md"),
}


def test_a_commit_that_no_branch_names_any_more(site: Site, upstream: Repository) -> None:
    first = upstream.git("rev-parse", "HEAD")
    upstream.write("README.md", "two\n")
    upstream.commit("second")
    entry = site.fetch(first, upstream.url)
    assert (entry.key, entry.origin, entry.note) == (f"git:{first}", upstream.url, "")
    assert files(site.export(entry)) == WHOLE
    assert site.store.verify() == ()


def test_a_pack_has_no_history(site: Site, upstream: Repository, tmp_path: Path) -> None:
    first = upstream.git("rev-parse", "HEAD")
    upstream.write("README.md", "two\n")
    second = upstream.commit("second")
    entry = site.fetch(second, upstream.url)
    other = Repository(tmp_path / "other")
    pack = other.folder / ".git/objects/pack/pack-x.pack"
    pack.write_bytes(site.store.object(entry).read_bytes())
    other.git("index-pack", str(pack))
    known = other.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)")
    assert f"{second} commit" in known
    assert first not in known


def test_a_persons_configuration_changes_no_byte(
    site: Site, upstream: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "post-index-change", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (hooks / name).chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[core]\nautocrlf = true\nhooksPath = {hooks}\nfilemode = false\n[fetch]\nprune = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    monkeypatch.setenv("GIT_WORK_TREE", "/nowhere")
    entry = site.fetch(upstream.git("rev-parse", "HEAD"), upstream.url)
    before = os.umask(0o077)
    try:
        assert files(site.export(entry)) == WHOLE
    finally:
        os.umask(before)
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Talk as old clients and servers do: they hand out only what a branch or a tag names."""
    settings = tuple(("protocol.version", "0") if name == "protocol.version" else (name, value)
                     for name, value in git_words.SETTINGS)  # fmt: skip
    monkeypatch.setattr(git_words, "SETTINGS", settings)


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize("ref", ["tag v1", "", "no such thing", "HEAD of 2025-04-24", "--upload-pack=touch"])
def test_a_server_that_refuses_bare_commits(site: Site, upstream: Repository, ref: str) -> None:
    first = upstream.git("rev-parse", "HEAD")
    if ref == "tag v1":
        upstream.git("tag", "v1")
    upstream.write("README.md", "two\n")
    upstream.commit("second")
    entry = site.fetch(first, upstream.url, ref=ref)
    assert files(site.export(entry)) == WHOLE


@pytest.mark.usefixtures("refusing")
def test_a_shallow_clone_is_deepened_where_that_is_needed(site: Site, upstream: Repository) -> None:
    first = upstream.git("rev-parse", "HEAD")
    upstream.write("README.md", "two\n")
    second = upstream.commit("second")
    site.fetch(second, upstream.url, ref="branch main")
    entry = site.fetch(first, upstream.url)
    assert files(site.export(entry)) == WHOLE


def test_a_second_commit_of_a_repository_that_is_gone_by_then(site: Site, upstream: Repository, refusing: None) -> None:
    first = upstream.git("rev-parse", "HEAD")
    upstream.write("README.md", "two\n")
    second = upstream.commit("second")
    site.fetch(first, upstream.url)
    upstream.folder.rename(upstream.folder.with_name("gone"))
    assert site.fetch(second).key == f"git:{second}"


def test_a_mirror_that_lacks_files_names_them_and_the_next_one_is_asked(
    site: Site, upstream: Repository, tmp_path: Path
) -> None:
    for number in range(12):
        upstream.write(f"figs/{number:02}.png", f"picture {number}")
    commit = upstream.commit("figures")
    whole = tmp_path / "whole"
    upstream.git("clone", "--quiet", "--bare", ".", str(whole))
    for number in range(12):
        upstream.lose(f"figs/{number:02}.png")
    error = site.refused(commit, upstream.url, "file:///no/such/mirror")
    assert f"{upstream.url}: it has the commit, but not these files: figs/00.png, figs/01.png" in error.message
    assert "figs/09.png, and 2 more" in error.message
    assert "figs/10.png" not in error.message
    assert "file:///no/such/mirror: " in error.message
    assert "--pin toy=COMMIT" in error.hint
    entry = site.fetch(commit, upstream.url, f"file://{whole}")
    assert entry.origin == f"file://{whole}"


def test_a_commit_nobody_has(site: Site, upstream: Repository, tmp_path: Path) -> None:
    other = Repository(tmp_path / "second-mirror")
    other.write("x", "x")
    other.commit()
    error = site.refused("1" * 40, upstream.url, other.url)
    assert error.message.splitlines()[0] == f"toy: commit {'1' * 40} cannot be had"
    assert error.message.count("it does not have the commit") == 2


def test_no_place_to_ask(site: Site) -> None:
    error = site.refused("1" * 40)
    assert "no mirror has https://example.org/toy.git, and upstream is not to be asked" in error.message


def test_a_tree_or_a_tag_is_no_commit(site: Site, upstream: Repository) -> None:
    tree = upstream.git("rev-parse", "HEAD^{tree}")
    assert f"{tree} is a tree, not a commit" in site.refused(tree, upstream.url).message
    upstream.git("tag", "--annotate", "--message", "m", "v1")
    tag = upstream.git("rev-parse", "v1")
    assert f"{tag} is a tag, not a commit" in site.refused(tag, upstream.url).message


def test_submodules_are_named(site: Site, upstream: Repository) -> None:
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{'3' * 40},third_party/lib")
    upstream.git("commit", "--quiet", "--message", "gitlink")
    entry = site.fetch(upstream.git("rev-parse", "HEAD"), upstream.url)
    assert entry.note == "without its submodules: third_party/lib"


def test_a_tree_that_would_write_into_git_folders_is_refused(site: Site, upstream: Repository) -> None:
    blob = upstream.git("hash-object", "-w", "README.md")
    (upstream.folder / ".git/evil").write_bytes(b"100644 .git\0" + bytes.fromhex(blob))
    tree = upstream.git("hash-object", "-w", "-t", "tree", "--literally", ".git/evil")
    commit = upstream.git("commit-tree", "-m", "evil", tree)
    assert "hasDotgit" in site.refused(commit, upstream.url).message


def test_an_old_commits_blemish_is_forgiven(site: Site, upstream: Repository) -> None:
    tree = upstream.git("rev-parse", "HEAD^{tree}")
    text = f"tree {tree}\nauthor A <a@b 1704067200 +0000\ncommitter A <a@b> 1704067200 +0000\n\nold\n"
    text = text.replace("<a@b 17", "<a@b>17")
    (upstream.folder / ".git/old").write_text(text)
    commit = upstream.git("hash-object", "-w", "-t", "commit", "--literally", ".git/old")
    assert files(site.export(site.fetch(commit, upstream.url))) == WHOLE


def test_a_damaged_pack_is_found_before_a_file_is_written(site: Site, upstream: Repository) -> None:
    entry = site.fetch(upstream.git("rev-parse", "HEAD"), upstream.url)
    content = site.store.object(entry)
    data = bytearray(content.read_bytes())
    data[len(data) // 2] ^= 1
    content.chmod(0o644)
    content.write_bytes(bytes(data))
    with pytest.raises(SourceError, match="index-pack failed"):
        site.export(entry)
    assert list(site.folder.iterdir()) == []


def test_what_a_killed_fetch_left_is_in_nobodys_way(site: Site, upstream: Repository) -> None:
    first = upstream.git("rev-parse", "HEAD")
    site.fetch(first, upstream.url)
    (clone,) = (path for path in (site.store.root / "partial").iterdir() if path.is_dir())
    for lock in ("shallow.lock", "packed-refs.lock", "config.lock"):
        (clone / lock).touch()
    (clone / "objects/pack/tmp_pack_xyz").write_bytes(b"half")
    clone.with_name(f"{clone.name}.busy").touch()
    upstream.write("README.md", "two\n")
    second = upstream.commit("second")
    assert site.fetch(second).key == f"git:{second}"
    assert not (clone / "objects/pack/tmp_pack_xyz").exists()
    assert not clone.with_name(f"{clone.name}.busy").exists()


def test_it_gives_up_when_told_to(site: Site, upstream: Repository) -> None:
    site.stop = True
    assert "interrupted" in site.refused(upstream.git("rev-parse", "HEAD"), upstream.url).message
    site.stop = False
    assert site.fetch(upstream.git("rev-parse", "HEAD")).size > 0


def test_git_is_not_installed(site: Site, upstream: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = upstream.git("rev-parse", "HEAD")
    monkeypatch.setenv("PATH", "/nowhere")
    error = site.refused(commit, upstream.url)
    assert "is not installed" in error.message
    assert error.hint


@pytest.fixture(autouse=True)
def _no_git_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run inside of a hook of git, which names a repository to its children."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
