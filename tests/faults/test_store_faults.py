"""Kill -9, two at once, a full disk and flipped bytes: what is in a store is right, and is not asked for again."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.disks import small_disk
from support.files import REPOSITORY as ROOT
from support.fileserver import FileServer, serve, sha256

from builder.source.store import Store

FILES = {f"/{number}.bin": random.Random(number).randbytes(20_000 + 9_000 * number) for number in range(6)}  # noqa: S311
UNPINNED = "/5.bin"
KILLS = 50


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as running:
        running.files.update(FILES)
        yield running


def command(server: FileServer, store: Path) -> list[str]:
    words = [f"{path}={'' if path == UNPINNED else sha256(content)}" for path, content in FILES.items()]
    return [sys.executable, str(ROOT / "tests/faults/fetching.py"), str(store), server.base, *words]


def start(server: FileServer, store: Path, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NETRC": os.devnull}
    return subprocess.Popen(
        command(server, store),
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,  # noqa: PLW1509
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    error = process.communicate(timeout=180)[1]
    return process.returncode, error


def contents(store: Store) -> dict[str, bytes]:
    return {f"/{entry.file}": store.object(entry).read_bytes() for entry in store.entries()}


def wait_for_a_request(server: FileServer, pid: int) -> None:
    """Wait until a process asks for something, or is gone: one that has only to publish asks nothing."""
    with suppress(ProcessLookupError):
        while not server.asked.total():
            os.kill(pid, 0)
            time.sleep(0.001)


def test_killed_fifty_times(server: FileServer, tmp_path: Path) -> None:
    """At moments spread over all that a fetch does: what is left is sound, and no finished file is asked for again."""
    server.step, server.pause = 8_000, 0.002
    root, chance, halves = tmp_path / "store", random.Random(1), 0  # noqa: S311
    Store.make(root)
    first, *rest = command(server, root)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NETRC": os.devnull}
    forker = subprocess.Popen(
        [first, rest[0], "--fork", *rest[1:]], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert forker.stdin
    assert forker.stdout
    there: set[str] = set()
    killed = 0
    for _ in range(KILLS * 4):
        forker.stdin.write("\n")
        forker.stdin.flush()
        pid = int(forker.stdout.readline())
        wait_for_a_request(server, pid)
        time.sleep(chance.uniform(0, 0.08))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        status = int(forker.stdout.readline())
        assert status in (0, -signal.SIGKILL)
        killed += status != 0
        store = Store(root)
        assert store.verify() == ()
        # What a process before this one had finished, this one did not ask for.
        assert not there & set(server.asked)
        halves += any((root / "partial").glob("*.part"))
        there = set(contents(store))
        server.asked.clear()
        if status == 0:
            assert contents(store) == FILES
        if killed >= KILLS:
            break
        if there == set(FILES):
            # All is there: the next one begins with nothing.
            store.collect(keep=())
            there = set()
    forker.stdin.close()
    forker.stdout.close()
    assert forker.wait() == 0
    assert killed >= KILLS
    assert halves > KILLS // 4
    assert finished(start(server, root)) == (0, "")
    assert contents(Store(root)) == FILES
    assert not there & set(server.asked)


def test_two_at_once(server: FileServer, tmp_path: Path) -> None:
    server.step, server.pause = 16_000, 0.002
    processes = [start(server, tmp_path / "store") for _ in range(2)]
    assert [finished(process) for process in processes] == [(0, ""), (0, "")]
    store = Store(tmp_path / "store")
    assert contents(store) == FILES
    assert store.verify() == ()
    assert server.asked == dict.fromkeys(FILES, 1)


def test_a_full_disk(server: FileServer, tmp_path: Path) -> None:
    """A file may not grow beyond 30 kB, which looks the same as a full disk."""

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    status, error = finished(start(server, tmp_path / "store", little))
    assert status == 5
    assert "File too large" in error
    assert "Traceback" not in error
    store = Store(tmp_path / "store")
    assert store.verify() == ()
    assert set(contents(store)) <= {"/0.bin", "/1.bin"}
    # With room, the next run goes on.
    server.requests.clear()
    assert finished(start(server, tmp_path / "store")) == (0, "")
    assert contents(Store(tmp_path / "store")) == FILES
    ranges = [headers.get("Range") for _, headers in server.requests]
    assert "bytes=30000-" in ranges, ranges


def test_a_disk_that_is_really_full(server: FileServer, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "100k") as disk:
        status, error = finished(start(server, disk / "store"))
        assert status == 5
        assert "No space left on device" in error
        assert error.count("\n") == 1
        assert Store(disk / "store").verify() == ()


def test_every_file_corrupted_in_turn(server: FileServer, tmp_path: Path) -> None:
    root = tmp_path / "store"
    assert finished(start(server, root)) == (0, "")
    store = Store(root)
    paths = sorted(path for path in root.rglob("*") if path.is_file() and "partial" not in path.parts)
    assert len(paths) == 1 + len(FILES) + len(FILES) + 1
    chance = random.Random(2)  # noqa: S311
    for path in paths:
        sound = path.read_bytes()
        path.chmod(0o644)
        places = {0, len(sound) - 1, *(chance.randrange(len(sound)) for _ in range(10))}
        for place in places:
            path.write_bytes(sound[:place] + bytes([sound[place] ^ 1 << chance.randrange(8)]) + sound[place + 1 :])
            assert [problem.path for problem in store.verify()] == [path.relative_to(root).as_posix()]
        for broken in (sound[:-1], b"", sound + b"\n"):
            path.write_bytes(broken)
            assert path.relative_to(root).as_posix() in {problem.path for problem in store.verify()}
        path.write_bytes(sound)
    assert store.verify() == ()
