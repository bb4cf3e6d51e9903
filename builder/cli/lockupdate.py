"""`lock --update` without a name: what could be moved, as the body of a pull request; written only with --write."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from builder.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.cli.main import Settings
    from builder.plan.requirements import LockInput
    from builder.recipe.types import Catalog, GitSource
    from builder.source.propose import Bench, LockChange, Move, Proposal
    from builder.source.repin import Definition
    from builder.source.runs import Stop

__all__ = ["propose"]

AT_ONCE = 4
"""Resolutions at a time: uv itself uses all processors for a part of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Locks:
    """What resolving all locks anew found."""

    changed: Mapping[LockInput, tuple[str, ...]]
    changes: tuple[LockChange, ...]
    current: tuple[str, ...]
    missed: Mapping[str, str]


def propose(
    settings: Settings,
    *,
    model: str,
    store: Path | None,
    resolve: Callable[[LockInput], tuple[str, ...]],
    write_lock: Callable[[LockInput, tuple[str, ...]], Path],
    write: bool,
    as_json: bool,
) -> None:
    """Print what could be moved: commits of git sources, and versions in Python locks; with `write`, move it.

    Args:
        resolve: makes a lock's lines anew.
        write_lock: writes a lock's lines and returns the file.

    Raises:
        SourceError: when nothing at all could be asked, or a recipe cannot be changed.
        PlanError: for a model that does not exist.
    """
    from builder.cli.inspect import print_json
    from builder.source.proposaltext import markdown, plain_data

    catalog = settings.catalog()
    models = _models(catalog, model)
    if write:
        _check_writable(settings)
    with _bench(settings, store) as bench:
        proposal, places = _moves(settings, bench, models, _sources(catalog, model))
    locks = _locks(catalog, model, resolve)
    proposal = replace(
        proposal,
        locks=locks.changes,
        current=(*proposal.current, *locks.current),
        missed={**proposal.missed, **locks.missed},
    )
    _require_answers(proposal)
    texts = _texts(proposal.written, places)
    proposal = replace(proposal, diff=_diff(texts))
    written = _write(texts, locks, write_lock) if write else []
    if as_json:
        print_json(plain_data(proposal, written))
    else:
        typer.echo(markdown(proposal), nl=False)
    _tell(proposal, written, write=write)


def _models(catalog: Catalog, model: str) -> tuple[str, ...]:
    from builder.plan.make import known

    if model:
        known(catalog.models, model, "model")
        return (model,)
    return tuple(catalog.models)


def _sources(catalog: Catalog, model: str) -> dict[str, GitSource]:
    """Return the git sources; of one model, those of its image on its own and on every CPU platform."""
    from builder.plan.scope import scope_of
    from builder.plan.sources import used_sources
    from builder.recipe.types import GitSource

    names = set(catalog.sources)
    if model:
        cpu = (name for name, platform in catalog.platforms.items() if platform.accelerator == "cpu")
        scopes = (scope_of(catalog, model, platform=name) for name in ("", *cpu))
        names = {name for scope in scopes for name in used_sources(scope)}
    return {name: source for name, source in catalog.sources.items() if name in names and isinstance(source, GitSource)}


def _check_writable(settings: Settings) -> None:
    from builder import paths

    if not paths.in_checkout() and not settings.recipes:
        hint = "give your own folder: drivebuild --recipes DIR lock --update --write"
        raise SourceError("an installed drivebuild's own recipes are not changed", hint=hint)


@contextmanager
def _bench(settings: Settings, named: Path | None) -> Iterator[Bench]:
    """Yield what moves are tried on; without a store, with one that is thrown away."""
    from builder.engine.folders import cache_folder
    from builder.engine.process import SystemRunner
    from builder.source.propose import Bench
    from builder.source.store import Store

    def made(store: Store) -> Bench:
        return Bench(
            catalog=settings.catalog(),
            store=store,
            cache=cache_folder() / "packs",
            network=settings.network(),
            runner=SystemRunner(),
        )

    folder = named or settings.config().store
    if folder:
        yield made(Store.make(folder.expanduser()))
        return
    with TemporaryDirectory(prefix="drivebuild-update-") as name:
        yield made(Store.make(Path(name) / "store"))


def _moves(
    settings: Settings, bench: Bench, models: Sequence[str], sources: Mapping[str, GitSource]
) -> tuple[Proposal, dict[str, tuple[Definition, ...]]]:
    from builder import paths
    from builder.cli.locksources import asker_of
    from builder.source.propose import Proposal, ask_all, try_move
    from builder.source.repin import definitions

    with_ref = {name: source for name, source in sources.items() if source.ref.strip()}
    asked, missed = ask_all(with_ref, asker_of(settings.network()), _say)
    folders = (paths.RECIPES, *settings.recipes) if paths.in_checkout() else settings.recipes
    places = {one.name: definitions(folders, one.name) for one in asked if one.between}
    moves = tuple(try_move(one, _lines(places[one.name]), bench, models, _say) for one in asked if one.between)
    # What an installed drivebuild brings along is not there to be changed.
    fixed = "an installed drivebuild's own recipe is not changed"
    moves = tuple(move if move.places else replace(move, held=move.held or fixed) for move in moves)
    proposal = Proposal(
        moves=moves,
        current=tuple(one.name for one in asked if not one.between),
        newer={one.name: one.newer for one in asked if one.newer},
        fixed=tuple(name for name in sources if name not in with_ref),
        missed=missed,
    )
    return replace(proposal, together=_together(proposal, bench)), places


