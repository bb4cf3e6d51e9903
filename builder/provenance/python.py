"""The Python distributions of an image, by their dist-info folders, and the interpreter that was compiled. Pure."""

from __future__ import annotations

import ast
import base64
import binascii
import csv
import json
import re
from collections.abc import Iterator, Mapping

import msgspec

from builder.provenance.licences import expression_of
from builder.provenance.snapshot import Snapshot

__all__ = ["Distribution", "Interpreter", "read_distributions", "read_interpreter", "read_locks", "source_of"]

_INFO = re.compile(r"(?P<site>.*)/(?P<folder>[^/]+\.dist-info)/METADATA")
# Elsewhere it is what a source archive brings, of something that is not installed.
_EGG = re.compile(r"(?P<site>.*/(?:site|dist)-packages)/(?P<folder>[^/]+\.egg-info)(?:/PKG-INFO)?")
_BYTE_CODE = re.compile(r"(.*/)__pycache__/([^/]+)\.(?:cpython|pypy)-?[0-9a-z]+(?:\.opt-[0-9])?\.pyc")
_BUNDLED = re.compile(r".*/[^/]+\.libs/([^/]+\.so[^/]*)")
_LICENCE_FILE = re.compile(r"(?:licen[cs]es/)?(?:licen[cs]e|copying)[^/]*", re.IGNORECASE)
_VERSION = re.compile(r'#define\s+PY_VERSION\s+"([^"]{1,40})"')
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_FLAGS = ("CC", "CONFIG_ARGS", "PY_CFLAGS", "PY_CFLAGS_NODIST", "PY_LDFLAGS_NODIST", "PY_CORE_LDFLAGS")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
LONGEST_HEAD = 256 << 10
"""Bytes of METADATA's headers that are read; those of the largest distributions have forty thousand."""
MOST_ROWS = 500_000
"""Lines of a RECORD that are read; PyTorch's has thirteen thousand."""
SYSCONFIG = 1 << 20
"""Bytes of an interpreter's own settings that are read; they have thirty thousand."""
FIELD = 400
"""Letters of a field that is meant to be one line."""


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """One installed distribution."""

    name: str
    """As packages are compared: lower case, dashes."""
    title: str
    version: str
    folder: str
    """Its dist-info folder, by which two of one name are told apart."""
    licences: tuple[str, ...]
    """SPDX expressions, or what it says in its own words; empty when it says nothing."""
    requires: tuple[str, ...]
    installer: str
    tags: tuple[str, ...]
    """Of the wheel it came as."""
    bundled: tuple[str, ...]
    """Libraries that the wheel brings along, by their files: nothing but these names says what they are."""
    generator: str
    origin: str
    """Where it was installed from when that was no index."""
    record: Mapping[str, str]
    """Its files, by path in the image; sha256 where RECORD has one, else ''."""
    trouble: str = ""
    """What of it cannot be read."""


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """The Python that was compiled for the image."""

    version: str
    settings: tuple[tuple[str, str], ...]
    """Compiler, configuration and flags, as it says itself."""


def read_distributions(snapshot: Snapshot) -> tuple[Distribution, ...]:
    """Return all distributions, also those inside others, by name and folder."""
    found = []
    for path in snapshot.texts:
        match = _INFO.fullmatch(path) or _EGG.fullmatch(path)
        if match is not None:
            found.append(_distribution(snapshot, path, match["site"], f"{match['site']}/{match['folder']}"))
    return tuple(sorted(found, key=lambda each: (each.name, each.folder)))


def _distribution(snapshot: Snapshot, path: str, site: str, folder: str) -> Distribution:
    from packaging.metadata import parse_email
    from packaging.utils import canonicalize_name

    trouble = ""
    head = _BLANK_LINE.split(snapshot.texts[path], maxsplit=1)[0]
    try:
        # Without the description, of which nothing is said; what reads mail takes long for headers without an end.
        raw, _ = parse_email(head[:LONGEST_HEAD])
    except (ValueError, KeyError, UnicodeError, IndexError, AttributeError, TypeError) as error:
        # Headers that nobody foresaw: the folder's name says the most important.
        raw, trouble = {}, f"its METADATA cannot be read: {_line(str(error))}"
    stem, _, number = folder.rpartition("/")[2].rpartition(".")[0].partition("-")
    title = _line(raw.get("name", "")) or stem
    version = _line(raw.get("version", "")) or number.partition("-py")[0]
    if len(head) > LONGEST_HEAD:
        trouble = trouble or f"its METADATA has headers of {len(head)} bytes: not all of them were read"
    if not trouble and not ("name" in raw and "version" in raw):
        trouble = "its METADATA names no name or version"
    wheel = snapshot.text(f"{folder}/WHEEL")
    return Distribution(
        name=canonicalize_name(title),
        title=title,
        version=version,
        folder=folder,
        licences=_licences(snapshot, folder, raw),
        requires=tuple(_line(each) for each in raw.get("requires_dist", ())[:1000]),
        installer=_line(snapshot.text(f"{folder}/INSTALLER")),
        bundled=tuple(sorted(_bundled(snapshot, folder, site))),
        tags=tuple(sorted(_line(tag) for tag in re.findall(r"^Tag:(.*)$", wheel, re.MULTILINE))),
        generator=_line("".join(re.findall(r"^Generator:(.*)$", wheel, re.MULTILINE)[:1])),
        origin=_origin(snapshot.text(f"{folder}/direct_url.json")),
        # What lies in its folder is its own, listed or not.
        record={each: "" for each in snapshot.texts if each.startswith(f"{folder}/")}
        | dict(_record(snapshot.text(f"{folder}/RECORD"), site)),
        trouble=trouble,
    )


