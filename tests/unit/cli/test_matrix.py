"""The command `matrix`: filters, runners, forms, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.cli import drivebuild, refused

from builder.engine.record import BuildRecord, StageRecord
from builder.engine.timings import note_timings


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def printed(*words: str) -> Any:
    result = drivebuild("matrix", *words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def images(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = printed("--format", "json", *words)["images"]
    return found


# --- filters ---------------------------------------------------------------------------------------


def test_a_key_twice_is_either_and_two_keys_are_both() -> None:
    found = images("--filter", "model=tpv*", "--filter", "model=panoocc", "--filter", "variant=lto")
    assert {(row["model"], row["variant"]) for row in found} == {("tpvformer", "lto"), ("panoocc", "lto")}


def test_not_equal_leaves_out() -> None:
    found = images("--filter", "platform!=cann-*", "--filter", "variant!=lto*", "--filter", "variant!=pgo-instrument")
    assert {(row["platform"], row["variant"]) for row in found} == {("debian-12-cpu", "stock")}


@pytest.mark.parametrize("name", ["aarch64", "arm64"])
def test_architectures_have_two_names(name: str) -> None:
    assert {row["architecture"] for row in images("--filter", f"architecture={name}")} == {"aarch64"}


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("--filter", "model=tpvfromer"), "fits no image", "did you mean 'tpvformer'?"),
        (("--filter", "modle=x"), "there is no key 'modle'", "did you mean 'model'?"),
        (("--filter", "model"), "expected KEY=PATTERN", ""),
        (("--filter", "change=added"), "needs --since", ""),
        (("--format", "jsn"), "there is no 'jsn'", "did you mean 'json'?"),
        (("--format", "github", "--part", "share"), "there is no 'share'", "did you mean 'shared'?"),
        (("--part", "shared"), "are for --format github", ""),
        (("--format", "github", "--part", "shared", "--github-output", "x"), "leave --part out", ""),
        (("--gitlab-include", "x.yml"), "is for --format gitlab", ""),
        (("--runner", "x86_64"), "expected ARCH=LABEL", ""),
        (("--runner", "riscv=a"), "there is no architecture 'riscv'", ""),
        (("--format", "github", "--github-output", "no/such/file"), "No such file", ""),
    ],
)
def test_what_cannot_be_meant(words: tuple[str, ...], message: str, hint: str) -> None:
    output = refused(drivebuild("matrix", *words), 2)
    assert message in output
    assert hint in output


# --- what is there ---------------------------------------------------------------------------------


def test_what_a_person_must_bring_is_left_out_unless_asked_for() -> None:
    assert not [row for row in images() if row["needs"]]
    everything = {row["tag"]: row["needs"] for row in images("--all", "--filter", "model=streampetr")}
    assert everything["drivebuild/streampetr:debian-12-cpu-pgo"] == ["--profile"]
    assert everything["drivebuild/streampetr:cann-8.1.rc1-run-stock"] == ["--accept-cann-eula"]


def test_no_record_is_no_minutes_and_a_reason() -> None:
    rows = images("--filter", "model=tpvformer", "--filter", "platform=debian-12-cpu", "--filter", "variant=stock")
    assert [row["architecture"] for row in rows] == ["aarch64", "x86_64"]
    for row in rows:
        assert row["minutes"] is None
        assert row["no_minutes"] == f"no build of debian-12-cpu on {row['architecture']} is recorded here"
    said = drivebuild("matrix", "--filter", "platform=debian-12-cpu").output
    for row in rows:
        assert f"of them: {row['no_minutes']}\n" in said
    lines = drivebuild("matrix").output.splitlines()
    reasons = [line for line in lines if line.startswith("no minutes for ")]
    assert len(reasons) == 5
    (rest,) = (line for line in lines if line.startswith("and for "))
    every = printed("--format", "json")
    unknown = sum(row["no_minutes"] != "" for kind in ("images", "shared") for row in every[kind])
    assert sum(int(line.split()[3]) for line in reasons) + int(rest.split()[2]) == unknown


def test_one_is_not_called_many() -> None:
    filters = ("model=tpvformer", "platform=debian-12-cpu", "variant=stock", "architecture=x86_64")
    words = [word for each in filters for word in ("--filter", each)]
    assert "\n1 image of 1 tag, after 0 shared jobs\n" in drivebuild("matrix", *words).output


def test_minutes_are_those_of_past_builds() -> None:
    words = ("--filter", "model=tpvformer", "--filter", "platform=debian-12-cpu", "--filter", "variant=stock")
    names = json.loads(drivebuild("plan", "tpvformer", "--platform", "debian-12-cpu", "--json").stdout)["stages"]
    stages = tuple(StageRecord(name=stage["name"], state="done", seconds=6.0) for stage in names)
    note_timings(
        BuildRecord(
            tag="t",
            model="tpvformer",
            platform="debian-12-cpu",
            variant="stock",
            target="image",
            outcome="done",
            when="2026-01-01T00:00:00Z",
            seconds=1,
            stages=stages,
            command=(),
            log="",
            architecture="amd64",
        )
    )
    other, row = images(*words)
    assert (other["architecture"], other["minutes"]) == ("aarch64", None)
    assert row["minutes"] == row["minutes_alone"] == round(len(stages) * 6 / 60, 1)
    assert row["no_minutes"] == ""


# --- runners ---------------------------------------------------------------------------------------


def runners(*words: str) -> dict[str, Any]:
    found = printed("--format", "github", *words)["include"]
    return {row["architecture"]: row["runner"] for row in found}


def test_each_architecture_has_a_machine_of_its_own() -> None:
    assert runners() == {"x86_64": "ubuntu-24.04", "aarch64": "ubuntu-24.04-arm"}


def test_the_configuration_names_others_and_an_option_wins(tmp_path: Path) -> None:
    (tmp_path / "drivebuild.yaml").write_text("runners:\n  x86_64: big\n  aarch64: [self-hosted, arm64]\n")
    assert runners() == {"x86_64": "big", "aarch64": ["self-hosted", "arm64"]}
    assert "--runner: there is no architecture 'x86'" in refused(drivebuild("matrix", "--runner", "x86=a"), 2)
    assert runners("--runner", "x86_64=a,b", "--runner", "aarch64=c") == {"x86_64": ["a", "b"], "aarch64": "c"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runners: {x86-64: a}", "runners"),
        ("runners: {x86_64: []}", "runners.x86_64"),
        ('runners: {x86_64: "a b"}', "a label of a CI service's runners"),
        ("runners: [a]", "runners"),
    ],
)
def test_a_configuration_that_cannot_be_meant(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "drivebuild.yaml").write_text(text)
    assert message in refused(drivebuild("matrix"), 2)


# --- forms -----------------------------------------------------------------------------------------


def test_the_parts_for_github() -> None:
    found = {part: printed("--format", "github", "--part", part)["include"] for part in ("images", "shared", "merges")}
    assert {each["id"] for merge in found["merges"] for each in [merge]} == {
        row["id"].rsplit("-", 1)[0] for row in found["images"]
    }
    assert {job for row in found["images"] for job in row["shared"]} == {job["id"] for job in found["shared"]}


def test_the_outputs_are_appended(tmp_path: Path) -> None:
    file = tmp_path / "output"
    file.write_text("before=1\n")
    result = drivebuild("matrix", "--format", "github", "--github-output", str(file))
    assert (result.exit_code, result.output) == (0, "")
    lines = file.read_text().splitlines()
    assert lines[0] == "before=1"
    found = dict(line.split("=", 1) for line in lines[1:])
    assert json.loads(found["images"]) == printed("--format", "github")
    assert found["any"] == found["any-shared"] == "true"


def test_gitlab_has_its_own_runners() -> None:
    result = drivebuild("matrix", "--format", "gitlab", "--filter", "architecture=arm64")
    found = yaml.safe_load(result.stdout)
    assert {job["tags"][0] for name, job in found.items() if name.startswith("image: ")} == {"saas-linux-medium-arm64"}


def test_a_bake_file_of_what_is_not_kept_has_it_inside() -> None:
    words = ("--filter", "model=tpvformer", "--filter", "platform=debian-12-cpu", "--all", "--filter", "variant=lto*")
    targets = printed("--format", "bake", *words)["target"]
    assert "dockerfile-inline" not in targets["tpvformer-debian-12-cpu-lto"]
    assert targets["tpvformer-debian-12-cpu-lto-full"]["dockerfile-inline"].startswith("# NOTE")


def test_the_table_says_what_comes_first() -> None:
    lines = drivebuild("matrix", "--filter", "platform=debian-12-cpu").stdout.splitlines()
    assert lines[0].split() == ["FIRST", "ARCH", "RUNNER", "MINUTES", "STAGES"]
    assert "mmcv" in lines[1]
    assert any(line.startswith("drivebuild/streampetr:debian-12-cpu-stock  ") for line in lines)
