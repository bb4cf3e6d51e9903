"""Rows, shared jobs and their forms: what CI services take, and that what several images need is built once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import yaml
from support.files import COMPONENT, model, texts, toy
from support.locks import with_locks

from builder.errors import UsageError
from builder.plan.make import make_plan
from builder.plan.stage import TARGETS, Plan, StageSpec
from builder.recipe.load import load
from builder.recipe.types import Catalog
from builder.render.keys import Digester
from builder.render.matrix import (
    Entry,
    Estimate,
    Row,
    Seconds,
    entries,
    estimates,
    existing,
    merges_of,
    needed_words,
    row_of,
)
from builder.render.matrixci import MOST_JOBS, bake_file, github_include, github_lines, gitlab_pipeline
from builder.render.sharedjobs import Shared, shared_jobs
from builder.render.tree import all_plans

RUNNERS = {"x86_64": "ubuntu-24.04", "aarch64": "ubuntu-24.04-arm"}


def nothing(_digest: str, _platform: str, _stage: str, _architecture: str) -> None:
    """Stand for a machine that has built nothing yet."""


def made(plans: Iterable[Plan], templates: dict[str, str]) -> list[Entry]:
    return list(entries(plans, Digester(templates)))


def shared_of(found: list[Entry], seconds: Any = nothing) -> dict[Any, Shared]:
    return shared_jobs(found, seconds=seconds, runner=RUNNERS.__getitem__)


def rows_of(found: list[Entry], seconds: Any = nothing) -> tuple[Row, ...]:
    shared = shared_of(found, seconds)
    return tuple(
        row_of(
            entry,
            runner=RUNNERS[entry.architecture],
            seconds=seconds,
            jobs=shared[entry.group].jobs,
            done=shared[entry.group].done,
        )
        for entry in found
    )


@pytest.fixture(scope="module")
def shipped(catalog: Catalog, templates: dict[str, str]) -> list[Entry]:
    return again(catalog, templates)


def again(catalog: Catalog, templates: dict[str, str]) -> list[Entry]:
    """Return the images that ask nothing of a person."""
    return made((plan for plan in existing(catalog) if not needed_words(plan)), templates)


# --- which images there are ------------------------------------------------------------------------


def alone(entry: Entry, seconds: Seconds) -> Estimate:
    return estimates(entry, seconds, frozenset())[0]


def test_every_committed_dockerfile_is_there_once_per_architecture(catalog: Catalog, templates: dict[str, str]) -> None:
    shipped = made(existing(catalog), templates)
    expected = [(plan.tag, architecture) for plan in all_plans(catalog) for architecture in plan.architectures]
    assert [(entry.plan.tag, entry.architecture) for entry in shipped] == expected
    assert len({entry.id for entry in shipped}) == len(shipped)


def test_elsewhere_adds_platforms_and_variants_and_repeats_nothing(catalog: Catalog) -> None:
    near, far = list(existing(catalog)), list(existing(catalog, elsewhere=True))
    tags = [plan.tag for plan in far]
    assert len(set(tags)) == len(tags)
    assert set(tags) > {plan.tag for plan in near}
    assert "drivebuild/streampetr:cann-8.1.rc1-ubuntu22.04-stock" in tags
    assert "drivebuild/tpvformer:debian-12-cpu-lto-full" in tags


def test_what_a_person_must_bring_is_named(catalog: Catalog) -> None:
    wants = {plan.flavour: needed_words(plan) for plan in existing(catalog, elsewhere=True)}
    assert wants["debian-12-cpu-stock"] == ()
    assert wants["debian-12-cpu-pgo"] == ("--profile",)
    assert wants["cann-8.1.rc1-run-stock"] == ("--accept-cann-eula",)


# --- estimates -------------------------------------------------------------------------------------


def known(seconds: dict[str, float], architecture: str = "x86_64") -> Any:
    def ask(_digest: str, _platform: str, stage: str, where: str) -> float | None:
        return seconds.get(stage) if where == architecture else None

    return ask


@pytest.fixture
def by_hand() -> Entry:
    """Return an image of four stages: one takes twenty minutes, one a minute, two take seconds."""
    plan = make_plan(with_locks(load(texts(toy()), {})), "toy")
    stages = (
        StageSpec(name="src", template="one", base="scratch"),
        StageSpec(name="wheel", template="one", base="scratch", uses=("src",), minutes=20),
        StageSpec(name="env", template="one", base="scratch", uses=("wheel",), minutes=1),
        StageSpec(name="image", template="one", base="env"),
    )
    digests = {stage.name: stage.name * 3 for stage in stages}
    return Entry(plan=replace(plan, stages=stages), architecture="x86_64", digests=digests)


def test_minutes_come_from_records(by_hand: Entry) -> None:
    found = alone(by_hand, known({"src": 6, "wheel": 600, "env": 30, "image": 0}))
    assert (found.minutes(), found.why_not(by_hand)) == (10.6, "")


def test_a_tenth_may_be_guessed_and_no_more(by_hand: Entry) -> None:
    assert alone(by_hand, known({"src": 6, "wheel": 600, "image": 0})).minutes() == 11.1
    found = alone(by_hand, known({"src": 6, "env": 30}))
    assert found.minutes() is None
    assert found.why_not(by_hand) == "no build of wheel on x86_64 is recorded here"


def test_nothing_recorded_is_no_estimate_and_says_so(by_hand: Entry) -> None:
    found = alone(by_hand, nothing)
    assert found.minutes() is None
    assert found.why_not(by_hand) == "no build of plat on x86_64 is recorded here"
    assert found.timeout() == 70, "three times the plan's rough 21 minutes"


def test_a_record_of_another_architecture_says_nothing(by_hand: Entry) -> None:
    times = {"src": 6.0, "wheel": 600.0, "env": 30.0, "image": 0.0}
    assert alone(replace(by_hand, architecture="aarch64"), known(times)).minutes() is None


def test_a_row_says_what_is_left_after_the_shared_jobs(by_hand: Entry) -> None:
    times = known({"src": 6, "wheel": 600, "env": 30, "image": 0})
    done = frozenset({by_hand.digests["src"], by_hand.digests["wheel"]})
    row = row_of(by_hand, runner="r", seconds=times, done=done)
    assert (row.minutes, row.minutes_alone, row.timeout) == (0.5, 10.6, 30)


# --- shared jobs -----------------------------------------------------------------------------------


def test_a_job_builds_each_stage_that_is_worth_it_once(shipped: list[Entry]) -> None:
    for (platform, architecture), shared in shared_of(shipped).items():
        members = [entry for entry in shipped if entry.group == (platform, architecture)]
        users: dict[str, int] = {}
        slow: dict[str, str] = {}
        for entry in members:
            for spec in entry.plan.stages:
                digest = entry.digests[spec.name]
                users[digest] = users.get(digest, 0) + 1
                if spec.minutes >= 2:
                    slow[digest] = spec.name
        several = {digest for digest in slow if users[digest] > 1}
        assert several <= shared.done, "what several need and takes minutes is built before them"
        digests = [build.digest for job in shared.jobs for build in job.builds]
        assert len(set(digests)) == len(digests)
        assert all(users[digest] > 1 for digest in digests), "nothing that one image alone needs"


def test_no_job_builds_what_another_build_of_it_has_below(shipped: list[Entry]) -> None:
    for shared in shared_of(shipped).values():
        for job in shared.jobs:
            for build in job.builds:
                entry = next(each for each in shipped if build.digest in each.digests.values())
                below = {entry.digests[name] for name in entry.plan.closure(build.stage)} - {build.digest}
                assert not below & {other.digest for other in job.builds}


def test_a_variant_has_a_job_of_its_own_where_it_repeats_little(shipped: list[Entry]) -> None:
    jobs = shared_of(shipped)["cann-8.1.rc1", "x86_64"].jobs
    assert [job.id for job in jobs] == ["shared-cann-8_1_rc1-amd64", "shared-cann-8_1_rc1-lto-amd64"]
    assert {build.stage for build in jobs[1].builds} == {"python-lto"}
    assert "python-lto" not in {build.stage for build in jobs[0].builds}


def test_one_image_shares_nothing(shipped: list[Entry]) -> None:
    assert shared_of(shipped[:1])[shipped[0].group].jobs == ()


def test_what_is_quick_is_not_worth_a_job(catalog: Catalog, templates: dict[str, str]) -> None:
    found = made((make_plan(catalog, name, platform="debian-12-cpu") for name in catalog.models), templates)

    def quick(_digest: str, _platform: str, _stage: str, _architecture: str) -> float:
        return 100.0

    assert shared_of(found, quick)["debian-12-cpu", "x86_64"].jobs == ()


def test_images_name_the_caches_of_what_they_stand_on(shipped: list[Entry]) -> None:
    shared = shared_of(shipped)
    for entry, row in zip(shipped, rows_of(shipped), strict=True):
        for job in shared[entry.group].jobs:
            assert (job.id in row.shared) == bool(set(row.cache_from) & {build.cache for build in job.builds})
            for build in job.builds:
                assert (build.cache in row.cache_from) == (entry.digests.get(build.stage) == build.digest)
                assert build.cache.endswith(build.digest[:12])
                assert build.arguments.endswith(f" --until {build.stage}")


def test_the_lines_of_a_job_are_its_builds(shipped: list[Entry]) -> None:
    for shared in shared_of(shipped).values():
        for job in shared.jobs:
            lines = [line.split("\t") for line in job.script.split("\n")]
            assert lines == [[build.arguments, build.cache, build.moving] for build in job.builds]


# --- what an edit moves ----------------------------------------------------------------------------


def moved(before: list[Entry], after: list[Entry]) -> dict[str, set[tuple[str, str]]]:
    """Return by stage the digests that are new, each with a platform that has it: what would be built, each once."""
    old = {digest for entry in before for digest in entry.digests.values()}
    found: dict[str, set[tuple[str, str]]] = {}
    for entry in after:
        for stage, digest in entry.digests.items():
            if digest not in old:
                found.setdefault(stage, set()).add((entry.plan.platform.name, digest))
    return found


def test_an_edit_to_one_model_builds_one_leaf_per_variant(
    catalog: Catalog, shipped: list[Entry], templates: dict[str, str]
) -> None:
    recipe = catalog.models["tpvformer"]
    edited = msgspec.structs.replace(recipe, environment={**recipe.environment, "EDITED": "1"})
    after = again(msgspec.structs.replace(catalog, models={**catalog.models, "tpvformer": edited}), templates)
    found = moved(shipped, after)
    mine = {(entry.plan.platform.name, entry.plan.variant) for entry in after if entry.plan.model.name == "tpvformer"}
    assert set(found) == {"manifest", "image"}
    assert len(found["image"]) == len(mine)
    changed = {entry.id for entry in after if entry.digests["image"] not in {old.digests["image"] for old in shipped}}
    assert changed == {entry.id for entry in after if entry.plan.model.name == "tpvformer"}


def test_an_edit_to_mmcvs_pin_builds_mmcv_once_per_platform_and_each_leaf_once(
    catalog: Catalog, shipped: list[Entry], templates: dict[str, str]
) -> None:
    versions = catalog.components["mmcv"].versions.values()
    pins = {name for origin in versions for name in (origin.npu, origin.cpu) if name}
    sources = {
        name: msgspec.structs.replace(source, **other_pin(source)) if name in pins else source
        for name, source in catalog.sources.items()
    }
    after = again(msgspec.structs.replace(catalog, sources=sources), templates)
    found = moved(shipped, after)
    usual = [entry for entry in after if entry.plan.variant in ("stock", "lto")]
    platforms = {entry.plan.platform.name for entry in usual}
    for stage in ("mmcv",):
        built = {digest for entry in usual for name, digest in entry.digests.items() if name == stage}
        by_platform = {name: {d for p, d in found[stage] if p == name and d in built} for name in platforms}
        assert {name: len(each) for name, each in by_platform.items()} == dict.fromkeys(platforms, 1)
    leaves = {(entry.plan.model.name, entry.plan.flavour) for entry in after}
    assert len({digest for _, digest in found["image"]}) == len(leaves), "every image, and each of them once"
    still = {"base", "build-base", "uv", "tools", "python-stock", "python-lto", "torch", "common", "mmdet", "tcmalloc"}
    assert not still & set(found)


def other_pin(source: Any) -> dict[str, str]:
    return {name: "f" * len(getattr(source, name)) for name in ("commit", "sha256") if getattr(source, name, None)}


# --- GitHub ----------------------------------------------------------------------------------------


def test_github_takes_an_object_with_include(shipped: list[Entry]) -> None:
    rows = rows_of(shipped)
    text = github_include(rows)
    assert "\n" not in text
    found = json.loads(text)
    assert list(found) == ["include"]
    assert [item["id"] for item in found["include"]] == [row.id for row in rows]
    assert {item["runner"] for item in found["include"] if item["architecture"] == "aarch64"} == {"ubuntu-24.04-arm"}
    assert len(text) < 1 << 20, "outputs of a job have a megabyte together"


def many(shipped: list[Entry], count: int) -> tuple[Row, ...]:
    rows = rows_of(shipped)
    return tuple(
        msgspec.structs.replace(rows[number % len(rows)], id=str(number), tag=f"a:{number // 2}")
        for number in range(count)
    )


def test_a_matrix_of_github_has_256_jobs_at_most(shipped: list[Entry]) -> None:
    assert len(json.loads(github_include(many(shipped, MOST_JOBS)))["include"]) == MOST_JOBS
    with pytest.raises(UsageError, match="256 jobs of a matrix at most, and these are 257") as error:
        github_include(many(shipped, MOST_JOBS + 1))
    assert "--page 1, --page 2" in error.value.hint


def test_pages_are_all_rows_each_once(shipped: list[Entry]) -> None:
    rows = many(shipped, 600)
    pages = [json.loads(github_include(rows, page=number))["include"] for number in (1, 2, 3)]
    assert [len(page) for page in pages] == [256, 256, 88]
    assert [item["id"] for page in pages for item in page] == [row.id for row in rows]
    with pytest.raises(UsageError, match="--page 4: there are 3"):
        github_include(rows, page=4)


def outputs(text: str) -> dict[str, str]:
    assert text.endswith("\n")
    return dict(line.split("=", 1) for line in text.rstrip("\n").split("\n"))


def test_the_outputs_of_a_job(shipped: list[Entry]) -> None:
    rows = rows_of(shipped)
    jobs = [job for shared in shared_of(shipped).values() for job in shared.jobs]
    found = outputs(github_lines(rows, jobs, merges_of(rows)))
    assert json.loads(found["images"]) == json.loads(github_include(rows))
    assert [item["id"] for item in json.loads(found["shared"])["include"]] == [job.id for job in jobs]
    assert (found["any"], found["any-shared"], found["any-merges"]) == ("true", "true", "true")
    assert (found["count"], json.loads(found["pages"])) == (str(len(rows)), [1])


def test_an_empty_matrix_is_told_before_github_refuses_it() -> None:
    found = outputs(github_lines((), (), ()))
    assert (found["any"], found["any-shared"], found["any-merges"]) == ("false", "false", "false")
    assert json.loads(found["images"]) == {"include": []}
    assert json.loads(found["pages"]) == []


def test_the_pages_of_the_outputs(shipped: list[Entry]) -> None:
    rows = many(shipped, 300)
    found = outputs(github_lines(rows, (), merges_of(rows), page=2))
    assert len(json.loads(found["images"])["include"]) == 44
    assert (found["any-merges"], json.loads(found["pages"])) == ("false", [1, 2])


# --- merges ----------------------------------------------------------------------------------------


def test_one_merge_for_each_tag(shipped: list[Entry]) -> None:
    rows = rows_of(shipped)
    found = merges_of(rows)
    assert [merge.id for merge in found] == list(dict.fromkeys(row.id.rsplit("-", 1)[0] for row in rows))
    assert [each for merge in found for each in merge.ids] == [row.id for row in rows]
    two = next(merge for merge in found if merge.model == "streampetr" and merge.tag == "cann-8.1.rc1-stock")
    assert set(two.targets) == {"amd64", "arm64"}


# --- GitLab ----------------------------------------------------------------------------------------


def pipeline(shipped: list[Entry], **choice: str) -> dict[str, Any]:
    rows = rows_of(shipped)
    jobs = [job for shared in shared_of(shipped).values() for job in shared.jobs]
    text = gitlab_pipeline(rows, jobs, merges_of(rows), **choice)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_a_child_pipeline_waits_for_what_it_needs(shipped: list[Entry]) -> None:
    found = pipeline(shipped)
    jobs = {name: job for name, job in found.items() if ": " in name}
    order = {stage: number for number, stage in enumerate(found["stages"])}
    assert len(jobs) > len(shipped)
    for job in jobs.values():
        assert job["extends"] in found
        for need in job["needs"]:
            assert order[jobs[need["job"]]["stage"]] < order[job["stage"]]
        assert all(isinstance(value, str) for value in job["variables"].values())
    image = jobs["image: streampetr cann-8.1.rc1 lto aarch64"]
    assert [need["job"] for need in image["needs"]] == [
        "shared: cann-8.1.rc1 aarch64",
        "shared: cann-8.1.rc1 lto aarch64",
    ]
    assert image["variables"]["DRIVEBUILD_ARGUMENTS"] == "streampetr --lto"
    assert image["variables"]["DRIVEBUILD_CACHE_FROM"].count("cann-8.1.rc1-arm64-") > 1


def test_the_hidden_jobs_may_be_a_file_of_the_repository(shipped: list[Entry]) -> None:
    found = pipeline(shipped, include="ci/jobs.yml")
    assert found["include"] == [{"local": "ci/jobs.yml"}]
    assert not [name for name in found if name.startswith(".")]


def test_an_empty_pipeline_has_a_job() -> None:
    found = yaml.safe_load(gitlab_pipeline((), (), ()))
    assert found["nothing to build"]["script"]


# --- bake ------------------------------------------------------------------------------------------


def test_a_bake_file_has_every_image_on_its_architectures(shipped: list[Entry]) -> None:
    rows = rows_of(shipped)
    jobs = [job for shared in shared_of(shipped).values() for job in shared.jobs]
    plans = list({entry.plan.tag: entry.plan for entry in shipped}.values())
    found = json.loads(bake_file(plans, rows, jobs, inline=lambda _plan: None))
    targets = found["target"]
    assert {name for group in found["group"].values() for name in group["targets"]} == set(targets)
    both = targets["streampetr-cann-8_1_rc1-stock"]
    assert sorted(both["platforms"]) == ["linux/amd64", "linux/arm64"]
    assert both["dockerfile"] == "streampetr/cann-8.1.rc1-stock/Dockerfile"
    assert len(found["group"]["default"]["targets"]) == len(plans)
    for name in found["group"]["shared"]["targets"]:
        assert targets[name]["target"]
        assert targets[name]["output"] == ["type=cacheonly"]
        assert targets[name]["platforms"][0].removeprefix("linux/") in TARGETS.values()


def test_a_dockerfile_that_is_not_kept_is_in_the_bake_file(shipped: list[Entry]) -> None:
    plan = shipped[0].plan
    rows = rows_of(shipped[:1])
    found = json.loads(bake_file([plan], rows, (), inline=lambda _plan: "FROM scratch\n"))
    assert [target["dockerfile-inline"] for target in found["target"].values()] == ["FROM scratch\n"]


def toys(templates: dict[str, str]) -> list[Entry]:
    files = toy() | {"components/ops.yaml": COMPONENT + "minutes: 20\n", "models/other.yaml": model("other")}
    return made(existing(with_locks(load(texts(files), {}))), templates)


def test_toys_of_two_models_share_what_takes_long(templates: dict[str, str]) -> None:
    """The same by hand: two models, one slow component, two variants, two architectures."""
    found = toys(templates)
    assert len(found) == 8
    common, lto = shared_of(found)["plat", "aarch64"].jobs
    assert (common.id, common.images) == ("shared-plat-arm64", 4)
    assert (lto.id, lto.images) == ("shared-plat-lto-arm64", 2)
    assert "ops" in {build.stage for build in common.builds}
    assert {build.stage for build in lto.builds} == {"python-lto"}


def test_a_variant_that_would_repeat_much_is_in_the_job_of_all(templates: dict[str, str]) -> None:
    """Where what lies below is more than half as long as what the variant adds, one machine does both."""
    times = {"build-base": 900.0, "python-lto": 1000.0, "ops": 900.0}
    (both,) = shared_of(toys(templates), known(times))["plat", "x86_64"].jobs
    assert {"ops", "python-lto"} <= {build.stage for build in both.builds}
    apart = shared_of(toys(templates), known({**times, "build-base": 400.0}))["plat", "x86_64"].jobs
    assert [job.id for job in apart] == ["shared-plat-amd64", "shared-plat-lto-amd64"]
