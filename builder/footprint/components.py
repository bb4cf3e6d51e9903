"""What a group of files is to a model: one component of a fixed list, named for the reader. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from builder.footprint.layers import Layer
from builder.plan.optimise import TORCH
from builder.plan.stage import Plan

__all__ = ["CUDA", "FRAMEWORK", "FRAMEWORK_STAGES", "Groups", "component_of", "known_groups", "named"]

BASE, SYSTEM, CANN, PYTHON = "base image", "system packages", "CANN", "Python"
FRAMEWORK_STAGES = ("torch", TORCH)
"""As published; as compiled, which stands on what it replaces."""
FRAMEWORK, CUDA, ADAPTER, PACKAGES = "framework", "CUDA libraries", "adapter", "model packages"
WHEEL = "wheel"
OVERLAY, TREE, ALLOCATOR, JOBS, RECORDS = "overlay", "source tree", "allocators", "job scripts", "locks and manifest"
OTHER = "other"
UNTOLD = "base image and system packages"
_CUDA = re.compile(r"nvidia-.+|triton")
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==")
_PATHS = (
    ("/opt/python", PYTHON),
    ("/opt/venv", FRAMEWORK),
    ("/opt/gperftools", ALLOCATOR),
    ("/opt/drivebuild/lib", ALLOCATOR),
    ("/opt/drivebuild/job", JOBS),
    ("/opt/drivebuild/entrypoint", JOBS),
    ("/opt/drivebuild/refused", JOBS),
    ("/usr/local/bin/drivebuild-job", JOBS),
    ("/opt/drivebuild", RECORDS),
    ("/workspace", TREE),
)


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """Which distributions are whose, by their plain names, and where CANN is."""

    framework: frozenset[str]
    adapter: frozenset[str]
    wheels: Mapping[str, str]
    """Component by distribution."""
    cann_home: str = ""


def named(distribution: str) -> str:
    """Return a distribution's plain name, by which all its spellings are one.

    >>> named("Nvidia_cublas.cu12")
    'nvidia-cublas-cu12'
    """
    return re.sub(r"[-_.]+", "-", distribution).lower()


def known_groups(plan: Plan) -> Groups:
    """Return whose the plan's distributions are."""
    inputs = {stage.name: stage.inputs for stage in plan.stages}
    torch = next((inputs[name] for name in reversed(FRAMEWORK_STAGES) if name in inputs), {})
    env = inputs.get("env", {})
    cann = plan.platform.cann
    return Groups(
        framework=_names(torch.get("requirements", ())),
        adapter=_names(torch.get("adapter", ())),
        wheels=dict(zip(map(named, env.get("distributions", ())), env.get("wheels", ()), strict=True)),
        cann_home=cann.home if cann else "",
    )


def _names(lines: tuple[str, ...]) -> frozenset[str]:
    return frozenset(named(match[1]) for line in lines if (match := _REQUIREMENT.match(line)))


def component_of(layer: Layer | None, group: str, groups: Groups) -> str:
    """Return the component of a group of files; `layer` is the one that holds it, where that is known."""
    kind, _, name = group.partition(":")
    if layer is not None:
        words = layer.instruction.split()
        if words[:1] == ["COPY"] and "/overlay/" in words:
            return OVERLAY
        if layer.stage == "env" and words[:1] == ["COPY"] and "/files/" in words:
            return ALLOCATOR
    if kind == "path":
        return _of_path(layer, name, groups)
    plain = named(name)
    if kind == "cuda" or _CUDA.fullmatch(plain):
        return CUDA
    if plain in groups.wheels:
        return f"{WHEEL} {groups.wheels[plain]}"
    if plain in groups.adapter:
        return ADAPTER
    stage = layer.stage if layer is not None else None
    return FRAMEWORK if plain in groups.framework or stage in FRAMEWORK_STAGES else PACKAGES


def _of_path(layer: Layer | None, path: str, groups: Groups) -> str:
    if groups.cann_home and (path + "/").startswith(groups.cann_home.rstrip("/") + "/"):
        return CANN
    if path.startswith("/opt/venv") and layer is not None and layer.stage in ("common", "env"):
        return PACKAGES
    for start, component in _PATHS:
        if path.startswith(start):
            return component
    if layer is None:
        return UNTOLD
    return {"": BASE, None: OTHER}.get(layer.stage, SYSTEM)
