"""Rules for platforms and toolchains: every name that is used exists, and what goes together does. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from builder.recipe.suggest import one_of
from builder.recipe.text import DataPath, Document, Mistake
from builder.recipe.types import ArchiveSource, Catalog, GitSource, Platform, Toolchain

__all__ = ["PLATFORM_RULES", "toolchain_names", "unknown"]


def unknown(doc: Document, path: DataPath, what: str, name: str, known: Iterable[str]) -> Mistake:
    """Return the mistake of a name that does not exist, with the nearest that does."""
    spelled = ".".join(str(key) for key in path)
    return doc.mistake(path, f"{spelled}: unknown {what} {name!r}", hint=one_of(name, known))


def _platform_names(catalog: Catalog, platform: Platform, doc: Document) -> Iterator[Mistake]:
    if platform.system not in catalog.systems:
        yield unknown(doc, ("system",), "system", platform.system, catalog.systems)
    if platform.python.source not in catalog.sources:
        path = ("python", "source")
        yield unknown(doc, path, "source", platform.python.source, catalog.sources)


def _platform_base(catalog: Catalog, platform: Platform, doc: Document) -> Iterator[Mistake]:
    # One name is one image on the engine: whoever is built last would make it anew for both.
    for other in catalog.platforms.values():
        same = other.name < platform.name and other.base.image == platform.base.image
        if same and other.base.bootstrap != platform.base.bootstrap:
            message = f"base.bootstrap: {other.name} makes {platform.base.image} in another way"
            yield doc.mistake(("base",), message)
            return


def _platform_wheels(catalog: Catalog, platform: Platform, doc: Document) -> Iterator[Mistake]:
    for architecture, names in platform.wheels.items():
        for index, name in enumerate(names):
            if name not in catalog.sources:
                yield unknown(doc, ("wheels", architecture, index), "source", name, catalog.sources)
    for key in ("locks", "twin"):
        other = getattr(platform, key)
        if other and other not in catalog.platforms:
            yield unknown(doc, (key,), "platform", other, catalog.platforms)


def _platform_common(catalog: Catalog, platform: Platform, doc: Document) -> Iterator[Mistake]:
    # Not whether a lock has it: locks are made from these files, and one that is new has none yet.
    for index, name in enumerate(platform.common):
        if name in platform.common[:index]:
            yield doc.mistake(("common", index), f"common.{index}: {name!r} is there twice")


def _platform_libraries(catalog: Catalog, platform: Platform, doc: Document) -> Iterator[Mistake]:
    for architecture in platform.libraries:
        if architecture not in platform.architectures:
            message = f"libraries.{architecture}: {platform.name} does not exist for it"
            hint = f"it exists for {', '.join(platform.architectures)}"
            yield doc.mistake(("libraries", architecture), message, hint=hint)


def _platform_variants(catalog: Catalog, platform: Platform, doc: Document) -> Iterator[Mistake]:
    for variant in platform.variants:
        if not platform.optimised and variant not in ("stock", "lto"):
            message = f"variants: {variant!r} is there, but `optimised` does not say what it compiles"
            yield doc.mistake(("variants",), message)
        elif variant in ("stock", "lto") and variant not in platform.python.compiler:
            message = f"python.compiler: no compiler for the variant {variant!r}"
            yield doc.mistake(("python", "compiler"), message)


def _platform_compilers(catalog: Catalog, platform: Platform, doc: Document) -> Iterator[Mistake]:
    if "stock" not in platform.variants:
        message = "variants: 'stock' is missing; what is compiled is compiled against it"
        yield doc.mistake(("variants",), message)
    for variant, name in platform.python.compiler.items():
        yield from _toolchain(catalog, platform, doc, ("python", "compiler", variant), name, platform.architectures)
    if platform.optimised:
        for architecture, name in platform.optimised.toolchain.items():
            path = ("optimised", "toolchain", architecture)
            yield from _toolchain(catalog, platform, doc, path, name, (architecture,))


def _toolchain(
    catalog: Catalog, platform: Platform, doc: Document, path: DataPath, name: str, wanted: tuple[str, ...]
) -> Iterator[Mistake]:
    """One compiler: it exists, for the platform's system, and for the architectures."""
    spelled = ".".join(map(str, path))
    if name not in catalog.toolchains:
        yield unknown(doc, path, "toolchain", name, catalog.toolchains)
        return
    toolchain = catalog.toolchains[name]
    missing = [each for each in wanted if each not in toolchain.architectures]
    if missing:
        message = f"{spelled}: {toolchain.title} exists for {', '.join(toolchain.architectures)} only"
        yield doc.mistake(path, message, hint=f"another one for {', '.join(missing)}")
    if platform.system in catalog.systems and platform.system not in toolchain.systems:
        message = f"{spelled}: toolchain {name!r} is for {', '.join(toolchain.systems)}, not for {platform.system}"
        yield doc.mistake(path, message)


