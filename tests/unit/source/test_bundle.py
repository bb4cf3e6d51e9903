"""The form of a bundle, its threads, and what goes into it."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import msgspec
import pytest
import zstandard
from support import bundles
from support.cli import drivebuild, refused
from support.files import without_aarch64

from builder.cli.bundle import Meter
from builder.errors import SourceError
from builder.plan.make import make_plan
from builder.recipe.types import Catalog
from builder.source import bundle as bundle_module
from builder.source.bundle import write_bundle
from builder.source.bundleform import (
    HEADER,
    Held,
    Manifest,
    Member,
    check_header,
    read_manifest,
    tar_header,
    tar_padding,
    tar_size,
)
from builder.source.bundleread import check_bundle
from builder.source.bundlestream import Behind, FrameWalk, Hashing
from builder.source.bundletext import bundle_texts, image_of
from builder.source.disk import sync
from builder.source.publish import agreed
from builder.source.store import Entry, Store
from builder.source.unbundle import unbundle

LONG = "recipes/shipped/locks/" + "a" * 90 + "/" + "b" * 90


@pytest.mark.parametrize("path", ["a", "x" * 100, LONG])
@pytest.mark.parametrize("size", [0, 1, 512, 8**11 - 1, 8**11, 1 << 45])
def test_every_tar_reads_our_headers(path: str, size: int) -> None:
    info = tarfile.TarInfo.frombuf(tar_header(path, size), "utf-8", "strict")
    assert (info.name, info.size, info.mode, info.uid, info.isreg()) == (path, size, 0o644, 0, True)


@pytest.mark.parametrize("path", ["x" * 101, "d/" + "x" * 101, "a" * 156 + "/b", "ä"])
def test_a_path_that_does_not_fit_is_refused(path: str) -> None:
    with pytest.raises(SourceError, match=r"too long|ASCII"):
        tar_header(path, 1)


def test_sizes_add_up(tmp_path: Path) -> None:
    bundle = bundles.make(bundles.fill(tmp_path / "store"), tmp_path / "b")
    tar = bundles.tar_of(bundle.path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        sizes = [member.size for member in opened.getmembers()]
    assert tar_size(sizes) == len(tar)
    assert [tar_padding(size) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]


def test_the_tar_is_one_that_others_unpack(tmp_path: Path) -> None:
    store = bundles.fill(tmp_path / "store")
    written = bundles.make(store, tmp_path / "b")
    with tarfile.open(fileobj=io.BytesIO(bundles.tar_of(written.path.read_bytes()))) as tar:
        found = {info.name: tar.extractfile(info).read() for info in tar if info.isreg()}  # type: ignore[union-attr]
    assert next(iter(found)) == "manifest.json"
    assert found["README.md"] == bundles.TEXTS["README.md"].encode()
    for entry in store.entries():
        assert found[f"objects/{entry.sha256[:2]}/{entry.sha256}"] == store.object(entry).read_bytes()
    listed = msgspec.json.decode(found["manifest.json"])
    assert [item["path"] for item in listed["files"]] == list(found)[1:]


def test_a_bundle_comes_back_as_it_was(tmp_path: Path) -> None:
    store = bundles.fill(tmp_path / "store")
    written = bundles.make(store, tmp_path / "b")
    other = Store.make(tmp_path / "other")
    restored = unbundle(written.path, other, tmp_path / "out", architecture="x86_64", observe=bundles.quiet)
    assert other.entries() == store.entries()
    assert other.verify() == ()
    assert (restored.objects, restored.size) == (3, sum(len(item) for item in bundles.CONTENTS.values()))
    found = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    assert {name: path.read_text() for name, path in found.items()} | {
        "dockerfiles/toy/plat-stock/Dockerfile": "FROM scratch\n"
    } == bundles.TEXTS
    assert {path.stat().st_mode & 0o777 for path in found.values()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out", tmp_path / "out/recipes")} == {0o755}


def test_equal_texts_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The second would find the first one read-only: an error for everyone but root.
    written = []

    def note(path: Path, mode: int | None = None) -> None:
        written.append((path.name, mode))
        sync(path, mode)

    monkeypatch.setattr("builder.source.unbundle.sync", note)
    bundle = bundles.make(bundles.fill(tmp_path / "store"), tmp_path / "b")
    assert len({bundles.sha256(text.encode()) for text in bundles.TEXTS.values()}) < len(bundles.TEXTS)
    unbundle(bundle.path, Store.make(tmp_path / "other"), tmp_path / "out", observe=bundles.quiet)
    scratch = [name for name, mode in written if mode == 0o444]
    assert sorted(scratch) == sorted({member.sha256 for member in bundle.manifest.files})


def test_what_the_store_knew_before_stays(tmp_path: Path) -> None:
    bundle = bundles.make(bundles.fill(tmp_path / "store"), tmp_path / "b")
    other = Store.make(tmp_path / "other")
    path, content = other.partial("x"), bundles.CONTENTS["wheel"]
    path.write_bytes(content)
    key = f"sha256:{bundles.sha256(content)}"
    mine = other.add(key, path, file="mine.whl", origin="seen first", sha256=bundles.sha256(content))
    unbundle(bundle.path, other, tmp_path / "out", observe=bundles.quiet)
    assert other.find(key) == mine
    assert len(other.entries()) == 4


def test_equal_stores_give_equal_bundles(tmp_path: Path) -> None:
    first = bundles.make(bundles.fill(tmp_path / "one"), tmp_path / "a")
    backwards = dict(reversed(bundles.CONTENTS.items()))
    store = bundles.fill(tmp_path / "two", backwards)
    second = bundles.make(store, tmp_path / "b")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert str(tmp_path).encode() not in bundles.tar_of(second.path.read_bytes())


def test_a_path_of_this_machine_stays_here(tmp_path: Path) -> None:
    store = Store.make(tmp_path / "store")
    for number, origin in enumerate(("file:///home/me/mirror/x.git", "/home/me/x", "https://example.org/x")):
        content = str(number).encode()
        path = store.partial("made")
        path.write_bytes(content)
        digest = bundles.sha256(content)
        store.add(f"sha256:{digest}", path, file="x", origin=origin, sha256=digest)
    origins = [held.origin for member in bundles.manifest_of(store).objects for held in member.keys]
    assert sorted(origins) == ["file", "file", "https://example.org/x"]


def test_what_is_missing_is_listed_by_name_and_nothing_is_written(tmp_path: Path) -> None:
    from builder.source.bundle import gather

    store = bundles.fill(tmp_path / "store")
    there = store.entries()[0]
    needs = [bundles.Wanted(there.key, "torch"), *(bundles.Wanted(f"git:{n:040}", f"source {n}") for n in range(60))]
    with pytest.raises(SourceError) as caught:
        gather(needs, store, texts={}, images=[], architecture="x86_64", fetch="drivebuild fetch toy")  # type: ignore[arg-type]
    lines = caught.value.message.splitlines()
    assert lines[0].startswith("60 things are not in the store")
    assert lines[1:] == [f"missing: source {n}" for n in range(60)]
    assert "drivebuild fetch toy" in caught.value.hint


HEX = "0123456789abcdef" * 4
OBJECT = f"objects/01/{HEX}"
KEY = Held(key=f"sha256:{HEX}", file="x")


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ([Member(path="../x", size=0, sha256=HEX)], "no path"),
        ([Member(path="/etc/passwd", size=0, sha256=HEX)], "no path"),
        ([Member(path="a/../b", size=0, sha256=HEX)], "no path"),
        ([Member(path="a//b", size=0, sha256=HEX)], "no path"),
        ([Member(path="a/./b", size=0, sha256=HEX)], "no path"),
        ([Member(path="a\\b", size=0, sha256=HEX)], "no path"),
        ([Member(path="", size=0, sha256=HEX)], "no path"),
        ([Member(path="a/", size=0, sha256=HEX)], "no path"),
        ([Member(path="manifest.json", size=0, sha256=HEX)], "there twice"),
        ([Member(path="a", size=0, sha256=HEX), Member(path="a", size=1, sha256=HEX)], "there twice"),
        ([Member(path="a", size=0, sha256=HEX), Member(path="a/b", size=1, sha256=HEX)], "both a file and a folder"),
        ([Member(path="x" * 101, size=0, sha256=HEX)], "too long"),
        ([Member(path=OBJECT, size=0, sha256=HEX)], "has no key"),
        ([Member(path="a", size=0, sha256=HEX, keys=(KEY,))], "belongs"),
        ([Member(path=OBJECT, size=0, sha256="f" * 64, keys=(KEY,))], "belongs"),
        ([Member(path=OBJECT, size=0, sha256=HEX, keys=(Held(key=f"sha256:{'f' * 64}", file="x"),))], "claimed"),
        ([Member(path=OBJECT, size=0, sha256=HEX, keys=(KEY, KEY))], "the key 'sha256:0123"),
        ([Member(path=OBJECT, size=0, sha256=HEX, keys=(Held(key="no key", file="x"),))], "regex"),
        ([Member(path=OBJECT, size=0, sha256=HEX, keys=(Held(key="git:1", file="../x"),))], "regex"),
        ([Member(path=OBJECT, size=0, sha256=HEX, keys=(Held(key="git:1", file=".."),))], "regex"),
        ([Member(path=OBJECT, size=-1, sha256=HEX, keys=(KEY,))], ">= 0"),
        ([Member(path=OBJECT, size=0, sha256="F" * 64, keys=(KEY,))], "regex"),
    ],
)
def test_a_manifest_is_believed_in_nothing(members: list[Member], what: str) -> None:
    text = msgspec.json.encode(
        Manifest(format=1, drivebuild="0", architecture="x86_64", images=(), files=tuple(members))
    )
    with pytest.raises(SourceError, match=what):
        read_manifest(text)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"format": 1, "more": 2}', b"[" * 100_000])
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(SourceError, match=r"manifest\.json"):
        read_manifest(text)


def test_a_later_format_is_named() -> None:
    with pytest.raises(SourceError, match=r"of format 2; this drivebuild reads format 1"):
        check_header(HEADER[:-2] + b"\x02\x00", "x")
    with pytest.raises(SourceError, match="x is not a bundle"):
        check_header(b"PK" + HEADER[2:], "x")
    with pytest.raises(SourceError, match="format 2"):
        read_manifest(bundles.forged_manifest([], format=2))


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
@pytest.mark.parametrize("kind", ["zeros", "noise"])
def test_the_walk_finds_the_end_of_a_frame_however_it_comes(size: int, kind: str) -> None:
    content = bytes(size) if kind == "zeros" else os.urandom(size)
    # A tar is never smaller than its manifest; a frame's head may need 18 bytes to be read.
    frame = zstandard.ZstdCompressor(write_checksum=True, write_content_size=True).compress(content + b"0123456789")
    for step in (1, 7, 4096, len(frame)):
        walk = FrameWalk()
        for start in range(0, len(frame), step):
            assert not walk.ended
            walk.feed(frame[start : start + step])
        assert walk.ended
        with pytest.raises(SourceError, match="after the end"):
            walk.feed(b"\0")


def test_a_frame_must_have_a_checksum() -> None:
    with pytest.raises(SourceError, match="no checksum"):
        FrameWalk().feed(zstandard.ZstdCompressor().compress(b"0123456789" * 10))
    with pytest.raises(SourceError, match="not zstd"):
        FrameWalk().feed(b"0123456789" * 10)


def test_the_first_file_with_another_digest_is_named() -> None:
    hashing = Hashing()
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"3")):
        hashing.feed(content)
        hashing.cut(name, bundles.sha256(content if name == "a" else b"other"))
    hashing.feed(b"rest")
    assert hashing.result().hexdigest() == bundles.sha256(b"rest")
    assert hashing.wrong == "b"


def test_an_error_behind_comes_to_the_front() -> None:
    behind, done = Behind(), []

    def fail() -> None:
        raise OSError(28, "No space left on device")

    behind.do(done.append, 1)
    behind.do(fail)
    behind.do(done.append, 2)
    with pytest.raises(OSError, match="No space"):
        behind.finish()
    with pytest.raises(OSError, match="No space"):
        behind.do(done.append, 3)
    assert done == [1]


def test_another_pack_of_a_commit_is_as_good_and_other_content_is_not(tmp_path: Path) -> None:
    store = bundles.fill(tmp_path / "store")
    first = store.entries()[0]
    store.alias("git:" + "a" * 40, first)
    store.alias("url:https://example.org/b", first)

    def entry(key: str, sha256: str) -> Entry:
        return Entry(key=key, sha256=sha256, size=1, file="x", origin="y")

    new, same = entry("git:" + "b" * 40, HEX), entry(first.key, first.sha256)
    assert agreed([new, same, entry("git:" + "a" * 40, HEX)], store) == (new, same)
    with pytest.raises(SourceError, match=r"url:https://example.org/b: sha256 .* there, 0123.* here"):
        agreed([new, entry("url:https://example.org/b", HEX)], store)


def test_a_bundle_replaces_a_bundle_and_nothing_else(tmp_path: Path) -> None:
    store = bundles.fill(tmp_path / "store")
    target = tmp_path / "b"
    bundles.make(store, target)
    bundles.make(store, target, architecture="aarch64")
    assert check_bundle(target, observe=bundles.quiet).architecture == "aarch64"
    manifest = bundles.manifest_of(store)

    def refused(path: Path, what: str) -> None:
        with pytest.raises(SourceError, match=what):
            write_bundle(manifest, bundles.TEXTS, store, path, observe=bundles.quiet)

    mine = tmp_path / "thesis.txt"
    mine.write_text("years of work\n")
    refused(mine, "exists and is not a bundle")
    assert mine.read_text() == "years of work\n"
    refused(tmp_path, "is a folder")
    refused(store.root / "b", "lies in the store")
    refused(Path("/dev/null"), "not a regular file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "store", "thesis.txt"]


def test_two_runs_with_one_target_do_not_mix(tmp_path: Path) -> None:
    import fcntl

    store = bundles.fill(tmp_path / "store")
    other = tmp_path / ".b.partial"
    with other.open("wb") as file:
        file.write(b"half of the other run's bundle")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SourceError, match="another drivebuild is writing"):
            bundles.make(store, tmp_path / "b")
        assert other.read_bytes() == b"half of the other run's bundle"
    bundles.make(store, tmp_path / "b")  # what a killed run has left is used again
    assert not other.exists()
    check_bundle(tmp_path / "b", observe=bundles.quiet)


def test_a_file_that_got_its_name_meanwhile_is_no_place_to_write(tmp_path: Path) -> None:
    temporary, target = tmp_path / ".b.partial", tmp_path / "b"
    temporary.write_bytes(b"the other run's bundle")
    with temporary.open("rb+") as file:
        temporary.rename(target)
        for _ in range(2):
            with pytest.raises(SourceError, match="another drivebuild is writing"):
                bundle_module._lock(file.fileno(), temporary, target)
            temporary.write_bytes(b"a third one's")
    assert target.read_bytes() == b"the other run's bundle"


def test_a_stick_without_rights_takes_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_permitted(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    store = bundles.fill(tmp_path / "store")
    monkeypatch.setattr("os.fchmod", not_permitted)
    check_bundle(bundles.make(store, tmp_path / "b").path, observe=bundles.quiet)


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    store, seen = bundles.fill(tmp_path / "store"), []
    write_bundle(
        bundles.manifest_of(store), bundles.TEXTS, store, tmp_path / "b", observe=lambda *pair: seen.append(pair)
    )
    assert seen[-1] == (len(bundles.tar_of((tmp_path / "b").read_bytes())),) * 2
    assert seen == sorted(seen)
    seen.clear()
    check_bundle(tmp_path / "b", observe=lambda *pair: seen.append(pair))
    assert seen[-1][0] == seen[-1][1]


def test_the_files_for_people(catalog: Catalog, templates: dict[str, str], tmp_path: Path) -> None:
    own = tmp_path / "my recipes"
    (own / "locks/plat").mkdir(parents=True)
    (own / "models").mkdir()
    (own / "models/mine.yaml").write_text("name: mine\n")
    (own / "locks/plat/mine.x86_64.txt").write_text("# a lock\n")
    (own / "notes.txt").write_text("private\n")
    from builder import paths

    plans = [make_plan(catalog, name, variant="lto") for name in ("streampetr", "panoocc")]
    texts = bundle_texts(catalog, plans, templates, folders=(paths.RECIPES, own), architecture="aarch64")
    assert texts[plans[0].dockerfile].startswith("# NOTE")
    assert {name for name in texts if name.startswith("compose")} == {
        *("compose.yaml", "compose/panoocc.yaml", "compose/streampetr.yaml"),
        *("compose.ascend.yaml", "compose/ascend/panoocc.yaml", "compose/ascend/streampetr.yaml"),
        *("compose.cpu.yaml", "compose/cpu/panoocc.yaml", "compose/cpu/streampetr.yaml"),
    }
    assert not any("flashocc" in texts[name] for name in ("compose.yaml", "compose.ascend.yaml", "compose.cpu.yaml"))
    assert texts["recipes/own-1/models/mine.yaml"] == "name: mine\n"
    assert texts["recipes/own-1/locks/plat/mine.x86_64.txt"] == "# a lock\n"
    assert not any("notes" in name for name in texts)
    shipped = paths.RECIPES / "models/streampetr.yaml"
    assert texts["recipes/shipped/models/streampetr.yaml"] == shipped.read_text()
    assert not any(str(tmp_path) in text for text in texts.values())
    readme = texts["README.md"]
    assert "drivebuild --recipes recipes/own-1 image streampetr --lto --store STORE --offline" in readme
    assert "drivebuild --recipes recipes/own-1 image panoocc --lto --store STORE --offline" in readme
    assert "drivebuild --recipes recipes/shipped --recipes recipes/own-1 image streampetr" in readme
    assert image_of(plans[0]).tag in readme


def test_recipes_that_cannot_be_read_are_an_error(catalog: Catalog, templates: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/bad.yaml").write_bytes(b"\xff\xfe")
    plan = make_plan(catalog, "streampetr")
    with pytest.raises(SourceError, match="cannot read the recipes"):
        bundle_texts(catalog, [plan], templates, folders=(tmp_path,), architecture="aarch64")


# The commands --------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a store that has all that any model needs, as far as the command can tell."""
    store = bundles.fill(tmp_path / "store")
    wanted = tuple(bundles.Wanted(entry.key, entry.file) for entry in store.entries())
    monkeypatch.setattr("builder.cli.bundle._needs", lambda *_, **__: wanted)
    monkeypatch.delenv("DRIVEBUILD_RECIPES", raising=False)
    return store


