"""All images as one link-free `docker-bake.json`. Pure.

No target refers to another: BuildKit merges equal stages by itself, and every Dockerfile stays one that can be
built alone (docs/architecture.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from builder.plan.stage import Plan

__all__ = ["bake_target", "render_bake", "target_name"]


def target_name(plan: Plan) -> str:
    """Return the bake target of a plan; bake takes letters, digits, '_' and '-' only."""
    return f"{plan.model.name}-{plan.flavour}".replace(".", "_")


def bake_target(plan: Plan) -> dict[str, Any]:
    """Return the target that builds a plan from its committed Dockerfile."""
    return {
        "context": "dockerfiles",
        "dockerfile": plan.dockerfile.removeprefix("dockerfiles/"),
        "tags": [plan.tag],
        "secret": ["type=env,id=ca-bundle,env=DRIVEBUILD_CA_BUNDLE"],
    }


def render_bake(plans: Sequence[Plan]) -> str:
    """Return the text of the bake file; groups: all images, and those of each platform and variant."""
    targets = {target_name(plan): bake_target(plan) for plan in plans}
    groups: dict[str, list[str]] = {"default": []}
    for plan in plans:
        groups["default"].append(target_name(plan))
        groups.setdefault(plan.flavour.replace(".", "_"), []).append(target_name(plan))
    data = {
        "group": {name: {"targets": members} for name, members in groups.items()},
        "target": targets,
    }
    return json.dumps(data, indent=2) + "\n"
