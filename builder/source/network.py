"""Where a site fetches from: mirrors in order, package index, registries, proxies. Pure functions of a configuration.

A mirror only says where bytes may come from. What they must be is the pin's business, so a mirror needs no trust.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from builder.source.config import Config

__all__ = ["PROXY_NAMES", "Network", "host_of", "make_network", "registry_of"]

PROXY_NAMES = {"http": "HTTP_PROXY", "https": "HTTPS_PROXY", "no_proxy": "NO_PROXY"}
"""The variables of the keys below `proxy`. BuildKit knows them without an ARG and keeps them out of cache keys."""

_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
_DOCKER_HUB = "docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A site's network. `Network()` is one without mirrors, and changes nothing."""

    mirrors: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Prefix and what replaces it, in the order of the tries."""
    upstream: bool = True
    """Whether the address that a recipe names is asked at all."""
    index: str = ""
    """The Python package index; may hold a password if the caller's environment has it in there, so it is not shown."""
    distribution: Mapping[str, str] = field(default_factory=dict)
    """Mirrors of the distributions' packages, by system (`debian-12`) or family (`debian`)."""
    registries: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: Path | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Environment for whatever fetches, in both spellings: curl reads only the small `http_proxy`."""

    def candidates(self, url: str) -> tuple[str, ...]:
        """Return the addresses to try for `url`, in order: those of the longest prefix that fits, then `url` itself.

        Empty where the site has no mirror of it and does not ask upstream. A file on this machine is always asked.
        A mirrored repository on disk is named with and without `.git`, because people keep both.
        """
        found: list[str] = []
        for prefix, replacements in sorted(self.mirrors, key=lambda item: -len(_folder(item[0]))):
            rest = _rest(url, prefix)
            if rest is not None:
                found = [spelling for item in replacements for spelling in _spellings(_joined(item, rest), url)]
                break
        if self.upstream or url.startswith("file:"):
            found.append(url)
        return tuple(dict.fromkeys(found))

    def registry(self, image: str) -> str:
        """Return the reference to pull instead of `image`; the same where no mirror is configured for its registry."""
        full = _full_reference(image)
        for prefix, replacement in sorted(self.registries.items(), key=lambda item: -len(_folder(item[0]))):
            rest = full.removeprefix(_folder(prefix))
            if rest != full:
                return f"{replacement.rstrip('/')}/{rest}"
        return image

    def mirror_of(self, system: str) -> str:
        """Return the mirror of a system's packages: of `debian-12`, or else of `debian`; '' where there is none."""
        return self.distribution.get(system) or self.distribution.get(system.rpartition("-")[0], "")

    @property
    def hosts(self) -> frozenset[str]:
        """Names of the hosts that the configuration names, in small letters: those a build may sign in to."""
        replacements = (url for _, urls in self.mirrors for url in urls)
        return frozenset(filter(None, map(host_of, (*replacements, self.index, *self.distribution.values()))))


def make_network(config: Config, environment: Mapping[str, str]) -> Network:
    """Return the network that the configuration and the caller's environment describe.

    For proxies the environment wins: it is set for this one command, and only there a password may be. For the rest
    the configuration wins, because it is drivebuild's own.
    """
    return Network(
        mirrors=config.mirrors,
        upstream=config.upstream,
        index=config.index or _environment_index(environment),
        distribution=config.distribution,
        registries=config.registries,
        ca_bundle=config.ca_bundle or _environment_bundle(environment),
        proxies=_proxies(config.proxy, environment),
    )


def host_of(url: str) -> str:
    """Return the host of a URL in small letters, without user and port; '' for a file or what is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _environment_index(environment: Mapping[str, str]) -> str:
    named = _first(environment, _INDEXES)
    # This machine's own loopback is another machine's inside of a build.
    return "" if host_of(named) in ("localhost", "127.0.0.1", "::1") else named


def _environment_bundle(environment: Mapping[str, str]) -> Path | None:
    named = (Path(environment[name]) for name in _BUNDLES if environment.get(name))
    return next((path.resolve() for path in named if path.is_file()), None)


def _proxies(configured: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for key, name in PROXY_NAMES.items():
        value = _first(environment, (name.lower(), name)) or configured.get(key, "")
        if value:
            found[name] = found[name.lower()] = value
    return found


def _first(environment: Mapping[str, str], names: Iterable[str]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _folder(prefix: str) -> str:
    return prefix.rstrip("/") + "/"


def _rest(url: str, prefix: str) -> str | None:
    """Return what follows `prefix` in `url`, None if nothing fits: `https://host` is no prefix of `https://host.evil/`."""
    url, prefix = _canonical(url), _canonical(prefix)
    if url.rstrip("/") == prefix.rstrip("/"):
        return ""
    return url.removeprefix(_folder(prefix)) if url.startswith(_folder(prefix)) else None


def _canonical(url: str) -> str:
    # Scheme and host know no capitals; paths do.
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.lower()))


def _joined(replacement: str, rest: str) -> str:
    return _folder(replacement) + rest if rest else replacement


def _spellings(address: str, wanted: str) -> tuple[str, ...]:
    if address.startswith("file:") and wanted.endswith(".git"):
        bare = address.rstrip("/").removesuffix(".git").rstrip("/")
        return (f"{bare}.git", bare) if address.endswith(".git") else (address, f"{bare}.git")
    return (address,)


def registry_of(image: str) -> str:
    """Return the registry of an image: a name without one is Docker Hub's."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else _DOCKER_HUB


def _full_reference(image: str) -> str:
    if image.startswith(f"{registry_of(image)}/"):
        return image
    return f"{_DOCKER_HUB}/{image if '/' in image else f'library/{image}'}"
