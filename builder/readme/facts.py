"""What a README says, one fact at a time: versions, repositories, packages, variables, patches, results. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement

from builder.readme.document import Document, Table
from builder.readme.shell import Command, read_shell

__all__ = ["Fact", "Kind", "Said", "canonical", "clone_words", "repository", "said_by"]

Kind = Literal[
    "version", "repository", "checkout", "package", "requirements", "download", "variable", "patch", "result", "command"
]

_VERSION_HEAD = re.compile("版本|version", re.IGNORECASE)
_RESULT_HEAD = re.compile(r"global\s*batch|\bfps\b|\bmap\b|\bmiou\b|单步|step time", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_MISSPELT = {"frameworkptadaper": "frameworkptadapter", "drivingsdk": "driving-sdk"}
"""As upstream's tables have them, too."""
_PLACEHOLDER = re.compile(r"\$?\{\w+\}|<\w+>|\[[A-Z_]{4,}\]")
_WEB = re.compile(r"(?:https?|ftp)://\S+")
_QUIET = frozenset(("cd", "ls", "pwd", "which", "conda", "exit", "find", "cat", "tree"))
"""Commands that change nothing of what is built."""
_OPTIONS_WITH_VALUE = frozenset(
    ("-b", "--branch", "--depth", "-c", "--config", "-o", "--origin", "--recurse-submodules")
)
_PIP_WITH_VALUE = frozenset(
    ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "-c", "--constraint", "-t", "--target",
     "--trusted-host", "--prefix", "--timeout", "--global-option", "--config-settings", "-e", "--editable")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a README says, and where."""

    kind: Kind
    key: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Said:
    """All that a README says."""

    facts: tuple[Fact, ...]
    pieces: tuple[tuple[Command, ...], ...]
    """The commands of every piece of shell, in order; what the linter looks at."""


def said_by(document: Document) -> Said:
    """Return the facts of a README, in its order."""
    facts: list[Fact] = []
    pieces: list[tuple[Command, ...]] = []
    for table in document.tables:
        facts += _of_table(table)
    for fence in document.fences:
        if fence.shell:
            these = read_shell(fence.text, fence.line)
            facts += _of_commands(these)
            pieces.append(these)
    return Said(tuple(sorted(facts, key=lambda fact: fact.line)), tuple(pieces))


def canonical(name: str) -> str:
    """Return a name by which packages and libraries are compared."""
    plain = re.sub(r"[\s_.-]+", "-", name.strip().lower())
    return _MISSPELT.get(plain, plain)


def repository(url: str) -> str:
    """Return a repository's own name: the last word of its URL."""
    return url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git").lower()


def clone_words(words: Iterable[str]) -> tuple[str, str, str]:
    """Return the URL, the folder and the branch of a `git clone`, of its words after these two."""
    plain: list[str] = []
    branch = ""
    rest = iter(words)
    for word in rest:
        if word in _OPTIONS_WITH_VALUE:
            value = next(rest, "")
            branch = value if word in ("-b", "--branch") else branch
        elif word.startswith("--branch="):
            branch = word.partition("=")[2]
        elif not word.startswith("-"):
            plain.append(word)
    url, folder = (*plain, "", "")[:2]
    return url, folder, branch


def _of_table(table: Table) -> Iterator[Fact]:
    head = " ".join(table.header)
    if _RESULT_HEAD.search(head):
        yield from _results(table)
    elif len(table.header) == 2 and _VERSION_HEAD.search(table.header[1]):
        for row in table.rows:
            if len(row) == 2 and row[0].text and row[1].text:
                yield Fact("version", canonical(row[0].text), row[1].text, row[0].line)


def _results(table: Table) -> Iterator[Fact]:
    """Yield the rows of published results: who, and the figures in the columns' order."""
    for row in table.rows:
        cells = [cell.text for cell in row]
        named = [text for text in cells if text and not _NUMBER.match(text)]
        figures = [match for text in cells[1:] for match in _NUMBER.findall(text)]
        if figures and row:
            yield Fact("result", " ".join(named)[:80], " ".join(figures), row[0].line)


