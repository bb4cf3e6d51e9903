"""Compose files: one service for each job, only what it needs, nothing that gives a container more than that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from builder.plan.jobs import DATA, DEVICES, PREPARED, RUNS, WEIGHTS, job_kind, offered
from builder.recipe.types import Catalog
from builder.render.compose import COMPOSE_SETS, render_compose_all

Services = dict[tuple[str, str, str], dict[str, Any]]
"""Services by set, model and job."""


@pytest.fixture(scope="module")
def files(catalog: Catalog, templates: dict[str, str]) -> dict[str, Any]:
    return {path: yaml.safe_load(text) for path, text in render_compose_all(catalog, templates).items()}


@pytest.fixture(scope="module")
def services(catalog: Catalog, files: dict[str, Any]) -> Services:
    return {
        (kind.name, model, name[len(model) + 1 :]): service
        for kind in COMPOSE_SETS
        for model in catalog.models
        for name, service in files[f"{kind.folder}/{model}.yaml"]["services"].items()
    }


def mounts(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["target"]: mount for mount in service["volumes"]}


def with_npus(services: Services, catalog: Catalog) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for (kind, model, name), service in services.items():
        npus = next(job.npus for job in catalog.models[model].jobs if job.name == name)
        yield kind, 0 if kind == "cpu" else npus, service


def test_every_job_that_makes_sense_has_a_service(catalog: Catalog, services: Services) -> None:
    for model in catalog.models.values():
        for kind in COMPOSE_SETS:
            platform = catalog.platforms["debian-12-cpu" if kind.name == "cpu" else model.platform]
            wanted = {job.name for job in offered(model, platform)}
            assert {job for k, m, job in services if (k, m) == (kind.name, model.name)} == wanted
    named = {(model, job) for kind, model, job in services if kind == "npu"}
    every = {"train-8p", "train-8p-performance", "eval", "shell", "smoke"}
    assert {(model, job) for model in catalog.models for job in every} <= named
    assert ("tpvformer", "train-1p") in named
    assert {model for model, job in named if job == "prepare-data"} == set(catalog.models) - {"tpvformer"}
    assert not any(kind == "cpu" and job.startswith("train") for kind, _, job in services)


def test_the_roots_include_all_files_from_the_same_folder(files: dict[str, Any]) -> None:
    for kind in COMPOSE_SETS:
        included = files[kind.root]["include"]
        assert {item["project_directory"] for item in included} == {"."}
        assert {item["path"] for item in included} == {
            path for path in files if re.fullmatch(f"{kind.folder}/[^/]+", path)
        }


def test_nothing_has_more_rights_than_it_needs(services: Services) -> None:
    for service in services.values():
        assert not {"privileged", "network_mode", "cap_add", "security_opt", "pid", "ipc"} & service.keys()
        assert service["user"] == "${DRIVEBUILD_UID:-1000}:${DRIVEBUILD_GID:-1000}"
        assert service["group_add"] == ["1000"]
        assert (service["init"], service["pull_policy"]) == (True, "never")


def test_devices_and_driver_are_for_those_who_want_npus(services: Services, catalog: Catalog) -> None:
    for kind, npus, service in with_npus(services, catalog):
        devices = [*(f"/dev/davinci{number}" for number in range(npus)), *(f"/dev/{name}" for name in DEVICES)]
        assert service.get("devices", []) == (devices if npus and kind == "npu" else [])
        assert ("/usr/local/Ascend/driver" in mounts(service)) == bool(npus and kind == "npu")
        assert service.get("runtime") == ("ascend" if npus and kind == "ascend" else None)
        visible = service["environment"].get("ASCEND_VISIBLE_DEVICES")
        first = f"0-{npus - 1}" if npus > 1 else "0"
        assert visible == (f"${{ASCEND_VISIBLE_DEVICES:-{first}}}" if npus and kind == "ascend" else None)
        assert ("ulimits" in service) == bool(npus)


def test_a_missing_folder_is_an_error(services: Services) -> None:
    for service in services.values():
        for mount in service["volumes"]:
            assert mount["type"] == "volume" or mount["bind"] == {"create_host_path": False}


def test_who_reads_and_who_writes(services: Services, catalog: Catalog) -> None:
    for (kind, model, name), service in services.items():
        job = job_kind(next(job for job in catalog.models[model].jobs if job.name == name))
        found = mounts(service)
        reads = job in ("train", "eval", "prepare") or (job == "shell" and kind != "cpu")
        assert (DATA in found) == (PREPARED in found) == reads
        assert (WEIGHTS in found) == (reads and job != "prepare")
        assert RUNS in found
        writable = {
            target for target, mount in found.items() if mount["type"] == "bind" and not mount.get("read_only", False)
        }
        assert writable == ({RUNS, PREPARED} if job == "prepare" else {RUNS})


def test_an_unset_folder_says_so_where_it_is_needed_and_nowhere_else(services: Services) -> None:
    for (_, model, name), service in services.items():
        text = yaml.safe_dump(service)
        # `${NAME:?}` stops every service of every file, the smoke test too.
        assert ":?" not in text
        found = mounts(service)
        if DATA in found:
            assert found[DATA]["source"] == (
                "${NUSCENES_ROOT:-/NUSCENES_ROOT is not set: copy .env.example to .env and fill it in}"
            )
            assert found[PREPARED]["source"].endswith(f"}}/{model}")
        if name == "smoke":
            assert set(re.findall(r"\$\{(\w+_ROOT)", text)) == {"RUNS_ROOT"}


def test_arguments_after_the_service_are_the_jobs(services: Services) -> None:
    for (_, _, name), service in services.items():
        assert service["entrypoint"] == ["/opt/drivebuild/entrypoint", "drivebuild-job", name]
        assert "command" not in service


def test_there_is_time_to_stop_in_order(services: Services) -> None:
    """Longer than drivebuild-job's own patience: or the engine kills it before it has written the result."""
    for service in services.values():
        assert (service["stop_signal"], service["stop_grace_period"]) == ("SIGTERM", "60s")


def test_the_images_are_those_of_the_platforms(services: Services, catalog: Catalog) -> None:
    for (kind, model, _), service in services.items():
        platform = "debian-12-cpu" if kind == "cpu" else catalog.models[model].platform
        assert service["image"] == f"drivebuild/{model}:{platform}-${{DRIVEBUILD_VARIANT:-stock}}"
        words = f"{model} --platform {platform}" if kind == "cpu" else model
        assert service["build"] == {"context": f"the image is missing, make it with: drivebuild image {words}"}
