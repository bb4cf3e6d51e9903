"""The stages of the model itself: environment, source tree, overlays and the image. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from builder.plan.locks import added, merged
from builder.plan.scope import Scope
from builder.plan.stage import StageSpec
from builder.plan.steps import step_inputs
from builder.recipe.types import Copy, Model

__all__ = ["env_stage", "image_stage", "overlay_stages", "tree_stage"]

VENV_SITE = "/opt/venv/lib/python{series}/site-packages"


def env_stage(scope: Scope) -> StageSpec:
    """Return the stage of the virtual environment: the model's locked packages and all wheels."""
    framework, model = scope.framework_locks(), scope.model_locks()
    own = {architecture: added(lock, framework[architecture]) for architecture, lock in model.items()}
    wheels = tuple(use.name for use in scope.uses if scope.template(use) == "wheel")
    tcmalloc = next((use.name for use in scope.uses if scope.template(use) == "tcmalloc"), "")
    python = f"python-{scope.variant}"
    inputs = {
        "python": python,
        "requirements": merged(own, scope.platform.architectures),
        "wheels": wheels,
        "packages": tuple(scope.catalog.components[name].package for name in wheels),
        "tcmalloc_stage": tcmalloc,
        "preload": _preload(scope, tcmalloc),
        "cann_home": scope.cann_home,
        "init": "tini" in scope.system.runtime,
    }
    uses = (python, "uv", *wheels, *((tcmalloc,) if tcmalloc else ()))
    return StageSpec(name="env", template="env", base="torch", inputs=inputs, uses=uses, minutes=1)


def _preload(scope: Scope, tcmalloc_stage: str) -> dict[str, str]:
    """Return the file of tcmalloc by architecture ('' for all), or nothing for a model that does not want it."""
    if not scope.model.tcmalloc:
        return {}
    if tcmalloc_stage:
        return {"": "/opt/gperftools/lib/libtcmalloc.so.4"}
    return {str(architecture): path for architecture, path in scope.system.tcmalloc_library.items()}


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
        "outputs": _outputs(model),
        **step_inputs(scope.tree_steps(), patch_in=model.tree.directory),
    }
    uses = (f"src-{model.tree.source}", "tools", *inputs["sources"], *(tree["stage"] for tree in trees))
    return StageSpec(name="tree", template="tree", base="build-base", inputs=inputs, uses=uses)


def _outputs(model: Model) -> tuple[str, ...]:
    """Return the folders that jobs write: they exist in the image, so that a volume there belongs to its user."""
    return tuple(sorted({output for job in model.jobs for output in job.outputs}))


def overlay_stages(scope: Scope) -> Iterator[StageSpec]:
    """Yield a stage for each component in which the model changes Python files."""
    for component, steps in scope.overlay_steps().items():
        from_tree = any(isinstance(step, Copy) and not step.source for step in steps)
        inputs = step_inputs(steps, patch_in=".", own=f"{scope.workspace}/")
        inputs |= {
            "title": f"What {scope.model.title} changes in the Python files of {component}.",
            "wheel": component,
            "tree": "tree" if from_tree else "",
        }
        yield StageSpec(
            name=f"overlay-{component}",
            template="overlay",
            base="build-base",
            inputs=inputs,
            uses=(component, "tools", *inputs["sources"], *(("tree",) if from_tree else ())),
        )


def image_stage(scope: Scope, overlays: tuple[str, ...]) -> StageSpec:
    """Return the last stage; `overlays` are the names of the stages laid over the wheels."""
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
    labels |= {f"drivebuild.option.{name}": value for name, value in sorted(scope.choice.items())}
    inputs = {
        "overlays": overlays,
        "tree": "tree",
        "site_packages": VENV_SITE.format(series=scope.series),
        "workspace": scope.workspace,
        "directory": model.tree.directory,
        "environment": dict(sorted({**platform.environment, **model.environment}.items())),
        "labels": labels,
    }
    return StageSpec(name="image", template="image", base="env", inputs=inputs, uses=("tree", *overlays))
