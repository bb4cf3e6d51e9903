"""What one plan is about: model, platform and variant, and the components, origins and locks that apply. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from msgspec.structs import replace

from builder.errors import PlanError
from builder.plan.allocator import TCMALLOC, chosen_way, source_of, system_ways, with_option
from builder.plan.compiled_by import chosen_toolchain
from builder.plan.firstseen import FIRST_SEEN, first_seen
from builder.plan.locks import ADAPTER, FRAMEWORK, Pinned, added, lock_path, parse_lock, published_lock
from builder.plan.select import choices, chosen, known
from builder.recipe.suggest import one_of
from builder.recipe.types import (
    Architecture,
    ArchiveSource,
    Catalog,
    ComponentUse,
    GitSource,
    Model,
    Origin,
    Platform,
    Step,
    System,
    TcmallocWay,
    Variant,
)

__all__ = ["OS_PACKAGES", "PYTHON_STOCK", "Scope", "read_lock", "scope_of"]

PYTHON_STOCK = "python-stock"
"""The stage of the Python that everything is compiled against, whatever the variant."""
OS_PACKAGES = "os-packages"


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What one plan is about, and what applies to it. Equal to itself alone: what is derived from it is kept so."""

    catalog: Catalog
    model: Model
    platform: Platform
    system: System
    variant: Variant
    choice: Mapping[str, str]
    """Every option of the model with its choice."""
    tcmalloc: TcmallocWay | None
    """How libtcmalloc comes into the image; None for a model that does not want it."""
    uses: tuple[ComponentUse, ...]
    """The components that are built on the platform."""
    published: tuple[ComponentUse, ...] = ()
    """The components that the package index has as wheels."""
    pinned: Mapping[str, str] = field(default_factory=dict)
    """Commits that the caller builds in place of the recipe's, by source."""
    toolchain: str = ""
    """The compiler that the caller chose in place of the platform's."""
    profile: str = ""
    """The sha256 of the profile that the variant `pgo` is built with, where it is known already."""
    architectures: tuple[Architecture, ...] = ()
    """What the image exists for: the platform's, as far as the chosen compiler does."""

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
    def cann_way(self) -> str:
        """How CANN comes into the image; '' where it does not."""
        return self.platform.cann.way if self.platform.cann else ""

    @property
    def frameworks(self) -> tuple[ComponentUse, ...]:
        """The components that are compiled in place of packages of the locks, in the locks' versions; none for most.

        Raises:
            PlanError: for one whose recipe does not have that version.
        """
        optimised = self.platform.optimised
        if self.variant in ("stock", "lto") or optimised is None or not optimised.framework:
            return ()
        locks, found = tuple(self.stack_locks().values()), []
        for name in optimised.framework:
            component = self.catalog.components[name]
            version = next((lock[component.package][0] for lock in locks if component.package in lock), "")
            if version not in component.versions:
                message = f"components/{name}.yaml: no version {version} as in the lock of {self.platform.name}"
                raise PlanError(message, hint=f"it has {', '.join(component.versions)}")
            found.append(ComponentUse(name=name, version=version))
        return tuple(found)

    @property
    def os_packages(self) -> tuple[str, ...]:
        """The stage that a folder of the distribution's packages may stand for; dnf takes a site's own repository."""
        return (OS_PACKAGES,) if self.system.manager == "apt" else ()

    @property
    def runtime_packages(self) -> tuple[str, ...]:
        """The distribution's packages in the base of every image; tcmalloc is among them where it is the default."""
        packaged = system_ways(self.system)[0] == "package"
        return (*self.system.runtime, *(self.system.tcmalloc if packaged else ()))

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

    def stack_locks(self) -> dict[str, Pinned]:
        """Return what the platform pins for all models once the framework's adapter is there, by architecture."""
        return self._locks(ADAPTER if self.platform.adapter else FRAMEWORK)

    def model_locks(self) -> dict[str, Pinned]:
        """Return what is pinned for the model, by architecture."""
        return self._locks(self.model.name)

    def published_locks(self, use: ComponentUse) -> dict[str, Pinned]:
        """Return what is pinned for a component that the package index has as a wheel, by architecture."""
        return self._locks(published_lock(use.name, use.version))

    def env_packages(self) -> dict[str, Pinned]:
        """Return what the environment adds to the stack: the model's packages and published wheels, by architecture."""
        return _env_packages(self)

    def _locks(self, name: str) -> dict[str, Pinned]:
        folder = self.platform.locks or self.platform.name
        return {
            architecture: read_lock(self.catalog, lock_path(folder, name, architecture))
            for architecture in self.platform.architectures
        }


@lru_cache(maxsize=4)
def _env_packages(scope: Scope) -> dict[str, Pinned]:
    locks = [scope.model_locks(), *(scope.published_locks(use) for use in scope.published)]
    return {
        architecture: {name: item for lock in locks for name, item in added(lock[architecture], below).items()}
        for architecture, below in scope.stack_locks().items()
    }


