"""Bundles that are damaged, cut off, forged, too large or interrupted: found, named, and nothing of them published."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
import zstandard
from support import bundles
from support.cli import drivebuild, refused
from support.disks import small_disk
from support.files import REPOSITORY

from builder.errors import SourceError
from builder.source.bundle import write_bundle
from builder.source.bundleform import END, tar_header, tar_padding
from builder.source.bundleread import check_bundle
from builder.source.store import Store
from builder.source.unbundle import unbundle

SMALL = {"wheel": bytes(range(256)), "empty": b""}
README = {"README.md": bundles.TEXTS["README.md"]}
MEGABYTES = {f"noise-{number}": os.urandom(1 << 20) for number in range(8)}


class Site:
    """A machine that gets a bundle: an empty store, and a folder for the rest."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self.file = root / "a.bundle"
        self.output = root / "out"
        self.store = Store.make(root / "site")

    def unbundle(self, content: bytes | None = None, **options: Any) -> None:
        """Unpack a bundle."""
        if content is not None:
            self.file.write_bytes(content)
        unbundle(self.file, self.store, self.output, **{"observe": bundles.quiet, **options})

    def refuses(self, content: bytes, what: str) -> str:
        """Assert that a bundle is refused with this text, by --check and by unpacking, and that nothing is left."""
        self.file.write_bytes(content)
        with pytest.raises(SourceError, match=what):
            check_bundle(self.file, observe=bundles.quiet)
        with pytest.raises(SourceError, match=what) as caught:
            self.unbundle()
        self.is_untouched()
        return caught.value.message

    def is_untouched(self) -> None:
        """Assert that nothing has been published, and that no scratch is left."""
        assert self.store.entries() == ()
        assert self.store.verify() == ()
        assert not [path for path in (self.store.root / "objects").rglob("*") if path.is_file()]
        assert [path.name for path in (self.store.root / "partial").iterdir() if path.suffix != ".lock"] == []
        assert {path.name for path in self.root.iterdir()} <= {"a.bundle", "site", "store"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a sound bundle, small enough to be damaged in every byte."""
    folder = tmp_path_factory.mktemp("small")
    bundles.make(bundles.fill(folder / "store", SMALL), folder / "b", texts=README)
    return (folder / "b").read_bytes()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sound bundle of 8 MB: large enough to be interrupted."""
    folder = tmp_path_factory.mktemp("large")
    return bundles.make(bundles.fill(folder / "store", MEGABYTES), folder / "b").path


def test_a_sound_bundle_is_taken(site: Site, small: bytes) -> None:
    # Without this, all that follows could pass for the wrong reason.
    site.unbundle(small)
    assert len(site.store.entries()) == 3
    assert site.store.verify() == ()
    assert (site.output / "README.md").read_text() == bundles.TEXTS["README.md"]


# Damage ---------------------------------------------------------------------------------------------------------------


def test_every_flipped_byte_of_a_bundle_is_found(tmp_path: Path, small: bytes) -> None:
    file = tmp_path / "b"
    missed = []
    for place in range(len(small)):
        damaged = bytearray(small)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(damaged)
        try:
            check_bundle(file, observe=bundles.quiet)
            missed.append(place)
        except SourceError:
            pass
    assert missed == []


def test_nothing_of_a_damaged_bundle_is_published(site: Site, small: bytes) -> None:
    # Every kind of place: header, the beginning of the stream, its middle, its end, the trailer's head, the digest.
    for place in (0, 9, 15, 16, 20, 30, len(small) // 3, len(small) // 2, -60, -50, -48, -40, -32, -1):
        damaged = bytearray(small)
        damaged[place] ^= 0x40
        with pytest.raises(SourceError):
            site.unbundle(bytes(damaged))
        site.is_untouched()


def test_every_flipped_byte_of_the_archive_is_found_where_the_digests_fit(tmp_path: Path, small: bytes) -> None:
    """As a forger might: headers, padding and contents are held against the manifest alone."""
    tar, file = bundles.tar_of(small), tmp_path / "b"
    size = int(tar[124:135], 8)
    manifest = range(512, 512 + size)
    missed = []
    for place in range(len(tar)):
        if place in manifest:
            continue
        damaged = bytearray(tar)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(bundles.packed(bytes(damaged)))
        try:
            check_bundle(file, observe=bundles.quiet)
            missed.append(place)
        except SourceError:
            pass
    assert missed == []


def test_a_flipped_byte_of_the_manifest_never_changes_what_is_unpacked(tmp_path: Path, small: bytes) -> None:
    tar, file = bundles.tar_of(small), tmp_path / "b"
    file.write_bytes(small)
    sound = check_bundle(file, observe=bundles.quiet)
    taken = 0
    for place in range(512, 512 + int(tar[124:135], 8)):
        damaged = bytearray(tar)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(bundles.packed(bytes(damaged)))
        try:
            found = check_bundle(file, observe=bundles.quiet)
        except SourceError:
            continue
        taken += 1
        facts = [(member.path, member.size, member.sha256, len(member.keys)) for member in found.files]
        assert facts == [(member.path, member.size, member.sha256, len(member.keys)) for member in sound.files]
    # Words for people: a file's name, an origin, a version. Only the digest in the trailer guards those.
    assert taken > 0


@pytest.mark.parametrize("kept", ["every length", "with a trailer that fits"])
def test_a_bundle_that_was_cut_off_is_found_at_every_length(tmp_path: Path, small: bytes, kept: str) -> None:
    frame, file = bundles.frame_of(small), tmp_path / "b"
    cut = (small[:size] for size in range(len(small)))
    if kept == "with a trailer that fits":
        cut = (bundles.sealed(frame[:size]) for size in range(len(frame)))
    for content in cut:
        file.write_bytes(content)
        with pytest.raises(SourceError) as caught:
            check_bundle(file, observe=bundles.quiet)
        assert str(file) in caught.value.message


def test_a_broken_off_copy_is_named_before_anything_is_read(site: Site, small: bytes) -> None:
    assert "is not complete: its end is missing" in site.refuses(small[:-1], "end is missing")


def test_a_checksum_of_the_stream_that_does_not_fit_is_found(site: Site, small: bytes) -> None:
    frame = bytearray(bundles.frame_of(small))
    frame[-1] ^= 1
    site.refuses(bundles.sealed(bytes(frame)), "damaged around byte")


@pytest.mark.parametrize("behind", ["bytes", "a frame", "an empty frame", "a skippable frame"])
def test_what_follows_the_stream_is_refused(site: Site, small: bytes, behind: str) -> None:
    compress = zstandard.ZstdCompressor(write_checksum=True).compress
    more = {
        "bytes": b"\0",
        "a frame": compress(b"more"),
        "an empty frame": compress(b""),
        "a skippable frame": b"\x50\x2a\x4d\x18\x04\0\0\0more",
    }[behind]
    site.refuses(bundles.sealed(bundles.frame_of(small) + more), "after the end of the compressed stream")


def test_what_follows_the_stream_is_refused_where_nothing_reads_it(
    site: Site, small: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = bundles.frame_of(small)
    # One piece ends with the frame, so zstd never asks for what follows.
    monkeypatch.setattr("builder.source.bundleread.CHUNK", len(frame))
    site.refuses(bundles.sealed(frame + b"more"), "after the end of the compressed stream")


def test_bytes_after_the_trailer_are_refused(site: Site, small: bytes) -> None:
    site.refuses(small + b"\0", "end is missing")


def test_a_stream_without_a_checksum_is_refused(site: Site, small: bytes) -> None:
    frame = zstandard.ZstdCompressor().compress(bundles.tar_of(small))
    site.refuses(bundles.sealed(frame), "no checksum")


# Forgeries: all digests fit -------------------------------------------------------------------------------------------

CONTENT = b"a wheel"
PLACE = f"objects/{bundles.sha256(CONTENT)[:2]}/{bundles.sha256(CONTENT)}"
MANIFEST = bundles.forged_manifest([bundles.described(PLACE, CONTENT, f"sha256:{bundles.sha256(CONTENT)}")])


def member(name: str = PLACE, content: bytes = CONTENT, **changes: object) -> tuple[bytes, bytes]:
    """Return header and content of a file as drivebuild writes it; with changes as `tarfile` does."""
    head = bundles.regular(name, content, **changes).tobuf(tarfile.USTAR_FORMAT) if changes else b""
    return head or tar_header(name, len(content)), content


def test_the_forger_can_make_a_sound_bundle(site: Site) -> None:
    site.unbundle(by_hand([member()]))
    assert [entry.sha256 for entry in site.store.entries()] == [bundles.sha256(CONTENT)]


def by_hand(members: list[tuple[bytes, bytes]], *, manifest: bytes = MANIFEST, end: bytes = END) -> bytes:
    """Return a bundle of headers and contents that need not be what they should."""
    parts = [tar_header("manifest.json", len(manifest)), manifest, bytes(tar_padding(len(manifest)))]
    for head, content in members:
        parts += [head, content, bytes(tar_padding(len(content)))]
    return bundles.packed(b"".join((*parts, end)))


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ([member("../../etc/cron.d/x")], r"found: a file '../../etc/cron.d/x'"),
        ([member("/etc/cron.d/x")], r"found: a file '/etc/cron.d/x'"),
        ([member("other")], "found: a file 'other'"),
        ([member(content=b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")], "a symbolic link .* to '/etc/passwd'"),
        ([member(content=b"", type=tarfile.LNKTYPE, linkname="manifest.json")], "a hard link .* to 'manifest.json'"),
        ([member(content=b"", type=tarfile.CHRTYPE, devmajor=1, devminor=1)], "a device node"),
        ([member(content=b"", type=tarfile.BLKTYPE, devmajor=8, devminor=0)], "a device node"),
        ([member(content=b"", type=tarfile.FIFOTYPE)], "a pipe"),
        ([member(content=b"", type=tarfile.DIRTYPE)], "a folder"),
        ([member(content=b"", type=tarfile.GNUTYPE_SPARSE)], "a kind that bundles do not have"),
        ([member(content=b"", type=tarfile.XHDTYPE)], "a kind that bundles do not have"),
        ([member(mode=0o4755)], "mode 4755"),
        ([member(uid=1000)], "owner 1000:0"),
        ([member(mtime=1)], "time 1"),
        ([member(content=CONTENT + b"!")], "found: a file .*8 bytes"),
        ([member(content=CONTENT[:-1])], "found: a file .*6 bytes"),
        ([member(content=b"a wheal")], "does not have the sha256"),
        ([member(), member()], "after the last file of the manifest: a file 'objects"),
        ([member(), member("more")], "after the last file of the manifest: a file 'more'"),
        ([], "found: the end of the archive"),
    ],
)
def test_members_that_the_manifest_does_not_make(site: Site, members: list[tuple[bytes, bytes]], what: str) -> None:
    site.refuses(by_hand(members), what)


def test_files_in_another_order_are_refused(site: Site) -> None:
    manifest = bundles.forged_manifest([bundles.described(name, name.encode()) for name in ("one", "two")])
    members = [member(name, name.encode()) for name in ("two", "one")]
    site.refuses(by_hand(members, manifest=manifest), "must be 'one' of 3 bytes; found: a file 'two'")


def test_a_manifest_that_climbs_out_is_refused(site: Site) -> None:
    for path in ("../x", "/tmp/x", "a/../../x", "recipes/..", "."):
        manifest = bundles.forged_manifest([bundles.described(path, CONTENT)])
        site.refuses(by_hand([member(path)], manifest=manifest), "no path that a bundle may have")


def test_the_manifest_comes_first_and_once(site: Site, small: bytes) -> None:
    site.refuses(bundles.packed(tar_header("README.md", 0) + END), "first file must be manifest.json")
    site.refuses(bundles.packed(bytes(20_000)), "first file must be manifest.json; found: the end")
    huge = tar_header("manifest.json", 1 << 32)
    site.refuses(bundles.packed(huge + bytes(20_000)), "first file must be manifest.json")
    site.refuses(by_hand([member("manifest.json", MANIFEST)]), "found: a file 'manifest.json'")


def test_padding_and_end_must_be_zeros(site: Site) -> None:
    head = tar_header(PLACE, len(CONTENT))
    site.refuses(by_hand([(head, CONTENT + b"hidden")]), "bytes after its end")
    site.refuses(by_hand([(head, CONTENT)], end=END + bytes(512)), "bytes after the end of the archive")
    site.refuses(by_hand([(head, CONTENT)], end=END[:-1] + b"x"), "after the last file")
    site.refuses(by_hand([(head, CONTENT)], end=bytes(512)), "ends early")


def test_a_file_that_ends_early_is_named(site: Site) -> None:
    tar = bundles.tar_of(by_hand([member()]))
    cut = tar.index(CONTENT) + 3
    site.refuses(bundles.packed(tar[:cut]), f"ends in the middle of '{PLACE}'")


def test_a_claimed_size_beyond_the_disk_is_refused_before_it_is_written(site: Site) -> None:
    size = 1 << 60
    item = {**bundles.described(PLACE, CONTENT, f"sha256:{bundles.sha256(CONTENT)}"), "size": size}
    site.file.write_bytes(by_hand([(tar_header(PLACE, size), CONTENT)], manifest=bundles.forged_manifest([item])))
    with pytest.raises(SourceError, match=r"needs 1152921504\.\d+ GB"):
        site.unbundle()
    site.is_untouched()


def test_a_few_bytes_that_unpack_to_gigabytes_need_no_memory(tmp_path: Path) -> None:
    """Runs of zeros, 128 KiB for four bytes: four GiB in all, after the end of the archive."""
    start = by_hand([member()])
    tar = bundles.tar_of(start)
    raw = b"".join(((len(tar) << 3).to_bytes(3, "little"), tar))
    run = ((1 << 17) << 3 | 2).to_bytes(3, "little") + b"\0"
    # A frame of its own: magic, descriptor (checksum, no size), window of 128 KiB; then the tar, then the runs.
    frame = b"\x28\xb5\x2f\xfd\x04\x38" + raw + run * (1 << 15) + b"\x01\0\0" + bytes(4)
    (tmp_path / "b").write_bytes(bundles.sealed(frame))
    done = run_cli("unbundle", str(tmp_path / "b"), "--check", limit=(resource.RLIMIT_AS, 2 << 30))
    assert done.returncode == 5, done.stderr
    assert "bytes after the end of the archive" in done.stderr


def test_a_frame_that_wants_much_memory_is_refused(site: Site) -> None:
    stream = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    frame = bytearray(stream.compress(bundles.tar_of(by_hand([member()]))) + stream.flush())
    # The byte of the window's size, from 2 MiB to 256 MiB: the content is as good with both.
    frame[5] = 18 << 3
    site.refuses(bundles.sealed(bytes(frame)), "damaged around byte .* too much memory")
    frame[5] = 11 << 3
    site.unbundle(bundles.sealed(bytes(frame)))


# Machines and disks ---------------------------------------------------------------------------------------------------


def run_cli(
    *words: str, limit: tuple[int, int] | None = None, cwd: Path | None = None, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run drivebuild as a process of its own, with a limit if need be, after some Python."""
    code = f"import sys; sys.argv[0] = 'drivebuild'\n{before}\nfrom builder.cli.main import run; run()"

    def set_limit() -> None:
        if limit:
            resource.setrlimit(limit[0], (limit[1], limit[1]))

    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        preexec_fn=set_limit,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_bundle_for_another_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles.make(bundles.fill(tmp_path / "store"), tmp_path / "b", architecture="aarch64")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    words = ("unbundle", str(tmp_path / "b"), "--store", str(tmp_path / "site"), "--output", str(tmp_path / "out"))
    text = refused(drivebuild(*words), 5)
    assert "made for aarch64, and this machine is x86_64" in text
    assert "--any-arch" in text
    site = Store(tmp_path / "site")
    assert site.entries() == ()
    assert not (tmp_path / "out").exists()
    assert drivebuild("unbundle", str(tmp_path / "b"), "--check").exit_code == 0
    assert drivebuild(*words, "--any-arch").exit_code == 0
    assert len(site.entries()) == 4
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert drivebuild(*words[:4], "--output", str(tmp_path / "more")).exit_code == 0


def test_output_that_is_in_use_is_left_alone(site: Site, small: bytes) -> None:
    site.file.write_bytes(small)
    site.output.mkdir()
    kept = site.output / "mine.txt"
    kept.write_text("mine\n")
    with pytest.raises(SourceError, match="is not empty"):
        site.unbundle()
    assert [path.name for path in site.output.iterdir()] == ["mine.txt"]
    assert site.store.entries() == ()
    kept.unlink()
    site.unbundle()  # an empty folder will do
    assert (site.output / "README.md").is_file()


def test_what_was_first_seen_stays(site: Site, small: bytes) -> None:
    path = site.store.partial("x")
    path.write_bytes(b"seen first")
    digest = bundles.sha256(b"seen first")
    site.store.add("url:https://example.org/wheel", path, file="wheel", origin="here", sha256=digest)
    with pytest.raises(SourceError, match=r"url:https://example.org/wheel: sha256 .* there, .* here"):
        site.unbundle(small)
    assert [entry.sha256 for entry in site.store.entries()] == [digest]
    assert not site.output.exists()


def test_unpacking_repairs_what_the_store_has_damaged(site: Site, small: bytes) -> None:
    site.unbundle(small)
    entry = next(entry for entry in site.store.entries() if entry.size)
    path = site.store.object(entry)
    path.chmod(0o644)
    path.write_bytes(bytes(entry.size))
    assert site.store.verify()
    site.output = site.root / "again"
    site.unbundle(small)
    assert site.store.verify() == ()


@pytest.mark.parametrize("name", ["wheel", "block"])
@pytest.mark.parametrize("damage", ["flipped", "shorter", "longer", "gone"])
def test_a_damaged_store_gives_no_bundle(tmp_path: Path, name: str, damage: str) -> None:
    # One of the two is the last file of the bundle, and is looked at by nothing that follows it.
    contents = {key: bundles.CONTENTS[key] for key in ("wheel", "block")}
    store = bundles.fill(tmp_path / "store", contents)
    manifest = bundles.manifest_of(store)
    content = contents[name]
    path = store.root / f"objects/{bundles.sha256(content)[:2]}/{bundles.sha256(content)}"
    path.chmod(0o644)
    path.unlink()
    if damage != "gone":
        path.write_bytes({"flipped": b"?" + content[1:], "shorter": content[:-1], "longer": content + b"?"}[damage])
    with pytest.raises(SourceError, match=f"{'cannot read ' if damage == 'gone' else ''}{name}.whl"):
        write_bundle(manifest, bundles.TEXTS, store, tmp_path / "b", observe=bundles.quiet)
    assert [item.name for item in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("room", [0, 100_000, 3_000_000, 8_000_000])
def test_a_limit_on_the_size_of_files_leaves_no_half_bundle(tmp_path: Path, room: int) -> None:
    bundles.fill(tmp_path / "store", MEGABYTES)
    code = f"""
import resource
from pathlib import Path
from support import bundles
from builder.source.store import Store
from builder.errors import SourceError
store, folder = Store(Path({str(tmp_path / "store")!r})), Path({str(tmp_path)!r})
manifest = bundles.manifest_of(store)
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
try:
    bundles.write_bundle(manifest, bundles.TEXTS, store, folder / "b", observe=bundles.quiet)
except SourceError as error:
    print(error.message, error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert "cannot write" in done.stdout
    assert "File too large" in done.stdout
    assert "takes no file that large" in done.stdout
    assert [item.name for item in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("room", [200_000, 1 << 20, (1 << 20) - 1])
def test_a_limit_on_the_size_of_files_leaves_nothing_unpacked(site: Site, large: Path, room: int) -> None:
    done = run_cli(
        *("unbundle", str(large), "--store", str(site.store.root), "--output", str(site.output), "--any-arch"),
        limit=(resource.RLIMIT_FSIZE, room),
    )
    assert done.returncode == 5, done.stderr
    assert "File too large" in done.stderr
    site.is_untouched()


def test_a_full_disk_leaves_all_or_nothing(tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On disks of many sizes, with the look at the free space beforehand and without it."""
    outcomes = set()
    usage = __import__("shutil").disk_usage
    for number, size in enumerate(range(4 << 20, 13 << 20, 300 << 10)):
        with small_disk(tmp_path / "disk", str(size)) as folder:
            if number % 2:
                monkeypatch.setattr("shutil.disk_usage", lambda path: usage(path)._replace(free=1 << 40))
            store = Store.make(folder / "store")
            error = None
            try:
                unbundle(large, store, folder / "out", observe=bundles.quiet)
            except SourceError as caught:
                error = caught
            if error is None:
                outcomes.add("all")
                assert len(store.entries()) == len(MEGABYTES)
                assert (folder / "out/README.md").is_file()
            else:
                outcomes.add("refused before" if "needs" in error.message else "full")
                assert "make room" in error.hint
                assert store.entries() == ()
                assert not [path for path in (folder / "store/objects").rglob("*") if path.is_file()]
                assert [path.name for path in folder.iterdir()] == ["store"]
                assert [path.suffix for path in (folder / "store/partial").iterdir()] in ([], [".lock"])
            monkeypatch.undo()
            assert store.verify() == ()
    assert outcomes == {"all", "refused before", "full"}


def test_a_full_disk_leaves_no_half_bundle_and_the_old_one(tmp_path: Path) -> None:
    store = bundles.fill(tmp_path / "store", MEGABYTES)
    few = bundles.fill(tmp_path / "few")
    for size in range(1 << 20, 9 << 20, 1 << 20):
        with small_disk(tmp_path / "disk", str(size)) as disk:
            target = disk / "b"
            bundles.make(few, target)
            before = target.read_bytes()
            with pytest.raises(SourceError, match="No space left on device") as caught:
                bundles.make(store, target)
            assert "make room" in caught.value.hint
            assert [path.name for path in target.parent.iterdir()] == ["b"]
            assert target.read_bytes() == before


# Interruptions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 1.0])
def test_control_c_leaves_nothing(site: Site, large: Path, part: float) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= part * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.unbundle(large.read_bytes(), observe=interrupt)
    site.is_untouched()
    store = bundles.fill(site.root / "store", MEGABYTES)
    site.file.unlink()
    with pytest.raises(KeyboardInterrupt):
        write_bundle(bundles.manifest_of(store), bundles.TEXTS, store, site.file, observe=interrupt)
    site.is_untouched()
    assert not site.file.exists()


SLOW = """
import time
from builder.cli.bundle import Meter
shown = Meter.__call__
def slowly(self, done, total):
    if done * 2 > total and not hasattr(self, "slow"):
        self.slow = True
        print("half", flush=True)
        time.sleep(600)
    shown(self, done, total)
Meter.__call__ = slowly
"""
"""Python for `interrupted`: stays in the middle of a bundle until a signal comes."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_nothing_unpacked(site: Site, large: Path, number: int) -> None:
    words = ("unbundle", str(large), "--store", str(site.store.root), "--output", str(site.output), "--any-arch")
    assert interrupted(number, *words) == (130, "interrupted\n")
    site.is_untouched()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_no_half_bundle(tmp_path: Path, number: int) -> None:
    """In the command itself, whose plan and needs are those of a store of this test's."""
    store = bundles.fill(tmp_path / "store", MEGABYTES)
    known = f"""
import types, builder.cli.bundle as module
from builder.source.store import Store
from pathlib import Path
entries = Store(Path({str(store.root)!r})).entries()
found = tuple(types.SimpleNamespace(key=one.key, title=one.file) for one in entries)
module._needs = lambda *_words, **_more: found
"""
    target = tmp_path / "out" / "b"
    words = ("bundle", "flashocc", "--platform", "debian-12-cpu", "--store", str(store.root), "-o", str(target))
    assert interrupted(number, *words, before=known) == (130, "interrupted\n")
    assert list(target.parent.iterdir()) == []


def interrupted(number: int, *words: str, before: str = "") -> tuple[int, str]:
    """Run drivebuild as a process of its own and send it a signal in the middle; return how it ended."""
    code = f"import sys; sys.argv[0] = 'drivebuild'\n{before}\n{SLOW}\nfrom builder.cli.main import run; run()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "half\n", process.communicate()[1]
    process.send_signal(number)
    said = process.communicate(timeout=120)[1]
    return process.returncode, said


def killed_at(call: int, what: str) -> str:
    """Return Python that kills its own process, as kill -9 does, at some call of a function that publishes."""
    return f"""
import os, pathlib, signal
before, count = pathlib.Path.{what}, iter(range(1000))
def counted(*arguments, **options):
    if next(count) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return before(*arguments, **options)
pathlib.Path.{what} = counted
"""


def unbundle_words(site: Site) -> tuple[str, ...]:
    """Return the words of the command."""
    return ("unbundle", str(site.file), "--store", str(site.store.root), "--output", str(site.output), "--any-arch")


def test_killed_at_every_step_of_publishing(site: Site, small: bytes) -> None:
    site.file.write_bytes(small)
    killed = 0
    for what in ("replace", "rename"):
        site.output = site.root / what
        for call in range(20):
            done = run_cli(*unbundle_words(site), before=killed_at(call, what))
            # What is there is whole: each entry, and each content that an entry names.
            assert site.store.verify() == ()
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done.stderr
            killed += 1
            assert not site.output.exists()
    expected = {bundles.sha256(content) for content in SMALL.values()}
    assert {entry.sha256 for entry in site.store.entries()} == expected
    assert site.store.verify() == ()
    assert killed >= len(expected)


def test_killed_while_it_unpacks(site: Site, large: Path) -> None:
    """At six points of the unpacking; each time the next run comes to the end."""
    site.file.write_bytes(large.read_bytes())
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "builder", *unbundle_words(site)], env=environment, check=True)
    whole = time.monotonic() - start
    killed = 0
    for number in range(6):
        other = Site(site.root / f"killed-{number}")
        other.file = site.file
        command = [sys.executable, "-m", "builder", *unbundle_words(other)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        time.sleep(whole * (number + 1) / 7)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        assert other.store.verify() == ()
        if not other.output.exists():
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        assert len(other.store.entries()) == len(MEGABYTES)
        assert other.store.verify() == ()
    assert killed
