"""Builders elsewhere: a BuildKit behind TLS in another network, its caches in a registry, its death in mid build."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from support.engine import stage, toy_plan
from support.farm import PASSWORD, PRIVATE, Farm, farm_of

from builder.engine.build import Choices, Observer, build
from builder.engine.builders import find_builder
from builder.engine.cachegraph import CacheGraph
from builder.engine.delivery import Delivered, Delivery, deliver, prepared
from builder.engine.host import Engine, connect
from builder.engine.manifests import Tools
from builder.engine.process import Result, SystemRunner
from builder.engine.promote import promote
from builder.engine.push import Way
from builder.engine.record import BuildRecord
from builder.engine.registry import Reference, reference
from builder.engine.snapshot import Asked
from builder.engine.state import BuildState
from builder.engine.verified import of_image
from builder.errors import BuildError
from builder.patience import Patience
from builder.plan.stage import Plan
from builder.recipe.types import BaseImage, Bootstrap

pytestmark = pytest.mark.docker
BASE = f"localhost/drivebuild-test/tiny:{os.getpid()}"
TEAM = f"{PRIVATE}/team"
DOCKERFILE = f"""\
FROM scratch AS src-text
FROM {BASE} AS first
RUN --network=none --mount=type=secret,id=word read word < /run/secrets/word && [ "$word" = sesame ] \\
    && head -c 300000 /dev/urandom > /first
FROM first AS second
COPY --from=src-text / /text/
RUN --network=none if [ -e /text/hold ]; then sleep 60; fi; cat /first /text/file > /second
FROM scratch AS image
COPY --from=second /second /second
"""
PLAIN = "FROM scratch AS src-text\nFROM scratch AS image\nCOPY --from=src-text / /text/\n"


@pytest.fixture(scope="module")
def base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the smallest image that can run something, which only the engine here has: this system's shell."""
    folder = tmp_path_factory.mktemp("base")
    programs = ["/bin/sh", "/bin/sleep", "/usr/bin/head", "/bin/cat"]
    said = subprocess.run(("ldd", *programs), capture_output=True, text=True, check=True).stdout
    for name in (*programs, *set(re.findall(r"(/\S+) \(0x", said))):
        place = folder / "bin" / Path(name).name if name in programs else folder / name.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(name).resolve(), place)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    words = ("docker", "buildx", "build", "--quiet", "--load", "--tag", BASE, str(folder))
    made = SystemRunner().run(words)
    assert made.code == 0, made.complaint
    yield BASE
    SystemRunner().run(("docker", "image", "rm", "--force", BASE))


