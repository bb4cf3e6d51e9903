"""Images that lie or attack: what reads and compares their layers ends in order, and within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from builder.cli.reproduceview import as_data, print_comparison
from builder.errors import BuildError
from builder.reproduce import entries, reasons
from builder.reproduce.archive import Read, read_archive
from builder.reproduce.compare import Side, about_packages, compare
from builder.reproduce.debs import versions
from builder.reproduce.entries import Entry, content_digest, read_folder, read_tar
from builder.reproduce.reasons import reason_for

NAMES = (
    "../../etc/passwd",
    "/etc/passwd",
    "a\x1b]0;gone\x07\x1b[2J",
    "line\nend",
    "\u202eright to left",
    "\udcff\udcfe",
)


def tarred(*members: tarfile.TarInfo, content: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(content) if member.isfile() else None)
    return out.getvalue()


def member(name: str, content: bytes = b"", **more: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = len(content)
    for key, value in more.items():
        setattr(made, key, value)
    return made


def archive(**files: object) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, value in files.items():
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            path = name.replace("__", "/")
            tar.addfile(member(path, data), io.BytesIO(data))
    out.seek(0)
    return out


# --- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_names_and_targets_are_only_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is unpacked; what is printed or written is text, and steers no terminal."""
    link = member("link", type=tarfile.SYMTYPE, linkname=name)
    sides = []
    for number, text in enumerate((b"one", b"two")):
        layer, kept = read_tar(io.BytesIO(tarred(member(name, text), content=text)))
        target = {} if number else read_tar(io.BytesIO(tarred(link)))[0]
        sides.append(Side(name=str(number), layers=(Read({**layer, **target}, kept),), ids=()))
    found = compare(*sides)
    assert len(found.layers[0].differences) == 2
    print_comparison(found)
    said = capsys.readouterr().out
    assert not set(said) & set("\x1b\x07\u202e")
    json.dumps(as_data(found), ensure_ascii=False).encode()


def test_targets_that_are_no_text_are_told_apart() -> None:
    targets = ("\udcff", "\udcfe", "\\xff", "\\udcff", "ff")
    layers = [read_tar(io.BytesIO(tarred(member("l", type=tarfile.SYMTYPE, linkname=each))))[0] for each in targets]
    assert len({content_digest(layer) for layer in layers}) == len(targets)


@pytest.mark.parametrize("headers", [{"mtime": "inf"}, {"mtime": "nan"}, {"mtime": "1e300"}, {"uid": "9" * 300}])
def test_numbers_that_fit_nowhere(headers: dict[str, str]) -> None:
    try:
        layer, _ = read_tar(io.BytesIO(tarred(member("a", pax_headers=headers))))
    except tarfile.TarError:
        return
    assert content_digest(layer).startswith("sha256:")


def test_a_name_without_an_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tarred(member("long/" * 4000))
    assert len(read_tar(io.BytesIO(data))[0]) == 1
    monkeypatch.setattr(entries, "_LONGEST_HEADER", 10_000)
    with pytest.raises(BuildError, match="a name or attributes of 20"):
        read_tar(io.BytesIO(data))


def test_paths_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MOST_PATHS", 5)
    with pytest.raises(BuildError, match="more than 5 paths"):
        read_tar(io.BytesIO(gzip.compress(tarred(*(member(f"f{number}") for number in range(9))))))


def test_contents_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(entries, "MOST_KEPT", 100)
    names = [f"var/lib/dpkg/info/p{number}.list" for number in range(9)]
    text = b"x" * 40
    data = tarred(*(member(name, text) for name in names), content=text)
    layer, kept = read_tar(io.BytesIO(data), about_packages)
    assert (len(layer), len(kept)) == (9, 2)
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text)
    assert len(read_folder(tmp_path, about_packages)[1]) == 2


def test_folders_as_deep_as_the_kernel_lets_them_be(tmp_path: Path) -> None:
    made = [Path(f"{tmp_path}{'/d' * depth}") for depth in range(1, 1501)]
    try:
        for folder in made:
            folder.mkdir()
        layer, _ = read_folder(tmp_path)
    finally:
        # What clears temporary folders up goes down by calling itself.
        for folder in reversed(made):
            folder.rmdir()
    assert len(layer) == 1500
    assert list(layer) == sorted(layer)


def test_links_in_circles_and_out_of_the_layer_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "private").write_text("of this machine")
    for name, target in (("a", "b"), ("b", "a"), ("self", "."), ("out", "../private"), ("var", "/var")):
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe")
    layer, kept = read_folder(root, lambda _: True)
    assert {name: entry.kind for name, entry in layer.items()} == {
        **dict.fromkeys(("a", "b", "self", "out", "var"), "link"),
        "pipe": "pipe",
    }
    assert kept == {}


