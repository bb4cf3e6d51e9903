"""What a build is given beside its Dockerfile: contents of a store, mirrors, certificates, a network or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from builder.cli.options import known_architecture, machine
from builder.errors import BuildError, SourceError, UsageError

if TYPE_CHECKING:
    from builder.cli.main import Settings
    from builder.engine.host import Engine
    from builder.engine.process import Runner
    from builder.plan.needs import Need
    from builder.plan.stage import Plan
    from builder.source.network import Network
    from builder.source.store import Store

__all__ = ["Supply", "Wanted", "known_architecture", "machine", "supplied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the caller asked for."""

    store: Path | None = None
    offline: bool = False
    accept_eula: bool = False
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
        UsageError: for `--offline` without a store, and for CANN's installers without their licence.
        SourceError: naming all that the store lacks, or that could not be fetched.
    """
    from builder.engine.secrets import secret_files

    _check_licence(plan, accepted=wanted.accept_eula)
    network = settings.network()
    contexts = _contexts(settings, plan, wanted, network, engine=engine, runner=runner)
    image = plan.platform.base.image
    mirror = network.registry(image)
    images = ((image, mirror),) if mirror != image and not wanted.offline else ()
    arguments = (("ACCEPT_CANN_EULA", "yes"),) if _has_installers(plan) and wanted.accept_eula else ()
    with tempfile.TemporaryDirectory(prefix="drivebuild-secrets-") as name:
        secrets = secret_files(
            network,
            os.environ,
            Path(name),
            system=settings.catalog().systems[plan.platform.system],
            suite=plan.platform.base.bootstrap.suite if plan.platform.base.bootstrap else "",
            architecture=engine.facts().architecture,
        )
        yield Supply(
            contexts=contexts,
            images=images,
            secrets=secrets,
            environment=tuple(network.proxies.items()),
            arguments=arguments,
        )


def _has_installers(plan: Plan) -> bool:
    return plan.platform.cann is not None and plan.platform.cann.way == "run"


def _check_licence(plan: Plan, *, accepted: bool) -> None:
    if _has_installers(plan) and not accepted:
        from builder.source.fetch import EULA

        message = f"{plan.platform.name} runs CANN's installers, which are under a licence that only you can accept"
        raise UsageError(message, hint=f"read it at {EULA}, then add --accept-cann-eula")


def _contexts(
    settings: Settings, plan: Plan, wanted: Wanted, network: Network, *, engine: Engine, runner: Runner
) -> tuple[tuple[str, Path], ...]:
    """Return the folders that stand for stages: from the store the caller named, or for what a mirror serves."""
    from builder.source.contexts import make_contexts
    from builder.source.store import Store

    root = wanted.store or settings.config().store
    needs = tuple(_build_needs(settings, plan, wanted, engine.facts().architecture))
    if wanted.offline:
        if root is None:
            raise UsageError("--offline: from which store?", hint="add --store DIR")
        store = Store(root)
        _check_system(plan)
        _check_complete(needs, store)
        _ensure_base(needs, store, engine=engine, runner=runner)
    else:
        if root is None:
            needs = tuple(need for need in needs if _mirrored(need, network))
        if not needs:
            return ()
        store = Store.make(root or _own_store())
        _fetch(needs, store, network, runner, wanted)
    folder = _context_folder(store)
    made = make_contexts((need for need in needs if need.stage), store, runner, folder=folder)
    return tuple((context.stage, context.folder) for context in made)


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

    fetch_shown(needs, store, network, runner, accept_eula=wanted.accept_eula, quiet=wanted.quiet)


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


def _ensure_base(needs: tuple[Need, ...], store: Store, *, engine: Engine, runner: Runner) -> None:
    """Give the engine the base image from the store, where it does not have it."""
    from builder.plan.needs import ImageNeed

    for need in needs:
        entry = store.find(need.key) if isinstance(need, ImageNeed) else None
        if not isinstance(need, ImageNeed) or entry is None or engine.image(need.image):
            continue
        typer.echo(f"base image {need.image}: from the store")
        way, _, identity = entry.note.partition("; ")
        path = str(store.object(entry))
        if way == "docker import":
            commands: list[tuple[str, ...]] = [("docker", "import", path, need.image)]
        else:
            commands = [("docker", "load", "--input", path), ("docker", "tag", identity, need.image)]
        for command in commands:
            done = runner.run(command)
            if done.code != 0:
                raise BuildError(f"`{' '.join(command)}` failed: {done.complaint}")
