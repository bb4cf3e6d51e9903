"""The stages of the model itself: environment, source tree, overlays and the image. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from builder.plan.allocator import ALLOCATORS
from builder.plan.common import below_env, own_packages
from builder.plan.compiled_by import said
from builder.plan.jobs import job_table, links, torch_home
from builder.plan.jsontext import json_text
from builder.plan.locks import merged
from builder.plan.manifest import MANIFEST
from builder.plan.scope import PYTHON_STOCK, Scope
from builder.plan.sdists import sdist_inputs
from builder.plan.sdists import wheels as locked_wheels
from builder.plan.sources import overrides, pin_of, used_sources
from builder.plan.stack import CANN
from builder.plan.stage import StageSpec
from builder.plan.steps import step_inputs
from builder.recipe.types import Copy, Model

__all__ = [
    "MODEL_PACKAGES",
    "env_stage",
    "image_stage",
    "overlay_stages",
    "tree_stage",
]

MODEL_PACKAGES = "packages-model"
# The program of a command, or of one inside `bash -c`; not the configurations it reads, which a smoke test reads, too.
_SCRIPT = re.compile(r"\b(?:bash|sh|python3?) (\S+\.(?:py|sh))(?=\s|\Z)")
VENV_SITE = "/opt/venv/lib/python{series}/site-packages"


def env_stage(scope: Scope) -> StageSpec:
    """Return the stage of the virtual environment: the model's own locked packages and all wheels."""
    cann = CANN if scope.cann_way == "stub" else ""
    allocators = ALLOCATORS if scope.tcmalloc else ""
    wheels = tuple(use.name for use in scope.uses if scope.template(use) == "wheel")
    python = PYTHON_STOCK if scope.variant == "stock" else "python-lto"
    packages = own_packages(scope)
    inputs: dict[str, Any] = {
        "python": python,
        # What is installed is the same for all variants, wheels are compiled against this one.
        "compiled_with": PYTHON_STOCK,
        "requirements": merged(locked_wheels(scope, packages), scope.platform.architectures),
        **sdist_inputs(scope, packages),
        "wheels": wheels,
        "distributions": tuple(scope.catalog.components[name].package for name in wheels),
        "allocators": allocators,
        "cann_home": scope.cann_home,
        "cann_stage": cann,
        "init": "tini" in scope.system.runtime,
    }
    archives = (item["stage"] for item in inputs["sdists"])
    uses = (
        python,
        PYTHON_STOCK,
        "uv",
        MODEL_PACKAGES,
        *archives,
        *wheels,
        *(stage for stage in (allocators, cann) if stage),
    )
    return StageSpec(name="env", template="env", base=below_env(scope), inputs=inputs, uses=uses, minutes=1)


def tree_stage(scope: Scope) -> StageSpec:
    """Return the stage of the model's own source, changed, with the trees it reads from."""
    model = scope.model
    trees = tuple(
        {
            "stage": f"{use.name}-source",
            "path": f"/build/{use.name}",
            "to": use.keep_tree,
            "note": f"Configs of the model read files of {use.name} from here.",
        }
        for use in scope.uses
        if use.keep_tree
    )
    inputs = {
        "title": f"{model.title}'s own source, patched.",
        "source": f"src-{model.tree.source}",
        "archive": "",
        "root": scope.workspace,
        "directory": model.tree.directory,
        "trees": trees,
        "links": tuple({"path": link.path, "target": link.target} for link in links(model)),
        **step_inputs(scope.tree_steps(), scope.catalog, patch_in=model.tree.directory, upstream=model.tree.source),
    }
    uses = (f"src-{model.tree.source}", "tools", *inputs["sources"], *(tree["stage"] for tree in trees))
    return StageSpec(name="tree", template="tree", base="build-base", inputs=inputs, uses=uses)


