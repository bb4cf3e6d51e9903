"""What any layer of a real image still holds: read where the engine keeps layers, and from an export, alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builder.cli.imageread import run_inside
from builder.engine.host import Engine
from builder.engine.hygiene import look_from_outside
from builder.engine.process import SystemRunner
from builder.engine.verify import Check
from builder.errors import BuildError
from builder.footprint.measure import list_layers

pytestmark = pytest.mark.docker
DOCKERFILE = """\
FROM localhost/drivebuild/base:debian-12
RUN mkdir -p /root/.cache/pip /opt/a; echo 1 > /root/.cache/pip/wheel; echo 2 > /opt/a/id_rsa; : > /opt/a/.netrc; \\
    printf x > "/opt/a/$(printf 'odd\\377name')"
RUN rm -r /root/.cache /opt/a/id_rsa; echo 3 > /opt/a/.git-credentials; ln -s .git-credentials /opt/a/.pypirc
USER 1000
"""
LOST = {
    "no secret in any layer": ["layer 1: opt/a/id_rsa", "layer 2: opt/a/.git-credentials"],
    "no cache in any layer": ["layer 1: root/.cache/pip/wheel"],
    "no CA file in any layer": [],
}


@pytest.fixture
def image(engine: Engine, tag: str) -> str:
    built = SystemRunner().run(("docker", "build", "--tag", tag, "-"), stdin=DOCKERFILE.encode())
    assert built.code == 0, built.complaint
    return tag


def judged(checks: tuple[Check, ...]) -> dict[str, object]:
    return {check.name: check.detail for check in checks if check.name in LOST}


def test_what_is_lost_in_a_layer_is_found_without_a_copy_of_the_image(
    engine: Engine, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = engine.image(image)
    assert found
    layers = list_layers(found.id, engine.layer_folders(found.id), run_inside)
    if not layers:
        pytest.skip("NOT TESTED: this engine keeps layers where nobody may look")
    assert "opt/a/odd\ufffdname" in layers[1]

    def save(_self: Engine, _name: str) -> Iterator[bytes]:
        raise AssertionError("the image was exported")

    monkeypatch.setattr(Engine, "save", save)
    assert judged(look_from_outside(engine, image, labels={}, base_layers=1, layers=layers)) == LOST


def test_an_export_says_the_same(engine: Engine, image: str) -> None:
    assert judged(look_from_outside(engine, image, labels={}, base_layers=1)) == LOST


def test_an_engine_elsewhere_has_other_folders(engine: Engine, image: str) -> None:
    found = engine.image(image)
    assert found
    assert list_layers(found.id, ["/nowhere/1", "/nowhere/2", "/nowhere/3"], run_inside) == ()
    with pytest.raises(BuildError, match="there is no image"):
        look_from_outside(engine, "drivebuild-test/no-such-image:1", labels={}, base_layers=0)
