"""What `image` says of its forecast, before and after."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from support.engine import FakeEngine
from support.records import BASE, built, image_of

from builder.cli.buildview import forecast_line, foretold_line
from builder.engine.command import Choices
from builder.engine.forecast import forecast_of
from builder.engine.record import BuildRecord, Difference
from builder.plan.make import make_plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_dockerfile

PIN = {"streampetr": "a" * 40}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("BUILDX_BUILDER", raising=False)


def said(catalog: Catalog, templates: dict[str, str], pinned: dict[str, str]) -> str:
    plan = make_plan(catalog, "streampetr", platform="debian-12-cpu", pinned=pinned)
    engine, text = FakeEngine({BASE: image_of()}), render_dockerfile(plan, templates)
    forecast = forecast_of(text, Choices(), "image", engine=engine, facts=engine.facts())  # type: ignore[arg-type]
    return foretold_line(plan, Choices(), forecast)


def record(catalog: Catalog, templates: dict[str, str], seconds: dict[str, float]) -> BuildRecord:
    return built(make_plan(catalog, "streampetr", platform="debian-12-cpu"), templates, seconds=seconds)


def test_before(catalog: Catalog, templates: dict[str, str]) -> None:
    assert said(catalog, templates, {}) == "forecast: nothing is known of the builder's cache yet"
    record(catalog, templates, {"tree": 60.0})
    assert said(catalog, templates, {}).startswith("forecast: none of ")
    line = said(catalog, templates, PIN)
    assert "stages run, 1 min 0 s by past builds" in line
    assert ": src-streampetr, tree, overlay-mmcv," in line


def test_after(catalog: Catalog, templates: dict[str, str]) -> None:
    made = record(catalog, templates, {})
    assert forecast_line(made) == "none: nothing was known of the builder's cache"
    made = with_(made, predicted=(), executed=())
    assert forecast_line(made) == "nothing, and nothing ran"
    made = with_(made, predicted=("tree", "image"), executed=("tree", "image"))
    assert forecast_line(made) == "2 stages, and just those ran"
    one = Difference(stage="image", did="cached", reason="content", text="the same bytes")
    made = with_(made, executed=("tree",), differences=(one,))
    assert forecast_line(made) == "2 stages, 1 ran; image did not run: the same bytes"
    made = with_(made, differences=(one, one, one))
    assert forecast_line(made).endswith(", and 2 more")


def with_(made: BuildRecord, **changes: object) -> BuildRecord:
    return replace(made, **changes)
