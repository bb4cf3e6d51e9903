"""What `lock` does about sources: which ones a word means, moving commits, recording what was first seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from builder.errors import PlanError, SourceError, UsageError

if TYPE_CHECKING:
    from builder.cli.main import Settings
    from builder.plan.firstseen import Unpublished
    from builder.plan.requirements import LockInput
    from builder.recipe.types import Catalog, GitSource
    from builder.source.firstseen import Look, Outcome, Seen
    from builder.source.gitref import Asker
    from builder.source.network import Network
    from builder.source.repin import Definition
    from builder.source.runs import Stop
    from builder.source.store import Store
    from builder.source.web import Web

__all__ = ["Targets", "asker_of", "choose", "record_seen", "update_commits"]

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What one command is about."""

    locks: tuple[LockInput, ...]
    """Python locks to be resolved if they are stale."""
    renewed: tuple[LockInput, ...]
    """Python locks to be resolved anyhow."""
    commits: Mapping[str, GitSource]
    """Git sources to be moved to where their ref is, by name."""
    seen: tuple[Unpublished, ...]
    """Things to be looked at."""
    asked: frozenset[str]
    """Keys of the things that were asked for by name: not to reach one is an error."""
    replaced: frozenset[str]
    """Keys of the things whose record is replaced."""
    everything: bool
    """Whether nothing was named."""


def choose(catalog: Catalog, names: Sequence[str], update: Sequence[str]) -> Targets:
    """Return what the words of a command line mean; without any, everything that is not current.

    Raises:
        PlanError: for a word that names nothing.
        UsageError: for a word that names two things.
    """
    from builder.plan.firstseen import unpublished
    from builder.plan.requirements import lock_inputs
    from builder.recipe.types import GitSource

    inputs, things = lock_inputs(catalog), unpublished(catalog)
    named = {*_meant(catalog, inputs, things, names, update=False)}
    updated = {*_meant(catalog, inputs, things, update, update=True)}
    everything = not names and not update
    asked = frozenset(thing.key for thing in things if thing.key in named | updated)
    return Targets(
        locks=inputs if everything else tuple(item for item in inputs if _keys(item) & named),
        renewed=inputs if ALL in update else tuple(item for item in inputs if _keys(item) & updated),
        commits={
            name: source
            for name, source in catalog.sources.items()
            if isinstance(source, GitSource) and f"git:{name}" in updated
        },
        seen=things if everything else tuple(thing for thing in things if thing.key in asked),
        asked=asked,
        replaced=frozenset(asked & updated),
        everything=everything,
    )


def _keys(item: LockInput) -> set[str]:
    """Return the names of a Python lock: its platform's and its model's."""
    platform, _, rest = item.path.partition("/")
    return {f"lock:{platform}", f"lock:{rest.rsplit('.', 2)[0]}"}


def _meant(
    catalog: Catalog,
    inputs: Iterable[LockInput],
    things: Iterable[Unpublished],
    words: Sequence[str],
    *,
    update: bool,
) -> Iterable[str]:
    """Yield the keys that words mean: `<kind>:<name>`, or the name alone where only one kind has it."""
    from builder.recipe.suggest import did_you_mean, one_of
    from builder.recipe.types import GitSource

    commits = {f"git:{name}" for name, source in catalog.sources.items() if isinstance(source, GitSource)}
    known = {key for item in inputs for key in _keys(item)} | {thing.key for thing in things}
    known |= commits if update else set()
    for word in words:
        found = sorted(key for key in known if word in (key, key.partition(":")[2]))
        if word == ALL and update:
            continue
        if not found:
            if f"git:{word.removeprefix('git:')}" in commits:
                hint = f"drivebuild lock --update {word}"
                raise PlanError(
                    f"{word!r} is pinned by its commit, which no lock holds; to move it, update it", hint=hint
                )
            # Sources are too many to be listed; only a near one is named.
            near = did_you_mean(word, {key.partition(":")[2] for key in known} | known)
            locks = {key.removeprefix("lock:") for key in known if key.startswith("lock:")}
            raise PlanError(f"no lock belongs to {word!r}", hint=near or one_of(word, locks))
        if len(found) > 1:
            raise UsageError(
                f"{word!r} may be {' or '.join(found)}", hint="name one of them with what is before the colon"
            )
        yield found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """A source whose ref is somewhere else now."""

    name: str
    old: str
    new: str
    places: tuple[Definition, ...]


