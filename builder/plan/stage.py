"""The words of a plan: StageSpec, Plan. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from builder.recipe.types import Architecture, Model, Platform, Variant

__all__ = ["TARGETS", "Plan", "StageSpec", "packages_stage"]

TARGETS: Mapping[str, str] = {"x86_64": "amd64", "aarch64": "arm64"}
"""BuildKit's names of the architectures, as TARGETARCH has them; one Dockerfile serves both."""

_WORDS: Mapping[Variant, str] = {
    "lto": "--lto",
    "lto-full": "--lto=full",
    "pgo-instrument": "--pgo=instrument",
    "pgo": "--pgo=use",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """One Dockerfile stage: a template and everything that template may see.

    `base` is another stage or an image; `uses` are the stages it copies from or mounts. Nothing of a model
    may be in a stage that other models share: then two models on one platform give byte-equal text, and
    BuildKit builds the stage once (facts: style.md section 3).
    """

    name: str
    template: str
    base: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    uses: tuple[str, ...] = ()
    minutes: int = 0
    """Rough time on two cores; 0 for what takes seconds."""


def packages_stage(name: str, what: str = "the locked files; then no package index is asked") -> StageSpec:
    """Return an empty stage that a folder of `what` may stand for."""
    return StageSpec(name=name, template="packages", base="scratch", inputs={"what": what})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The stages of one image, each after all it depends on; the last one is the image."""

    model: Model
    platform: Platform
    variant: Variant
    options: Mapping[str, str]
    """Only choices that differ from the recipe's defaults."""
    stages: tuple[StageSpec, ...]
    pinned: Mapping[str, str] = field(default_factory=dict)
    """Commits that are built in place of the recipe's, by source: the caller's override, which the image records."""
    toolchain: str = ""
    """The compiler that the caller chose in place of the platform's own."""
    profile: str = ""
    """The sha256 of the profile that it is built with."""
    narrowed: tuple[Architecture, ...] = ()
    """The platform's architectures, as far as the compilers exist for them."""
    foreign: Architecture | Literal[""] = ""
    """What it is built for, where that is not the architecture of the machine that builds."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stages, in order."""
        return tuple(stage.name for stage in self.stages)

    @property
    def flavour(self) -> str:
        """`<platform>-<variant>`, with the choices that are not the default: the tag and the folder."""
        choices = [("toolchain", self.toolchain)] if self.toolchain else []
        chosen = "".join(f"-{name}.{choice}" for name, choice in (*choices, *sorted(self.options.items())))
        return f"{self.platform.name}-{self.variant}{chosen}"

    @property
    def tag(self) -> str:
        """The image's name and tag, with a foreign architecture: an engine's own store has one image of a name."""
        other = f"-{TARGETS[self.foreign]}" if self.foreign else ""
        return f"drivebuild/{self.model.name}:{self.flavour}{other}"

    @property
    def dockerfile(self) -> str:
        """Path of the rendered Dockerfile, below the output folder."""
        return f"dockerfiles/{self.model.name}/{self.flavour}/Dockerfile"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words that name this image on drivebuild's command line."""
        words = [self.model.name]
        if self.platform.name != self.model.platform:
            words += ["--platform", self.platform.name]
        if self.variant != "stock":
            words.append(_WORDS[self.variant])
        words += ["--toolchain", self.toolchain] if self.toolchain else []
        words += ["--profile", self.profile] if self.profile else []
        for name, choice in self.options.items():
            words += ["--option", f"{name}={choice}"]
        for name, commit in self.pinned.items():
            words += ["--pin", f"{name}={commit}"]
        words += ["--arch", self.foreign] if self.foreign else []
        return tuple(words)

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """Architectures the image exists for."""
        return self.narrowed or self.platform.architectures

    def needs(self, name: str) -> tuple[str, ...]:
        """Return the stages that `name` starts from, copies from or mounts."""
        stage = next(stage for stage in self.stages if stage.name == name)
        known = set(self.names)
        return tuple(need for need in dict.fromkeys((stage.base, *stage.uses)) if need in known)

    def closure(self, name: str) -> tuple[str, ...]:
        """Return `name` and all stages it needs, in the plan's order."""
        wanted = {name}
        for stage in reversed(self.stages):
            if stage.name in wanted:
                # Images are among them, too; they are no stages and drop out below.
                wanted.update((stage.base, *stage.uses))
        return tuple(stage for stage in self.names if stage in wanted)
