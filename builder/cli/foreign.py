"""`--arch`: an image for an architecture that is not that of the machine which builds it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.options import known_architecture
from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.cli.main import Settings
    from builder.engine.host import Engine
    from builder.engine.process import Runner
    from builder.plan.cross import CrossReport
    from builder.plan.stage import Plan

__all__ = ["ForArchitecture", "NoCross", "ensure_bases", "for_architecture", "verified_plan"]

ForArchitecture = Annotated[
    str,
    typer.Option(
        "--arch",
        metavar="A",
        help="x86_64 or aarch64, not the builder's own: cross-compiled or emulated (docs/architectures.md).",
    ),
]
NoCross = Annotated[
    bool, typer.Option("--no-cross", help="With --arch: emulate everything, as the native build's text says.")
]


def for_architecture(
    settings: Settings,
    plan: Plan,
    arch: str,
    *,
    builder: str = "",
    no_cross: bool = False,
    offline: bool = False,
    quiet: bool = False,
) -> Plan:
    """Return the plan for the architecture that was asked for, with what can be cross-compiled; and say what it costs.

    For the builder's own architecture it is the plan as it is.

    Raises:
        UsageError: for a word that names no architecture, and for `no_cross` without one.
        BuildError: when the builder cannot run programs of that architecture.
    """
    if not arch:
        if no_cross:
            raise UsageError("--no-cross is a word about --arch")
        return plan
    from builder.engine.foreign import check_emulation, machine_of
    from builder.engine.host import connect
    from builder.engine.process import SystemRunner
    from builder.plan.cross import cross_built, cross_report

    target, runner = known_architecture(arch), SystemRunner()
    machine, found = machine_of(builder, engine=connect(), runner=runner)
    if target == machine:
        return plan
    check_emulation(target, found, runner)
    named = known_architecture(machine)
    made = replace(plan, foreign=target)
    # No store has the packages of cross compilers.
    if not (no_cross or offline):
        made = cross_built(settings.catalog(), made, target=target, machine=named)
    if not quiet:
        _announce(target, machine, cross_report(settings.catalog(), made, target=target, machine=named))
    return made


def verified_plan(plan: Plan, arch: str) -> Plan:
    """Return the plan whose tag an image for that architecture has on this engine.

    Raises:
        UsageError: for a word that names no architecture.
    """
    if not arch:
        return plan
    from builder.engine.host import connect

    target = known_architecture(arch)
    return plan if target == connect().facts().architecture else replace(plan, foreign=target)


def ensure_bases(settings: Settings, plan: Plan, *, engine: Engine, runner: Runner, quiet: bool) -> None:
    """Make the bases that a plan stands on, where drivebuild makes them.

    Raises:
        BuildError: when one cannot be made.
    """
    from builder.cli.live import Say
    from builder.engine.base import ensure_base
    from builder.engine.foreign import uses_machine_image

    say = Say(quiet=quiet)
    mirror = settings.network().mirror_of(plan.platform.system)
    # Stages that are cross-compiled stand on the base of the machine itself.
    wanted = dict.fromkeys((plan.foreign, *([""] if uses_machine_image(plan) else [])))
    for architecture in wanted:
        ensure_base(plan.platform, engine=engine, runner=runner, say=say, mirror=mirror, architecture=architecture)


def _announce(target: str, machine: str, report: CrossReport) -> None:
    from builder.engine.foreign import SLOWER

    typer.echo(
        f"{target} on {machine}: what runs in the image is emulated, some {SLOWER} times slower than on a machine of "
        "that architecture, where --builder or `drivebuild merge` would have it natively"
    )
    if report.crossed:
        typer.echo(f"cross-compiled at full speed: {', '.join(report.crossed)}")
    for stage, minutes in report.trained.items():
        typer.echo(f"run under emulation for its profile, compiled at full speed: {stage}: about {minutes} minutes")
    for stage, reason in report.emulated.items():
        typer.echo(f"compiled under emulation: {stage}: {reason}")
    if report.reason and report.emulated:
        typer.echo(f"nothing is cross-compiled: {report.reason}")
