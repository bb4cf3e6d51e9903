"""What a build goes through that meets faults of registries, and what it is given for a builder elsewhere."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine import FakeEngine, stage, toy_plan
from support.runner import RecordingRunner

from builder.engine.build import Choices, StageFailedError
from builder.engine.builders import base_layout, chosen_builder, find_builder
from builder.engine.delivery import Delivery, deliver
from builder.engine.host import Image
from builder.engine.process import Result
from builder.engine.push import Way
from builder.engine.record import BuildRecord
from builder.errors import BuildError
from builder.patience import Patience

CACHED = Choices(cache_from=("type=registry,ref=r.example/t/cache:x",))
BLOB = (
    'failed commit on ref "layer-sha256:0829": commit failed: unexpected commit digest sha256:d245, expected '
    "sha256:0829: failed precondition"
)
BUSY = (
    "failed to copy: httpReadSeeker: failed open: unexpected status code https://r/v2/x/blobs/sha256:1: 503 Unavailable"
)


def record() -> BuildRecord:
    return BuildRecord(
        tag="t",
        model="m",
        platform="p",
        variant="v",
        target="image",
        outcome="done",
        when="",
        seconds=0,
        stages=(),
        command=(),
        log="",
    )


class Tried:
    """A build that fails so often, with these words."""

    def __init__(self, *failures: str) -> None:
        self.failures = list(failures)
        self.choices: list[Choices] = []
        self.said: list[str] = []
        self.waits: list[float] = []

    def __call__(self, choices: Choices) -> BuildRecord:
        self.choices.append(choices)
        if self.failures:
            first = self.failures.pop(0)
            raise StageFailedError(first, hint="", stage="env", first=first, log=Path("x"))
        return record()

    def run(self, choices: Choices) -> None:
        patience = Patience(tries=3, sleep=self.waits.append, chance=lambda: 0.5)
        way = Way(runner=RecordingRunner(), engine=FakeEngine(), patience=patience, say=self.said.append)  # type: ignore[arg-type]
        plan = toy_plan(stage("image"))
        deliver(plan, "FROM scratch\n", choices, Delivery(), (), way=way, attempt=self)


def test_a_blob_that_is_not_what_it_should_be_costs_the_caches() -> None:
    tried = Tried(BLOB)
    tried.run(CACHED)
    assert [choices.cache_from for choices in tried.choices] == [CACHED.cache_from, ()]
    assert tried.waits == []
    assert "goes on without --cache-from" in tried.said[0]


def test_without_caches_it_is_the_base_images_and_an_error() -> None:
    tried = Tried(BLOB)
    with pytest.raises(BuildError, match="unexpected commit digest"):
        tried.run(Choices())
    assert len(tried.choices) == 1


def test_a_pull_is_tried_again_and_at_last_without_caches() -> None:
    tried = Tried(BUSY)
    tried.run(Choices())
    assert tried.waits == [2.0]
    tried = Tried(BUSY, BUSY, BUSY)
    tried.run(CACHED)
    assert tried.waits == [2.0, 4.0]
    assert tried.choices[-1].cache_from == ()
    tried = Tried(BUSY, BUSY, BUSY)
    with pytest.raises(BuildError, match="503"):
        tried.run(Choices())


@pytest.mark.parametrize("first", ["exit code: 1", "exit code: 137", "digest mismatch sha256:1: sha256:2"])
def test_a_step_that_failed_is_no_fault_of_a_registry(first: str) -> None:
    tried = Tried(first)
    with pytest.raises(BuildError):
        tried.run(CACHED)
    assert len(tried.choices) == 1


class Saving(FakeEngine):
    """An engine that saves what it was given as a tar."""

    content: bytes = b""

    def save(self, _name: str) -> Iterator[bytes]:
        for start in range(0, len(self.content), 700):
            yield self.content[start : start + 700]


def saved(**files: bytes) -> Any:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    engine = Saving(
        images={"base": Image(id=f"sha256:{'e' * 64}", size=1, architecture="x86_64", config={}, layers=())}
    )
    engine.content = out.getvalue()
    return engine


def named(content: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def part(content: bytes, kind: str) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"digest": digest, "size": len(content), "mediaType": f"application/vnd.oci.image.{kind}"}


LAYER, CONFIG = b"layer" * 1000, b"{}"
MANIFEST = json.dumps({"config": part(CONFIG, "config.v1+json"), "layers": [part(LAYER, "layer.v1.tar")]}).encode()
INDEX = json.dumps({"manifests": [part(MANIFEST, "manifest.v1+json")]}).encode()
WHOLE = {"index.json": INDEX, "oci-layout": b"{}", **{named(each): each for each in (LAYER, CONFIG, MANIFEST)}}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/drivebuild/bases"


def test_an_image_of_the_engine_as_a_layout(cache: Path) -> None:
    place = base_layout(saved(**WHOLE, **{"manifest.json": b"[]", "../evil": b"x", "repositories": b""}), "base")
    folder = cache / ("e" * 64)
    assert place == f"oci-layout://{folder}@{part(MANIFEST, '')['digest']}"
    assert (folder / named(LAYER)).read_bytes() == LAYER
    found = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}
    assert found == {f"{'e' * 64}/{each}" for each in WHOLE}
    # It is there: nothing is saved a second time.
    assert base_layout(saved(), "base") == place


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"manifest.json": b"[]"}, "does not save base as an OCI layout"),
        ({**WHOLE, named(LAYER): b"x" * len(LAYER)}, "not what its name says"),
        ({"index.json": b"no"}, "could not be saved"),
        ({name: content for name, content in WHOLE.items() if content != LAYER}, "the engine left out"),
        ({name: content for name, content in WHOLE.items() if content != MANIFEST}, "the engine left out"),
    ],
)
def test_what_is_no_layout(cache: Path, files: dict[str, bytes], said: str) -> None:
    with pytest.raises(BuildError, match=said):
        base_layout(saved(**files), "base")
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("length", [100, 600, 1500, 3000, 6000, 9000])
def test_an_engine_that_breaks_off_leaves_nothing(cache: Path, length: int) -> None:
    engine = saved(**WHOLE)
    assert length < len(engine.content)
    engine.content = engine.content[:length]
    with pytest.raises(BuildError):
        base_layout(engine, "base")
    assert list(cache.iterdir()) == []


IDLE = b"Name: farm\nDriver: docker-container\nNodes:\nName: farm0\nStatus: inactive\n"


def test_a_builder_that_sleeps_is_started_to_say_what_it_is() -> None:
    running = IDLE.replace(b"inactive", b"running\nPlatforms: linux/arm64")
    runner = RecordingRunner(
        answers={
            ("docker", "buildx", "inspect", "--bootstrap"): Result(0, running),
            ("docker", "buildx", "inspect"): Result(0, IDLE),
        }
    )
    assert find_builder("farm", runner).architectures == ("aarch64",)


def test_and_one_that_does_not_start_says_why() -> None:
    runner = RecordingRunner(
        answers={
            ("docker", "buildx", "inspect", "--bootstrap"): Result(
                1, b"", b"ERROR: pull access denied for moby/buildkit"
            ),
            ("docker", "buildx", "inspect"): Result(0, IDLE),
        }
    )
    with pytest.raises(BuildError, match="pull access denied for moby/buildkit"):
        find_builder("farm", runner)


def test_a_builder_that_was_chosen_for_all_builds(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    running = IDLE.replace(b"inactive", b"running\nPlatforms: linux/arm64")
    runner = RecordingRunner(answers={("docker", "buildx", "inspect"): Result(0, running)})
    assert chosen_builder(runner, home) is None
    assert runner.asked == []
    found = chosen_builder(runner, {**home, "BUILDX_BUILDER": "farm"})
    assert found
    assert found.name == "farm"
    (tmp_path / ".docker/buildx").mkdir(parents=True)
    (tmp_path / ".docker/buildx/current").write_text("{}")
    assert chosen_builder(runner, home) == found
    own = RecordingRunner(answers={("docker", "buildx", "inspect"): Result(0, b"Name: default\nDriver: docker\n")})
    assert chosen_builder(own, home) is None
