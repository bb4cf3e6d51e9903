"""Brings what builds need into the store: git commits, files, packages, base images; all at once, each verified.

What is there is skipped without asking anybody. What fails is reported at the end, together; what worked stays.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from builder.errors import SourceError
from builder.plan.needs import DebianNeed, FileNeed, GitNeed, ImageNeed, Need, SystemNeed
from builder.source.contexts import missing
from builder.source.fetchfiles import fetch_files
from builder.source.gitpack import Git, fetch_commit
from builder.source.images import fetch_image, installed_in
from builder.source.parallel import run_all
from builder.source.system import DEBIAN, fetch_system
from builder.source.tally import Observer, Silent
from builder.source.work import Work, environment_of

if TYPE_CHECKING:
    from builder.source.network import Network
    from builder.source.runs import Runner, Stop, Tell
    from builder.source.store import Entry, Store

__all__ = ["Fetched", "check_licences", "distribution_mirrors", "environment_of", "fetch"]

TITLES: Mapping[str, str] = {"cann": "CANN", "bisheng": "the BiSheng compiler"}
GIT_THREADS = 4
Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a fetch did."""

    new: tuple[Entry, ...]
    there: int
    """How many things were there before."""
    seconds: float

    @property
    def size(self) -> int:
        """Bytes of what is new."""
        return sum(entry.size for entry in self.new)


def fetch(
    needs: Iterable[Need],
    store: Store,
    network: Network,
    runner: Runner,
    *,
    accepted: Collection[str] = (),
    jobs: int = 8,
    mirrors: Mapping[str, str] | None = None,
    observer: Observer | None = None,
) -> Fetched:
    """Bring everything that is missing into the store.

    Args:
        accepted: names of the licence agreements that the user accepts.
        jobs: downloads at a time; git has a few threads of its own.
        mirrors: of the distribution's packages, by the last part of the address they stand for (`debian`).

    Raises:
        SourceError: before anything is asked, when a licence is not accepted; at the end, listing all that failed.
    """
    start = time.monotonic()
    wanted = {need.key: need for need in needs}
    todo = missing(wanted.values(), store)
    check_licences(todo, accepted)
    work = Work(store=store, network=network, runner=runner, observer=observer or Silent(), mirrors=mirrors or {})
    todo = tuple(need for need in todo if not _adopted(need, work))
    _fetch_all(todo, tuple(wanted.values()), work, jobs)
    if work.failures:
        raise _failed(work, len(todo))
    return Fetched(new=tuple(work.new.values()), there=len(wanted) - len(work.new), seconds=time.monotonic() - start)


def check_licences(needs: Iterable[Need], accepted: Collection[str]) -> None:
    """Refuse files whose licence only a person can accept.

    Raises:
        SourceError: naming all of them, and where to read what.
    """
    asked = [need for need in needs if isinstance(need, FileNeed) and need.eula and need.eula.name not in accepted]
    if not asked:
        return
    agreements = {need.eula.name: need.eula for need in asked if need.eula}
    lines = "\n".join(f"  {need.title}" for need in asked)
    what = " and ".join(TITLES[name] for name in agreements)
    message = f"{len(asked)} files are under the licence agreement of {what}, which only you can accept\n{lines}"
    hints = [f"read it at {item.url}, then add --accept-{item.name}-eula" for item in agreements.values()]
    raise SourceError(message, hint="; ".join(hints))


def _failed(work: Work, count: int) -> SourceError:
    lines = "\n".join(work.failures)
    hint = f"what worked is in {work.store.root}: the same command goes on from there"
    if len(work.failures) == 1:
        return SourceError(lines, hint=hint)
    return SourceError(f"{len(work.failures)} failures, {len(work.new)} of {count} fetched\n{lines}", hint=hint)


def _adopted(need: Need, work: Work) -> bool:
    """Whether the content is there without this name: another need's, or of one who was killed before the name."""
    if isinstance(need, GitNeed | ImageNeed | SystemNeed) or not need.sha256 or not need.file:
        return False
    entry = work.store.adopt(need.key, file=need.file, origin=f"this store, for {need.name}", sha256=need.sha256)
    if entry:
        work.new[need.key] = entry
    return entry is not None


def _of(kind: type[Kind], needs: Iterable[object]) -> tuple[Kind, ...]:
    return tuple(need for need in needs if isinstance(need, kind))


