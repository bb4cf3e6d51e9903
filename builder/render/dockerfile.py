"""A plan to one self-contained Dockerfile. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from builder.plan.bootstrap import bootstrap_words, import_words
from builder.plan.stage import Plan, StageSpec
from builder.recipe.types import BaseImage
from builder.render.engine import render_template

__all__ = ["render_dockerfile", "render_header", "render_stage", "spaced"]

_BLANK_RUN = re.compile(r"\n{3,}")


def render_stage(stage: StageSpec, templates: Mapping[str, str]) -> str:
    """Return one stage's text. It depends on the StageSpec and on nothing else: that is what lets models share."""
    values = {"name": stage.name, "base": stage.base, **stage.inputs}
    return render_template(templates, f"stages/{stage.template}.j2", values)


def render_dockerfile(plan: Plan, templates: Mapping[str, str]) -> str:
    """Return the Dockerfile of a plan, with a newline at its end."""
    parts = [render_header(plan, templates)]
    parts += [render_stage(stage, templates) for stage in plan.stages]
    return "\n\n".join(map(spaced, parts)) + "\n"


def spaced(text: str) -> str:
    """Return a part of a Dockerfile with one blank line at most between lines, and none around them."""
    # Few have any: to look first takes a tenth of the time.
    return (_BLANK_RUN.sub("\n\n", text) if "\n\n\n" in text else text).strip("\n")


def _base_commands(base: BaseImage) -> str:
    """Return the line that makes the base image where no registry has it."""
    if base.bootstrap is None:
        return ""
    made, imported = bootstrap_words(base.bootstrap), import_words(base.bootstrap, "-", base.image)
    return f"{shlex.join(made)} | {shlex.join(imported)}"


def render_header(plan: Plan, templates: Mapping[str, str]) -> str:
    """Return the comment that a Dockerfile begins with."""
    values = {
        "title": plan.model.title,
        "licence": plan.model.licence,
        "platform": plan.platform.title,
        "variant": plan.variant,
        "arguments": " ".join(plan.arguments),
        "tag": plan.tag,
        "dockerfile": plan.dockerfile,
        "base_commands": _base_commands(plan.platform.base),
    }
    return render_template(templates, "stages/header.j2", values)
