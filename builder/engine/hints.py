"""What a build's failure usually means, and what to do next: a table. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from builder.engine.mend import LOST_OF_CACHE
from builder.patience import LOST_LAYER

__all__ = ["LOW_DISK_BYTES", "Circumstances", "hint_for", "joined", "lost_snapshot", "unreachable_host"]

LOW_DISK_BYTES = 300 * 1024 * 1024
"""Less than this was free at some moment of the build: then a step without a word of its own most likely died of it."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the hint may depend on beside the message."""

    stage: str = ""
    source: str = ""
    """Name of the source behind a `src-*` stage, for `--source NAME=DIR`."""
    ca_bundle: bool = False
    base: str = ""
    """The platform whose base image drivebuild makes itself, if it does."""
    least_free: int | None = None
    builder: str = ""
    """The one that --builder names."""


_HOST = (
    r"Could not resolve host: (?P<host>[\w.-]+)",
    r"lookup (?P<host>[\w.-]+)(?: on \S+)?: (?:no such host|server misbehaving|i/o timeout|Temporary failure)",
    r"https?://(?P<host>[\w.-]+)[^\n]*?(?:dial tcp|i/o timeout|connection refused|network is unreachable)",
    r"Failed to connect to (?P<host>[\w.-]+) port",
    r"unable to access 'https?://(?P<host>[\w.-]+)",
    r"ssh: (?:connect to host|Could not resolve hostname) (?P<host>[\w.-]+)",
    r"host='(?P<host>[\w.-]+)', port=\d+\): Max retries",
    r"Temporary failure resolving '(?P<host>[\w.-]+)'",
    r"(?:error sending request for url|[Ff]ailed to fetch:?) [\(`]*https?://(?P<host>[\w.-]+)",
    r"Could not connect to (?P<host>[\w.-]+):\d+",
    r"index_file: .*?https?://(?P<host>[\w.-]+)\S*: (?:\[Errno|timed out|Tunnel connection failed)",
)

_TABLE: tuple[tuple[str, str], ...] = (
    (
        (
            r"x509: |certificate verify failed|CERTIFICATE_VERIFY_FAILED|SSL certificate problem"
            r"|invalid peer certificate|server certificate verification failed|unable to get local issuer"
        ),
        "{tls}",
    ),
    (
        # buildx itself, in the folder of builder/engine/build.py.
        r"/drivebuild-\w+/\S*: (?:no|No) space left on device",
        "the disk of the temporary folder is full: TMPDIR names another",
    ),
    (
        r"no space left on device|No space left on device|disk quota exceeded|ENOSPC",
        "the engine's disk is full: `docker system df` shows what takes it, `docker builder prune` frees the cache",
    ),
    (
        r"does not apply|the files are not those of the patch|patch failed:",
        (
            "the source is not the one the patch was made for: compare its pinned commit with the recipe's patch; "
            "nothing is applied with fuzz"
        ),
    ),
    (
        r"strict_apply: .*expected \d+",
        "the text to edit has changed upstream: look at the file at the pinned commit and mend `find` or `count`",
    ),
    (
        r"strict_apply: ",
        (
            "the source differs from what the recipe's patch, copy, edit or removal expects at the pinned commit; "
            "`drivebuild patch check` shows all of them"
        ),
    ),
    (
        (
            r"digest mismatch|DO NOT MATCH THE HASHES|(?<!\()[Hh]ash mismatch|computed checksum did NOT match"
            r"|checksum.*mismatch|sha256sum: WARNING|what was sent has sha256|another file of that name, with sha256"
        ),
        (
            "the file is not the one that was pinned: a mirror that rewrites files, or a moved upstream file. "
            "Do not change the pin before you know which"
        ),
    ),
    (
        r"building from source is disabled",
        (
            "the lock has a source archive that it does not call one, and where credentials are none is built: run "
            "`drivebuild lock --update`, or put ` # <its file name>` behind the line"
        ),
    ),
    (
        # LLVM of a profile; `(hash mismatch)` is no file's.
        r"function control flow change detected",
        "the profile was made from another source or other options: make it again",
    ),
    (
        r"exec format error",
        (
            "a binary of another architecture: build on a machine of the image's own architecture, "
            "or register an emulator (package qemu-user-static)"
        ),
    ),
    (
        (
            r"Killed signal terminated program|internal compiler error: Killed|exit code: 137|Out of memory|oom-kill"
            r"|Cannot allocate memory|std::bad_alloc"
        ),
        "out of memory: try fewer compile jobs at a time, `--jobs 1`, or give the machine more memory",
    ),
    (
        # builder/engine/mend.py has the cause, and what is tried before anybody reads this.
        LOST_OF_CACHE,
        (
            "the engine has lost a layer of its build cache, and running its stage again did not bring it back: "
            "`docker builder prune --all` forgets the cache, and compiles run again"
        ),
    ),
    (
        LOST_LAYER,
        (
            "the engine's image store lost a layer while it unpacked the image (moby/buildkit#6521), several times in "
            "a row: run the same command again, finished steps are kept; newer engines have it mended"
        ),
    ),
    (
        r"code = Unavailable|failed to (?:receive status|solve): .*(?:error reading from server|connection error)",
        (
            "{builder} has gone, or the line to it: when it is there again, run the same command; "
            "what it had finished is in its cache"
        ),
    ),
    (
        r"Cannot connect to the Docker daemon|error during connect|Is the docker daemon running",
        "the engine has stopped: start it (`systemctl start docker`) and run the same command; finished steps are kept",
    ),
    (
        r"'buildx' is not a docker command|unknown command: docker buildx|unknown flag: --(?:progress|load|meta)",
        "install the buildx plugin of docker (Debian: package docker-buildx)",
    ),
    (
        r"No matching distribution found|no wheels? with a matching|has no wheels? with",
        "the package index has no such file for this Python and architecture: run `drivebuild lock`",
    ),
    (
        r"manifest unknown|not found: not found|pull access denied|failed to resolve source metadata",
        "the image is not in its registry, or the registry cannot be reached: `docker pull` it by hand to see why",
    ),
    (
        r"429 Too Many Requests|toomanyrequests",
        "the server asks for patience: wait, or sign in (`docker login`), and try again; finished steps are kept",
    ),
)


