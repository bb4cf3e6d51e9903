"""What one plan is about: model, platform and variant, and the components, origins and locks that apply. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from builder.errors import PlanError
from builder.plan.locks import FRAMEWORK, Pinned, lock_path, parse_lock
from builder.plan.select import choices, chosen, known
from builder.recipe.suggest import one_of
from builder.recipe.types import Catalog, ComponentUse, Model, Platform, Step, System, Variant

__all__ = ["PYTHON_STOCK", "Scope", "read_lock", "scope_of"]

PYTHON_STOCK = "python-stock"
"""The stage of the Python that everything is compiled against, whatever the variant."""
TCMALLOC = "tcmalloc"


@dataclass(frozen=True, slots=True)
class Scope:
    """What one plan is about, and what applies to it."""

    catalog: Catalog
    model: Model
    platform: Platform
    system: System
    variant: Variant
    choice: Mapping[str, str]
    """Every option of the model with its choice."""
    uses: tuple[ComponentUse, ...]
    """The components that exist on the platform."""

    @property
    def accelerator(self) -> str:
        return self.platform.accelerator

    @property
    def series(self) -> str:
        return self.platform.python.series

    @property
    def cann_home(self) -> str:
        return self.platform.cann.home if self.platform.cann else ""

    @property
    def workspace(self) -> str:
        return f"/workspace/{self.model.name}"

    def template(self, use: ComponentUse) -> str:
        """Return the template that builds a component."""
        return self.catalog.components[use.name].template

    def origin(self, use: ComponentUse) -> str:
        """Return the name of the source that a component is built from here."""
        return _origin(self.catalog, self.platform, use)

    def component_steps(self, use: ComponentUse) -> tuple[Step, ...]:
        """Return what is done to a component's source before it is built: for everybody, then for this model."""
        common = self.catalog.components[use.name].versions[use.version].steps
        return chosen((*common, *use.steps), self.accelerator, self.choice)

    def tree_steps(self) -> tuple[Step, ...]:
        """Return what is done to the model's own source."""
        return chosen(self.model.tree.steps, self.accelerator, self.choice)

    def overlay_steps(self) -> dict[str, tuple[Step, ...]]:
        """Return what the model changes in built components, by component."""
        present = {use.name for use in self.uses}
        found: dict[str, tuple[Step, ...]] = {}
        for overlay in chosen(self.model.overlays, self.accelerator, self.choice):
            steps = chosen(overlay.steps, self.accelerator, self.choice)
            if steps and overlay.component in present:
                found[overlay.component] = found.get(overlay.component, ()) + steps
        return found

    def framework_locks(self) -> dict[str, Pinned]:
        """Return what the platform pins for all models, by architecture."""
        return self._locks(FRAMEWORK)

    def model_locks(self) -> dict[str, Pinned]:
        """Return what is pinned for the model, by architecture."""
        return self._locks(self.model.name)

    def _locks(self, name: str) -> dict[str, Pinned]:
        folder = self.platform.locks or self.platform.name
        return {
            architecture: read_lock(self.catalog, lock_path(folder, name, architecture))
            for architecture in self.platform.architectures
        }


def scope_of(
    catalog: Catalog,
    model: str,
    *,
    platform: str = "",
    variant: str = "stock",
    architecture: str = "",
    options: Mapping[str, str] | None = None,
) -> Scope:
    """Return what a plan with these choices is about. Reads no lock.

    Raises:
        PlanError: for a model, platform, variant, architecture or option that does not exist.
    """
    recipe: Model = known(catalog.models, model, "model")
    wanted = platform or recipe.platform
    base: Platform = known(catalog.platforms, wanted, "platform")
    if variant not in base.variants:
        raise PlanError(f"{wanted} has no variant {variant!r}", hint=one_of(variant, base.variants))
    if architecture and architecture not in base.architectures:
        raise _no_architecture(catalog, base, architecture)
    choice = choices(recipe, options or {})
    return Scope(
        catalog=catalog,
        model=recipe,
        platform=base,
        system=catalog.systems[base.system],
        variant=variant,
        choice=choice,
        uses=tuple(_uses(catalog, recipe, base, choice)),
    )


def _no_architecture(catalog: Catalog, platform: Platform, architecture: str) -> PlanError:
    others = [name for name, item in catalog.platforms.items() if architecture in item.architectures]
    hint = (
        f"{platform.name} is for {', '.join(platform.architectures)}; for {architecture}: {', '.join(others) or 'none'}"
    )
    return PlanError(
        f"{platform.name} does not exist for {architecture}: {platform.note or 'no wheels there'}", hint=hint
    )


def _uses(catalog: Catalog, model: Model, platform: Platform, choice: Mapping[str, str]) -> Iterator[ComponentUse]:
    """Yield the components of the model that exist on the platform.

    A component whose version has no origin for the accelerator is left out: that is what the recipe says by
    leaving the origin out (detectron2 on a platform without a git host, mx_driving without an NPU).
    """
    for use in chosen(model.components, platform.accelerator, choice):
        if _origin(catalog, platform, use):
            yield use
    if model.tcmalloc and not catalog.systems[platform.system].tcmalloc:
        version = next(iter(catalog.components[TCMALLOC].versions))
        yield ComponentUse(name=TCMALLOC, version=version)


def _origin(catalog: Catalog, platform: Platform, use: ComponentUse) -> str:
    if use.source:
        return use.source
    version = catalog.components[use.name].versions[use.version]
    return getattr(version, platform.accelerator) or ""


def read_lock(catalog: Catalog, path: str) -> Pinned:
    """Return what the lock at `path` below `locks/` pins.

    Raises:
        PlanError: when there is none, or a line of it is no pin.
    """
    if path not in catalog.locks:
        raise PlanError(f"there is no lock locks/{path}", hint="make it with `drivebuild lock`")
    return parse_lock(catalog.locks[path], path)