def test_the_commands_carry_a_model(filled: Store, tmp_path: Path) -> None:
    file, out = tmp_path / "a.bundle", tmp_path / "out"
    done = drivebuild(
        "bundle", "streampetr", "--lto", "--arch", "aarch64", "-o", str(file), "--store", str(filled.root)
    )
    assert done.exit_code == 0, done.output
    assert bundles.sha256(file.read_bytes()) in done.output
    done = drivebuild("unbundle", str(file), "--check")
    assert done.exit_code == 0, done.output
    assert "drivebuild/streampetr:cann-8.1.rc1-lto" in done.output
    assert "is sound" in done.output
    words = ("unbundle", str(file), "--store", str(tmp_path / "site"), "--output", str(out), "--any-arch")
    done = drivebuild(*words)
    assert done.exit_code == 0, done.output
    assert Store(tmp_path / "site").entries() == filled.entries()
    rendered = drivebuild("render", "streampetr", "--lto").stdout
    assert (out / "dockerfiles/streampetr/cann-8.1.rc1-lto/Dockerfile").read_text() == rendered
    # The recipes that came along are whole: with them, the same file is rendered.
    recipes = ("--recipes", str(out / "recipes/shipped"))
    assert drivebuild(*recipes, "render", "streampetr", "--lto").stdout == rendered


