"""What a lock is resolved from: requirements and overrides of a platform and a model. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from builder.plan.locks import ADAPTER, FRAMEWORK, MACHINES, installer_lock, lock_path, published_lock
from builder.recipe.types import Architecture, Catalog, Pin, Platform

__all__ = ["INSTALLER", "INSTALLER_PYTHON", "LockInput", "lock_inputs"]

INSTALLER = "uv==0.13.8"
"""What installs all other packages in an image. An exact version, and one for all platforms: its stage comes before
Python, torch and every wheel, so another version builds all of them anew. Change it for a reason, not by the way."""
INSTALLER_PYTHON = "3.9"
"""The system's own python3 installs it; the oldest is openEuler 22.03's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockInput:
    """One lock to be resolved."""

    path: str
    python: str
    architecture: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    """Versions the resolver must find a solution for."""
    overrides: tuple[str, ...]
    """Versions that hold whatever another package's metadata asks for."""
    left_out: tuple[str, ...] = ()
    """Packages that come as wheels of their own on this architecture, with what only they need."""

    @property
    def digest(self) -> str:
        """A digest of all that decides the result; the lock carries it, so that a stale lock is noticed."""
        text = "\n".join(
            (
                self.python,
                self.architecture,
                *(*self.requirements, "--", *self.constraints, "--", *self.overrides, "--", *self.left_out),
            )
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def lock_inputs(catalog: Catalog) -> tuple[LockInput, ...]:
    """Return every lock: the installer's, and per platform and architecture those of the stack and of each model.

    A model is locked for its own platform, for those that stand in for it and for every CPU platform; a platform that
    shares another's locks has none of its own.
    """
    found = [_installer_input(architecture) for architecture in MACHINES]
    for platform in catalog.platforms.values():
        if platform.locks:
            continue
        users = [
            model
            for model in catalog.models.values()
            if platform.accelerator == "cpu" or model.platform in (platform.name, platform.twin)
        ]
        for architecture in platform.architectures:
            found += _stack_inputs(catalog, platform, architecture)
            found += [
                _input(platform, model.name, architecture, model.requirements.packages, model.requirements.pins)
                for model in users
            ]
    return tuple(found)


def _stack_inputs(catalog: Catalog, platform: Platform, architecture: Architecture) -> Iterator[LockInput]:
    """Yield the locks that are no model's: framework, adapter, and wheels a model may choose over compiling."""
    yield _input(platform, FRAMEWORK, architecture, ())
    if platform.adapter:
        yield _input(platform, ADAPTER, architecture, platform.adapter)
    if platform.accelerator == "npu":
        for component in catalog.components.values():
            for version, origin in component.versions.items():
                if origin.index:
                    name = published_lock(component.name, version)
                    yield _input(platform, name, architecture, (*platform.adapter, origin.index))


def _installer_input(architecture: str) -> LockInput:
    return LockInput(
        path=installer_lock(architecture),
        python=INSTALLER_PYTHON,
        architecture=architecture,
        requirements=(INSTALLER,),
        constraints=(),
        overrides=(),
    )


def _input(
    platform: Platform,
    name: str,
    architecture: Architecture,
    packages: tuple[str, ...],
    own_pins: tuple[Pin, ...] | None = None,
) -> LockInput:
    """Return the input of one lock of a platform; a model's stands on the whole stack and may have pins of its own."""
    pins = {_normal(pin.package): pin for pin in (*_framework_pins(platform), *platform.pins)}
    requirements = tuple(platform.framework)
    if own_pins is not None:
        # The model's own pin wins over the platform's.
        pins |= {_normal(pin.package): pin for pin in own_pins if pin.on in (None, platform.accelerator)}
        requirements += platform.adapter
    requirements += packages
    forced = {name: pin for name, pin in pins.items() if pin.force or pin.version is None}
    return LockInput(
        path=lock_path(platform.name, name, architecture),
        python=platform.python.series,
        architecture=architecture,
        requirements=tuple(dict.fromkeys(_unpinned(text, pins) for text in requirements)),
        constraints=tuple(f"{name}=={pin.version}" for name, pin in sorted(pins.items()) if name not in forced),
        overrides=tuple(_override(name, pin) for name, pin in sorted(forced.items())),
        left_out=("torch", "torchvision", "triton", "nvidia-*") if platform.wheels.get(architecture) else (),
    )


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _framework_pins(platform: Platform) -> Iterable[Pin]:
    for requirement in (*platform.framework, *platform.adapter):
        name, _, version = requirement.partition("==")
        if version:
            # torch_npu asks for torch==2.1.0+cpu on x86_64, which no index has; the version alone decides.
            yield Pin(package=name, version=version, reason="the platform's framework", force=name == "torch")


def _unpinned(requirement: str, pins: Mapping[str, Pin]) -> str:
    """Return a requirement without its version where a pin decides that: the pin's reason says why."""
    name = re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?", requirement)
    bare = name[0] if name else requirement
    return bare if _normal(bare.partition("[")[0]) in pins else requirement


def _override(name: str, pin: Pin) -> str:
    return f"{name}=={pin.version}" if pin.version else f"{name} ; sys_platform == 'never'"
