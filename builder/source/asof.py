"""A script: what the recipes of a commit rendered by the program of that commit.

It is started with the tree of that commit first on the path, so that `builder` is the one of then: what a change of
drivebuild's own code does to the files is seen, too, and old recipes are read by the code that was made for them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def described(shipped: Path, templates: Path, extra: Iterable[Path], wanted: Iterable[str]) -> dict[str, Any]:
    """Return by key (`model platform variant`) the architectures, the recipe hash and a digest of the Dockerfile.

    Keys that do not exist are left out; those that are rendered by themselves are added.

    Raises:
        DrivebuildError: for recipes that cannot be read.
    """
    from builder import paths
    from builder.errors import PlanError
    from builder.plan.make import make_plan
    from builder.render.tree import all_plans
    from builder.source.catalog import read_catalog, read_templates

    # A drivebuild of any age reads these when it is called.
    paths.RECIPES, paths.TEMPLATES = shipped, templates
    catalog, texts = read_catalog(tuple(extra)), read_templates()
    found = {f"{plan.model.name} {plan.platform.name} {plan.variant}": plan for plan in all_plans(catalog)}
    for key in wanted:
        model, platform, variant = key.split(" ")
        try:
            found.setdefault(key, make_plan(catalog, model, platform=platform, variant=variant))
        except PlanError:
            continue
    return {key: _described(plan, texts) for key, plan in found.items()}


def _described(plan: Any, texts: Mapping[str, str]) -> dict[str, Any]:
    from builder.render.dockerfile import render_dockerfile

    try:
        from builder.render.keys import recipe_hash
    except ImportError:
        recipe = ""
    else:
        recipe = recipe_hash(plan, texts)
    return {
        "architectures": list(plan.architectures),
        "recipe": recipe,
        "file": hashlib.sha256(render_dockerfile(plan, texts).encode()).hexdigest(),
    }


def main(words: list[str]) -> None:
    """Print what a tree renders as JSON; words are the tree, the recipes, the templates and further recipes."""
    tree, shipped, templates, *extra = words
    sys.path.insert(0, tree)
    from builder import paths

    if not Path(paths.__file__).resolve().is_relative_to(Path(tree).resolve()):
        sys.exit("another drivebuild was imported than that of the commit")
    found = described(Path(shipped), Path(templates), map(Path, extra), json.load(sys.stdin))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
