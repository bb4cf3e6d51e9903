"""What a build is given beside its Dockerfile: contents of a store, mirrors, certificates, a network or none."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from builder.errors import BuildError, SourceError, UsageError

if TYPE_CHECKING:
    from builder.cli.main import Settings
    from builder.engine.host import Engine
    from builder.engine.process import Runner
    from builder.plan.needs import ImageNeed, Need
    from builder.plan.stage import Plan
    from builder.recipe.types import Agreement
    from builder.source.network import Network
    from builder.source.store import Entry, Store

__all__ = ["Supply", "Wanted", "supplied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the caller asked for."""

    store: Path | None = None
    offline: bool = False
    agreements: Collection[str] = ()
    """Names of the licence agreements that the user accepts."""
    until: str = ""
    replaced: Collection[str] = ()
    """Stages that `--source` replaces: nothing is fetched for them."""
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What `builder/engine/build.py` is handed."""

    contexts: tuple[tuple[str, Path], ...] = ()
    images: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, Path], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()


@contextmanager
def supplied(settings: Settings, plan: Plan, wanted: Wanted, *, engine: Engine, runner: Runner) -> Iterator[Supply]:
    """Yield what the build of `plan` is given; secrets are gone afterwards.

    Raises:
        UsageError: for `--offline` without a store, and for what only the user may download or install, without a yes.
        SourceError: naming all that the store lacks, or that could not be fetched.
    """
    from builder.engine.foreign import own_bases
    from builder.engine.leftover import temporary_folder
    from builder.engine.secrets import secret_files

    architecture = plan.foreign or engine.facts().architecture
    agreements = _agreements(settings, plan, wanted, architecture)
    if _has_installers(plan):
        # Installing accepts it again, whoever brought the installers.
        _check_licences(agreements, wanted)
    network = settings.network()
    contexts, images = _contexts(settings, plan, wanted, network, engine=engine, runner=runner)
    brought = {*wanted.replaced, *(stage for stage, _ in contexts)}
    _check_licences({stage: item for stage, item in agreements.items() if stage not in brought}, wanted)
    image = plan.platform.base.image
    mirror = network.registry(image)
    if mirror != image and not wanted.offline:
        images = ((image, mirror),)
    images = (*images, *(pair for pair in own_bases(plan) if pair[0] not in dict(images)))
    asked = sorted({agreement.name for agreement in agreements.values()} & set(wanted.agreements))
    with temporary_folder("drivebuild-secrets-") as folder:
        secrets = secret_files(
            network,
            os.environ,
            folder,
            system=settings.catalog().systems[plan.platform.system],
            suite=plan.platform.base.bootstrap.suite if plan.platform.base.bootstrap else "",
            architecture=architecture,
        )
        yield Supply(
            contexts=contexts,
            images=images,
            secrets=secrets,
            environment=tuple(network.proxies.items()),
            arguments=tuple((f"ACCEPT_{name.upper()}_EULA", "yes") for name in asked),
        )


def _has_installers(plan: Plan) -> bool:
    return plan.platform.cann is not None and plan.platform.cann.way == "run"


def _agreements(settings: Settings, plan: Plan, wanted: Wanted, architecture: str) -> dict[str, Agreement]:
    """Return the licence agreements of what this build downloads, by the stage that does."""
    from builder.plan.needs import FileNeed, plan_needs

    needs = plan_needs(settings.catalog(), plan, architecture, until=wanted.until)
    return {need.stage: need.eula for need in needs if isinstance(need, FileNeed) and need.eula}


def _check_licences(agreements: Mapping[str, Agreement], wanted: Wanted) -> None:
    for stage, agreement in agreements.items():
        if agreement.name not in wanted.agreements:
            message = f"stage {stage} is under a licence agreement that only you can accept"
            raise UsageError(message, hint=f"read it at {agreement.url}, then add --accept-{agreement.name}-eula")


def _contexts(
    settings: Settings, plan: Plan, wanted: Wanted, network: Network, *, engine: Engine, runner: Runner
) -> tuple[tuple[tuple[str, Path], ...], tuple[tuple[str, str], ...]]:
    """Return the folders that stand for stages: from the store the caller named, or for what a mirror serves.

    With them comes what stands for base images.
    """
    from builder.engine.foreign import own_bases
    from builder.source.contexts import make_contexts
    from builder.source.store import Store

    root = wanted.store or settings.config().store
    needs = tuple(_build_needs(settings, plan, wanted, plan.foreign or engine.facts().architecture))
    _check_submodules(settings, (need for need in needs if wanted.offline or root or _mirrored(need, network)))
    if wanted.offline:
        if root is None:
            raise UsageError("--offline: from which store?", hint="add --store DIR")
        store = Store(root)
        _check_system(plan)
        _check_complete(needs, store)
    else:
        if root is None:
            needs = tuple(need for need in needs if _mirrored(need, network))
        if not needs:
            return (), ()
        store = Store.make(root or _own_store())
        _fetch(needs, store, network, runner, wanted)
    names = dict(own_bases(plan))
    images = _base_images(needs, store, names, offline=wanted.offline, engine=engine, runner=runner)
    folder = _context_folder(store)
    made = make_contexts((need for need in needs if need.stage), store, runner, folder=folder)
    return tuple((context.stage, context.folder) for context in made), images


def _check_submodules(settings: Settings, needs: Iterable[Need]) -> None:
    """Say before hours of compiling that a source would come without what is part of it."""
    from builder.plan.needs import GitNeed
    from builder.recipe.types import GitSource

    sources = settings.catalog().sources
    for need in needs:
        if not isinstance(need, GitNeed):
            continue
        source = sources[need.name]
        if isinstance(source, GitSource) and source.submodules:
            message = f"{need.title}: it has submodules, and a store or a mirror brings none"
            raise SourceError(message, hint=f"--source {need.name}=DIR takes a folder that has them")


def _build_needs(settings: Settings, plan: Plan, wanted: Wanted, architecture: str) -> Iterator[Need]:
    from builder.plan.needs import ImageNeed, WeightNeed, plan_needs

    for need in plan_needs(settings.catalog(), plan, architecture, until=wanted.until):
        # An image from a registry is the engine's business, unless there is no network.
        pulled = isinstance(need, ImageNeed) and need.bootstrap is None and not wanted.offline
        if not isinstance(need, WeightNeed) and not pulled and need.stage not in wanted.replaced:
            yield need


def _mirrored(need: Need, network: Network) -> bool:
    url = getattr(need, "url", "")
    return bool(url) and network.candidates(url) != (url,)


def _own_store() -> Path:
    from builder.engine.folders import cache_folder

    return cache_folder() / "store"


def _context_folder(store: Store) -> Path:
    """Return where contexts are made: on the store's own disk if possible, where a file needs no copy."""
    from builder.engine.folders import cache_folder, make_folder

    cache = make_folder(cache_folder() / "contexts")
    if cache.stat().st_dev == store.root.stat().st_dev or not os.access(store.root, os.W_OK):
        return cache
    return store.root / "partial" / "contexts"


