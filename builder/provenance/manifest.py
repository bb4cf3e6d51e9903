"""The manifest in an image: sources with their pins, what each step did to which file, components and flags. Pure.

The image's own word, so nothing in it is trusted to have any form.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from builder.provenance.snapshot import Snapshot

__all__ = ["MANIFEST", "Change", "Manifest", "Touched", "read_manifest"]

MANIFEST = "/opt/drivebuild/manifest.json"


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """One file that a step changed, with git's ids before and after; '' where there was or is none."""

    path: str
    before: str
    after: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One step that was applied: a patch, a copy, an edit, a removal."""

    stage: str
    number: int
    """Its place among the steps of its stage, from 0."""
    do: str
    what: str
    """The patch's name, where a copy is from, or what an edit replaces by what."""
    sha256: str
    """Of the patch."""
    files: tuple[Touched, ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an image records about itself."""

    model: str = ""
    platform: str = ""
    variant: str = ""
    options: Mapping[str, str] = {}
    sources: Mapping[str, Mapping[str, str]] = {}
    components: Mapping[str, tuple[str, str, Mapping[str, str]]] = {}
    """Version, source and flags of each."""
    python: Mapping[str, str] = {}
    toolchain: Mapping[str, str] = {}
    profile: str = ""
    base: Mapping[str, str] = {}
    cann: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    overrides: Mapping[str, str] = {}
    changes: tuple[Change, ...] = ()
    trouble: str = ""
    """Why it cannot be read; empty also where there is none."""

    def changes_of(self, stage: str) -> tuple[Change, ...]:
        """Return what was done in one stage, in order."""
        return tuple(change for change in self.changes if change.stage == stage)


def read_manifest(snapshot: Snapshot) -> Manifest:
    """Return the manifest; an empty one where the image has none or it cannot be read, which `trouble` says."""
    text = snapshot.texts.get(MANIFEST)
    if text is None:
        left_out = MANIFEST in snapshot.left_out
        return Manifest(trouble=f"{MANIFEST} is too large to be one" if left_out else "")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Manifest(trouble=f"{MANIFEST}: no JSON: {error}")
    if not isinstance(data, dict):
        return Manifest(trouble=f"{MANIFEST}: no JSON object")
    return Manifest(
        model=_text(data.get("model")),
        platform=_text(data.get("platform")),
        variant=_text(data.get("variant")),
        options=_texts(data.get("options")),
        sources={name: _texts(value) for name, value in _items(data.get("sources"))},
        components={name: _component(value) for name, value in _items(data.get("components"))},
        python=_texts(data.get("python")),
        toolchain=_texts(data.get("toolchain")),
        profile=_text(data.get("profile")),
        base=_texts(data.get("base")),
        cann=_texts(data.get("cann")),
        environment=_texts(data.get("environment")),
        overrides=_texts(data.get("overrides")),
        changes=tuple(_changes(data.get("applied"))),
    )


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((str(key), value[key]) for key in sorted(value))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(_text(each) for each in value if not isinstance(each, list | dict))
    return "" if isinstance(value, dict) else str(value)


def _texts(value: Any) -> dict[str, str]:
    return {name: _text(each) for name, each in _items(value)}


def _component(value: Any) -> tuple[str, str, Mapping[str, str]]:
    found = dict(_items(value))
    return _text(found.get("version")), _text(found.get("source")), _texts(found.get("flags"))


def _changes(applied: Any) -> Iterator[Change]:
    for stage, records in _items(applied):
        for number, record in enumerate(records if isinstance(records, list) else ()):
            if isinstance(record, dict):
                yield _change(stage, number, record)


def _change(stage: str, number: int, record: Mapping[str, Any]) -> Change:
    do = _text(record.get("do"))
    if do == "patch":
        what = _text(record.get("patch"))
    elif do == "edit":
        what = f"{_text(record.get('find'))!r} -> {_text(record.get('replace'))!r}"
    else:
        what = _text(record.get("from"))
    files = record.get("files")
    touched = [
        Touched(path=_text(each.get("path")), before=_text(each.get("before")), after=_text(each.get("after")))
        for each in (files if isinstance(files, list) else ())
        if isinstance(each, dict)
    ]
    return Change(
        stage=stage, number=number, do=do, what=what, sha256=_text(record.get("patch_sha256")), files=tuple(touched)
    )
