"""`image` without an engine: what a build is given, and the command to retry it with."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import msgspec
import pytest
from support.cli import drivebuild, recorded_builds, refused

from builder.cli.push import print_delivered
from builder.engine.build import Choices
from builder.engine.delivery import Delivered
from builder.engine.record import BuildRecord
from builder.plan.stage import Plan

STREAMPETR = ("image", "streampetr")
NAMES_A_BUNDLE = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CURL_CA_BUNDLE",
    "DRIVEBUILD_RECIPES",
    "DRIVEBUILD_CONFIG",
)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Plan, Choices]]:
    """Return the list that every build is put down in, instead of being run; each one fails."""
    found = recorded_builds(monkeypatch)
    for name in NAMES_A_BUNDLE:
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder whose name needs quotes, with what options name."""
    base = tmp_path / "my folder"
    for name in ("recipes", "more", "clone"):
        (base / name).mkdir(parents=True)
    for name in ("recipes", "more"):
        (base / name / "sources.yaml").write_text("sources: {}\n")
    (base / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    return base


def retried(words: tuple[str, ...], builds: list[tuple[Plan, Choices]]) -> tuple[str, ...]:
    """Return the words of the retry command, after having run it and compared what it builds."""
    refused(drivebuild(*words), 6)
    plan, choices = builds.pop()
    retry = shlex.split(choices.retry)
    assert retry[0] == "drivebuild"
    refused(drivebuild(*retry[1:], "--until", "torch"), 6)
    again, same = builds.pop()
    assert again == plan
    assert same.until == "torch"
    for name in ("jobs", "ca_bundle", "sources", "arguments", "proxies", "offline", "retry"):
        assert getattr(same, name) == getattr(choices, name), name
    assert (same.tag, same.no_cache) == ("", False)
    return tuple(retry[1:])


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--lto",),
        ("--platform", "debian-12-cpu", "--variant", "lto"),
        ("--option", "attention=upstream"),
        ("--jobs", "3"),
        ("--build-arg", "A=it's $HOME", "--build-arg", "B="),
        ("--pin", f"streampetr={'a' * 40}"),
        ("--store", "my store", "--offline", "--accept-cann-eula"),
        ("--lto", "--toolchain", "llvm-openeuler-22.03", "--accept-bisheng-eula"),
        # of the whole image, or of this one run
        ("--tag", "mine:1", "--no-cache", "--until", "mmcv"),
    ],
)
def test_the_retry_command_makes_the_same_choices(words: tuple[str, ...], builds: list[tuple[Plan, Choices]]) -> None:
    retried((*STREAMPETR, *words), builds)


def test_the_retry_command_names_files_and_folders_as_they_were_typed(
    folder: Path, builds: list[tuple[Plan, Choices]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    recipes = ("--recipes", "recipes", "--recipes", "../my folder/more")
    options = ("--jobs", "2", "--ca-bundle", "ca.pem", "--source", "mmcv-1.x=clone")
    assert retried((*recipes, *STREAMPETR, *options), builds) == (*recipes, *STREAMPETR, *options)


def test_the_retry_command_names_the_store_and_the_configuration(
    folder: Path, builds: list[tuple[Plan, Choices]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "site.yaml").write_text("upstream: true\n")
    words = ("--config", "site.yaml", *STREAMPETR, "--store", "a store", "--offline")
    assert retried(words, builds) == words


def test_folders_from_the_environment_are_in_the_retry_command(
    folder: Path, builds: list[tuple[Plan, Choices]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # whoever pastes the command may be in another shell
    monkeypatch.setenv("DRIVEBUILD_RECIPES", str(folder / "more"))
    refused(drivebuild(*STREAMPETR), 6)
    assert f"--recipes '{folder / 'more'}'" in builds[0][1].retry


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--push", "team"), "names no registry"),
        (("--by-digest",), "--by-digest is a word about --push"),
        (("--overwrite",), "--overwrite is a word about --push"),
        (("--fixed-times",), "--fixed-times is a word about --push"),
        (("--pushed", "x.json"), "--pushed is a word about --push"),
        (("--push", "r.example/t", "--pushed", "/no/such/folder/x"), "no place for a file"),
        (("--cache-to", "team"), "--cache-to team: names no registry"),
        (("--cache-from", "r.example/T:x"), "--cache-from 'r.example/T:x': no image in a registry"),
        (("--push", "r.example/t", "--offline", "--store", "/x"), "--offline allows none"),
    ],
)
def test_where_an_image_cannot_go(builds: list[tuple[Plan, Choices]], words: tuple[str, ...], said: str) -> None:
    assert said in refused(drivebuild(*STREAMPETR, *words), 2)
    assert builds == []


def test_a_dry_run_says_where_it_would_go(builds: list[tuple[Plan, Choices]]) -> None:
    result = drivebuild(*STREAMPETR, "--dry-run", "--push", "r.example/t")
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "then it is pushed to r.example/t/streampetr:cann-8.1.rc1-stock"
    assert builds == []


@pytest.mark.parametrize("as_json", [True, False])
def test_a_cache_that_became_less_is_never_silent(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    record = msgspec.convert(
        dict.fromkeys(("tag", "model", "platform", "variant", "target", "outcome", "when", "log"), "x")
        | {"seconds": 0, "stages": (), "command": ()},
        BuildRecord,
    )
    note = "cache b lacks 2 results of what was read"
    print_delivered(Delivered(record=record, caches=("a", "b"), notes=(("b", note),)), json=as_json)
    said = capsys.readouterr()
    assert said.err == f"warning: {note}\n"
    if as_json:
        events = [json.loads(line) for line in said.out.splitlines()]
        assert events == [{"event": "cached", "to": "a"}, {"event": "cached", "to": "b", "warning": note}]
    else:
        assert said.out == "cache   a\ncache   b\n"
