"""A Dockerfile's text as instructions. Pure.

It follows BuildKit's rules: comment lines vanish (also between continued lines), a line that ends in a backslash goes
on, and `<<WORD` in COPY, ADD or RUN begins a heredoc whose body ends at a line that is exactly WORD.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Heredoc", "Instruction", "parse"]

_HEREDOC = re.compile(r"(?:^|\s)<<(?P<dash>-?)(?P<quote>['\"]?)(?P<word>[A-Za-z_]\w*)(?P=quote)(?=\s|$)")
_FLAG = re.compile(r"^--[a-z]+(=\S*)?\s+")


@dataclass(frozen=True, slots=True)
class Heredoc:
    """One heredoc: its delimiter and its lines."""

    delimiter: str
    lines: tuple[str, ...]
    closed: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its word, the rest of it as one line, the line it begins on, its heredocs."""

    kind: str
    text: str
    line: int
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """Return `--mount=…` and its like."""
        found, rest = [], self.text
        while match := _FLAG.match(rest):
            found.append(match.group().strip())
            rest = rest[match.end() :]
        return tuple(found)

    @property
    def body(self) -> str:
        """Return the text without its flags: of a RUN, what the shell gets."""
        rest = self.text
        while match := _FLAG.match(rest):
            rest = rest[match.end() :]
        return rest


def parse(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile."""
    lines = text.split("\n")
    found: list[Instruction] = []
    index = 0
    while index < len(lines):
        start = index
        if _skipped(lines[index]):
            index += 1
            continue
        joined, index = _joined(lines, index)
        kind, _, rest = joined.strip().partition(" ")
        heredocs = []
        if kind.upper() in ("COPY", "ADD", "RUN"):
            for match in _HEREDOC.finditer(rest):
                # Where no line ends it, it is an operator of the shell's that only looks like one.
                end = _end(lines, index, match["word"], tabs=bool(match["dash"]))
                if end is None and kind.upper() == "RUN":
                    continue
                last = len(lines) if end is None else end
                heredocs.append(Heredoc(match["word"], tuple(lines[index:last]), closed=end is not None))
                index = last + 1
        found.append(Instruction(kind, rest.strip(), start + 1, tuple(heredocs)))
    return found


def _skipped(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _joined(lines: list[str], index: int) -> tuple[str, int]:
    """Return an instruction's lines as one, and where the next begins."""
    joined = lines[index]
    while joined.rstrip(" \t").endswith("\\") and index + 1 < len(lines):
        joined = joined.rstrip(" \t")[:-1]
        index += 1
        while index + 1 < len(lines) and _skipped(lines[index]):
            index += 1
        joined += "" if _skipped(lines[index]) else lines[index]
    return joined, index + 1


def _end(lines: list[str], start: int, word: str, *, tabs: bool) -> int | None:
    for index in range(start, len(lines)):
        if (lines[index].lstrip("\t") if tabs else lines[index]) == word:
            return index
    return None
