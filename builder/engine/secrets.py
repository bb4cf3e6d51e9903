"""Files that a build gets as secrets, so that a site's network is in no layer, no history and no cache key."""

from __future__ import annotations

import netrc
import os
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from builder.errors import UsageError
from builder.plan.suites import SUITES
from builder.recipe.types import System

__all__ = ["Network", "netrc_file", "os_sources", "secret_files", "write_private"]

_WHEELS_ONLY = "export UV_NO_BUILD=1 PIP_ONLY_BINARY=:all:\n"
"""Where there are credentials no source archive is built: its setup.py would see them. Stages say so, too; here it also
holds for what a lock does not call one."""
_DNF_PARTS = ("OS", "everything", "update")


class Network(Protocol):
    """What a build must know of the site's network; builder/source/network.py has it."""

    @property
    def index(self) -> str:
        """URL of the Python package index, or ''."""
        ...

    @property
    def hosts(self) -> frozenset[str]:
        """Hosts that the configuration names, and a build may therefore sign in to."""
        ...

    @property
    def distribution(self) -> Mapping[str, str]:
        """Mirrors of distributions' packages by system or family."""
        ...

    def mirror_of(self, system: str) -> str:
        """Return the mirror of a system's packages, or ''."""
        ...


def secret_files(
    network: Network,
    environment: Mapping[str, str],
    folder: Path,
    *,
    system: System | None = None,
    suite: str = "",
    architecture: str = "",
) -> tuple[tuple[str, Path], ...]:
    """Write what there is to say into private files in `folder` and return them by their ids.

    Args:
        network: the site's network.
        environment: the caller's; HOME and NETRC are read from it.
        folder: the build's own temporary folder.
        system: the system whose packages stages install; without it there is no `os-sources`.
        suite: apt's name of its release, where the platform's bootstrap says it.
        architecture: of the image; Ubuntu keeps all but x86_64 on another server.

    Raises:
        UsageError: for a netrc that cannot be read or understood.
        OSError: when a file cannot be written.
    """
    texts = {
        "network": _WHEELS_ONLY + _index(network.index),
        "netrc": _netrc(network.hosts, environment),
        "os-sources": os_sources(network, system, suite=suite, architecture=architecture) if system else "",
    }
    found = []
    for name, text in texts.items():
        if text:
            write_private(folder / name, text)
            found.append((name, folder / name))
    return tuple(found)


def os_sources(network: Network, system: System, *, suite: str = "", architecture: str = "") -> str:
    """Return apt's sources.list or dnf's repository file for the site's mirror of a system; '' where it has none.

    Raises:
        UsageError: when there is a mirror and nobody knows the release's name.
    """
    family = system.name.rpartition("-")[0]
    ports = network.distribution.get(f"{family}-ports", "") if architecture not in ("", "x86_64") else ""
    mirror = (ports or network.mirror_of(system.name)).rstrip("/")
    if not mirror:
        return ""
    if system.manager == "dnf":
        return "\n".join(_dnf_part(mirror, part) for part in _DNF_PARTS)
    named = suite or SUITES.get(system.name, "")
    if not named:
        message = f"distribution: there is a mirror of {family}, but {system.name} names no suite"
        raise UsageError(message, hint="the platform's bootstrap says the suite")
    return _apt_lines(family, mirror, network.distribution.get(f"{family}-security", "").rstrip("/"), named)


def _apt_lines(family: str, mirror: str, security: str, suite: str) -> str:
    # One line each, not deb822: apt reads the file by another name than *.sources. No `signed-by`: the keys are the
    # image's own, so a mirror cannot bring others.
    parts = "main restricted universe multiverse" if family == "ubuntu" else "main"
    lines = [f"deb {mirror} {suite} {parts}", f"deb {mirror} {suite}-updates {parts}"]
    # Ubuntu has its security suite beside the others; Debian in a folder beside, as `fetch` takes it to be, too.
    beside = mirror if family == "ubuntu" else f"{mirror}-security" if mirror.endswith(f"/{family}") else ""
    security = security or beside
    if security:
        lines.append(f"deb {security} {suite}-security {parts}")
    return "\n".join(lines) + "\n"


def _dnf_part(mirror: str, part: str) -> str:
    # openEuler's own layout below the release's folder, which the mirror's URL ends in; the key is the image's own.
    return (
        f"[site-{part.lower()}]\nname=site-{part.lower()}\nbaseurl={mirror}/{part}/$basearch/\n"
        "enabled=1\ngpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-openEuler\n"
    )


def _index(url: str) -> str:
    """Return shell text that points uv and pip at the index; '' where none is configured."""
    if not url:
        return ""
    values = {"UV_DEFAULT_INDEX": url, "PIP_INDEX_URL": url}
    if url.startswith("http://"):
        # pip refuses an index without TLS; what it brings is checked against the lock's hashes all the same.
        values["PIP_TRUSTED_HOST"] = url.removeprefix("http://").partition("/")[0].rpartition("@")[2]
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def netrc_file(environment: Mapping[str, str]) -> Path | None:
    """Return the caller's netrc: NETRC's, or that of the home folder; None where there is none."""
    named = environment.get("NETRC", "")
    home = environment.get("HOME", "")
    path = Path(named).expanduser() if named else Path(home) / ".netrc"
    try:
        return path if (named or home) and path.is_file() else None
    except OSError:
        # The home folder of another user, as with sudo.
        return None


def _netrc(hosts: Collection[str], environment: Mapping[str, str]) -> str:
    """Return the entries of the caller's netrc for `hosts`. The default entry stays out: it fits every host."""
    path = netrc_file(environment)
    if path is None:
        return ""
    try:
        entries = netrc.netrc(str(path)).hosts
    except netrc.NetrcParseError as error:
        raise UsageError(f"{path}: not a netrc, near line {error.lineno}", hint="`man netrc` has its form") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    lines = []
    for machine, (login, account, password) in entries.items():
        if machine.lower() in hosts and machine != "default":
            pairs = (("machine", machine), ("login", login), ("account", account), ("password", password))
            lines.append(" ".join(f"{word} {_token(value)}" for word, value in pairs if value))
    return "".join(f"{line}\n" for line in lines)


def _token(value: str) -> str:
    if any(char in value for char in " \t\"\\#'"):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return value


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner may read.

    Raises:
        OSError: when there is something of that name, or it cannot be written.
    """
    # Private from its first moment, whatever the umask; O_EXCL, so that no link waits at the name.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
