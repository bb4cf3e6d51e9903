"""Packages of a Debian-like distribution for builds without a network: what apt knows, and the archives themselves.

mmdebstrap makes a small root, apt in it downloads; so the host need not be a Debian of the same release, and no mirror
is named here. apt checks signatures and checksums as it always does, and offline it checks the archives again.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from builder.errors import SourceError
from builder.source.disk import digest
from builder.source.runs import Runner, Stop, Tell, env_words, follow

if TYPE_CHECKING:
    from builder.source.store import Entry, Store

__all__ = ["CLOCK", "Installed", "Source", "System", "bootstrap_failure", "fetch_system", "machine", "write_tar"]

CLOCK = 1609459200
"""Seconds of SOURCE_DATE_EPOCH: the time of everything in a tar made here, as in the base image."""
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
DEBIAN = "debian"
_ADDRESS = re.compile(r"(?:https?|file|ftp)://[^\s\]]*?/([A-Za-z0-9.-]+)/?(?=\s|$)", re.MULTILINE)
"""An address in a source list; its last part tells what it is a mirror of."""
INSIDE = "/drivebuild"
"""The folder in the root for what goes in and comes out."""
SCRIPT = """\
set -eu
cd /drivebuild
status=/var/lib/dpkg/status
if [ -d etc ]; then cp -r etc/. /etc/apt/; status=/drivebuild/status; fi
# What the root itself was made from is not wanted.
rm -f /var/cache/apt/archives/*.deb
get() {{ apt-get -o APT::Sandbox::User=root -o Dir::State::status="$status" --yes --no-install-recommends "$@"; }}
mkdir -p out/lists out/archives out/sources
if [ -n "{packages}" ]; then
    get update
    get install --download-only {packages}
    # Stages install subsets of these, and a subset takes the first of `a | b`, where all together may have had b. If
    # there is such a first one that is neither installed nor downloaded, each package is asked for by itself, too.
    names=$(ls /var/cache/apt/archives | sed -n 's/_.*[.]deb$//p')
    touch depends
    {{ sed -n 's/^Package: //p' "$status"; echo "$names"; }} | LC_ALL=C sort -u > have
    only="--no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances"
    [ -z "$names" ] || apt-cache -o Dir::State::status="$status" depends $only $names > depends
    sed -n -E 's/^ [|](Pre)?Depends: ([^:]*)(:any)?$/\\2/p' depends | LC_ALL=C sort -u > first
    if [ -n "$(LC_ALL=C comm -23 first have)" ]; then
        for package in {packages}; do get --quiet=2 install --download-only "$package"; done
    fi
    find /var/lib/apt/lists -maxdepth 1 -type f ! -name lock -exec cp -t out/lists {{}} +
    find /var/cache/apt/archives -maxdepth 1 -name '*.deb' -exec mv -t out/archives {{}} +
fi
if [ -n "{sources}" ]; then
    # Only the main suite: the security suite announces versions whose .dsc is not always there.
    sed -n -E 's/^deb (.* {suite} main)$/deb-src \\1/p' /etc/apt/sources.list > /etc/apt/sources.list.d/drivebuild.list
    get update
    cd out/sources
    for package in {sources}; do get source --download-only --tar-only "$package/{suite}"; done
fi
"""


class System(Protocol):
    """Packages to download; `SystemNeed` is one."""

    @property
    def key(self) -> str: ...
    @property
    def suite(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def include(self) -> tuple[str, ...]: ...
    @property
    def packages(self) -> tuple[str, ...]: ...


class Source(Protocol):
    """A file of a source package; `DebianNeed` is one."""

    @property
    def key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def package(self) -> str: ...
    @property
    def suite(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What the base image has: dpkg's status and apt's source lists by their path below /etc/apt.

    With them apt downloads what that very image lacks, newer versions of its packages among it, and keeps its lists
    under the names by which apt in the image will look for them.
    """

    status: bytes
    sources: Mapping[str, bytes]


def machine(architecture: str) -> str:
    """Return Debian's name of an architecture."""
    return MACHINES.get(architecture, architecture)


def fetch_system(
    suite: str,
    wanted: System | None,
    sources: Sequence[Source],
    *,
    store: Store,
    runner: Runner,
    installed: Installed | None,
    mirrors: Mapping[str, str],
    environment: Mapping[str, str],
    stop: Stop,
    tell: Tell | None = None,
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Download packages and source packages of one suite in one go; return what is new in the store, and failures.

    Args:
        mirrors: the address to ask in place of one that ends in the key: `debian`, `debian-security`.

    Raises:
        SourceError: when the root cannot be made, or apt refuses.
    """
    name = f"system-{suite}"
    with store.lock(name, stop=stop):
        # Another drivebuild may have been at it while this one waited; tomorrow's lists would be other bytes.
        wanted = None if wanted and store.find(wanted.key) else wanted
        sources = [source for source in sources if not store.find(source.key)]
        if not wanted and not sources:
            return (), ()
        scratch = store.partial(name)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            _write_inside(scratch / "in", suite, wanted, sources, installed, mirrors)
            command = _command(scratch, suite, wanted, installed, mirrors)
            words = (*env_words({"SOURCE_DATE_EPOCH": str(CLOCK), "LC_ALL": "C", **environment}), *command)
            code, said = follow(runner, words, stop=stop, hear=_hear(tell), program="mmdebstrap")
            if code != 0:
                raise bootstrap_failure(suite, code, said)
            return _published(scratch / "out.tar", wanted, sources, store, scratch, _renames(installed, mirrors))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _hear(tell: Tell | None) -> Callable[[bytes], None]:
    lines = 0

    def hear(piece: bytes) -> None:
        nonlocal lines
        lines += piece.count(b"\nGet:")
        if tell:
            tell(lines, 0)

    return hear


def _write_inside(
    folder: Path,
    suite: str,
    wanted: System | None,
    sources: Sequence[Source],
    installed: Installed | None,
    mirrors: Mapping[str, str],
) -> None:
    """Write what goes into the root: the script, and what the base image says of itself."""
    folder.mkdir()
    script = SCRIPT.format(
        suite=suite,
        packages=" ".join(wanted.packages if wanted else ()),
        sources=" ".join(sorted({source.package for source in sources})),
    )
    (folder / "fetch.sh").write_text(script, encoding="utf-8")
    if installed:
        (folder / "status").write_bytes(installed.status)
        for path, text in installed.sources.items():
            target = folder / "etc" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_mirrored(text.decode("utf-8", "replace"), mirrors).encode())


def _command(
    scratch: Path, suite: str, wanted: System | None, installed: Installed | None, mirrors: Mapping[str, str]
) -> tuple[str, ...]:
    # Without the image's own word for what it has, a root like the image is the next best.
    like_image = wanted is not None and installed is None
    include = (f"--include={','.join(wanted.include)}",) if wanted and like_image and wanted.include else ()
    architecture = (f"--architectures={machine(wanted.architecture)}",) if wanted else ()
    return (
        "mmdebstrap",
        "--variant=minbase" if like_image else "--variant=apt",
        *include,
        *architecture,
        f'--customize-hook=mkdir "$1{INSIDE}"',
        f"--customize-hook=sync-in {shlex.quote(str(scratch / 'in'))} {INSIDE}",
        f'--customize-hook=chroot "$1" sh {INSIDE}/fetch.sh',
        # mmdebstrap itself writes it: as an ordinary user's, the root belongs to another uid.
        f"--customize-hook=tar-out {INSIDE}/out {shlex.quote(str(scratch / 'out.tar'))}",
        "--format=null",
        suite,
        "/dev/null",
        *((mirrors[DEBIAN],) if DEBIAN in mirrors else ()),
    )


def _mirrored(text: str, mirrors: Mapping[str, str]) -> str:
    """Return a source list in which mirrors stand for the addresses they mirror."""
    return _ADDRESS.sub(lambda match: mirrors.get(match[1], match[0].rstrip("/")), text)


def _renames(installed: Installed | None, mirrors: Mapping[str, str]) -> dict[str, str]:
    """Return how apt's lists begin that came from a mirror, and how the base image's apt will look for them."""
    texts = installed.sources.values() if installed else ()
    found = {}
    for match in _ADDRESS.finditer("\n".join(text.decode("utf-8", "replace") for text in texts)):
        if match[1] in mirrors:
            found[list_name(mirrors[match[1]])] = list_name(match[0])
    return found


def list_name(address: str) -> str:
    """Return how apt begins the names of the lists that come from an address."""
    bare = re.sub(r"^[a-z0-9+]+:/*([^/@]*@)?", "", address).strip("/")
    quoted = "".join(f"%{ord(sign):02x}" if sign in '\\|{}[]<>"^~_=!@#$%&*' else sign for sign in bare)
    return quoted.replace("/", "_") + "_dists_"


def bootstrap_failure(what: str, code: int, said: str) -> SourceError:
    """Return the error of a failed mmdebstrap: its last words, and what to do about those that are known."""
    lines = [line.rsplit("\r", 1)[-1].strip() for line in said.splitlines()]
    telling = [line for line in lines if line.startswith(("E:", "W:", "Err:"))] or [line for line in lines if line]
    tail = "\n".join(f"  | {line}" for line in list(dict.fromkeys(telling))[-8:])
    return SourceError(f"{what}: mmdebstrap failed with exit code {code}\n{tail}", hint=_hint(said))


def _hint(said: str) -> str:
    if os.geteuid() != 0 and any(word in said for word in ("newuidmap", "subuid", "unshare", "superuser")):
        return "run as root, or install uidmap and give this user a range in /etc/subuid and /etc/subgid"
    if any(word in said for word in ("Temporary failure resolving", "Could not connect", "Could not resolve")):
        return "the distribution's mirror cannot be reached; the configuration can name another"
    if "Unable to locate package" in said or "has no installation candidate" in said:
        return "the suite has no such package: look at the system's recipe"
    if any(word in said for word in ("no such suite", "unable to get default mirror", "keyring")):
        return "this system's mmdebstrap does not know the suite; install debian-archive-keyring"
    if "qemu" in said or "Exec format error" in said or "arch-test" in said:
        return "a foreign architecture needs qemu-user-static and arch-test, registered with binfmt_misc"
    return "the disk is full: TMPDIR names another for the root" if "No space left" in said else ""


def _published(
    made: Path,
    wanted: System | None,
    sources: Sequence[Source],
    store: Store,
    scratch: Path,
    renames: Mapping[str, str],
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    entries, failures = [], []
    with tarfile.open(made) as tar:
        # The last two parts: how mmdebstrap names what is above them is its own affair.
        files = {"/".join(item.name.split("/")[-2:]): item for item in tar if item.isfile()}
        if wanted:
            entries.append(_add_system(wanted, tar, files, store, scratch, renames))
        for source in sources:
            item = files.get(f"sources/{source.file}")
            target = scratch / source.file
            if item is None:
                failures.append(f"{source.name}: {source.suite}'s package {source.package} has no {source.file}")
                continue
            _copy(tar, item, target)
            sha256 = digest(target)
            if sha256 != source.sha256:
                failures.append(f"{source.name}: {source.file} has sha256 {sha256}, pinned is {source.sha256}")
                continue
            origin = f"source package {source.package} of {source.suite}"
            entries.append(store.add(source.key, target, file=source.file, origin=origin, sha256=sha256))
    return tuple(entries), tuple(failures)


def _add_system(
    wanted: System,
    tar: tarfile.TarFile,
    files: Mapping[str, tarfile.TarInfo],
    store: Store,
    scratch: Path,
    renames: Mapping[str, str],
) -> Entry:
    target = scratch / "system.tar"
    chosen = {_renamed(name, renames): item for name, item in files.items() if name.startswith(("lists/", "archives/"))}
    write_tar(target, {name: (item.size, partial(_opened, tar, item)) for name, item in chosen.items()})
    archives = sum(name.startswith("archives/") for name in chosen)
    return store.add(
        wanted.key,
        target,
        file=f"{wanted.suite}-{machine(wanted.architecture)}.tar",
        origin=f"apt, in a root of {wanted.suite}",
        sha256=digest(target),
        note=f"{archives} archives",
    )


def _renamed(name: str, renames: Mapping[str, str]) -> str:
    for old, new in renames.items():
        if name.startswith(f"lists/{old}"):
            return f"lists/{new}{name.removeprefix(f'lists/{old}')}"
    return name


def _opened(tar: tarfile.TarFile, item: tarfile.TarInfo) -> IO[bytes]:
    opened = tar.extractfile(item)
    if opened is None:
        raise SourceError(f"{item.name}: not a file")
    return opened


def _copy(tar: tarfile.TarFile, item: tarfile.TarInfo, target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(_opened(tar, item), file, 1 << 20)


def write_tar(target: Path, files: Mapping[str, tuple[int, Callable[[], IO[bytes]]]]) -> None:
    """Write files, given as size and opener by name, to a tar whose bytes depend on nothing else."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            size, opener = files[name]
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = size, CLOCK, 0o644
            with opener() as content:
                tar.addfile(info, content)
