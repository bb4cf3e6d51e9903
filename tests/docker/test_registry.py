"""A real registry on loopback with the engine that is there: tags, promotion, several architectures, and its faults."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engine import stage, toy_plan
from support.registry import Fault, FaultyDoor, Registry, faulty_door, registry_on

from builder.engine.build import Choices, build
from builder.engine.host import Engine
from builder.engine.manifests import Tools
from builder.engine.owntag import SETTLE, check_standing
from builder.engine.process import Result, SystemRunner
from builder.engine.push import Pushed, Way, push
from builder.engine.registry import reference
from builder.engine.snapshot import Asked
from builder.engine.verified import keep, of_image
from builder.errors import BuildError
from builder.patience import Patience
from builder.plan.stage import Plan

pytestmark = pytest.mark.docker
RECIPE = "ab" * 32
DOCKERFILE = "FROM scratch AS src-text\nFROM scratch AS image\nCOPY --from=src-text / /text/\n"
TOOLS = Tools(runner=SystemRunner())


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if not shutil.which("docker-registry"):
        if os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
            pytest.fail("there is no docker-registry: `./quickstart test` brings it")
        pytest.skip("SKIPPED LOUDLY: needs docker-registry (the distribution's package)")
    with registry_on(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def door(registry: Registry) -> Iterator[FaultyDoor]:
    with faulty_door(registry) as found:
        yield found


@pytest.fixture
def plan() -> Plan:
    return toy_plan(stage("src-text"), stage("image", "src-text"))


class Site:
    """Builds and pushes small images."""

    def __init__(self, engine: Engine, plan: Plan, folder: Path, tag: str) -> None:
        self.engine, self.plan, self.folder, self.tag = engine, plan, folder, tag
        self.said: list[str] = []
        self.waits: list[float] = []
        self.way = Way(
            runner=SystemRunner(),
            engine=engine,
            patience=Patience(tries=4, sleep=self.waits.append, chance=lambda: 0.5),
            say=self.said.append,
        )

    def built(self, text: str) -> Choices:
        folder = self.folder / text
        folder.mkdir(exist_ok=True)
        (folder / "file").write_text(text * 1000)
        choices = Choices(contexts=(("src-text", folder),), asked=Asked(digests={"image": RECIPE}))
        build(self.plan, DOCKERFILE, choices, runner=SystemRunner(), engine=self.engine)
        return choices

    def pushed(self, text: str, repository: str, **words: Any) -> Pushed:
        return push(self.plan, DOCKERFILE, self.built(text), repository, way=self.way, **words)


@pytest.fixture
def site(engine: Engine, plan: Plan, tmp_path: Path, tag: str) -> Iterator[Site]:
    # A model of its own: the tag without --tag is what has the recipe's hash.
    named = replace(plan, model=_named(plan, tag))
    yield Site(engine, named, tmp_path, named.tag)
    SystemRunner().run(("docker", "image", "rm", "--force", named.tag))


def _named(plan: Plan, tag: str) -> Any:
    import msgspec

    return msgspec.structs.replace(plan.model, name=f"toy-{tag.rpartition(':')[2]}")


def drivebuild(*words: str) -> Result:
    return SystemRunner().run((sys.executable, "-m", "builder", *words))


def at(name: str) -> Any:
    return TOOLS.look(reference(name, option="X"))


def test_two_tags_and_the_second_is_written_once(site: Site, registry: Registry) -> None:
    repository = f"{registry.address}/once"
    first = site.pushed("one", repository)
    moving, own = first.tags
    assert own == f"{moving}-{RECIPE[:12]}"
    assert at(moving).digest == at(own).digest == first.digest
    assert at(own).images[0].recipe == RECIPE
    second = site.pushed("two", repository)
    assert second.kept == first.digest
    assert (at(moving).digest, at(own).digest) == (second.digest, first.digest)
    third = site.pushed("two", repository, overwrite=True)
    assert (third.kept, at(own).digest) == ("", second.digest)


def test_of_two_that_push_one_recipe_at_once_the_one_that_lost_says_so(
    site: Site, door: FaultyDoor, registry: Registry
) -> None:
    """Both find the tag free; the first one writes when the rival has written, and replaces it."""
    written, replaced = threading.Event(), threading.Event()
    found: list[Pushed] = []

    def settle(_seconds: float) -> None:
        # By the end of it has written who looked before the rival wrote.
        written.set()
        assert replaced.wait(60)

    rivals = replace(site.way, patience=Patience(tries=1, sleep=settle))

    def push_too() -> None:
        found.append(push(site.plan, DOCKERFILE, site.built("two"), f"{registry.address}/race", way=rivals))

    thread = threading.Thread(target=push_too)

    def between() -> None:
        thread.start()
        assert written.wait(60)

    own = f"{site.plan.tag.rpartition(':')[2]}-{RECIPE[:12]}"
    door.faults.append(Fault("PUT", rf"/manifests/{own}$", through=True, after=between))
    choices = site.built("one")
    ours = replace(site.way, patience=Patience(tries=1, sleep=lambda _seconds: replaced.set()))
    first = push(site.plan, DOCKERFILE, choices, f"{door.address}/race", way=ours)
    thread.join(60)
    (second,) = found
    assert (first.kept, first.taken, len(first.tags)) == ("", "", 2)
    assert (second.kept, second.taken, len(second.tags)) == ("", first.digest, 1)
    standing = f"{second.name}-{RECIPE[:12]}"
    assert at(standing).digest == first.digest != second.digest
    with pytest.raises(BuildError) as caught:
        check_standing(standing, second.digest, second.taken)
    assert first.digest in caught.value.message.splitlines()[0]
    # Its image is not lost; and said again it is the later one: the tag is written once.
    assert at(f"{second.name.rpartition(':')[0]}@{second.digest}")
    again = site.pushed("two", f"{registry.address}/race")
    assert (again.kept, again.taken) == (first.digest, "")


def test_a_rival_that_comes_after_the_writing_is_seen(site: Site, registry: Registry) -> None:
    repository = f"{registry.address}/after"
    rival = site.pushed("two", repository, by_digest=True)
    name = f"{repository}/{site.plan.tag.removeprefix('drivebuild/')}-{RECIPE[:12]}"

    def between(_seconds: float) -> None:
        source = f"{name.rpartition(':')[0]}@{rival.digest}"
        TOOLS.name((reference(name, option="X"),), (source,), one=True)

    site.way = replace(site.way, patience=Patience(tries=1, sleep=between))
    done = site.pushed("one", repository)
    assert done.taken == at(name).digest
    assert done.taken != done.digest
    assert len(done.tags) == 1


def test_tags_say_the_architecture_and_the_recipe_once(site: Site, registry: Registry) -> None:
    """By the command line's own words: `--tag x:amd64 --by-digest`, then `merge` under a name with the hash."""
    repository = f"{registry.address}/words"
    choices = replace(site.built("one"), tag=site.tag.rpartition(":")[0] + ":amd64")
    build(site.plan, DOCKERFILE, choices, runner=SystemRunner(), engine=site.engine)
    done = push(site.plan, DOCKERFILE, choices, repository, way=site.way, by_digest=True)
    SystemRunner().run(("docker", "image", "rm", "--force", choices.tag))
    name, _, tag = done.name.rpartition(":")
    assert tag == f"amd64-{RECIPE[:12]}"
    assert at(done.name).digest == done.digest
    target = f"{name}:v1-{RECIPE[:12]}"
    merged = drivebuild("merge", target, done.digest, "--json")
    assert merged.code == 0, merged.complaint
    assert json.loads(merged.text)["names"] == [target]
    assert at(f"{target}-{RECIPE[:12]}") is None
    other = site.pushed("two", repository, by_digest=True)
    again = drivebuild("merge", target, other.digest)
    assert again.code == 6
    assert "a tag with the recipe's hash is written once" in again.complaint
    assert at(target).contents == at(done.name).contents


