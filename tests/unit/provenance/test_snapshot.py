"""An exported archive becomes entries; nothing in it can leave the image, crash the reader or fill the memory."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest
from support.snapshots import archive, git_id, snapshot

from builder.provenance import snapshot as module
from builder.provenance.cache import KEPT, read_cached, write_cached
from builder.provenance.snapshot import read_archive, resolve


def test_what_is_kept_of_a_file() -> None:
    found = snapshot({"./a/b": b"text", "a/c": ("hard", "a/b"), "a/d": ("link", "b"), "a/e": ("folder", "")})
    entry = found.entries["/a/b"]
    assert (entry.kind, entry.size, entry.mode) == ("file", 4, 0o644)
    assert entry.sha256 == hashlib.sha256(b"text").hexdigest()
    assert entry.blob == git_id(b"text")
    assert (found.entries["/a/c"].sha256, found.entries["/a/c"].first) == (entry.sha256, "/a/b")
    assert (found.entries["/a/d"].kind, found.entries["/a/d"].target) == ("link", "b")
    assert found.entries["/a/e"].kind == "folder"


def test_what_the_engine_puts_into_a_container_is_not_the_images() -> None:
    found = snapshot({".dockerenv": b"", "etc/hosts": b"", "proc/1": b"", "dev/console": b"", "etc/hosts.allow": b""})
    assert set(found.entries) == {"/etc/hosts.allow"}


def test_names_that_are_no_text_are_spelled_out() -> None:
    name = b"a\xff\n\x1b[2J".decode("utf-8", "surrogateescape")
    found = snapshot({name: b""})
    assert list(found.entries) == ["/a\\xff\n\x1b[2J"]
    found.entries["/a\\xff\n\x1b[2J"].sha256.encode()


def test_only_what_says_what_is_installed_is_kept_in_full() -> None:
    found = snapshot({"var/lib/dpkg/status": "x", "srv/status": "x", "s/a-1.dist-info/RECORD": "", "s/RECORD": ""})
    assert set(found.texts) == {"/var/lib/dpkg/status", "/s/a-1.dist-info/RECORD"}


def test_a_file_that_is_larger_than_anything_sensible_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEXT_LIMIT", 10)
    monkeypatch.setattr(module, "TEXTS_LIMIT", 15)
    names = [f"s/{each}-1.dist-info/METADATA" for each in "abc"]
    found = snapshot(dict(zip(names, (b"0" * 11, b"0" * 9, b"0" * 9), strict=True)))
    assert set(found.texts) == {f"/{names[1]}"}
    assert found.left_out == (f"/{names[0]}", f"/{names[2]}")
    assert found.entries[f"/{names[0]}"].sha256


def test_an_archive_that_ends_early_is_an_error() -> None:
    data = archive({"a": b"0" * 5000})
    with pytest.raises(tarfile.TarError):
        read_archive([data[:2000]])


@pytest.mark.parametrize(
    ("links", "path", "leads"),
    [
        ({"lib": "usr/lib"}, "/lib/x", "/usr/lib/x"),
        ({"a": "/b", "b": "c"}, "/a/x", "/c/x"),
        ({"d/up": "../../../../etc"}, "/d/up/passwd", "/etc/passwd"),
        ({"a": "b", "b": "a"}, "/a/x", "/a/x"),
        ({"a": "a"}, "/a", "/a"),
        ({"a": "."}, "/a/a/a/x", "/x"),
    ],
)
def test_links_are_followed_inside_the_image_and_never_for_ever(links: dict[str, str], path: str, leads: str) -> None:
    entries = snapshot({name: ("link", target) for name, target in links.items()}).entries
    assert resolve(entries, path) == leads


def test_an_image_is_read_once(tmp_path: Path) -> None:
    found = snapshot({"a": b"1", "var/lib/dpkg/status": "x"})
    write_cached(tmp_path, found)
    assert read_cached(tmp_path, found.id) == found
    assert read_cached(tmp_path, "sha256:" + "0" * 64) is None
    assert [path.name[0] for path in tmp_path.iterdir()] == ["3"], "nothing half-written"


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x28\xb5\x2f\xfd\x00"])
def test_a_broken_memory_is_none(tmp_path: Path, content: bytes) -> None:
    found = snapshot({})
    write_cached(tmp_path, found)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    assert read_cached(tmp_path, found.id) is None


def test_the_memory_does_not_grow_without_end(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        write_cached(tmp_path, snapshot({}, identity=f"sha256:{number:064x}"))
    assert len(list(tmp_path.iterdir())) == KEPT