def _of_commands(commands: Iterable[Command]) -> Iterator[Fact]:
    repo = _Repository()
    for command in commands:
        words = [word for word in command.words if word != "sudo"]
        yield from _variables(command)
        facts = [*repo.facts(command, words), *_of_command(command, words)]
        if not facts and words and words[0] not in (*_QUIET, "export"):
            # However a placeholder is spelt, it is to be filled in.
            facts = [Fact("command", _PLACEHOLDER.sub("{…}", command.text), "", command.line)]
        yield from facts
        for word in words:
            if word.endswith(".patch") and "://" not in word:
                yield Fact("patch", word.rsplit("/", 1)[-1], "", command.line)


def _of_command(command: Command, words: list[str]) -> Iterator[Fact]:
    if "install" in words[:4] and _is_pip(words):
        yield from _packages(words[words.index("install") + 1 :], command)
    elif words and words[0] in ("wget", "curl"):
        for word in words[1:]:
            if _WEB.match(word):
                yield Fact("download", word.split("?")[0].rsplit("/", 1)[-1], word, command.line)


class _Repository:
    """Follows which repository was cloned or named last: what is checked out after it is a commit of it."""

    def __init__(self) -> None:
        self._last = ""

    def facts(self, command: Command, words: list[str]) -> Iterator[Fact]:
        if words[:2] == ["git", "clone"]:
            yield from self._clone(words[2:], command.line)
        elif words[:2] in (["git", "checkout"], ["git", "reset"], ["git", "switch"]):
            refs = [word for word in words[2:] if not word.startswith("-")]
            if self._last and refs:
                yield Fact("checkout", self._last, refs[0], command.line)
        elif not words:
            yield from self._assigned(command)

    def _clone(self, words: list[str], line: int) -> Iterator[Fact]:
        url, _, branch = clone_words(words)
        if url:
            self._last = repository(url)
            yield Fact("repository", self._last, _address(url), line)
            if branch:
                yield Fact("checkout", self._last, branch, line)

    def _assigned(self, command: Command) -> Iterator[Fact]:
        """Yield what `url=…` and `commit_id=…` say, as these READMEs name their sources."""
        for name, value in command.assignments:
            if name == "url" and "://" in value:
                self._last = repository(value)
                yield Fact("repository", self._last, _address(value), command.line)
            elif name == "commit_id" and self._last and _COMMIT.fullmatch(value):
                yield Fact("checkout", self._last, value, command.line)


def _address(url: str) -> str:
    return url.rstrip("/").removesuffix(".git")


def _is_pip(words: list[str]) -> bool:
    return words[0].startswith("pip") or words[:3][1:] == ["-m", "pip"] or words[0].endswith("/pip")


def _variables(command: Command) -> Iterator[Fact]:
    if command.program == "export":
        for name, value in command.assignments:
            yield Fact("variable", name, value, command.line)


def _packages(words: list[str], command: Command) -> Iterator[Fact]:
    index = 0
    while index < len(words):
        word = words[index]
        if word in ("-r", "--requirement") and index + 1 < len(words):
            yield Fact("requirements", words[index + 1].rsplit("/", 1)[-1], words[index + 1], command.line)
            index += 1
        elif word in _PIP_WITH_VALUE:
            index += 1
        elif not word.startswith("-") and not set("/{}[]$") & set(word.split("[", 1)[0]) and word != ".":
            yield from _package(word, command)
        index += 1


def _package(word: str, command: Command) -> Iterator[Fact]:
    if word.endswith((".whl", ".tar.gz", ".zip")):
        return
    try:
        wanted = Requirement(word)
    except InvalidRequirement:
        return
    # `name>=1` without quotes: the shell takes what was meant as a bound.
    bound = next((redirect.target for redirect in command.redirects if redirect.target.startswith("=")), "")
    text = str(wanted.specifier) or (f">{bound}" if bound and word == command.words[-1] else "")
    yield Fact("package", canonical(wanted.name), text, command.line)
