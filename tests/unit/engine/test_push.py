"""`--push` without a registry: what may be named, the commands, and what a refusal is told as."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engine import FakeEngine, stage, toy_plan
from support.runner import RecordingRunner

from builder.engine.build import Choices, build_command
from builder.engine.builders import Builder
from builder.engine.local import LocalSource
from builder.engine.owntag import SETTLE, check_standing, lone_tag, own_tag
from builder.engine.process import Argv, Result
from builder.engine.push import Way, check_export, push, push_target, pushed_name
from builder.engine.registry import check_repository
from builder.engine.snapshot import Asked
from builder.errors import BuildError, UsageError
from builder.patience import Patience
from builder.plan.stage import Plan

DIGEST = f"sha256:{'0123456789abcdef' * 4}"


def way(runner: RecordingRunner, engine: FakeEngine | None = None, patience: Patience | None = None) -> Way:
    return Way(
        runner=runner,
        engine=engine or FakeEngine(),
        patience=patience or Patience(tries=1, sleep=lambda _seconds: None),
    )  # type: ignore[arg-type]


@pytest.fixture
def plan() -> Plan:
    return toy_plan(stage("base"), stage("image", "base"))


@pytest.mark.parametrize("name", ["registry.example", "registry.example:5000/team", "localhost/a/b_c"])
def test_repositories(name: str) -> None:
    check_repository(name, offline=False)


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("team", "names no registry", "registry.example/team"),
        ("team/images", "names no registry", "registry.example/team/images"),
        ("https://registry.example/team", "not a repository", "registry.example:5000/team"),
        ("registry.example/Team", "not a repository", ""),
        ("registry.example/team:tag", "not a repository", ""),
        ("registry.example/team/", "not a repository", ""),
        ("registry.example/te,am=x", "not a repository", ""),
    ],
)
def test_what_is_none(name: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_repository(name, offline=False)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_offline_pushes_nothing() -> None:
    with pytest.raises(UsageError, match="--offline"):
        check_repository("registry.example/team", offline=True)


def test_the_name_in_the_registry(plan: Plan) -> None:
    assert pushed_name("r.example/t", plan, Choices()) == "r.example/t/toy:plat-stock"
    assert pushed_name("r.example/t", plan, Choices(until="base")) == "r.example/t/toy:plat-stock-base"
    assert pushed_name("r.example/t", plan, Choices(tag="mine:1")) == "r.example/t/mine:1"


def test_an_exporter_stands_in_for_load(plan: Plan, tmp_path: Path) -> None:
    words = build_command(plan, Choices(), folder=tmp_path, output="type=image,name=x")
    assert words[words.index("--output") + 1] == "type=image,name=x"
    assert "--load" not in words
    assert "--tag" not in words
    assert "--load" in build_command(plan, Choices(), folder=tmp_path)


def test_the_engines_own_store_pushes_gzip_and_takes_the_name_away(plan: Plan) -> None:
    runner = RecordingRunner(answers={("docker", "push"): Result(0, f"x: digest: {DIGEST} size: 1".encode())})
    done = push(plan, "FROM scratch\n", Choices(), "r.example/t", way=way(runner))
    assert (done.digest, done.compression) == (DIGEST, "gzip")
    assert [words[:3] for words in runner.asked] == [
        ("docker", "tag", "drivebuild/toy:plat-stock"),
        ("docker", "push", "r.example/t/toy:plat-stock"),
        ("docker", "image", "rm"),
    ]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("denied: requested access to the resource is denied", "sign in: `docker login r.example`"),
        ("unauthorized: authentication required", "sign in: `docker login r.example`"),
        ("http: server gave HTTP response to HTTPS client", "insecure-registries"),
        ("x509: certificate signed by unknown authority", "/etc/docker/certs.d/r.example/ca.crt"),
        ("dial tcp: lookup r.example: no such host", "r.example cannot be reached from the engine"),
        ("toomanyrequests: slow down", "wait, and run the same command again"),
        ("received unexpected HTTP status: 500 Internal Server Error", "what has arrived is kept"),
        ("something new", ""),
    ],
)
def test_a_refusal_says_what_to_do(plan: Plan, said: str, hint: str) -> None:
    runner = RecordingRunner(answers={("docker", "push"): Result(1, b"", said.encode())})
    with pytest.raises(BuildError) as caught:
        push(plan, "FROM scratch\n", Choices(), "r.example/t", way=way(runner))
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert runner.asked[-1][:3] == ("docker", "image", "rm")


RECIPE = "ab" * 32
ASKED = Choices(asked=Asked(digests={"image": RECIPE}))


def config(layer: str = "sha256:1", architecture: str = "amd64") -> str:
    labels = {"drivebuild.recipe": RECIPE}
    return json.dumps({"architecture": architecture, "config": {"Labels": labels}, "rootfs": {"diff_ids": [layer]}})


def looked(digest: str, image: str) -> Result:
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    return Result(0, f'{{"manifest":{{"mediaType":"{kind}","digest":"{digest}"}},"image":{image}}}'.encode())


def pushing(second: Result) -> RecordingRunner:
    """Return a runner whose registry answers so for the tag with the recipe's hash."""
    answers = {
        ("docker", "push"): Result(0, f"x: digest: {DIGEST} size: 1".encode()),
        ("imagetools", f"r.example/t/toy:plat-stock-{RECIPE[:12]}"): second,
        ("imagetools", f"r.example/t/toy@{DIGEST}"): looked(DIGEST, config()),
    }
    return RecordingRunner(answers=answers)


