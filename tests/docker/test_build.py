"""Real builds of toy Dockerfiles: what is decoded, kept, cached, stopped, replaced."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.engine.host import Engine
from builder.engine.local import LocalSource
from builder.engine.process import SystemRunner
from builder.engine.record import BuildRecord, read_record
from builder.errors import BuildError

pytestmark = pytest.mark.docker
Build = Callable[..., BuildRecord]
BASE = "localhost/drivebuild/base:debian-12"

TOY = f"""\
FROM {BASE} AS base
RUN echo @NONCE@ > /nonce
FROM base AS mmcv
RUN for i in 1 2 3; do echo "compiling $i"; sleep 0.1; done; echo wheel > /wheel
FROM base AS image
COPY --from=mmcv /wheel /wheel
RUN echo image > /image
"""


def states(record: BuildRecord) -> dict[str, str]:
    return {stage.name: stage.state for stage in record.stages}


def toy(tmp_path: Path) -> str:
    return TOY.replace("@NONCE@", f"{tmp_path} {time.time()}")


def in_image(tag: str, *command: str) -> str:
    result = SystemRunner().run(("docker", "run", "--rm", "--network", "none", tag, *command))
    return result.text if result.code == 0 else f"exit code {result.code}"


def test_first_run_and_the_same_again(build_toy: Build, tag: str, engine: Engine, tmp_path: Path) -> None:
    dockerfile = toy(tmp_path)
    first = build_toy(dockerfile, "base", "mmcv", "image")
    assert states(first) == {"base": "done", "mmcv": "done", "image": "done", "export": "done"}
    mmcv = next(stage for stage in first.stages if stage.name == "mmcv")
    assert 0.3 < mmcv.seconds < first.seconds
    assert "mmcv | compiling 3\n" in Path(first.log).read_text()
    image = engine.image(tag)
    assert image is not None
    assert (first.image_id, first.size_bytes) == (image.id, image.size)
    again = build_toy(dockerfile, "base", "mmcv", "image")
    assert states(again) == {"base": "cached", "mmcv": "cached", "image": "cached", "export": "done"}
    assert again.image_id == first.image_id
    assert again.ran == ()


def test_until_leaves_out_what_comes_after(build_toy: Build, tag: str, tmp_path: Path) -> None:
    record = build_toy(toy(tmp_path), "base", "mmcv", "image", until="mmcv")
    assert "image" not in states(record)
    assert in_image(tag, "cat", "/wheel") == "wheel"
    assert in_image(tag, "cat", "/image").startswith("exit code")


def test_a_failed_stage(build_toy: Build, tag: str, engine: Engine, tmp_path: Path) -> None:
    broken = toy(tmp_path).replace("echo wheel > /wheel", "seq 40; echo 'no space left on device' >&2; exit 3")
    with pytest.raises(BuildError) as caught:
        build_toy(broken, "base", "mmcv", "image")
    message = caught.value.message
    assert "stage 'mmcv'" in message
    assert "exit code: 3" in message
    assert "  | 40\n" in message
    assert "  | 5\n" not in message
    assert "drivebuild image toy --until mmcv" in message
    assert "docker builder prune" in caught.value.hint
    assert engine.image(tag) is None
    record = read_record(tag)
    assert record is not None
    assert states(record)["image"] == "waiting"


@pytest.mark.parametrize(
    "add",
    [
        "ADD https://git.drivebuild.invalid/ops.git#0123456789012345678901234567890123456789 /",
        f"ADD --checksum=sha256:{'0' * 64} https://files.drivebuild.invalid/ops.tar.gz /",
    ],
)
def test_a_host_that_cannot_be_reached(build_toy: Build, add: str) -> None:
    with pytest.raises(BuildError) as caught:
        build_toy(
            f"FROM scratch AS src-ops\n{add}\nFROM {BASE} AS image\nCOPY --from=src-ops / /ops\n", "src-ops", "image"
        )
    assert "stage 'src-ops'" in caught.value.message
    assert ".drivebuild.invalid cannot be reached" in caught.value.hint
    assert "`--source ops=DIR`" in caught.value.hint


def test_ctrl_c_stops_the_build_and_leaves_nothing(
    build_toy: Build, tag: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    seconds = f"{70000 + os.getpid() % 10000}"
    slow = toy(tmp_path).replace("sleep 0.1", f"sleep {seconds}")

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not _running(seconds) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        build_toy(slow, "base", "mmcv", "image")
    deadline = time.monotonic() + 60
    while _running(seconds) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _running(seconds) == []
    assert list(scratch.iterdir()) == []
    assert engine.image(tag) is None
    record = read_record(tag)
    assert record is not None
    assert record.outcome == "cancelled"
    assert states(record)["mmcv"] == "cancelled"


def _running(seconds: str) -> list[str]:
    """Return processes that sleep that long: those of a build are seen from the engine's own machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", seconds.encode()]:
            found.append(path.parent.name)
    return found


def test_another_source_tree_compiles_nothing(build_toy: Build, tag: str, tmp_path: Path) -> None:
    dockerfile = f"""\
FROM {BASE} AS base
RUN echo {tmp_path} {time.time()} > /nonce
FROM scratch AS src-ops
ADD https://git.drivebuild.invalid/ops.git#0123456789012345678901234567890123456789 /
FROM scratch AS src-model
ADD https://git.drivebuild.invalid/model.git#0123456789012345678901234567890123456789 /
FROM base AS mmcv
COPY --from=src-ops / /ops
RUN cat /ops/file > /wheel
FROM base AS tree
COPY --from=src-model / /tree
RUN cat /tree/file
FROM base AS image
COPY --from=mmcv /wheel /wheel
COPY --from=tree /tree /tree
"""
    names = ("base", "src-ops", "src-model", "mmcv", "tree", "image")
    ops, model = tmp_path / "ops", tmp_path / "model"
    for folder in (ops, model):
        folder.mkdir()
        (folder / "file").write_text("one")
    sources = (LocalSource("src-ops", ops, ""), LocalSource("src-model", model, ""))
    first = states(build_toy(dockerfile, *names, sources=sources))
    assert {first[name] for name in ("mmcv", "tree", "image")} == {"done"}
    (model / "file").write_text("two")
    second = build_toy(dockerfile, *names, sources=sources)
    assert {stage.name for stage in second.ran} == {"tree", "image"}
    assert states(second)["mmcv"] == "cached"
    assert in_image(tag, "cat", "/tree/file") == "two"
