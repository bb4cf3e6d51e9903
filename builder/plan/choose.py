"""Which images are meant where several are asked for at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.errors import PlanError, UsageError
from builder.plan.make import make_plan
from builder.plan.select import known
from builder.plan.stage import Plan
from builder.recipe.suggest import one_of
from builder.recipe.types import Catalog

__all__ = ["VARIANTS", "Chosen", "choose"]

VARIANTS = ("stock", "lto")
"""Those that need nothing beside the recipes."""
_SOURCE = "src-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The images that are meant, and combinations that do not exist."""

    plans: tuple[Plan, ...]
    left_out: Mapping[str, str]
    """By name, each with the reason."""


def choose(
    catalog: Catalog,
    *,
    models: Sequence[str] = (),
    platforms: Sequence[str] = (),
    variants: Sequence[str] = (),
    pinned: Mapping[str, str] | None = None,
    architecture: str = "",
) -> Chosen:
    """Return all combinations: of every model where none is named, its own platform, and `VARIANTS`.

    A pin goes to the images that have the source. With an architecture only those are meant that exist for it.

    Raises:
        PlanError: for a model or a platform that is not there, and when no combination exists.
        UsageError: for a pin of a source that no image has.
    """
    for platform in platforms:
        known(catalog.platforms, platform, "platform")
    plans: list[Plan] = []
    left_out: dict[str, str] = {}
    used: set[str] = set()
    refused: list[PlanError] = []
    for name in dict.fromkeys(models or catalog.models):
        own = known(catalog.models, name, "model").platform
        for platform in dict.fromkeys(platforms or (own,)):
            for variant in dict.fromkeys(variants or VARIANTS):
                try:
                    plan = _plan(catalog, name, platform, variant, pinned or {})
                    _check(plan, architecture)
                except PlanError as error:
                    refused.append(error)
                    left_out[f"{name} {platform}-{variant}"] = error.message
                else:
                    plans.append(plan)
                    used.update(plan.pinned)
    if not plans:
        raise refused[0]
    _check_pins(pinned or {}, used, plans)
    return Chosen(plans=tuple(plans), left_out=left_out)


def _plan(catalog: Catalog, model: str, platform: str, variant: str, pinned: Mapping[str, str]) -> Plan:
    plan = make_plan(catalog, model, platform=platform, variant=variant)
    own = {name: commit for name, commit in pinned.items() if f"{_SOURCE}{name}" in plan.names}
    return make_plan(catalog, model, platform=platform, variant=variant, pinned=own) if own else plan


def _check(plan: Plan, architecture: str) -> None:
    if architecture and architecture not in plan.architectures:
        raise PlanError(f"it exists for {', '.join(plan.architectures)}; the engine is {architecture}")


def _check_pins(pinned: Mapping[str, str], used: set[str], plans: Sequence[Plan]) -> None:
    for name in pinned:
        if name not in used:
            sources = {stage.removeprefix(_SOURCE) for plan in plans for stage in plan.names if _SOURCE in stage}
            raise UsageError(f"--pin: none of these images has a source {name!r}", hint=one_of(name, sorted(sources)))
