"""Who owns what in an image: packages, wheels, sources, and what is left."""

from __future__ import annotations

import hashlib
import json

import pytest
from support.snapshots import AFTER, MANIFEST, SITE, distribution, inventory, toy_files

from builder.provenance.inventory import Package, summary
from builder.provenance.python import source_of
from builder.provenance.rpm import QUERY, database_of, query_command, read_query


def package(name: str, kind: str = "") -> Package:
    return next(each for each in inventory().packages if each.name == name and kind in ("", each.kind))


def test_every_kind_is_counted() -> None:
    assert dict(summary(inventory().packages)) == {
        "deb": 2,
        "python": 1,
        "wheel": 1,
        "interpreter": 1,
        "source": 3,
        "records": 1,
    }


def test_a_debian_package() -> None:
    found = package("libtoy1")
    assert (found.version, found.source, found.source_version) == ("1:2.0-1+b1", "toy", "1:2.0-1")
    assert (found.architecture, found.distribution) == ("amd64", "debian-12")
    assert found.expression == "GPL-2.0-or-later AND MIT"
    assert found.classes == ("gpl",)
    # /lib is a link: the file is where it leads, and dpkg's own notes belong to the package.
    whole = inventory()
    assert whole.of("/usr/lib/libtoy.so.1") == found
    assert whole.of("/var/lib/dpkg/info/libtoy1:amd64.list") == found
    assert found.missing == 0


def test_a_copyright_file_behind_a_link_and_for_people() -> None:
    assert package("libc6").expression == "LGPL-2.1-or-later"


def test_a_distribution_from_an_index_has_the_hash_it_was_locked_by() -> None:
    found = package("numbers")
    assert (found.kind, found.sha256, found.expression) == ("python", ("e" * 64,), "MIT")
    assert ("lock", "/opt/drivebuild/locks/model.txt") in found.properties
    assert inventory().of(f"/{SITE}/__pycache__/numbers.cpython-311.pyc") == found


def test_a_wheel_that_was_compiled_names_source_flags_and_what_was_changed() -> None:
    found = package("mmtoy")
    assert (found.kind, found.source, found.expression) == ("wheel", "mmtoy-sdist", "Apache-2.0")
    assert {("flag CFLAGS", "-g0"), ("component", "mmtoy")} <= set(found.properties)
    assert [change.what for change in found.changes] == ["mmtoy.patch"]
    assert found.changed == (f"/{SITE}/mmtoy/__init__.py",)


def test_the_interpreter_says_itself_how_it_was_compiled() -> None:
    found = package("cpython")
    assert found.version == "3.11.2"
    assert ("CONFIG_ARGS", "'--with-lto'") in found.properties


def test_sources_and_the_tree_that_lies_in_the_image() -> None:
    found = package("toy")
    assert (found.version, found.url, found.expression) == ("1" * 40, "https://github.com/Some/Toy.git", "Apache-2.0")
    assert [change.do for change in found.changes] == ["edit"]
    assert inventory().of("/workspace/toy/Toy/README.md") == found
    assert dict(package("patches").properties)["use"] == "files and patches were taken from it"


def test_what_nobody_owns_is_counted_once() -> None:
    whole = inventory()
    assert {"/srv/stray", "/srv/again"} <= set(whole.unowned)
    assert "/usr/lib/os-release" in whole.unowned
    total = sum(whole.snapshot.entries[path].size for path in whole.unowned) - len(b"12345")
    assert whole.unowned_bytes == total


def test_an_image_without_anything() -> None:
    whole = inventory({"bin/sh": b""})
    assert whole.packages == ()
    assert whole.unowned == ("/bin/sh",)
    assert "no manifest" in whole.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"sources": 1, "applied": {"a": [1, {"files": [3]}]}, "components": {"x": []}, "python": []}',
        '{"sources": {"x": {"commit": {"a": 1}}}, "options": [1], "toolchain": "x"}',
        "[" * 100000,
    ],
)
def test_a_manifest_that_is_none_is_no_crash(text: str) -> None:
    whole = inventory(toy_files() | {"opt/drivebuild/manifest.json": text})
    assert any(package.name == "numbers" for package in whole.packages)


@pytest.mark.parametrize(
    "files",
    [
        {f"{SITE}/x-1.dist-info/METADATA": b""},
        {f"{SITE}/x-1.dist-info/METADATA": b"\xff\xfe\x00rubbish"},
        {f"{SITE}/x-1.dist-info/METADATA": b"Name: \x1b[31mx\nVersion: 1\nLicense: \x1b]0;t\x07\n"},
        {f"{SITE}/.dist-info/METADATA": b"Name\n"},
        {f"{SITE}/x.dist-info/METADATA": b"Name: x\n" * 1000},
        {
            f"{SITE}/x-1.dist-info/METADATA": b"Name: x\n",
            f"{SITE}/x-1.dist-info/RECORD": b'"unfinished,\x00\n../../../..//etc,a\n',
        },
        {f"{SITE}/x-1.dist-info/METADATA": b"Name: x\n", f"{SITE}/x-1.dist-info/RECORD": b"x,sha256=!!!!,1\n,,\n"},
        {f"{SITE}/x-1.dist-info/METADATA": b"Name: x\n", f"{SITE}/x-1.dist-info/direct_url.json": b"[" * 9999},
        {f"{SITE}/x-1.dist-info/METADATA": b"Name: x\nRequires-Dist: [[[\nRequires-Dist: y; bad == 1\n"},
        {"var/lib/dpkg/status": b"\x00\xff\n\n: :\nPackage\n\nPackage: \x1b[2Jx\nVersion: \n"},
        {"var/lib/dpkg/status": b"Package: x\nStatus: installed\nVersion: 1\nSource: \nDepends: ,,|,(\n"},
        {"opt/python/lib/python3.11/_sysconfigdata_x.py": b"v = " + b"(" * 500},
        {"opt/python/lib/python3.11/_sysconfigdata_x.py": b"import os; v = os.system('touch /pwned')"},
        {"usr/share/doc/libtoy1/copyright": b"Format: x\nLicense: " + b"( and or " * 5000},
        {"lib": ("link", "lib"), "var/lib/dpkg/info/libtoy1.list": b"/lib/x\n/../../x\nnothing\n/\x00\n"},
    ],
)
def test_hostile_files_are_no_crash(files: dict[str, bytes]) -> None:
    from builder.provenance.cyclonedx import to_cyclonedx
    from builder.provenance.spdx import to_spdx

    whole = inventory(toy_files() | files)
    assert json.loads(to_cyclonedx(whole))["components"]
    assert json.loads(to_spdx(whole))["packages"]


