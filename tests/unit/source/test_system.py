"""Packages and base images without a distribution: what is asked of mmdebstrap and docker, what comes of answers."""

from __future__ import annotations

import io
import json
import shlex
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builder.engine.process import Argv, CommandMissingError, Result
from builder.errors import SourceError
from builder.plan.bootstrap import bootstrap_mark
from builder.plan.needs import DebianNeed, ImageNeed, SystemNeed
from builder.recipe.types import Bootstrap
from builder.source import system as system_module
from builder.source.images import fetch_image, installed_in
from builder.source.store import Store
from builder.source.system import CLOCK, Installed, bootstrap_failure, fetch_system, list_name

SYSTEM = SystemNeed(
    stage="os-packages", suite="bookworm", architecture="x86_64", include=("python3",), packages=("bc", "gcc")
)
CONTENT = b"the tarball"
SHA256 = "1ea4b1e9bd1a7bb3ac4e3ba0cb2d8c5a1f9b2b7c2f6fa9b3b4e6f6b7d1b0c1aa"


def debian(sha256: str) -> DebianNeed:
    return DebianNeed(
        stage="src-py", name="py", package="python3.11", suite="bookworm", file="py.orig.tar.gz", sha256=sha256
    )


def tar_of(files: Mapping[str, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 12345
            tar.addfile(info, io.BytesIO(content))
    return held.getvalue()


@dataclass
class Machine:
    """A machine with docker and mmdebstrap, which only writes down what it is asked."""

    images: dict[str, str] = field(default_factory=dict)
    """Id and architecture by name, as `docker image inspect` prints them."""
    out: dict[str, bytes] = field(default_factory=dict)
    code: int = 0
    said: bytes = b""
    missing: tuple[str, ...] = ()
    asked: list[Argv] = field(default_factory=list)
    inside: dict[str, str] = field(default_factory=dict)
    pulled: dict[str, str] = field(default_factory=dict)

    def run(self, argv: Argv, *, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Result:
        self._program(argv)
        found = self.images.get(argv[-1])
        text = (found.partition(" ")[0] if argv[-2] == "{{.Id}}" else found) if found else ""
        return Result(0 if found else 1, (text + "\n").encode())

    def stream(self, argv: Argv, feed: Callable[[bytes], None], *, tick: float = 0.25, stdin: bytes = b"") -> int:
        program = self._program(argv)
        feed(self.said)
        if self.code:
            return self.code
        if program == "mmdebstrap":
            self._mmdebstrap(argv)
        elif argv[1] == "save":
            Path(argv[3]).write_bytes(b"saved " + argv[4].encode())
        elif argv[1] == "pull":
            self.images.update(self.pulled)
        return 0

    def _program(self, argv: Argv) -> str:
        program = next(word for word in argv if word in ("mmdebstrap", "docker"))
        if program in self.missing:
            raise CommandMissingError(program)
        self.asked.append(argv)
        return program

    def _mmdebstrap(self, argv: Argv) -> None:
        hooks = [word.removeprefix("--customize-hook=") for word in argv if word.startswith("--customize-hook=")]
        if not hooks:
            Path(argv[-1]).write_bytes(b"a root")
            return
        folder = Path(shlex.split(hooks[1])[1])
        self.inside = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
        Path(shlex.split(hooks[-1])[2]).write_bytes(tar_of(self.out))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.make(tmp_path / "a store")


def get(store: Store, machine: Machine, *sources: DebianNeed, system: SystemNeed | None = SYSTEM, **more: object):
    options = {"installed": None, "mirrors": {}, **more}
    return fetch_system(
        "bookworm", system, sources, store=store, runner=machine, environment={}, stop=lambda: False, **options
    )


LISTS = {
    "./drivebuild/out/lists/deb.example_debian_dists_bookworm_InRelease": b"signed",
    "./drivebuild/out/archives/bc_1_amd64.deb": b"bc",
    "./drivebuild/out/archives/gcc_2_amd64.deb": b"gcc",
}


def members(store: Store, key: str) -> dict[str, tuple[bytes, int, int]]:
    entry = store.find(key)
    assert entry
    with tarfile.open(store.object(entry)) as tar:
        return {item.name: (tar.extractfile(item).read(), item.mtime, item.mode) for item in tar}


# --- packages ------------------------------------------------------------------------------------


def test_a_tar_of_lists_and_archives_depends_on_nothing_else(store: Store, tmp_path: Path) -> None:
    entries, failures = get(store, Machine(out=LISTS))
    assert failures == ()
    assert [entry.key for entry in entries] == [SYSTEM.key]
    assert entries[0].note == "2 archives"
    assert members(store, SYSTEM.key) == {
        "archives/bc_1_amd64.deb": (b"bc", CLOCK, 0o644),
        "archives/gcc_2_amd64.deb": (b"gcc", CLOCK, 0o644),
        "lists/deb.example_debian_dists_bookworm_InRelease": (b"signed", CLOCK, 0o644),
    }
    other = Store.make(tmp_path / "other")
    again, _ = get(other, Machine(out=dict(reversed(LISTS.items()))))
    assert again[0].sha256 == entries[0].sha256
    assert get(store, Machine(code=1)) == ((), ())


def test_the_base_images_own_word_for_what_it_has(store: Store) -> None:
    installed = Installed(
        status=b"Package: x\n", sources={"sources.list": b"deb http://deb.example/debian bookworm main\n"}
    )
    machine = Machine(out=LISTS)
    get(store, machine, installed=installed)
    assert machine.inside["status"] == "Package: x\n"
    assert machine.inside["etc/sources.list"] == "deb http://deb.example/debian bookworm main\n"
    script = machine.inside["fetch.sh"]
    assert "get install --download-only bc gcc\n" in script
    assert "for package in bc gcc; do" in script
    words = machine.asked[0]
    assert words[:2] == ("env", f"SOURCE_DATE_EPOCH={CLOCK}")
    assert "--variant=apt" in words
    assert "--architectures=amd64" in words
    assert not any(word.startswith("--include") for word in words)
    assert words[-2:] == ("bookworm", "/dev/null")


def test_without_the_image_a_root_like_it(store: Store) -> None:
    machine = Machine(out=LISTS)
    get(store, machine)
    assert "--variant=minbase" in machine.asked[0]
    assert "--include=python3" in machine.asked[0]
    assert set(machine.inside) == {"fetch.sh"}


def test_lists_of_a_mirror_are_found_by_the_images_apt(store: Store) -> None:
    mirrors = {"debian": "https://mirror.site/pub_1/debian", "debian-security": "https://mirror.site/debian-security"}
    sources = b"deb http://deb.example/debian bookworm main\ndeb http://sec.example/debian-security/ b main\n"
    out = {
        "lists/mirror.site_pub%5f1_debian_dists_bookworm_InRelease": b"1",
        "lists/mirror.site_debian-security_dists_b_InRelease": b"2",
        "archives/bc.deb": b"3",
    }
    machine = Machine(out=out)
    get(store, machine, installed=Installed(status=b"", sources={"sources.list": sources}), mirrors=mirrors)
    asked = machine.inside["etc/sources.list"]
    assert asked.splitlines() == [
        "deb https://mirror.site/pub_1/debian bookworm main",
        "deb https://mirror.site/debian-security b main",
    ]
    assert machine.asked[0][-1] == "https://mirror.site/pub_1/debian"
    assert set(members(store, SYSTEM.key)) == {
        "archives/bc.deb",
        "lists/deb.example_debian_dists_bookworm_InRelease",
        "lists/sec.example_debian-security_dists_b_InRelease",
    }


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://deb.example/debian", "deb.example_debian_dists_"),
        ("https://me:secret@deb.example:8080/a/b/", "deb.example:8080_a_b_dists_"),
        ("http://deb.example/~me/x_y", "deb.example_%7eme_x%5fy_dists_"),
    ],
)
def test_names_of_lists_are_apts(address: str, name: str) -> None:
    assert list_name(address) == name


# --- source packages -----------------------------------------------------------------------------


def test_a_source_package_is_pinned(store: Store) -> None:
    import hashlib

    sound = debian(hashlib.sha256(CONTENT).hexdigest())
    machine = Machine(out={**LISTS, "out/sources/py.orig.tar.gz": CONTENT, "out/sources/py.dsc": b"x"})
    entries, failures = get(store, machine, sound)
    assert failures == ()
    assert [entry.key for entry in entries] == [SYSTEM.key, sound.key]
    assert 'get source --download-only --tar-only "$package/bookworm"' in machine.inside["fetch.sh"]
    assert "for package in python3.11; do" in machine.inside["fetch.sh"]
    assert "bookworm main" in machine.inside["fetch.sh"]


def test_a_source_package_with_another_tarball_or_none(store: Store) -> None:
    wrong = debian(SHA256)
    entries, failures = get(store, Machine(out={**LISTS, "out/sources/py.orig.tar.gz": CONTENT}), wrong)
    assert [entry.key for entry in entries] == [SYSTEM.key]
    assert "py.orig.tar.gz has sha256" in failures[0]
    assert f"pinned is {SHA256}" in failures[0]
    entries, failures = get(store, Machine(), wrong, system=None)
    assert entries == ()
    assert failures == ("py: bookworm's package python3.11 has no py.orig.tar.gz",)


def test_source_packages_alone_want_no_packages(store: Store) -> None:
    machine = Machine()
    get(store, machine, debian(SHA256), system=None)
    assert 'if [ -n "" ]; then' in machine.inside["fetch.sh"]
    assert not any(word.startswith("--architectures") for word in machine.asked[0])


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("E: Temporary failure resolving 'deb.example'", "mirror cannot be reached"),
        ("E: Unable to locate package nosuch", "no such package"),
        ("E: unable to get default mirror for suite", "debian-archive-keyring"),
        ("E: No space left on device", "TMPDIR"),
        ("E: qemu-aarch64 missing", "qemu-user-static"),
        ("E: something else", ""),
    ],
)
def test_what_to_do_about_mmdebstraps_failures(said: str, hint: str) -> None:
    error = bootstrap_failure("bookworm", 25, f"I: running\nGet:1 x\n{said}\n{said}\n")
    assert error.message == f"bookworm: mmdebstrap failed with exit code 25\n  | {said}"
    assert hint in error.hint
    assert bool(error.hint) == bool(hint)