def hint_for(text: str, about: Circumstances) -> str:
    """Return what to do about a failure whose messages are `text`; empty when the cause is not known."""
    if about.base and re.search(r"load metadata|pull access denied|failed to resolve source metadata", text):
        return f"make the base image: `drivebuild base {about.base}`"
    for pattern, advice in _TABLE[:3]:
        if re.search(pattern, text):
            return advice.format(tls=_tls(about))
    host = unreachable_host(text)
    if host:
        return _unreachable(host, about)
    for pattern, advice in _TABLE[3:]:
        if re.search(pattern, text):
            return advice.format(builder=f"builder {about.builder}" if about.builder else "the engine")
    if about.least_free is not None and about.least_free < LOW_DISK_BYTES:
        # The engine reports only `exit code: 1` when a step runs out of disk (facts: peers.md section 5).
        return _TABLE[2][1]
    return ""


def lost_snapshot(error: str) -> bool:
    """Return whether an export failed because the image store took away a layer that the export had just found.

    A race within the engine (moby/buildkit#6521); the same build passes a moment later.
    """
    return re.search(LOST_LAYER, error) is not None


def unreachable_host(text: str) -> str:
    """Return the host that could not be reached, if that is what `text` says."""
    for pattern in _HOST:
        match = re.search(pattern, text)
        if match:
            return match["host"].rstrip(".")
    return ""


def _unreachable(host: str, about: Circumstances) -> str:
    if about.source:
        return (
            f"host {host} cannot be reached from the engine. Without it: the environment only, `--until env`; "
            f"or a local checkout, `--source {about.source}=DIR`"
        )
    return f"host {host} cannot be reached from the engine: check the network, or set HTTPS_PROXY for this command"


def _tls(about: Circumstances) -> str:
    if about.ca_bundle:
        return (
            "a server's certificate is not signed by anything in the CA bundle that was passed: is it the right file?"
        )
    return "a proxy with its own certificates? Pass them: `--ca-bundle FILE` (they reach no layer)"


def joined(parts: Sequence[str]) -> str:
    """Return messages as one text to search."""
    return "\n".join(part for part in parts if part)