def test_both_commands_say_what_is_wrong_with_their_words(filled: Store, tmp_path: Path) -> None:
    file, site = tmp_path / "a.bundle", tmp_path / "site"
    into = ("-o", str(file))
    store = ("--store", str(filled.root))
    assert "which store?" in refused(drivebuild("bundle", "streampetr", *into), 2)
    assert "no such store" in refused(drivebuild("bundle", "streampetr", *into, "--store", str(site)), 5)
    assert "'sparc'" in refused(drivebuild("bundle", "streampetr", *into, *store, "--arch", "sparc"), 2)
    assert "no model 'streampeter'" in refused(drivebuild("bundle", "streampeter", *into, *store), 4)
    recipes = ("--recipes", str(without_aarch64(tmp_path)))
    words = ("bundle", "streampetr", *into, *store, "-p", "debian-12-cpu", "--arch", "aarch64")
    assert "does not exist for aarch64" in refused(drivebuild(*recipes, *words), 4)
    assert not file.exists()
    file.write_text("no bundle")
    assert "is not a bundle" in refused(drivebuild("unbundle", str(file), "--store", str(site)), 5)
    assert not site.exists()
    assert "which store?" in refused(drivebuild("unbundle", str(bundles.make(filled, tmp_path / "b").path)), 2)
    assert "--check unpacks nothing" in refused(drivebuild("unbundle", str(file), "--check", *store), 2)
    assert "cannot read" in refused(drivebuild("unbundle", str(tmp_path / "none"), "--check"), 5)