def test_an_ordinary_user_without_a_range_of_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_module.os, "geteuid", lambda: 1000)
    assert "/etc/subuid" in bootstrap_failure("s", 1, "E: newuidmap failed").hint


def test_a_failure_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(SourceError, match="exit code 25"):
        get(store, Machine(code=25, said=b"E: no\n"))
    with pytest.raises(SourceError, match="`mmdebstrap` is not installed"):
        get(store, Machine(missing=("mmdebstrap",)))
    assert store.entries() == ()
    assert list((store.root / "partial").iterdir()) == []


# --- images --------------------------------------------------------------------------------------


BOOTSTRAP = Bootstrap(suite="bookworm", include=("python3",))
MADE = bootstrap_mark(BOOTSTRAP)


def image(digest: str | None = None, *, bootstrap: bool = False) -> ImageNeed:
    how = BOOTSTRAP if bootstrap else None
    return ImageNeed(image="quay.io/a/base:1", digest=digest, bootstrap=how, architecture="aarch64")


def save(store: Store, need: ImageNeed, machine: Machine, **more: object):
    return fetch_image(need, store=store, runner=machine, environment={}, stop=lambda: False, **more)


def test_an_image_that_the_engine_has_is_taken_as_it_is(store: Store) -> None:
    machine = Machine(images={"quay.io/a/base:1": f"sha256:1 arm64 {MADE}"})
    entry = save(store, image(bootstrap=True), machine)
    assert entry.note == "docker load; sha256:1"
    assert store.object(entry).read_bytes() == b"saved quay.io/a/base:1"
    assert entry.file == "base-arm64.tar"
    assert save(store, image(bootstrap=True), Machine(code=1)) == entry


