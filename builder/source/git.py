"""git's command lines: whatever the caller's environment and configuration say, they do what is written here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from builder.errors import SourceError
from builder.source.runs import Done, Runner, env_words, finished

__all__ = ["git", "local_words", "network_words", "received", "shown_url"]

# A hook or an editor that starts drivebuild leaves these behind; each would lead git to another repository.
FOREIGN = (
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_SHALLOW_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_TRACE",
    "GIT_DEFAULT_HASH",
)
# A partial clone must not ask the network for what it lacks, and nothing may wait for a person to type a password.
QUIET = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
}
# The files' bytes are those in the repository, and nobody's hook runs.
SETTINGS = (
    ("core.autocrlf", "false"),
    ("core.eol", "lf"),
    ("core.hooksPath", "/dev/null"),
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "true"),
    ("core.filemode", "true"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.version", "2"),
    ("fetch.recurseSubmodules", "false"),
)
_RECEIVED = re.compile(rb"Receiving objects:\s+(\d+)% \(\d+/\d+\), ([\d.]+) (bytes|KiB|MiB|GiB)")
_UNITS = {b"bytes": 1, b"KiB": 1 << 10, b"MiB": 1 << 20, b"GiB": 1 << 30}


def _words(repository: Path, environment: Mapping[str, str], foreign: tuple[str, ...] = ()) -> tuple[str, ...]:
    settings = (word for name, value in SETTINGS for word in ("-c", f"{name}={value}"))
    return (*env_words({**QUIET, **environment, "GIT_DIR": str(repository)}, (*FOREIGN, *foreign)), "git", *settings)


def local_words(repository: Path, environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the first words of a command that stays on this disk; no configuration but the repository's is read."""
    alone = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
    return _words(repository, {**alone, **(environment or {})}, ("GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"))


def network_words(repository: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the first words of a command that asks a server: the user's credential helpers and ssh do count.

    ssh cannot ask anything either: the runner gives it no terminal.
    """
    return _words(repository, environment)


def git(runner: Runner, repository: Path, *words: str, stdin: bytes = b"") -> Done:
    """Run a local git command.

    Raises:
        SourceError: with git's own words when it fails.
    """
    done = finished(runner, (*local_words(repository), *words), stdin=stdin, program="git")
    if done.code != 0:
        raise SourceError(f"git {words[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done


def received(said: bytes) -> tuple[int, int] | None:
    """Return the bytes git says it has received, and an estimate of all of them, or nothing."""
    found = _RECEIVED.findall(said)
    if not found:
        return None
    percent, number, unit = found[-1]
    count = int(float(number) * _UNITS[unit])
    return count, count * 100 // max(1, int(percent))


def shown_url(url: str) -> str:
    """Return a URL without the password in it: it goes into messages, and into entries that are carried around."""
    return re.sub(r"^([a-z][a-z0-9+.-]*://)([^/@:]*)(:[^/@]*)?@", _user, url)


def _user(match: re.Match[str]) -> str:
    # The user of an ssh URL is part of the address; that of an https URL is often a token.
    return f"{match[1]}{match[2]}@" if match[1] in ("ssh://", "git+ssh://") else match[1]
