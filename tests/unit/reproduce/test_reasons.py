"""Each difference gets the reason that it has, and no milder one."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import tarfile
import zipfile

import pytest

from builder.reproduce.archive import Read
from builder.reproduce.compare import Side, compare, differing_paths
from builder.reproduce.debs import moved, of_paths, versions
from builder.reproduce.entries import Entry
from builder.reproduce.reasons import ACCEPTED, reason_for

MAGIC = importlib.util.MAGIC_NUMBER


def file(data: bytes, **change: object) -> Entry:
    fields = {"mode": 0o644, "mtime": 7, **change}
    return Entry(kind="file", size=len(data), content=hashlib.sha256(data).hexdigest(), **fields)  # type: ignore[arg-type]


def why(path: str, ours: bytes, theirs: bytes, **more: str) -> str:
    return reason_for(path, file(ours), file(theirs), texts=(ours, theirs), **more)[0]


def pyc(flags: int, stamp: bytes, code: bytes) -> bytes:
    return MAGIC + flags.to_bytes(4, "little") + stamp + code


def zipped(*members: tuple[str, str], when: int = 1990) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members:
            archive.writestr(zipfile.ZipInfo(name, (when, 1, 1, 0, 0, 0)), text)
    return out.getvalue()


def library(*members: tuple[str, bytes], when: int = 0) -> bytes:
    data = b"!<arch>\n"
    for name, content in members:
        data += f"{name + '/':16}{when:<12}{0:<6}{0:<6}{644:<8}{len(content):<10}`\n".encode() + content
        data += b"\n" * (len(content) % 2)
    return data


SHADOW = b"root:*:18628:0:99999:7:::\ndrivebuild:!:%d:0:99999:7:::\n"


@pytest.mark.parametrize(
    ("path", "ours", "theirs", "reason"),
    [
        ("a.pyc", pyc(0, b"12345678", b"code"), pyc(0, b"87654321", b"code"), "byte code"),
        ("a.pyc", pyc(0, b"12345678", b"code"), pyc(0, b"12345678", b"edoc"), "byte code"),
        ("etc/shadow", SHADOW % 20778, SHADOW % 20779, "account date"),
        ("etc/shadow", SHADOW % 20778, SHADOW.replace(b"!", b"$6$x") % 20779, "unknown"),
        ("x.whl", zipped(("a", "1"), ("b", "2")), zipped(("b", "2"), ("a", "1")), "archive order"),
        ("x.whl", zipped(("a", "1")), zipped(("a", "1"), when=2001), "archive order"),
        ("x.whl", zipped(("a", "1")), zipped(("a", "2")), "unknown"),
        ("x.a", library(("a.o", b"123")), library(("a.o", b"123"), when=99), "archive order"),
        ("x.a", library(("a.o", b"123")), library(("a.o", b"124")), "unknown"),
        ("var/log/alternatives.log", b"2026-11-20 a", b"2026-11-21 b", "log"),
        ("var/cache/ldconfig/aux-cache", b"\0a", b"\0b", "log"),
        ("opt/x/RECORD", b"made on Mon 20 Nov", b"made on Tue 21 Dec", "numbers in text"),
        ("opt/x/version.txt", b"version one", b"version two", "unknown"),
        ("opt/x/lib.so", b"\x7fELF\0 1", b"\x7fELF\0 2", "unknown"),
    ],
)
def test_contents(path: str, ours: bytes, theirs: bytes, reason: str) -> None:
    assert why(path, ours, theirs) == reason


@pytest.mark.parametrize(
    ("path", "variant", "reason"),
    [
        ("opt/python/bin/python3.11", "lto", "profile"),
        ("opt/python/lib/libpython3.8.so.1.0", "lto", "profile"),
        ("opt/python/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", "pgo", "profile"),
        ("opt/python/bin/python3.11", "stock", "unknown"),
        ("opt/python/lib/python3.11/os.py", "lto", "unknown"),
        ("opt/venv/lib/python3.11/site-packages/mmcv/_ext.so", "lto", "unknown"),
        ("opt/venv/lib/python3.11/site-packages/mmcv/_ext.so", "pgo", "unknown"),
    ],
)
def test_only_what_a_training_run_touches_is_excused_by_it(path: str, variant: str, reason: str) -> None:
    assert why(path, b"\x7fELF\0 1", b"\x7fELF\0 2", variant=variant) == reason


def test_what_is_no_matter_of_content() -> None:
    one = file(b"x")
    assert reason_for("a", one, file(b"x", mtime=99))[0] == "time"
    assert reason_for("a", one, file(b"x", mode=0o755, mtime=99)) == ("unknown", "mode 0644 there, 0755 here")
    assert reason_for("a", one, file(b"x", owner=(1, 2)))[1] == "owner 0:0 there, 1:2 here"
    assert reason_for("a", one, file(b"x", xattrs=(("user.x", "00"),)))[1] == "extended attributes"
    assert reason_for("a", one, Entry(kind="link", content="b"))[1].startswith("a file there, a link here")
    assert reason_for("a", None, one) == ("unknown", "only one of the two images has it")
    assert reason_for("a", one, file(b"y")) == ("unknown", "the contents differ")


def test_nothing_is_accepted_but_what_the_docs_name() -> None:
    assert {"time", "profile"} == ACCEPTED


STATUS = """\
Package: libssl3
Status: install ok installed
Architecture: amd64
Version: 3.0.{0}-1

