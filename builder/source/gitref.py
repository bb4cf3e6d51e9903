"""Where a branch or tag points now. Asks a git server; writes no recipe. What lies between is gitlog.py's."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.errors import SourceError
from builder.recipe.types import GitSource
from builder.source.git import network_words, shown_url
from builder.source.runs import Runner, finished

__all__ = ["PATIENCE", "Asker", "Found", "Ref", "clean", "essence", "newer_tags", "read_ref", "resolve_ref"]

NEWER = 3
"""Newer tags that are named."""
_NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._/+@#=-]*)"
_DATE = r"( of [0-9]{4}-[0-9]{2}-[0-9]{2})?"
_REF = re.compile(rf"((?P<kind>branch|tag) )?{_NAME}{_DATE}\Z")
_ADVERTISED = re.compile(r"(?P<commit>[0-9a-f]{40})\t(?P<ref>HEAD|refs/\S+)\Z")
# A subject is a stranger's text: nothing in it may steer a terminal or turn the direction of what follows.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# A host that swallows packets is given up; git itself would wait for ever.
PATIENCE = ("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60")
_NUMBER = re.compile(r"[0-9]{1,18}")
_COMPLAINT = ("fatal:", "error:", "remote: fatal:", "remote: error:", "ssh:", "ERROR:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks git servers, and where else a URL may be had."""

    runner: Runner
    candidates: Callable[[str], tuple[str, ...]]
    environment: Mapping[str, str]
    """Proxies and certificates, as git reads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """What the text in a recipe's `ref` means. Without `kind` it may be a branch or a tag."""

    name: str
    kind: Literal["branch", "tag", ""] = ""
    dated: bool = False
    """Whether the text names a day, which a newer commit makes untrue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a ref points."""

    commit: str
    ref: str
    """Its full name: HEAD, refs/heads/… or refs/tags/…."""
    url: str
    """Who said so."""
    note: str = ""


def read_ref(source: str, text: str) -> Ref:
    """Return what `branch 1.x`, `tag v1`, `HEAD of 2025-04-24`, `master of 2025-10-23` or a bare name means.

    Raises:
        SourceError: for a text that is none of these.
    """
    match = _REF.match(text.strip())
    if not match or ".." in match["name"] or match["name"] in ("branch", "tag"):
        what = f"its ref {text!r} is no branch or tag" if text.strip() else "its recipe names no ref"
        hint = "write `branch NAME`, `tag NAME` or `HEAD` into the recipe's `ref:`"
        raise SourceError(f"{source}: {what}, so there is nothing to resolve", hint=hint)
    kind: Literal["branch", "tag", ""] = "branch" if match["kind"] == "branch" else "tag" if match["kind"] else ""
    return Ref(name=match["name"], kind=kind, dated=" of " in text)


def resolve_ref(name: str, source: GitSource, asker: Asker) -> Found:
    """Return the commit that a source's `ref` names now, by the first place that answers and has it.

    Raises:
        SourceError: when the ref is gone or ambiguous, or no place answers; with what each place said.
    """
    wanted = read_ref(name, source.ref)
    tries: list[str] = []
    answered = False
    for url in asker.candidates(source.url):
        refs, complaint = _advertised(wanted, url, asker)
        if not complaint:
            answered = True
            found = _chosen(name, wanted, refs, url)
            if found:
                return found
            complaint = f"it has no {wanted.kind or 'branch or tag'} {wanted.name!r}"
        tries.append(f"  {shown_url(url)}: {complaint}")
    lines = "\n".join(tries) or "  it has no mirror, and the site's configuration does not ask upstream"
    if answered:
        hint = f"the commit {source.commit} stays; name another branch or tag in the recipe's `ref:`"
        raise SourceError(f"{name}: its ref {source.ref!r} does not exist\n{lines}", hint=hint)
    hint = "`drivebuild doctor --network` says which hosts answer; a mirror is configured for a URL's beginning"
    raise SourceError(f"{name}: no host answers\n{lines}", hint=hint)