def test_promotion_by_digest_between_repositories(site: Site, registry: Registry) -> None:
    done = site.pushed("one", f"{registry.address}/built")
    target = f"{registry.address}/released/toy:v1"
    refused = drivebuild("promote", done.name, target)
    assert refused.code == 6
    assert "amd64: nobody ran verify on it" in refused.complaint
    image = site.engine.image(site.tag)
    assert image
    keep(of_image(image, site.tag, ok=True, summary="3 of 3 checks passed"))
    dry = drivebuild("promote", done.name, target, "--dry-run")
    assert "nothing was changed" in dry.text
    assert at(target) is None
    named = drivebuild("promote", done.name, target)
    assert named.code == 0, named.complaint
    assert f"before  {done.name} is {done.digest} (amd64)" in named.text
    assert at(target).contents == at(done.name).contents
    # What was pushed is one image: older versions of buildx make an index of it, newer ones leave it as it is.
    now = at(target).digest
    assert f"after   {target} is {now}" in named.text
    again = drivebuild("promote", target, "stable", "--json")
    found = json.loads(again.text)
    assert (found["before"], found["after"]) == (now, now)
    assert SystemRunner().run(("docker", "pull", "--quiet", f"{target.rpartition(':')[0]}@{now}")).code == 0
    SystemRunner().run(("docker", "image", "rm", f"{target.rpartition(':')[0]}@{now}"))


