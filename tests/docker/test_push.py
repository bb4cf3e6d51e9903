"""`--push` to a real registry, from an engine with containerd's image store and from one without."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engine import stage, toy_plan
from support.ownengine import OwnEngine, own_engine

from builder.engine.build import Choices, build
from builder.engine.host import Engine, connect
from builder.engine.process import SystemRunner
from builder.engine.push import Pushed, Way, push
from builder.errors import BuildError
from builder.patience import Patience

pytestmark = pytest.mark.docker
DOCKERFILE = "FROM scratch AS src-text\nFROM scratch AS image\nCOPY --from=src-text / /text/\nLABEL of=test\n"
TAG = "drivebuild/toy:plat-stock"


@pytest.fixture
def own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnEngine]:
    missing = [name for name in ("dockerd", "docker-registry") if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        if os.geteuid() == 0 and os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
            pytest.fail(f"there is no {missing[0]}: `./quickstart test` brings it")
        pytest.skip("SKIPPED LOUDLY: needs root, dockerd and docker-registry (the distribution's packages)")
    with own_engine(containerd_store=request.param) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        yield engine


@pytest.fixture
def choices(tmp_path: Path) -> Choices:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "file").write_text("".join(f"line {number}\n" for number in range(100000)))
    return Choices(tag=TAG, contexts=(("src-text", folder),))


def pushed(choices: Choices, repository: str, **more: Any) -> tuple[Pushed, Engine]:
    plan, engine, runner = toy_plan(stage("src-text"), stage("image", "src-text")), connect(), SystemRunner()
    build(plan, DOCKERFILE, choices, runner=runner, engine=engine)
    way = Way(runner=runner, engine=engine, patience=Patience(tries=2, sleep=lambda _seconds: None))
    return push(plan, DOCKERFILE, choices, repository, way=way, **more), engine


def layers(own: OwnEngine, digest: str) -> list[dict[str, Any]]:
    """Return the layers of the image behind a digest, whether that is a manifest or an index with attestations."""
    found = json.loads(own.blob(digest))
    if "manifests" in found:
        image = next(each for each in found["manifests"] if each["platform"]["architecture"] != "unknown")
        found = json.loads(own.blob(image["digest"]))
    return list(found["layers"])


@pytest.mark.parametrize("own", [True], indirect=True)
def test_layers_are_zstd_where_the_engine_can(own: OwnEngine, choices: Choices) -> None:
    done, _engine = pushed(choices, own.repository)
    assert (done.name, done.compression) == (f"{own.repository}/toy:plat-stock", "zstd")
    (layer,) = layers(own, done.digest)
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert own.blob(layer["digest"]).startswith(b"\x28\xb5\x2f\xfd")
    assert own.docker("image", "rm", "--force", TAG).returncode == 0
    pulled = own.docker("pull", f"{done.name}@{done.digest}")
    assert pulled.returncode == 0, pulled.stderr


@pytest.mark.parametrize("own", [False], indirect=True)
def test_and_gzip_where_not(own: OwnEngine, choices: Choices) -> None:
    done, engine = pushed(choices, own.repository)
    assert done.compression == "gzip"
    (layer,) = layers(own, done.digest)
    assert layer["mediaType"].endswith("gzip")
    assert engine.image(done.name) is None, "the name was for the way only"
    assert engine.image(TAG) is not None


@pytest.mark.parametrize("own", [True, False], indirect=True)
def test_a_registry_that_is_not_there(own: OwnEngine, choices: Choices) -> None:
    with pytest.raises(BuildError) as caught:
        pushed(choices, "localhost:5999/team")
    assert "localhost:5999/team/toy:plat-stock could not be pushed" in caught.value.message
    assert "connection refused" in caught.value.message
    assert caught.value.hint == "localhost:5999 cannot be reached from the engine"


@pytest.mark.parametrize("own", [True], indirect=True)
def test_with_fixed_times_two_cold_builds_have_one_digest(own: OwnEngine, choices: Choices) -> None:
    """A store of its own for each would say the same: nothing of the engine's is in the digest."""
    found: dict[bool, list[Pushed]] = {}
    for fixed in (True, False):
        for number in (1, 2):
            tag = TAG.replace("stock", f"{number}-{fixed}".lower())
            cold = replace(choices, tag=tag, no_cache=True)
            # The folder's own times are new, as those of a checkout are.
            os.utime(choices.contexts[0][1] / "file", (2_000_000_000 + number, 2_000_000_000 + number))
            done, engine = pushed(cold, own.repository, fixed_times=fixed)
            found.setdefault(fixed, []).append(done)
            assert engine.image(tag) is not None
            assert not fixed or engine.image(done.name) is None, "the name was for the way only"
    assert found[True][0].digest == found[True][1].digest
    assert found[False][0].digest != found[False][1].digest
    (layer,) = layers(own, found[True][0].digest)
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd"
    name = f"{found[True][0].name}@{found[True][0].digest}"
    assert own.docker("pull", name).returncode == 0
    created = own.docker("image", "inspect", "--format", "{{.Created}}", name).stdout
    assert created.startswith(b"2021-01-01T00:00:00")
