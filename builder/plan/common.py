"""What most models lock alike, as a layer of its own below what is theirs: stored, pushed and pulled once. Pure.

A layer is shared where it is the same and stands on the same ones. So nothing here asks which other models there are: a
model that locks all of these in the versions that others have shares the layer; one that does not has its own. Which
packages these are is data of the platform (`common`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builder.plan.locks import Pinned, merged
from builder.plan.optimise import framework_stage
from builder.plan.scope import PYTHON_STOCK, Scope
from builder.plan.sdists import sdist_inputs, wheels
from builder.plan.stage import TARGETS, StageSpec, packages_stage

__all__ = ["COMMON", "COMMON_PACKAGES", "LIBRARIES", "below_env", "common_packages", "common_stages", "own_packages"]

LIBRARIES = "libraries"
COMMON = "common"
COMMON_PACKAGES = "packages-common"


def common_packages(scope: Scope) -> dict[str, Pinned]:
    """Return what the model locks of the platform's `common`, by architecture."""
    names = frozenset(scope.platform.common)
    return {
        architecture: {name: item for name, item in lock.items() if name in names}
        for architecture, lock in scope.env_packages().items()
    }


def own_packages(scope: Scope) -> dict[str, Pinned]:
    """Return what the model locks besides, by architecture."""
    names = frozenset(scope.platform.common)
    return {
        architecture: {name: item for name, item in lock.items() if name not in names}
        for architecture, lock in scope.env_packages().items()
    }


def below_env(scope: Scope) -> str:
    """Return the stage that the environment stands on."""
    return COMMON if any(common_packages(scope).values()) else _above_framework(scope)


def _above_framework(scope: Scope) -> str:
    return LIBRARIES if scope.platform.libraries else framework_stage(scope)


def common_stages(scope: Scope) -> Iterator[StageSpec]:
    """Yield what stands between framework and environment, each where there is any.

    The distribution's libraries that locked packages of one architecture open; what most models lock, and the stage
    that a folder of it may stand for.
    """
    if scope.platform.libraries:
        yield _libraries_stage(scope)
    if below_env(scope) != COMMON:
        return
    yield packages_stage(COMMON_PACKAGES)
    packages = common_packages(scope)
    # The stock Python, whatever the variant: another one must not move this layer.
    inputs: dict[str, Any] = {
        "python": PYTHON_STOCK,
        "requirements": merged(wheels(scope, packages), scope.platform.architectures),
        **sdist_inputs(scope, packages),
    }
    uses = (PYTHON_STOCK, "uv", COMMON_PACKAGES, *(item["stage"] for item in inputs["sdists"]))
    yield StageSpec(name=COMMON, template="common", base=_above_framework(scope), inputs=inputs, uses=uses, minutes=1)


def _libraries_stage(scope: Scope) -> StageSpec:
    """Return the stage of what packages of one architecture open; for another one it is an alias, without a layer."""
    inputs = {
        "manager": scope.system.manager,
        "targets": {
            TARGETS[architecture]: scope.platform.libraries.get(architecture, ())
            for architecture in scope.platform.architectures
        },
    }
    base, uses = framework_stage(scope), scope.os_packages
    return StageSpec(name=LIBRARIES, template="libraries", base=base, inputs=inputs, uses=uses)
