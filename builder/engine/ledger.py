"""What builds have shown of a builder's cache: which keys it has, and which contents turned out to be equal.

One file for each builder, in the state folder. It is a memory and no truth: the builder may have thrown things away
since, or have more from other hands. A build's record says where the two differed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from builder.engine.folders import make_folder, state_folder
from builder.engine.log import unwritable
from builder.render.cachekeys import FORM, StageKey

__all__ = ["Ledger", "Seen", "forget", "ledger_path", "note", "read_ledger"]

LIMIT = 5000
"""Keys that are kept, the newest first; a matrix of five hundred images has some three thousand."""


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A stage that a build ran, or had from the cache."""

    stage: str
    own: str
    foundation: str
    contents: tuple[str, ...]
    when: int
    """Seconds since 1970."""


class Ledger(msgspec.Struct, frozen=True):
    """All that is known of one builder."""

    form: int = FORM
    builder: str = ""
    seen: Mapping[str, Seen] = {}
    """By key."""
    same: Mapping[str, str] = {}
    """Contents that were equal, to the one that stands for them."""


# Made while one thread imports this: msgspec fills in what it knows of a type at its first use, and threads of
# `build-all` that meet there take the process down (a segmentation fault, msgspec 0.22).
_DECODER = msgspec.json.Decoder(Ledger)


def ledger_path(builder: str) -> Path:
    """Return the file of a builder. It need not be there."""
    return state_folder() / "cache" / f"{hashlib.sha256(builder.encode()).hexdigest()[:16]}.json"


def read_ledger(builder: str) -> Ledger | None:
    """Return what is known of a builder; None when nothing is, or nothing that can be read."""
    try:
        found = _DECODER.decode(ledger_path(builder).read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.form == FORM else None


def forget(builder: str) -> None:
    """Forget what is known of a builder, whose cache was cleared."""
    ledger_path(builder).unlink(missing_ok=True)


def note(builder: str, keys: Iterable[StageKey], same: Mapping[str, str]) -> None:
    """Add what a build has shown; two builds at once both do.

    Raises:
        BuildError: when the folder cannot be written.
    """
    # Who only asks does not pay for it.
    from filelock import FileLock

    path = ledger_path(builder)
    make_folder(path.parent)
    now = int(time.time())
    new = {item.key: Seen(item.name, item.own, item.foundation, item.contents, now) for item in keys if item.works}
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with FileLock(path.with_suffix(".lock")):
            old = read_ledger(builder) or Ledger()
            seen = dict(sorted({**old.seen, **new}.items(), key=lambda item: -item[1].when)[:LIMIT])
            used = {content for item in seen.values() for content in item.contents}
            kept = {new: old for new, old in {**old.same, **same}.items() if old in used}
            beside.write_bytes(msgspec.json.encode(Ledger(builder=builder, seen=seen, same=kept)))
            beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise unwritable(path, error) from error