def test_a_verify_that_failed_is_said_at_promotion(site: Site, registry: Registry) -> None:
    done = site.pushed("three", f"{registry.address}/built")
    image = site.engine.image(site.tag)
    assert image
    keep(of_image(image, site.tag, ok=False, summary="2 of 3 checks passed"))
    refused = drivebuild("promote", done.name, "v2")
    assert refused.code == 6
    assert "amd64: verify failed on" in refused.complaint
    assert drivebuild("promote", done.name, "v2", "--unverified").code == 0


def pushed_for(architecture: str, recipe: str, registry: Registry, folder: Path) -> str:
    """Push an image of an architecture, as another machine would have."""
    (folder / architecture).write_text(architecture)
    (folder / "Dockerfile").write_text(f"FROM scratch\nCOPY {architecture} /x\nLABEL drivebuild.recipe={recipe}\n")
    name, runner = f"{registry.address}/multi/toy:{architecture}-{recipe[:4]}", SystemRunner()
    words = ("docker", "buildx", "build", "--quiet", "--load", "--platform", f"linux/{architecture}", "--tag", name)
    made = runner.run((*words, str(folder)))
    assert made.code == 0, made.complaint
    assert runner.run(("docker", "push", name)).code == 0
    runner.run(("docker", "image", "rm", name))
    return str(at(name).digest)


def test_two_architectures_one_index(engine: Engine, registry: Registry, tmp_path: Path) -> None:
    amd, arm = (pushed_for(each, RECIPE, registry, tmp_path) for each in ("amd64", "arm64"))
    other = pushed_for("arm64", "cd" * 32, registry, tmp_path)
    name = f"{registry.address}/multi/toy:plat-stock"
    refused = drivebuild("merge", name, amd, other)
    assert refused.code == 6
    assert "these are not images of one recipe" in refused.complaint
    assert "recipe abababababab" in refused.complaint
    assert at(name) is None
    made = drivebuild("merge", name, amd, arm, "--json")
    assert made.code == 0, made.complaint
    found = json.loads(made.text)
    assert found["names"] == [name, f"{name}-{RECIPE[:12]}"]
    assert {image.architecture for image in at(name).images} == {"amd64", "arm64"}
    assert at(found["names"][1]).digest == at(name).digest == found["digest"]
    # An index stays whole on its way into another repository.
    target = f"{registry.address}/released/multi:v1"
    assert drivebuild("promote", name, target, "--unverified").code == 0
    assert (at(target).digest, at(target).contents) == (found["digest"], at(name).contents)


