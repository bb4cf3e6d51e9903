"""`clean` on an engine of its own, with either image store: what is drivebuild's goes, what is others' stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli import drivebuild
from support.ownengine import OwnEngine, needs_dockerd, own_engine

from builder.engine.cacheprune import prune
from builder.engine.cacherecords import Record, parse_records
from builder.engine.folders import build_folder, cache_folder
from builder.engine.log import BuildLog
from builder.engine.process import SystemRunner

pytestmark = pytest.mark.docker
TAG = "drivebuild/toy:plat-stock"
LABEL = "LABEL drivebuild.model=toy drivebuild.platform=plat drivebuild.variant=stock\n"
MEGA = 1_000_000


@pytest.fixture(scope="module", params=[False, True], ids=["graph driver", "containerd"])
def own(request: pytest.FixtureRequest) -> Iterator[OwnEngine]:
    needs_dockerd()
    with own_engine(containerd_store=request.param, with_registry=False) as engine:
        yield engine


@pytest.fixture(autouse=True)
def use(own: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DOCKER_HOST", own.address)
    yield
    for word in own.docker("ps", "--all", "--quiet").stdout.split():
        own.docker("rm", "--force", word.decode())
    for word in own.docker("images", "--quiet", "--no-trunc").stdout.split():
        own.docker("image", "rm", "--force", word.decode())


def made(own: OwnEngine, folder: Path, tag: str, text: str, *files: str) -> str:
    """Build an image and return its id; each file has a million bytes of its name."""
    folder.mkdir(exist_ok=True)
    for name in files:
        (folder / name).write_bytes((name.encode() * MEGA)[:MEGA])
    (folder / "Dockerfile").write_text(text)
    done = own.docker("build", "--quiet", "--provenance=false", "--tag", tag, str(folder))
    assert done.returncode == 0, done.stderr
    return own.docker("image", "inspect", "--format", "{{.Id}}", tag).stdout.decode().strip()


def there(own: OwnEngine, image: str) -> bool:
    return own.docker("image", "inspect", image).returncode == 0


def cleaned(*words: str) -> dict[str, Any]:
    done = drivebuild("clean", "--older-than", "0", "--json", *words)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.output))


def test_only_what_a_newer_build_replaced_goes(own: OwnEngine, tmp_path: Path) -> None:
    old = made(own, tmp_path / "1", TAG, f"FROM scratch\nCOPY a /\nCOPY b /\n{LABEL}", "a", "b")
    new = made(own, tmp_path / "2", TAG, f"FROM scratch\nCOPY a /\nCOPY c /\n{LABEL}", "a", "c")
    mine = made(own, tmp_path / "3", "mine:1", f"FROM {TAG}\nCOPY d /\n", "d")
    other = made(own, tmp_path / "4", "other:1", "FROM scratch\nCOPY e /\nLABEL of=others\n", "e")
    if not there(own, old):
        # containerd's store drops an image with its last name by itself.
        assert cleaned("--images")["images"] == []
        return
    shown = cleaned("--images")
    assert [(each["id"], each["evidence"]) for each in shown["images"]] == [(old, "label")]
    assert shown["dry_run"]
    # `a` is the newer image's, too.
    assert MEGA <= shown["bytes"]["images"] < MEGA * 1.1
    assert there(own, old), "nothing goes without a yes"
    assert drivebuild("clean", "--images", "--older-than", "0").output.rstrip().endswith("--yes removes it")
    assert there(own, old)
    assert [each["id"] for each in cleaned("--images", "--yes")["images"]] == [old]
    assert [there(own, image) for image in (old, new, mine, other)] == [False, True, True, True]
    assert cleaned("--images", "--yes")["images"] == []


def test_what_a_container_stands_on_stays_and_is_said(own: OwnEngine, tmp_path: Path) -> None:
    text = f"FROM scratch\nCOPY a /\n{LABEL}"
    used = made(own, tmp_path / "1", TAG, text, "a")
    free = made(own, tmp_path / "2", "drivebuild/toy:plat-lto", text.replace("COPY a", "COPY b"), "b")
    assert own.docker("create", "--name", "sleepy", TAG, "/a").returncode == 0
    found = cleaned("--images", "--keep", "0", "--yes")
    assert [each["id"] for each in found["images"]] == [free]
    assert {each["id"]: each["why"] for each in found["kept"]} == {used: "the container sleepy stands on it"}
    assert there(own, used)
    assert not there(own, free)


def test_a_name_that_somebody_gave_keeps_an_image(own: OwnEngine, tmp_path: Path) -> None:
    image = made(own, tmp_path / "1", TAG, f"FROM scratch\nCOPY a /\n{LABEL}", "a")
    own.docker("tag", TAG, "golden:1")
    found = cleaned("--images", "--keep", "0", "--yes")
    assert found["images"] == []
    assert [each["why"] for each in found["kept"] if each["id"] == image] == ["somebody named it golden:1"]
    assert there(own, TAG)


def test_the_cache_is_touched_only_when_asked_and_down_to_its_budget(own: OwnEngine, tmp_path: Path) -> None:
    made(own, tmp_path / "1", "other:1", "FROM scratch AS one\nCOPY a /\nFROM scratch\nCOPY --from=one /a /b\n", "a")
    own.docker("image", "rm", "other:1")
    before = cleaned("--images", "--scratch", "--yes")["bytes"]
    assert before["cache"] == 0
    total = cleaned("--cache")["cache"]["total"]
    assert total >= 2 * MEGA
    assert cleaned("--cache", "--cache-budget", "10GB", "--yes")["cache"]["total"] == total
    assert cleaned("--cache")["cache"]["total"] == total
    done = cleaned("--cache", "--cache-budget", "0", "--yes")
    assert done["bytes"]["cache"] == done["cache"]["freed"] == pytest.approx(total, rel=0.01)
    assert done["cache"]["stayed"] == []
    assert cleaned("--cache")["cache"]["total"] < MEGA


CHAIN = "FROM scratch AS {0}\nCOPY a /\nCOPY {0} /\nFROM scratch\nCOPY --from={0} /{0} /\n"


def records(own: OwnEngine) -> dict[str, Record]:
    text = own.docker("buildx", "du", "--verbose").stdout.decode()
    return {each.id: each for each in parse_records(text, 0)}


def unnamed(own: OwnEngine, folder: Path, text: str, *files: str) -> None:
    """Build something that leaves only records in the cache."""
    own.docker("image", "rm", "--force", made(own, folder, "other:1", text, *files))


def test_exactly_what_was_shown_goes_leaves_first(own: OwnEngine, tmp_path: Path) -> None:
    cleaned("--cache", "--cache-budget", "0", "--yes")
    unnamed(own, tmp_path / "1", CHAIN.format("b"), "a", "b")
    unnamed(own, tmp_path / "2", CHAIN.format("c"), "a", "c")
    before = records(own)
    chain = next(each for each in before.values() if each.what == "[b 2/2] COPY b /")
    assert chain.parents
    total = sum(each.bytes for each in before.values())
    for budget in (total - MEGA, total // 2, 0):
        # The `k` is a thousand: no size is rounded.
        words = ("--cache", "--cache-budget", f"{budget // 1000}kB")
        done = cleaned(*words, "--yes")["cache"]
        after = records(own)
        assert set(before) - set(after) == {each["id"] for each in done["records"]} != set()
        assert done["freed"] == sum(each["bytes"] for each in done["records"])
        assert sum(each.bytes for each in after.values()) <= budget
        # Nothing that is left stands on something that went.
        assert {parent for each in after.values() for parent in each.parents} <= set(after)
        before = after


def test_what_was_used_while_somebody_thought_about_it_stays(
    own: OwnEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    cleaned("--cache", "--cache-budget", "0", "--yes")
    unnamed(own, tmp_path / "1", CHAIN.format("b"), "a", "b")
    (shared,) = (each for each in records(own).values() if each.what == "[b 1/2] COPY a /")

    def agreed(*, yes: bool) -> bool:
        made(own, tmp_path / "2", "kept:1", "FROM scratch AS b\nCOPY a /\n", "a")
        return yes

    monkeypatch.setattr("builder.cli.clean._agreed", agreed)
    done = drivebuild("clean", "--cache", "--cache-budget", "0", "--older-than", "0", "--yes")
    assert done.exit_code == 0, done.output
    assert there(own, "kept:1")
    # containerd's store keeps an image's layers beside the cache: there the record may go.
    assert (shared.id in records(own)) == ("of its records stay" in done.output)
    if "graph driver" in request.node.name:
        assert shared.id in records(own)


def test_what_is_too_young_is_not_promised_and_would_not_go(own: OwnEngine, tmp_path: Path) -> None:
    cleaned("--cache", "--cache-budget", "0", "--yes")
    unnamed(own, tmp_path / "1", CHAIN.format("b"), "a", "b")
    done = drivebuild("clean", "--cache", "--cache-budget", "0", "--older-than", "90m", "--yes")
    assert "nothing to remove" in done.output
    assert "no record goes" in done.output
    before = records(own)
    assert not prune(SystemRunner(), list(before.values()), 5400).gone
    assert set(records(own)) == set(before)


def test_a_running_build_loses_nothing(own: OwnEngine, tmp_path: Path) -> None:
    """Cleaned again and again while one builds: its log, its record, its contexts and its image are all there."""
    folder = build_folder(TAG)
    folder.mkdir(parents=True)
    context = cache_folder() / "contexts" / "one"
    context.mkdir(parents=True)
    for path in (folder / "record.json", folder / "Dockerfile"):
        path.write_text("{}")
    os.utime(context, (1, 1))
    log = BuildLog(folder / "20260101T000000Z.log")
    stop = threading.Event()
    found: list[str] = []

    def again() -> None:
        while not stop.is_set():
            found.extend(each["path"] for each in cleaned("--yes")["files"])

    (tmp_path / "c").mkdir()
    (tmp_path / "c/a").write_bytes(b"a" * MEGA)
    text = "FROM scratch AS one\nCOPY --from=given / /\nFROM scratch\nCOPY a /\nCOPY --from=one / /\n" + LABEL
    (tmp_path / "c/Dockerfile").write_text(text)
    thread = threading.Thread(target=again)
    # The build's own process names the context that it was given; this one stands for it while it lasts.
    holder = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(1000)", f"given={context}"))
    try:
        thread.start()
        for number in range(3):
            (tmp_path / "c/a").write_bytes(bytes(str(number), "ascii") * MEGA)
            words = ("build", "--quiet", "--tag", TAG, "--build-context", f"given={context}", str(tmp_path / "c"))
            done = own.docker(*words)
            assert done.returncode == 0, done.stderr
            assert there(own, TAG)
            log.text(f"built {number}")
    finally:
        stop.set()
        thread.join()
        holder.kill()
        holder.wait()
        log.close()
    assert context.is_dir()
    assert (folder / "record.json").is_file()
    assert log.path.is_file()
    assert str(context) not in found