def _fetch(needs: tuple[Need, ...], store: Store, network: Network, runner: Runner, wanted: Wanted) -> None:
    from builder.cli.fetch import fetch_shown

    fetch_shown(needs, store, network, runner, agreements=wanted.agreements, quiet=wanted.quiet)


def _check_system(plan: Plan) -> None:
    """A store has the packages of distributions that drivebuild bootstraps, and of no other."""
    if plan.platform.base.bootstrap is None:
        message = f"{plan.platform.name}: no store has the packages of {plan.platform.system}, which its stages install"
        hint = "leave --offline out and name the site's mirror (`distribution` in drivebuild.yaml): docs/offline.md"
        raise SourceError(message, hint=hint)


def _check_complete(needs: tuple[Need, ...], store: Store) -> None:
    """Say at once, before anything is built, all that an offline build lacks."""
    from builder.source.contexts import missing

    lacking = missing(needs, store)
    if lacking:
        lines = "\n".join(f"  {need.title}" for need in lacking)
        hint = "fetch it where there is a network (`drivebuild fetch`), and carry it here (`drivebuild bundle`)"
        raise SourceError(f"the store {store.root} lacks {len(lacking)} things of this build\n{lines}", hint=hint)


def _base_images(
    needs: tuple[Need, ...], store: Store, names: Mapping[str, str], *, offline: bool, engine: Engine, runner: Runner
) -> tuple[tuple[str, str], ...]:
    """Give the engine the base image of the store where it has none; return what stands for one that it has.

    `names` has those that the engine knows by another name.

    With another root below it an image is another one, so an offline build takes the store's in any case: under a
    name of its own, because the engine's may be in use. An online build says that they differ.
    """
    from builder.plan.needs import ImageNeed
    from builder.source.images import layers_of

    found = []
    for need in needs:
        entry = store.find(need.key) if isinstance(need, ImageNeed) else None
        if not isinstance(need, ImageNeed) or entry is None:
            continue
        name = names.get(need.image, need.image)
        foreign = need.architecture if name != need.image else ""
        there = engine.image(name)
        layers = layers_of(entry, store.object(entry))
        if there is None:
            typer.echo(f"base image {name}: from the store")
            _load(need, entry, store, name, runner, foreign)
        elif there.layers != layers and offline:
            own = f"{name}-{layers[0].removeprefix('sha256:')[:12]}"
            typer.echo(f"base image {name}: the engine has another one; the store's is used, as {own}")
            if engine.image(own) is None:
                _load(need, entry, store, own, runner, foreign)
                # `docker load` gives an image the name it was saved under, too.
                _docker(runner, "tag", there.id, name)
            found.append((need.image, own))
        elif there.layers != layers:
            message = (
                f"warning: base image {name}: the engine's is not the store's, and this build takes the engine's;"
                f" an offline build will not be the same. After `docker image rm {name}` both take the store's"
            )
            typer.echo(message, err=True)
    return tuple(found)


def _load(need: ImageNeed, entry: Entry, store: Store, name: str, runner: Runner, foreign: str) -> None:
    """Make an image of a stored base, under a name; `foreign`: its architecture, where that is not the engine's."""
    from builder.plan.bootstrap import import_words
    from builder.source.images import IMPORT

    path = str(store.object(entry))
    if entry.note == IMPORT and need.bootstrap:
        _docker(runner, *import_words(need.bootstrap, path, name, foreign)[1:])
        return
    _docker(runner, "load", "--input", path)
    _docker(runner, "tag", entry.note.partition("; ")[2], name)


def _docker(runner: Runner, *words: str) -> None:
    done = runner.run(("docker", *words))
    if done.code != 0:
        raise BuildError(f"`docker {' '.join(words)}` failed: {done.complaint}")
