"""Records of builds that never were: what `image` leaves behind, without an engine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from builder.cli.building import template_digests
from builder.engine.command import Choices, default_tag, target_of
from builder.engine.folders import build_folder, make_folder
from builder.engine.forecast import forecast_of
from builder.engine.host import Image
from builder.engine.record import BuildRecord, StageRecord
from builder.engine.snapshot import Asked, remember
from builder.plan.stage import Plan
from builder.render.dockerfile import render_dockerfile
from builder.render.keys import stage_digests
from support.engine import FakeEngine

BASE = "localhost/drivebuild/base:debian-12"


def image_of(layer: str = "one") -> Image:
    """Return an image; another layer is another content."""
    digest = f"sha256:{hashlib.sha256(layer.encode()).hexdigest()}"
    return Image(id=digest, size=1, architecture="x86_64", config={"Env": ["PATH=/bin"]}, layers=(digest,))


def built(
    plan: Plan,
    templates: Mapping[str, str],
    choices: Choices = Choices(),  # noqa: B008  # frozen
    *,
    seconds: Mapping[str, float] | None = None,
    base: Image | None = None,
    cached: frozenset[str] = frozenset(),
) -> BuildRecord:
    """Leave what a build leaves behind in which every stage ran that is not `cached`."""
    from dataclasses import replace

    asked = Asked(digests=stage_digests(plan, templates), templates=template_digests(templates))
    choices = replace(choices, asked=asked)
    engine = FakeEngine({BASE: base or image_of()})
    text, target = render_dockerfile(plan, templates), target_of(plan, choices.until)
    forecast = forecast_of(text, choices, target, engine=engine, facts=engine.facts())  # type: ignore[arg-type]
    took = seconds or {}
    stages = tuple(
        StageRecord(
            name=name,
            state="done" if forecast.keys[name].works and name not in cached else "cached",
            seconds=took.get(name, 0.0),
        )
        for name in forecast.stages
    )
    record = BuildRecord(
        tag=choices.tag or default_tag(plan, choices.until),
        model=plan.model.name,
        platform=plan.platform.name,
        variant=plan.variant,
        target=target,
        outcome="done",
        when="2026-11-21T09:14:49Z",
        seconds=sum(took.values()),
        stages=stages,
        command=("docker",),
        log="/nowhere",
        image_id="sha256:1",
    )
    make_folder(build_folder(record.tag))
    return remember(record, forecast, plan=plan, dockerfile=text, choices=choices)
