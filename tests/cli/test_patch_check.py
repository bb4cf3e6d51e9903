"""`patch check` on small repositories made here: the real git, the script that the builds run, and a real store."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support.cli import drivebuild, refused

from builder.source.disk import digest
from builder.source.store import Store

LINES = b"".join(b"line %d\n" % number for number in range(1, 31))
CRLF = LINES.replace(b"\n", b"\r\n")
ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "a"),
    **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "a@example.org"),
}


@pytest.fixture(autouse=True)
def guard() -> None:
    """Let processes start: git is what is tried here. Nothing opens a socket."""


def git(folder: Path, *words: str, stdin: bytes | None = None) -> bytes:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | ENVIRONMENT
    command = ["git", "-c", "core.autocrlf=false", *words]
    return subprocess.run(command, cwd=folder, env=environment, input=stdin, check=True, capture_output=True).stdout


PACKS: dict[str, tuple[str, bytes]] = {}
"""Commits and their packs, by what is in them: most tests want the same."""


def pack_of(repository: Path, files: dict[str, bytes], links: dict[str, str]) -> tuple[str, bytes]:
    """Return a commit of these files, and its pack."""
    repository.mkdir()
    git(repository, "init", "--quiet")
    for path, content in files.items():
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_bytes(content)
    for path, target in links.items():
        (repository / path).symlink_to(target)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "upstream")
    commit = git(repository, "rev-parse", "HEAD").decode().strip()
    objects = git(repository, "rev-list", "--objects", "--no-walk", commit)
    return commit, git(repository, "pack-objects", "--stdout", "--quiet", stdin=objects)


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


def change(content: bytes, number: int) -> bytes:
    """Return lines of which one is changed."""
    return content.replace(b"line %d" % number, b"LINE %d" % number)


class World:
    """Upstreams, patches, a folder of recipes and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store.make(folder / "store")
        self.sources: dict[str, dict[str, Any]] = {}
        self.tree_steps: list[dict[str, Any]] = []
        self.component_steps: list[dict[str, Any]] = []
        self.overlay_steps: list[dict[str, Any]] = []
        self.keep_tree = ""

    def patch(self, before: dict[str, bytes], after: dict[str, bytes | None], *flags: str) -> bytes:
        """Return a git patch from one state of some files to another."""
        repository = self.folder / f"patch-{len(list(self.folder.iterdir()))}"
        repository.mkdir()
        git(repository, "init", "--quiet")
        for state in (before, {**before, **after}):
            for path, content in state.items():
                target = repository / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                if content is not None:
                    target.write_bytes(content)
            git(repository, "add", "--all")
            if state is before:
                git(repository, "commit", "--quiet", "--allow-empty", "--message", "before")
        return git(repository, "diff", "--cached", *flags)

    def add_git(self, name: str, files: dict[str, bytes], links: dict[str, str] | None = None) -> str:
        """Commit files, put the commit into the store as a source, and return it."""
        key = repr((name, files, links))
        if key not in PACKS:
            PACKS[key] = pack_of(self.folder / f"{name}-{len(list(self.folder.iterdir()))}", files, links or {})
        commit, pack = PACKS[key]
        self._add(f"git:{commit}", pack)
        self.sources[name] = {"type": "git", "url": f"https://git.example.org/{name}.git", "commit": commit}
        return commit

    def add_sdist(self, name: str, files: dict[str, bytes], links: dict[str, str] | None = None) -> None:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            for path, target in (links or {}).items():
                info = tarfile.TarInfo(f"{name}-1.0/{path}")
                info.type, info.linkname = tarfile.SYMTYPE, target
                archive.addfile(info)
            for path, data in files.items():
                info = tarfile.TarInfo(f"{name}-1.0/{path}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        sha256 = hashlib.sha256(content.getvalue()).hexdigest()
        self._add(f"sha256:{sha256}", content.getvalue())
        file = f"{name}-1.0.tar.gz"
        self.sources[name] = {"type": "index", "package": name, "version": "1.0", "file": file, "sha256": sha256}

    def _add(self, key: str, content: bytes) -> None:
        path = self.store.partial("made")
        path.write_bytes(content)
        self.store.add(key, path, file="made", origin="https://example.org/", sha256=digest(path))

    def write(self) -> Path:
        """Write the recipes: one model with one component."""
        recipes = self.folder / "recipes"
        for folder in ("models", "components"):
            (recipes / folder).mkdir(parents=True, exist_ok=True)
        use = {"name": "toylib", "version": "1.0", "steps": self.component_steps, "keep_tree": self.keep_tree}
        model = {
            "name": "toy",
            "title": "Toy",
            "summary": "a toy",
            "licence": "MIT",
            "readme": {"source": "toy", "commit": self.sources["toy"]["commit"], "path": "README.md"},
            "platform": "cann-8.1.rc1",
            "sources": self.sources,
            "tree": {"source": "toy", "directory": "Toy", "steps": self.tree_steps},
            "requirements": {"packages": ["numpy"]},
            "components": [use],
            "overlays": [{"component": "toylib", "steps": self.overlay_steps}] if self.overlay_steps else [],
            "data": {"dataset": "none", "root": "data", "entries": []},
            "weights": [],
            "jobs": [{"name": "smoke", "title": "Smoke", "command": ["true"], "npus": 0}],
            "results": [],
        }
        component = {
            "name": "toylib",
            "title": "Toylib",
            "template": "wheel",
            "package": "toylib",
            "versions": {"1.0": {"npu": "toylib", "cpu": "toylib-sdist"}},
        }
        (recipes / "models/toy.yaml").write_text(json.dumps(model))
        (recipes / "components/toylib.yaml").write_text(json.dumps(component))
        return recipes

    def words(self, *more: str) -> tuple[str, ...]:
        return ("--recipes", str(self.write()), "patch", "check", "toy", "--store", str(self.store.root), *more)

    def fits(self, *more: str) -> str:
        result = drivebuild(*self.words(*more))
        assert result.exit_code == 0, result.output
        return result.output

    def misses(self, *more: str) -> str:
        return refused(drivebuild(*self.words(*more)), 5)

    def found(self, *more: str) -> list[dict[str, Any]]:
        result = drivebuild(*self.words("--json", *more))
        assert result.exit_code == 5, result.output
        data = json.JSONDecoder().raw_decode(result.stdout)[0]
        assert data["fits"] is False
        found: list[dict[str, Any]] = data["found"]
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    world = World(tmp_path)
    files = {"a.py": LINES, "dos.py": CRLF, "deep/b.py": LINES, "big/c.py": b"c\n", "run.sh": b"old old\n"}
    world.add_git("toy", files, {"link": "deep"})
    library = {"toylib/__init__.py": b"top = '1.0'\n", "toylib/x.py": LINES, "setup.py": b"pass\n"}
    world.add_git("toylib", library)
    world.add_sdist("toylib-sdist", library)
    return world


def patch_step(path: str = "p.patch") -> dict[str, str]:
    return {"do": "patch", "source": "sdk", "path": path}


def edit_step(file: str, find: str = "old", replace: str = "new", count: int = 1) -> dict[str, Any]:
    return {"do": "edit", "file": file, "find": find, "replace": replace, "count": count}


# --- what fits -----------------------------------------------------------------------------------


def test_every_kind_of_step_on_every_kind_of_tree(world: World) -> None:
    made = {"made/x.py": change(LINES, 9)}
    tree = world.patch({"a.py": LINES, "dos.py": CRLF}, {"a.py": change(LINES, 3), "dos.py": change(CRLF, 7), **made})
    library = world.patch({"toylib/x.py": LINES}, {"toylib/x.py": change(LINES, 2)})
    sdk = {"toy/p.patch": tree, "toy/lib.patch": library, "toy/test/t.sh": b"old\n", "toy/test/u.sh": b"u\n"}
    world.add_git("sdk", sdk)
    world.tree_steps += [
        patch_step("toy/p.patch"),
        {"do": "copy", "source": "sdk", "path": "toy/test", "to": "Toy/test"},
        edit_step("Toy/test/t.sh"),
        edit_step("Toy/run.sh", count=2),
        {"do": "remove", "path": "Toy/big"},
        {"do": "copy", "path": "Toy/test", "to": "Toy/again"},
        edit_step("Toy/again/t.sh", "new", "newer"),
        {"do": "copy", "path": "Toy/deep/b.py", "to": "Toy/a2.py"},
    ]
    world.component_steps += [edit_step("toylib/__init__.py", "'1.0'", "'1.1'")]
    taken = {"do": "copy", "path": "Toy/made/x.py", "to": "toylib/y.py"}
    over = {"do": "copy", "path": "Toy/made/x.py", "to": "toylib/x.py", "replaces": blob(change(LINES, 2))}
    world.overlay_steps += [patch_step("toy/lib.patch"), edit_step("toylib/__init__.py", "'1.1'", "'1.2'"), taken, over]
    output = world.fits()
    # the tree once, for both platforms; component and overlay for the checkout and for the sdist
    assert "all steps fit: 7 of copy, 7 of edit, 3 of patch, 1 of remove" in output
    assert not list((world.folder / "scratch").iterdir())


def test_a_kept_tree_is_there_before_the_models_steps(world: World) -> None:
    world.keep_tree = "Toy/toylib"
    world.component_steps += [edit_step("toylib/__init__.py", "'1.0'", "'1.1'")]
    world.tree_steps += [edit_step("Toy/toylib/toylib/__init__.py", "'1.1'", "'1.2'")]
    assert "4 of edit" in world.fits()
    world.component_steps[0]["find"] = "'0.9'"
    component, tree = world.found("--platform", "cann-8.1.rc1")
    assert (component["state"], tree["state"]) == ("misfit", "not tried")


def test_the_second_time_indexes_are_there_and_a_read_only_store_will_do(world: World) -> None:
    world.add_git("sdk", {"p.patch": world.patch({"a.py": LINES}, {"a.py": change(LINES, 3)})})
    world.tree_steps += [patch_step()]
    world.fits()
    indexes = {path: path.stat().st_mtime_ns for path in (world.folder / "cache/drivebuild/packs").iterdir()}
    assert {path.suffix for path in indexes} == {".idx"}
    before = sorted(world.store.root.rglob("*"))
    world.fits()
    assert {path: path.stat().st_mtime_ns for path in indexes} == indexes
    assert sorted(world.store.root.rglob("*")) == before


def test_a_tree_in_a_git_work_tree(world: World) -> None:
    # C2: the temporary folder is inside a checkout, where git would skip every file and exit with 0
    git(world.folder / "scratch", "init", "--quiet")
    world.add_git("sdk", {"p.patch": world.patch({"a.py": LINES}, {"a.py": b"x\n"})})
    world.tree_steps += [patch_step(), edit_step("Toy/a.py", "x", "y")]
    world.fits()


# --- what does not -------------------------------------------------------------------------------


def test_one_wrong_line_of_context(world: World) -> None:
    moved = LINES.replace(b"line 12\n", b"moved on\n")
    world.add_git("sdk", {"p.patch": world.patch({"a.py": moved}, {"a.py": change(moved, 14)})})
    world.tree_steps += [patch_step()]
    output = world.misses()
    assert "1 of 1 steps do not fit" in output
    assert "tree of toy on cann-8.1.rc1, toy on debian-12-cpu" in output
    assert "/sources/src-sdk/p.patch does not apply" in output
    assert "a.py: hunk 1, @@ -11,7 +11,7 @@" in output
    assert "| moved on\n" in output.partition("found at line 11:")[0]
    assert "| line 12\n" in output.partition("found at line 11:")[2]
    assert f"https://git.example.org/toy.git at {world.sources['toy']['commit']}" in output
    assert str(world.folder / "scratch") not in output


def test_misses_as_json(world: World) -> None:
    moved = LINES.replace(b"line 12\n", b"moved on\n")
    world.add_git("sdk", {"p.patch": world.patch({"a.py": moved}, {"a.py": change(moved, 14)})})
    world.tree_steps += [patch_step()]
    (found,) = world.found()
    assert found["state"] == "misfit"
    assert found["users"] == ["toy on cann-8.1.rc1", "toy on debian-12-cpu"]
    (miss,) = found["misses"]
    assert (miss["file"], miss["hunk"], miss["at"][:17]) == ("a.py", 1, "@@ -11,7 +11,7 @@")
    assert "moved on" in miss["expected"]
    assert "line 12" in miss["found"]
    assert miss["line"] == 11


def test_one_wrong_blob_id(world: World) -> None:
    right = blob(LINES)[:7].encode()
    patch = world.patch({"a.py": LINES}, {"a.py": change(LINES, 3)}).replace(b"index " + right, b"index 1234567")
    world.add_git("sdk", {"p.patch": patch})
    world.tree_steps += [patch_step()]
    output = world.misses()
    assert "its hunks do, but the files are not those it knows" in output
    assert f"a.py: is {right.decode()}, the patch knows 1234567" in output


def test_a_patch_that_upstream_has_taken_since(world: World) -> None:
    older = change(LINES, 3).replace(b"LINE 3", b"line 3, older")
    world.add_git("sdk", {"p.patch": world.patch({"a.py": older}, {"a.py": LINES})})
    world.tree_steps += [patch_step()]
    (found,) = world.found()
    assert found["state"] == "taken"
    assert "1 are in upstream already" in world.misses()


def test_all_misfits_at_once_and_what_depends_on_them_is_not_tried(world: World) -> None:
    wrong = change(LINES, 20)
    both = {"a.py": change(wrong, 3), "deep/b.py": change(LINES, 3)}
    sdk = {"p.patch": world.patch({"a.py": wrong, "deep/b.py": LINES}, both), "new.py": b"x\n"}
    world.add_git("sdk", sdk)
    world.tree_steps += [
        patch_step(),
        edit_step("Toy/deep/b.py", "LINE 3", "x"),
        edit_step("Toy/run.sh", "none", "x"),
        {"do": "copy", "source": "sdk", "path": "none.py", "to": "Toy/n.py"},
        {"do": "copy", "source": "sdk", "path": "new.py", "to": "Toy/dos.py"},
        {"do": "remove", "path": "Toy/none"},
        edit_step("Toy/n.py"),
    ]
    world.overlay_steps += [
        {"do": "copy", "path": "Toy/a.py", "to": "toylib/new.py"},
        edit_step("toylib/__init__.py", "top = '0.9'", "top = '1.2'"),
        {"do": "copy", "path": "Toy/big/c.py", "to": "toylib/c.py"},
    ]
    found = world.found("--platform", "cann-8.1.rc1")
    states = [(item["where"], item["step"].split()[0], item["state"]) for item in found]
    assert states == [
        ("tree", "patch", "misfit"),
        ("tree", "edit", "not tried"),
        ("tree", "edit", "misfit"),
        ("tree", "copy", "misfit"),
        ("tree", "copy", "misfit"),
        ("tree", "remove", "misfit"),
        ("tree", "edit", "not tried"),
        ("overlay toylib", "copy", "not tried"),
        ("overlay toylib", "edit", "misfit"),
    ]
    assert "because this did not fit: patch p.patch of sdk" in found[1]["message"]
    assert "dos.py exists already" in found[4]["message"]
    assert "nearest, at line 1: top = '1.0'" in found[8]["message"]


def test_a_patch_for_another_model(world: World) -> None:
    other = world.patch({"other/only.py": LINES}, {"other/only.py": change(LINES, 3)})
    world.add_git("sdk", {"p.patch": other})
    world.tree_steps += [patch_step()]
    assert "other/only.py: missing, the patch knows" in world.misses()


def test_a_copy_over_a_file_that_changed(world: World) -> None:
    world.add_git("sdk", {"x.py": b"x\n"})
    world.tree_steps += [{"do": "copy", "source": "sdk", "path": "x.py", "to": "Toy/a.py", "replaces": blob(b"old\n")}]
    assert f"the file to replace is {blob(LINES)}, expected {blob(b'old' + chr(10).encode())}" in world.misses()


def test_the_checkout_fits_and_the_sdist_does_not(world: World) -> None:
    world.add_sdist("toylib-sdist", {"toylib/__init__.py": b"top = '0.9'\n"})
    world.component_steps += [edit_step("toylib/__init__.py", "'1.0'", "'1.1'")]
    (found,) = world.found()
    assert found["users"] == ["toy on debian-12-cpu"]
    assert found["upstream"] == "toylib-sdist-1.0.tar.gz"
    assert "all steps fit" in world.fits("--platform", "cann-8.1.rc1")


@pytest.mark.parametrize("path", ["../a.py", "../../outside.py", "/etc/drivebuild-none", "x/../../../a.py"])
def test_a_patch_that_climbs_out(world: World, path: str) -> None:
    patch = world.patch({"a.py": LINES}, {"a.py": change(LINES, 3)})
    for side in (b"a/", b"b/"):
        patch = patch.replace(side + b"a.py", side + path.encode())
    world.add_git("sdk", {"p.patch": patch})
    world.tree_steps += [patch_step()]
    assert "leads out of the tree" in world.misses()


def test_a_step_through_a_link_of_the_tree(world: World) -> None:
    world.add_git("sdk", {"p.patch": world.patch({"link/b.py": LINES}, {"link/b.py": change(LINES, 3)})})
    world.tree_steps += [patch_step(), edit_step("Toy/link/c.py"), edit_step("Toy/link")]
    messages = [item["message"] for item in world.found("--platform", "cann-8.1.rc1")]
    assert "leads through a link" in messages[0]
    assert [item["state"] for item in world.found("--platform", "cann-8.1.rc1")][:2] == ["misfit", "misfit"]


def test_links_of_upstream_that_lead_out_are_not_followed(world: World) -> None:
    outside = world.folder / "outside"
    outside.mkdir()
    (outside / "a.py").write_bytes(b"old\n")
    world.add_git("toy", {"x": b""}, {"out": str(outside), "file.py": str(outside / "a.py")})
    world.add_sdist("toylib-sdist", {"out/a.py": b"old\n"}, {"out": str(outside)})
    world.tree_steps += [edit_step("Toy/out/a.py"), edit_step("Toy/file.py")]
    world.component_steps += [{**edit_step("out/a.py"), "on": "cpu"}]
    found = world.found()
    assert {(item["where"], item["state"]) for item in found} == {("tree", "misfit"), ("component toylib", "misfit")}
    assert (outside / "a.py").read_bytes() == b"old\n"
    assert [path.name for path in outside.iterdir()] == ["a.py"]


def test_a_patch_that_cannot_be_read_leaves_nothing_certain(world: World) -> None:
    world.add_git("sdk", {"p.patch": b"no patch\n"})
    world.tree_steps += [patch_step(), edit_step("Toy/run.sh", count=2), patch_step("none.patch")]
    found = world.found()
    assert [item["state"] for item in found] == ["misfit", "not tried", "not tried"]
    assert "no git patch" in found[0]["message"]


# --- the store -----------------------------------------------------------------------------------


def test_all_that_the_store_lacks_is_named_at_once(world: World) -> None:
    world.add_git("sdk", {"p.patch": world.patch({"a.py": LINES}, {"a.py": change(LINES, 3)})})
    world.tree_steps += [patch_step()]
    world.component_steps += [edit_step("toylib/x.py", "line 1\n", "x")]
    world.component_steps[0]["find"] = "line 30"
    for name in ("sdk", "toylib-sdist"):
        source = world.sources[name]
        key = f"git/{source['commit']}" if source["type"] == "git" else f"sha256/{source['sha256']}"
        (world.store.root / "entries" / f"{key}.json").unlink()
    output = world.misses()
    assert "2 sources are not in the store" in output
    assert f"sdk: git:{world.sources['sdk']['commit']}" in output
    assert f"toylib-sdist: sha256:{world.sources['toylib-sdist']['sha256']}" in output
    assert "toylib: git" not in output


def test_another_commit_is_tried_with_pin(world: World) -> None:
    first = world.sources["toy"]["commit"]
    newer = world.add_git("toy", {"a.py": change(LINES, 20)})
    world.sources["toy"]["commit"] = first
    world.add_git("sdk", {"p.patch": world.patch({"a.py": LINES}, {"a.py": change(LINES, 3)})})
    world.tree_steps += [patch_step()]
    world.fits()
    output = world.misses("--pin", f"toy={newer}")
    assert f"toy.git at {newer}" in output
    assert "a.py: is " in output


def test_two_sources_that_are_one_commit(world: World) -> None:
    patch = world.patch({"a.py": LINES}, {"a.py": change(LINES, 3)})
    world.add_git("toy", {"a.py": LINES, "p.patch": patch})
    world.sources["sdk"] = dict(world.sources["toy"])
    world.tree_steps += [patch_step()]
    world.fits()


def test_a_damaged_pack_is_said(world: World) -> None:
    world.add_git("sdk", {"p.patch": world.patch({"a.py": LINES}, {"a.py": change(LINES, 3)})})
    world.tree_steps += [patch_step()]
    entry = world.store.find(f"git:{world.sources['toy']['commit']}")
    assert entry
    path = world.store.object(entry)
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "git index-pack failed" in world.misses()
    assert not list((world.folder / "scratch").iterdir())


def test_a_damaged_archive_is_said(world: World) -> None:
    world.component_steps += [edit_step("toylib/__init__.py", "'1.0'", "'1.1'")]
    entry = world.store.find(f"sha256:{world.sources['toylib-sdist']['sha256']}")
    assert entry
    path = world.store.object(entry)
    path.chmod(0o644)
    path.write_bytes(b"x" * entry.size)
    output = world.misses()
    assert "toylib-sdist: " in output
    assert "cannot be read" in output


def test_no_store_and_no_such_model(world: World) -> None:
    recipes = str(world.write())
    nothing = drivebuild("--recipes", recipes, "patch", "check", "--store", str(world.folder / "none"))
    assert "there is no such store" in refused(nothing, 5)
    store = str(world.store.root)
    unknown = drivebuild("--recipes", recipes, "patch", "check", "tou", "--store", store)
    assert "there is no model 'tou'" in refused(unknown, 4)