def _fetch_all(todo: Sequence[Need], needs: Sequence[Need], work: Work, jobs: int) -> None:
    """Fetch from git servers beside everything else; the other parts each use the whole link or the whole disk."""
    side = _Aside(lambda: _fetch_git(_of(GitNeed, todo), work))
    try:
        fetch_files(todo, work, jobs)
        for image in _of(ImageNeed, todo):
            _fetch_image(image, work)
        _fetch_suites(todo, needs, work)
        side.join()
    except BaseException:
        work.stopped.set()
        side.join(timeout=3)
        raise


class _Aside:
    """Runs one thing in a thread that does not keep the process from ending."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._action()
        except BaseException as error:  # noqa: BLE001  it is raised again, in the caller's thread
            self._error = error

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end; with a time, no longer, and without its error."""
        self._thread.join(timeout)
        if self._error and timeout is None:
            raise self._error


def _fetch_git(needs: Sequence[GitNeed], work: Work) -> None:
    tools = Git(
        store=work.store,
        runner=work.runner,
        candidates=work.network.candidates,
        environment=environment_of(work.network),
        stop=work.stopped.is_set,
    )

    def task(need: GitNeed) -> Callable[[Stop], None]:
        def run(stop: Stop) -> None:
            own = replace(tools, stop=work.either(stop))
            work.attempt(need.title, lambda tell: [(need.key, fetch_commit(need, own, tell))])

        return run

    run_all([task(need) for need in needs], at_once=GIT_THREADS)


def _fetch_image(need: ImageNeed, work: Work) -> None:
    def action(_tell: Tell) -> list[tuple[str, Entry]]:
        entry = fetch_image(
            need,
            store=work.store,
            runner=work.runner,
            mirror=work.mirrors.get(DEBIAN, ""),
            registry=work.network.registry,
            environment=dict(work.network.proxies),
            stop=work.stopped.is_set,
        )
        return [(need.key, entry)]

    work.attempt(need.title, action)


def _fetch_suites(todo: Sequence[Need], needs: Sequence[Need], work: Work) -> None:
    """Fetch the distributions' packages, one root for each suite and architecture."""
    systems, sources = _of(SystemNeed, todo), _of(DebianNeed, todo)
    for suite in sorted({need.suite for need in systems} | {need.suite for need in sources}):
        own: list[SystemNeed | None] = [need for need in systems if need.suite == suite]
        for number, system in enumerate(own or [None]):
            tarballs = [need for need in sources if need.suite == suite] if number == 0 else []
            _fetch_suite(suite, system, tarballs, needs, work)


def _fetch_suite(
    suite: str, system: SystemNeed | None, sources: Sequence[DebianNeed], needs: Sequence[Need], work: Work
) -> None:
    def action(_tell: Tell) -> list[tuple[str, Entry]]:
        base = _base_of(system, needs, work) if system else None
        entries, failures = fetch_system(
            suite,
            system,
            sources,
            store=work.store,
            runner=work.runner,
            installed=installed_in(work.store.object(base)) if base else None,
            mirrors=work.mirrors,
            environment=dict(work.network.proxies),
            stop=work.stopped.is_set,
        )
        work.failures.extend(failures)
        found = {entry.key: entry for entry in entries}
        if system:
            # They came with it; alone, the attempt itself is named after one.
            for source in sources:
                entry = found.get(source.key)
                work.observer.end(source.title, 0, "" if entry else "not in the source package")
        return list(found.items())

    work.attempt(system.title if system else sources[0].title, action)


def _base_of(system: SystemNeed, needs: Sequence[Need], work: Work) -> Entry | None:
    """Return the stored base image that the packages are to be installed in."""
    for need in _of(ImageNeed, needs):
        if need.bootstrap and (need.bootstrap.suite, need.architecture) == (system.suite, system.architecture):
            return work.store.find(need.key)
    return None


def distribution_mirrors(configured: Mapping[str, str]) -> dict[str, str]:
    """Return mirrors by the last part of the addresses they stand for.

    A mirror of `debian-12` is one of `debian`; one of `debian` has the security suite beside it, as all public ones do.
    """
    found = {}
    for name, address in sorted(configured.items()):
        family, _, version = name.rpartition("-")
        found[family if version[:1].isdigit() else name] = address.rstrip("/")
    main = found.get(DEBIAN, "")
    if main.endswith(f"/{DEBIAN}"):
        found.setdefault(f"{DEBIAN}-security", f"{main}-security")
    return found
