"""Names in a registry: what is pushed where, where caches lie, and what a registry's refusal means."""

from __future__ import annotations

import hashlib
import http.client
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from builder.engine.leftover import temporary_folder
from builder.errors import BuildError, UsageError

__all__ = [
    "ARCHITECTURES",
    "RECIPE",
    "Reference",
    "cache_key",
    "cache_source",
    "cache_target",
    "check_repository",
    "patience_asked",
    "reference",
    "refused",
    "trusting",
]

RECIPE = "drivebuild.recipe"
"""The image's label with the hash of its recipe: builder/render/keys.py."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What a registry calls them."""
CACHE = "mode=max,image-manifest=true,oci-mediatypes=true,compression=zstd,compression-level=3"
"""mode=max: of the builder stages, too, which are what takes hours. As an image's manifest, because some registries
take no other; not forced, because layers of base images would be pulled and packed anew for nothing."""
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_REPOSITORY = re.compile(r"(?P<host>[A-Za-z0-9.-]+(?::[0-9]+)?)(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_REFERENCE = re.compile(
    rf"(?P<repository>[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+)"
    rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?"
)
_HINTS = (
    (
        r"unauthorized|denied|authentication required|no basic auth|insufficient_scope|\b40[13] ",
        "sign in: `docker login {host}`",
    ),
    (
        r"server gave HTTP response to HTTPS client",
        (
            "the registry speaks no TLS: only the engine's own `insecure-registries` can allow that, or for a builder "
            "elsewhere and for look-ups its buildkitd.toml"
        ),
    ),
    (
        r"x509: |certificate",
        (
            "the registry's CA belongs into /etc/docker/certs.d/{host}/ca.crt of the engine's machine and of this one; "
            "for a builder elsewhere, into its buildkitd.toml (docs/scaling.md)"
        ),
    ),
    (r"no such host|connection refused|i/o timeout|network is unreachable", "{host} cannot be reached from {where}"),
    (r"429 |toomanyrequests|Too Many Requests", "the registry asks for patience: wait, and run the same command again"),
    (
        r"no space left|\b5\d\d ",
        "the registry has a fault of its own; what has arrived is kept, run the same command again",
    ),
    (r"connection reset|broken pipe|EOF", "the connection broke; what has arrived is kept, run the same command again"),
)
_SYSTEM = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_CERTIFICATES = ("/etc/docker/certs.d", "~/.config/docker/certs.d")


@dataclass(frozen=True, slots=True)
class Reference:
    """An image in a registry."""

    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def host(self) -> str:
        """The registry."""
        return self.repository.partition("/")[0]

    @property
    def name(self) -> str:
        """Repository and tag."""
        return f"{self.repository}:{self.tag}" if self.tag else self.repository

    def at(self, digest: str) -> str:
        """Return the name of one digest in the same repository."""
        return f"{self.repository}@{digest}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else self.name


def reference(text: str, *, option: str) -> Reference:
    """Return the image in a registry that a text names.

    Raises:
        UsageError: when it names none.
    """
    match = _REFERENCE.fullmatch(text)
    if not match or not _is_host(match["repository"].partition("/")[0]):
        raise UsageError(
            f"{option} {text!r}: no image in a registry", hint="such as registry.example:5000/team/model:tag"
        )
    return Reference(match["repository"], match["tag"] or "", match["digest"] or "")


def check_repository(repository: str, *, offline: bool, option: str = "--push") -> None:
    """Look whether an option names a place in a registry.

    Raises:
        UsageError: when it does not, or names none, and with `offline`.
    """
    match = _REPOSITORY.fullmatch(repository)
    if not match:
        raise UsageError(f"{option} {repository!r}: not a repository", hint="such as registry.example:5000/team")
    if not _is_host(match["host"]):
        # The engine would take it for a user's name on Docker Hub.
        raise UsageError(f"{option} {repository}: names no registry", hint=f"such as registry.example/{repository}")
    if offline:
        raise UsageError(f"{option} wants a network, and --offline allows none")


def _is_host(host: str) -> bool:
    return bool(set(".:") & set(host)) or host == "localhost"


