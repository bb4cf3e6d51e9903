"""Where the recipes' git sources could be moved to, with the reasons for and against. Asks servers; writes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from builder.errors import DrivebuildError, SourceError
from builder.plan.needs import source_need
from builder.plan.patched import patched_by
from builder.recipe.types import Catalog, GitSource
from builder.source.fetch import fetch
from builder.source.git import shown_url
from builder.source.gitlog import Between, compare
from builder.source.gitref import Asker, Found, clean, newer_tags, read_ref, resolve_ref
from builder.source.network import Network
from builder.source.parallel import run_all
from builder.source.patchcheck import Report, check
from builder.source.patchfiles import Packs
from builder.source.patchplan import concerns, plan_checks, sources_of
from builder.source.runs import Runner, Stop
from builder.source.store import Store

__all__ = [
    "Asked",
    "Bench",
    "LockChange",
    "Move",
    "Proposal",
    "Touched",
    "Verdict",
    "ask_all",
    "misfits",
    "try_commits",
    "try_move",
]

AT_ONCE = 8
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A file that upstream changed and that steps of recipes change, or are made of."""

    path: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of the recipes' patches, copies and edits on a new commit."""

    state: Literal["fits", "misfit", "no steps", "not tried"]
    steps: int = 0
    """How many steps were tried, those of other sources in the same trees included."""
    lines: tuple[str, ...] = ()
    """What does not fit, or why nothing could be tried."""
    files: int | None = None
    """How many files upstream changed; not known where no files were fetched."""
    touched: tuple[Touched, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A source whose ref was asked for."""

    name: str
    source: GitSource
    found: Found
    newer: tuple[str, ...] = ()
    """Newer tags of the same form, the newest first."""
    between: Between | None = None
    """None when the ref is where the recipe's commit is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A source whose ref is somewhere else now."""

    name: str
    ref: str
    """As the recipe has it."""
    url: str
    """Who was asked, without a password."""
    old: str
    new: str
    note: str
    between: Between
    models: tuple[str, ...]
    """Models with steps on the source, or with patches out of it."""
    verdict: Verdict
    places: tuple[str, ...]
    """Where the commit stands, as file:line."""
    held: str
    """Why a person has to decide; empty where the move is one that can be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockChange:
    """A Python lock that would be resolved to something else."""

    path: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """All that could be moved, and all that could not be asked."""

    moves: tuple[Move, ...] = ()
    locks: tuple[LockChange, ...] = ()
    current: tuple[str, ...] = ()
    """Sources and locks that are what they would be."""
    newer: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Newer tags by source: to take one, its `ref` is changed."""
    fixed: tuple[str, ...] = ()
    """Sources whose recipe names a commit and no ref: there is nothing to ask for."""
    missed: Mapping[str, str] = field(default_factory=dict)
    """What could not be asked or resolved, and why."""
    together: tuple[str, ...] = ()
    """What does not fit when all that can be written is moved at once; then nothing is."""
    diff: str = ""
    """What would be written to recipes, as a unified diff."""

    @property
    def written(self) -> tuple[Move, ...]:
        """The moves that `--write` writes."""
        return tuple(move for move in self.moves if not move.held) if not self.together else ()

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that change in any lock, each change once."""
        return tuple(dict.fromkeys(line for lock in self.locks for line in lock.changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What moves are tried on: a store that is filled with what they need."""

    catalog: Catalog
    store: Store
    cache: Path
    """Keeps indexes of packs."""
    network: Network
    runner: Runner


def ask_all(sources: Mapping[str, GitSource], asker: Asker, say: Say) -> tuple[tuple[Asked, ...], dict[str, str]]:
    """Ask for all refs at once, and for what lies between; return what was found, and what was not, with the reason."""

    def task(name: str, source: GitSource) -> Callable[[Stop], Asked | SourceError]:
        def run(_stop: Stop) -> Asked | SourceError:
            try:
                return _ask(name, source, asker)
            except SourceError as error:
                return error

        return run

    say(f"asking for {len(sources)} git sources ...")
    answers = run_all([task(name, source) for name, source in sources.items()], at_once=AT_ONCE)
    missed = {
        name: answer.message.removeprefix(f"{name}: ")
        for name, answer in zip(sources, answers, strict=True)
        if isinstance(answer, SourceError)
    }
    return tuple(answer for answer in answers if isinstance(answer, Asked)), missed


def _ask(name: str, source: GitSource, asker: Asker) -> Asked:
    found = resolve_ref(name, source, asker)
    newer = tuple(clean(tag) for tag in newer_tags(source, found, asker))
    between = None if found.commit == source.commit else compare(source.commit, found, asker)
    return Asked(name=name, source=source, found=found, newer=newer, between=between)


def try_move(asked: Asked, places: Sequence[str], bench: Bench, models: Iterable[str], say: Say) -> Move:
    """Try the recipes' steps on a source's new commit, alone, and say whether the move can be written unseen.

    `places` is where the old commit stands, as file:line.
    """
    if asked.between is None:
        raise ValueError(f"{asked.name} has not moved")
    name, found = asked.name, asked.found
    users = tuple(model for model in patched_by(bench.catalog, name) if model in set(models))
    say(f"{name}: {asked.source.commit[:12]} -> {found.commit[:12]}; steps of {', '.join(users) or 'no model'}")
    verdict = _verdict(asked, bench, users) if users else Verdict(state="no steps")
    return Move(
        name=name,
        ref=asked.source.ref,
        url=shown_url(found.url),
        old=asked.source.commit,
        new=found.commit,
        note=found.note,
        between=asked.between,
        models=users,
        verdict=verdict,
        places=tuple(places),
        held=_held(asked, asked.between, verdict),
    )


def _held(asked: Asked, between: Between, verdict: Verdict) -> str:
    if asked.found.ref.startswith("refs/tags/"):
        return "a tag does not move: it was set anew, or the recipe never was on it"
    if read_ref(asked.name, asked.source.ref).dated:
        return f"the recipe means the day in {asked.source.ref!r}"
    reasons = {
        "back": "the new commit is before the old one: history was taken back, or the mirror is older",
        "apart": "the old commit is not an ancestor of the new one: another line, or history was rewritten",
        "gone": "the old commit is not there any more: history was rewritten, or it is another repository",
    }
    if between.relation in reasons:
        return reasons[between.relation]
    return {"misfit": "steps do not fit", "not tried": "steps could not be tried"}.get(verdict.state, "")


def _verdict(asked: Asked, bench: Bench, models: Sequence[str]) -> Verdict:
    try:
        report = try_commits(bench, models, {asked.name: asked.found.commit})
        need = source_need(asked.name, asked.source, python="", architecture="")
        fetch((need,), bench.store, bench.network, bench.runner)
        changed = _changed(bench, asked.source.commit, asked.found.commit)
    except DrivebuildError as error:
        return Verdict(state="not tried", lines=tuple(clean(line) for line in error.message.splitlines()))
    checks = plan_checks(bench.catalog, models)
    looked = concerns(checks.targets, report.patched, asked.name)
    return Verdict(
        state="misfit" if report.found else "fits",
        steps=sum(report.steps.values()),
        lines=misfits(report),
        files=len(changed),
        touched=tuple(_touched(changed, looked)),
    )


def try_commits(bench: Bench, models: Sequence[str], commits: Mapping[str, str]) -> Report:
    """Try all steps of these models with these commits; what the store lacks for it is fetched.

    Raises:
        SourceError: when something cannot be fetched.
        PlanError: when the models cannot be planned with it.
    """
    checks = plan_checks(bench.catalog, models, pinned=commits)
    python = bench.catalog.platforms[bench.catalog.models[models[0]].platform].python.series
    needs = [
        source_need(name, checks.sources[name], python=python, architecture="x86_64")
        for name in sources_of(checks.targets)
    ]
    fetch(needs, bench.store, bench.network, bench.runner)
    return check(checks, bench.store, bench.cache, bench.runner)


def misfits(report: Report) -> tuple[str, ...]:
    """Return what a report found, as lines of which none can steer a terminal."""
    found = (f"{one.where} of {', '.join(one.users)}: {one.step}: {one.message}" for one in report.found)
    return tuple(clean(line) for text in found for line in text.splitlines())


def _changed(bench: Bench, old: str, new: str) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory(prefix="drivebuild-changed-") as folder:
        packs = Packs(Path(folder), bench.cache, bench.runner)
        for commit in (old, new):
            entry = bench.store.find(f"git:{commit}")
            if entry is None:
                raise SourceError(f"{bench.store.root}: commit {commit} is not in the store")
            packs.add(bench.store.object(entry), entry.sha256)
        return packs.changed(old, new)


def _touched(changed: Iterable[str], looked: Mapping[str, tuple[str, ...]]) -> Iterable[Touched]:
    for path in changed:
        steps = [step for one, of in looked.items() if not one or f"{path}/".startswith(f"{one}/") for step in of]
        if steps:
            yield Touched(path=clean(path), steps=tuple(dict.fromkeys(steps)))
