"""What a build takes from its caller without it reaching a layer or a cache key: certificates and proxies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import UsageError

__all__ = ["CaBundle", "ca_bundle", "proxy_names"]

_NAMES_A_BUNDLE = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
_SYSTEM_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)
# BuildKit knows these without an ARG and keeps them out of cache keys and history.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class CaBundle:
    """A file of certificates, and why it is passed."""

    path: Path
    why: str


def ca_bundle(wanted: Path | None, environment: Mapping[str, str]) -> CaBundle | None:
    """Return the certificates to pass: those asked for, or those the caller's own tools are told to use.

    Raises:
        UsageError: when the file asked for cannot be read.
    """
    if wanted is not None:
        _require_pem(wanted)
        return CaBundle(wanted.resolve(), "--ca-bundle")
    named = [name for name in _NAMES_A_BUNDLE if environment.get(name)]
    candidates = [Path(environment[name]) for name in named]
    if named:
        candidates += _SYSTEM_BUNDLES
    for path in candidates:
        if path.is_file():
            return CaBundle(path.resolve(), f"{named[0]} is set")
    return None


def proxy_names(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the caller's proxy variables; only the names, so that no password stands in a command."""
    return tuple(name for base in _PROXIES for name in (base, base.lower()) if environment.get(name))


def _require_pem(path: Path) -> None:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--ca-bundle {path}: {error.strerror}") from error
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise UsageError(f"--ca-bundle {path}: holds no certificate", hint="a PEM file is wanted")
