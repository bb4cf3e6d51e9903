"""Downloads files into the store: one, or many at once. Each is verified before it is published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from builder.errors import SourceError
from builder.source.attempt import Attempt, Download, Stop, Tell
from builder.source.disk import failed
from builder.source.parallel import Task, run_all
from builder.source.part import Part
from builder.source.web import Network, Web

if TYPE_CHECKING:
    from builder.source.store import Entry, Store

__all__ = ["Download", "download", "download_all"]


def download(
    wanted: Download, store: Store, network: Network, *, web: Web, tell: Tell = lambda *_: None, stop: Stop = bool
) -> Entry:
    """Return the file's entry; fetch it when it is not there.

    Without a checksum, what comes first is recorded under `url:<url>`, and from then on it is the file.

    Args:
        web: connections, shared by all downloads.
        stop: the way out for a thread, which no Ctrl-C reaches; what is there stays for the next run.

    Raises:
        SourceError: naming each place that was tried, and why it was not the one.
    """
    found = _there(wanted, store)
    if found:
        return found
    name = wanted.key
    with store.lock(name, stop=stop):
        found = _there(wanted, store)  # another process's, meanwhile
        if found:
            return found
        path = store.partial(name)
        try:
            with closing(Part(path)) as part:
                return Attempt(wanted, store, network.candidates(wanted.url), web, part, tell, stop).run()
        except OSError as error:
            failed(path, error)


def download_all(
    wanted: Sequence[Download],
    store: Store,
    network: Network,
    *,
    web: Web | None = None,
    tell: Callable[[Download, int, int], None] = lambda *_: None,
    at_once: int = 8,
) -> tuple[Entry, ...]:
    """Download many files, some at once, whatever fails. `tell` is called from any thread.

    Raises:
        SourceError: at the end, with all failures; what did not fail is in the store.
    """
    shared = web or Web(network, at_once=at_once)
    single = {item.key: item for item in wanted}

    def task(item: Download) -> Task[Entry]:
        return lambda stop: download(
            item, store, network, web=shared, tell=lambda done, total: tell(item, done, total), stop=stop
        )

    found = dict(zip(single, run_all([task(item) for item in single.values()], at_once=at_once), strict=True))
    return tuple(found[item.key] for item in wanted)


def _there(wanted: Download, store: Store) -> Entry | None:
    seen = store.find(f"url:{wanted.url}")
    if seen and wanted.sha256 not in (None, seen.sha256):
        raise SourceError(
            f"{wanted.file}: the store's {wanted.url} has sha256 {seen.sha256}, and {wanted.sha256} is wanted",
            hint="one of the two is not what upstream published; `drivebuild store ls` shows the store's",
        )
    found = store.find(wanted.key)
    if found and wanted.sha256 not in (None, found.sha256):
        raise SourceError(f"{wanted.key}: the store has sha256 {found.sha256}, and {wanted.sha256} is wanted")
    return found
