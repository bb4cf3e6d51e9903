"""A proposal as Markdown, the body of a pull request, and as plain data. Pure.

What comes from upstream (titles, paths, tags, what servers say) only stands in fenced blocks that it cannot end: there
it mentions nobody, links nowhere and is no HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import accumulate
from typing import Any

from builder.source.propose import Move, Proposal

__all__ = ["LIMIT", "markdown", "plain_data", "title"]

LIMIT = 60_000
"""Of a body: services cut or refuse longer ones. GitHub has 65,536 characters; GitLab takes it as an option of a push,
which is one line of no more bytes, with a line's end as two."""
_DETAILS = (30, 10, 3, 0)
"""Commits of a log, and lines of a list, that are shown: the most that fit."""


def title(proposal: Proposal) -> str:
    """Return what a pull request with the proposal is called."""
    commits, packages = len(proposal.written), len(proposal.packages)
    parts = [f"{commits} commit{'s' * (commits != 1)}"] if commits else []
    parts += [f"{packages} package{'s' * (packages != 1)}"] if packages else []
    return f"Update {' and '.join(parts)}" if parts else "Nothing to update"


def plain_data(proposal: Proposal, written: Iterable[str]) -> dict[str, Any]:
    """Return all of a proposal as JSON has it; `written` are the files that were changed."""
    shown = {"title": title(proposal), "body": markdown(proposal)}
    return {"format": 1, **shown, **asdict(proposal), "written": list(written)}


def markdown(proposal: Proposal, *, limit: int = LIMIT) -> str:
    """Return the body; logs are cut until it fits in `limit` bytes, with a line's end as two."""
    text = ""
    for most in _DETAILS:
        text = "\n".join(_lines(proposal, most)) + "\n"
        if _size(text) <= limit:
            return text
    # The lists are what is left: whoever reads this needs the command anyway.
    lines = text.split("\n")
    sizes = accumulate(_size(f"{line}\n") for line in lines)
    cut = "\n".join(line for line, size in zip(lines, sizes, strict=True) if size <= limit - 200)
    fence = max((run for run in re.findall(r"^`{3,}", cut, re.MULTILINE)), key=len, default="```")
    return f"{cut}\n{fence}\n\nThe rest is too long for a pull request: `drivebuild lock --update` shows all of it.\n"


def _size(text: str) -> int:
    return len(text.encode()) + text.count("\n")


def _lines(proposal: Proposal, most: int) -> Iterator[str]:
    moves, held = proposal.written, [move for move in proposal.moves if move not in proposal.written]
    yield from _overview(proposal)
    if proposal.together:
        yield from ("", "Each fits alone, all at once they do not, so nothing is written:", *_block(proposal.together))
    for move in moves:
        yield from _move(move, most)
    if held:
        yield from ("", "## Left to a person")
        for move in held:
            yield from _move(move, most)
    if proposal.packages:
        yield from ("", "## Python packages", "", f"In {len(proposal.locks)} locks:")
        yield from _block(_cut(proposal.packages, most * 4))
    if proposal.newer:
        yield from ("", "## Newer tags", "", "Taking one means changing the `ref` and the commit in the recipe:")
        yield from _block(f"{name}: {', '.join(tags)}" for name, tags in proposal.newer.items())
    if proposal.fixed:
        names = ", ".join(f"`{name}`" for name in proposal.fixed)
        yield from ("", f"Their recipes name a commit and no branch or tag, so there is nothing to ask for: {names}.")
    if proposal.missed:
        yield from ("", "## Not asked", "")
        yield from _block(f"{name}: {why}" for name, why in proposal.missed.items())
    if proposal.diff:
        yield from ("", "## What changes in the recipes", *_block(proposal.diff.splitlines(), "diff"))


def _overview(proposal: Proposal) -> Iterator[str]:
    if not (proposal.moves or proposal.packages):
        yield "Everything that could be asked is where the recipes have it."
        return
    if not proposal.moves:
        yield "No source has moved."
        return
    yield "| source | ref | from | to | commits | steps of the recipes | |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for move in proposal.moves:
        cells = (f"`{move.name}`", f"`{move.ref}`", f"`{move.old[:12]}`", f"`{move.new[:12]}`", str(move.between.ahead))
        fate = "" if move in proposal.written else f"left: {move.held}" if move.held else "left"
        yield f"| {' | '.join((*cells, _short(move), fate))} |"


def _short(move: Move) -> str:
    words = {"fits": f"all {move.verdict.steps} fit", "misfit": "**do not fit**"}
    return words.get(move.verdict.state, move.verdict.state)


def _move(move: Move, most: int) -> Iterator[str]:
    between, verdict = move.between, move.verdict
    yield from ("", f"### `{move.name}`", "")
    yield f"`{move.ref}`, asked at `{move.url}`: `{move.old}` of {between.old_day or 'an unknown day'} -> `{move.new}`"
    yield f"of {between.new_day}, in {', '.join(f'`{place}`' for place in move.places)}."
    if move.note:
        yield from ("", move.note)
    if move.held:
        yield from ("", f"Not written: {move.held}. `drivebuild lock --update {move.name}` writes it.")
    if between.commits and most:
        rest = [f"and {between.ahead - most} more"] if between.ahead > most else []
        yield from ("", f"{between.ahead} commit{'s' * (between.ahead != 1)}:")
        yield from _block([*(f"{one.id} {one.day} {one.title}"[:120] for one in between.commits[:most]), *rest])
    if verdict.files is not None:
        files = f"{verdict.files} file{'s' * (verdict.files != 1)} changed"
        yield from ("", f"{files}, {len(verdict.touched)} of them under steps of the recipes.")
    if verdict.touched:
        yield from _block(_cut([line for one in verdict.touched for line in (one.path, *_indented(one.steps))], most))
    yield from ("", _said(move))
    if verdict.lines:
        yield from _block(_cut(verdict.lines, max(most, 10)))


def _said(move: Move) -> str:
    models = ", ".join(f"`{name}`" for name in move.models)
    match move.verdict.state:
        case "fits":
            return f"Patches, copies and edits of {models}: all {move.verdict.steps} steps fit."
        case "misfit":
            return f"Patches, copies and edits of {models} do not all fit:"
        case "no steps":
            return "No recipe changes it or patches with it."
        case "not tried":
            return f"Patches, copies and edits of {models} could not be tried:"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _cut(lines: Iterable[str], most: int) -> list[str]:
    found = list(lines)
    return found if len(found) <= most else [*found[:most], f"and {len(found) - most} more"]


def _block(lines: Iterable[str], kind: str = "text") -> Iterator[str]:
    text = "\n".join(lines)
    # A fence ends at one at least as long: this one is longer than any run of backticks within.
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (f"{fence}{kind}", text, fence)