def _bundled(snapshot: Snapshot, folder: str, site: str) -> Iterator[str]:
    for path, _digest in _record(snapshot.text(f"{folder}/RECORD"), site):
        match = _BUNDLED.fullmatch(path)
        if match is not None:
            yield match[1]


def _line(text: object) -> str:
    return " ".join(str(text).split())[:FIELD]


def _licences(snapshot: Snapshot, folder: str, raw: Mapping[str, object]) -> tuple[str, ...]:
    said = str(raw.get("license_expression") or raw.get("license") or "")
    classifiers = raw.get("classifiers")
    words = [str(each) for each in classifiers] if isinstance(classifiers, list) else []
    trove = [word.rpartition(" :: ")[2] for word in words if word.startswith("License ::") and word.count("::") > 1]
    first = expression_of(said)
    named = sorted({each for word in trove if (each := expression_of(word))})
    # "BSD" says less than a file that has the clauses.
    vague = {"LicenseRef-BSD", ""}
    if first not in vague:
        return (first,)
    if named and not vague & set(named):
        return tuple(named)
    files = [path for path in sorted(snapshot.texts) if _is_licence(path, folder)] if folder else []
    texts = sorted({each for path in files if (each := expression_of(snapshot.text(path)))})
    if texts:
        return tuple(texts)
    fallback = [each for each in (first, *named) if each]
    return (fallback[0],) if fallback else (_line(said),) if _line(said).lower() not in ("", "unknown") else ()


def _is_licence(path: str, folder: str) -> bool:
    return path.startswith(folder + "/") and bool(_LICENCE_FILE.fullmatch(path[len(folder) + 1 :]))


def _origin(text: str) -> str:
    try:
        data = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return ""
    url = data.get("url") if isinstance(data, dict) else None
    return _line(url) if isinstance(url, str) else ""


def _record(text: str, site: str) -> Iterator[tuple[str, str]]:
    """Yield path and sha256 of a RECORD's lines. One that leads out of the image leads nowhere."""
    rows = csv.reader(text.replace("\0", "").splitlines())
    for _ in range(MOST_ROWS):
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            continue
        if row and row[0]:
            yield _joined(site, row[0]), _sha256(row[1] if len(row) > 1 else "")


def _joined(site: str, path: str) -> str:
    parts = [] if path.startswith("/") else [part for part in site.split("/") if part]
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _sha256(word: str) -> str:
    kind, _, digest = word.partition("=")
    if kind != "sha256":
        return ""
    try:
        return base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()
    except (binascii.Error, ValueError):
        return ""


def read_locks(snapshot: Snapshot) -> dict[tuple[str, str], tuple[str, tuple[str, ...]]]:
    """Return the lock file and the hashes of each locked (name, version)."""
    from packaging.utils import canonicalize_name

    found: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}
    for path in sorted(snapshot.texts):
        if path.startswith("/opt/drivebuild/locks/"):
            for line in snapshot.text(path).splitlines():
                match = _REQUIREMENT.match(line)
                if match is not None:
                    found[canonicalize_name(match[1]), match[2]] = (path, tuple(_HASH.findall(line)))
    return found


def source_of(path: str) -> str:
    """Return the source that byte code is compiled from, '' for any other file.

    >>> source_of("/a/__pycache__/b.cpython-311.opt-1.pyc")
    '/a/b.py'
    """
    match = _BYTE_CODE.fullmatch(path)
    return f"{match[1]}{match[2]}.py" if match else ""


def read_interpreter(snapshot: Snapshot) -> Interpreter | None:
    """Return the interpreter below /opt/python, or None where there is none."""
    for path in sorted(snapshot.texts):
        if path.startswith("/opt/python/include/") and (match := _VERSION.search(snapshot.text(path))):
            return Interpreter(version=match[1], settings=_settings(snapshot))
    return None


def _settings(snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """Return what the interpreter was compiled with, from the literal in its own settings; nothing is executed."""
    for path in sorted(snapshot.texts):
        if "/_sysconfigdata_" not in path or len(snapshot.texts[path]) > SYSCONFIG:
            continue
        try:
            tree = ast.parse(snapshot.texts[path])
            values = [each.value for each in tree.body if isinstance(each, ast.Assign)]
            data = ast.literal_eval(values[0]) if values else {}
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(data, dict):
            # Numbers of any length are no setting, and no text either.
            said = {name: data[name] for name in _FLAGS if isinstance(data.get(name), str | bool | float)}
            return tuple((name, " ".join(str(value).split())) for name, value in said.items() if value)
    return ()
