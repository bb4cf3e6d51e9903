"""From a store to an image with the network off: a small stage of a shipped recipe, all parts real."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.proxy import counting_proxy

from builder.engine.host import Engine
from builder.engine.process import Result, SystemRunner
from builder.source.disk import digest
from builder.source.entry import entry_path
from builder.source.images import IMPORT
from builder.source.store import Store

pytestmark = pytest.mark.docker
BASE = "localhost/drivebuild/base:debian-12"
IMAGE = ("image", "streampetr", "--platform", "debian-12-cpu", "--until", "uv")


def drivebuild(*words: str, env: Mapping[str, str] | None = None) -> Result:
    return SystemRunner().run((sys.executable, "-m", "builder", *words), env=env)


@pytest.fixture(scope="module")
def store(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with what the stage `uv` needs, filled by an online build."""
    folder = tmp_path_factory.mktemp("store") / "store"
    done = drivebuild(*IMAGE, "--store", str(folder), "--tag", "drivebuild-test/online:1")
    assert done.code == 0, done.complaint
    return folder


def test_an_offline_build_asks_nobody(store: Path, tag: str) -> None:
    with counting_proxy(refuse=True) as proxy:
        words = ("--store", str(store), "--offline", "--no-cache", "--tag", tag, "--progress", "json")
        done = drivebuild(*IMAGE, *words, env=proxy.environment())
        assert done.code == 0, done.complaint
        assert proxy.count == 0, proxy.requests
    record = json.loads(done.text.splitlines()[-1])
    states = {stage["name"]: stage["state"] for stage in record["stages"]}
    assert states["base"] == states["uv"] == "done", "not taken from the cache"
    assert "--network none" in " ".join(record["command"])
    run = SystemRunner().run(("docker", "run", "--rm", "--network", "none", tag, "/opt/uv/bin/uv", "--version"))
    assert run.text.startswith("uv ")


def test_a_step_that_wants_the_network_does_not_get_it(store: Path, tag: str, tmp_path: Path) -> None:
    """The flag is real: the same stage without the packages of the store fails, for lack of a network."""
    rendered = drivebuild("render", "streampetr", "--platform", "debian-12-cpu").text
    (tmp_path / "Dockerfile").write_text(rendered + "\n", encoding="utf-8")
    (tmp_path / "context").mkdir()
    words = ("docker", "buildx", "build", "--progress=plain", "--no-cache", "--network", "none", "--target", "base")
    done = SystemRunner().run((*words, "--file", str(tmp_path / "Dockerfile"), str(tmp_path / "context")))
    assert done.code != 0
    assert "Temporary failure resolving" in done.complaint or "Unable to locate package" in done.complaint


def test_what_is_missing_is_said_at_once_and_nothing_is_built(
    store: Path, tag: str, tmp_path: Path, engine: Engine
) -> None:
    part = tmp_path / "part"
    shutil.copytree(store, part)
    gone = [path for path in (part / "entries").glob("*/*.json") if "uv-" in path.read_text(encoding="utf-8")]
    assert gone
    for path in gone:
        path.unlink()
    done = drivebuild(*IMAGE, "--store", str(part), "--offline", "--tag", tag)
    assert done.code == 5
    assert "uv 0.13.8" in done.complaint
    assert "drivebuild fetch" in done.complaint
    assert engine.image(tag) is None


def test_a_store_that_was_carried_elsewhere_gives_the_same_image(store: Path, tag: str, tmp_path: Path) -> None:
    carried = tmp_path / "carried"
    shutil.copytree(store, carried, ignore=shutil.ignore_patterns("partial"))
    assert drivebuild("store", "verify", "--store", str(carried)).code == 0
    first = drivebuild(*IMAGE, "--store", str(store), "--offline", "--tag", tag, "--progress", "json")
    second = drivebuild(*IMAGE, "--store", str(carried), "--offline", "--tag", tag, "--progress", "json")
    images = [json.loads(done.text.splitlines()[-1])["image_id"] for done in (first, second)]
    assert images[0] == images[1], "the same content, the same cache, the same image"


@pytest.fixture
def other_base(store: Path, tmp_path: Path) -> Iterator[Store]:
    """Return a copy of the store whose base image has a file more than the engine's."""
    carried = tmp_path / "other"
    shutil.copytree(store, carried, ignore=shutil.ignore_patterns("partial"))
    opened = Store(carried)
    (entry,) = (entry for entry in opened.entries() if entry.key.startswith("image:"))
    (carried / entry_path(entry.key)).unlink()
    runner = SystemRunner()
    made = runner.run(("docker", "create", BASE, "true")).text.strip()
    try:
        (tmp_path / "marker").write_text("of the store\n")
        assert runner.run(("docker", "cp", str(tmp_path / "marker"), f"{made}:/marker")).code == 0
        root = opened.partial("root")
        assert runner.run(("docker", "export", "--output", str(root), made)).code == 0
    finally:
        runner.run(("docker", "rm", made))
    sha256 = digest(root)
    opened.add(entry.key, root, file=entry.file, origin="a test", sha256=sha256, note=IMPORT)
    yield opened
    runner.run(("docker", "image", "rm", "--force", f"{BASE}-{sha256[:12]}"))


def test_offline_the_base_of_the_store_is_used(other_base: Store, engine: Engine, tag: str) -> None:
    """The same image as where the store was made, although this engine's own base is another."""
    before = engine.image(BASE)
    done = drivebuild(*IMAGE[:-1], "base", "--store", str(other_base.root), "--offline", "--tag", tag)
    assert done.code == 0, done.complaint
    assert "the engine has another one; the store's is used" in done.text
    assert engine.image(BASE) == before
    run = SystemRunner().run(("docker", "run", "--rm", "--network", "none", tag, "cat", "/marker"))
    assert run.text == "of the store"


def test_online_another_base_is_said(other_base: Store, engine: Engine, tag: str) -> None:
    done = drivebuild(*IMAGE[:-1], "base", "--store", str(other_base.root), "--tag", tag)
    assert done.code == 0, done.complaint
    assert "the engine's is not the store's" in done.complaint
    assert f"docker image rm {BASE}" in done.complaint
    run = SystemRunner().run(("docker", "run", "--rm", "--network", "none", tag, "cat", "/marker"))
    assert run.code != 0


def test_the_same_base_is_not_mentioned(store: Path, tag: str) -> None:
    for words in (("--offline",), ()):
        done = drivebuild(*IMAGE[:-1], "base", "--store", str(store), "--tag", tag, *words)
        assert done.code == 0, done.complaint
        assert "base image" not in done.text + done.complaint


def test_no_store_for_dnf_systems(store: Path) -> None:
    done = drivebuild("image", "streampetr", "--store", str(store), "--offline")
    assert done.code == 5
    assert "openeuler-22.03" in done.complaint
    assert "distribution" in done.complaint
