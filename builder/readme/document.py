"""A README's Markdown as what matters of it: pieces of shell, and tables. Pure.

The libraries are those of the extra `drift`, and imported when a README is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import UsageError

if TYPE_CHECKING:
    from markdown_it.token import Token

__all__ = ["INSTALL", "LARGEST", "Cell", "Document", "Fence", "Table", "read_document"]

INSTALL = "install it: pip install 'drivebuild[drift]'"
LARGEST = 1 << 18
"""Bytes of a README, twenty times the longest one so far; what is larger is none."""
_SHELLS = ("bash", "sh", "shell", "console", "shell-session", "zsh")
_TREE = re.compile(r"[\u2500-\u257f]|^[\s|]*[|`+]--", re.MULTILINE)
_COMMANDS = frozenset(
    (
        *("apt", "apt-get", "bash", "cd", "chmod", "conda", "cp", "curl", "dnf", "docker", "dpkg", "echo"),
        *("export", "find", "git", "ldconfig", "ln", "make", "mkdir", "mv", "nohup", "pip", "pip3", "python"),
        *("python3", "rm", "sed", "sh", "source", "sudo", "tar", "torchrun", "ulimit", "unzip", "wget", "which"),
        *("yum"),
    )
)
_ASSIGNED = re.compile(r"[A-Za-z_]\w*=\S")
_PROMPT = re.compile(r"^(\s*)\$ ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fence:
    """A piece of code: its text, and the line of the README that it begins on."""

    language: str
    text: str
    line: int
    shell: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its header, its rows."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What a README consists of."""

    fences: tuple[Fence, ...]
    tables: tuple[Table, ...]


def read_document(text: str) -> Document:
    """Return the pieces of code and the tables of a README, in order.

    Raises:
        UsageError: when the library is not installed.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise UsageError("to read a README takes markdown-it-py", hint=INSTALL) from error
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return Document(tuple(_fences(tokens)), tuple(_tables(tokens)))


def _fences(tokens: list[Token]) -> Iterator[Fence]:
    for token in tokens:
        if token.type in ("fence", "code_block") and token.map:
            language = token.info.strip().split()[0].lower() if token.info.strip() else ""
            first = token.map[0] + (2 if token.type == "fence" else 1)
            # Folders are drawn in pieces that are called shell, too.
            shell = language in (*_SHELLS, "") and _looks_like_shell(token.content)
            # A prompt is no command.
            text = _PROMPT.sub(r"\1", token.content) if shell else token.content
            yield Fence(language, text, first, shell)


def _looks_like_shell(text: str) -> bool:
    """Return whether a piece without a language is shell: no drawing of folders, and a line that begins like one."""
    if _TREE.search(text):
        return False
    firsts = (line.split()[0] for line in _PROMPT.sub(r"\1", text).splitlines() if line.split())
    return any(word in _COMMANDS or word.startswith("./") or _ASSIGNED.match(word) for word in firsts)


def _tables(tokens: list[Token]) -> Iterator[Table]:
    header: list[str] = []
    rows: list[tuple[Cell, ...]] = []
    row: list[Cell] = []
    inside = line = 0
    for number, token in enumerate(tokens):
        if token.type == "table_open":
            header, rows = [], []
        elif token.type == "tr_open":
            row, line = [], (token.map or [0])[0] + 1
        elif token.type in ("th_open", "td_open"):
            inside = 1
        elif token.type == "inline" and inside:
            inside = 0
            text = _plain(token)
            if tokens[number - 1].type == "th_open":
                header.append(text)
            else:
                row.append(Cell(text, line))
        elif token.type == "tr_close" and row:
            rows.append(tuple(row))
        elif token.type == "table_close":
            yield Table(tuple(header), tuple(rows))


def _plain(token: Token) -> str:
    """Return a cell's text without its marks."""
    parts = [child.content for child in token.children or () if child.type in ("text", "code_inline")]
    return " ".join("".join(parts).split())
