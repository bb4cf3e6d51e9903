"""The configuration of a site: the user's file and the project's, strict, with the place of every mistake.

What is in it changes where things come from, never what they are. No file of it may hold a password: those belong to
netrc, git's credential helper or the environment, which other tools know to protect.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from builder.errors import UsageError
from builder.recipe.diagnose import convert
from builder.recipe.text import DataPath, Document, Mistake, parse
from builder.recipe.types import Architecture, Name, Noun
from builder.render.cibuilders import Ci

__all__ = ["FILE", "Config", "ConfigFile", "config_files", "read_config"]

FILE = "drivebuild.yaml"
"""Name of a project's file."""
VARIABLE = "DRIVEBUILD_CONFIG"

_ADDRESS = r"[A-Za-z0-9\[*][A-Za-z0-9._~:/?%&=+@,;\[\]*-]*"
Prefix = Annotated[
    str,
    Meta(
        pattern=rf"^(https?://|ssh://){_ADDRESS}\Z|^file:///",
        max_length=1000,
        description="the beginning of a URL, such as https://github.com/",
    ),
]
Replacement = Annotated[
    str,
    Meta(
        pattern=rf"^((https?://|ssh://){_ADDRESS}|file:///[^\x00-\x20\x7f]*)\Z",
        max_length=1000,
        description="an http, https, ssh or file URL",
    ),
]
WebUrl = Annotated[
    str,
    Meta(pattern=rf"^https?://{_ADDRESS}\Z", max_length=1000, description="an http or https URL"),
]
ProxyUrl = Annotated[
    str,
    Meta(
        pattern=rf"^(http|https|socks5|socks5h)://{_ADDRESS}\Z",
        max_length=1000,
        description="the URL of a proxy, such as http://proxy.example:3128",
    ),
]
Registry = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9._/-]*)?\Z",
        max_length=255,
        description="a registry without https://, such as quay.io or registry.example:5000/quay",
    ),
]
FilePath = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f\x7f]+\Z", max_length=1000, description="a path, relative to this file")
]
RunnerLabel = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*\Z",
        max_length=100,
        description="a label of a CI service's runners, such as ubuntu-24.04-arm",
    ),
]
NoProxy = Annotated[
    str, Meta(pattern=r"^[^\x00-\x20\x7f]*\Z", max_length=2000, description="hosts with commas between them, no blanks")
]

# Who a URL signs in as. Greedy, because a password may hold an '@'.
_SIGN_IN = re.compile(rb"\b(?P<scheme>[a-z][a-z0-9+]*)://(?P<who>[^/\s\"']+)@", re.IGNORECASE)


class Proxy(Noun, frozen=True, kw_only=True):
    """The proxies of a site, without passwords."""

    http: ProxyUrl | None = None
    https: ProxyUrl | None = None
    no_proxy: NoProxy | None = None


class ConfigFile(Noun, frozen=True, kw_only=True):
    """One file. What it does not say is None or empty, so that files can be laid over each other."""

    mirrors: Mapping[Prefix, Annotated[tuple[Replacement, ...], Meta(min_length=1)]] = msgspec.field(
        default_factory=dict
    )
    """Beginning of a URL to what replaces it: one text, or a list in the order of the tries."""
    index: WebUrl | None = None
    """The Python package index."""
    distribution: Mapping[Name, WebUrl] = msgspec.field(default_factory=dict)
    """Mirrors of a distribution's packages, by system (`openeuler-22.03`) or family (`debian`, `debian-security`)."""
    registries: Mapping[Registry, Registry] = msgspec.field(default_factory=dict)
    ca_bundle: FilePath | None = None
    proxy: Proxy = Proxy()
    store: FilePath | None = None
    upstream: bool | None = None
    """Whether the address that a recipe names is tried after the mirrors."""
    runners: Mapping[Architecture, Annotated[tuple[RunnerLabel, ...], Meta(min_length=1)]] = msgspec.field(
        default_factory=dict
    )
    """What `drivebuild matrix` names for a CI service, by architecture: one label, or all that a runner must have."""
    ci: Ci | None = None
    """What `drivebuild render` writes into the workflows: of a repository's file, never of one user's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What all files say together."""

    files: tuple[Path, ...] = ()
    """Those that were read; the first wins."""
    mirrors: tuple[tuple[str, tuple[str, ...]], ...] = ()
    index: str = ""
    distribution: Mapping[str, str] = field(default_factory=dict)
    registries: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: Path | None = None
    proxy: Mapping[str, str] = field(default_factory=dict)
    """By `http`, `https` and `no_proxy`."""
    store: Path | None = None
    upstream: bool = True
    runners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ci: Ci = field(default_factory=Ci)