def _advertised(wanted: Ref, url: str, asker: Asker) -> tuple[dict[str, str], str]:
    """Return the commits by full ref name, or why there is no answer."""
    # A tag that is an object of its own is advertised twice; the second time, with ^{}, as the commit it is on.
    patterns = ("HEAD",) if wanted.name == "HEAD" else _full_names(wanted.name)
    with tempfile.TemporaryDirectory(prefix="drivebuild-refs-") as folder:
        # No repository is there, so none is asked: the caller's own may have a remote or a rule of that name.
        words = network_words(Path(folder) / "none", asker.environment)
        done = finished(asker.runner, (*words, *PATIENCE, "ls-remote", "--", url, *patterns), program="git")
    if done.code != 0:
        return {}, essence(done.stderr) or f"git ls-remote ended with {done.code}"
    rows = (_ADVERTISED.match(line) for line in done.stdout.decode("utf-8", "replace").splitlines())
    return {row["ref"]: row["commit"] for row in rows if row and row["ref"] in patterns}, ""


def _full_names(name: str) -> tuple[str, ...]:
    return f"refs/heads/{name}", f"refs/tags/{name}", f"refs/tags/{name}^{{}}"


def _chosen(source: str, wanted: Ref, refs: Mapping[str, str], url: str) -> Found | None:
    if wanted.name == "HEAD":
        return Found(commit=refs["HEAD"], ref="HEAD", url=url) if "HEAD" in refs else None
    head, tag, peeled = _full_names(wanted.name)
    branch, tagged = refs.get(head), refs.get(peeled) or refs.get(tag)
    if branch and tagged and branch != tagged and not wanted.kind:
        message = f"{source}: {wanted.name!r} is a branch and a tag\n  branch {branch}\n  tag    {tagged}"
        hint = f"write `branch {wanted.name}` or `tag {wanted.name}` into the recipe's `ref:`"
        raise SourceError(message, hint=hint)
    if branch and wanted.kind != "tag":
        note = f"a tag of the same name is {tagged}" if tagged and tagged != branch else ""
        return Found(commit=branch, ref=head, url=url, note=note)
    if tagged and wanted.kind != "branch":
        note = f"a branch of the same name is {branch}" if branch and branch != tagged else ""
        return Found(commit=tagged, ref=tag, url=url, note=note)
    return None


def essence(said: bytes) -> str:
    """Return git's own reason for a failure, in a line."""
    lines = [clean(line.strip()) for line in said.decode("utf-8", "replace").splitlines()]
    wanted = [line for line in lines if line.startswith(_COMPLAINT)]
    return "; ".join(dict.fromkeys(wanted or lines[-1:]))[:600]


def clean(line: str) -> str:
    """Return a stranger's line without what steers a terminal or turns the direction of text."""
    return _UNPRINTABLE.sub("\ufffd", line)


def newer_tags(source: GitSource, found: Found, asker: Asker) -> tuple[str, ...]:
    """Return the newest tags that are spelled like the source's own but for larger numbers; none for a branch.

    `v1.0.0rc4` is followed by `v1.0.0rc6` and not by `v1.1.0`, which is of another form. A server that does not answer
    has no newer ones: this is said beside what matters, and is no reason to fail.
    """
    if not found.ref.startswith("refs/tags/"):
        return ()
    own = found.ref.removeprefix("refs/tags/")
    with tempfile.TemporaryDirectory(prefix="drivebuild-refs-") as folder:
        words = network_words(Path(folder) / "none", asker.environment)
        command = (*words, *PATIENCE, "ls-remote", "--tags", "--refs", "--", found.url)
        done = finished(asker.runner, command, program="git")
    rows = (_ADVERTISED.match(line) for line in done.stdout.decode("utf-8", "replace").splitlines())
    names = {row["ref"].removeprefix("refs/tags/") for row in rows if row}
    newer = {name: _numbers(name) for name in names if _form(name) == _form(own) and _numbers(name) > _numbers(own)}
    return tuple(sorted(newer, key=newer.__getitem__, reverse=True)[:NEWER])


def _form(tag: str) -> str:
    return _NUMBER.sub("#", tag)


def _numbers(tag: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _NUMBER.findall(tag))
