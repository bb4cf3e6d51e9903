"""What an image records about itself: every source, patch, version and flag. Pure.

The stage `manifest` merges this with what each step really did, as `/opt/drivebuild/manifest.json`.
"""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins

from builder.plan.compiled_by import of_frameworks, of_python
from builder.plan.jsontext import json_text
from builder.plan.scope import Scope
from builder.plan.sources import overrides, used_sources
from builder.plan.stage import StageSpec
from builder.recipe.types import ComponentUse

__all__ = ["MANIFEST", "manifest_stage"]

MANIFEST = "manifest"
_NO_PIN = ("licence", "note", "submodules")
"""What is said about a source for people only: another word there is no other image."""


def manifest_stage(scope: Scope, changed: tuple[str, ...]) -> StageSpec:
    """Return the stage that writes the manifest; `changed` are the stages in which steps were applied."""
    text = json_text(_planned(scope), sort_keys=True)
    inputs = {"plan": text, "changed": changed}
    return StageSpec(name=MANIFEST, template="manifest", base="build-base", inputs=inputs, uses=("tools", *changed))


def _planned(scope: Scope) -> dict[str, Any]:
    platform, python, compilers = scope.platform, scope.platform.python, of_frameworks(scope)
    return {
        "model": scope.model.name,
        "platform": platform.name,
        "variant": scope.variant,
        "options": dict(scope.choice),
        "base": {"image": platform.base.image, "digest": platform.base.digest},
        "cann": {"version": platform.cann.version, "way": platform.cann.way} if platform.cann else None,
        "python": {
            "version": python.version,
            "compiler": of_python(scope, scope.variant).name,
            "configure": list(python.configure),
            "shared": python.shared,
        },
        **({"toolchain": {each: item.name for each, item in compilers.items()}} if compilers else {}),
        **({"profile": f"sha256:{scope.profile}"} if scope.profile else {}),
        "packages": {
            architecture: {name: version for name, (version, _) in {**stack, **own[architecture]}.items()}
            for own in (scope.env_packages(),)
            for architecture, stack in scope.stack_locks().items()
        },
        "components": {use.name: _component(scope, use.name) for use in _uses(scope)},
        "sources": {name: _source(scope, name) for name in used_sources(scope)},
        "environment": {**platform.environment, **scope.model.environment},
        "overrides": {f"source {name}": commit for name, commit in overrides(scope).items()},
        "verified_on_hardware": False,
    }


def _uses(scope: Scope) -> tuple[ComponentUse, ...]:
    return (*scope.frameworks, *scope.uses, *scope.published)


def _source(scope: Scope, name: str) -> dict[str, Any]:
    found: dict[str, Any] = to_builtins(scope.catalog.sources[name])
    return {key: value for key, value in found.items() if key not in _NO_PIN}


def _component(scope: Scope, name: str) -> dict[str, Any]:
    component = scope.catalog.components[name]
    use = next(item for item in _uses(scope) if item.name == name)
    npu = component.environment_npu if scope.accelerator == "npu" else {}
    return {
        "version": use.version,
        "source": scope.origin(use) or "package index",
        "flags": {**component.environment, **npu},
    }