def test_what_is_missing_comes_with_the_command_that_gets_it(tmp_path: Path) -> None:
    store = Store.make(tmp_path / "store")
    words = ("panoocc", "streampetr", "-p", "debian-12-cpu", "--lto")
    text = refused(
        drivebuild("bundle", *words, "--arch", "x86_64", "-o", str(tmp_path / "b"), "--store", str(store.root)), 5
    )
    assert "missing: base image" in text
    assert "missing: torch 2.1.0 for Python 3.11 on x86_64" in text
    assert text.count("missing: torch 2.1.0 ") == 1
    wanted = f"drivebuild fetch panoocc streampetr --platform debian-12-cpu --lto --arch x86_64 --store {store.root}"
    assert wanted in text.replace("\n", " ")
    assert "missing: weights" in text
    assert "--no-weights leaves weights out" in text.replace("\n", " ")
    words = (*words, "--no-weights", "--arch", "x86_64", "-o", str(tmp_path / "b"))
    text = refused(drivebuild("bundle", *words, "--store", str(store.root)), 5)
    assert "missing: weights" not in text
    assert "leaves weights out" not in text
    assert "--no-weights" in text
    assert not (tmp_path / "b").exists()


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


def test_progress_in_a_log_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    meter = Meter("packed")
    for second in range(1, 26):
        clock.now = 100.0 + second
        meter(second * 10_000_000, 1_000_000_000)
    meter.close()
    assert capsys.readouterr().err.splitlines() == [
        "packed 100.0 MB of 1.0 GB, 10.0 MB/s, 1 min 30 s left",
        "packed 200.0 MB of 1.0 GB, 10.0 MB/s, 1 min 20 s left",
    ]


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, clock = Terminal(), Clock(monkeypatch)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    meter = Meter("packed")
    meter(1, 100)
    assert terminal.getvalue() == ""  # too early for a bar
    clock.now += 1.0
    meter(40_000_000, 100_000_000)
    clock.now += 1.0
    meter(60_000_000, 100_000_000)
    meter.close()
    assert "packed" in terminal.getvalue()
    assert "60.0/100.0 MB" in terminal.getvalue()
