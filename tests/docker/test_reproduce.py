"""`reproduce` with a real engine: what two builds have alike and what not; an image built once more by its record."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import drivebuild, refused
from support.ownengine import own_engine

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


def test_a_profile_excuses_no_other_variant(engine: Engine, tmp_path: Path, names: tuple[str, str]) -> None:
    """Two builds of one lto differ in machine code, and that is documented; lto and stock differ, and that is not."""
    labels = 'LABEL drivebuild.variant={} drivebuild.recipe="{}"\n'
    for name, code in zip(names, (b"\x7fELF\0one", b"\x7fELF\0two"), strict=True):
        built(tmp_path / name[-1], name, {"opt/python/bin/python3.11": code})

    def labelled(number: int, variant: str, recipe: str) -> None:
        (tmp_path / "Dockerfile").write_text(f"FROM {names[number]}\n{labels.format(variant, recipe)}")
        words = ("docker", "build", "--quiet", "--tag", names[number], "--file", str(tmp_path / "Dockerfile"))
        done = SystemRunner().run((*words, str(tmp_path / "a")))
        assert done.code == 0, done.complaint

    labelled(0, "lto", "ab" * 32)
    labelled(1, "lto", "ab" * 32)
    same = drivebuild("reproduce", names[0], "--against", names[1])
    assert same.exit_code == 0, same.output
    assert "1 path differs: profile" in same.output
    assert "is of recipe" not in same.output
    labelled(1, "stock", "\x1b[31m" + "cd" * 30)
    other = drivebuild("reproduce", names[0], "--against", names[1])
    said = refused(other, 8)
    assert "1 path differs: unknown" in said
    assert f"note: {names[0]} is of recipe abababababab, {names[1]} is of recipe \\x1b[31m" in said
    assert "\x1b" not in said


def test_an_image_is_built_again_by_its_record(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage of a real model that needs no network; the recipe is another one by then, and that does not matter."""
    tag = f"drivebuild-test/tools-{os.getpid()}:1"
    words = ("--platform", "debian-12-cpu", "--until", "tools", "--tag", tag)
    try:
        done = drivebuild("image", "streampetr", *words, "--progress", "json")
        assert done.exit_code == 0, done.output
        monkeypatch.setattr("builder.cli.building.dockerfile_of", lambda _plan: pytest.fail("today's text"))
        told = drivebuild("reproduce", tag, "--dry-run")
        assert told.exit_code == 0, told.output
        assert told.output.splitlines()[0] == "tools"
        assert f"--tag {tag}-reproduced" in told.output.splitlines()[-1]
        assert "--no-cache " in told.output.splitlines()[-1]
        assert engine.image(f"{tag}-reproduced") is None
        again = drivebuild("reproduce", tag, "--json")
        assert again.exit_code == 0, again.output
        found = json.loads(again.stdout)
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


TIMED = """\
FROM scratch AS made
COPY first /a/b/
FROM scratch
COPY --from=made /a /c/d/
COPY <<EOF /e/f
text
EOF
WORKDIR /g/h
"""


def test_with_containerds_store_two_cold_builds_have_equal_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/reproducible.md says: BuildKit rewrites the times when it writes an OCI archive, and only then."""
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("SKIPPED LOUDLY: needs root and dockerd")
    (tmp_path / "first").write_text("text")
    (tmp_path / "Dockerfile").write_text(TIMED)
    archives = []
    with own_engine(containerd_store=True, with_registry=False) as own:
        monkeypatch.setenv("DOCKER_HOST", own.address)
        for number, rewrite in enumerate((True, True, False)):
            archives.append(tmp_path / f"{number}.tar")
            output = f"type=oci,dest={archives[-1]},rewrite-timestamp={str(rewrite).lower()}"
            os.utime(tmp_path / "first", (2_000_000_000 + number, 2_000_000_000 + number))
            words = ("buildx", "build", "--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1609459200", "--output", output)
            done = own.docker(*words, str(tmp_path))
            assert done.returncode == 0, done.stderr
        found = [
            json.loads(drivebuild("reproduce", str(archives[0]), "--against", str(other), "--json").output)
            for other in archives[1:]
        ]
        # The exporter that would have to unpack what it wrote refuses, which is why drivebuild does not ask for it.
        refusal = own.docker("buildx", "build", "--output", "type=image,name=x,rewrite-timestamp=true", str(tmp_path))
    assert [layer["equal"] for layer in found[0]["layers"]] == [True] * 3
    assert all(layer["same_content"] for layer in found[1]["layers"])
    assert not any(layer["equal"] for layer in found[1]["layers"])
    assert [each["same"] for each in found] == [True, True]
    assert b'conflicts with "unpack"' in refusal.stderr


def test_without_a_record_nothing_is_built(engine: Engine) -> None:
    said = refused(drivebuild("reproduce", "localhost/drivebuild/base:debian-12"), 6)
    assert "no record here" in said
    assert "--against" in said
    assert "there is no image" in refused(drivebuild("reproduce", "drivebuild/none:1"), 6)
