"""Folders made of a store's contents."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from support.runner import RecordingRunner

from builder.errors import SourceError
from builder.plan.needs import DebianNeed, FileNeed, GitNeed, ImageNeed, Need, PackageNeed, SystemNeed, WeightNeed
from builder.source.contexts import Context, make_contexts, missing
from builder.source.store import Entry, Store

WHEEL, SDIST, TARBALL = b"a wheel", b"an sdist", b"a tarball"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(store: Store, key: str, content: bytes, file: str) -> Entry:
    path = store.partial("scratch")
    path.write_bytes(content)
    return store.add(key, path, file=file, origin="a test", sha256=sha256(content))


def package(content: bytes = WHEEL, *, stage: str = "packages-model", file: str = "", folder: str = "") -> PackageNeed:
    return PackageNeed(
        stage=stage,
        name="x",
        version="1",
        sha256=sha256(content),
        python="3.8",
        architecture="aarch64",
        file=file,
        folder=folder,
    )


FILE = FileNeed(stage="src-file", name="f", url="https://e.org/f.tgz", sha256=sha256(TARBALL), file="f.tgz")
SYSTEM = SystemNeed(stage="os-packages", suite="s", architecture="x86_64", include=(), packages=("bc",))


def system_tar(*members: tuple[str, bytes, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(info, io.BytesIO(content))
    return held.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.make(tmp_path / "store")


def make(store: Store, *needs: Need) -> tuple[Context, ...]:
    return make_contexts(needs, store, RecordingRunner(), folder=store.root.parent / "contexts")


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_what_is_missing_is_named_once_and_before_anything_is_made(store: Store) -> None:
    git = GitNeed(stage="src-a", name="a", url="https://e.org/a.git", commit="c" * 40)
    other = GitNeed(stage="src-b", name="b", url="https://e.org/b.git", commit="c" * 40)
    put(store, package().key, WHEEL, "x.whl")
    assert missing((git, other, package(), FILE), store) == (git, FILE)
    with pytest.raises(SourceError, match="lacks 2 things") as caught:
        make(store, git, other, package(), FILE)
    assert git.title in caught.value.message
    assert FILE.title in caught.value.message
    assert caught.value.hint.endswith(f"drivebuild fetch --store {store.root}")
    assert not (store.root.parent / "contexts").exists()


def test_wheels_lie_side_by_side_under_the_names_the_index_gave_them(store: Store) -> None:
    put(store, package().key, WHEEL, "x-1-py3-none-any.whl")
    put(store, package(SDIST).key, SDIST, "y-1.tar.gz")
    (context,) = make(store, package(), package(SDIST))
    assert context.stage == "packages-model"
    assert tree(context.folder) == {"x-1-py3-none-any.whl": (0o444, WHEEL), "y-1.tar.gz": (0o444, SDIST)}
    assert context.note == "2 files of the store"


def test_single_files_lie_where_their_stages_look(store: Store) -> None:
    tarball = DebianNeed(stage="src-py", name="py", package="p", suite="s", file="p.orig.tgz", sha256=sha256(b"py"))
    sdist = package(SDIST, stage="src-mmcv", file="mmcv-1.tar.gz", folder="archive")
    put(store, tarball.key, b"py", "p.orig.tgz")
    put(store, FILE.key, TARBALL, "of another name")
    put(store, sdist.key, SDIST, "whatever")
    found = {context.stage: tree(context.folder) for context in make(store, tarball, FILE, sdist)}
    assert found == {
        "src-py": {"archive/p.orig.tgz": (0o444, b"py")},
        "src-file": {"archive/f.tgz": (0o444, TARBALL)},
        "src-mmcv": {"archive/mmcv-1.tar.gz": (0o444, SDIST)},
    }


def test_images_and_weights_are_no_contexts(store: Store) -> None:
    image = ImageNeed(image="a/b", digest=None, bootstrap=None, architecture="x86_64")
    weights = WeightNeed(name="m", file="w.pth", url="https://e.org/w", sha256=None)
    assert make(store, image, weights) == ()


def test_a_file_is_linked_and_where_it_cannot_be_it_is_copied_alike(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, FILE.key, TARBALL, "f.tgz")
    (linked,) = make(store, FILE)
    assert (linked.folder / "archive/f.tgz").samefile(store.object(entry))
    before = tree(linked.folder)
    linked.folder.rename(linked.folder.with_name("aside"))

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    mask = os.umask(0o077)
    try:
        (copied,) = make(store, FILE)
    finally:
        os.umask(mask)
    assert tree(copied.folder) == before
    assert not (copied.folder / "archive/f.tgz").samefile(store.object(entry))
    assert stat.S_IMODE((copied.folder / "archive").stat().st_mode) == 0o755


def test_a_folder_is_named_after_its_content(store: Store) -> None:
    put(store, FILE.key, TARBALL, "f.tgz")
    (first,) = make(store, FILE)
    assert make(store, FILE) == (first,)
    put(store, package().key, WHEEL, "x.whl")
    (one,) = make(store, package())
    put(store, package(SDIST).key, SDIST, "y.tgz")
    (two,) = make(store, package(), package(SDIST))
    assert one.folder != two.folder
    assert one.folder.is_dir()


@pytest.mark.parametrize("again", [False, True], ids=["new", "made before"])
def test_a_damaged_archive_reaches_no_build(store: Store, again: bool) -> None:
    entry = put(store, FILE.key, TARBALL, "f.tgz")
    if again:
        make(store, FILE)
    content = store.object(entry)
    content.chmod(0o644)
    content.write_bytes(TARBALL.replace(b"a", b"e", 1))
    with pytest.raises(SourceError, match="damaged"):
        make(store, FILE)


def test_apts_folders(store: Store) -> None:
    put(store, SYSTEM.key, system_tar(("archives/a.deb", b"a", b"0"), ("lists/x_InRelease", b"x", b"0")), "s.tar")
    (context,) = make(store, SYSTEM)
    assert tree(context.folder) == {"archives/a.deb": (0o644, b"a"), "lists/x_InRelease": (0o644, b"x")}


@pytest.mark.parametrize(
    "member",
    [
        ("../out", b"x", b"0"),
        ("lists/../../out", b"x", b"0"),
        ("/lists/x", b"x", b"0"),
        ("other/x", b"x", b"0"),
        ("lists/x", b"", tarfile.SYMTYPE),
        ("lists/x", b"", tarfile.CHRTYPE),
        ("lists/x", b"", tarfile.DIRTYPE),
        ("lists/", b"x", b"0"),
    ],
    ids=str,
)
def test_nothing_else_comes_out_of_apts_tar(store: Store, member: tuple[str, bytes, bytes]) -> None:
    put(store, SYSTEM.key, system_tar(("lists/y", b"y", b"0"), member), "s.tar")
    with pytest.raises(SourceError, match="does not belong there"):
        make(store, SYSTEM)
    assert list((store.root.parent / "contexts").iterdir()) == []


def test_a_full_disk_is_a_sentence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, FILE.key, TARBALL, "f.tgz")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(SourceError, match="No space left on device"):
        make(store, FILE)
    assert list((store.root.parent / "contexts").iterdir()) == []