def cache_key(*, platform: str, architecture: str, rest: str) -> str:
    """Return the tag of a cache: one for each image of a platform and architecture.

    A cache holds what the last build wrote, and no more: images that shared one would write each other's away.
    """
    key = f"{platform}-{ARCHITECTURES.get(architecture, architecture)}-{rest}"
    return key if len(key) <= 128 else f"{key[:115]}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def cache_target(text: str, key: str, *, offline: bool) -> str:
    """Return what BuildKit is told for `--cache-to TEXT`: a repository, an image's name, or BuildKit's own words.

    Raises:
        UsageError: when it is none of these.
    """
    if "=" in text:
        return text
    return f"type=registry,ref={_cache(text, key, '--cache-to', offline=offline)},{CACHE}"


def cache_source(text: str, keys: tuple[str, ...], *, offline: bool) -> tuple[str, ...]:
    """Return what BuildKit is told for `--cache-from TEXT`; for a repository one of each key.

    Raises:
        UsageError: as `cache_target`.
    """
    if "=" in text:
        return (text,)
    refs = dict.fromkeys(_cache(text, key, "--cache-from", offline=offline) for key in keys)
    return tuple(f"type=registry,ref={ref}" for ref in refs)


def _cache(text: str, key: str, option: str, *, offline: bool) -> str:
    if ":" in text.rpartition("/")[2] and "/" in text:
        if offline:
            raise UsageError(f"{option} wants a network, and --offline allows none")
        return reference(text, option=option).name
    check_repository(text, offline=offline, option=option)
    return f"{text}/cache:{key}"


def refused(what: str, said: str, host: str, *, where: str = "the engine") -> BuildError:
    """Return the error for what a registry, or the way to it from `where`, has refused."""
    tail = "".join(f"\n  | {line}" for line in said.splitlines()[-5:])
    hint = next((text for pattern, text in _HINTS if re.search(pattern, said)), "")
    return BuildError(f"{what}{tail}", hint=hint.format(host=host, where=where))


@contextmanager
def trusting(*hosts: str) -> Iterator[Mapping[str, str]]:
    """Yield the environment in which buildx, too, trusts the CAs that the engine is given for registries."""
    folders = (folder for host in dict.fromkeys(hosts) for folder in _trusted(host))
    given = [path for folder in folders for path in sorted(folder.glob("*.crt"))]
    if not given:
        yield {}
        return
    # The engine's folder has the port's colon in its name, and a colon parts the folders of the variable.
    with temporary_folder() as copies:
        for number, path in enumerate(given):
            with suppress(OSError):
                (copies / f"{number}.crt").write_bytes(path.read_bytes())
        yield {"SSL_CERT_DIR": ":".join((str(copies), *_SYSTEM))}


def _trusted(host: str) -> list[Path]:
    places = (Path(place).expanduser() / host for place in _CERTIFICATES)
    return [place for place in places if place.is_dir()]


def patience_asked(host: str) -> int | None:
    """Return the seconds of the Retry-After header that a registry has just now, if any.

    Neither docker nor buildx hands the header on. This asks the registry's root without credentials.
    """
    local = re.match(r"(localhost|127\.[0-9.]+)(:|$)", host) is not None
    context = ssl.create_default_context()
    for folder in _trusted(host):
        for path in folder.glob("*.crt"):
            try:
                context.load_verify_locations(path)
            except (OSError, ssl.SSLError):
                continue
    connection = http.client.HTTPConnection(host, timeout=5) if local else _secure(host, context)
    try:
        connection.request("GET", "/v2/")
        answer = connection.getresponse()
        return _seconds(str(answer.headers.get("Retry-After") or "")) if answer.status in (429, 503) else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _seconds(text: str) -> int | None:
    """Return what a Retry-After asks for: a number of seconds, or a date."""
    if text.isdecimal() and len(text) < 7:
        return int(text)
    try:
        return max(0, round(parsedate_to_datetime(text).timestamp() - time.time()))
    except ValueError:
        return None


def _secure(host: str, context: ssl.SSLContext) -> http.client.HTTPConnection:
    return http.client.HTTPSConnection(host, timeout=5, context=context)