def overlay_stages(scope: Scope) -> Iterator[StageSpec]:
    """Yield a stage for each component in which the model changes Python files."""
    for component, steps in scope.overlay_steps().items():
        from_tree = any(isinstance(step, Copy) and not step.source for step in steps)
        upstream = next(scope.origin(use) for use in scope.uses if use.name == component)
        inputs = step_inputs(steps, scope.catalog, patch_in=".", upstream=upstream, own=f"{scope.workspace}/")
        inputs |= {
            "title": f"What {scope.model.title} changes in the Python files of {component}.",
            "wheel": component,
            # The stock Python, whatever the variant: byte code is the same for all of one version.
            "python": PYTHON_STOCK,
            "series": scope.series,
            "site_packages": VENV_SITE.format(series=scope.series),
            "tree": "tree" if from_tree else "",
        }
        yield StageSpec(
            name=f"overlay-{component}",
            template="overlay",
            base="build-base",
            inputs=inputs,
            uses=(component, "tools", PYTHON_STOCK, *inputs["sources"], *(("tree",) if from_tree else ())),
        )


def image_stage(scope: Scope, overlays: tuple[str, ...]) -> StageSpec:
    """Return the last stage; `overlays` are the names of the stages laid over the wheels."""
    model, platform = scope.model, scope.platform
    stub = scope.cann_way == "stub"
    table = job_table(model, platform, scope.variant, dict(scope.choice))
    # LLVM's OpenMP would bind threads where GNU's, which published wheels have, does not.
    openmp = {"OMP_PROC_BIND": "false"} if scope.frameworks else {}
    home = {"TORCH_HOME": torch_home(model)} if torch_home(model) else {}
    inputs = {
        "overlays": overlays,
        "tree": "tree",
        "site_packages": VENV_SITE.format(series=scope.series),
        "workspace": scope.workspace,
        "directory": model.tree.directory,
        "environment": dict(sorted({**openmp, **platform.environment, **model.environment, **home}.items())),
        "jobs": json_text(table),
        "labels": _labels(scope),
        "refused": _npu_commands(model) if stub else (),
        "twin": platform.twin,
    }
    uses = ("tree", MANIFEST, *overlays)
    return StageSpec(name="image", template="image", base="env", inputs=inputs, uses=uses)


def _npu_commands(model: Model) -> tuple[str, ...]:
    """Return the scripts of the jobs that want an NPU: what an image without CANN refuses to start."""
    commands = (" ".join(job.command) for job in model.jobs if job.npus)
    return tuple(sorted({script for command in commands for script in _SCRIPT.findall(command)}))


def _labels(scope: Scope) -> dict[str, str]:
    model, platform = scope.model, scope.platform
    labels = {
        "org.opencontainers.image.title": model.title,
        "org.opencontainers.image.licenses": model.licence,
        "drivebuild.model": model.name,
        "drivebuild.platform": platform.name,
        "drivebuild.variant": scope.variant,
        "drivebuild.readme": f"{model.readme.commit} {model.readme.path}",
        # Nobody has run this on an Ascend device on drivebuild's behalf: the label says so until somebody has.
        "drivebuild.verified-on-hardware": "no",
    }
    if platform.cann:
        labels |= {
            "drivebuild.cann": platform.cann.version,
            "drivebuild.cann.way": platform.cann.way,
            "drivebuild.runnable": "false" if platform.cann.way == "stub" else "true",
        }
    for use in (*scope.frameworks, *scope.uses, *scope.published):
        unverified = scope.catalog.components[use.name].versions[use.version].unverified
        if unverified:
            labels[f"drivebuild.unverified.{use.name}"] = unverified
    if scope.profile:
        labels["drivebuild.profile"] = f"sha256:{scope.profile}"
    labels |= {"drivebuild.toolchain": said(scope)} if said(scope) else {}
    labels |= {f"drivebuild.option.{name}": value for name, value in sorted(scope.choice.items())}
    for name in used_sources(scope):
        labels[f"drivebuild.source.{name}"] = pin_of(scope.catalog.sources[name])
    labels |= {f"drivebuild.override.{name}": commit for name, commit in overrides(scope).items()}
    return labels