def update_commits(settings: Settings, sources: Mapping[str, GitSource], *, dry_run: bool) -> None:
    """Move git sources to where their refs are now, and show what lies between.

    All are resolved, and all places to be changed are looked at, before the first file is written.

    Raises:
        SourceError: when a ref cannot be resolved, or a recipe cannot be changed.
    """
    from builder.source.repin import repin

    moves = [move for name, source in sources.items() if (move := _move(settings, name, source))]
    for write in (False,) if dry_run else (False, True):
        for move in moves:
            for place in move.places:
                repin(place, move.old, move.new, write=write)
    for move in moves:
        for place in move.places:
            typer.echo(f"{move.name}: {'would change' if dry_run else 'changed'} {place}")
        _tell_patched(settings.catalog(), move)
    if moves and not dry_run:
        typer.echo("then run `drivebuild render`: the rendered files still have the old commits")


def _move(settings: Settings, name: str, source: GitSource) -> _Move | None:
    """Say where a source's ref is now; return the move, if it is one."""
    from builder.source.git import shown_url
    from builder.source.gitlog import history
    from builder.source.gitref import read_ref, resolve_ref
    from builder.source.repin import definitions

    asker = asker_of(settings.network())
    found = resolve_ref(name, source, asker)
    if found.note:
        typer.echo(f"{name}: {found.note}")
    if found.commit == source.commit:
        typer.echo(f"{name}: {source.ref} is still {found.commit}")
        return None
    typer.echo(f"{name}: {source.ref}, asked at {shown_url(found.url)}")
    typer.echo(f"  {source.commit}\n  -> {found.commit}")
    for line in history(source.commit, found, asker):
        typer.echo(f"  {line}")
    if found.ref.startswith("refs/tags/"):
        typer.echo("  the tag is not on the recipe's commit: it has moved, or the recipe never was on it; find out why")
    if read_ref(name, source.ref).dated:
        typer.echo(f"  the recipe's ref still says {source.ref!r}: correct the day by hand")
    places = definitions(_writable(settings, name), name)
    return _Move(name=name, old=source.commit, new=found.commit, places=places)


def _writable(settings: Settings, name: str) -> tuple[Path, ...]:
    """Return the recipe folders, all of which may be changed.

    Raises:
        SourceError: when the shipped ones are part of an installed package and define the source.
    """
    from builder import paths
    from builder.source.repin import definitions

    if not paths.in_checkout() and (shipped := definitions((paths.RECIPES,), name)):
        hint = (
            "`--pin SOURCE=COMMIT` of `image` builds another commit; or copy the recipes and give them with --recipes"
        )
        raise SourceError(f"{shipped[0]}: an installed drivebuild's own recipe is not changed", hint=hint)
    return (paths.RECIPES, *settings.recipes)


def _tell_patched(catalog: Catalog, move: _Move) -> None:
    from builder.plan.patched import patched_by

    models = patched_by(catalog, move.name)
    if models:
        typer.echo(f"{move.name} is patched for, or patches, {', '.join(models)}: run `drivebuild patch check`")


def asker_of(network: Network) -> Asker:
    """Return who asks git servers, by the site's configuration."""
    from builder.engine.process import SystemRunner
    from builder.source.fetch import environment_of
    from builder.source.gitref import Asker

    return Asker(runner=SystemRunner(), candidates=network.candidates, environment=environment_of(network))


# --- what was first seen -------------------------------------------------------------------------


