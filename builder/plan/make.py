"""(catalog, model, platform, variant, options) to a Plan. Pure.

Each function below makes the stages of one kind and gives every stage exactly what its template may see.
What is particular to a model enters only `env` (its locked dependencies and wheels), `tree`, `overlay-*`,
`image` and the components it changes; all other stages are byte-equal between models of one platform.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from builder.errors import PlanError
from builder.plan.locks import FRAMEWORK, Pinned, added, lock_path, merged, parse_lock
from builder.plan.order import in_order
from builder.plan.select import choices, chosen
from builder.plan.stage import Plan, StageSpec
from builder.recipe.suggest import one_of
from builder.recipe.types import (
    ArchiveSource,
    Catalog,
    Component,
    ComponentUse,
    Copy,
    DebianSource,
    Edit,
    GitSource,
    IndexSource,
    Model,
    Patch,
    Platform,
    Source,
    Step,
    System,
    Variant,
)

__all__ = ["known", "make_plan"]

PYTHON_STOCK = "python-stock"
TCMALLOC = "tcmalloc"
VENV_SITE = "/opt/venv/lib/python{series}/site-packages"


@dataclass(frozen=True, slots=True)
class _Scope:
    """What one plan is about, and what applies to it."""

    catalog: Catalog
    model: Model
    platform: Platform
    system: System
    variant: Variant
    choice: Mapping[str, str]
    uses: tuple[ComponentUse, ...]

    @property
    def accelerator(self) -> str:
        return self.platform.accelerator

    @property
    def series(self) -> str:
        return ".".join(self.platform.python.version.split(".")[:2])

    @property
    def cann_home(self) -> str:
        return self.platform.cann.home if self.platform.cann else ""

    @property
    def workspace(self) -> str:
        return f"/workspace/{self.model.name}"


def make_plan(
    catalog: Catalog,
    model: str,
    *,
    platform: str = "",
    variant: str = "stock",
    architecture: str = "",
    options: Mapping[str, str] | None = None,
) -> Plan:
    """Return the stages of one image, each after all it depends on.

    Raises:
        PlanError: for a model, platform, variant, architecture or option that does not exist, for a lock that is
            missing, and for stages that need each other in a circle (the message spells the circle).
    """
    recipe = known(catalog.models, model, "model")
    wanted = platform or recipe.platform
    base = known(catalog.platforms, wanted, "platform")
    if variant not in base.variants:
        raise PlanError(f"{wanted} has no variant {variant!r}", hint=one_of(variant, base.variants))
    if architecture and architecture not in base.architectures:
        raise _no_architecture(catalog, base, architecture)
    choice = choices(recipe, options or {})
    scope = _Scope(
        catalog=catalog,
        model=recipe,
        platform=base,
        system=catalog.systems[base.system],
        variant=variant,  # type: ignore[arg-type]  # checked against the platform's variants above
        choice=choice,
        uses=_uses(catalog, recipe, base, choice),
    )
    stages = {stage.name: stage for stage in _stages(scope)}
    order = in_order({name: (stage.base, *stage.uses) for name, stage in stages.items()})
    plan = Plan(
        model=recipe,
        platform=base,
        variant=scope.variant,
        options={key: value for key, value in (options or {}).items() if value != _default(recipe, key)},
        stages=tuple(stages[name] for name in order),
    )
    needed = plan.closure("image")
    return Plan(
        model=recipe,
        platform=base,
        variant=scope.variant,
        options=plan.options,
        stages=tuple(stage for stage in plan.stages if stage.name in needed),
    )


def _default(model: Model, name: str) -> str:
    return next(option.default for option in model.options if option.name == name)


def _no_architecture(catalog: Catalog, platform: Platform, architecture: str) -> PlanError:
    others = [name for name, item in catalog.platforms.items() if architecture in item.architectures]
    hint = (
        f"{platform.name} is for {', '.join(platform.architectures)}; for {architecture}: {', '.join(others) or 'none'}"
    )
    return PlanError(
        f"{platform.name} does not exist for {architecture}: {platform.note or 'no wheels there'}", hint=hint
    )


def known(items: Mapping[str, Any], name: str, what: str) -> Any:
    """Return `items[name]`.

    Raises:
        PlanError: with the nearest name, when there is none of that name.
    """
    if name not in items:
        raise PlanError(f"there is no {what} {name!r}", hint=one_of(name, items))
    return items[name]


def _uses(catalog: Catalog, model: Model, platform: Platform, choice: Mapping[str, str]) -> tuple[ComponentUse, ...]:
    """Return the components of the model that exist on the platform.

    A component whose version has no origin for the accelerator is left out: that is what the recipe says by
    leaving the origin out (detectron2 on a platform without a git host, mx_driving without an NPU).
    """
    found = []
    for use in chosen(model.components, platform.accelerator, choice):
        if _origin(catalog, platform, use):
            found.append(use)
    if model.tcmalloc and not catalog.systems[platform.system].tcmalloc:
        version = next(iter(catalog.components[TCMALLOC].versions))
        found.append(ComponentUse(name=TCMALLOC, version=version))
    return tuple(found)


def _origin(catalog: Catalog, platform: Platform, use: ComponentUse) -> str:
    if use.source:
        return use.source
    version = catalog.components[use.name].versions[use.version]
    return getattr(version, platform.accelerator) or ""


def _stages(scope: _Scope) -> Iterable[StageSpec]:
    yield from _system_stages(scope)
    yield from _source_stages(scope)
    yield _python_stage(scope, "stock")
    if scope.variant != "stock":
        yield _python_stage(scope, scope.variant)
    yield _torch_stage(scope)
    for use in scope.uses:
        yield from _component_stages(scope, use)
    yield _env_stage(scope)
    yield _tree_stage(scope)
    yield from _overlay_stages(scope)
    yield _image_stage(scope)


# --- the system ----------------------------------------------------------------------------------


def _system_stages(scope: _Scope) -> Iterable[StageSpec]:
    system, base = scope.system, scope.platform.base
    image = f"{base.image}@{base.digest}" if base.digest else base.image
    runtime = (*system.runtime, *system.tcmalloc)
    inputs: dict[str, Any] = {"manager": system.manager, "packages": runtime, "npu": bool(scope.cann_home)}
    yield StageSpec(name="base", template="base", base=image, inputs=inputs, minutes=1)
    inputs = {"manager": system.manager, "packages": system.build}
    yield StageSpec(name="build-base", template="build-base", base="base", inputs=inputs, minutes=1)
    uv = _lock(scope.catalog, "uv.txt")
    requirements = merged({"any": uv}, ("any",))
    yield StageSpec(name="uv", template="uv", base="base", inputs={"requirements": requirements})
    yield StageSpec(name="tools", template="tools", base="scratch")


def _lock(catalog: Catalog, path: str) -> Pinned:
    if path not in catalog.locks:
        raise PlanError(f"there is no lock locks/{path}", hint="make it with `drivebuild lock`")
    return parse_lock(catalog.locks[path], path)


# --- sources -------------------------------------------------------------------------------------


def _source_stages(scope: _Scope) -> Iterable[StageSpec]:
    """Yield a stage for every source the plan may need; those that nothing needs are dropped later."""
    names = {scope.platform.python.source, scope.model.tree.source}
    names.update(name for wheels in scope.platform.wheels.values() for name in wheels)
    names.update(_origin(scope.catalog, scope.platform, use) for use in scope.uses)
    for steps in _all_steps(scope):
        names.update(step.source for step in steps if isinstance(step, Patch | Copy) and step.source)
    for name in sorted(names):
        yield _source_stage(name, scope.catalog.sources[name])


def _all_steps(scope: _Scope) -> Iterable[tuple[Step, ...]]:
    yield scope.model.tree.steps
    for use in scope.uses:
        yield use.steps
        yield scope.catalog.components[use.name].versions[use.version].steps
    for overlay in scope.model.overlays:
        yield overlay.steps


def _source_stage(name: str, source: Source) -> StageSpec:
    stage = f"src-{name}"
    match source:
        case GitSource():
            inputs = {"url": source.url, "commit": source.commit, "ref": source.ref}
            return StageSpec(name=stage, template="source-git", base="scratch", inputs=inputs)
        case ArchiveSource():
            inputs = {"url": source.url, "sha256": source.sha256 or ""}
            return StageSpec(name=stage, template="source-archive", base="scratch", inputs=inputs)
        case DebianSource():
            inputs = {
                "package": source.package,
                "suite": source.suite,
                "file": source.file,
                "sha256": source.sha256,
            }
            return StageSpec(name=stage, template="source-debian", base="base", inputs=inputs)
        case IndexSource():
            inputs = {
                "package": source.package,
                "version": source.version,
                "file": source.file,
                "sha256": source.sha256,
                "python": PYTHON_STOCK,
            }
            uses = (PYTHON_STOCK, "torch")
            return StageSpec(name=stage, template="source-index", base="base", inputs=inputs, uses=uses)


def _archive_name(source: Source) -> str:
    """Return the name of the archive a source stage holds, or '' for a source that is a tree."""
    if isinstance(source, ArchiveSource):
        return source.url.rsplit("/", 1)[-1]
    return source.file if isinstance(source, DebianSource | IndexSource) else ""


def _archive_folder(source: Source) -> str:
    # ADD puts a downloaded file at the root of its stage.
    return "/" if isinstance(source, ArchiveSource) else "/archive"


# --- Python and torch ----------------------------------------------------------------------------


def _python_stage(scope: _Scope, variant: Variant) -> StageSpec:
    python = scope.platform.python
    source = scope.catalog.sources[python.source]
    compiler = python.compiler[variant]
    inputs = {
        "version": python.version,
        "series": scope.series,
        "source": f"src-{python.source}",
        "archive": _archive_name(source),
        "archive_folder": _archive_folder(source),
        "variant": variant,
        "compiler": compiler,
        "shared": python.shared,
        "manager": scope.system.manager,
        "packages": (*scope.system.python_build, *scope.system.toolchains[compiler]),
        "configure": python.configure,
        "profile_task": " ".join(python.profile_task.split()),
    }
    return StageSpec(
        name=f"python-{variant}",
        template="python",
        base="build-base",
        inputs=inputs,
        uses=(f"src-{python.source}",),
        minutes=2 if variant == "stock" else 15,
    )


def _torch_stage(scope: _Scope) -> StageSpec:
    # BuildKit's names of the architectures; one Dockerfile serves both.
    wheels = {
        {"x86_64": "amd64", "aarch64": "arm64"}[architecture]: tuple(
            f"src-{name}" for name in scope.platform.wheels.get(architecture, ())
        )
        for architecture in scope.platform.architectures
        if scope.platform.wheels
    }
    inputs = {
        "python": PYTHON_STOCK,
        "python_series": scope.series,
        "requirements": merged(_framework(scope), scope.platform.architectures),
        "wheels": wheels,
    }
    uses = (PYTHON_STOCK, "uv", *(stage for stages in wheels.values() for stage in stages))
    return StageSpec(name="torch", template="torch", base="base", inputs=inputs, uses=uses, minutes=3)


def _framework(scope: _Scope) -> dict[str, Pinned]:
    return _locks(scope, FRAMEWORK)


def _locks(scope: _Scope, name: str) -> dict[str, Pinned]:
    folder = scope.platform.locks or scope.platform.name
    return {
        architecture: _lock(scope.catalog, lock_path(folder, name, architecture))
        for architecture in scope.platform.architectures
    }


# --- components ----------------------------------------------------------------------------------


def _component_stages(scope: _Scope, use: ComponentUse) -> Iterable[StageSpec]:
    component = scope.catalog.components[use.name]
    origin = _origin(scope.catalog, scope.platform, use)
    source = scope.catalog.sources[origin]
    if component.template == "tcmalloc":
        yield _tcmalloc_stage(use, origin, source)
        return
    common = component.versions[use.version].steps
    steps = chosen((*common, *use.steps), scope.accelerator, scope.choice)
    stage, folder, archive = f"src-{origin}", "", _archive_name(source)
    if steps or use.keep_tree:
        yield _changed_source_stage(use, component, origin, source, steps)
        stage, folder, archive = f"{use.name}-source", f"/build/{use.name}", ""
    yield _wheel_stage(scope, use, component, stage, folder, archive)


def _changed_source_stage(
    use: ComponentUse, component: Component, origin: str, source: Source, steps: tuple[Step, ...]
) -> StageSpec:
    inputs = {
        "title": f"{component.title} {use.version}, with the changes that are made before it is built.",
        "source": f"src-{origin}",
        "archive": _archive_name(source),
        "root": f"/build/{use.name}",
        "directory": ".",
        "trees": (),
        "outputs": (),
        **_step_inputs(steps, patch_in="."),
    }
    return StageSpec(
        name=f"{use.name}-source",
        template="tree",
        base="build-base",
        inputs=inputs,
        uses=(f"src-{origin}", "tools", *inputs["sources"]),
    )


def _wheel_stage(
    scope: _Scope, use: ComponentUse, component: Component, stage: str, folder: str, archive: str
) -> StageSpec:
    environment = dict(component.environment)
    if scope.accelerator == "npu":
        environment |= component.environment_npu
    present = {item.name for item in scope.uses}
    wheels = tuple(need for need in component.needs if need in present)
    inputs = {
        "title": component.title,
        "version": use.version,
        "component": use.name,
        "source": stage,
        "path": folder,
        "archive": archive,
        "python": PYTHON_STOCK,
        "cann_home": scope.cann_home if component.cann else "",
        "environment": dict(sorted(environment.items())),
        "wheels": wheels,
    }
    return StageSpec(
        name=use.name,
        template="wheel",
        base="build-base",
        inputs=inputs,
        uses=(PYTHON_STOCK, "torch", stage, *wheels),
        minutes=component.minutes,
    )


def _tcmalloc_stage(use: ComponentUse, origin: str, source: Source) -> StageSpec:
    inputs = {"version": use.version, "source": f"src-{origin}", "archive": _archive_name(source)}
    return StageSpec(
        name=use.name,
        template="tcmalloc",
        base="build-base",
        inputs=inputs,
        uses=(f"src-{origin}",),
        minutes=2,
    )


def _step_inputs(steps: Iterable[Step], *, patch_in: str) -> dict[str, Any]:
    """Return the `steps` and `sources` inputs of a template: each step as words, each path where it is mounted."""
    words: list[dict[str, Any]] = []
    sources: dict[str, None] = {}
    for step in steps:
        match step:
            case Patch():
                sources[f"src-{step.source}"] = None
                file = f"/sources/src-{step.source}/{step.path}"
                words.append({"do": "patch", "tree": patch_in, "file": file, "note": step.note})
            case Copy():
                if step.source:
                    sources[f"src-{step.source}"] = None
                file = f"/sources/src-{step.source}/{step.path}" if step.source else step.path
                words.append(
                    {
                        "do": "copy",
                        "file": file,
                        "to": step.to,
                        "replaces": step.replaces or "",
                        "note": step.note,
                    }
                )
            case Edit():
                words.append(
                    {
                        "do": "edit",
                        "file": step.file,
                        "find": step.find,
                        "replace": step.replace,
                        "count": step.count,
                        "note": step.note,
                    }
                )
    return {"steps": tuple(words), "sources": tuple(sources)}


# --- the model -----------------------------------------------------------------------------------


def _wheels(scope: _Scope) -> tuple[str, ...]:
    return tuple(use.name for use in scope.uses if scope.catalog.components[use.name].template == "wheel")


def _env_stage(scope: _Scope) -> StageSpec:
    framework, model = _framework(scope), _locks(scope, scope.model.name)
    own = {architecture: added(lock, framework[architecture]) for architecture, lock in model.items()}
    wheels = _wheels(scope)
    tcmalloc = next((use.name for use in scope.uses if scope.catalog.components[use.name].template == "tcmalloc"), "")
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


def _preload(scope: _Scope, tcmalloc_stage: str) -> dict[str, str]:
    """Return the file of tcmalloc by architecture ('' for all), or nothing for a model that does not want it."""
    if not scope.model.tcmalloc:
        return {}
    if tcmalloc_stage:
        return {"": "/opt/gperftools/lib/libtcmalloc.so.4"}
    return {str(architecture): path for architecture, path in scope.system.tcmalloc_library.items()}


def _tree_stage(scope: _Scope) -> StageSpec:
    model = scope.model
    steps = chosen(model.tree.steps, scope.accelerator, scope.choice)
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
        **_step_inputs(steps, patch_in=model.tree.directory),
    }
    uses = (f"src-{model.tree.source}", "tools", *inputs["sources"], *(tree["stage"] for tree in trees))
    return StageSpec(name="tree", template="tree", base="build-base", inputs=inputs, uses=uses)


def _outputs(model: Model) -> tuple[str, ...]:
    """Return the folders that jobs write: they exist in the image, so that a volume there belongs to its user."""
    return tuple(sorted({output for job in model.jobs for output in job.outputs}))


def _overlay_stages(scope: _Scope) -> Iterable[StageSpec]:
    present = {use.name for use in scope.uses}
    by_component: dict[str, tuple[Step, ...]] = {}
    for overlay in chosen(scope.model.overlays, scope.accelerator, scope.choice):
        steps = chosen(overlay.steps, scope.accelerator, scope.choice)
        if steps and overlay.component in present:
            by_component[overlay.component] = by_component.get(overlay.component, ()) + steps
    for component, steps in by_component.items():
        from_tree = any(isinstance(step, Copy) and not step.source for step in steps)
        inputs = _step_inputs(steps, patch_in=".")
        for word in inputs["steps"]:
            if word["do"] == "copy" and not word["file"].startswith("/"):
                word["file"] = f"{scope.workspace}/{word['file']}"
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


def _image_stage(scope: _Scope) -> StageSpec:
    model, platform = scope.model, scope.platform
    overlays = tuple(stage.name for stage in _overlay_stages(scope))
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