Package: gone
Status: deinstall ok config-files
Version: 1

Package: zlib1g
Status: install ok installed
Version: 1:1.2
"""


def test_packages_that_moved() -> None:
    before, after = (
        versions(STATUS.format(11)),
        versions(STATUS.format(15) + "\nPackage: new\nStatus: a b installed\nVersion: 2\n"),
    )
    assert before == {"libssl3": "3.0.11-1", "zlib1g": "1:1.2"}
    assert moved(before, after) == {
        "libssl3": "libssl3 3.0.11-1 -> 3.0.15-1",
        "new": "new (none) -> 2",
    }
    owner = of_paths({"var/lib/dpkg/info/libssl3:amd64.list": ["/.", "/usr", "/lib/x86_64/libssl.so.3"]})
    assert owner["usr/lib/x86_64/libssl.so.3"] == "libssl3"
    assert owner["var/lib/dpkg/info/libssl3:amd64.md5sums"] == "libssl3"


def side(name: str, *layers: tuple[dict[str, Entry], dict[str, bytes]], ids: tuple[str, ...] = ()) -> Side:
    return Side(name=name, layers=tuple(Read(layer, kept) for layer, kept in layers), ids=ids)


def test_a_moved_package_is_one_reason_for_all_its_files() -> None:
    def image(patch: int) -> tuple[dict[str, Entry], dict[str, bytes]]:
        texts = {
            "var/lib/dpkg/status": STATUS.format(patch).encode(),
            "var/lib/dpkg/info/libssl3:amd64.list": b"/usr/lib/libssl.so.3\n/usr/share/doc/libssl3/changelog.gz\n",
        }
        contents = {
            **texts,
            "usr/lib/libssl.so.3": b"\x7fELF\0 %d" % patch,
            "usr/share/doc/libssl3/changelog.gz": b"\0%d" % patch,
            "usr/lib/other.so": b"\x7fELF\0 same",
        }
        return {path: file(data) for path, data in contents.items()}, texts

    found = compare(side("a", image(11)), side("b", image(15)))
    assert found.packages == ("libssl3 3.0.11-1 -> 3.0.15-1",)
    assert {each.path: each.reason for each in found.layers[0].differences} == {
        "usr/lib/libssl.so.3": "package",
        "usr/share/doc/libssl3/changelog.gz": "package",
        "var/lib/dpkg/status": "package",
    }
    assert not found.same


def test_times_alone_are_counted_and_are_the_same_image() -> None:
    one, other = {"a": file(b"x"), "b": file(b"y")}, {"a": file(b"x", mtime=99), "b": file(b"y")}
    found = compare(side("1", (one, {}), ids=("x",)), side("2", (other, {}), ids=("y",)))
    (layer,) = found.layers
    assert (layer.equal, layer.times, layer.differences, found.same) == (False, 1, (), True)
    late = {"a": file(b"x", mtime=2_000_000_000), "b": file(b"y")}
    later = {"a": file(b"x", mtime=2_000_000_001), "b": file(b"y")}
    assert compare(side("1", (late, {})), side("2", (later, {}))).layers[0].same_content


def test_a_layer_more_or_less_is_no_reproduction() -> None:
    one = ({"a": file(b"x")}, {})
    found = compare(side("1", one, one), side("2", one))
    assert (found.extra, found.same) == ((1, 0), False)


def test_only_files_with_other_contents_are_looked_into() -> None:
    ours = {"a": file(b"x"), "b": file(b"y"), "l": Entry(kind="link", content="1"), "only": file(b"")}
    theirs = {"a": file(b"x", mtime=9), "b": file(b"z"), "l": Entry(kind="link", content="2")}
    assert differing_paths([ours], [theirs]) == {"b"}


def test_a_broken_archive_is_no_archive() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a"))
    assert why("x.tar", out.getvalue()[:100] + b"\xff" * 300, b"PK\x03\x04broken") == "unknown"
    assert why("x.a", b"!<arch>\n" + b"x" * 70, b"!<arch>\n" + b"y" * 70) in ("unknown", "numbers in text")
