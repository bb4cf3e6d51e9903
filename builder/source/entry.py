"""One key of the store, as text and back. No disk here: what is read is judged byte for byte."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from builder.errors import SourceError

__all__ = ["Entry", "entry_path", "entry_text", "object_path", "parse_entry", "safe_name"]

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_KEY = re.compile(r"([a-z][a-z0-9-]{0,30}):(.+)", re.DOTALL)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the store has under one key."""

    key: str
    """`git:<commit>`, `sha256:<hex>`, `url:<url>`, …: the key of the need that it answers."""
    sha256: str
    size: int
    """Bytes."""
    file: str
    """The name the file had where it came from."""
    origin: str
    """Where it came from: the URL that answered, or the command that made it."""
    note: str = ""

    @property
    def kind(self) -> str:
        """Return what stands before the key's colon."""
        return self.key.partition(":")[0]


def safe_name(text: str) -> str:
    """Return a file name for any text: the text itself where it can be one, else its readable part and a digest.

    The sign between the two is in no text that is taken as it is, so that no two texts have one name.
    """
    if _SAFE.fullmatch(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9]+", "-", text.rsplit("://")[-1]).strip("-")[:60]
    return f"{readable}={hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"


def entry_path(key: str) -> str:
    """Return where a key's entry is, below the store.

    Raises:
        SourceError: for a text that is no key.
    """
    match = _KEY.fullmatch(key)
    if not match:
        raise SourceError(f"not a key of the store: {key!r}")
    return f"entries/{match[1]}/{safe_name(match[2])}.json"


def object_path(sha256: str) -> str:
    """Return where a content is, below the store.

    Raises:
        SourceError: for a text that is no sha256.
    """
    if not _SHA256.fullmatch(sha256):
        raise SourceError(f"not a sha256: {sha256!r}", hint="64 digits 0-9 and a-f are wanted")
    return f"objects/{sha256[:2]}/{sha256}"


def entry_text(entry: Entry) -> str:
    """Return an entry's file: JSON that holds the sha256 of its own rest."""
    data: dict[str, Any] = {**asdict(entry), "kind": entry.kind}
    data["self"] = hashlib.sha256(_canonical(data).encode()).hexdigest()
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def parse_entry(content: bytes) -> Entry | None:
    """Return the entry that a file holds, or nothing when even one byte is not as `entry_text` writes it.

    Comparing the whole text finds what the sha256 inside would miss: a changed blank, a changed digit of it.
    """
    try:
        data = json.loads(content)
        fields = {name: data[name] for name in ("key", "sha256", "size", "file", "origin", "note")}
        entry = Entry(**fields)
        sound = entry_text(entry).encode() == content and bool(_SHA256.fullmatch(entry.sha256))
        return entry if sound and type(entry.size) is int else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _canonical(data: dict[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))
