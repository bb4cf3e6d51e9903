"""What is wrong with the shell of a README. Pure: commands in, findings out, each with its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.readme.facts import clone_words
from builder.readme.shell import Command

__all__ = ["Finding", "lint"]

_FILL_IN = re.compile(r"[{}<>$\[\]*~]|/path/to|/your/|\bxxx+\b|`", re.IGNORECASE)
_PRESENT = (
    *("/bin", "/dev", "/etc", "/lib", "/lib64", "/opt", "/proc", "/run", "/sbin", "/sys", "/tmp", "/usr/bin"),
    *("/usr/include", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local/Ascend", "/usr/local/bin"),
    *("/usr/local/lib", "/usr/local/sbin", "/usr/sbin", "/usr/share", "/var", "/workspace"),
)
"""Folders that every image has."""
_ARCHIVES = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar", ".zip", "-linux.tar.gz")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or will be."""

    rule: str
    line: int
    text: str


def lint(pieces: Iterable[Iterable[Command]]) -> tuple[Finding, ...]:
    """Return what is wrong with the pieces of shell of one README, in the order of lines."""
    known = _Known()
    found: list[Finding] = []
    for piece in map(tuple, pieces):
        known.begin()
        found += _uncommitted(piece)
        for command in piece:
            for rule, check in _RULES:
                text = check(command)
                if text:
                    found.append(Finding(rule, command.line, text))
            found += known.check(command)
            known.learn(command)
    return tuple(sorted(dict.fromkeys(found), key=lambda item: item.line))


def _bound(command: Command) -> str:
    """`pip install x>=1` makes a file named `=1` and installs any x."""
    for redirect in command.redirects:
        if redirect.operator in (">", "<", ">>") and re.match(r"=?=?\d", redirect.target) and _installs(command):
            name = f"{redirect.operator}{redirect.target}"
            return f"{name} is a redirection and no bound: the shell writes a file; quote the requirement"
    return ""


def _installs(command: Command) -> bool:
    return "install" in command.words and command.program in ("pip", "pip3", "python", "python3", "conda", "uv", "sudo")


def _option(command: Command) -> str:
    """`./configure --prefix=/x > --with-lto` configures without it."""
    for redirect in command.redirects:
        if redirect.target.startswith("-"):
            return f"`{redirect.operator} {redirect.target}` writes a file of that name; the option is not given"
    return ""


def _reject(command: Command) -> str:
    if command.words[:2] == ("git", "apply") and "--reject" in command.words:
        return "`git apply --reject` leaves out hunks that do not fit, and what follows builds the rest"
    return ""


def _mode(command: Command) -> str:
    if command.program == "chmod" and any(re.fullmatch(r"0?777|a\+rwx", word) for word in command.words):
        return "anybody may write what `chmod 777` is given"
    return ""


def _trust(command: Command) -> str:
    unsafe = {"--no-check-certificate", "--insecure", "-k", "--trusted-host"} & set(command.words)
    if command.program in ("wget", "curl") and unsafe - {"--trusted-host"}:
        return f"{min(unsafe)}: whoever is on the way may send another file"
    if _installs(command) and "--trusted-host" in unsafe:
        return "--trusted-host: packages come without a check of who sends them"
    return ""


def _moving(command: Command) -> str:
    branch = clone_words(command.words[2:])[2] if command.words[:2] == ("git", "clone") else ""
    if branch and not re.search(r"\d+\.\d+\.\d+|rc\d", branch):
        return f"{branch} is a branch: another day clones another commit"
    return ""


def _uncommitted(piece: tuple[Command, ...]) -> Iterator[Finding]:
    """Yield the clones of a piece of which no commit is checked out after it."""
    checkouts = (("git", "checkout"), ("git", "reset"), ("git", "switch"))
    last = max((number for number, command in enumerate(piece) if command.words[:2] in checkouts), default=-1)
    for number, command in enumerate(piece):
        if command.words[:2] == ("git", "clone") and not clone_words(command.words[2:])[2] and number > last:
            text = f"no commit of {clone_words(command.words[2:])[0]} is named: another day clones another one"
            yield Finding("moving-branch", command.line, text)


def _broken(command: Command) -> str:
    return f"no shell can read this as it stands: {command.text[:60]}" if command.broken else ""


Check = Callable[[Command], str]
_RULES: tuple[tuple[str, Check], ...] = (
    ("redirected-bound", _bound),
    ("redirected-option", _option),
    ("apply-reject", _reject),
    ("mode-777", _mode),
    ("unchecked-download", _trust),
    ("moving-branch", _moving),
    ("syntax", _broken),
)


class _Known:
    """Follows which folders there are, as far as the README says."""

    def __init__(self) -> None:
        self._folders = {".", ".."}
        self._prefixes: set[str] = set()
        self._cloned: list[str] = []
        """What was cloned since somebody went somewhere: that is where the next step goes."""

    def begin(self) -> None:
        """Take note of a new piece: nobody knows which folder it is meant for."""
        self._cloned = []

    def check(self, command: Command) -> Iterator[Finding]:
        """Yield what a command goes to, or names, that nothing before it makes."""
        if command.program == "cd" and len(command.words) > 1:
            target = command.words[1]
            first = PurePosixPath(target).parts[0] if target else ""
            named = not (_FILL_IN.search(target) or target.startswith(("/", "-")))
            # Elsewhere it may be a folder of what was cloned; right after a clone there is only the clone.
            if self._cloned and named and first not in self._folders:
                text = f"`cd {target}`: what was cloned is {' and '.join(self._cloned)}"
                yield Finding("cd-nowhere", command.line, text)
        if command.program == "export":
            for name, value in command.assignments:
                for path in value.split(":"):
                    if self._is_missing(path):
                        text = f"{name} names {path}, which no image has and nothing before it makes"
                        yield Finding("missing-path", command.line, text)

    def learn(self, command: Command) -> None:
        """Take in what a command makes."""
        words = [word for word in command.words if word != "sudo"]
        plain = [word for word in words[1:] if not word.startswith("-")]
        if words[:2] == ["git", "clone"]:
            url, folder, _ = clone_words(words[2:])
            name = folder or url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
            self._add([name])
            self._cloned.append(name)
        elif words[:1] == ["mkdir"]:
            self._add(plain)
        elif words[:1] in (["tar"], ["unzip"]):
            self._add(_unpacked(word) for word in plain if word.endswith(_ARCHIVES))
        elif words[:1] in (["cp"], ["mv"], ["ln"]):
            self._add(plain)
        elif words[:1] == ["cd"]:
            self._cloned = []
            # Whoever goes somewhere by a path that is to be filled in knows what is there.
            self._add(plain if plain and _FILL_IN.search(plain[0]) else ())
        for word in words:
            match = re.match(r"--prefix=(/\S+)", word)
            if match:
                self._prefixes.add(match[1].rstrip("/"))

    def _add(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._folders.update(part for part in PurePosixPath(path).parts if part != "/")
            if path.startswith("/"):
                self._prefixes.add(path.rstrip("/"))

    def _is_missing(self, path: str) -> bool:
        if not path.startswith("/") or _FILL_IN.search(path):
            return False
        return not any(path == known or path.startswith(f"{known}/") for known in (*_PRESENT, *self._prefixes))


def _unpacked(name: str) -> str:
    for ending in _ARCHIVES:
        if name.endswith(ending):
            return name.removesuffix(ending).rsplit("/", 1)[-1]
    return name