def scope_of(
    catalog: Catalog,
    model: str,
    *,
    platform: str = "",
    variant: str = "stock",
    architecture: str = "",
    options: Mapping[str, str] | None = None,
    pinned: Mapping[str, str] | None = None,
    toolchain: str = "",
    profile: str = "",
) -> Scope:
    """Return what a plan with these choices is about. Reads no lock.

    Raises:
        PlanError: for a model, platform, variant, architecture, option, pinned source or toolchain that does not exist.
    """
    catalog = _with_first_seen(_repinned(catalog, pinned or {}))
    recipe: Model = known(catalog.models, model, "model")
    wanted = platform or recipe.platform
    base: Platform = known(catalog.platforms, wanted, "platform")
    if variant not in base.variants:
        raise PlanError(f"{wanted} has no variant {variant!r}", hint=one_of(variant, base.variants))
    if profile and variant != "pgo":
        raise PlanError(f"a profile is for the variant pgo, not for {variant}", hint="add --pgo=use")
    if architecture and architecture not in base.architectures:
        raise _no_architecture(catalog, base, architecture)
    compiler, architectures = chosen_toolchain(catalog, base, variant, toolchain, architecture)
    system = catalog.systems[base.system]
    way = chosen_way(recipe, system, base, options or {})
    recipe = with_option(recipe, system_ways(system, base))
    choice = choices(recipe, options or {})
    uses = tuple(chosen(recipe.components, base.accelerator, choice))
    return Scope(
        catalog=catalog,
        model=recipe,
        platform=base,
        system=system,
        variant=variant,
        choice=choice,
        tcmalloc=way,
        uses=tuple(_built(catalog, base, uses, way)),
        published=tuple(use for use in uses if _version(catalog, use).index and base.accelerator == "npu"),
        pinned=dict(pinned or {}),
        toolchain=compiler,
        profile=profile,
        architectures=architectures,
    )


def _with_first_seen(catalog: Catalog) -> Catalog:
    """Return the catalog with the checksums and digests that `drivebuild lock` recorded where recipes know none."""
    if FIRST_SEEN not in catalog.locks:
        return catalog
    sources = {
        name: replace(source, sha256=source.sha256 or first_seen(catalog, "archive", name))
        if isinstance(source, ArchiveSource)
        else source
        for name, source in catalog.sources.items()
    }
    platforms = {
        name: replace(
            item, base=replace(item.base, digest=item.base.digest or first_seen(catalog, "image", item.base.image))
        )
        for name, item in catalog.platforms.items()
    }
    models = {
        name: replace(
            model,
            weights=tuple(
                replace(weight, sha256=weight.sha256 or first_seen(catalog, "weight", f"{name}/{weight.file}"))
                for weight in model.weights
            ),
        )
        for name, model in catalog.models.items()
    }
    return replace(catalog, sources=sources, platforms=platforms, models=models)


def _repinned(catalog: Catalog, pinned: Mapping[str, str]) -> Catalog:
    """Return the catalog with other commits for some git sources."""
    if not pinned:
        return catalog
    sources = dict(catalog.sources)
    for name, commit in pinned.items():
        source = sources.get(name)
        if not isinstance(source, GitSource):
            known_names = [key for key, item in sources.items() if isinstance(item, GitSource)]
            raise PlanError(f"there is no git source {name!r}", hint=one_of(name, known_names))
        if not re.fullmatch(r"[0-9a-f]{40}", commit):
            raise PlanError(
                f"{name}: {commit!r} is no full commit", hint="40 hexadecimal digits, as `git rev-parse` says"
            )
        sources[name] = replace(source, commit=commit)
    return replace(catalog, sources=sources)


def _no_architecture(catalog: Catalog, platform: Platform, architecture: str) -> PlanError:
    others = [name for name, item in catalog.platforms.items() if architecture in item.architectures]
    hint = (
        f"{platform.name} is for {', '.join(platform.architectures)}; for {architecture}: {', '.join(others) or 'none'}"
    )
    return PlanError(
        f"{platform.name} does not exist for {architecture}: {platform.note or 'no wheels there'}", hint=hint
    )


def _built(
    catalog: Catalog, platform: Platform, uses: tuple[ComponentUse, ...], way: TcmallocWay | None
) -> Iterator[ComponentUse]:
    """Yield the components of the model that are built on the platform.

    A component whose version has no origin for the accelerator is left out: that is what the recipe says by
    leaving the origin out (detectron2 on a platform without a git host, mx_driving without an NPU). So is one that
    CANN's compilers are needed for, where CANN is a stub; tcmalloc is compiled where it does not come as a package.
    """
    stub = platform.cann is not None and platform.cann.way == "stub"
    for use in uses:
        if (
            catalog.components[use.name].template != "tcmalloc"
            and _origin(catalog, platform, use)
            and not (stub and catalog.components[use.name].cann == "toolkit")
        ):
            yield use
    if way and way != "package":
        component = catalog.components[TCMALLOC]
        named = next((use for use in uses if use.name == TCMALLOC), None)
        version = named.version if named else next(iter(component.versions))
        source = named.source if named else ""
        yield ComponentUse(name=TCMALLOC, version=version, source=source or source_of(component, version, way))


def _origin(catalog: Catalog, platform: Platform, use: ComponentUse) -> str:
    if use.source:
        return use.source
    return getattr(_version(catalog, use), platform.accelerator) or ""


def _version(catalog: Catalog, use: ComponentUse) -> Origin:
    return catalog.components[use.name].versions[use.version]


def read_lock(catalog: Catalog, path: str) -> Pinned:
    """Return what the lock at `path` below `locks/` pins.

    Raises:
        PlanError: when there is none, or a line of it is no pin.
    """
    if path not in catalog.locks:
        raise PlanError(f"there is no lock locks/{path}", hint="make it with `drivebuild lock`")
    return parse_lock(catalog.locks[path], path)