NOT_FOUND = Result(1, b"", b"ERROR: r.example/t/toy:x: not found")


class Between(RecordingRunner):
    """A registry with nothing under the tag, until it was written: then this stands there."""

    stands: Result

    def run(self, argv: Argv, *, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Result:
        done = super().run(argv, stdin=stdin, env=env)
        if argv == ("docker", "push", SECOND):
            self.answers["imagetools", SECOND] = self.stands
        return done


SECOND = f"r.example/t/toy:plat-stock-{RECIPE[:12]}"


def between(stands: Result) -> Between:
    runner = Between(pushing(NOT_FOUND).answers)
    runner.stands = stands
    return runner


def test_the_recipes_own_tag_is_written_where_there_is_none(plan: Plan) -> None:
    runner = between(looked(DIGEST, config()))
    done = push(plan, "FROM scratch\n", ASKED, "r.example/t", way=way(runner))
    assert done.tags == ("r.example/t/toy:plat-stock", SECOND)
    assert ("docker", "push", SECOND) in runner.asked
    assert (done.recipe, done.architecture, done.kept, done.taken) == (RECIPE, "amd64", "", "")


def test_a_tag_that_another_push_got_in_the_same_moment_is_not_ours(plan: Plan) -> None:
    runner, waits = between(looked("sha256:rival", config("sha256:2"))), list[float]()
    patience = Patience(tries=1, sleep=waits.append)
    done = push(plan, "FROM scratch\n", ASKED, "r.example/t", way=way(runner, patience=patience))
    assert (done.tags, done.kept, done.taken) == (("r.example/t/toy:plat-stock",), "", "sha256:rival")
    # The other one has looked by then, and so it has written by the time of the second look.
    assert waits == [SETTLE]
    with pytest.raises(BuildError, match=f"its image stands: sha256:rival\n.*{DIGEST}") as caught:
        check_standing(own_tag(done.name, done.recipe), done.digest, done.taken)
    assert caught.value.message.startswith(f"{SECOND}: ")
    assert caught.value.exit_code == 6
    # The same image, packed otherwise by another machine, is no other.
    same = between(looked("sha256:zstd", config()))
    assert push(plan, "FROM scratch\n", ASKED, "r.example/t", way=way(same)).taken == ""


def test_a_tag_that_is_gone_again_is_no_success(plan: Plan) -> None:
    with pytest.raises(BuildError, match="has nothing there"):
        push(plan, "FROM scratch\n", ASKED, "r.example/t", way=way(between(NOT_FOUND)))


def test_and_stays_another_images(plan: Plan) -> None:
    runner = pushing(looked("sha256:old", config("sha256:2")))
    done = push(plan, "FROM scratch\n", ASKED, "r.example/t", way=way(runner))
    assert (done.tags, done.kept) == (("r.example/t/toy:plat-stock",), "sha256:old")
    again = between(looked(DIGEST, config()))
    done = push(plan, "FROM scratch\n", ASKED, "r.example/t", way=way(again), overwrite=True)
    assert (len(done.tags), done.kept) == (2, "")


def test_the_same_image_packed_otherwise_is_no_other(plan: Plan) -> None:
    runner = pushing(looked("sha256:zstd", config()))
    done = push(plan, "FROM scratch\n", ASKED, "r.example/t", way=way(runner))
    assert (len(done.tags), done.kept) == (2, "")
    assert [words[:2] for words in runner.asked].count(("docker", "push")) == 1


@pytest.mark.parametrize(
    "choices",
    [
        Choices(asked=ASKED.asked, sources=(LocalSource("src-x", Path("/x"), "a folder"),)),
        Choices(asked=ASKED.asked, arguments={"PYTHON_PROFILE_TASK": "x"}),
        Choices(asked=ASKED.asked, until="base"),
    ],
)
def test_what_is_not_the_recipes_has_no_such_tag_nor_label(plan: Plan, choices: Choices, tmp_path: Path) -> None:
    runner = pushing(Result(1, b"", b"ERROR: x: not found"))
    assert len(push(plan, "FROM scratch\n", choices, "r.example/t", way=way(runner)).tags) == 1
    assert "--label" not in build_command(plan, choices, folder=tmp_path)
    words = build_command(plan, ASKED, folder=tmp_path)
    assert words[words.index("--label") + 1] == f"drivebuild.recipe={RECIPE}"


def test_by_digest_the_engines_own_push_needs_a_tag_of_its_own(plan: Plan) -> None:
    runner = pushing(Result(1))
    done = push(plan, "FROM scratch\n", ASKED, "r.example/t", way=way(runner), by_digest=True)
    assert done.name == f"r.example/t/toy:plat-stock-{RECIPE[:12]}-amd64"
    assert push_target("r.example/t", plan, ASKED, alone=FakeEngine().facts()).name == done.name
    assert push_target("r.example/t", plan, ASKED).name == "r.example/t/toy:plat-stock"
    there = Builder(name="farm", driver="remote", architectures=("aarch64",))
    target = push_target("r.example/t", plan, replace(ASKED, builder=there), alone=FakeEngine().facts())
    assert target.name == "r.example/t/toy"


@pytest.mark.parametrize(
    ("tag", "recipe", "architecture", "expected"),
    [
        ("plat-stock", RECIPE, "amd64", f"plat-stock-{RECIPE[:12]}-amd64"),
        ("plat-stock-arm64", RECIPE, "arm64", f"plat-stock-arm64-{RECIPE[:12]}"),
        ("amd64", "", "amd64", "amd64"),
        ("amd64", RECIPE, "amd64", f"amd64-{RECIPE[:12]}"),
        ("v1-linux_arm64", "", "arm64", "v1-linux_arm64"),
        ("v1.x86_64", "", "amd64", "v1.x86_64"),
        ("v1-x86-64", "", "amd64", "v1-x86-64"),
        ("v1", "", "amd64", "v1-amd64"),
        # Another's, or no word of its own.
        ("v1-arm64", "", "amd64", "v1-arm64-amd64"),
        ("notamd64", "", "amd64", "notamd64-amd64"),
        (f"v1-{RECIPE[:12]}-amd64", RECIPE, "amd64", f"v1-{RECIPE[:12]}-amd64"),
    ],
)
def test_a_tag_of_one_recipe_and_architecture_says_each_once(
    tag: str, recipe: str, architecture: str, expected: str
) -> None:
    assert lone_tag(tag, recipe, architecture) == expected


def test_by_digest_a_tag_of_the_callers_that_says_the_architecture_stays_as_it_is(plan: Plan) -> None:
    choices = replace(ASKED, tag="team/x:amd64", asked=Asked())
    done = push(plan, "FROM scratch\n", choices, "r.example/t", way=way(pushing(Result(1))), by_digest=True)
    assert done.name == "r.example/t/team/x:amd64"


class Archives(RecordingRunner):
    """A runner whose exports say their digest, as BuildKit's metadata does."""

    def pipe(self, first: Argv, second: Argv, feed: Callable[[bytes], None], **more: Any) -> tuple[Result, Result]:
        Path(first[first.index("--metadata-file") + 1]).write_text(json.dumps({"containerimage.digest": DIGEST}))
        return super().pipe(first, second, feed, **more)


def test_fixed_times_go_through_an_archive_and_stay_the_recipes(plan: Plan) -> None:
    runner = Archives()
    through = way(runner, FakeEngine(containerd_store=True))
    done = push(plan, "FROM scratch\n", ASKED, "r.example/t", way=through, fixed_times=True, by_digest=True)
    assert (done.digest, done.fixed_times, done.recipe) == (DIGEST, True, RECIPE)
    export = next(words for words in runner.asked if words[:3] == ("docker", "buildx", "build"))
    output = export[export.index("--output") + 1]
    assert output.startswith(f"type=oci,dest=-,name={done.name},")
    assert output.endswith(",rewrite-timestamp=true")
    assert f"drivebuild.recipe={RECIPE}" in export
    assert {"SOURCE_DATE_EPOCH=1609459200", "--provenance=false"} < set(export)
    after = [("docker", "load", "--quiet"), ("docker", "push", done.name), ("docker", "image", "rm", done.name)]
    assert runner.asked[runner.asked.index(export) + 1 :] == after


def test_a_fault_that_passes_is_tried_again(plan: Plan) -> None:
    waits: list[float] = []
    runner = RecordingRunner(answers={("docker", "push"): Result(1, b"", b"received unexpected HTTP status: 503 x")})
    patience = Patience(tries=4, sleep=waits.append, chance=lambda: 0.5)
    with pytest.raises(BuildError, match="503"):
        push(plan, "FROM scratch\n", Choices(), "r.example/t", way=way(runner, patience=patience))
    assert waits == [2.0, 4.0, 8.0]


@pytest.mark.parametrize("place", ["type=registry,ref=r.example/t/cache:x", "type=local,dest=/x"])
def test_the_engines_own_store_exports_no_cache(place: str) -> None:
    with pytest.raises(UsageError, match="cannot export its cache") as caught:
        check_export(Choices(), (place,), FakeEngine().facts())
    assert "containerd-snapshotter" in caught.value.hint
    assert "--builder" in caught.value.hint
    check_export(Choices(builder=Builder(name="b", driver="remote")), (place,), FakeEngine().facts())
    check_export(Choices(), ("type=inline",), FakeEngine().facts())