def test_broken_metadata_is_reported() -> None:
    whole = inventory({f"{SITE}/x-1.0.dist-info/METADATA": b"nothing"})
    assert [(each.name, each.version) for each in whole.packages] == [("x", "1.0")]
    assert any("names no name" in note for note in whole.notes)


def test_a_distribution_that_the_system_owns_says_so() -> None:
    site = "usr/lib/python3/dist-packages"
    listed = f"/{site}/six-1.dist-info/METADATA\n/{site}/six.py\n"
    files = toy_files() | distribution("six", "1", {"six.py": b""}, site=site)
    files["var/lib/dpkg/info/libtoy1:amd64.list"] = listed
    whole = inventory(files)
    six = next(each for each in whole.packages if each.name == "six")
    assert ("part of", "libtoy1") in six.properties
    assert six.files == 3, "what dpkg lists is dpkg's, RECORD, WHEEL and INSTALLER are not"


def test_an_egg_info_is_of_something_installed_only_where_packages_are() -> None:
    text = "Metadata-Version: 1.1\nName: old\nVersion: 3\n"
    folders = ("workspace/toy/old.egg-info/PKG-INFO", "usr/lib/python3/dist-packages/old-3.egg-info")
    whole = inventory(dict.fromkeys(folders, text))
    assert [(each.name, each.version, each.place) for each in whole.packages if each.kind == "python"] == [
        ("old", "3", "/usr/lib/python3/dist-packages")
    ]


def test_a_file_of_a_debian_package_that_was_changed() -> None:
    listed = "/.\n/lib\n/lib/libtoy.so.1\n/usr/share/doc/libtoy1/copyright\n"
    sums = f"{hashlib.md5(b'elf', usedforsecurity=False).hexdigest()}  lib/libtoy.so.1\nrubbish\n  \n\x00  \n"
    names = {f"var/lib/dpkg/info/libtoy1:amd64.{kind}": text for kind, text in (("list", listed), ("md5sums", sums))}
    for content, changed in ((b"elf", ()), (b"fle", ("/usr/lib/libtoy.so.1",))):
        whole = inventory(toy_files() | names | {"usr/lib/libtoy.so.1": content})
        assert next(each for each in whole.packages if each.name == "libtoy1").changed == changed


def test_libraries_that_a_wheel_brings_along() -> None:
    files = {"big/__init__.py": b"", "big.libs/libgfortran-1.so.5": b"elf", "big/libs/no.so": b""}
    whole = inventory(toy_files() | distribution("big", "1", files))
    big = next(each for each in whole.packages if each.name == "big")
    assert [value for name, value in big.properties if name == "bundles"] == ["libgfortran-1.so.5"]


def test_byte_code_is_of_its_source() -> None:
    assert source_of("/a/__pycache__/b.cpython-38.pyc") == "/a/b.py"
    assert source_of("/a/b.py") == ""


def test_rpms_as_their_own_program_prints_them() -> None:
    text = (
        "P\tbash\t0\t5.2-1.oe2403\tx86_64\tGPLv3+\topenEuler\tbash-5.2.src.rpm\n"
        "F\t/bin/bash\nF\t/etc/skel\n"
        "P\tgpg-pubkey\t0\t1-1\t(none)\tpubkey\t(none)\t(none)\n"
        "P\tbad\tline\n"
        "P\tperl\t4\t5.38-1\tx86_64\tGPLv2+ and MIT\t(none)\tperl.src.rpm\n"
    )
    perl, bash = sorted(read_query(text), key=lambda each: each.name, reverse=True)
    assert (bash.version, bash.paths) == ("5.2-1.oe2403", ("/bin/bash", "/etc/skel"))
    assert (perl.version, perl.vendor) == ("4:5.38-1", "")
    words = query_command("sha256:1", "/var/lib/rpm")
    assert words[-7:] == ("sha256:1", "--dbpath", "/var/lib/rpm", "--query", "--all", "--queryformat", QUERY)
    assert words[words.index("--network") : words.index("--network") + 2] == ("--network", "none")


def test_where_an_rpm_database_is() -> None:
    assert database_of(inventory({"var/lib/rpm/rpmdb.sqlite": b""}).snapshot) == "/var/lib/rpm"
    assert database_of(inventory({"usr/lib/sysimage/rpm/Packages.db": b""}).snapshot) == "/usr/lib/sysimage/rpm"
    assert database_of(inventory({"var/lib/rpm": ("folder", "")}).snapshot) == ""


def test_the_manifests_own_words_are_the_changes() -> None:
    (change,) = inventory().manifest.changes_of("overlay-mmtoy")
    assert change.sha256 == "d" * 64
    assert change.files[0].after == inventory().snapshot.entries[f"/{SITE}/mmtoy/__init__.py"].blob
    assert AFTER
    assert MANIFEST["applied"]
