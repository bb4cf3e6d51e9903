"""What tests ask of a Dockerfile, over the parser of builder/render/parsed.py."""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.render.parsed import Heredoc, Instruction, parse

__all__ = ["Heredoc", "Instruction", "Stage", "kinds", "parse", "reached", "stages", "words"]


def kinds(text: str) -> list[str]:
    """Return the instruction words of a Dockerfile, in order."""
    return [instruction.kind for instruction in parse(text)]


def words(text: str, *, variables: dict[str, str] | None = None) -> list[str]:
    """Split a line as BuildKit's word processor does: quotes, backslash as escape, `$NAME` expanded."""
    known = variables or {}
    found: list[str] = []
    current, quote, in_word, index = "", "", False, 0
    while index < len(text):
        char = text[index]
        if quote == "'":
            if char == "'":
                quote = ""
            else:
                current += char
        elif char == "\\":
            following = text[index + 1 : index + 2]
            if quote and following not in ('"', "$", "\\"):
                current += "\\"
            current += following
            in_word = True
            index += 1
        elif char == "$":
            match = re.match(r"\$(?:\{(\w+)[^}]*\}|(\w+))", text[index:])
            if not match:
                current += char
            else:
                current += known.get(match[1] or match[2], "")
                index += match.end() - 1
            in_word = True
        elif quote:
            if char == '"':
                quote = ""
            else:
                current += char
        elif char in "'\"":
            quote, in_word = char, True
        elif char.isspace():
            if in_word:
                found.append(current)
            current, in_word = "", False
        else:
            current += char
            in_word = True
        index += 1
    if in_word:
        found.append(current)
    return found


@dataclass(frozen=True)
class Stage:
    """One stage of a text: what it starts from, and its instructions."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]

    @property
    def runs(self) -> tuple[Instruction, ...]:
        """Return what runs a shell."""
        return tuple(item for item in self.instructions if item.kind == "RUN")

    @property
    def refers(self) -> frozenset[str]:
        """Return the stages or images that it starts from, copies from or mounts."""
        found = {name for item in self.instructions for name in _REFERENCE.findall(item.text)}
        return frozenset({self.base, *found})

    def heredoc(self, path: str) -> tuple[str, ...]:
        """Return the lines that COPY writes to a path; none where it writes nothing there."""
        for item in self.instructions:
            if item.kind == "COPY" and item.heredocs and item.text.endswith(f" {path}"):
                return item.heredocs[0].lines
        return ()


_REFERENCE = re.compile(r"(?:--from=|,from=)([^\s,]+)")


def stages(text: str, architecture: str = "amd64") -> dict[str, Stage]:
    """Return the stages of a Dockerfile by name, as a build for one of BuildKit's architectures has them."""
    found: dict[str, list[Instruction]] = {}
    bases: dict[str, str] = {}
    current = ""
    for item in parse(text):
        if item.kind == "FROM":
            base, _, current = item.text.partition(" AS ")
            bases[current], found[current] = base.replace("${TARGETARCH}", architecture), []
        elif current:
            found[current].append(item)
    return {name: Stage(name, bases[name], tuple(items)) for name, items in found.items()}


def reached(known: dict[str, Stage], target: str, replaced: frozenset[str] = frozenset()) -> set[str]:
    """Return the stages that BuildKit builds for a target; a replaced one is a folder and stands on nothing."""
    seen: set[str] = set()
    todo = [target]
    while todo:
        name = todo.pop()
        if name in known and name not in seen:
            seen.add(name)
            if name not in replaced:
                todo += sorted(known[name].refers)
    return seen
