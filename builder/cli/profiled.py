"""The profile that a build is given: found before anything is asked of the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.cli.main import Settings
    from builder.plan.stage import Plan

__all__ = ["with_profile"]


def with_profile(
    settings: Settings, plan: Plan, wanted: str, *, until: str = ""
) -> tuple[Plan, tuple[tuple[str, Path], ...]]:
    """Return the plan with the profile it is built with, and the folder that stands for its stage.

    Raises:
        UsageError: for a profile and a variant that uses none.
        BuildError: when there is no profile that fits.
    """
    from builder.engine.target import target_of
    from builder.plan.optimise import PROFILE

    if PROFILE not in plan.closure(target_of(plan, until)):
        if wanted and plan.variant != "pgo":
            raise UsageError("--profile: it is for --pgo=use")
        return plan, ()
    from builder.engine.profiles import find_profile

    found = find_profile(plan, wanted)
    planned = settings.plan(
        plan.model.name,
        platform=plan.platform.name,
        variant=plan.variant,
        options=plan.options,
        pinned=plan.pinned,
        toolchain=plan.toolchain,
        profile=found.sha256,
    )
    return planned, ((PROFILE, found.folder),)
