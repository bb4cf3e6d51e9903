"""What a lock is resolved from: requirements and overrides of a platform and a model. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from builder.plan.locks import FRAMEWORK, lock_path
from builder.recipe.types import Catalog, Model, Pin, Platform

__all__ = ["LockInput", "lock_inputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockInput:
    """One lock to be resolved."""

    path: str
    python: str
    architecture: str
    requirements: tuple[str, ...]
    overrides: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """Packages that come as wheels of their own on this architecture, with what only they need."""

    @property
    def digest(self) -> str:
        """A digest of all that decides the result; the lock carries it, so that a stale lock is noticed."""
        text = "\n".join(
            (self.python, self.architecture, *self.requirements, "--", *self.overrides, "--", *self.left_out)
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def lock_inputs(catalog: Catalog) -> tuple[LockInput, ...]:
    """Return every lock the recipes need: per platform and architecture, the framework and each model.

    A model is locked for its own platform and for every CPU platform; a platform that shares another's locks
    has none of its own.
    """
    found: list[LockInput] = []
    for platform in catalog.platforms.values():
        if platform.locks:
            continue
        users = [
            model
            for model in catalog.models.values()
            if platform.accelerator == "cpu" or model.platform == platform.name
        ]
        for architecture in platform.architectures:
            found.append(_input(platform, None, architecture))
            found += [_input(platform, model, architecture) for model in users]
    return tuple(found)


def _input(platform: Platform, model: Model | None, architecture: str) -> LockInput:
    pins: tuple[Pin, ...] = platform.pins
    requirements = tuple(platform.framework)
    if model:
        pins += tuple(pin for pin in model.requirements.pins if pin.on in (None, platform.accelerator))
        requirements += model.requirements.packages
    takes_wheels = any(wheels for machine, wheels in platform.wheels.items() if machine == architecture)
    return LockInput(
        path=lock_path(platform.name, model.name if model else FRAMEWORK, architecture),
        python=".".join(platform.python.version.split(".")[:2]),
        architecture=architecture,
        requirements=tuple(dict.fromkeys(requirements)),
        overrides=_overrides((*_framework_pins(platform), *pins)),
        left_out=("torch", "torchvision", "triton", "nvidia-*") if takes_wheels else (),
    )


def _framework_pins(platform: Platform) -> Iterable[Pin]:
    # torch_npu asks for torch==2.1.0+cpu on x86_64, which no index has; the version alone decides.
    for requirement in platform.framework:
        name, _, version = requirement.partition("==")
        if version:
            yield Pin(package=name, version=version, reason="the platform's framework")


def _overrides(pins: Iterable[Pin]) -> tuple[str, ...]:
    """Return one override per package; a later pin, the model's, wins over an earlier one."""
    last = {pin.package.lower().replace("_", "-"): pin for pin in pins}
    return tuple(
        f"{name}=={pin.version}" if pin.version else f"{name} ; sys_platform == 'never'"
        for name, pin in sorted(last.items())
    )
