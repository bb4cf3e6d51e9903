"""`size` on small real images: bytes as the engine counts them, and what a later layer hides, to the byte."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from builder.engine.host import Engine
from builder.engine.process import Result, SystemRunner
from builder.footprint.components import Groups
from builder.footprint.layers import Made, match_layers
from builder.footprint.measure import Footprint, measure

pytestmark = pytest.mark.docker
DOCKERFILE = """\
FROM localhost/drivebuild/base:debian-12 AS env
RUN mkdir -p /opt/venv/lib/python3.11/site-packages; cd /opt/venv/lib/python3.11/site-packages; \\
    mkdir -p pkg/__pycache__ pkg-1.0.dist-info /opt/data/old; \\
    head -c 1000 /dev/zero > pkg/__init__.py; \\
    head -c 300 /dev/zero > pkg/__pycache__/__init__.cpython-311.pyc; \\
    head -c 5000 /dev/zero > pkg/data.bin; ln pkg/data.bin pkg/again.bin; ln -s data.bin pkg/link; \\
    printf '%s,,\\n' pkg/__init__.py pkg/data.bin pkg/again.bin pkg-1.0.dist-info/RECORD > pkg-1.0.dist-info/RECORD; \\
    head -c 700 /dev/zero > /opt/data/old/file; head -c 90 /dev/zero > /opt/data/kept
RUN head -c 40 /dev/zero > /opt/venv/lib/python3.11/site-packages/pkg/__pycache__/__init__.cpython-311.pyc; \\
    rm -r /opt/data/old; mkdir /opt/data/old; head -c 7 /dev/zero > /opt/data/old/other
USER 1000
ENV A=b
"""
GROUPS = Groups(framework=frozenset({"pkg"}), adapter=frozenset(), wheels={})


def command(*words: str) -> Result:
    return SystemRunner().run((sys.executable, "-m", "builder", "size", *words))


@pytest.fixture
def image(engine: Engine, tag: str) -> str:
    built = SystemRunner().run(("docker", "build", "--tag", tag, "-"), stdin=DOCKERFILE.encode())
    assert built.code == 0, built.complaint
    return tag


def look(engine: Engine, name: str, folders: tuple[str, ...]) -> Footprint:
    found = engine.image(name)
    assert found
    history = [Made(*entry) for entry in engine.history_sizes(name)]
    layers = match_layers(found.layers, history, [("env", DOCKERFILE)])
    runner = SystemRunner()
    return measure(name, found.id, layers, folders, GROUPS, lambda argv, text: runner.run(argv, stdin=text))


def test_layers_are_counted_as_the_engine_counts_them(engine: Engine, image: str) -> None:
    footprint = look(engine, image, engine.layer_folders(image))
    if not footprint.exact:
        pytest.skip("NOT TESTED: this engine keeps layers where nobody may look")
    found = engine.image(image)
    assert found
    assert footprint.size == found.size
    assert [layer.stage for layer in footprint.layers] == ["", "env", "env"]
    for number, layer in enumerate(footprint.layers):
        # Of an imported layer the engine counts links, too.
        counted = sum(part.bytes for part in footprint.parts if part.layer == number)
        assert counted == (layer.size if number else pytest.approx(layer.size, rel=1e-3))
    parts = {part.name: part for part in footprint.by_name()}
    record = sum(
        len(f"{name},,\n") for name in ("pkg/__init__.py", "pkg/data.bin", "pkg/again.bin", "pkg-1.0.dist-info/RECORD")
    )
    assert (parts["pkg"].bytes, parts["pkg"].byte_code, parts["pkg"].hidden) == (6340 + record, 340, 300)
    # the file in the folder that was removed and made again
    assert (parts["/opt/data/old"].bytes, parts["/opt/data/old"].hidden) == (707, 700)
    assert parts["/opt/data/kept"].hidden == 0


def test_an_engine_that_does_not_say_where_layers_are(engine: Engine, image: str) -> None:
    footprint = look(engine, image, ())
    assert not footprint.exact
    parts = {part.name: part for part in footprint.by_name()}
    assert parts["pkg"].byte_code == 40
    # what the two folders of the base and the container's own files make of it is in it as well
    assert footprint.hidden >= 1000


def test_the_command_on_an_image_of_another_name(engine: Engine, image: str, tmp_path: Path) -> None:
    page = tmp_path / "size.html"
    words = ("streampetr", "--platform", "debian-12-cpu", "--until", "env", "--tag", image)
    result = command(*words, "--layers", "--html", str(page))
    assert result.code == 0, result.complaint
    assert "base image" in result.text
    assert "of no stage of today's" in result.text
    assert page.read_text().startswith("<!DOCTYPE html>")
    data = json.loads(command(*words, "--json").text)
    found = engine.image(image)
    assert found
    assert data["images"][0]["bytes"] == data["together"]["stored"] == found.size


def test_an_image_that_is_not_there(engine: Engine) -> None:
    result = command("streampetr", "--platform", "debian-12-cpu", "--tag", "drivebuild-test/none:1")
    assert result.code == 6
    assert "there is no image drivebuild-test/none:1" in result.complaint
    assert (
        "`drivebuild image streampetr --platform debian-12-cpu --tag drivebuild-test/none:1` builds it"
        in result.complaint
    )


def test_nothing_is_left_behind(engine: Engine, image: str) -> None:
    look(engine, image, engine.layer_folders(image))
    left = SystemRunner().run(("docker", "ps", "--all", "--quiet", "--filter", "label=drivebuild.size"))
    assert left.text == ""