def read_config(explicit: Path | None, environment: Mapping[str, str], cwd: Path) -> Config:
    """Return the configuration: `explicit`, or DRIVEBUILD_CONFIG's, or else the project's laid over the user's.

    Raises:
        UsageError: for a file that cannot be read, and with all mistakes of all files.
    """
    mistakes: list[Mistake] = []
    read: list[tuple[Path, ConfigFile]] = []
    for path in config_files(explicit, environment, cwd):
        value, wrong = _read(path, cwd, own=path == _user_file(environment))
        mistakes += wrong
        if value is not None:
            read.append((path, value))
    if mistakes:
        ordered = sorted(dict.fromkeys(mistakes), key=lambda item: (item.file, item.place.line, item.place.column))
        hint = next((item.hint for item in ordered if "netrc" in item.hint), "docs/offline.md has every key")
        shown = [dataclasses.replace(item, hint="") if item.hint == hint else item for item in ordered]
        raise UsageError("\n".join(item.render() for item in shown), hint=hint)
    return _merged(read)


def config_files(explicit: Path | None, environment: Mapping[str, str], cwd: Path) -> tuple[Path, ...]:
    """Return the files to read, the one that wins first.

    Raises:
        UsageError: when a file that was asked for is not there.
    """
    said = "--config" if explicit is not None else VARIABLE
    wanted = explicit if explicit is not None else Path(environment.get(VARIABLE, ""))
    if wanted != Path():
        path = cwd / wanted.expanduser()
        if not _is_file(path):
            raise UsageError(f"{said}: {wanted}: no such file")
        return (path,)
    found = (_project_file(cwd, environment), _user_file(environment))
    return tuple(dict.fromkeys(path for path in found if path is not None and _is_file(path)))


def _project_file(cwd: Path, environment: Mapping[str, str]) -> Path | None:
    """Return the file of the nearest folder that has one; a repository's end, or the home folder, ends the search."""
    home = Path(environment["HOME"]).resolve() if environment.get("HOME") else None
    start = cwd.resolve()
    for folder in (start, *start.parents):
        if _is_file(folder / FILE):
            return folder / FILE
        if folder == home or (folder / ".git").exists():
            return None
    return None


def _user_file(environment: Mapping[str, str]) -> Path | None:
    named = environment.get("XDG_CONFIG_HOME", "")
    if named and Path(named).is_absolute():
        return Path(named) / "drivebuild/config.yaml"
    home = environment.get("HOME")
    return Path(home) / ".config/drivebuild/config.yaml" if home else None