def _platform_sources(catalog: Catalog, platform: Platform, doc: Document) -> Iterator[Mistake]:
    if isinstance(catalog.sources.get(platform.python.source), GitSource):
        message = f"python.source: {platform.python.source!r} is a git source; Python is built from an archive"
        yield doc.mistake(("python", "source"), message)
    for architecture, names in platform.wheels.items():
        for index, name in enumerate(names):
            if not isinstance(catalog.sources.get(name, None), ArchiveSource | None):
                message = f"wheels.{architecture}.{index}: {name!r} is no archive source; a wheel is a file"
                yield doc.mistake(("wheels", architecture, index), message)


def _platform_accelerator(catalog: Catalog, platform: Platform, doc: Document) -> Iterator[Mistake]:
    if platform.accelerator == "npu" and platform.cann is None:
        yield doc.mistake((), "cann: a platform for NPUs names its CANN release")
    if platform.base.digest is None and platform.base.bootstrap is None and not platform.base.note:
        message = "base: a base image without digest says in its note why"
        yield doc.mistake(("base",), message, hint="add digest: sha256:… or note: …")


def _platform_cann(catalog: Catalog, platform: Platform, doc: Document) -> Iterator[Mistake]:
    """Installers belong to `way: run`, one list for each architecture; each is a file."""
    cann = platform.cann
    if cann is None:
        return
    for architecture, names in cann.installers.items():
        for index, name in enumerate(names):
            path = ("cann", "installers", architecture, index)
            if name not in catalog.sources:
                yield unknown(doc, path, "source", name, catalog.sources)
            elif not isinstance(catalog.sources[name], ArchiveSource):
                yield doc.mistake(path, f"cann.installers.{architecture}.{index}: {name!r} is no archive source")
    missing = [name for name in platform.architectures if name not in cann.installers]
    if cann.way == "run" and missing:
        message = f"cann.installers: none for {', '.join(missing)}, and the way is 'run'"
        yield doc.mistake(("cann",), message)
    if cann.way != "run" and cann.installers:
        message = f"cann.installers: the way is {cann.way!r}; installers are for 'run'"
        yield doc.mistake(("cann", "installers"), message)


_OPTIMISED: Mapping[str, tuple[str, ...]] = {"framework": ("pytorch", "torch-npu"), "components": ("wheel",)}
"""Templates that compile what a platform names there."""


def _platform_optimised(catalog: Catalog, platform: Platform, doc: Document) -> Iterator[Mistake]:
    """Every architecture has its compiler, and what is compiled are components."""
    optimised = platform.optimised
    if optimised is None:
        return
    missing = [name for name in platform.architectures if name not in optimised.toolchain]
    if missing:
        yield doc.mistake(("optimised", "toolchain"), f"optimised.toolchain: none for {', '.join(missing)}")
    # One text serves all architectures: it names the tools, and the options of one family.
    families = {catalog.toolchains[name].family for name in optimised.toolchain.values() if name in catalog.toolchains}
    if len(families) > 1:
        message = f"optimised.toolchain: of several families: {', '.join(sorted(families))}"
        yield doc.mistake(("optimised", "toolchain"), message)
    for key in ("framework", "components"):
        for index, name in enumerate(getattr(optimised, key)):
            if name not in catalog.components:
                yield unknown(doc, ("optimised", key, index), "component", name, catalog.components)
            elif (template := catalog.components[name].template) not in _OPTIMISED[key]:
                message = f"optimised.{key}.{index}: {name!r} is made by the template {template!r}"
                hint = f"it wants one of: {', '.join(_OPTIMISED[key])}"
                yield doc.mistake(("optimised", key, index), message, hint=hint)


def toolchain_names(catalog: Catalog, toolchain: Toolchain, doc: Document) -> Iterator[Mistake]:
    """Yield the mistakes of a toolchain: its systems, its source, and what its family wants."""
    for index, name in enumerate(toolchain.systems):
        if name not in catalog.systems:
            yield unknown(doc, ("systems", index), "system", name, catalog.systems)
    if toolchain.source and not isinstance(catalog.sources.get(toolchain.source), ArchiveSource):
        yield unknown(doc, ("source",), "archive source", toolchain.source, catalog.sources)
    if toolchain.source and toolchain.packages:
        yield doc.mistake(("source",), "source: the toolchain comes from packages already")
    if toolchain.family == "clang" and not (toolchain.tools.linker and toolchain.tools.profdata):
        message = "tools: clang's LTO and PGO want its own linker and profdata"
        yield doc.mistake(("tools",), message)


PLATFORM_RULES: tuple[Callable[[Catalog, Platform, Document], Iterator[Mistake]], ...] = (
    _platform_names,
    _platform_wheels,
    _platform_common,
    _platform_libraries,
    _platform_variants,
    _platform_compilers,
    _platform_sources,
    _platform_accelerator,
    _platform_cann,
    _platform_optimised,
    _platform_base,
)
