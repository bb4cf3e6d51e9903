"""Provenance beside an image, a signature and a signed SBOM: a real builder, a real registry, the real cosign."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine import stage, toy_plan
from support.ownengine import OwnEngine, own_engine
from support.registry import Registry, registry_on
from typer.testing import CliRunner

from builder.cli.main import app
from builder.engine.build import Choices, build
from builder.engine.host import Engine, connect
from builder.engine.manifests import Tools
from builder.engine.process import Result, SystemRunner
from builder.engine.push import Way, push
from builder.engine.registry import reference

pytestmark = pytest.mark.docker
SMALL = "FROM scratch\nCOPY <<EOF /etc/os-release\nID=toy\nEOF\nLABEL a=b\n"
DOCKERFILE = "FROM scratch AS src-text\nFROM scratch AS image\nARG PYTHON_PROFILE_TASK\nCOPY --from=src-text / /text/\n"


def missing(*names: str) -> list[str]:
    return [name for name in names if not shutil.which(name)]


def drivebuild(*words: str) -> Result:
    done = CliRunner().invoke(app, list(words))
    return Result(done.exit_code, done.stdout_bytes, done.stderr_bytes)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnEngine]:
    lacking = missing("dockerd", "docker-registry")
    if os.geteuid() != 0 or lacking:
        if os.geteuid() == 0 and os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
            pytest.fail(f"there is no {lacking[0]}: `./quickstart test` brings it")
        pytest.skip("SKIPPED LOUDLY: needs root, dockerd and docker-registry (the distribution's packages)")
    with own_engine(containerd_store=True) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        yield engine


def statements(own: OwnEngine, digest: str) -> list[dict[str, Any]]:
    """Return the in-toto statements beside an image."""
    found = []
    for each in json.loads(own.blob(digest)).get("manifests", ()):
        if each.get("annotations", {}).get("vnd.docker.reference.type") == "attestation-manifest":
            layers = json.loads(own.blob(each["digest"]))["layers"]
            found += [json.loads(own.blob(layer["digest"])) for layer in layers]
    return found


def test_provenance_lies_beside_what_was_pushed(own: OwnEngine, tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text/file").write_text("one\n")
    plan, engine, runner = toy_plan(stage("src-text"), stage("image", "src-text")), connect(), SystemRunner()
    choices = Choices(contexts=(("src-text", tmp_path / "text"),), arguments={"PYTHON_PROFILE_TASK": "-m told"})
    build(plan, DOCKERFILE, choices, runner=runner, engine=engine)
    way = Way(runner=runner, engine=engine)
    told = {}
    for level in ("provenance", "provenance-min"):
        done = push(plan, DOCKERFILE, choices, own.repository, way=way, attest=level, overwrite=True)
        (statement,) = statements(own, done.digest)
        assert statement["predicateType"].startswith("https://slsa.dev/provenance/")
        assert statement["subject"], "it names the image it is of"
        told[level] = json.dumps(statement)
    # The whole has what the build was told; the short one keeps it to itself.
    assert "-m told" in told["provenance"]
    assert "-m told" not in told["provenance-min"]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    lacking = missing("docker-registry")
    if lacking:
        if os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
            pytest.fail("there is no docker-registry: `./quickstart test` brings it")
        pytest.skip("SKIPPED LOUDLY: needs docker-registry (the distribution's package)")
    with registry_on(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def pushed(engine: Engine, registry: Registry, tag: str) -> str:
    """Return the name and digest of a small image in the registry."""
    runner = SystemRunner()
    done = runner.run(("docker", "build", "--tag", tag, "-"), stdin=SMALL.encode())
    assert done.code == 0, done.complaint
    name = f"{registry.address}/team/{tag.replace('/', '-').partition(':')[0]}:1"
    runner.run(("docker", "tag", tag, name))
    assert runner.run(("docker", "push", name)).code == 0
    runner.run(("docker", "image", "rm", name))
    found = Tools(runner=runner).look(reference(name, option="X"))
    assert found is not None
    return f"{name}@{found.digest}"


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if missing("cosign"):
        pytest.skip("SKIPPED LOUDLY: needs cosign (the distribution's package from Debian 13 on)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    for name in ("one", "two"):
        made = SystemRunner().run(("cosign", "generate-key-pair", "--output-key-prefix", name))
        assert made.code == 0, made.complaint
    return tmp_path


def test_a_signature_and_the_very_sbom(keys: Path, pushed: str, tag: str) -> None:
    words = ("sign", pushed, "--no-log", "--key")
    for form in ("cyclonedx", "spdx"):
        sbom = str(keys / f"{form}.json")
        assert drivebuild("sbom", tag, "--format", form, "--output", sbom).code == 0
        done = drivebuild(*words, str(keys / "one.key"), "--sbom", sbom)
        assert done.code == 0, done.complaint
        assert f"signed    {pushed}" in done.text
        good = drivebuild(*words, str(keys / "one.pub"), "--sbom", sbom, "--verify")
        assert good.code == 0, good.complaint
        assert good.text.count("is good") == 2
    other = drivebuild(*words, str(keys / "two.pub"), "--verify")
    assert other.code == 6
    assert "nobody signed this digest with this key" in other.complaint
    # A word of the SBOM that is another one, the image's identity as it was.
    data = json.loads((keys / "cyclonedx.json").read_text())
    data["version"] = 2
    (keys / "changed.json").write_text(json.dumps(data))
    changed = drivebuild(*words, str(keys / "one.pub"), "--sbom", str(keys / "changed.json"), "--verify")
    assert changed.code == 6
    assert "it is not" in changed.complaint


def test_an_sbom_of_another_image_is_not_signed(keys: Path, pushed: str, tag: str) -> None:
    # The same files under another label: another image.
    text = SMALL.replace("a=b", "a=c").encode()
    assert SystemRunner().run(("docker", "build", "--tag", tag, "-"), stdin=text).code == 0
    assert drivebuild("sbom", tag, "--format", "spdx", "--output", str(keys / "other.json")).code == 0
    done = drivebuild("sign", pushed, "--no-log", "--key", str(keys / "one.key"), "--sbom", str(keys / "other.json"))
    assert done.code == 6
    assert "the SBOM is not of" in done.complaint
    unsigned = drivebuild("sign", pushed, "--no-log", "--key", str(keys / "one.pub"), "--verify")
    assert unsigned.code == 6, "nothing was signed before the SBOM was looked at"
