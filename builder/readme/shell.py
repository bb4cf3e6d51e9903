"""Shell as commands with line numbers, by the grammar of tree-sitter. Pure: nothing is run, nothing expanded.

The grammar goes on after what it does not understand, as a README's placeholders need it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from builder.errors import UsageError
from builder.readme.document import INSTALL

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

__all__ = ["Command", "Redirect", "read_shell"]

DEEPEST = 200
"""Nesting that is followed; a README has none of it, and who sends one with more wants a stack to end."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where a command's output goes, or its input comes from: `>` and the word after it."""

    operator: str
    target: str


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command, as it is written."""

    words: tuple[str, ...]
    """The program and its arguments, without the quotes around them."""
    line: int
    text: str
    assignments: tuple[tuple[str, str], ...] = ()
    """Before the program, or of `export`."""
    redirects: tuple[Redirect, ...] = ()
    broken: bool = False
    """Whether the grammar does not understand all of it."""

    @property
    def program(self) -> str:
        """The program, or '' for an assignment alone."""
        return self.words[0] if self.words else ""


def read_shell(text: str, line: int = 1) -> tuple[Command, ...]:
    """Return the commands of a piece of shell; its first line is `line`.

    Raises:
        UsageError: when the library is not installed.
    """
    raw = text.encode("utf-8", "replace")
    root = _parser().parse(raw).root_node
    found = sorted(_commands(root, raw, line, 0), key=lambda item: item[0])
    return tuple(command for _, command in found)


@lru_cache(maxsize=1)
def _parser() -> Parser:
    try:
        import tree_sitter_bash
        from tree_sitter import Language, Parser
    except ImportError as error:
        raise UsageError("to read a README's shell takes tree-sitter-bash", hint=INSTALL) from error
    return Parser(Language(tree_sitter_bash.language()))


def _commands(node: Node, raw: bytes, line: int, depth: int) -> Iterator[tuple[int, Command]]:
    if depth > DEEPEST:
        return
    if node.type == "redirected_statement":
        body = node.child_by_field_name("body")
        redirects = [child for child in node.children if child.type == "file_redirect"]
        if body is not None and body.type in ("command", "declaration_command"):
            yield body.start_byte, _command(body, raw, line, redirects, statement=node)
            return
    if node.type in ("command", "declaration_command", "variable_assignment"):
        yield node.start_byte, _command(node, raw, line, [], statement=node)
        return
    if node.type == "ERROR":
        text = " ".join(_text(node, raw).split())
        yield node.start_byte, Command(words=(), line=line + node.start_point[0], text=text, broken=True)
    for child in node.children:
        yield from _commands(child, raw, line, depth + 1)


def _command(node: Node, raw: bytes, line: int, redirects: list[Node], *, statement: Node) -> Command:
    words: list[str] = []
    assignments: list[tuple[str, str]] = []
    own: list[Redirect] = []
    children = [node] if node.type == "variable_assignment" else node.children
    for child in children:
        if child.type == "variable_assignment":
            name, _, value = _text(child, raw).partition("=")
            assignments.append((name, _unquoted(value)))
        elif child.type == "file_redirect":
            redirects = [*redirects, child]
        elif child.type != "comment":
            words.append(_unquoted(_text(child, raw)))
    for redirect in redirects:
        targets = [_unquoted(_text(child, raw)) for child in redirect.children_by_field_name("destination")]
        operator = next((child.type for child in redirect.children if set(child.type) & set("<>")), ">")
        own.append(Redirect(operator, targets[0] if targets else ""))
        # The grammar counts all that follows to the redirection; a shell takes one word and gives the command the rest.
        words += targets[1:]
    return Command(
        words=tuple(words),
        line=line + node.start_point[0],
        text=" ".join(_text(statement, raw).replace("\\\n", " ").split()),
        assignments=tuple(assignments),
        redirects=tuple(own),
        broken=statement.has_error,
    )


def _text(node: Node, raw: bytes) -> str:
    return raw[node.start_byte : node.end_byte].decode("utf-8", "replace")


def _unquoted(text: str) -> str:
    """Return a word without its quotes; variables in it stay as they are."""
    kept, quote, index = [], "", 0
    while index < len(text):
        char = text[index]
        if char == "\\" and quote != "'" and index + 1 < len(text):
            index += 1
            kept.append("" if text[index] == "\n" else text[index])
        elif char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            quote = char
        else:
            kept.append(char)
        index += 1
    return "".join(kept)
