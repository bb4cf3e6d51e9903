"""What the command line of `run` asks for, as an order; what cannot be meant is refused before anything else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from builder.cli.main import Settings
    from builder.engine.job import Order

__all__ = ["make_order"]


def make_order(
    settings: Settings,
    model: str,
    job: str,
    *,
    platform: str,
    variant: str,
    runtime: str,
    args: tuple[str, ...],
    devices: str,
    environment: Sequence[str],
    memory: str,
    host: Path,
) -> Order:
    """Return the order that the words name.

    Raises:
        UsageError: for a job, device, variable or size that cannot be meant.
        PlanError: for a model, platform or variant that does not exist.
    """
    import re

    from builder.engine.job import Order
    from builder.engine.npu import parse_devices
    from builder.plan.jobs import find_job

    plan = settings.plan(model, platform=platform, variant=variant, options={})
    found = find_job(plan.model, plan.platform, dict(plan.options), job)
    if runtime not in ("", "ascend"):
        raise UsageError(f"--runtime: there is no {runtime!r}", hint="known: ascend")
    if memory and not re.fullmatch(r"[1-9][0-9]*(b|k|m|g|kb|mb|gb)?", memory, re.IGNORECASE):
        raise UsageError(f"--memory {memory!r}: expected a size such as 64g")
    order = Order(
        model=plan.model,
        job=found,
        platform=plan.platform,
        variant=variant,
        image=plan.tag,
        args=args,
        devices=parse_devices(devices) if devices else None,
        runtime=bool(runtime),
        environment=_environment(environment),
        memory=memory,
        host=host,
    )
    _check_devices(order)
    return order


def _check_devices(order: Order) -> None:
    """Refuse numbers that cannot fit the job, whatever the machine has."""
    from builder.plan.jobs import job_kind

    if order.devices is None:
        return
    if order.platform.accelerator != "npu" or not order.job.npus:
        raise UsageError(f"--devices: {order.title} on {order.platform.name} uses no NPU")
    count = len(order.devices)
    if count != order.job.npus and job_kind(order.job) != "shell" and "DRIVEBUILD_NPUS" not in order.environment:
        fitting = [job.name for job in order.model.jobs if job.npus == count and job_kind(job) == job_kind(order.job)]
        hint = f"`{fitting[0]}` takes {count}; " if fitting else ""
        hint += f"where arguments make it take {count}, say so with --env DRIVEBUILD_NPUS={count}"
        raise UsageError(f"--devices: {order.title} takes {order.job.npus} NPUs, {count} are named", hint=hint)


def _environment(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name.isidentifier() or not name.isascii():
            raise UsageError(f"--env {text!r}: expected NAME=VALUE")
        if not equals and name not in os.environ:
            raise UsageError(f"--env {name}: it is not set here", hint=f"give it a value: --env {name}=…")
        found[name] = value if equals else os.environ[name]
    return found