def _lines(places: Sequence[Definition]) -> tuple[str, ...]:
    return tuple(f"{_shown(place.file)}:{place.place.line}" for place in places)


def _together(proposal: Proposal, bench: Bench) -> tuple[str, ...]:
    """Return what does not fit when all moves are made at once: two patches may meet in one tree."""
    from builder.source.propose import misfits, try_commits

    moves = [move for move in proposal.written if move.models]
    if len(moves) < 2:
        return ()
    _say("trying all of them at once ...")
    models = tuple(dict.fromkeys(name for move in moves for name in move.models))
    return misfits(try_commits(bench, models, {move.name: move.new for move in moves}))


def _locks(catalog: Catalog, model: str, resolve: Callable[[LockInput], tuple[str, ...]]) -> _Locks:
    """Resolve the locks anew, all or those of one model, and return what would change."""
    from builder.plan.requirements import lock_inputs
    from builder.source.lock import changes, only_back
    from builder.source.parallel import run_all
    from builder.source.propose import LockChange

    own = f"/{model}."
    inputs = tuple(item for item in lock_inputs(catalog) if not model or own in item.path)

    def task(item: LockInput) -> Callable[[Stop], tuple[str, ...] | SourceError]:
        def run(_stop: Stop) -> tuple[str, ...] | SourceError:
            try:
                return resolve(item)
            except SourceError as error:
                return error

        return run

    _say(f"resolving {len(inputs)} locks ...")
    answers = run_all([task(item) for item in inputs], at_once=AT_ONCE)
    changed, found, current, missed = {}, [], [], {}
    for item, answer in zip(inputs, answers, strict=True):
        name = f"locks/{item.path}"
        if isinstance(answer, SourceError):
            missed[name] = answer.message.removeprefix(f"{item.path}: ")
        elif (lines := changes(before := catalog.locks.get(item.path, ""), answer)) and not only_back(before, answer):
            changed[item] = answer
            found.append(LockChange(path=name, changes=lines))
        else:
            current.append(name)
    return _Locks(changed=changed, changes=tuple(found), current=tuple(current), missed=missed)


def _require_answers(proposal: Proposal) -> None:
    """Refuse to call it a proposal when nobody answered.

    Raises:
        SourceError: with what one of them said.
    """
    if proposal.missed and not (proposal.moves or proposal.locks or proposal.current):
        name, why = next(iter(proposal.missed.items()))
        message = f"none of {len(proposal.missed)} sources and locks could be asked; the first:\n{name}: {why}"
        hint = "`drivebuild doctor --network` says which hosts answer; --config names a file with mirrors"
        raise SourceError(message, hint=hint)


def _texts(moves: Sequence[Move], places: Mapping[str, Sequence[Definition]]) -> dict[Path, tuple[str, str]]:
    """Return each recipe file that changes, before and after; a link's own file. Nothing is written.

    Raises:
        SourceError: when a commit cannot be replaced where it stands.
    """
    from builder.source.repin import recipe_text, repinned

    texts: dict[Path, tuple[str, str]] = {}
    for move in moves:
        for place in places[move.name]:
            path = place.file.resolve()
            before, after = texts.get(path) or (recipe_text(path),) * 2
            texts[path] = (before, repinned(after, place, move.old, move.new))
    return texts


def _diff(texts: Mapping[Path, tuple[str, str]]) -> str:
    parts: list[str] = []
    for path, texts_of in texts.items():
        old, new = (text.splitlines() for text in texts_of)
        parts += difflib.unified_diff(old, new, f"a/{_shown(path)}", f"b/{_shown(path)}", lineterm="", n=2)
    return "\n".join(parts)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix().lstrip("/")


def _write(
    texts: Mapping[Path, tuple[str, str]], locks: _Locks, write_lock: Callable[[LockInput, tuple[str, ...]], Path]
) -> list[str]:
    from builder.source.tree import write_text

    for path, (_, after) in texts.items():
        write_text(path, after)
    return [_shown(path) for path in (*texts, *(write_lock(item, lines) for item, lines in locks.changed.items()))]


def _tell(proposal: Proposal, written: Sequence[str], *, write: bool) -> None:
    """Say on standard error what a person does next; standard output is the body and nothing else."""
    for name, why in proposal.missed.items():
        _say(f"not asked: {name}: {why.splitlines()[0]}")
    if written:
        _say(f"{len(written)} files written; then run `drivebuild render`: rendered files still have the old ones")
    elif not write and (proposal.written or proposal.locks):
        _say("nothing is written; --write does")


def _say(line: str) -> None:
    typer.echo(line, err=True)
