"""Bases that drivebuild makes itself, before all jobs that build on them."""

from __future__ import annotations

import json

import pytest
import yaml

from builder.recipe.types import Catalog
from builder.render.keys import Digester
from builder.render.matrix import Row, entries, existing, merges_of, row_of
from builder.render.matrixbases import bases_of
from builder.render.matrixci import github_lines, gitlab_pipeline
from builder.render.sharedjobs import shared_jobs


@pytest.fixture(scope="module")
def rows(catalog: Catalog, templates: dict[str, str]) -> tuple[Row, ...]:
    found = entries((plan for plan in existing(catalog) if plan.model.name == "streampetr"), Digester(templates))
    return tuple(row_of(entry, runner=f"r-{entry.architecture}", seconds=lambda *_: None) for entry in found)


def test_platforms_of_one_base_have_one_job(rows: tuple[Row, ...], catalog: Catalog) -> None:
    own = {row.platform for row in rows if row.base}
    assert len(own) > 1
    assert own == {row.platform for row in rows if catalog.platforms[row.platform].base.bootstrap}
    found = bases_of(rows)
    assert [(base.id, base.base, base.base_ref, base.runner) for base in found] == [
        (f"base-debian-12-{target}", "localhost/drivebuild/base:debian-12", f"debian-12-{target}", f"r-{machine}")
        for target, machine in (("amd64", "x86_64"), ("arm64", "aarch64"))
    ]
    assert {base.platform for base in found} <= own


def test_what_comes_from_a_registry_has_none(rows: tuple[Row, ...]) -> None:
    npu = tuple(row for row in rows if row.platform == "cann-8.1.rc1")
    assert npu
    assert bases_of(npu) == ()
    lines = dict(line.split("=", 1) for line in github_lines(npu, (), ()).splitlines())
    assert lines["any-bases"] == "false"
    assert json.loads(lines["bases"]) == {"include": []}


def test_gitlabs_jobs_wait_for_their_base(catalog: Catalog, templates: dict[str, str], rows: tuple[Row, ...]) -> None:
    plans = (plan for plan in existing(catalog) if plan.platform.name == "debian-12-cpu")
    found = list(entries(plans, Digester(templates)))
    jobs = tuple(
        job for each in shared_jobs(found, seconds=lambda *_: None, runner=lambda _: "r").values() for job in each.jobs
    )
    cpu = tuple(row_of(entry, runner="r", seconds=lambda *_: None, jobs=jobs) for entry in found)
    pipeline = yaml.safe_load(gitlab_pipeline(cpu, jobs, merges_of(cpu)))
    assert pipeline["stages"][0] == "bases"
    waiting = {name: job for name, job in pipeline.items() if name.startswith(("shared: ", "image: "))}
    assert len(waiting) > len(cpu)
    for machine, target in (("x86_64", "amd64"), ("aarch64", "arm64")):
        base = pipeline[f"base: debian-12 {machine}"]
        assert base["variables"]["DRIVEBUILD_BASE_REF"] == f"debian-12-{target}"
        own = [job for name, job in waiting.items() if f" {machine}" in name]
        assert len(own) * 2 == len(waiting)
        for job in own:
            assert {"job": f"base: debian-12 {machine}"} in job["needs"]
            assert job["variables"]["DRIVEBUILD_BASE_ID"] == base["variables"]["DRIVEBUILD_BASE_ID"]
