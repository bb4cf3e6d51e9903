"""A plan to one self-contained Dockerfile. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from builder.plan.stage import Plan, StageSpec
from builder.render.engine import render_template

__all__ = ["render_dockerfile", "render_stage"]

_BLANK_RUN = re.compile(r"\n{3,}")


def render_stage(stage: StageSpec, templates: Mapping[str, str]) -> str:
    """Return one stage's text. It depends on the StageSpec and on nothing else: that is what lets models share."""
    values = {"name": stage.name, "base": stage.base, **stage.inputs}
    return render_template(templates, f"stages/{stage.template}.j2", values)


def render_dockerfile(plan: Plan, templates: Mapping[str, str]) -> str:
    """Return the Dockerfile of a plan, with a newline at its end."""
    parts = [_header(plan, templates)]
    parts += [render_stage(stage, templates) for stage in plan.stages]
    return _BLANK_RUN.sub("\n\n", "\n\n".join(parts)) + "\n"


def _header(plan: Plan, templates: Mapping[str, str]) -> str:
    values = {
        "title": plan.model.title,
        "licence": plan.model.licence,
        "platform": plan.platform.title,
        "variant": plan.variant,
        "arguments": " ".join(plan.arguments),
        "tag": plan.tag,
        "dockerfile": plan.dockerfile,
        "bootstrap": plan.platform.base.bootstrap,
        "image": plan.platform.base.image,
    }
    return render_template(templates, "stages/header.j2", values)
