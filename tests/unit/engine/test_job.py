"""A run's compose project and its checks, on made-up hosts and resolved services."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.hosts import npu_host
from support.runner import RecordingRunner

from builder.engine.containers import FOLDER, RUN, Container
from builder.engine.job import DEVICES, Order, problems, start_command, tailored
from builder.engine.machine import Machine
from builder.engine.rundir import RunFolder
from builder.engine.site import find_site
from builder.errors import RunError, UsageError
from builder.plan.jobs import job_table
from builder.recipe.types import Catalog


def order(catalog: Catalog, **changes: Any) -> Order:
    model = catalog.models["panoocc"]
    job = next(job for job in model.jobs if job.name == "train-8p")
    known: dict[str, Any] = {
        "model": model,
        "job": job,
        "platform": catalog.platforms[model.platform],
        "variant": "stock",
        "image": "drivebuild/panoocc:cann-8.2.rc1-stock",
        "uid": os.getuid(),
        "gid": os.getgid(),
    }
    return Order(**{**known, **changes})


def config(folder: Path) -> dict[str, Any]:
    """A project as compose resolves it."""
    mounts = {"nuscenes": "/data/nuscenes", "prepared": "/data/prepared", "weights": "/data/weights", "runs": "/runs"}
    volumes = [{"type": "bind", "source": str(folder / name), "target": target} for name, target in mounts.items()]
    volumes.append({"type": "bind", "source": "/usr/local/dcmi", "target": "/usr/local/dcmi"})
    service = {
        "build": {"context": "/nowhere"},
        "image": "other",
        "environment": {"DRIVEBUILD_RUN": None, "CHECKPOINT": None},
        "devices": [{"source": f"/dev/davinci{number}", "target": f"/dev/davinci{number}"} for number in range(8)],
        "ulimits": {"nofile": {"soft": 65536, "hard": 65536}},
        "volumes": volumes,
    }
    return {"name": "site", "services": {"panoocc-train-8p": service, "panoocc-eval": {}}}


def made(catalog: Catalog, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    folder = RunFolder(tmp_path / "runs/panoocc/train-8p/20260101T000000Z")
    project = tailored(config(tmp_path), order(catalog, **changes), folder)
    assert list(project["services"]) == ["panoocc-train-8p"]
    service: dict[str, Any] = project["services"]["panoocc-train-8p"]
    return service


def test_the_project_of_a_run(catalog: Catalog, tmp_path: Path) -> None:
    service = made(catalog, tmp_path)
    assert service["image"] == "drivebuild/panoocc:cann-8.2.rc1-stock"
    assert service["user"] == f"{os.getuid()}:{os.getgid()}"
    assert service["environment"]["DRIVEBUILD_RUN"] == "20260101T000000Z"
    assert service["labels"][RUN] == "panoocc/train-8p/20260101T000000Z"
    assert service["labels"][DEVICES] == "0-7"
    assert Path(service["labels"][FOLDER]).is_absolute()
    assert service["devices"][:1] + service["devices"][-1:] == [
        "/dev/davinci0:/dev/davinci0",
        "/dev/hisi_hdc:/dev/hisi_hdc",
    ]
    assert "build" not in service
    assert "mem_limit" not in service


def test_devices_memory_limits_and_variables(catalog: Catalog, tmp_path: Path) -> None:
    service = made(
        catalog, tmp_path, devices=(2, 3), memory="8g", open_files=20000, environment={"API_TOKEN": "hunter2"}
    )
    assert [line.split(":")[0] for line in service["devices"][:2]] == ["/dev/davinci2", "/dev/davinci3"]
    assert service["environment"]["DRIVEBUILD_NPUS"] == "2"
    assert (service["mem_limit"], service["memswap_limit"]) == ("8g", "8g")
    assert service["ulimits"]["nofile"] == 20000
    # The value goes by the environment of compose.
    assert service["environment"]["API_TOKEN"] is None
    assert "hunter2" not in str(service)


def test_the_runtime_brings_the_devices(catalog: Catalog, tmp_path: Path) -> None:
    service = made(catalog, tmp_path, devices=(0, 1, 2, 5), runtime=True)
    assert service["environment"]["ASCEND_VISIBLE_DEVICES"] == "0-2,5"


def test_a_project_without_the_service(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no service"):
        tailored({"services": {}}, order(catalog), RunFolder(tmp_path))


def test_the_command_is_words(catalog: Catalog, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs/panoocc/train-8p/20260101T000000Z")
    site = find_site(tmp_path, {})
    command = start_command(order(catalog, args=("--lr", "a b; $(c)")), folder, site, folder.path / "compose.json")
    assert command[:2] == ("docker", "compose")
    assert command[-3:] == ("panoocc-train-8p", "--lr", "a b; $(c)")
    assert command[command.index("--name") + 1] == "drivebuild-panoocc-train-8p-20260101t000000z"


def site_with_all(catalog: Catalog, tmp_path: Path) -> dict[str, Any]:
    """Make every file that the job wants, and return its entry in the table of jobs."""
    wanted = order(catalog)
    needs: dict[str, Any] = job_table(wanted.model, wanted.platform, "stock", {})["jobs"]["train-8p"]
    (tmp_path / "runs").mkdir()
    for entry in (*needs["data"], *needs["weights"]):
        path = tmp_path / str(entry["path"]).removeprefix("/data/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.get("kind") == "folder":
            path.mkdir()
        else:
            path.write_bytes(b"x")
    return needs


def found(catalog: Catalog, tmp_path: Path, root: Path, needs: dict[str, Any], *others: Container) -> list[str]:
    wanted = order(catalog, host=root)
    service = config(tmp_path)["services"]["panoocc-train-8p"]
    return list(problems(wanted, service, needs, Machine(root, RecordingRunner()), others))


def test_nothing_is_missing(catalog: Catalog, tmp_path: Path) -> None:
    needs = site_with_all(catalog, tmp_path)
    assert found(catalog, tmp_path, npu_host(tmp_path / "host"), needs) == []


def test_everything_is_missing_and_all_is_said(catalog: Catalog, tmp_path: Path) -> None:
    needs = job_table(order(catalog).model, order(catalog).platform, "stock", {})["jobs"]["train-8p"]
    (tmp_path / "host").mkdir()
    lines = found(catalog, tmp_path, tmp_path / "host", needs)
    assert "no NPU or no driver" in lines[0]
    assert len(lines) == 4
    for name in ("nuscenes", "prepared", "weights"):
        assert any(f"{tmp_path / name} is not there" in line for line in lines)


def test_what_the_folders_lack(catalog: Catalog, tmp_path: Path) -> None:
    needs = site_with_all(catalog, tmp_path)
    (tmp_path / "nuscenes/maps").rmdir()
    (tmp_path / "prepared/nuscenes_infos_temporal_train.pkl").unlink()
    (tmp_path / "weights/r101_dcn_fcos3d_pretrain.pth").write_bytes(b"")
    text = "\n".join(found(catalog, tmp_path, npu_host(tmp_path / "host"), needs))
    assert "nuscenes lacks maps" in text
    assert "nuscenes_infos_temporal_train.pkl: the job prepare-data makes it" in text
    assert "weights lacks r101_dcn_fcos3d_pretrain.pth: https://" in text


def test_too_few_devices_an_old_driver_and_one_in_use(catalog: Catalog, tmp_path: Path) -> None:
    needs = site_with_all(catalog, tmp_path)
    other = Container(
        id="1",
        name="x",
        running=True,
        ended=False,
        exit_code=0,
        killed_for_memory=False,
        error="",
        labels={RUN: "flashocc/train-8p/20260101T000000Z"},
        devices=(1, 2, 9),
    )
    lines = found(catalog, tmp_path, npu_host(tmp_path / "host", count=4, driver="23.0.7"), needs, other)
    assert "/dev/davinci4" in lines[0]
    assert "there are davinci0-3" in lines[0]
    assert lines[1] == "the driver is 23.0.7: CANN 8.2.RC1 wants 24.1.RC2 or newer"
    assert lines[2].startswith("devices 1-2 in use by the run flashocc/train-8p/20260101T000000Z")


def test_the_site_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RUNS_ROOT=out # here\nNUSCENES_ROOT='/data/nu scenes'\nexport A=\"b\"\n")
    (tmp_path / "a/b").mkdir(parents=True)
    site = find_site(tmp_path / "a/b", {"A": "from outside"})
    assert site.folder == tmp_path
    assert site.runs == tmp_path / "out"
    assert site.variables["NUSCENES_ROOT"] == "/data/nu scenes"
    assert site.variables["A"] == "from outside"
    (tmp_path / ".env").write_bytes(b"\xff\xfe=x")
    with pytest.raises(UsageError, match=r"\.env"):
        find_site(tmp_path, {})
