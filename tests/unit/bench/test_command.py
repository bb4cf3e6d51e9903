"""The command around the suites: several in one report, one that fails among them, and the data that is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli import drivebuild, refused

from builder.bench.containers import Sample
from builder.bench.measure import comparisons, measure
from builder.bench.report import SuiteReport
from builder.cli import bench as command
from builder.cli import benchdata, benchsides
from builder.cli.main import Settings
from builder.errors import RunError, UsageError
from builder.plan.stage import Plan

WORDS = ("bench", "streampetr", "--platform", "debian-12-cpu", "--suite", "all", "--rounds", "2")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
    """Return which suites are measured with which sides; `ops` cannot be."""
    asked: list[tuple[str, tuple[str, ...]]] = []

    def one(_settings: Any, suite: Any, _plans: Any, sides: Any, _facts: Any, wish: Any) -> SuiteReport:
        asked.append((suite.name, tuple(side.name for side in sides)))
        if suite.name == "ops":
            raise RunError("no program could be measured\nnms: no torch")
        found = measure(
            sides, suite.programs[:2], wish.rounds, lambda *_: Sample(values={"p": 1.0}, version="3"), lambda *_: None
        )
        return SuiteReport(
            suite=suite.name,
            title=suite.title,
            subjects=sides,
            rounds=wish.rounds,
            cpu="1",
            clock=wish.clock,
            load=(0.0, 0.0),
            measured=found,
            compared=comparisons(found, sides[0].name),
        )

    monkeypatch.setattr(command, "_one", one)
    monkeypatch.setattr(benchsides, "image_facts", lambda *_: {})
    return asked


def test_all_goes_on_after_a_suite_that_cannot_be_measured(measured: list[Any]) -> None:
    said = refused(drivebuild(*WORDS, "--also", "debian=/usr/bin/python3"), 7)
    assert measured == [
        ("python", ("stock", "lto", "debian")),
        ("ops", ("stock", "lto")),
        ("dataloader", ("stock", "stock+tcmalloc", "lto", "lto+tcmalloc")),
    ]
    assert "suite python, 2 rounds" in said
    assert "suite dataloader, 2 rounds" in said
    assert "suite ops: not measured: no program could be measured" in said
    assert "error: not measured: ops" in said


def test_json_of_all_is_one_value_and_the_page_one_file(measured: list[Any], tmp_path: Path) -> None:
    result = drivebuild(*WORDS, "--json", "--html", str(tmp_path / "page.html"))
    assert result.exit_code == 7
    data = json.loads(result.stdout)
    assert [suite["suite"] for suite in data["suites"]] == ["python", "dataloader"]
    assert list(data["not_measured"]) == ["ops"]
    assert "Suite ops was not measured" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(measured) == 3


def test_one_suite_alone_fails_as_itself(measured: list[Any]) -> None:
    words = ("bench", "streampetr", "--platform", "debian-12-cpu", "--suite", "ops")
    assert "nms: no torch" in refused(drivebuild(*words), 7)
    assert len(measured) == 1


# --- data ----------------------------------------------------------------------------------------


@pytest.fixture
def plan() -> Plan:
    return Settings().plan("streampetr", platform="debian-12-cpu", variant="stock", options={})


def quiet(_text: str) -> None:
    """Say nothing."""


def test_the_users_folders_are_mounted_when_they_are_whole(plan: Plan, tmp_path: Path) -> None:
    data, prepared = tmp_path / "data", tmp_path / "prepared"
    with pytest.raises(UsageError, match="no such folder"):
        benchdata.data_folders(Settings(), plan, data=data, prepared=prepared, say=quiet)
    data.mkdir()
    with pytest.raises(UsageError, match=r"lacks .*infos_train\.pkl") as caught:
        benchdata.data_folders(Settings(), plan, data=data, prepared=prepared, say=quiet)
    assert caught.value.hint == f"NUSCENES_ROOT={data} PREPARED_ROOT={prepared} drivebuild data prepare streampetr"
    folder = prepared / "streampetr"
    folder.mkdir(parents=True)
    for entry in plan.model.data.entries:
        if entry.generated:
            (folder / entry.path).touch()
    mounts, said = benchdata.data_folders(Settings(), plan, data=data, prepared=prepared, say=quiet)
    assert mounts == ((data, "/data/nuscenes"), (folder, "/data/prepared"))
    assert said == str(data)


def test_an_invented_one_is_made_once_and_converted(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[tuple[Path, Path]] = []
    monkeypatch.setattr(benchdata, "_prepare", lambda _s, _p, root, prepared: asked.append((root, prepared)))
    monkeypatch.setattr(benchdata, "SCENES", 2)
    monkeypatch.setattr(benchdata, "SAMPLES", 2)
    said: list[str] = []
    first = benchdata.data_folders(Settings(), plan, data=None, prepared=None, say=said.append)
    assert first == benchdata.data_folders(Settings(), plan, data=None, prepared=None, say=said.append)
    assert said.count("making a small nuScenes") == 1
    (root, _), (prepared, _) = first[0]
    assert (root / "samples/CAM_FRONT").is_dir()
    assert asked == [(root, prepared.parent)] * 2
    assert "data synth" in first[1]