@pytest.mark.parametrize(
    "machine",
    [
        Machine(),
        Machine(missing=("docker",)),
        Machine(images={"quay.io/a/base:1": f"sha256:1 amd64 {MADE}"}),
        Machine(images={"quay.io/a/base:1": "sha256:1 arm64"}),
        Machine(images={"quay.io/a/base:1": "sha256:1 arm64 0123456789ab"}),
    ],
    ids=["not there", "no docker", "another architecture", "without a mark", "made in another way"],
)
def test_else_mmdebstrap_makes_it(store: Store, machine: Machine) -> None:
    entry = save(store, image(bootstrap=True), machine)
    assert entry.note == "docker import"
    assert store.object(entry).read_bytes() == b"a root"
    words = machine.asked[-1]
    assert words[-6:-1] == ("mmdebstrap", "--variant=minbase", "--include=python3", "--architectures=arm64", "bookworm")


def test_a_digest_is_pulled_and_saved_by_its_id(store: Store) -> None:
    reference = f"quay.io/a/base:1@sha256:{'d' * 64}"
    machine = Machine(pulled={reference: "sha256:9 arm64"})
    entry = save(store, image(f"sha256:{'d' * 64}"), machine)
    assert ("docker", "pull", "--platform", "linux/arm64", reference) in machine.asked
    assert machine.asked[-1][-1] == "sha256:9"
    assert entry.note == "docker load; sha256:9"


