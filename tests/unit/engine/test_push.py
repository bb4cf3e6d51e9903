"""`--push` without a registry: what may be named, the commands, and what a refusal is told as."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.engine import FakeEngine, stage, toy_plan
from support.runner import RecordingRunner

from builder.engine.build import Choices, build_command
from builder.engine.process import Result
from builder.engine.push import check_repository, push, pushed_name
from builder.errors import BuildError, UsageError
from builder.plan.stage import Plan

DIGEST = f"sha256:{'0123456789abcdef' * 4}"


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
    done = push(plan, "FROM scratch\n", Choices(), "r.example/t", runner=runner, engine=FakeEngine())  # type: ignore[arg-type]
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
        push(plan, "FROM scratch\n", Choices(), "r.example/t", runner=runner, engine=FakeEngine())  # type: ignore[arg-type]
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert runner.asked[-1][:3] == ("docker", "image", "rm")