# --- archives ------------------------------------------------------------------------------------


def test_a_damaged_layer_is_not_an_empty_one() -> None:
    """Two images would be alike in it, whatever they hold."""
    data = gzip.compress(tarred(member("a", b"x" * 4000), content=b"x" * 4000))
    for broken in (data[: len(data) // 2], b"no tar at all" * 99, b"x"):
        files = {"manifest.json": [{"Layers": ["l__layer.tar".replace("__", "/")]}], "l__layer.tar": broken}
        with pytest.raises(BuildError, match=r"layer l/layer\.tar cannot be read"):
            read_archive(archive(**files))
    (empty,) = read_archive(archive(**{"manifest.json": [{"Layers": ["l/layer.tar"]}], "l__layer.tar": bytes(1024)}))
    assert empty.layer == {}


INDEX = {"digest": "sha256:aa", "platform": {"architecture": "amd64"}}


@pytest.mark.parametrize(
    "files",
    [
        # an index that names itself, and two that name each other
        {"index.json": {"manifests": [INDEX]}, "blobs__sha256__aa": {"manifests": [INDEX]}},
        {"index.json": [1, 2]},
        {"index.json": {"manifests": ["text"]}},
        {"index.json": {"manifests": [{"digest": 7}]}},
        {"index.json": {"manifests": [{**INDEX, "platform": "text"}]}},
        {"index.json": {"layers": 7}},
        {"index.json": {"layers": [{"digest": "sha256:gone"}]}},
        {"manifest.json": [{"Layers": "ab"}]},
        {"manifest.json": {"Layers": []}},
        {"manifest.json": None},
        {"index.json": b"[" * 200_000},
        {},
    ],
)
def test_indexes_of_rubbish(files: dict[str, object]) -> None:
    with pytest.raises(BuildError, match="no archive of one image"):
        read_archive(archive(**files))


def test_no_tar_at_all() -> None:
    for data in (b"", b"x" * 5000, gzip.compress(b"x" * 5000)):
        with pytest.raises(BuildError, match="no archive of one image"):
            read_archive(io.BytesIO(data))


# --- reasons -------------------------------------------------------------------------------------


def why(ours: bytes, theirs: bytes, path: str = "opt/x") -> str:
    entries_of = [Entry(kind="file", size=len(each), content=str(number)) for number, each in enumerate((ours, theirs))]
    return reason_for(path, entries_of[0], entries_of[1], texts=(ours, theirs))[0]


def bomb(kind: str, size: int = 3 << 20) -> bytes:
    inner = tarred(member("zeros", bytes(size)), content=bytes(size))
    if kind == "zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr("zeros", bytes(size))
        return out.getvalue()
    return {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind](inner)


@pytest.mark.parametrize("kind", ["zip", "gz", "bz2", "xz"])
def test_an_archive_in_an_image_unpacks_to_no_more_than_allowed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bomb(kind)
    assert why(data, data) == "archive order"
    monkeypatch.setattr(reasons, "MOST_UNPACKED", 1 << 20)
    assert why(data, data + b"x") == "unknown"


def test_a_bomb_of_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "_LONGEST_HEADER", 10_000)
    data = gzip.compress(tarred(member("long/" * 4000)))
    assert why(data, data + b"x") == "unknown"


@pytest.mark.parametrize("size", [b"-60       ", b"-62       ", b"x         ", b"9" * 10])
def test_a_static_library_whose_members_lead_back(size: bytes) -> None:
    """With a size below zero the next member would be the same one again, for ever."""
    data = b"!<arch>\n" + b"a".ljust(48) + size + b"`\n" + bytes(200)
    assert why(data, data + b"x") in ("unknown", "archive order")


@pytest.mark.parametrize("kind", ["zip", "gz", "bz2", "xz"])
def test_damaged_archives(kind: str) -> None:
    data = bomb(kind, 3000)
    for at in range(0, len(data), 7):
        damaged = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        assert why(damaged, data) in ("unknown", "archive order", "numbers in text")
        # What is cut off may be padding that nobody needs.
        assert why(data[:at], data) in ("unknown", "archive order", "numbers in text")


def test_a_status_file_of_rubbish() -> None:
    assert versions("Status: install ok installed\nVersion: 1\n\nPackage: a\n\n: \n\nVersion\n" + "\n" * 9999) == {}
