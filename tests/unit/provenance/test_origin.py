"""Where a file comes from: packages, wheels, patches with their hunks, byte code, links, layers, and what is near."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.snapshots import AFTER, BEFORE, MANIFEST, SITE, git_id, inventory, toy_files

from builder.provenance.hunks import heading_of, hunks_of
from builder.provenance.manifest import Change
from builder.provenance.origin import Explanation, Layer, Recipe, StepFact, explain, find, nearest

PATCH = b"""\
diff --git a/other.py b/other.py
index 1111111..2222222 100644
--- a/other.py
+++ b/other.py
@@ -1 +1 @@
-diff --git a/mmtoy/__init__.py b/mmtoy/__init__.py
+@@ -1 +1 @@
diff --git a/mmtoy/__init__.py b/mmtoy/__init__.py
index 3333333..4444444 100644
--- a/mmtoy/__init__.py
+++ b/mmtoy/__init__.py
@@ -1,3 +1,4 @@ def here():
 same
-old
+new
+more
 same
@@ -9,0 +11 @@
+end
\\ No newline at end of file
"""
RECIPE = Recipe(
    steps={
        ("overlay-mmtoy", 0): StepFact(do="patch", note="B7: it is slow", source="patches", path="a/mmtoy.patch"),
        ("tree", 0): StepFact(do="edit", note="B8: a typo"),
    },
    pins={"numbers": "pinned to 2.0: 3.0 has no ints"},
    roles={"libtoy1": "systems/debian-12.yaml, runtime"},
    stages={"env": "Everything before the model"},
)


def look(
    path: str, *, recipe: Recipe = RECIPE, layer: Layer | None = None, folder: str = "/workspace/toy/Toy"
) -> Explanation:
    def hunks(change: Change, name: str) -> tuple[str, ...]:
        return hunks_of(PATCH, name) if change.what == "mmtoy.patch" else ()

    return explain(inventory(folder=folder), path, layer, recipe, hunks)


def facts(found: Explanation) -> dict[str, str]:
    return dict(found.facts)


def test_a_patched_file_of_a_wheel() -> None:
    found = look(f"/{SITE}/mmtoy/__init__.py")
    (step,) = found.steps
    assert (step.touched.before, step.touched.after) == (git_id(BEFORE), git_id(AFTER))
    assert step.fact is not None
    assert (step.fact.source, step.fact.note) == ("patches", "B7: it is slow")
    assert [heading_of(hunk) for hunk in step.hunks] == ["@@ -1,3 +1,4 @@ def here():  +2 -1", "@@ -9,0 +11 @@  +1 -0"]
    assert found.verdict == "the file is what the last step left"
    assert facts(found)["compiled wheel"] == "mmtoy 1.0"
    assert facts(found)["compiled from"].startswith("mmtoy-sdist mmtoy.tar.gz 1.0 cccc")
    assert facts(found)["flag CFLAGS"] == "-g0"
    assert facts(found)["needed by"] == "numbers"


def test_a_file_that_was_changed_after_the_last_step() -> None:
    files = toy_files() | {f"{SITE}/mmtoy/__init__.py": b"by hand\n"}
    found = explain(inventory(files), f"/{SITE}/mmtoy/__init__.py", None, RECIPE, lambda _change, _path: ())
    assert "is not what the last step left" in found.verdict
    files = toy_files() | {f"{SITE}/mmtoy/ops.py": b"by hand\n"}
    found = explain(inventory(files), f"/{SITE}/mmtoy/ops.py", None, RECIPE, lambda _change, _path: ())
    assert "is not what was installed" in found.verdict


def test_a_file_of_the_tree() -> None:
    found = look("/workspace/toy/Toy/train.py", folder="/workspace/toy/Toy")
    assert [step.change.do for step in found.steps] == ["edit"]
    assert found.steps[0].fact is None or found.steps[0].fact.note == "B8: a typo"
    assert facts(found)["source"] == f"toy https://github.com/Some/Toy.git {'1' * 40}"
    assert look("/workspace/toy/Toy/README.md").steps == ()


def test_a_recipe_of_another_state_gives_no_reasons() -> None:
    other = Recipe(steps={("overlay-mmtoy", 0): StepFact(do="patch", note="no", source="p", path="another.patch")})
    (step,) = look(f"/{SITE}/mmtoy/__init__.py", recipe=other).steps
    assert step.fact is None


def test_a_component_kept_beside_the_tree() -> None:
    recipe = Recipe(kept={"/workspace/toy/Toy/kept": "mmtoy-source"})
    assert MANIFEST["applied"].get("mmtoy-source") is None
    found = look("/workspace/toy/Toy/README.md", recipe=recipe)
    assert "kept from" not in facts(found)


def test_locked_debian_byte_code_links_and_nobodys() -> None:
    locked = facts(look(f"/{SITE}/numbers.py"))
    assert locked["locked"] == f"/opt/drivebuild/locks/model.txt: numbers==2.0 sha256:{'e' * 64}"
    assert locked["reason"] == "pinned to 2.0: 3.0 has no ints"
    deb = facts(look("/usr/lib/libtoy.so.1"))
    assert deb["built from"] == "toy 1:2.0-1, by Toy Makers <toy@example.org>"
    assert deb["reason"] == "systems/debian-12.yaml, runtime"
    code = look(f"/{SITE}/__pycache__/numbers.cpython-311.pyc")
    assert facts(code)["compiled"] == f"byte code of /{SITE}/numbers.py"
    assert code.source is not None
    assert code.source.path == f"/{SITE}/numbers.py"
    link = look("/etc/os-release")
    assert link.source is not None
    assert link.source.path == "/usr/lib/os-release"
    assert facts(look("/srv/stray"))["package"].startswith("none")


def test_whose_the_files_of_a_folder_are() -> None:
    folders = {"srv": ("folder", ""), SITE: ("folder", ""), "empty": ("folder", "")}
    whole = inventory(toy_files() | folders)

    def held(path: str) -> str:
        return dict(explain(whole, path, None, RECIPE, lambda _change, _path: ()).facts)["holds"]

    assert held("/srv") == "2 of nobody"
    assert held(f"/{SITE}") == "6 of python numbers, 6 of wheel mmtoy"
    assert held("/empty") == "no file"


def test_the_layer_and_what_it_hides() -> None:
    layer = Layer(number=3, count=5, digest="sha256:1", stage="env", instruction="RUN x", below=(1, 2))
    found = facts(look(f"/{SITE}/numbers.py", layer=layer))
    assert found["layer"] == "4 of 5, sha256:1"
    assert found["stage"] == "env: Everything before the model"
    assert found["hides"] == "the same path in layer 2, 3"


def test_a_path_by_its_end_through_links_and_in_circles() -> None:
    entries = inventory(toy_files() | {"loop": ("link", "loop")}).snapshot.entries
    assert find(entries, "/lib/libtoy.so.1") == ("/usr/lib/libtoy.so.1",)
    assert find(entries, "/usr/../usr/lib//libtoy.so.1") == ("/usr/lib/libtoy.so.1",)
    assert find(entries, "mmtoy/ops.py") == (f"/{SITE}/mmtoy/ops.py",)
    assert len(find(entries, "METADATA")) == 2
    assert find(entries, "toy/ops.py") == (), "a name is meant whole"
    assert find(entries, "/loop/x") == ()
    assert find(entries, "/lib") == ("/lib",)


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("/usr/lib/libtoy.so.2", "/usr/lib/libtoy.so.1"),
        ("/lib/libtoy.so", "/usr/lib/libtoy.so.1"),
        ("/elsewhere/train.py", "/workspace/toy/Toy/train.py"),
        (f"/{SITE}/mmtoi/ops.py", f"/{SITE}/mmtoy/ops.py"),
        (f"/{SITE}/mmtoi/opts.py", f"/{SITE}/mmtoy"),
        ("/workspce/toy", "/workspace"),
    ],
)
def test_what_may_have_been_meant(asked: str, first: str) -> None:
    entries = inventory(toy_files() | {"workspace": ("folder", ""), f"{SITE}/mmtoy": ("folder", "")}).snapshot.entries
    assert nearest(entries, asked)[0] == first
    assert nearest({}, asked) == ()


def test_hunks_of_no_patch() -> None:
    assert hunks_of(b"", "x") == ()
    assert hunks_of(b"\xff\x00@@ -1 +1 @@\n", "x") == ()
    assert hunks_of(b"diff --git a/x b/x\n@@ -1,99999999 +1 @@\n-a\n", "x") == ("@@ -1,99999999 +1 @@\n-a\n",)


def test_a_patch_out_of_a_store(tmp_path: Path) -> None:
    from builder.recipe.types import ArchiveSource
    from builder.source.pieces import read_piece
    from builder.source.store import Store

    class Nothing:
        def run(self, *_words: object, **_more: object) -> object:
            raise AssertionError("nothing is to be run")

    source = ArchiveSource(url="https://example.org/a.tar.gz", sha256="0" * 64)
    store = Store.make(tmp_path / "store")
    assert read_piece(source, "a", "x", store=store, cache=tmp_path, runner=Nothing()) is None  # type: ignore[arg-type]
