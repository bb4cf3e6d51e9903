"""`reproduce` with a real engine: what two builds have alike and what not; an image built once more by its record."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import drivebuild, refused

from builder.engine.host import Engine
from builder.engine.process import SystemRunner

pytestmark = pytest.mark.docker
FILES = {
    "etc/shadow": b"root:*:18628:0:::::\ndrivebuild:!:20778:0:::::\n",
    "opt/x/a.pyc": importlib.util.MAGIC_NUMBER + b"\0\0\0\0aaaabbbbcode",
    "opt/x/same": b"same",
    "opt/x/binary": b"\0one",
    "var/log/alternatives.log": b"today\n",
}
TEXT = "FROM scratch AS layers\nCOPY first /\nCOPY second /\n"


@pytest.fixture
def names(tmp_path: Path) -> Iterator[tuple[str, str]]:
    base = f"drivebuild-test/reproduce-{os.getpid()}-{tmp_path.name.replace('_', '-').lower()}"
    found = (f"{base}:a", f"{base}:b")
    yield found
    SystemRunner().run(("docker", "image", "rm", "--force", *found))


def built(folder: Path, tag: str, second: dict[str, bytes], *, mode: int = 0o644, when: int = 2_000_000_000) -> None:
    """Build an image of two layers: the first is always the same, but for its time."""
    for layer, files in (("first", {"opt/base": b"base"}), ("second", second)):
        for name, data in files.items():
            path = folder / layer / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(mode if name == "opt/x/same" else 0o644)
            os.utime(path, (when, when))
    (folder / "Dockerfile").write_text(TEXT)
    done = SystemRunner().run(("docker", "build", "--no-cache", "--quiet", "--tag", tag, str(folder)))
    assert done.code == 0, done.complaint


def test_builds_that_differ_in_times_only_are_the_same(engine: Engine, tmp_path: Path, names: tuple[str, str]) -> None:
    built(tmp_path / "a", names[0], FILES)
    built(tmp_path / "b", names[1], FILES, when=2_000_000_777)
    done = drivebuild("reproduce", names[0], "--against", names[1], "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["same"]
    assert [(layer["equal"], layer["same_content"]) for layer in found["layers"]] == [(False, True)] * 2
    digests = [json.loads(drivebuild("reproduce", name, "--digests", "--json").output)["layers"] for name in names]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("saved", [False, True], ids=["folders", "docker save"])
def test_each_difference_is_shown_by_its_file_and_reason(
    engine: Engine, tmp_path: Path, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    other = {
        **FILES,
        "etc/shadow": FILES["etc/shadow"].replace(b"20778", b"20779"),
        "opt/x/a.pyc": FILES["opt/x/a.pyc"].replace(b"aaaabbbb", b"ccccdddd"),
        "opt/x/binary": b"\0two\x1b[31m",
        "var/log/alternatives.log": b"tomorrow\n",
        "opt/x/more": b"",
    }
    built(tmp_path / "a", names[0], FILES)
    built(tmp_path / "b", names[1], other, mode=0o600)
    if saved:
        monkeypatch.setattr(Engine, "layer_folders", lambda _self, _name: ())
    report = tmp_path / "report.json"
    done = drivebuild("reproduce", names[0], "--against", names[1], "--report", str(report))
    said = refused(done, 8)
    assert "NOT reproduced" in said
    first, second = json.loads(report.read_text())["layers"]
    assert first["same_content"]
    assert {each["path"]: (each["reason"], each["note"].split(":")[0]) for each in second["differences"]} == {
        "etc/shadow": ("account date", "the day on which an account was made"),
        "opt/x/a.pyc": ("byte code", "the same code, checked by a time stamp"),
        "opt/x/binary": ("unknown", "the contents differ"),
        "opt/x/more": ("unknown", "only one of the two images has it"),
        "opt/x/same": ("unknown", "mode 0644 there, 0600 here"),
        "var/log/alternatives.log": ("log", "written by a tool on its way; no build needs it"),
    }


def test_an_image_is_built_again_by_its_record(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage of a real model that needs no network; the recipe is another one by then, and that does not matter."""
    tag = f"drivebuild-test/tools-{os.getpid()}:1"
    words = ("--platform", "debian-12-cpu", "--until", "tools", "--tag", tag)
    try:
        done = drivebuild("image", "streampetr", *words, "--progress", "json")
        assert done.exit_code == 0, done.output
        monkeypatch.setattr("builder.cli.building.dockerfile_of", lambda _plan: pytest.fail("today's text"))
        again = drivebuild("reproduce", tag, "--json")
        assert again.exit_code == 0, again.output
        found = json.loads(again.output[again.output.index('{\n  "images"') :])
        assert found["images"] == [tag, f"{tag}-reproduced"]
        assert found["same"]
        assert {layer["stage"] for layer in found["layers"]} == {"tools"}
        assert all(layer["differences"] == [] for layer in found["layers"])
        assert engine.image(f"{tag}-reproduced") is None
        assert refused(drivebuild("reproduce", tag, "--stage", "nowhere"), 2)
        SystemRunner().run(("docker", "tag", "localhost/drivebuild/base:debian-12", tag))
        assert "another image" in refused(drivebuild("reproduce", tag), 6)
    finally:
        SystemRunner().run(("docker", "image", "rm", "--force", tag, f"{tag}-reproduced"))


def test_without_a_record_nothing_is_built(engine: Engine) -> None:
    said = refused(drivebuild("reproduce", "localhost/drivebuild/base:debian-12"), 6)
    assert "no record here" in said
    assert "--against" in said
    assert "there is no image" in refused(drivebuild("reproduce", "drivebuild/none:1"), 6)