def _read(path: Path, cwd: Path, *, own: bool) -> tuple[ConfigFile | None, tuple[Mistake, ...]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if all(not line.strip() or line.lstrip().startswith(b"#") for line in content.splitlines()):
        return ConfigFile(), ()
    document = _listed(parse(_SIGN_IN.sub(_masked, content), _shown(path, cwd)))
    value, wrong = convert(document, ConfigFile)
    mistakes = (*map(_worded, wrong), *_passwords(document), *_no_urls(document), *_missing_files(document, path))
    if own and isinstance(document.data, dict) and "ci" in document.data:
        hint = f"into the repository's {FILE}: whoever renders has to get the same files"
        mistakes = (*mistakes, document.mistake(("ci",), "ci: not in a user's own file", hint=hint, at_key=True))
    return (None, mistakes) if mistakes else (value, ())


def _masked(found: re.Match[bytes]) -> bytes:
    """Hide a password behind as many stars: an error shows the line, and its columns must stay those of the file."""
    who = found["who"]
    if found["scheme"].lower() == b"ssh":
        user, colon, password = who.partition(b":")
        hidden = user + colon + b"*" * len(password)
    else:
        hidden = b"*" * len(who)
    return found["scheme"] + b"://" + hidden + b"@"


def _listed(document: Document) -> Document:
    """Return the document with lists where one text may stand for a list of one, so there is one type to check."""
    data = document.data
    for key in ("mirrors", "runners"):
        items = data.get(key) if isinstance(data, dict) else None
        if isinstance(items, dict):
            lists = {name: [value] if isinstance(value, str) else value for name, value in items.items()}
            data = {**data, key: lists}
    return dataclasses.replace(document, data=data)


def _worded(mistake: Mistake) -> Mistake:
    """Return a mistake of the recipes' reader in the words of this file."""

    def words(text: str) -> str:
        for old, new in (("recipe: ", "configuration: "), ("recipe per", "configuration per"), ("a recipe", "it")):
            text = text.replace(old, new) if not text.startswith("did you mean") else text
        return text

    return dataclasses.replace(mistake, message=words(mistake.message), hint=words(mistake.hint))


def _passwords(document: Document) -> Iterator[Mistake]:
    for path, text, at_key in _texts(document.data, ()):
        match = _SIGN_IN.search(text.encode())
        if match and (match["scheme"].lower() != b"ssh" or b":" in match["who"]):
            hint = "put them into ~/.netrc, git's credential helper or, for a proxy, HTTPS_PROXY in the environment"
            name = ".".join(str(key) for key in path[:1])
            yield document.mistake(path, f"{name}: no credentials in a URL here", hint=hint, at_key=at_key)


def _no_urls(document: Document) -> Iterator[Mistake]:
    for path, text, at_key in _texts(document.data, ()):
        try:
            # Patterns let through what only a parser sees: a port of 99999, half an IPv6 address.
            _ = urlsplit(text).port if "://" in text else None
        except ValueError as error:
            yield document.mistake(path, f"{path[0]}: not a URL: {error}", at_key=at_key)


def _texts(value: Any, path: DataPath) -> Iterator[tuple[DataPath, str, bool]]:
    """Yield every text with its path, and whether it is a key."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), key, True
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
    elif isinstance(value, str):
        yield path, value, False


def _missing_files(document: Document, path: Path) -> Iterator[Mistake]:
    named = document.data.get("ca_bundle") if isinstance(document.data, dict) else None
    if isinstance(named, str) and named and not _is_file(_beside(path, named)):
        yield document.mistake(("ca_bundle",), f"ca_bundle: no such file: {_beside(path, named)}")


def _is_file(path: Path) -> bool:
    """Return whether a file is there. A folder that this user may not look into, such as root's HOME, has none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _beside(file: Path, named: str) -> Path:
    return file.parent.resolve() / Path(named).expanduser()


def _shown(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


def _merged(read: list[tuple[Path, ConfigFile]]) -> Config:
    """Lay files over each other: the first wins key by key, and its mirrors are tried first."""
    files = [file for _, file in read]
    mirrors: dict[str, tuple[str, ...]] = {}
    for file in files:
        for prefix, replacements in file.mirrors.items():
            key = prefix.rstrip("/") + "/"
            mirrors[key] = tuple(dict.fromkeys((*mirrors.get(key, ()), *replacements)))
    proxies = [
        {key: value for key, value in msgspec.structs.asdict(file.proxy).items() if value is not None} for file in files
    ]
    return Config(
        files=tuple(path for path, _ in read),
        mirrors=tuple(mirrors.items()),
        index=next((file.index for file in files if file.index), ""),
        distribution=_laid(file.distribution for file in files),
        registries=_laid(file.registries for file in files),
        ca_bundle=next((_beside(path, file.ca_bundle) for path, file in read if file.ca_bundle), None),
        proxy=_laid(proxies),
        store=next((_beside(path, file.store) for path, file in read if file.store), None),
        upstream=next((file.upstream for file in files if file.upstream is not None), True),
        runners={name: labels for file in reversed(files) for name, labels in file.runners.items()},
        ci=next((file.ci for file in files if file.ci), Ci()),
    )


def _laid(mappings: Iterable[Mapping[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for mapping in mappings:
        found = {**mapping, **found}
    return found
