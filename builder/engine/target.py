"""What is built of a plan, and under which name. Light: who only asks for a record needs no more."""

from __future__ import annotations

from builder.errors import UsageError
from builder.plan.stage import Plan
from builder.recipe.suggest import one_of

__all__ = ["default_tag", "target_of"]


def target_of(plan: Plan, until: str) -> str:
    """Return the stage to build.

    Raises:
        UsageError: for a stage the plan does not have.
    """
    if until and until not in plan.names:
        raise UsageError(f"--until: the plan has no stage {until!r}", hint=one_of(until, plan.names))
    return until or plan.names[-1]


def default_tag(plan: Plan, until: str) -> str:
    """Return the tag of a target: only the whole image may have the image's own."""
    return plan.tag if target_of(plan, until) == plan.names[-1] else f"{plan.tag}-{until}"
