"""The very text of the planning steps, run as the services run it; jobs find in the result what they ask for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.files import REPOSITORY

IMAGES = yaml.safe_load((REPOSITORY / ".github/workflows/images.yml").read_text())
PLAN = IMAGES["jobs"]["plan"]
TRIAL = "platform=debian-12-cpu variant=stock"
EVERYTHING = {"DRIVEBUILD_FILTER": "model=streampetr", "DRIVEBUILD_SINCE": "0" * 40, "DRIVEBUILD_RUNNERS": ""}


def shell(text: str, folder: Path, **env: str) -> None:
    """Run a step's text in the checkout."""
    program = folder / "bin/drivebuild"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m builder "$@"\n')
    program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DRIVEBUILD_", "GITHUB_"))}
    environment = {
        **kept,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": str(folder / "state"),
        "DRIVEBUILD_REGISTRY": "registry.example:5000/team",
        **env,
    }
    done = subprocess.run(
        ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text),
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def planned(folder: Path, **env: str) -> dict[str, str]:
    """Return the outputs of the workflow's planning step."""
    (step,) = (step for step in PLAN["steps"] if step.get("id") == "plan")
    output, summary = folder / "output", folder / "summary"
    output.unlink(missing_ok=True)
    shell(step["run"], folder, GITHUB_OUTPUT=str(output), GITHUB_STEP_SUMMARY=str(summary), **{**EVERYTHING, **env})
    lines = output.read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert len(found) == len(lines)
    assert summary.read_text().startswith("```\n")
    return found


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return planned(tmp_path_factory.mktemp("plan"))


def rows(outputs: dict[str, str], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(outputs[name])["include"]
    return found


def test_what_is_planned_is_what_is_handed_on(outputs: dict[str, str]) -> None:
    declared = {re.sub(r".*outputs\.([a-z-]+) }}", r"\1", text) for text in PLAN["outputs"].values()}
    assert declared == set(PLAN["outputs"]) <= set(outputs)
    used = set(
        re.findall(r"needs\.plan\.outputs\.([a-z-]+)", (REPOSITORY / ".github/workflows/images.yml").read_text())
    )
    assert used == declared
    assert outputs["host"] == "registry.example:5000"


@pytest.mark.parametrize("job", [name for name, job in IMAGES["jobs"].items() if "strategy" in job])
def test_a_job_finds_in_its_row_what_it_asks_for(job: str, outputs: dict[str, str]) -> None:
    definition = IMAGES["jobs"][job]
    name = re.fullmatch(r"\$\{\{ fromJSON\(needs\.plan\.outputs\.([a-z]+)\) \}\}", definition["strategy"]["matrix"])
    assert name
    found = rows(outputs, name[1])
    assert found
    asked = set(re.findall(r"matrix\.([a-z_]+)", yaml.safe_dump(definition)))
    assert {"name"} < asked
    for row in found:
        assert asked <= set(row), f"{job}: {asked - set(row)}"
    assert len({row["id"] for row in found}) == len(found)
    # Names of artifacts and files.
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", row["id"]) for row in found)


def test_jobs_find_each_others_artifacts(outputs: dict[str, str]) -> None:
    bases, shared, images = (rows(outputs, name) for name in ("bases", "shared", "images"))
    made = {row["id"] for row in bases}
    assert {row["base_id"] for row in (*shared, *images)} - {""} == made
    ids = {row["id"] for row in images}
    for row in rows(outputs, "merges"):
        assert set(row["ids"]) <= ids
        # The workflow takes the artifacts by the model's name.
        assert all(each.startswith(f"{row['model']}-") for each in row["ids"])
    caches = {line.split("\t")[1] for row in shared for line in row["script"].splitlines()}
    assert {cache for row in images for cache in row["cache_from"]} <= caches


def test_nothing_to_do_is_no_empty_matrix(tmp_path: Path) -> None:
    found = planned(tmp_path, DRIVEBUILD_FILTER="platform=debian-12-cpu model=streampetr", DRIVEBUILD_SINCE="HEAD")
    for name, flag in (("images", "any"), ("shared", "any-shared"), ("bases", "any-bases")):
        assert found[flag] == ("true" if rows(found, name) else "false")


def test_filters_and_runners_are_the_sites(tmp_path: Path) -> None:
    found = planned(
        tmp_path, DRIVEBUILD_FILTER=TRIAL, DRIVEBUILD_RUNNERS="x86_64=self-hosted,linux,x64 aarch64=big-arm"
    )
    images = rows(found, "images")
    assert {(row["platform"], row["variant"]) for row in images} == {("debian-12-cpu", "stock")}
    found_runners = {row["architecture"]: row["runner"] for row in images}
    assert found_runners == {"x86_64": ["self-hosted", "linux", "x64"], "aarch64": "big-arm"}


# --- GitLab --------------------------------------------------------------------------------------

JOBS = yaml.safe_load((REPOSITORY / "ci/gitlab-jobs.yml").read_text())


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the child pipeline that the planning job leaves."""
    main = yaml.safe_load((REPOSITORY / "ci/gitlab.yml").read_text())
    folder = tmp_path_factory.mktemp("gitlab")
    text = "\n".join(main["drivebuild-plan"]["script"])
    # Written beside the checkout's files on a runner; here it is not to be left there.
    text = text.replace("> drivebuild-child.yml", f"> {folder}/drivebuild-child.yml")
    shell(
        text,
        folder,
        CI_PIPELINE_SOURCE="push",
        **{**EVERYTHING, "DRIVEBUILD_JOBS": JOBS["variables"]["DRIVEBUILD_JOBS"]},
    )
    path = folder / "drivebuild-child.yml"
    here = Path(sys.executable).parent
    words = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", str(path))
    done = subprocess.run((str(here / "check-jsonschema"), *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def test_gitlabs_child_takes_its_jobs_from_the_file_that_is_there(child: dict[str, Any]) -> None:
    assert child["include"] == [{"local": "ci/gitlab-jobs.yml"}]
    jobs = {name: job for name, job in child.items() if isinstance(job, dict) and "extends" in job}
    assert {name.partition(":")[0] for name in jobs} == {"base", "shared", "image", "merge"}
    for job in jobs.values():
        assert job["extends"] in JOBS
        assert job["stage"] in child["stages"]
        assert all(need["job"] in jobs for need in job["needs"])


def test_gitlabs_scripts_are_given_every_variable_that_they_read(child: dict[str, Any]) -> None:
    # What a site sets, and what the scripts set themselves or look at before they use it.
    everywhere = {*JOBS["variables"], *JOBS[".drivebuild"]["variables"], "DRIVEBUILD_REGISTRY", "DRIVEBUILD_PUSH"}
    for name, job in child.items():
        if not (isinstance(job, dict) and "extends" in job):
            continue
        text = "\n".join(JOBS[job["extends"]]["script"])
        asked = set(re.findall(r"\$\{?(DRIVEBUILD_[A-Z_]+)(?![A-Z_]*:-)", text))
        given = everywhere | set(job["variables"])
        assert asked <= given, f"{name}: {asked - given}"