def test_a_stage_goes_to_a_registry_by_the_command_itself(engine: Engine, tag: str, registry: Registry) -> None:
    words = ("image", "streampetr", "--platform", "debian-12-cpu", "--until", "tools", "--tag", tag)
    made = drivebuild(*words, "--push", f"{registry.address}/cli", "--progress", "json")
    assert made.code == 0, made.complaint
    events = [json.loads(line) for line in made.text.splitlines()]
    (pushed,) = (event for event in events if event["event"] == "pushed")
    assert pushed["name"] == f"{registry.address}/cli/{tag}"
    assert at(pushed["name"]).digest == pushed["digest"]
    lone = (*words, "--push", f"{registry.address}/cli", "--by-digest")
    told = drivebuild(*lone, "--dry-run")
    made = drivebuild(*lone, "--progress", "json")
    events = [json.loads(line) for line in made.text.splitlines()]
    (name,) = (event["name"] for event in events if event["event"] == "pushed")
    assert name.endswith("-amd64" if os.uname().machine == "x86_64" else "-arm64")
    assert told.text.splitlines()[-1] == f"then it is pushed to {name}"
    assert f"pushing {name}" in made.complaint.splitlines()
    if engine.facts().containerd_store:
        return
    refused = drivebuild(*words, "--cache-to", f"{registry.address}/cli")
    assert refused.code == 2
    assert "BuildKit cannot export its cache" in refused.complaint


def test_a_connection_that_is_cut_in_mid_push(site: Site, door: FaultyDoor) -> None:
    # The engine itself tries a layer again, after five seconds; a manifest is drivebuild's to try again.
    door.faults = [Fault("PATCH", "/blobs/uploads/"), Fault("PUT", "/manifests/", times=2)]
    done = site.pushed("cut", f"{door.address}/cut")
    assert door.count(0) == 3
    assert at(done.name).digest == done.digest
    assert site.waits == [2.0, 4.0, SETTLE]
    assert "try 3 of 4 in 4 s" in site.said[1]


def test_a_registry_that_dies_in_mid_push_and_comes_back(site: Site, tmp_path: Path) -> None:
    with registry_on(tmp_path / "mortal") as registry, faulty_door(registry) as door:

        def come_back(seconds: float) -> None:
            site.waits.append(seconds)
            if len(site.waits) == 1:
                registry.start()

        # It dies with all layers in it, and before it has the manifest.
        door.faults = [Fault("PUT", "/manifests/", after=registry.kill)]
        site.way = replace(site.way, patience=Patience(tries=3, sleep=come_back, chance=lambda: 0.5))
        done = site.pushed("mortal", f"{door.address}/mortal")
        assert site.waits == [2.0, SETTLE]
        assert at(done.name).digest == done.digest
        uploads = [request for request in door.requests if request[0] == "PATCH"]
        assert len(uploads) == len({request[1] for request in uploads}), "no layer was sent twice"


def test_a_registry_that_throttles_and_says_for_how_long(site: Site, door: FaultyDoor) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'
    door.faults = [Fault("PUT", "/manifests/", status=429, body=body, after=lambda: door.faults.append(root))]
    root = Fault("GET", "^/v2/$", status=429, headers={"Retry-After": "7"}, body=body)
    done = site.pushed("slow", f"{door.address}/slow")
    assert at(done.name).digest == done.digest
    assert site.waits == [7.0, SETTLE]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "^/v2/$", times=99, status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}),
        Fault("PUT", "/manifests/", times=99, status=403, body=b'{"errors":[{"code":"DENIED","message":"no"}]}'),
    ],
    ids=["401", "403"],
)
def test_a_registry_that_refuses_is_asked_once(site: Site, door: FaultyDoor, fault: Fault) -> None:
    door.faults = [replace(fault)]
    with pytest.raises(BuildError, match="could not be pushed") as caught:
        site.pushed("refused", f"{door.address}/refused")
    assert caught.value.hint == f"sign in: `docker login {door.address}`"
    assert site.waits == []


def test_a_registry_that_stays_away(site: Site, door: FaultyDoor) -> None:
    door.faults = [Fault("PUT", "/manifests/", times=99, status=500)]
    with pytest.raises(BuildError, match="500") as caught:
        site.pushed("away", f"{door.address}/away")
    assert "what has arrived is kept" in caught.value.hint
    assert site.waits == [2.0, 4.0, 8.0]
    door.faults.clear()
    assert site.pushed("away", f"{door.address}/away").digest
