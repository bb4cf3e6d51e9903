"""One run of `fetch`: what it works with, and what has come of it so far."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.errors import SourceError
from builder.source.disk import failed
from builder.source.tally import Observer

if TYPE_CHECKING:
    from builder.source.network import Network
    from builder.source.runs import Runner, Stop, Tell
    from builder.source.store import Entry, Store

__all__ = ["Work", "environment_of"]


@dataclass(slots=True, kw_only=True)
class Work:
    """One run: what it works with, and what has come of it. Threads share it."""

    store: Store
    network: Network
    runner: Runner
    observer: Observer
    mirrors: Mapping[str, str]
    new: dict[str, Entry] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def attempt(self, name: str, action: Callable[[Tell], Iterable[tuple[str, Entry]]]) -> None:
        """Do one thing, and keep its failure for the end; one of the disk would meet all others, too."""
        self.observer.tell(name, 0, 0)
        try:
            found = dict(_with_reasons(action, self.store, lambda done, total: self.observer.tell(name, done, total)))
        except SourceError as error:
            self.fail(name, error.message + (f"\n  hint: {error.hint}" if error.hint else ""))
            if isinstance(error.__cause__, OSError):
                self.stopped.set()
                raise
            return
        self.new.update(found)
        self.observer.end(name, sum(entry.size for entry in found.values()), "")

    def either(self, stop: Stop) -> Stop:
        """Return what says to stop when `stop` does, or when this run is over."""
        return lambda: stop() or self.stopped.is_set()

    def fail(self, name: str, why: str) -> None:
        self.failures.append(why)
        self.observer.end(name, 0, why.partition("\n")[0])


def _with_reasons(
    action: Callable[[Tell], Iterable[tuple[str, Entry]]], store: Store, tell: Tell
) -> Iterable[tuple[str, Entry]]:
    """Turn what the system refuses into what a person is told."""
    try:
        return action(tell)
    except OSError as error:
        failed(store.root, error)


def environment_of(network: Network) -> dict[str, str]:
    """Return what git and uv are told of the network: proxies and certificates."""
    bundle = str(network.ca_bundle) if network.ca_bundle else ""
    trust = {"GIT_SSL_CAINFO": bundle, "SSL_CERT_FILE": bundle} if bundle else {}
    return {**network.proxies, **trust}
