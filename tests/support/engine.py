"""Plans and engines for tests of builds: a plan of toy stages, and an engine that only remembers."""

from __future__ import annotations

from dataclasses import dataclass, field

from builder.engine.host import Facts, Image
from builder.plan.stage import Plan, StageSpec
from builder.recipe.load import load
from builder.recipe.types import Catalog
from support.files import texts, toy


def toy_catalog(**changes: str) -> Catalog:
    """Return the toy recipes."""
    return load(texts(toy(**changes)), {})


def toy_plan(*stages: StageSpec, architectures: tuple[str, ...] = ("x86_64", "aarch64")) -> Plan:
    """Return a plan with these stages, the last of them `image` if need be."""
    catalog = toy_catalog()
    import msgspec

    platform = msgspec.structs.replace(catalog.platforms["plat"], architectures=architectures)
    return Plan(model=catalog.models["toy"], platform=platform, variant="stock", options={}, stages=stages)


def stage(name: str, base: str = "scratch", *uses: str, **inputs: object) -> StageSpec:
    """Return a stage that names what it needs."""
    return StageSpec(name=name, template="toy", base=base, uses=uses, inputs=inputs)


@dataclass
class FakeEngine:
    """An engine with the images it was given."""

    images: dict[str, Image] = field(default_factory=dict)
    architecture: str = "x86_64"
    containerd_store: bool = False

    def close(self) -> None:
        """Nothing to let go of."""

    def facts(self) -> Facts:
        return Facts(
            version="26.1.5",
            architecture=self.architecture,
            root="/nowhere/at/all",
            containerd_store=self.containerd_store,
        )

    def image(self, name: str) -> Image | None:
        return self.images.get(name)
