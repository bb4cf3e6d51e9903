"""The workflows as texts: what may stand in them, whoever reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from builder.recipe.types import Catalog
from builder.render.ci import ACTIONS, FILES, render_ci
from builder.render.cibuilders import Ci, CiBuilder, KubernetesBuilder, RemoteBuilder

GITHUB = tuple(path for path in FILES if path.startswith(".github/"))
IMAGES = ".github/workflows/images.yml"
NEVER_FOR_STRANGERS = "github.event_name != 'pull_request'"


@pytest.fixture(scope="module")
def rendered(catalog: Catalog, templates: dict[str, str]) -> dict[str, str]:
    return render_ci(catalog, templates)


@pytest.fixture(scope="module")
def workflows(rendered: dict[str, str]) -> dict[str, Any]:
    return {path: yaml.safe_load(rendered[path]) for path in GITHUB}


def jobs(workflows: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((f"{path}: {name}", job) for path, flow in workflows.items() for name, job in flow["jobs"].items())


def steps(workflows: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((f"{name}: {step['name']}", step) for name, job in jobs(workflows) for step in job["steps"])


def test_every_action_is_one_commit_with_its_version_beside_it(rendered: dict[str, str]) -> None:
    found = [line.strip() for path in GITHUB for line in rendered[path].splitlines() if "uses:" in line]
    assert len(found) > 10
    for line in found:
        assert re.fullmatch(r"(- )?uses: [a-z-]+/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    assert len({action.commit for action in ACTIONS.values()}) == len(ACTIONS)


def test_no_expression_stands_in_a_script(workflows: dict[str, Any]) -> None:
    scripts = [step["run"] for _, step in steps(workflows) if "run" in step]
    assert len(scripts) > 10
    assert not [text for text in scripts if "${{" in text]


def test_rights_are_given_job_by_job_and_every_job_ends(workflows: dict[str, Any]) -> None:
    for flow in workflows.values():
        assert flow["permissions"] == {}
    for name, job in jobs(workflows):
        assert job["permissions"], name
        assert job["timeout-minutes"], name
        writes = {key for key, value in job["permissions"].items() if value == "write"}
        assert writes <= {"packages"} or name.endswith("update.yml: open"), name


def test_no_token_stays_in_a_checkout(workflows: dict[str, Any]) -> None:
    checkouts = [step for _, step in steps(workflows) if "checkout" in step.get("uses", "")]
    assert len(checkouts) >= len(list(jobs(workflows)))
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_a_strangers_pull_request_gets_no_secret_and_no_machine_of_the_site(workflows: dict[str, Any]) -> None:
    flow = workflows[IMAGES]
    # YAML reads `on` as a truth.
    events = flow.get("on") or flow[True]
    assert "pull_request" in events
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(events)
    for name, job in flow["jobs"].items():
        text = yaml.safe_dump(job)
        if name in ("plan", "try"):
            assert "secrets." not in text
            assert set(job["permissions"].values()) == {"read"}
            assert "login-action" not in text
            own = [step for step in job["steps"] if "github.token" in yaml.safe_dump(step)]
            allowed = {"github.event_name == 'push'", NEVER_FOR_STRANGERS}
            assert {step["if"] for step in own} <= allowed
        else:
            assert NEVER_FOR_STRANGERS in job["if"], name
            assert job["environment"] == "images", name
    plan = next(step for step in flow["jobs"]["plan"]["steps"] if step.get("id") == "plan")
    assert plan["env"]["DRIVEBUILD_RUNNERS"].startswith("${{ " + NEVER_FOR_STRANGERS + " && ")
    assert flow["jobs"]["try"]["env"]["DRIVEBUILD_PUSH"] == "false"


def test_this_repositorys_token_goes_to_no_other_registry(workflows: dict[str, Any]) -> None:
    logins = [step for _, step in steps(workflows) if "login-action" in step.get("uses", "")]
    assert len(logins) == 4
    for step in logins:
        assert "needs.plan.outputs.host == 'ghcr.io' && github.token" in step["with"]["password"]


def test_what_resolves_packages_cannot_write_and_what_writes_runs_nothing_of_theirs(workflows: dict[str, Any]) -> None:
    flow = workflows[".github/workflows/update.yml"]["jobs"]
    assert flow["propose"]["permissions"] == {"contents": "read"}
    assert "github.token" not in yaml.safe_dump(flow["propose"])
    assert "pip install" not in yaml.safe_dump(flow["open"])
    assert "drivebuild lock" not in yaml.safe_dump(flow["open"])


def test_a_failure_of_one_image_ends_no_other(workflows: dict[str, Any]) -> None:
    matrices = [job for _, job in jobs(workflows) if "strategy" in job]
    assert len(matrices) == 5
    assert all(job["strategy"]["fail-fast"] is False for job in matrices)


def test_without_a_word_of_the_site_nothing_of_cann_is_built(workflows: dict[str, Any], catalog: Catalog) -> None:
    plan = next(step for step in workflows[IMAGES]["jobs"]["plan"]["steps"] if step.get("id") == "plan")
    named = re.findall(r"platform=([a-z0-9.-]+)", plan["env"]["DRIVEBUILD_FILTER"])
    assert named
    assert {catalog.platforms[name].accelerator for name in named} == {"cpu"}


def test_both_services_run_the_same_scripts(rendered: dict[str, str]) -> None:
    def scripts(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for one in value.values():
                yield from scripts(one)
        elif isinstance(value, list):
            for one in value:
                yield from scripts(one)
        elif isinstance(value, str) and "set -euo pipefail" in value:
            yield value

    github, gitlab = (
        {text for path in FILES if path.startswith(beginning) for text in scripts(yaml.safe_load(rendered[path]))}
        for beginning in (".github/", "ci/")
    )
    # All that build an image are; planning ends in another format, and there is more than one way to an engine.
    assert len(github & gitlab) >= 7


def test_a_site_without_cpu_platforms_has_no_filter_of_ours(catalog: Catalog, templates: dict[str, str]) -> None:
    from msgspec.structs import replace

    npu = {name: platform for name, platform in catalog.platforms.items() if platform.accelerator == "npu"}
    text = render_ci(replace(catalog, platforms=npu), templates)[IMAGES]
    assert "vars.DRIVEBUILD_FILTER || ''" in text


# --- builders elsewhere ----------------------------------------------------------------------------

JOBS = "ci/gitlab-jobs.yml"
REMOTE = RemoteBuilder(endpoint="tcp://buildkit.example:1234", servername="buildkit.internal")
PODS = KubernetesBuilder(options={"namespace": "build", "nodeselector": "a=b,c=d"}, config="ci/buildkitd.toml")


def built_by(catalog: Catalog, templates: dict[str, str], **builders: CiBuilder) -> dict[str, str]:
    return render_ci(catalog, templates, Ci(builders=dict(builders)))  # type: ignore[arg-type]


def test_a_builder_is_made_for_the_jobs_that_push_and_for_no_stranger(
    catalog: Catalog, templates: dict[str, str], rendered: dict[str, str]
) -> None:
    texts = built_by(catalog, templates, x86_64=REMOTE, aarch64=PODS)
    assert {path for path in texts if texts[path] != rendered[path]} == {IMAGES, JOBS}
    flow = yaml.safe_load(texts[IMAGES])
    for name, job in flow["jobs"].items():
        names = [step["name"] for step in job["steps"]]
        if name not in ("shared", "images"):
            assert "DRIVEBUILD_BUILDER" not in yaml.safe_dump(job), name
            continue
        assert job["env"]["DRIVEBUILD_BUILDER"].endswith("${{ matrix.id }}")
        assert names.index("Log in") < names.index("Builder") < names.index("Base image")
        assert names[-1] == "Forget the builder"
        assert job["steps"][-1]["if"] == "always()"
        made = job["steps"][names.index("Builder")]
        assert made["env"]["DRIVEBUILD_BUILDERS"].splitlines() == [
            "aarch64 kubernetes ci/buildkitd.toml namespace=build nodeselector=a=b,c=d",
            "x86_64 remote tcp://buildkit.example:1234 servername=buildkit.internal",
        ]
        # The keys are for this step, not for those that build.
        others = [step for step in job["steps"] if step is not made and "secrets.DRIVEBUILD_BUILDER" in str(step)]
        assert others == []
    gitlab = yaml.safe_load(texts[JOBS])
    for name in (".drivebuild-shared", ".drivebuild-image"):
        assert gitlab[name]["variables"]["DRIVEBUILD_BUILDERS"] == made["env"]["DRIVEBUILD_BUILDERS"]
        assert "buildx rm" in gitlab[name]["after_script"][0]
    (pushes,) = (text for text in gitlab[".drivebuild-image"]["script"] if "buildx create" in text)
    assert pushes.index('[ "$DRIVEBUILD_PUSH" = true ]') < pushes.index("buildx create")
    assert any("nothing is pushed from here" in text for text in gitlab[".drivebuild-shared"]["script"])


def test_a_workflow_asks_for_no_secret_that_its_builders_do_not_need(
    catalog: Catalog, templates: dict[str, str]
) -> None:
    remote = built_by(catalog, templates, x86_64=REMOTE)[IMAGES]
    pods = built_by(catalog, templates, x86_64=PODS)[IMAGES]
    assert "DRIVEBUILD_BUILDER_KUBECONFIG }}" not in remote
    assert "DRIVEBUILD_BUILDER_KEY }}" not in pods
