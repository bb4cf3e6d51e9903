"""A disk that fills up in a build: the log's, the temporary folder's, the engine's own. Each is really full.

The disks are tmpfs, which only root can mount; elsewhere the tests skip, and say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from support.disks import small_disk
from support.engine import stage, toy_plan

from builder.engine.build import Choices, build
from builder.engine.folders import build_folder
from builder.engine.host import Engine, connect
from builder.engine.many import build_many
from builder.engine.process import SystemRunner
from builder.engine.record import read_record
from builder.engine.works import SystemDoors, Work
from builder.errors import BuildError

pytestmark = pytest.mark.docker

BASE = "localhost/drivebuild/base:debian-12"
CHATTY = f"FROM {BASE} AS toy\nRUN seq 100000 && sleep 60\n"
"""Prints more than half a megabyte; and would take a minute if nobody stopped it."""
QUIET = "FROM scratch AS toy\nCOPY Dockerfile /\n"
Disk = Callable[[str], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Return what mounts a small disk."""
    with ExitStack() as mounted:
        yield lambda size: mounted.enter_context(small_disk(tmp_path / "disk", size))


def failing(engine: Engine, tag: str, dockerfile: str, **more: object) -> BuildError:
    """Return the error of a build, which a command ends with exit code 6 for."""
    choices = Choices(tag=tag, **more)  # type: ignore[arg-type]
    with pytest.raises(BuildError) as caught:
        build(toy_plan(stage("toy")), dockerfile, choices, runner=SystemRunner(), engine=engine)
    assert caught.value.exit_code == 6
    return caught.value


def test_the_disk_of_the_log_is_full(engine: Engine, tag: str, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build is stopped at once: nobody would know afterwards what it did."""
    small = disk("64k")
    monkeypatch.setenv("XDG_STATE_HOME", str(small))
    begin = time.monotonic()
    error = failing(engine, tag, f"# {time.time()}\n{CHATTY} # {time.time()}\n")
    assert str(small) in error.message
    assert "No space left on device" in error.message
    assert error.hint.startswith("that disk is full: make room, or XDG_STATE_HOME names another place")
    assert engine.image(tag) is None
    assert read_record(tag) is None
    assert {path.suffix for path in build_folder(tag).iterdir()} <= {".log"}
    assert time.monotonic() - begin < 600


def test_no_room_for_a_second_record(engine: Engine, tag: str, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of the build before stays whole."""
    small = disk("128k")
    monkeypatch.setenv("XDG_STATE_HOME", str(small))
    words = Choices(tag=tag)
    build(toy_plan(stage("toy")), "FROM scratch AS toy\n", words, runner=SystemRunner(), engine=engine)
    before = read_record(tag)
    assert before is not None
    fill(small)
    error = failing(engine, tag, "FROM scratch AS toy\n")
    assert "No space left on device" in error.message
    assert "XDG_STATE_HOME" in error.hint
    assert read_record(tag) == before
    assert not list(build_folder(tag).glob(".record*"))


def test_the_temporary_disk_is_full(engine: Engine, tag: str, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    small = disk("64k")
    fill(small)
    monkeypatch.setattr("tempfile.tempdir", str(small))
    monkeypatch.setenv("TMPDIR", str(small))
    error = failing(engine, tag, f"# {'x' * 30_000}\nFROM scratch AS toy\n")
    assert str(small) in error.message
    assert "o space left on device" in error.message
    assert "TMPDIR names another" in error.hint
    assert [path.name for path in small.iterdir()] == ["filler"]


def fill(disk: Path) -> None:
    """Fill a disk, page by page: the kernel's own count of what is free is not exact."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


@pytest.fixture
def small_engine(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Return an engine of its own, with 64 MB for images and cache."""
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("SKIPPED LOUDLY: an engine of its own needs root and dockerd")
    root = disk("64m")
    # A socket's path has at most 108 bytes.
    socket = f"/tmp/drivebuild-test-{os.getpid()}.sock"
    words = ("--data-root", str(root), "--exec-root", str(tmp_path / "exec"), "--pidfile", str(tmp_path / "pid"))
    words += ("--host", f"unix://{socket}", "--bridge=none", "--iptables=false", "--ip6tables=false")
    with (tmp_path / "engine.log").open("wb") as log:
        # In a network of its own: without a bridge, dockerd removes docker0, which would be the machine's own engine's.
        command = ("unshare", "--net", "dockerd", *words)
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket}")
    try:
        yield waited_for(process, tmp_path / "engine.log")
    finally:
        process.terminate()
        process.wait(180)
        Path(socket).unlink(missing_ok=True)


def waited_for(process: subprocess.Popen[bytes], log: Path) -> Engine:
    for _ in range(720):
        if SystemRunner().run(("docker", "info")).code == 0:
            return connect()
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        time.sleep(0.25)
    raise AssertionError(log.read_text(errors="replace")[-3000:])


def test_the_engines_disk_is_full(small_engine: Engine, tag: str, tmp_path: Path) -> None:
    source = tmp_path / "big"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(1 << 20) * 100)
    dockerfile = "FROM scratch AS src-big\nFROM scratch AS toy\nCOPY --from=src-big / /\n"
    error = failing(small_engine, tag, dockerfile, contexts=(("src-big", source),))
    assert "no space left on device" in error.message
    assert error.hint.startswith("the engine's disk is full: `docker system df`")
    assert small_engine.image(tag) is None
    record = read_record(tag)
    assert record is not None
    assert (record.outcome, record.image_id) == ("failed", "")


def test_many_images_and_the_engines_disk_is_full(small_engine: Engine, tag: str, tmp_path: Path) -> None:
    """What waits is not tried, each to the same end after as many minutes; that is said once."""
    source = tmp_path / "big"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(1 << 20) * 100)
    names = ("first", "second", "third")
    works = [
        Work(
            name=name,
            plan=toy_plan(stage("toy")),
            dockerfile=f"FROM scratch AS src-big\nFROM scratch AS toy\nCOPY --from=src-big / /{name}\n",
            choices=Choices(tag=f"{tag}-{name}", contexts=(("src-big", source),)),
            digests={"toy": name},
        )
        for name in names
    ]
    outcome = build_many(works, names, slots=1, doors=SystemDoors(), show=lambda _views, _now: None)
    assert [image.state for image in outcome.images] == ["failed", "left", "left"]
    assert outcome.stopped.startswith("the engine's disk is full (")
    assert "docker system df" in outcome.hint
