"""Where the package index has the files that locks name by sha256. uv asks it, and so no index is named here."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from builder.errors import SourceError
from builder.source.lock import find_uv
from builder.source.parallel import run_all
from builder.source.runs import Done

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Ask", "IndexFile", "Located", "Package", "archive_of", "locate", "rounds"]

THREADS = 4
"""Questions to the index at a time: uv itself asks in parallel, but waits for its slowest answer."""
Ask = Callable[[tuple[str, ...]], Done]
"""Runs uv, in the environment that names the index, the proxies and the certificates."""


class Package(Protocol):
    """What is looked for; `PackageNeed` is one."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def python(self) -> str: ...
    @property
    def architecture(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """A file of the index. `size` is in bytes, 0 where the index does not say."""

    name: str
    url: str
    sha256: str
    size: int = 0
    sdist: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """What the index said: files by sha256, and why the others were not found."""

    files: Mapping[str, IndexFile]
    failures: Mapping[str, str]


def locate(wanted: Iterable[Package], ask: Ask) -> Located:
    """Find the files of packages, by their sha256. Nothing is downloaded.

    Raises:
        SourceError: when uv is not installed.
    """
    files: dict[str, IndexFile] = {}
    failures: dict[str, str] = {}
    todo = tuple(wanted)
    groups = tuple(rounds(todo))
    answers = run_all([_task(group, ask) for group in groups], at_once=THREADS)
    for group, (found, why) in zip(groups, answers, strict=True):
        files.update(found)
        for package in group:
            if package.sha256 not in found:
                name = f"{package.name}=={package.version}"
                failures[package.sha256] = why.get(name) or _gone(package)
    return Located(
        files={one.sha256: files[one.sha256] for one in todo if one.sha256 in files},
        failures={sha256: why for sha256, why in failures.items() if sha256 not in files},
    )


def archive_of(name: str, version: str, *, python: str, architecture: str, ask: Ask) -> IndexFile:
    """Return the source archive of a version. Nothing is downloaded, and nothing of it runs.

    Raises:
        SourceError: when there is none, or the index does not answer.
    """
    with TemporaryDirectory(prefix="drivebuild-index-") as folder:
        base = Path(folder)
        (base / "requirements.in").write_text(f"{name}=={version}\n", encoding="utf-8")
        done = ask(_command(python, architecture, base))
        if done.code != 0:
            raise SourceError(f"uv: {_short(done.stderr.decode('utf-8', 'replace'))}")
        files = _files((base / "pylock.toml").read_text(encoding="utf-8"), base)
    found = next((file for file in files.values() if file.sdist), None)
    if not found:
        raise SourceError(f"the index has no source archive of {name} {version}")
    return found


def _task(group: tuple[Package, ...], ask: Ask) -> Callable[[object], tuple[dict[str, IndexFile], dict[str, str]]]:
    return lambda _: _asked(group, ask)


def _gone(package: Package) -> str:
    where = f"Python {package.python} on {package.architecture}"
    return f"the index has {package.name} {package.version} for {where}, but no file with sha256 {package.sha256}"


def rounds(wanted: Sequence[Package]) -> Iterator[tuple[Package, ...]]:
    """Yield groups that uv can resolve at once: one Python, one architecture, one version of each package."""
    groups: dict[tuple[str, str, int], list[Package]] = {}
    versions: dict[tuple[str, str, str], list[str]] = {}
    for package in wanted:
        known = versions.setdefault((package.python, package.architecture, canonicalize_name(package.name)), [])
        if package.version not in known:
            known.append(package.version)
        groups.setdefault((package.python, package.architecture, known.index(package.version)), []).append(package)
    for key in sorted(groups):
        yield tuple(groups[key])


def _asked(group: tuple[Package, ...], ask: Ask) -> tuple[dict[str, IndexFile], dict[str, str]]:
    """Ask for one group; packages that uv refuses are taken out, so that all of them get known, and not one a run."""
    todo = sorted({f"{package.name}=={package.version}" for package in group})
    refused: dict[str, str] = {}
    with TemporaryDirectory(prefix="drivebuild-index-") as folder:
        base = Path(folder)
        while todo:
            (base / "requirements.in").write_text("\n".join(todo) + "\n", encoding="utf-8")
            done = ask(_command(group[0].python, group[0].architecture, base))
            if done.code == 0:
                return _files((base / "pylock.toml").read_text(encoding="utf-8"), base), refused
            said = done.stderr.decode("utf-8", "replace").strip()
            # Only a proof that there is no solution is about the packages it names. Anything else, a host that does not
            # answer say, holds for all of them, even if it names the one that was asked for first.
            proof = "Because" in said
            named = [one for one in todo if proof and _names(said, one.partition("==")[0])]
            refused.update(dict.fromkeys(named or todo, f"uv: {_short(said)}"))
            todo = [one for one in todo if one not in refused]
    return {}, refused


def _command(python: str, architecture: str, base: Path) -> tuple[str, ...]:
    # Without dependencies uv builds nothing: no archive is asked for its metadata.
    # Without uv's configuration files, as `lock`: an index comes from drivebuild's own, or from the environment.
    return (
        find_uv(), "--directory", str(base), "--no-config", "pip", "compile", "requirements.in", "--no-deps",
        "--python-version", python,
        "--python-platform", f"{architecture}-manylinux_2_28",
        "--format", "pylock.toml", "--output-file", "pylock.toml",
        "--no-python-downloads", "--no-annotate", "--no-header", "--no-progress", "--quiet",
    )  # fmt: skip


def _names(said: str, name: str) -> bool:
    return bool(re.search(rf"(?<![A-Za-z0-9._-]){re.escape(name)}(?![A-Za-z0-9_-])", said, re.IGNORECASE))


def _short(said: str) -> str:
    return " ".join(said.replace("╰─▶", "").replace("×", "").split())[:500]


def _files(lock: str, base: Path) -> dict[str, IndexFile]:
    """Return every file of a `pylock.toml` by its sha256.

    Raises:
        SourceError: for one without a sha256.
    """
    found = {}
    for package in tomllib.loads(lock).get("packages", []):
        for kind in ("wheels", "sdist", "archive"):
            entries = package.get(kind, [])
            for entry in entries if isinstance(entries, list) else [entries]:
                one = _file(entry, base, sdist=kind != "wheels")
                found[one.sha256] = one
    return found


def _file(entry: Mapping[str, Any], base: Path, *, sdist: bool) -> IndexFile:
    # A local folder of wheels is an index, too; uv names its files by path.
    url = entry.get("url") or (base / entry["path"]).resolve().as_uri()
    name = entry.get("name") or unquote(urlsplit(url).path.rpartition("/")[2])
    sha256 = entry.get("hashes", {}).get("sha256", "")
    if not sha256:
        raise SourceError(f"{name}: the package index gives no sha256 for it", hint="use another index")
    return IndexFile(name=name, url=url.partition("#")[0], sha256=sha256, size=int(entry.get("size", 0)), sdist=sdist)
