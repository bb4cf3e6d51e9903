"""Builds for an architecture that is not the builder's own: whether it can run what it builds, and its bases."""

from __future__ import annotations

from collections.abc import Iterator

from builder.engine.builders import Builder, builder_of, parse_builder
from builder.engine.host import INSTALL, Engine, Facts
from builder.engine.process import CommandMissingError, Runner
from builder.errors import BuildError
from builder.plan.bootstrap import base_name
from builder.plan.cross import machine_image
from builder.plan.stage import TARGETS, Plan

__all__ = ["INSTALL_EMULATOR", "SLOWER", "check_emulation", "emulated", "machine_of", "own_bases", "uses_machine_image"]

SLOWER = 12
"""Times that an emulated program takes of a native one's: a loop in Python under qemu-user-static."""
INSTALL_EMULATOR = (
    "install an emulator once, as root: apt-get install qemu-user-static binfmt-support (dnf: qemu-user-static); "
    "or build on a machine of that architecture, with --builder NAME or there"
)


def machine_of(named: str, *, engine: Engine, runner: Runner) -> tuple[str, Builder | None]:
    """Return the architecture of the machine that builds, and the builder if it is not the engine's own BuildKit.

    `named` is a builder's name, or empty for the one that buildx takes by itself.

    Raises:
        UsageError, BuildError: as `find_builder`.
    """
    builder = builder_of(named, runner)
    if builder is not None and builder.elsewhere and builder.architectures:
        return builder.architectures[0], builder
    return engine.facts().architecture, builder


def check_emulation(architecture: str, builder: Builder | None, runner: Runner) -> None:
    """Look whether a builder can run programs of an architecture that is not its own.

    Raises:
        BuildError: when it cannot: without this look the first RUN would fail with `exec format error`.
    """
    if builder is None:
        try:
            builder = _own(runner)
        except CommandMissingError as error:
            raise BuildError(error.message, hint=INSTALL) from error
    if architecture not in builder.architectures:
        where = f"builder {builder.name}" if builder.elsewhere else "this engine's BuildKit"
        message = f"{where} cannot run programs for {architecture} (linux/{TARGETS[architecture]})"
        raise BuildError(message, hint=INSTALL_EMULATOR)


def emulated(runner: Runner, facts: Facts) -> tuple[str, ...]:
    """Return the architectures beside its own that the engine's BuildKit can run; none where nothing answers."""
    try:
        return tuple(name for name in _own(runner).architectures if name != facts.architecture)
    except CommandMissingError:
        return ()


def _own(runner: Runner) -> Builder:
    return parse_builder(runner.run(("docker", "buildx", "inspect")).text)


def uses_machine_image(plan: Plan) -> bool:
    """Whether a plan has stages that run on the builder's own processor, on a base that drivebuild makes itself."""
    name = machine_image(plan.platform)
    return name != plan.platform.base.image and any(stage.base == name for stage in plan.stages)


def own_bases(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield (name in the Dockerfile, name in the engine) of bases that the engine has under another name.

    That is so for a foreign architecture on a base that drivebuild makes itself; a registry's image has all
    architectures under one name.
    """
    image = plan.platform.base.image
    if not plan.foreign or plan.platform.base.bootstrap is None:
        return
    yield image, base_name(image, plan.foreign)
    if uses_machine_image(plan):
        yield machine_image(plan.platform), image
