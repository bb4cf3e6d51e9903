"""strict_apply.py against the real git: what does not fit exactly stops, and says file and place."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from builder import paths

SCRIPT = paths.TEMPLATES / "scripts" / "strict_apply.py"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def git(folder: Path, *words: str, stdin: bytes | None = None) -> bytes:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "a"),
        **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "a@example.org"),
    }
    command = ["git", "-c", "core.autocrlf=false", *words]
    return subprocess.run(command, cwd=folder, env=environment, input=stdin, check=True, capture_output=True).stdout


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")


class Tree:
    """A repository in which patches are made, and a bare copy of its first state in which they are applied."""

    def __init__(self, folder: Path) -> None:
        self.upstream = folder / "upstream"
        self.tree = folder / "tree"
        self.patch_file = folder / "change.patch"
        self.upstream.mkdir()
        self.tree.mkdir()
        git(self.upstream, "init", "--quiet")

    def start(self, files: dict[str, bytes]) -> None:
        for root in (self.upstream, self.tree):
            for path, content in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)
        git(self.upstream, "add", "--all")
        git(self.upstream, "commit", "--quiet", "--message", "start")

    def change(self, files: dict[str, bytes | None], *flags: str) -> None:
        for path, content in files.items():
            target = self.upstream / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink() if content is None else target.write_bytes(content)
        self.diff(*flags)

    def diff(self, *flags: str) -> None:
        git(self.upstream, "add", "--all")
        self.patch_file.write_bytes(git(self.upstream, "diff", "--cached", *flags))

    def apply(self) -> subprocess.CompletedProcess[str]:
        return run("patch", "--tree", self.tree, "--patch", self.patch_file)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


LINES = b"".join(b"line %d\n" % number for number in range(1, 21))


# --- patch ---------------------------------------------------------------------------------------


def test_a_patch_that_fits_is_applied(tree: Tree) -> None:
    tree.start({"a/b.py": LINES, "c.py": b"x\n"})
    tree.change({"a/b.py": LINES.replace(b"line 7", b"LINE 7"), "c.py": b"y\n"})
    result = tree.apply()
    assert result.returncode == 0, result.stderr
    assert (tree.tree / "a/b.py").read_bytes() == LINES.replace(b"line 7", b"LINE 7")
    assert "patch: 2 files" in result.stdout


def test_a_stale_hunk_is_named_with_file_and_place_and_nothing_changes(tree: Tree) -> None:
    tree.start({"a.py": LINES, "b.py": LINES})
    tree.change({"a.py": LINES.replace(b"line 2\n", b"LINE 2\n"), "b.py": LINES.replace(b"line 12\n", b"LINE 12\n")})
    stale = LINES.replace(b"line 12\n", b"other\n")
    (tree.tree / "b.py").write_bytes(stale)
    result = tree.apply()
    assert result.returncode != 0
    assert "patch failed: b.py:9" in result.stderr
    assert "b.py: patch does not apply" in result.stderr
    assert (tree.tree / "a.py").read_bytes() == LINES, "all or nothing"
    assert (tree.tree / "b.py").read_bytes() == stale
    assert not list(tree.tree.rglob("*.rej"))


def test_a_file_that_differs_elsewhere_is_refused_though_the_hunk_fits(tree: Tree) -> None:
    # git apply alone would take it: the text around the change is the same
    tree.start({"a.py": LINES})
    tree.change({"a.py": LINES.replace(b"line 3\n", b"LINE 3\n")})
    (tree.tree / "a.py").write_bytes(LINES.replace(b"line 19\n", b"other\n"))
    result = tree.apply()
    assert result.returncode != 0
    assert "a.py: is " in result.stderr
    assert f"the patch knows {blob(LINES)[:7]}" in result.stderr
    assert b"LINE 3" not in (tree.tree / "a.py").read_bytes()


def test_an_applied_patch_is_not_applied_again(tree: Tree) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": LINES.replace(b"line 3\n", b"LINE 3\n")})
    assert tree.apply().returncode == 0
    assert tree.apply().returncode != 0


def test_crlf_files_and_an_lf_patch(tree: Tree) -> None:
    """PivotNet (V1): upstream's files end their lines with CRLF, the patch's lines end with LF."""
    before = LINES.replace(b"\n", b"\r\n")
    after = before.replace(b"line 3\r\nline 4\r\n", b"line 3\nLINE 4\n")
    tree.start({"a.py": before})
    tree.change({"a.py": after})
    # as a mailer or an editor leaves it
    tree.patch_file.write_bytes(tree.patch_file.read_bytes().replace(b"\r\n", b"\n"))
    plain = subprocess.run(
        ["git", "apply", "--check", str(tree.patch_file)], cwd=tree.tree, capture_output=True, check=False
    )
    assert plain.returncode != 0, "the case is worth nothing if plain git apply takes it"
    result = tree.apply()
    # the author's bytes, or a refusal: never something near them
    content = (tree.tree / "a.py").read_bytes()
    assert (result.returncode == 0) == (blob(content) == blob(after)), result.stderr
    if result.returncode != 0:
        assert "after applying it" in result.stderr


def test_crlf_files_where_the_patch_keeps_its_own_lines_lf(tree: Tree) -> None:
    # what PivotNet's patch really does: context with LF, new lines with LF, blob ids of the mixed file
    before = b"".join(b"line %d\r\n" % number for number in range(1, 8))
    after = before.replace(b"line 4\r\n", b"LINE 4\n")
    tree.start({"a.py": before})
    old, new = blob(before)[:8], blob(after)[:8]
    hunk = b"".join(b" line %d\n" % number for number in (1, 2, 3)) + b"-line 4\n+LINE 4\n"
    hunk += b"".join(b" line %d\n" % number for number in (5, 6, 7))
    head = f"diff --git a/a.py b/a.py\nindex {old}..{new} 100644\n--- a/a.py\n+++ b/a.py\n@@ -1,7 +1,7 @@\n"
    tree.patch_file.write_bytes(head.encode() + hunk)
    result = tree.apply()
    assert result.returncode == 0, result.stderr
    assert blob((tree.tree / "a.py").read_bytes()).startswith(new)


def test_a_tree_below_another_work_tree(tmp_path: Path) -> None:
    """C2: git skips such a patch with exit status 0 where nothing stops it from looking above."""
    git(tmp_path, "init", "--quiet")
    inner = tmp_path / "deep"
    inner.mkdir()
    tree = Tree(inner)
    tree.start({"a.py": LINES})
    tree.change({"a.py": LINES.replace(b"line 3\n", b"LINE 3\n")})
    plain = subprocess.run(
        ["git", "apply", "--verbose", str(tree.patch_file)], cwd=tree.tree, capture_output=True, check=True
    )
    assert b"Skipped patch" in plain.stderr
    result = tree.apply()
    assert result.returncode == 0, result.stderr
    assert b"LINE 3" in (tree.tree / "a.py").read_bytes()


def test_a_skipped_patch_is_an_error(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": b"new\n"})
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "git").write_text("#!/bin/sh\necho \"Skipped patch 'a.py'.\" >&2\n")
    (fake / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    result = tree.apply()
    assert result.returncode != 0
    assert "Skipped patch 'a.py'" in result.stderr


def test_a_git_that_does_nothing_is_an_error(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the blob ids afterwards are the last line of defence
    tree.start({"a.py": LINES})
    tree.change({"a.py": b"new\n"})
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "git").write_text("#!/bin/sh\nexit 0\n")
    (fake / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    result = tree.apply()
    assert result.returncode != 0
    assert "not those of the patch after applying it" in result.stderr


def test_the_callers_git_settings_do_not_matter(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": b"new\n"})
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_WORK_TREE", "/nonexistent")
    assert tree.apply().returncode == 0


def test_a_new_file(tree: Tree) -> None:
    tree.start({"a.py": LINES})
    tree.change({"deep/new.py": b"x\n"})
    assert tree.apply().returncode == 0
    assert (tree.tree / "deep/new.py").read_bytes() == b"x\n"


def test_a_new_file_that_is_there_already(tree: Tree) -> None:
    tree.start({"a.py": LINES})
    tree.change({"new.py": b"x\n"})
    (tree.tree / "new.py").write_bytes(b"mine\n")
    result = tree.apply()
    assert result.returncode != 0
    assert "new.py: already exists" in result.stderr
    assert (tree.tree / "new.py").read_bytes() == b"mine\n"


def test_a_deleted_file(tree: Tree) -> None:
    tree.start({"a.py": LINES, "b.py": b"x\n"})
    tree.change({"b.py": None})
    assert tree.apply().returncode == 0
    assert not (tree.tree / "b.py").exists()


def test_a_deleted_file_that_differs(tree: Tree) -> None:
    tree.start({"b.py": LINES})
    tree.change({"b.py": None})
    (tree.tree / "b.py").write_bytes(LINES + b"mine\n")
    assert tree.apply().returncode != 0
    assert (tree.tree / "b.py").exists()


def test_a_file_that_is_missing(tree: Tree) -> None:
    tree.start({"b.py": LINES})
    tree.change({"b.py": b"x\n"})
    (tree.tree / "b.py").unlink()
    result = tree.apply()
    assert result.returncode != 0
    assert "b.py: No such file" in result.stderr


def test_a_rename_with_a_change(tree: Tree) -> None:
    tree.start({"old.py": LINES})
    tree.change({"old.py": None, "new.py": LINES.replace(b"line 3\n", b"LINE 3\n")}, "--find-renames")
    assert b"rename from old.py" in tree.patch_file.read_bytes()
    assert tree.apply().returncode == 0
    assert not (tree.tree / "old.py").exists()
    assert b"LINE 3" in (tree.tree / "new.py").read_bytes()


def test_a_pure_rename(tree: Tree) -> None:
    # such a patch has no index line at all
    tree.start({"old.py": LINES})
    tree.change({"old.py": None, "new.py": LINES}, "--find-renames")
    assert b"index " not in tree.patch_file.read_bytes().replace(b"similarity index", b"")
    assert tree.apply().returncode == 0
    assert (tree.tree / "new.py").read_bytes() == LINES


def test_a_mode_change(tree: Tree) -> None:
    tree.start({"run.sh": b"x\n"})
    (tree.upstream / "run.sh").chmod(0o755)
    tree.diff()
    assert tree.apply().returncode == 0
    assert os.access(tree.tree / "run.sh", os.X_OK)


def test_a_mode_change_of_a_file_that_is_missing(tree: Tree) -> None:
    tree.start({"run.sh": b"x\n"})
    (tree.upstream / "run.sh").chmod(0o755)
    tree.diff()
    (tree.tree / "run.sh").unlink()
    assert tree.apply().returncode != 0


def test_a_binary_patch(tree: Tree) -> None:
    tree.start({"a.bin": bytes(range(256))})
    tree.change({"a.bin": bytes(reversed(range(256)))}, "--binary")
    assert tree.apply().returncode == 0
    assert (tree.tree / "a.bin").read_bytes() == bytes(reversed(range(256)))


def test_a_binary_difference_without_content(tree: Tree) -> None:
    tree.start({"a.bin": bytes(range(256))})
    tree.change({"a.bin": b"\0\1"})
    result = tree.apply()
    assert result.returncode != 0
    assert "a.bin" in result.stderr


@pytest.mark.parametrize("name", ["with blank.py", "ünïcode.py"])
def test_names_that_cannot_be_read_surely_are_refused(tree: Tree, name: str) -> None:
    tree.start({name: LINES})
    tree.change({name: b"x\n"})
    result = tree.apply()
    assert result.returncode != 0
    assert "cannot read the names" in result.stderr


@pytest.mark.parametrize("content", [b"", b"no patch\n", b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"])
def test_what_is_no_git_patch_is_refused(tree: Tree, content: bytes) -> None:
    tree.start({"x": b"a\n"})
    tree.patch_file.write_bytes(content)
    result = tree.apply()
    assert result.returncode != 0
    assert "no git patch" in result.stderr


def test_a_patch_that_leads_out_of_the_tree(tree: Tree, tmp_path: Path) -> None:
    tree.start({"a.py": b"a\n"})
    tree.change({"a.py": b"b\n"})
    (tmp_path / "a.py").write_bytes(b"a\n")
    content = tree.patch_file.read_bytes()
    for old, new in ((b"a/a.py", b"a/../a.py"), (b"b/a.py", b"b/../a.py")):
        content = content.replace(old, new)
    tree.patch_file.write_bytes(content)
    result = tree.apply()
    assert result.returncode != 0
    assert (tmp_path / "a.py").read_bytes() == b"a\n"


def test_a_patch_through_a_link_out_of_the_tree(tree: Tree, tmp_path: Path) -> None:
    tree.start({"d/a.py": b"a\n"})
    tree.change({"d/a.py": b"b\n"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.py").write_bytes(b"a\n")
    (tree.tree / "d/a.py").unlink()
    (tree.tree / "d").rmdir()
    (tree.tree / "d").symlink_to(outside)
    assert tree.apply().returncode != 0
    assert (outside / "a.py").read_bytes() == b"a\n"


@pytest.mark.parametrize(
    "words",
    [
        ("patch", "--tree", "{tree}", "--patch", "{tree}/none.patch"),
        ("patch", "--tree", "{tree}/none", "--patch", "{patch}"),
        ("copy", "--tree", "{tree}/none", "--from", "x", "--to", "y"),
        ("edit", "--tree", "{tree}", "--file", "none", "--find", "a", "--replace", "b", "--count", "1"),
    ],
)
def test_what_is_missing_is_said_without_traceback(tree: Tree, words: tuple[str, ...]) -> None:
    result = run(*(word.format(tree=tree.tree, patch=tree.patch_file) for word in words))
    assert result.returncode != 0
    assert "no such" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_command_is_needed() -> None:
    assert run().returncode == 2


# --- copy ----------------------------------------------------------------------------------------


def copy(tree: Path, source: Path, to: str, *more: str) -> subprocess.CompletedProcess[str]:
    return run("copy", "--tree", tree, "--from", source, "--to", to, *more)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    tree, source = tmp_path / "tree", tmp_path / "source"
    tree.mkdir()
    source.mkdir()
    (source / "a.py").write_bytes(b"new\n")
    return tree, source


def test_copy_a_file_into_a_new_folder(two: tuple[Path, Path]) -> None:
    tree, source = two
    assert copy(tree, source / "a.py", "deep/er/a.py").returncode == 0
    assert (tree / "deep/er/a.py").read_bytes() == b"new\n"


def test_copy_a_folder_with_its_links(two: tuple[Path, Path]) -> None:
    tree, source = two
    (source / "link").symlink_to("a.py")
    (source / "dangling").symlink_to("nothing")
    assert copy(tree, source, "folder").returncode == 0
    assert (tree / "folder/a.py").read_bytes() == b"new\n"
    assert (tree / "folder/dangling").is_symlink()


def test_copy_does_not_replace_unless_it_says_what(two: tuple[Path, Path]) -> None:
    tree, source = two
    (tree / "a.py").write_bytes(b"old\n")
    result = copy(tree, source / "a.py", "a.py")
    assert result.returncode != 0
    assert "exists already" in result.stderr
    assert (tree / "a.py").read_bytes() == b"old\n"


def test_copy_replaces_exactly_the_file_it_names(two: tuple[Path, Path]) -> None:
    tree, source = two
    (tree / "a.py").write_bytes(b"old\n")
    assert copy(tree, source / "a.py", "a.py", "--replaces", blob(b"old\n")).returncode == 0
    assert (tree / "a.py").read_bytes() == b"new\n"


@pytest.mark.parametrize("there", [b"changed upstream\n", None])
def test_copy_over_another_file_is_refused(two: tuple[Path, Path], there: bytes | None) -> None:
    """S12: a whole-file copy must not silently drop what upstream changed since."""
    tree, source = two
    if there is not None:
        (tree / "a.py").write_bytes(there)
    result = copy(tree, source / "a.py", "a.py", "--replaces", blob(b"old\n"))
    assert result.returncode != 0
    assert f"expected {blob(b'old' + chr(10).encode())}" in result.stderr


def test_copy_of_nothing(two: tuple[Path, Path]) -> None:
    tree, source = two
    result = copy(tree, source / "none.py", "a.py")
    assert result.returncode != 0
    assert "does not exist" in result.stderr


def test_copy_of_a_folder_over_a_folder_is_refused(two: tuple[Path, Path]) -> None:
    tree, source = two
    (tree / "folder").mkdir()
    assert copy(tree, source, "folder").returncode != 0


@pytest.mark.parametrize("to", ["../out.py", "a/../../out.py", "/tmp/drivebuild-out.py", "link/out.py"])
def test_copy_out_of_the_tree_is_refused(two: tuple[Path, Path], tmp_path: Path, to: str) -> None:
    tree, source = two
    (tree / "link").symlink_to(tmp_path)
    result = copy(tree, source / "a.py", to)
    assert result.returncode != 0
    assert "leads out of the tree" in result.stderr
    assert not (tmp_path / "out.py").exists()


# --- edit ----------------------------------------------------------------------------------------


def edit(tree: Path, find: str, replace: str, count: int, file: str = "a.py") -> subprocess.CompletedProcess[str]:
    words = ("--file", file, "--find", find, "--replace", replace, "--count", str(count))
    return run("edit", "--tree", tree, *words)


@pytest.mark.parametrize(
    ("content", "count", "after"),
    [
        # not there
        (b"abc\n", 1, None),
        # there once, and once is expected
        (b"a old b\n", 1, b"a new b\n"),
        # there twice, where once is expected: which one?
        (b"old old\n", 1, None),
        (b"old old\n", 2, b"new new\n"),
        # applied already
        (b"new\n", 1, None),
        # there once, where two are expected
        (b"old\n", 2, None),
        # bytes that are not UTF-8 stay as they are
        (b"caf\xe9 old \xff\n", 1, b"caf\xe9 new \xff\n"),
        # so do line ends
        (b"old\r\nx\n", 1, b"new\r\nx\n"),
        # overlapping is not counted twice
        (b"ooldold\n", 2, b"onewnew\n"),
    ],
)
def test_edit(tmp_path: Path, content: bytes, count: int, after: bytes | None) -> None:
    (tmp_path / "a.py").write_bytes(content)
    result = edit(tmp_path, "old", "new", count)
    assert (result.returncode == 0) == (after is not None)
    assert (tmp_path / "a.py").read_bytes() == (content if after is None else after)
    if after is None:
        assert f"times, expected {count}" in result.stderr
        assert "a.py" in result.stderr


def test_edit_takes_any_text_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = '$(id)\\1 \\n 竞品' # `a`\n", encoding="utf-8")
    assert edit(tmp_path, "'$(id)\\1 \\n 竞品'", "\\g<0> & ${x}", 1).returncode == 0
    assert (tmp_path / "a.py").read_text(encoding="utf-8") == "x = \\g<0> & ${x} # `a`\n"


def test_edit_in_the_c_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    (tmp_path / "a.py").write_bytes("é\n".encode())
    assert edit(tmp_path, "é", "è", 1).returncode == 0
    assert (tmp_path / "a.py").read_bytes() == "è\n".encode()


@pytest.mark.parametrize("file", ["../a.py", "/etc/hostname", "link/a.py"])
def test_edit_out_of_the_tree_is_refused(tmp_path: Path, file: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "a.py").write_bytes(b"old\n")
    (tree / "link").symlink_to(tmp_path)
    result = edit(tree, "old", "new", 1, file)
    assert result.returncode != 0
    assert "leads out of the tree" in result.stderr
    assert (tmp_path / "a.py").read_bytes() == b"old\n"


# --- what a miss says ----------------------------------------------------------------------------


def test_a_miss_names_patch_file_hunk_lines_and_upstream(tree: Tree) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": LINES.replace(b"line 2\n", b"LINE 2\n").replace(b"line 16\n", b"LINE 16\n")})
    (tree.tree / "a.py").write_bytes(LINES.replace(b"line 16\n", b"moved on\n"))
    upstream = "https://git.example.org/x/y.git at " + "01" * 20
    words = ("patch", "--tree", tree.tree, "--patch", tree.patch_file, "--upstream", upstream)
    result = run(*words)
    assert result.returncode == 1
    assert f"{tree.patch_file} does not apply" in result.stderr
    assert f"for {upstream}" in result.stderr
    assert "a.py: hunk 2, @@ -13,7 +13,7 @@" in result.stderr
    assert "hunk 1" not in result.stderr
    expected, _, found = result.stderr.partition("found at line 14:")
    assert "| line 16\n" in expected
    assert "| line 16\n" not in found
    assert "| moved on\n" in found


def test_a_miss_after_an_insertion_shows_the_lines_where_they_are_now(tree: Tree) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": LINES.replace(b"line 10\n", b"LINE 10\n")})
    more = b"".join(b"more %d\n" % number for number in range(30))
    (tree.tree / "a.py").write_bytes(more + LINES.replace(b"line 10\n", b"line ten\n"))
    result = tree.apply()
    assert "found at line 38:" in result.stderr
    assert "    | line ten" in result.stderr


def test_output_is_bounded(tree: Tree) -> None:
    before = b"".join(b"line %d %s\n" % (number, b"x" * 500) for number in range(2000))
    tree.start({"a.py": before})
    after = b"".join(b"LINE\n" if number % 20 == 0 else line for number, line in enumerate(before.splitlines(True)))
    tree.change({"a.py": after})
    (tree.tree / "a.py").write_bytes(b"".join(b"other %d\n" % number for number in range(2000)))
    result = tree.apply()
    assert "and 80 more hunks" in result.stderr
    assert len(result.stderr.splitlines()) < 600
    assert max(map(len, result.stderr.splitlines())) < 400


def test_an_applied_patch_is_said_to_be_applied(tree: Tree) -> None:
    tree.start({"a.py": LINES, "b.py": LINES})
    tree.change({"a.py": LINES.replace(b"line 3\n", b"LINE 3\n"), "b.py": LINES.replace(b"line 9\n", b"")})
    assert tree.apply().returncode == 0
    result = tree.apply()
    assert "applied already" in result.stderr
    assert "what the patch makes of it already" in result.stderr


def test_a_patch_that_upstream_has_taken_among_other_changes(tree: Tree) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": LINES.replace(b"line 3\n", b"LINE 3\n")})
    taken = LINES.replace(b"line 3\n", b"LINE 3\n").replace(b"line 18\n", b"other\n")
    (tree.tree / "a.py").write_bytes(taken)
    assert "applied already" in tree.apply().stderr


def test_one_hunk_of_two_that_upstream_has_taken(tree: Tree) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": LINES.replace(b"line 2\n", b"LINE 2\n").replace(b"line 16\n", b"LINE 16\n")})
    (tree.tree / "a.py").write_bytes(LINES.replace(b"line 2\n", b"LINE 2\n"))
    result = tree.apply()
    assert "it is applied already" not in result.stderr
    assert "a.py: hunk 1, @@ -1,5 +1,5 @@\n    this hunk is applied already" in result.stderr
    assert "hunk 2" not in result.stderr


def test_a_wrong_blob_id(tree: Tree) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": LINES.replace(b"line 3\n", b"LINE 3\n")})
    right = blob(LINES)[:7].encode()
    tree.patch_file.write_bytes(tree.patch_file.read_bytes().replace(b"index " + right, b"index 1234567"))
    result = tree.apply()
    assert "does not fit: its hunks do, but the files are not those it knows" in result.stderr
    assert f"a.py: is {right.decode()}, the patch knows 1234567" in result.stderr
    assert (tree.tree / "a.py").read_bytes() == LINES


def test_a_wrong_blob_id_after(tree: Tree) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": b"new\n"})
    right = blob(b"new\n")[:7].encode()
    tree.patch_file.write_bytes(tree.patch_file.read_bytes().replace(b".." + right, b"..1234567"))
    assert "not those of the patch after applying it" in tree.apply().stderr


def test_a_patch_for_another_model(tree: Tree) -> None:
    tree.start({"a.py": LINES})
    tree.change({"projects/other/b.py": b"x\n", "a.py": b"y\n"})
    (tree.tree / "a.py").unlink()
    result = tree.apply()
    assert "a.py: missing, the patch knows " in result.stderr
    assert not (tree.tree / "projects").exists()


@pytest.mark.parametrize("index", [b"", b"index 123..456 100644\n"])
def test_a_patch_without_blob_ids_proves_nothing(tree: Tree, index: bytes) -> None:
    tree.start({"a.py": b"a\n"})
    head = b"diff --git a/a.py b/a.py\n" + index + b"--- a/a.py\n+++ b/a.py\n"
    tree.patch_file.write_bytes(head + b"@@ -1 +1 @@\n-a\n+b\n")
    result = tree.apply()
    assert "no blob ids (line 'index') for a.py" in result.stderr
    assert (tree.tree / "a.py").read_bytes() == b"a\n"


def test_a_part_without_git_header_does_not_slip_in(tree: Tree) -> None:
    # git apply takes it, and no blob id would be compared
    tree.start({"a.py": b"a\n", "b.py": b"a\n"})
    tree.change({"a.py": b"b\n"})
    traditional = b"--- a/b.py\n+++ b/b.py\n@@ -1 +1 @@\n-a\n+b\n"
    tree.patch_file.write_bytes(tree.patch_file.read_bytes() + traditional)
    git(tree.tree, "apply", "--check", str(tree.patch_file))
    result = tree.apply()
    assert "no line 'diff --git' for '--- a/b.py'" in result.stderr
    assert (tree.tree / "a.py").read_bytes() == b"a\n"


def test_a_patch_that_adds_a_patch(tree: Tree) -> None:
    # lines of a hunk look like headers
    tree.start({"a.patch": b"-- a/old\n++ b/old\nx\n"})
    tree.change({"a.patch": b"-- a/new\n++ b/new\nx\n", "b.patch": b"diff --git a/x b/x\n@@ -1 +1 @@\n-a\n+b\n"})
    assert tree.apply().returncode == 0, tree.apply().stderr
    assert (tree.tree / "a.patch").read_bytes() == b"-- a/new\n++ b/new\nx\n"


def test_several_parts_for_one_file(tree: Tree) -> None:
    tree.start({"a.py": LINES, "gone.py": b"x\n"})
    first = LINES.replace(b"line 3\n", b"LINE 3\n")
    tree.change({"a.py": first})
    one = tree.patch_file.read_bytes()
    git(tree.upstream, "commit", "--quiet", "--message", "first")
    second = first.replace(b"line 4\n", b"LINE 4\n")
    tree.change({"a.py": second})
    tree.patch_file.write_bytes(one + tree.patch_file.read_bytes())
    assert tree.apply().returncode == 0, tree.apply().stderr
    assert (tree.tree / "a.py").read_bytes() == second


def test_several_parts_for_one_file_that_do_not_follow_on_another(tree: Tree) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": LINES.replace(b"line 3\n", b"LINE 3\n")})
    one = tree.patch_file.read_bytes()
    git(tree.upstream, "checkout", "--quiet", "--force", "HEAD", "--", ".")
    tree.change({"a.py": LINES.replace(b"line 18\n", b"LINE 18\n")})
    tree.patch_file.write_bytes(one + tree.patch_file.read_bytes())
    result = tree.apply()
    assert result.returncode != 0
    assert "a.py: is " in result.stderr
    assert (tree.tree / "a.py").read_bytes() == LINES


def test_a_copy_in_a_patch(tree: Tree) -> None:
    tree.start({"old.py": LINES})
    tree.change({"old.py": LINES + b"x\n", "new.py": LINES}, "--find-copies-harder")
    assert b"copy from old.py" in tree.patch_file.read_bytes()
    assert tree.apply().returncode == 0, tree.apply().stderr
    assert (tree.tree / "new.py").read_bytes() == LINES
    assert (tree.tree / "old.py").read_bytes() == LINES + b"x\n"


def test_a_rename_over_a_file_that_is_there(tree: Tree) -> None:
    tree.start({"old.py": LINES})
    tree.change({"old.py": None, "new.py": LINES}, "--find-renames")
    (tree.tree / "new.py").write_bytes(b"mine\n")
    assert tree.apply().returncode != 0
    assert (tree.tree / "new.py").read_bytes() == b"mine\n"


def test_a_link_in_a_patch_is_compared_as_git_does(tree: Tree, tmp_path: Path) -> None:
    tree.start({"a.py": LINES})
    (tree.upstream / "link").symlink_to("a.py")
    tree.diff()
    record = tmp_path / "record"
    result = run("patch", "--tree", tree.tree, "--patch", tree.patch_file, "--record", record)
    assert result.returncode == 0, result.stderr
    assert (tree.tree / "link").readlink() == Path("a.py")
    assert json.loads(record.read_text())["files"] == [{"path": "link", "before": "", "after": blob(b"a.py")}]


def test_a_link_where_the_patch_knows_a_file(tree: Tree, tmp_path: Path) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": b"x\n"})
    outside = tmp_path / "outside.py"
    outside.write_bytes(LINES)
    (tree.tree / "a.py").unlink()
    (tree.tree / "a.py").symlink_to(outside)
    assert tree.apply().returncode != 0
    assert outside.read_bytes() == LINES


@pytest.mark.parametrize("settings", [("core.autocrlf", "true"), ("core.eol", "crlf"), ("apply.whitespace", "fix")])
def test_settings_of_a_repository_in_the_tree_do_not_matter(tree: Tree, settings: tuple[str, str]) -> None:
    tree.start({"a.py": LINES, ".gitattributes": b"*.py text\n"})
    after = LINES.replace(b"line 3\n", b"LINE 3   \n")
    tree.change({"a.py": after})
    git(tree.tree, "init", "--quiet")
    git(tree.tree, "config", *settings)
    result = tree.apply()
    assert result.returncode == 0, result.stderr
    assert (tree.tree / "a.py").read_bytes() == after


def test_settings_of_the_user_do_not_matter(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # git before 2.32 knows no GIT_CONFIG_GLOBAL
    home = tmp_path / "home"
    (home / ".config/git").mkdir(parents=True)
    (home / ".gitconfig").write_text("[core]\n\tautocrlf = true\n[apply]\n\twhitespace = error\n")
    (home / ".config/git/attributes").write_text("* text eol=crlf\n")
    monkeypatch.setenv("HOME", str(home))
    tree.start({"a.py": LINES})
    after = LINES.replace(b"line 3\n", b"LINE 3   \n")
    tree.change({"a.py": after})
    result = tree.apply()
    assert result.returncode == 0, result.stderr
    assert (tree.tree / "a.py").read_bytes() == after


def test_no_git_is_said(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.start({"a.py": LINES})
    tree.change({"a.py": b"x\n"})
    monkeypatch.setenv("PATH", str(tmp_path))
    result = tree.apply()
    assert "git cannot be run" in result.stderr
    assert "Traceback" not in result.stderr


# --- remove --------------------------------------------------------------------------------------


def remove(tree: Path, path: str, *more: str | Path) -> subprocess.CompletedProcess[str]:
    return run("remove", "--tree", tree, "--path", path, *more)


def test_remove_a_file_a_folder_and_a_link(two: tuple[Path, Path]) -> None:
    tree, source = two
    (tree / "folder/deep").mkdir(parents=True)
    (tree / "folder/deep/a.py").write_bytes(b"x\n")
    (tree / "a.py").write_bytes(b"x\n")
    (tree / "link").symlink_to(source)
    for path in ("folder", "a.py", "link"):
        result = remove(tree, path)
        assert result.returncode == 0, result.stderr
    assert not list(tree.iterdir())
    assert (source / "a.py").exists(), "what a link leads to stays"


def test_remove_of_nothing(two: tuple[Path, Path]) -> None:
    result = remove(two[0], "none", "--upstream", "y at 01")
    assert result.returncode == 1
    assert "none: nothing to remove\n  for y at 01" in result.stderr


@pytest.mark.parametrize("path", [".", "..", "../source", "/tmp/drivebuild-x", "link/a.py", "folder/../../source/a.py"])
def test_remove_out_of_the_tree_is_refused(two: tuple[Path, Path], path: str) -> None:
    tree, source = two
    (tree / "link").symlink_to(source)
    result = remove(tree, path)
    assert result.returncode != 0
    assert "leads out of the tree" in result.stderr
    assert (source / "a.py").exists()


def test_remove_exactly_the_file_it_names(two: tuple[Path, Path]) -> None:
    tree, _ = two
    (tree / "a.py").write_bytes(b"changed\n")
    result = remove(tree, "a.py", "--replaces", blob(b"old\n"))
    assert f"a.py: what is to be removed is {blob(b'changed' + chr(10).encode())}" in result.stderr
    assert (tree / "a.py").exists()
    assert remove(tree, "a.py", "--replaces", blob(b"changed\n")).returncode == 0


def test_a_folder_has_the_id_that_git_gives_it(tree: Tree, tmp_path: Path) -> None:
    tree.start({"f/a.py": b"a\n", "f/a/b.py": b"b\n", "f/a.b/c.py": b"c\n"})
    (tree.upstream / "f/run.sh").write_bytes(b"x\n")
    (tree.upstream / "f/run.sh").chmod(0o755)
    (tree.upstream / "f/link").symlink_to("a")
    (tree.upstream / "f/empty/empty").mkdir(parents=True)
    git(tree.upstream, "add", "--all")
    git(tree.upstream, "commit", "--quiet", "--message", "more")
    expected = git(tree.upstream, "rev-parse", "HEAD:f").decode().strip()
    record = tmp_path / "record"
    assert remove(tree.upstream, "f", "--replaces", expected, "--record", record).returncode == 0
    assert json.loads(record.read_text())["files"] == [{"path": "f", "before": expected, "after": ""}]


# --- links ---------------------------------------------------------------------------------------


def test_nothing_is_done_through_a_link(two: tuple[Path, Path]) -> None:
    tree, source = two
    (tree / "real").mkdir()
    (tree / "real/b.py").write_bytes(b"old\n")
    (tree / "link").symlink_to("real")
    (tree / "file-link").symlink_to("real/b.py")
    assert "leads through a link" in edit(tree, "old", "new", 1, "link/b.py").stderr
    assert "no such file to edit" in edit(tree, "old", "new", 1, "file-link").stderr
    assert "leads through a link" in copy(tree, source / "a.py", "link/c.py").stderr
    over = copy(tree, source / "a.py", "file-link", "--replaces", blob(b"old\n"))
    assert "the file to replace is" in over.stderr
    assert (tree / "real/b.py").read_bytes() == b"old\n"
    assert sorted(path.name for path in (tree / "real").iterdir()) == ["b.py"]


def test_a_dangling_link_is_not_copied_over(two: tuple[Path, Path], tmp_path: Path) -> None:
    tree, source = two
    (tree / "a.py").symlink_to(tmp_path / "outside.py")
    assert "exists already" in copy(tree, source / "a.py", "a.py").stderr
    assert not (tmp_path / "outside.py").exists()


def test_a_link_is_no_source_of_a_copy(two: tuple[Path, Path]) -> None:
    tree, source = two
    (source / "link").symlink_to("a.py")
    assert "is a link" in copy(tree, source / "link", "a.py").stderr
    assert not (tree / "a.py").exists()


@pytest.mark.parametrize("target", ["../private", "absolute", "."])
def test_a_copy_goes_through_no_link_on_its_way(two: tuple[Path, Path], tmp_path: Path, target: str) -> None:
    """Out of its source, or in a circle within it: it would have another path than the recipe says."""
    tree, source = two
    (tmp_path / "private").mkdir()
    (tmp_path / "private/a.py").write_text("of this machine")
    (source / "deep").mkdir()
    (source / "out").symlink_to(tmp_path / "private" if target == "absolute" else target)
    (source / "deep/up").symlink_to("../out")
    for way in ("out/a.py", "deep/up/a.py", "deep/../out/a.py"):
        done = copy(tree, Path(f"{source}/{way}"), "a.py")
        assert done.returncode != 0
        assert "leads through a link" in done.stderr, way
        assert not (tree / "a.py").exists()
    done = copy(tree, source / "deep/up", "all")
    assert "is a link" in done.stderr
    assert copy(tree, source / "deep/../a.py", "a.py").returncode == 0


# --- the record ----------------------------------------------------------------------------------


def test_what_was_done_is_recorded(tree: Tree, tmp_path: Path) -> None:
    tree.start({"a.py": LINES, "b.py": b"x\n", "c.sh": b"old\n"})
    changed = LINES.replace(b"line 3\n", b"LINE 3\n")
    tree.change({"a.py": changed, "b.py": None, "d/new.py": b"n\n"}, "--no-renames")
    record, source = tmp_path / "record", tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "z.py").write_bytes(b"z\n")
    (source / "deep/a.py").write_bytes(b"a\n")
    (source / "link").symlink_to("z.py")
    more = ("--tree", tree.tree, "--upstream", "y at 01", "--record", record)
    assert run("patch", "--patch", tree.patch_file, *more).returncode == 0
    assert run("copy", "--from", source, "--to", "to", *more).returncode == 0
    assert run("edit", "--file", "c.sh", "--find", "old", "--replace", "new", "--count", "1", *more).returncode == 0
    assert run("remove", "--path", "c.sh", *more).returncode == 0
    assert run("remove", "--path", "c.sh", *more).returncode == 1, "a miss leaves no record"
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [line["do"] for line in lines] == ["patch", "copy", "edit", "remove"]
    assert {line["tree"] for line in lines} == {str(tree.tree)}
    assert {line["upstream"] for line in lines} == {"y at 01"}
    patch, copied, edited, removed = (line["files"] for line in lines)
    assert patch == [
        {"path": "a.py", "before": blob(LINES), "after": blob(changed)},
        {"path": "b.py", "before": blob(b"x\n"), "after": ""},
        {"path": "d/new.py", "before": "", "after": blob(b"n\n")},
    ]
    assert lines[0]["patch"] == "change.patch"
    assert lines[0]["patch_sha256"] == hashlib.sha256(tree.patch_file.read_bytes()).hexdigest()
    assert copied == [
        {"path": "to/deep/a.py", "before": "", "after": blob(b"a\n")},
        {"path": "to/link", "before": "", "after": blob(b"z.py")},
        {"path": "to/z.py", "before": "", "after": blob(b"z\n")},
    ]
    assert edited == [{"path": "c.sh", "before": blob(b"old\n"), "after": blob(b"new\n")}]
    assert removed == [{"path": "c.sh", "before": blob(b"new\n"), "after": ""}]


def test_a_record_that_cannot_be_written_is_said(two: tuple[Path, Path], tmp_path: Path) -> None:
    tree, source = two
    result = run("copy", "--tree", tree, "--from", source / "a.py", "--to", "a.py", "--record", tmp_path / "no/record")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "no/record" in result.stderr


def test_a_copied_folder_is_as_new_as_the_copy(two: tuple[Path, Path]) -> None:
    # an overlay finds what is new by its time
    tree, source = two
    os.utime(source / "a.py", (1, 1))
    assert copy(tree, source, "folder").returncode == 0
    assert (tree / "folder/a.py").stat().st_mtime > 1000


# --- edits that miss -----------------------------------------------------------------------------


def test_an_edit_that_misses_shows_the_nearest_line(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"x = 1\n    version = '1.8.0'\n")
    result = edit(tmp_path, "version = '1.7.0'", "version = '1.7.2'", 1)
    assert "nearest, at line 2: version = '1.8.0'" in result.stderr
    assert "applied already" not in result.stderr


def test_an_edit_that_is_there_already_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"version = '1.7.2'\n")
    assert "perhaps applied already" in edit(tmp_path, "version = '1.7.0'", "version = '1.7.2'", 1).stderr


# --- the script ----------------------------------------------------------------------------------


def test_it_runs_with_python_3_6() -> None:
    # openEuler 22.03 and CANN's images bring old Pythons; nothing newer than 3.6 in syntax, nor in what is called
    source = SCRIPT.read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 6))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {"removeprefix", "removesuffix", "is_relative_to", "cache"}
    keywords = {keyword.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords}
    assert not keywords & {"capture_output", "text", "dirs_exist_ok", "missing_ok", "required_subcommand"}


def test_it_needs_only_the_standard_library() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= set(sys.stdlib_module_names)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
