"""Layers from tars, archives and folders: the same files give the same digest however they are stored."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from builder.errors import BuildError
from builder.pieces import Pieces
from builder.reproduce.archive import read_archive
from builder.reproduce.entries import CLOCK, Entry, content_digest, read_folder, read_tar

FILES = {"etc/a": b"one", "etc/b": b"two", "bin/run": b"three"}


def tarred(files: dict[str, bytes], *, when: int = CLOCK + 5, reverse: bool = False, prefix: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files, reverse=reverse):
            info = tarfile.TarInfo(prefix + name)
            info.size, info.mtime, info.mode = len(files[name]), when, 0o644
            tar.addfile(info, io.BytesIO(files[name]))
    return out.getvalue()


def layer(data: bytes) -> dict[str, Entry]:
    return read_tar(io.BytesIO(data))[0]


def test_order_packing_and_later_times_are_no_difference() -> None:
    digests = {
        content_digest(layer(data))
        for data in (
            tarred(FILES),
            tarred(FILES, reverse=True, prefix="./"),
            tarred(FILES, when=CLOCK + 99999),
            gzip.compress(tarred(FILES)),
        )
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    "other",
    [
        {**FILES, "etc/a": b"onE"},
        {**FILES, "etc/c": b""},
        {name: data for name, data in FILES.items() if name != "etc/b"},
        {"etc/a": b"two", "etc/b": b"one", "bin/run": b"three"},
    ],
)
def test_every_other_difference_is_one(other: dict[str, bytes]) -> None:
    assert content_digest(layer(tarred(other))) != content_digest(layer(tarred(FILES)))


def test_a_time_before_the_clock_is_content() -> None:
    assert content_digest(layer(tarred(FILES, when=CLOCK - 9))) != content_digest(layer(tarred(FILES)))


def test_mode_owner_link_device_and_attributes_are_read() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, change in (
            ("d", tarfile.DIRTYPE, {"mode": 0o1777}),
            ("l", tarfile.SYMTYPE, {"linkname": "../x"}),
            ("c", tarfile.CHRTYPE, {"devmajor": 1, "devminor": 3}),
            ("f", tarfile.REGTYPE, {"uid": 1000, "gid": 7, "pax_headers": {"SCHILY.xattr.security.capability": "x"}}),
            ("h", tarfile.LNKTYPE, {"linkname": "./f"}),
            ("d/.wh.gone", tarfile.REGTYPE, {}),
        ):
            info = tarfile.TarInfo(name)
            info.type = kind
            for key, value in change.items():
                setattr(info, key, value)
            tar.addfile(info)
    found = layer(out.getvalue())
    assert (found["d"].kind, found["d"].mode) == ("folder", 0o1777)
    assert (found["l"].kind, found["l"].content) == ("link", "../x")
    assert (found["c"].kind, found["c"].content) == ("device", "1:3")
    assert (found["f"].owner, found["f"].xattrs) == ((1000, 7), (("security.capability", "78"),))
    assert (found["h"].kind, found["h"].content) == ("name", "f")
    assert found["d/.wh.gone"].kind == "removal"


def test_a_folder_is_read_as_its_tar_would_be(tmp_path: Path) -> None:
    root = tmp_path / "layer"
    (root / "etc").mkdir(parents=True)
    for name, data in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)
    (root / "link").symlink_to("etc/a")
    os.link(root / "etc/a", root / "etc/z")
    for path in root.rglob("*"):
        os.utime(path, (CLOCK, CLOCK), follow_symlinks=False)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            tar.add(path, arcname=str(path.relative_to(root)), recursive=False)
    ours, theirs = read_folder(root)[0], layer(out.getvalue())
    assert ours == theirs
    assert ours["etc/z"].content == "etc/a"


def test_only_wanted_contents_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    assert read_folder(tmp_path, lambda path: path == "b")[1] == {"b": b"b"}
    assert read_tar(io.BytesIO(tarred(FILES)), lambda path: path == "etc/a")[1] == {"etc/a": b"one"}


def saved(layers: list[bytes], *, legacy: bool) -> bytes:
    """An archive as `docker save` writes it, or an OCI layout with an attestation beside the image."""
    files: dict[str, bytes] = {}
    names = [f"blobs/sha256/{number:064x}" for number in range(len(layers))]
    files |= dict(zip(names, layers, strict=True))
    if legacy:
        files["manifest.json"] = json.dumps([{"Config": "c.json", "Layers": names}]).encode()
    else:
        image = {"layers": [{"digest": name.removeprefix("blobs/").replace("/", ":")} for name in names]}
        files["blobs/sha256/" + "e" * 64] = json.dumps(image).encode()
        files["blobs/sha256/" + "f" * 64] = json.dumps({"layers": []}).encode()
        index = [
            {"digest": "sha256:" + "e" * 64, "platform": {"architecture": "amd64"}},
            {"digest": "sha256:" + "f" * 64, "platform": {"architecture": "unknown"}},
        ]
        files["index.json"] = json.dumps({"manifests": index}).encode()
    return tarred(files)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_layers_of_an_archive_come_in_their_order(legacy: bool, pack: object) -> None:
    layers = [tarred({"one": b"1"}), tarred({"two": b"2"})]
    data = saved([pack(each) for each in layers], legacy=legacy)  # type: ignore[operator]
    stream = Pieces(data[at : at + 1000] for at in range(0, len(data), 1000))
    found = read_archive(stream, lambda path: path == "two")
    assert [list(read.layer) for read in found] == [["one"], ["two"]]
    assert found[1].kept == {"two": b"2"}


@pytest.mark.parametrize("data", [b"", b"no tar", tarred({"index.json": b"{}"}), tarred({"manifest.json": b"[]"})])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(BuildError, match="no archive of one image"):
        read_archive(io.BytesIO(data))


def test_zstd_is_named() -> None:
    with pytest.raises(BuildError, match="zstd"):
        read_archive(io.BytesIO(saved([b"\x28\xb5\x2f\xfd" + b"x" * 100], legacy=True)))