def test_a_registrys_mirror_gives_the_image_its_own_name(store: Store) -> None:
    machine = Machine(pulled={"mirror.site/a/base:1": "sha256:9 arm64", "quay.io/a/base:1": "sha256:9 arm64"})
    entry = save(store, image(), machine, registry=lambda name: name.replace("quay.io", "mirror.site"))
    assert ("docker", "tag", "mirror.site/a/base:1", "quay.io/a/base:1") in machine.asked
    assert store.object(entry).read_bytes() == b"saved quay.io/a/base:1"


def test_a_pull_waits_for_a_registry_that_has_too_much_to_do(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(Machine):
        def stream(self, argv: Argv, feed: Callable[[bytes], None], **more: Any) -> int:
            if argv[1] == "pull" and len(waits) < 2:
                feed(b"Error response from daemon: toomanyrequests: slow down\n")
                return 1
            return super().stream(argv, feed, **more)

    waits: list[float] = []
    monkeypatch.setattr("builder.source.images._wait", lambda seconds, _stop: waits.append(seconds))
    save(store, image(), Busy(pulled={"quay.io/a/base:1": "sha256:9 arm64"}))
    first, second = waits
    assert 1.5 <= first <= 2.5
    assert 3 <= second <= 5


def test_images_that_cannot_be_had(store: Store) -> None:
    with pytest.raises(SourceError, match="not for aarch64"):
        save(store, image(), Machine(pulled={"quay.io/a/base:1": "sha256:9 amd64"}))
    with pytest.raises(SourceError, match=r"docker pull quay\.io/a/base:1 failed: no such manifest"):
        save(store, image(), Machine(code=1, said=b"Trying\nno such manifest\n"))
    with pytest.raises(SourceError, match="`docker` is not installed"):
        save(store, image(), Machine(missing=("docker",)))
    assert store.entries() == ()


STATUS = {"./var/lib/dpkg/status": b"old", "./etc/apt/sources.list": b"deb x", "./etc/passwd": b"no"}


def test_what_a_root_says_of_itself(tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(tar_of(STATUS))
    assert installed_in(tmp_path / "root.tar") == Installed(status=b"old", sources={"sources.list": b"deb x"})


def test_what_layers_say_the_later_one_wins(tmp_path: Path) -> None:
    later = {"var/lib/dpkg/status": b"new", "etc/apt/sources.list.d/more.sources": b"URIs: y"}
    saved = {
        "manifest.json": json.dumps([{"Layers": ["blobs/1", "blobs/2"]}]).encode(),
        "blobs/2": tar_of(later),
        "blobs/1": tar_of(STATUS),
    }
    (tmp_path / "image.tar").write_bytes(tar_of(saved))
    assert installed_in(tmp_path / "image.tar") == Installed(
        status=b"new", sources={"sources.list": b"deb x", "sources.list.d/more.sources": b"URIs: y"}
    )


def test_an_image_without_dpkg_and_one_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "other.tar").write_bytes(tar_of({"etc/passwd": b"x"}))
    assert installed_in(tmp_path / "other.tar") is None
    (tmp_path / "bad.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(SourceError, match="damaged"):
        installed_in(tmp_path / "bad.tar")
