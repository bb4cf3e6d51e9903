"""What differs between two plans of one image, in the words of a recipe. Pure.

Both are given as `{stage: inputs}`, plain values as JSON has them: the older one comes from a record. Nothing that
differs goes unnamed: what has no words of its own here is said by its key.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Change", "Kept", "plan_changes", "short"]

_FLAGGED = ("wheel", "pytorch", "torch-npu")
_PINNED = ("source-archive", "source-download", "source-index", "source-debian")
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;]+)(?P<rest>.*)", re.DOTALL)
_HEX = re.compile(r"(?:sha256:)?[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHOWN = 60
_FOLLOWING = {"manifest": ("plan", "changed"), "tree": ("upstream", "sources"), "overlay": ("upstream", "sources")}
"""Inputs that repeat what another stage's say: they explain why a stage runs, and are nothing that somebody changed."""
_NO_STEP = ("title", "note", "what", "ref")
"""Inputs that end up in comments."""


class Kept(Protocol):
    """A stage as a record has it."""

    @property
    def template(self) -> str: ...
    @property
    def base(self) -> str: ...
    @property
    def inputs(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that differs."""

    kind: str
    stage: str
    text: str
    old: str = ""
    new: str = ""
    follows: bool = False
    """Whether it only repeats what another change says."""


def short(value: object) -> str:
    """Return a value for one line: commits and checksums by their first digits, long texts cut."""
    if value is None or value in ("", [], {}, ()):
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if _HEX.fullmatch(text):
        return text.removeprefix("sha256:")[: 12 if len(text) > 40 else 7]
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def plan_changes(old: Mapping[str, Kept], new: Mapping[str, Kept]) -> tuple[Change, ...]:
    """Return all that differs, in the order of the new plan's stages."""
    found: list[Change] = []
    for name, stage in new.items():
        if name not in old:
            found.append(Change(kind="stage", stage=name, text=f"stage {name} is new"))
        else:
            found += _stage(name, old[name], stage)
    found += [Change(kind="stage", stage=name, text=f"stage {name} is gone") for name in old if name not in new]
    return tuple(found)


def _stage(name: str, old: Kept, new: Kept) -> Iterator[Change]:
    if old.template != new.template:
        yield _plain("template", name, f"stage {name}", old.template, new.template)
        return
    if old.base != new.base:
        yield _base(name, old.base, new.base)
    for key in dict.fromkeys((*old.inputs, *new.inputs)):
        before, after = old.inputs.get(key), new.inputs.get(key)
        # A word that templates did not know then, and that says nothing now, is none.
        if before == after or key in _NO_STEP or not (before or after):
            continue
        follows = key in _FOLLOWING.get(new.template, ())
        for change in _input(name, new, key, before, after):
            yield _following(change) if follows else change


def _base(name: str, old: str, new: str) -> Change:
    image, _, digest = new.partition("@")
    before, _, other = old.partition("@")
    if image == before:
        text = f"digest of base image {image}: {short(other)} → {short(digest)}"
        return Change(kind="base", stage=name, text=text, old=other, new=digest)
    kind, what = ("base", "base image") if "/" in new or ":" in new else ("needs", f"stage {name} starts from")
    return _plain(kind, name, what, old, new)


def _input(name: str, stage: Kept, key: str, old: Any, new: Any) -> Iterator[Change]:
    what = str(stage.inputs.get("component") or name)
    if stage.template == "source-git":
        yield _source(name, key, old, new)
    elif stage.template in _PINNED and key in ("sha256", "version", "url", "file"):
        yield _plain("pin", name, f"{key} of source {name.removeprefix('src-')}", old, new)
    elif key == "steps":
        yield from _steps(name, old or (), new or ())
    elif key in ("requirements", "adapter"):
        yield from _requirements(name, old or (), new or ())
    elif key in ("packages", "configure", "replaced", "built"):
        yield from _words("package" if key == "packages" else "flag", name, f"{key} of {what}", old or (), new or ())
    elif key in ("environment", "labels"):
        yield from _settings(name, stage, what, old if isinstance(old, Mapping) else {}, new or {})
    elif key in ("jobs", "plan"):
        kind = "job" if key == "jobs" else "manifest"
        yield from _documents(kind, name, "jobs" if key == "jobs" else "manifest", old, new)
    else:
        text = f"version of {what}" if key == "version" else f"{what}: {key}"
        yield from _leaves(_kind(key), name, text, old, new)


def _settings(name: str, stage: Kept, what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    if "labels" in stage.inputs and any(key.startswith(("drivebuild.", "org.")) for key in (*old, *new)):
        # What labels repeat is said where it was changed.
        yield from map(_following, _entries("label", name, "label", old, new))
    elif stage.template in _FLAGGED:
        yield from _entries("flag", name, f"flag of {what}", old, new)
    else:
        yield from _entries("environment", name, f"environment of {what}", old, new)


def _kind(key: str) -> str:
    if key in ("cc", "cxx", "tools", "compiler", "members", "cache", "optimise"):
        return "toolchain"
    return key if key in ("profile", "version") else "input"


def _source(name: str, key: str, old: Any, new: Any) -> Change:
    source = name.removeprefix("src-")
    if key == "commit":
        return _plain("pin", name, f"pin of {source}", old, new)
    return _plain("url" if key == "url" else "input", name, f"{key} of source {source}", old, new)


def _plain(kind: str, stage: str, what: str, old: Any, new: Any) -> Change:
    before, after = short(old), short(new)
    if before == after:
        before, after = str(old), str(new)
    return Change(kind=kind, stage=stage, text=f"{what}: {before} → {after}", old=str(old or ""), new=str(new or ""))


def _following(change: Change) -> Change:
    return Change(kind=change.kind, stage=change.stage, text=change.text, old=change.old, new=change.new, follows=True)


def _entries(kind: str, stage: str, what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            yield _plain(kind, stage, f"{what} {key}", old.get(key), new.get(key))


def _words(kind: str, stage: str, what: str, old: Sequence[Any], new: Sequence[Any]) -> Iterator[Change]:
    added = [short(item) for item in new if item not in old]
    gone = [short(item) for item in old if item not in new]
    marks = [f"+{item}" for item in added] + [f"−{item}" for item in gone]
    text = f"{what}: {' '.join(marks)}" if marks else f"{what}: in another order"
    yield Change(kind=kind, stage=stage, text=text, old=" ".join(gone), new=" ".join(added))


def _requirements(stage: str, old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    before, after = _locked(old), _locked(new)
    for name in sorted({*before, *after}):
        (version, rest), (other, files) = before.get(name, ("", "")), after.get(name, ("", ""))
        if version != other:
            change = _plain("lock", stage, f"lock: {name}", version, other)
            yield change
        elif rest != files:
            text = f"lock: {name} {version}: other files, by their hashes"
            yield Change(kind="lock", stage=stage, text=text, old=rest, new=files)
    if before == after and list(old) != list(new):
        yield Change(kind="lock", stage=stage, text="lock: in another order")


def _locked(lines: Sequence[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for line in lines:
        match = _REQUIREMENT.match(line)
        name, version, rest = (match["name"], match["version"], match["rest"]) if match else (line, "", "")
        # One name may stand there once for each architecture.
        known = found.get(name, ("", ""))
        found[name] = (", ".join(filter(None, dict.fromkeys((*known[0].split(", "), version)))), known[1] + rest)
    return found


def _steps(stage: str, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[Change]:
    before, after = [_without_note(step) for step in old], [_without_note(step) for step in new]
    keys = [json.dumps(step, sort_keys=True) for step in before], [json.dumps(step, sort_keys=True) for step in after]
    matcher = difflib.SequenceMatcher(a=keys[0], b=keys[1], autojunk=False)
    for word, start, end, first, last in matcher.get_opcodes():
        gone, come = before[start:end], after[first:last]
        if word == "replace" and len(gone) == len(come):
            for one, other in zip(gone, come, strict=True):
                yield from _step(stage, one, other)
        elif word != "equal":
            for mark, steps in (("−", gone), ("+", come)):
                for step in steps:
                    yield Change(kind="step", stage=stage, text=f"{stage}: {mark} {_said(step)}")


def _step(stage: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    place = ("do", "file", "to", "path")
    if [old.get(key) for key in place] != [new.get(key) for key in place]:
        yield Change(kind="step", stage=stage, text=f"{stage}: − {_said(old)}")
        yield Change(kind="step", stage=stage, text=f"{stage}: + {_said(new)}")
        return
    yield from _entries("step", stage, f"{stage}: {old.get('do')} of {_file(old)},", old, new)


def _without_note(step: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in step.items() if key != "note"}


def _file(step: Mapping[str, Any]) -> str:
    return str(step.get("to") or step.get("file") or step.get("path") or "").removeprefix("/sources/")


def _said(step: Mapping[str, Any]) -> str:
    match step.get("do"):
        case "edit":
            return f"edit {step.get('file')}: {short(step.get('find'))} → {short(step.get('replace'))}"
        case "copy":
            return f"copy {str(step.get('file')).removeprefix('/sources/')} to {step.get('to')}"
        case what:
            return f"{what} {_file(step)}"


def _documents(kind: str, stage: str, what: str, old: Any, new: Any) -> Iterator[Change]:
    try:
        before, after = json.loads(old or "null"), json.loads(new or "null")
    except (TypeError, ValueError):
        before, after = old, new
    yield from _leaves(kind, stage, what, before, after)


def _leaves(kind: str, stage: str, what: str, old: Any, new: Any) -> Iterator[Change]:
    """Yield the places in which two documents differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            if old.get(key) != new.get(key):
                yield from _leaves(kind, stage, f"{what}, {key}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and _named(old) and _named(new):
        before, after = {item["name"]: item for item in old}, {item["name"]: item for item in new}
        yield from _leaves(kind, stage, what, before, after)
    elif isinstance(old or new, list) and not (old and new):
        marks = " ".join(f"{'+' if new else '−'}{_label(item)}" for item in (new or old))
        yield Change(kind=kind, stage=stage, text=f"{what}: {marks}", old=str(old or ""), new=str(new or ""))
    else:
        yield _plain(kind, stage, what, old, new)


def _label(item: Any) -> str:
    """Return an item of a list for one line: what it is called, or what it begins with."""
    if isinstance(item, Mapping):
        item = next((item[key] for key in ("name", "stage", "file") if item.get(key)), item)
    return short(item.split(" --hash=")[0] if isinstance(item, str) else item)


def _named(items: list[Any]) -> bool:
    return all(isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in items)