def record_seen(settings: Settings, targets: Targets, folder: Path, shelf: Store | None, *, dry_run: bool) -> None:
    """Look at what nobody publishes a checksum of, and record what was not known.

    Raises:
        SourceError: when something is not what it was, or what was asked for by name cannot be reached.
    """
    from builder.plan.firstseen import FIRST_SEEN, parse_records, recorded, unpublished
    from builder.source.firstseen import look_store, read_records, review, surplus, write_records

    if not targets.seen and not targets.everything:
        return
    catalog = settings.catalog()
    known = parse_records(catalog.locks.get(FIRST_SEEN, ""))
    # What is recorded is only looked at again where that costs nothing, or when it is asked for.
    things = tuple(
        thing
        for thing in targets.seen
        if thing.key in targets.asked or not recorded(thing, known) or (shelf and look_store(thing, shelf))
    )
    outcome = review(things, known, _look(shelf, settings.network()), _today(), replace=targets.replaced)
    own = read_records(folder)
    gone = surplus(own, unpublished(catalog)) if targets.everything else {}
    new = {record.key: record for record in (*outcome.new, *(after for _, after in outcome.replaced))}
    _tell(outcome, targets.asked, {key: reason for key, reason in gone.items() if key not in new})
    if (new or gone) and not dry_run:
        write_records(folder, {key: record for key, record in own.items() if key not in gone} | new)
    if targets.everything and things:
        number = sum(1 for thing in targets.seen if recorded(thing, outcome.records))
        typer.echo(f"{number} of {len(targets.seen)} things without a published checksum are recorded")
    _complain(outcome, targets.asked)


def _look(shelf: Store | None, network: Network) -> Look:
    """Return what looks at a thing: in the store, in its registry, or behind its URL."""
    from builder.engine.process import SystemRunner
    from builder.source.firstseen import look_image, look_store
    from builder.source.web import Web

    web = Web(network)

    def look(thing: Unpublished, stop: Stop) -> Seen:
        if thing.kind == "image":
            return look_image(network.registry(thing.url), SystemRunner())
        found = look_store(thing, shelf) if shelf else None
        if found:
            return found
        if thing.eula:
            how = f"`drivebuild fetch --accept-{thing.eula}-eula --store DIR`, then `lock --store DIR`"
            raise SourceError(f"its licence is yours to accept: {how}")
        return _download(thing, shelf, network, web, stop)

    return look


def _download(thing: Unpublished, shelf: Store | None, network: Network, web: Web, stop: Stop) -> Seen:
    """Fetch a thing into the store that was named, or into one that is thrown away."""
    from builder.source.download import Download, download
    from builder.source.firstseen import Seen
    from builder.source.store import Store

    typer.echo(f"downloading {thing.key} ...")
    file = PurePosixPath(urlsplit(thing.url).path).name or "file"
    wanted = Download(key=f"url:{thing.url}", url=thing.url, sha256=None, file=file, referer=thing.referer)
    with TemporaryDirectory(prefix="drivebuild-lock-") as folder:
        store = shelf or Store.make(Path(folder) / "store")
        entry = download(wanted, store, network, web=web, stop=stop)
    return Seen(entry.sha256, entry.size)


def _today() -> str:
    from datetime import datetime, timezone

    return datetime.now(timezone.utc).date().isoformat()


def _tell(outcome: Outcome, asked: frozenset[str], gone: Mapping[str, str]) -> None:
    for record in outcome.new:
        typer.echo(f"first seen: {record.key} sha256:{record.sha256}, {record.size} bytes")
    for before, after in outcome.replaced:
        typer.echo(f"replaced: {after.key} sha256:{before.sha256} -> sha256:{after.sha256}, {after.size} bytes")
    for record in outcome.same:
        typer.echo(f"as recorded on {record.date}: {record.key}")
    for key, reason in gone.items():
        typer.echo(f"forgotten: {key}: {reason}")
    # On a machine without those hosts everything else must work: it is told, and no error.
    for key, reason in outcome.missed.items():
        if key not in asked:
            typer.echo(f"not reached: {key}: {reason}", err=True)


def _complain(outcome: Outcome, asked: frozenset[str]) -> None:
    lines = list(outcome.differing)
    lines += [f"not reached: {key}: {reason}" for key, reason in outcome.missed.items() if key in asked]
    if lines:
        hint = "find out why it changed; if the new one is right: drivebuild lock --update NAME"
        raise SourceError("\n".join(lines), hint=hint if outcome.differing else "")
