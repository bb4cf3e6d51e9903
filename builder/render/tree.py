"""Every rendered file as {path: text}, and what differs from the files on disk. Pure: who reads and writes is
builder/source/tree.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from builder.plan.make import make_plan
from builder.plan.stage import Plan
from builder.recipe.types import Catalog
from builder.render.bake import render_bake
from builder.render.ci import render_ci
from builder.render.cibuilders import Ci
from builder.render.compose import render_compose_all
from builder.render.dockerfile import render_dockerfile
from builder.render.schema import render_schemas

__all__ = ["MARK", "OWN_FOLDERS", "Drift", "all_plans", "compare", "is_own", "render_tree"]

MARK = "RENDERED BY drivebuild"
OWN_FOLDERS = ("dockerfiles", "compose", "schemas")
"""Where rendered files lie; only marked files in these folders are ever removed."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Paths that differ between what is rendered and what is on disk."""

    missing: tuple[str, ...]
    stale: tuple[str, ...]
    surplus: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.stale or self.surplus)


def all_plans(catalog: Catalog) -> Iterator[Plan]:
    """Yield the plans whose output is committed: each model on its own platform, stand-ins, CPU platforms.

    The variants beyond `lto` are rendered for the models that say so.
    """
    laptops = [name for name, platform in catalog.platforms.items() if platform.accelerator == "cpu"]
    for model in catalog.models.values():
        twins = [name for name, platform in catalog.platforms.items() if platform.twin == model.platform]
        for platform in dict.fromkeys((model.platform, *twins, *laptops)):
            for variant in catalog.platforms[platform].variants:
                if model.render_all or variant in ("stock", "lto"):
                    yield make_plan(catalog, model.name, platform=platform, variant=variant)


def render_tree(catalog: Catalog, templates: Mapping[str, str], ci: Ci | None = None) -> dict[str, str]:
    """Return every committed file by its path; `ci` is what the site's workflows do otherwise than by default.

    Raises:
        PlanError: when a model cannot be planned.
    """
    plans = tuple(all_plans(catalog))
    tree = {plan.dockerfile: render_dockerfile(plan, templates) for plan in plans}
    tree["dockerfiles/docker-bake.json"] = render_bake(plans)
    tree |= render_compose_all(catalog, templates)
    tree |= render_schemas()
    tree |= render_ci(catalog, templates, ci)
    return dict(sorted(tree.items()))


def is_own(path: str, text: str) -> bool:
    """Return whether a file is one that drivebuild rendered and may remove."""
    return path.split("/", 1)[0] in OWN_FOLDERS and MARK in text[:400]


def compare(rendered: Mapping[str, str], on_disk: Mapping[str, str]) -> Drift:
    """Return what differs. A file on disk counts as surplus only when it is marked as drivebuild's own."""
    missing = tuple(path for path in rendered if path not in on_disk)
    stale = tuple(path for path, text in rendered.items() if path in on_disk and on_disk[path] != text)
    surplus = tuple(path for path, text in on_disk.items() if path not in rendered and is_own(path, text))
    return Drift(missing, stale, surplus)


def short_diff(path: str, old: str, new: str, *, lines: int = 20) -> str:
    """Return the first lines of a unified diff from what is on disk to what would be rendered."""
    diff = list(
        difflib.unified_diff(old.splitlines(), new.splitlines(), f"{path} (on disk)", f"{path} (rendered)", lineterm="")
    )
    rest = [f"… and {len(diff) - lines} more lines"] if len(diff) > lines else []
    return "\n".join([*diff[:lines], *rest])
