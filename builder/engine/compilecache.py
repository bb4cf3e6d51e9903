"""Compiles that builders share: a folder that is brought into the cache mounts and filled from them, or a server.

A folder goes in and out by builds of their own. In the stages that compile it would be part of their cache keys.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from builder.engine.host import INSTALL
from builder.engine.process import Argv, CommandMissingError, Runner
from builder.errors import BuildError, UsageError
from builder.recipe.suggest import one_of
from builder.render.compiles import NAMES, render_bring, render_collect

__all__ = ["SECRET", "Folder", "Helper", "Server", "bring", "collect", "open_folder", "parse_compile_cache"]

SECRET = "compile-cache"  # noqa: S105
"""Id under which stages find the server's URL; macro `compile_cache` in macros/build.j2."""
TAG = "CACHEDIR.TAG"
_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55"
_TAG_TEXT = f"{_SIGNATURE}\n# What drivebuild's builds have compiled (--compile-cache). It may go at any time.\n"
_INCOMING = ".incoming-"
_LOCAL = re.compile(r"localhost|127\..*|\[?::1\]?|0\.0\.0\.0")
SCHEMES = ("http", "redis")
PROBE = 1 << 20


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of compiles, one folder below it for each cache mount."""

    path: Path

    @property
    def shown(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that ccache asks for compiles and gives them to."""

    url: str

    @property
    def shown(self) -> str:
        """The URL without a password."""
        return re.sub(r"//[^/]*@", "//", self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Helper:
    """What the small builds need of the caller."""

    runner: Runner
    templates: Mapping[str, str]
    base: str
    """An image with a shell that the engine has anyway: the platform's."""
    images: tuple[tuple[str, str], ...] = ()
    """Images that stand for others, as in the build itself."""


def parse_compile_cache(text: str, *, offline: bool, no_cache: bool) -> Folder | Server:
    """Return what `--compile-cache` names.

    Raises:
        UsageError: for a URL that ccache could not use from within a build, for a server with `offline`, and for a
            folder with `no_cache`: BuildKit then gives every step an empty cache mount (measured).
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        if no_cache:
            message = "--compile-cache: with --no-cache no step sees what a folder brings in"
            raise UsageError(message, hint="leave one of them out; a server's compiles are used all the same")
        return Folder(Path(text).expanduser().absolute())
    shown = Server(text).shown
    if scheme == "file":
        raise UsageError(f"--compile-cache {shown}: a folder is named by its path", hint=f"--compile-cache {rest}")
    if scheme == "https":
        hint = "http:// or redis:// within a closed network, or a proxy beside the builder that adds TLS"
        raise UsageError(f"--compile-cache {shown}: ccache does not speak TLS", hint=hint)
    if scheme not in SCHEMES:
        raise UsageError(f"--compile-cache: there is no {scheme}://", hint=one_of(scheme, SCHEMES))
    _check_address(text, shown)
    if offline:
        message = "--compile-cache: a server wants a network, and --offline allows no step one"
        raise UsageError(message, hint="a folder works without: --compile-cache DIR")
    return Server(text)


def _check_address(text: str, shown: str) -> None:
    # ccache reads white space as the next server, and replaces $NAME.
    if re.search(r"[\s$\x00-\x1f\x7f]", text):
        raise UsageError(f"--compile-cache {shown!r}: white space, '$' and control characters cannot stand in it")
    try:
        # Behind a bar there may be ccache's own settings of a server.
        parts = urlsplit(text.partition("|")[0])
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"--compile-cache {shown}: {error}") from error
    if not host:
        raise UsageError(f"--compile-cache {shown}: no host")
    if _LOCAL.fullmatch(host):
        hint = "name this machine as another would: its name, or its address on the engine's network"
        raise UsageError(f"--compile-cache {shown}: within a build, {host} is the build itself", hint=hint)


def open_folder(folder: Folder) -> None:
    """Look whether a folder can be used, and make it where there is none.

    Raises:
        UsageError: when it is no folder, cannot be written, or holds something else.
    """
    path = folder.path
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not _tagged(path):
            if any(path.iterdir()):
                message = f"--compile-cache {path}: neither empty nor a compile cache (it has no {TAG})"
                raise UsageError(message, hint="name an empty folder, or one that drivebuild made")
            _write(path / TAG, _TAG_TEXT)
        # The only sure way to know, whatever the mode bits and the file system say.
        tempfile.TemporaryDirectory(prefix=_INCOMING, dir=path).cleanup()
    except OSError as error:
        raise UsageError(f"--compile-cache {path}: {error.strerror}") from error


def _tagged(path: Path) -> bool:
    try:
        with (path / TAG).open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE.encode()
    except FileNotFoundError:
        return False


def _write(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_INCOMING)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
    Path(name).chmod(0o644)
    Path(name).rename(path)


def bring(folder: Folder, cache: str, helper: Helper) -> int:
    """Add a folder's compiles to the cache mount of id `cache`; return how many there were to choose from.

    Raises:
        BuildError: when the engine could not.
    """
    place = folder.path / cache
    count = sum(1 for _ in _files(place))
    if count:
        dockerfile = render_bring(helper.templates, base=helper.base, cache=cache)
        _run(dockerfile, (("compiles", place),), "type=cacheonly", helper, f"{place} could not be brought in")
    return count


def collect(folder: Folder, cache: str, helper: Helper) -> int:
    """Add what the cache mount of id `cache` has to a folder; return how many files were new.

    What is there is never made less: results are named after what they are compiled from, and of two manifests the
    longer one stays. All are read before the first gets its name, so a failure leaves the folder as it was.

    Raises:
        BuildError: when the engine could not, or the disk is full.
    """
    place = folder.path / cache
    what = f"{place} could not be filled"
    dockerfile = render_collect(helper.templates, base=helper.base, cache=cache)
    try:
        place.mkdir(exist_ok=True)
        lines = sorted(f"{size} {name}" for name, size in _files(place))
        with (
            tempfile.TemporaryDirectory(prefix="drivebuild-") as known,
            tempfile.TemporaryDirectory(prefix=_INCOMING, dir=folder.path) as incoming,
        ):
            (Path(known) / "files").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
            try:
                _run(dockerfile, (("known", Path(known)),), f"type=local,dest={incoming}", helper, what)
            except BuildError:
                # buildx only says "context canceled" when it cannot write. An OSError here says what is the matter.
                (Path(incoming) / "probe").write_bytes(bytes(PROBE))
                raise
            return _merge(Path(incoming), place)
    except OSError as error:
        raise BuildError(f"{what}: {error.strerror}", hint="make room, or name a folder on another disk") from error


def _files(place: Path) -> Iterator[tuple[str, int]]:
    """Yield path and size of ccache's files below a folder that may not be there."""
    for top, _folders, names in os.walk(place):
        for name in names:
            path = Path(top, name)
            relative = path.relative_to(place).as_posix()
            if re.fullmatch(NAMES, relative) and not path.is_symlink():
                yield relative, path.stat().st_size


def _merge(incoming: Path, place: Path) -> int:
    count = 0
    for relative, size in _files(incoming):
        target = place / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or (relative.endswith("M") and size > target.stat().st_size):
            (incoming / relative).replace(target)
            count += 1
    return count


def _run(dockerfile: str, contexts: tuple[tuple[str, Path], ...], output: str, helper: Helper, what: str) -> None:
    with tempfile.TemporaryDirectory(prefix="drivebuild-") as name:
        (Path(name) / "context").mkdir()
        (Path(name) / "Dockerfile").write_text(dockerfile, encoding="utf-8")
        command = _command(Path(name), contexts, output, helper.images)
        try:
            result = helper.runner.run(command)
        except CommandMissingError as error:
            raise BuildError(error.message, hint=INSTALL) from error
    if result.code != 0:
        lines = [line for line in result.complaint.splitlines() if line.strip()]
        tail = "".join(f"\n  | {line}" for line in lines[-8:])
        full = "no space left" in result.complaint.lower()
        raise BuildError(what + tail, hint="a disk is full: this folder's, or the engine's" if full else "")


def _command(
    folder: Path, contexts: tuple[tuple[str, Path], ...], output: str, images: tuple[tuple[str, str], ...]
) -> Argv:
    words = ["docker", "buildx", "build", "--progress=plain", "--network", "none", "--output", output]
    words += ["--build-arg", f"ONCE={uuid4().hex}"]
    for name, place in contexts:
        words += ["--build-context", f"{name}={place}"]
    for name, mirror in images:
        words += ["--build-context", f"{name}=docker-image://{mirror}"]
    return (*words, "--file", str(folder / "Dockerfile"), str(folder / "context"))