@pytest.fixture(scope="module")
def farm(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    missing = [name for name in ("dockerd", "docker-registry", "nsenter") if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        if os.geteuid() == 0 and os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
            pytest.fail(f"there is no {missing[0]}: `./quickstart test` brings it")
        pytest.skip("SKIPPED LOUDLY: needs root, dockerd, docker-registry and nsenter")
    with pytest.MonkeyPatch.context() as patch:
        # Neither the user's builders nor the user's passwords.
        patch.setenv("BUILDX_CONFIG", str(tmp_path_factory.mktemp("buildx")))
        patch.setenv("DOCKER_CONFIG", str(tmp_path_factory.mktemp("docker")))
        with farm_of("farm") as made:
            patch.setattr("builder.engine.registry._CERTIFICATES", (str(made.folder / "certs.d"),))
            made.login()
            yield made


@dataclass
class Site:
    """Builds on the farm, as `image` does."""

    farm: Farm
    engine: Engine
    plan: Plan
    choices: Choices
    text: Path
    said: list[str]
    runner: SystemRunner
    dockerfile: str = DOCKERFILE

    def delivered(self, wanted: Delivery, observe: Observer = lambda _state, _now: None) -> Delivered:
        runner = self.runner
        patience = Patience(tries=3, sleep=lambda _seconds: None)
        way = Way(runner=runner, engine=self.engine, patience=patience, say=self.said.append)
        choices, cache_to = prepared(self.plan, self.choices, wanted, way=way)

        def attempt(tried: Choices) -> BuildRecord:
            return build(self.plan, self.dockerfile, tried, runner=runner, engine=self.engine, observe=observe)

        return deliver(self.plan, self.dockerfile, choices, wanted, cache_to, way=way, attempt=attempt)


def state_of(record: BuildRecord) -> dict[str, str]:
    return {stage.name: stage.state for stage in record.stages}


@pytest.fixture
def site(farm: Farm, engine: Engine, tmp_path: Path, tag: str) -> Iterator[Site]:
    plain = toy_plan(
        stage("src-text"), stage("first", BASE), stage("second", "first"), stage("image", "scratch", "second")
    )
    bootstrap = BaseImage(image=BASE, bootstrap=Bootstrap(suite="bookworm", include=()))
    model = msgspec.structs.replace(plain.model, name=f"toy-{tmp_path.name.replace('_', '-').lower()[:40]}")
    plan = replace(plain, model=model, platform=msgspec.structs.replace(plain.platform, base=bootstrap))
    text = tmp_path / "text"
    text.mkdir()
    (text / "file").write_text(tmp_path.name)
    (tmp_path / "word").write_text("sesame\n")
    choices = Choices(
        contexts=(("src-text", text),),
        secrets=(("word", tmp_path / "word"),),
        asked=Asked(digests={"image": "ab" * 32}),
    )
    yield Site(farm, engine, plan, choices, text, [], farm.runner)
    SystemRunner().run(("docker", "image", "rm", "--force", plan.tag))


def test_base_contexts_and_secrets_reach_it_and_the_image_comes_back(site: Site) -> None:
    found = find_builder("farm", site.farm.runner)
    assert (found.driver, found.elsewhere, found.architectures[0]) == ("remote", True, "x86_64")
    done = site.delivered(Delivery(builder="farm"))
    image = site.engine.image(site.plan.tag)
    assert image
    assert done.record.image_id == image.id
    assert image.config["Labels"]["drivebuild.recipe"] == "ab" * 32
    assert site.farm.docker("image", "ls", "--quiet").text == "", "it is an image here and not there"


def test_from_there_it_is_pushed_and_another_machine_goes_on_from_its_cache(site: Site) -> None:
    wanted = Delivery(builder="farm", push=TEAM, cache_to=(TEAM,))
    done = site.delivered(wanted)
    assert done.pushed
    assert site.engine.image(site.plan.tag) is None
    tools = Tools(runner=site.farm.runner)
    for tag in done.pushed.tags:
        found = tools.look(reference(tag, option="X"))
        assert found
        assert found.digest == done.pushed.digest
    assert len(done.pushed.tags) == 2
    # Another machine: an engine that has nothing of it.
    site.farm.docker("builder", "prune", "--all", "--force")
    again = site.delivered(Delivery(builder="farm", push=TEAM, cache_to=(TEAM,), cache_from=(TEAM,)))
    assert state_of(again.record)["first"] == state_of(again.record)["second"] == "cached"
    site.farm.docker("builder", "prune", "--all", "--force")
    (site.text / "file").write_text("changed")
    third = site.delivered(Delivery(builder="farm", push=TEAM, cache_from=(TEAM,)))
    assert (state_of(third.record)["first"], state_of(third.record)["second"]) == ("cached", "done")


BRANCHES = f"""\
FROM scratch AS src-text
FROM {BASE} AS first
RUN --network=none head -c 300000 /dev/urandom > /first
FROM first AS tools
RUN --network=none head -c 200000 /dev/urandom > /tools
FROM tools AS one
RUN --network=none head -c 100000 /dev/urandom > /one
FROM tools AS other
COPY --from=src-text / /text/
RUN --network=none cat /text/file /tools > /other
FROM first AS image
COPY --from=one /one /one
COPY --from=other /other /other
RUN --network=none cat /one /other > /both
"""


def test_a_cache_that_is_read_and_written_again_keeps_what_it_had_or_says_so(site: Site) -> None:
    """Each machine is an engine that has nothing; BuildKit 0.13 loses results there nearly each time.

    Beside other load one of twenty stays without a result: that one is said, and nothing else is.
    """
    stages = (
        *(stage("src-text"), stage("first", BASE), stage("tools", "first"), stage("one", "tools")),
        *(stage("other", "tools", "src-text"), stage("image", "first", "one", "other")),
    )
    site = replace(site, plan=replace(site.plan, stages=stages), dockerfile=BRANCHES)
    name = f"{TEAM}/cache:plat-amd64-{site.plan.model.name}-stock"
    reading = Delivery(builder="farm", cache_from=(TEAM,))
    both = replace(reading, cache_to=(TEAM,))

    def fresh(text: str, wanted: Delivery) -> tuple[list[str], tuple[str, ...]]:
        site.farm.docker("builder", "prune", "--all", "--force")
        (site.text / "file").write_text(f"{site.plan.model.name} {text}")
        done = site.delivered(wanted)
        states = state_of(done.record)
        return [states[each] for each in ("first", "tools", "one", "other", "image")], tuple(dict(done.notes).values())

    late, none = ["cached", "cached", "cached", "done", "done"], ["cached"] * 5
    assert fresh("one", Delivery(builder="farm", push=TEAM, cache_to=(TEAM,))) == (["done"] * 5, ())
    steps = len(held(site, name).full)
    # Nothing is new, then something is.
    for text, due in (("one", none), ("two", late)):
        states, notes = fresh(text, both)
        assert states == due
        lacking = steps - len(held(site, name).full)
        assert [f"cache {name} lacks {lacking} result" in note for note in notes] == [True] * bool(lacking)
        if lacking:
            # Whoever comes next runs that step again, as the note says.
            return
    assert fresh("two", reading) == (none, ())
    assert fresh("three", reading) == (late, ())


def held(site: Site, name: str) -> CacheGraph:
    """Return what a cache in the registry holds."""
    tools, place = Tools(runner=site.farm.runner), reference(name, option="X")
    manifest = json.loads(tools.raw(place) or "")
    text = tools.raw(Reference(place.repository, digest=manifest["config"]["digest"]))
    return msgspec.json.decode(text or "", type=CacheGraph)


def test_a_poisoned_cache_is_refused_and_the_build_goes_on_without(site: Site) -> None:
    site.delivered(Delivery(builder="farm", push=TEAM, cache_to=(TEAM,)))
    poisoned = [path for path in site.farm.blobs.glob("*/*/data") if 300_000 < path.stat().st_size < 302_000]
    assert poisoned
    kept = {path: path.read_bytes() for path in poisoned}
    try:
        for path, content in kept.items():
            path.write_bytes(content[:1000] + bytes((content[1000] ^ 1,)) + content[1001:])
        site.farm.docker("builder", "prune", "--all", "--force")
        (site.text / "file").write_text("changed")
        done = site.delivered(Delivery(builder="farm", cache_from=(TEAM,)))
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    (said,) = (line for line in site.said if not line.startswith(("pushing ", "writing the cache ")))
    assert "a cache cannot be used: " in said
    assert "unexpected commit digest sha256:" in said
    assert "goes on without --cache-from" in said
    assert (done.record.outcome, state_of(done.record)["first"]) == ("done", "done")
    assert site.engine.image(site.plan.tag)


def test_a_builder_that_dies_in_mid_build_and_what_it_had_done(site: Site) -> None:
    (site.text / "hold").touch()
    killed: list[str] = []

    def kill(state: BuildState, now: float) -> None:
        views = {view.name: view for view in state.views(now)}
        if not killed and views["first"].state == "done" and views["second"].state == "running":
            killed.append("now")
            site.farm.kill_engine()

    # Content of its own: nothing of the first stage is there from the tests before.
    site.farm.docker("builder", "prune", "--all", "--force")
    with pytest.raises(BuildError) as caught:
        site.delivered(Delivery(builder="farm"), kill)
    assert killed
    assert "builder farm has gone" in caught.value.hint
    assert "what it had finished is in its cache" in caught.value.hint
    with pytest.raises(BuildError, match="builder farm: no BuildKit answers at tcp://"):
        site.delivered(Delivery(builder="farm"))
    site.farm.start_engine()
    (site.text / "hold").unlink()
    done = site.delivered(Delivery(builder="farm"))
    assert (state_of(done.record)["first"], state_of(done.record)["second"]) == ("cached", "done")


def test_nobody_gets_in_without_a_certificate_of_the_farm(site: Site, tmp_path: Path) -> None:
    runner = site.farm.runner
    folder = site.farm.folder / "tls"
    options = f"cacert={folder / 'ca.pem'},servername=buildkit.test"
    words = ("docker", "buildx", "create", "--name", "stranger", "--driver", "remote", "--driver-opt", options)
    assert runner.run((*words, "tcp://192.0.2.2:1234")).code == 0
    with pytest.raises(BuildError, match="builder stranger: no BuildKit answers"):
        find_builder("stranger", runner)
    runner.run(("docker", "buildx", "rm", "stranger"))


def test_a_private_registry_with_a_ca_and_a_password(site: Site, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Here drivebuild runs beside its engine, which has containerd's store: its cache can be exported, too."""
    farm = site.farm
    monkeypatch.setenv("DOCKER_HOST", farm.address)
    plan = replace(site.plan, stages=(stage("src-text"), stage("image", "scratch", "src-text")))
    here = replace(site, engine=connect(), plan=plan, runner=farm.there, dockerfile=PLAIN)
    wanted = Delivery(push=TEAM, cache_to=(TEAM,))
    assert farm.there.run(("docker", "logout", PRIVATE)).code == 0
    with pytest.raises(BuildError, match="could not be pushed") as caught:
        here.delivered(wanted)
    assert caught.value.hint == f"sign in: `docker login {PRIVATE}`"
    assert [line.split()[0] for line in here.said] == ["pushing"], "nothing is tried again"
    farm.login()
    done = here.delivered(wanted)
    assert done.pushed
    assert len(done.pushed.tags) == 2
    image, found = here.engine.image(plan.tag), Tools(runner=farm.there).look(reference(done.pushed.name, option="X"))
    assert image
    assert found
    assert [of_image(image, "x", ok=True, summary="").identity] == [each.identity for each in found.images]
    # With what BuildKit attests beside it, into another repository.
    target = Reference(f"{PRIVATE}/released/toy", "v1")
    named = promote(reference(done.pushed.name, option="X"), target, tools=Tools(runner=farm.there), unverified=True)
    assert named.before == named.after == done.pushed.digest
    farm.docker("image", "rm", "--force", plan.tag)
    farm.docker("builder", "prune", "--all", "--force")
    again = here.delivered(Delivery(cache_from=(TEAM,)))
    assert state_of(again.record)["image"] == "cached"
    for path in home.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert PASSWORD.encode() not in content
        assert base64.b64encode(f"farmer:{PASSWORD}".encode()) not in content
    monkeypatch.setattr("builder.engine.registry._CERTIFICATES", ())
    with pytest.raises(BuildError, match=r"x509: ") as caught:
        Tools(runner=farm.there).look(reference(done.pushed.name, option="X"))
    assert f"/etc/docker/certs.d/{PRIVATE}/ca.crt" in caught.value.hint


def test_the_command_itself(farm: Farm, engine: Engine, tmp_path: Path, tag: str) -> None:
    words = ("image", "streampetr", "--platform", "debian-12-cpu", "--until", "tools", "--tag", tag)
    command = (sys.executable, "-m", "builder", *words, "--builder", "farm", "--progress", "json")
    here = {"PYTHONPATH": str(Path(__file__).parents[2])}
    missing = farm.runner.run((*command[:-4], "--builder", "fram"), env=here)
    assert missing.code == 2
    assert "there is no builder 'fram'" in missing.complaint
    kept = tmp_path / "pushed.json"
    where = ("--push", TEAM, "--by-digest", "--pushed", str(kept), "--cache-to", TEAM, "--cache-from", TEAM)
    done = farm.runner.run((*command, *where), env=here)
    assert done.code == 0, done.complaint
    events = {event["event"]: event for event in map(json.loads, done.text.splitlines()) if "event" in event}
    assert events["pushed"] == json.loads(kept.read_bytes())
    assert events["pushed"]["tags"] == []
    assert events["cached"]["to"].startswith(f"type=registry,ref={TEAM}/cache:debian-12-cpu-amd64-tools,mode=max")
    assert "no cache is there yet" in done.complaint
    found = Tools(runner=farm.runner).look(reference(f"{TEAM}/{tag.partition(':')[0]}@{kept_digest(kept)}", option="X"))
    assert found
    assert engine.image(tag) is None


def kept_digest(path: Path) -> str:
    return str(json.loads(path.read_bytes())["digest"])


@pytest.mark.parametrize("built", [(), ("--builder", "farm")], ids=["built here", "built there"])
def test_an_image_is_built_again_there(
    farm: Farm, engine: Engine, tmp_path: Path, tag: str, built: tuple[str, ...]
) -> None:
    here = {"PYTHONPATH": str(Path(__file__).parents[2]), "XDG_STATE_HOME": str(tmp_path / "state")}

    def drivebuild(*words: str) -> Result:
        return farm.runner.run((sys.executable, "-m", "builder", *words), env=here)

    words = ("--platform", "debian-12-cpu", "--until", "tools", "--tag", tag)
    done = drivebuild("image", "streampetr", *words, *built, "--progress", "json")
    assert done.code == 0, done.complaint
    told = drivebuild("reproduce", tag, "--dry-run", "--builder", "farm")
    assert told.code == 0, told.complaint
    assert told.text.splitlines()[-1].startswith("$ docker buildx build --progress=rawjson --builder farm --load ")
    before = records(farm)
    again = drivebuild("reproduce", tag, "--builder", "farm", "--json")
    assert again.code == 0, again.complaint
    found = json.loads(again.text)
    assert (found["images"], found["same"], len(found["layers"])) == ([tag, f"{tag}-reproduced"], True, 3)
    assert all(layer["same_content"] for layer in found["layers"])
    assert "built again on builder farm" in again.complaint
    assert records(farm) - before, "it has built something"
    assert engine.image(f"{tag}-reproduced") is None
    for more in ((), ("--dry-run",)):
        wrong = drivebuild("reproduce", tag, "--builder", "fram", *more)
        assert (wrong.code, "there is no builder 'fram'" in wrong.complaint) == (2, True)
    farm.kill_engine()
    try:
        silent = drivebuild("reproduce", tag, "--builder", "farm")
    finally:
        farm.start_engine()
    assert silent.code == 6
    assert "builder farm: no BuildKit answers at tcp://" in silent.complaint
    assert engine.image(f"{tag}-reproduced") is None


def records(farm: Farm) -> frozenset[str]:
    """Return the records of the cache there."""
    said = farm.runner.run(("docker", "buildx", "du", "--builder", "farm", "--verbose"))
    assert said.code == 0, said.complaint
    return frozenset(re.findall(r"^ID:\s+(\S+)$", said.text, re.MULTILINE))


# --- from CI ---------------------------------------------------------------------------------------

SCRIPTS = Path(__file__).parents[2] / "templates/ci"


def step(name: str, farm: Farm, folder: Path, **env: str) -> str:
    """Run a step of the workflows where the client is."""
    done = farm.runner.run(
        ("sh", "-c", 'cd "$1" && exec bash "$2"', "sh", str(folder), f"{SCRIPTS / name}.sh"), env=env
    )
    assert done.code == 0, done.text + done.complaint
    return done.text


def test_a_job_of_ci_builds_here(farm: Farm, engine: Engine, tmp_path: Path, tag: str) -> None:
    tls, machine = farm.folder / "tls", os.uname().machine
    address = re.search(r"tcp://\S+", farm.runner.run(("docker", "buildx", "inspect", "farm")).text)
    assert address
    program = tmp_path / "bin/drivebuild"
    program.parent.mkdir()
    # Only whole environments can be verified; what is built here is a stage before.
    act = f'case "$1" in verify) echo "{{}}" ;; *) exec {sys.executable} -m builder "$@" ;; esac'
    program.write_text(f"#!/bin/sh\n{act}\n")
    program.chmod(0o755)
    names = {"CA": "ca.pem", "CERT": "client.pem", "KEY": "client.key"}
    job = {
        "DRIVEBUILD_BUILDER": "drivebuild-7-1-image",
        "DRIVEBUILD_BUILDERS": f"{machine} remote {address[0]} servername=buildkit.test",
        **{f"DRIVEBUILD_BUILDER_{name}": (tls / file).read_text() for name, file in names.items()},
        "GITHUB_ENV": str(tmp_path / "env"),
        "RUNNER_TEMP": str(tmp_path),
    }
    assert "running" in step("builder", farm, tmp_path, **job)
    builder = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    image = {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "DRIVEBUILD_ID": "image",
        "DRIVEBUILD_ARGUMENTS": f"streampetr --platform debian-12-cpu --until tools --tag {tag}",
        "DRIVEBUILD_BASE_ID": "",
        "DRIVEBUILD_CACHE_FROM": "",
        "DRIVEBUILD_CACHE_TO": "ci-tools",
        "DRIVEBUILD_PUSH": "true",
        "DRIVEBUILD_REGISTRY": TEAM,
        **builder,
    }
    try:
        step("image", farm, tmp_path, **image)
        # It came back to be verified, and went on from the builder.
        assert engine.image(tag)
    finally:
        SystemRunner().run(("docker", "image", "rm", "--force", tag))
    pushed = json.loads((tmp_path / "out/image.pushed.json").read_text())
    assert pushed["tags"] == []
    assert Tools(runner=farm.runner).look(reference(f"{TEAM}/{tag.partition(':')[0]}@{pushed['digest']}", option="X"))
    records = [json.loads(path.read_text()) for path in (tmp_path / "state").rglob("record.json")]
    assert [record["builder"] for record in records] == ["drivebuild-7-1-image"]
    step("builder-end", farm, tmp_path, **job)
    assert not (tmp_path / "drivebuild-7-1-image").exists()
    assert farm.runner.run(("docker", "buildx", "inspect", "drivebuild-7-1-image")).code != 0


def test_pods_are_asked_for_as_ci_does(farm: Farm, tmp_path: Path) -> None:
    """Without a cluster: what buildx notes is what the workflow wants; nothing is started."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "buildkitd.toml").write_text("debug = true\n")
    job = {
        "DRIVEBUILD_BUILDER": "drivebuild-7-1-pods",
        "DRIVEBUILD_BUILDERS": f"{os.uname().machine} kubernetes buildkitd.toml namespace=build nodeselector=a=b,c=d",
        "DRIVEBUILD_BUILDER_KUBECONFIG": json.dumps(config),
        "RUNNER_TEMP": str(tmp_path),
    }
    words = ("sh", "-c", 'cd "$1" && exec bash "$2"', "sh", str(tmp_path), str(SCRIPTS / "builder.sh"))
    (tmp_path / "sleep").symlink_to("/bin/true")
    done = farm.runner.run(words, env={**job, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"})
    assert done.code == 1
    assert "127.0.0.1:1" in done.text + done.complaint
    noted = json.loads((Path(os.environ["BUILDX_CONFIG"]) / "instances/drivebuild-7-1-pods").read_text())
    (node,) = noted["Nodes"]
    assert noted["Driver"] == "kubernetes"
    assert node["DriverOpts"] == {"namespace": "build", "nodeselector": "a=b,c=d"}
    assert node["Name"] == f"drivebuild-{os.uname().machine.replace('_', '-')}"
    assert f"deployment={node['Name']}" in node["Endpoint"]
    assert "kubeconfig" in node["Endpoint"]
    step("builder-end", farm, tmp_path, **job)
    assert not (Path(os.environ["BUILDX_CONFIG"]) / "instances/drivebuild-7-1-pods").exists()
