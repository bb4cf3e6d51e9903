"""What two images differ in, and what is the same however it was found."""

from __future__ import annotations

import copy
import json
from typing import Any

from support.snapshots import MANIFEST, SITE, STATUS, distribution, inventory, toy_files

from builder.provenance.differ import Difference, by_folder, compare


def other(files: dict[str, Any] | None = None, manifest: Any = None, **config: Any) -> Difference:
    changed = toy_files() | (files or {})
    if manifest is not None:
        changed["opt/drivebuild/manifest.json"] = json.dumps(manifest)
    return compare(inventory(), inventory(changed, **config))


def rows(pairs: Any) -> list[tuple[str, str, str, str]]:
    return [(each.group, each.name, each.before, each.after) for each in pairs]


def test_nothing() -> None:
    assert other().same


def test_packages_that_came_went_and_moved() -> None:
    status = STATUS.replace("Version: 2.36-9+deb12u10", "Version: 2.36-9+deb12u11")
    removed = toy_files()
    for path in [path for path in removed if "numbers-2.0" in path]:
        del removed[path]
    found = compare(inventory(), inventory(removed | distribution("new", "1", {}) | {"var/lib/dpkg/status": status}))
    assert rows(found.packages) == [
        ("package", "deb libc6", "2.36-9+deb12u10", "2.36-9+deb12u11"),
        ("package", "python new", "", "1"),
        ("package", "python numbers", "2.0", ""),
    ]


def test_a_package_of_the_same_version_with_other_content_was_built_another_way() -> None:
    found = other({f"{SITE}/mmtoy/ops.py": b"y\n"})
    assert rows(found.packages) == [
        ("content", "python mmtoy", "", "1 files of the same version have another content"),
    ]
    (change,) = found.files
    assert (change.path, change.how, change.package) == (f"/{SITE}/mmtoy/ops.py", "content", "python mmtoy")


def test_two_of_one_name_are_told_apart() -> None:
    twice = distribution("numbers", "1.0", {}, site="opt/python/lib/python3.11/site-packages")
    found = other(twice)
    assert [pair.name for pair in found.packages] == [
        "python numbers",
        "python numbers /opt/python/lib/python3.11/site-packages",
        f"python numbers /{SITE}",
    ]


def test_sources_steps_and_flags() -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["variant"] = "stock"
    manifest["sources"]["toy"]["commit"] = "9" * 40
    manifest["components"]["mmtoy"]["flags"]["CFLAGS"] = "-O3 -flto"
    manifest["toolchain"] = {"x86_64": "clang-19"}
    steps = manifest["applied"]["overlay-mmtoy"]
    steps.insert(0, {"do": "remove", "files": [{"path": "x", "before": "a" * 40, "after": ""}]})
    steps[1]["patch_sha256"] = "0" * 64
    found = other(manifest=manifest)
    assert rows(found.sources) == [("source", "toy", "1" * 40, "9" * 40)]
    names = [pair.name for pair in found.steps]
    # The patch has another number now; only its content is news.
    assert names == ["overlay-mmtoy: patch mmtoy.patch", "overlay-mmtoy: remove in x"]
    assert ("component", "mmtoy CFLAGS", "-g0", "-O3 -flto") in rows(found.flags)
    assert ("variant", "variant", "lto", "stock") in rows(found.flags)
    assert ("toolchain", "x86_64", "", "clang-19") in rows(found.flags)


def test_the_same_edit_twice_is_two_steps() -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["applied"]["tree"] *= 2
    (pair,) = other(manifest=manifest).steps
    assert (pair.name, pair.before) == ("tree: edit 'a' -> 'b' in Toy/train.py, time 2", "")


def test_configuration() -> None:
    before = {"environment": ("A=1", "B=2", "odd"), "labels": {"x": "1"}, "user": "0", "entrypoint": ("tini", "--")}
    after = {"environment": ("B=3", "A=1", "odd"), "labels": {}, "user": "1000", "entrypoint": ("tini", "-g")}
    found = compare(inventory(**before), inventory(**after))
    assert rows(found.config) == [
        ("environment", "B", "2", "3"),
        ("label", "x", "1", ""),
        ("user", "user", "0", "1000"),
        ("entrypoint", "entrypoint", "tini --", "tini -g"),
    ]
    assert found.files == ()


def test_every_way_a_file_can_change() -> None:
    found = other(
        {
            "srv/stray": b"54321",
            "srv/again": ("link", "stray"),
            "srv/more": b"",
            "srv/folder": ("folder", ""),
            "lib": ("link", "/usr/lib"),
            f"{SITE}/__pycache__/numbers.cpython-311.pyc": b"other",
        }
    )
    told = {each.path: (each.how, each.byte_code) for each in found.files}
    assert told == {
        "/srv/stray": ("content", False),
        "/srv/again": ("kind", False),
        "/srv/more": ("added", False),
        "/lib": ("target", False),
        f"/{SITE}/__pycache__/numbers.cpython-311.pyc": ("content", True),
    }


def test_files_by_folder() -> None:
    found = other({"srv/a/b/c/d": b"12", "srv/a/b/e": b"3", "f": b""})
    groups = {each.folder: (each.added, each.bytes) for each in by_folder(found.files, 2)}
    assert groups == {"/srv/a": (2, 3), "/": (1, 0)}
