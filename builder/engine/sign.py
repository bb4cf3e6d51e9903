"""Signatures and signed attestations, through cosign: a thin command each; drivebuild holds no key and checks none."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.engine.manifests import Tools
from builder.engine.process import Argv, CommandMissingError, Runner
from builder.engine.registry import Reference, reference
from builder.errors import BuildError, UsageError

__all__ = [
    "Signing",
    "attest_command",
    "check_sbom",
    "digest_of",
    "read_sbom",
    "run_cosign",
    "same_statement",
    "sign_command",
    "verify_commands",
]

INSTALL = "install it: it is the distribution's package `cosign` from Debian 13 on, or a release of sigstore's"
WRITE = "`drivebuild sbom IMAGE --format cyclonedx --output FILE` writes one"
_IDENTITY = re.compile(r"\bidentity (sha256:[0-9a-f]{64})")
_HINTS = (
    (
        r"getting key|reading key|no such file|decrypt|invalid pem|password",
        "is it the right key, and COSIGN_PASSWORD its password?",
    ),
    (r"unauthorized|denied|authentication required|UNAUTHORIZED", "sign in: `docker login {host}`"),
    (
        r"x509|certificate signed by unknown",
        "--ca-bundle FILE, or `ca_bundle` of the configuration, names the registry's CA",
    ),
    (r"no matching signatures|no signatures found|no matching attestations", "nobody signed this digest with this key"),
    (
        r"rekor|tlog|transparency|fulcio|oidc|device flow",
        "without the public log: --no-log; without an identity: --key FILE",
    ),
    (r"connection refused|no such host|i/o timeout", "{host} cannot be reached from here"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """What is signed, and with what."""

    place: Reference
    """With a digest: a tag may be another image by tomorrow."""
    key: str = ""
    """A file, or cosign's word for a key service; '' for an identity of OpenID Connect."""
    log: bool = True
    """Whether the signature is published in, or looked up from, a transparency log."""
    ca: Path | None = None
    """Certificates of the registry."""
    identity: str = ""
    """Whose signature is expected, of those without a key."""
    issuer: str = ""


def digest_of(text: str) -> Reference:
    """Return the image that a name with a digest names.

    Raises:
        UsageError: for one without a digest, or none at all.
    """
    place = reference(text, option="sign")
    if not place.digest:
        message = f"{text}: only a digest is signed: a tag may name another image before the signature is there"
        raise UsageError(message, hint="`drivebuild image --push` prints name and digest, NAME@sha256:…")
    return place


def sign_command(signing: Signing) -> Argv:
    """Return cosign's command that signs."""
    return ("cosign", "sign", "--yes", *_words(signing, upload=True), _name(signing))


def attest_command(signing: Signing, sbom: Path, kind: str) -> Argv:
    """Return cosign's command that signs a statement about the image; one of the same kind is replaced."""
    words = ("--predicate", str(sbom), "--type", kind, "--replace")
    return ("cosign", "attest", "--yes", *words, *_words(signing, upload=True), _name(signing))


def verify_commands(signing: Signing, kind: str = "") -> tuple[Argv, ...]:
    """Return cosign's commands that look at signature and, with a kind, at the attestation."""
    who = (
        () if signing.key else ("--certificate-identity", signing.identity, "--certificate-oidc-issuer", signing.issuer)
    )
    words = (*who, *_words(signing, upload=False))
    found: list[Argv] = [("cosign", "verify", *words, _name(signing))]
    if kind:
        found.append(("cosign", "verify-attestation", "--type", kind, *words, _name(signing)))
    return tuple(found)


def _words(signing: Signing, *, upload: bool) -> Iterable[str]:
    if signing.key:
        yield from ("--key", signing.key)
    if not signing.log:
        yield "--tlog-upload=false" if upload else "--private-infrastructure=true"
    if signing.ca:
        yield from ("--registry-cacert", str(signing.ca))


def _name(signing: Signing) -> str:
    return signing.place.at(signing.place.digest)


def run_cosign(command: Argv, runner: Runner, host: str) -> str:
    """Run cosign, and return what it says.

    Raises:
        BuildError: it is not installed, or refuses.
    """
    try:
        done = runner.run(command)
    except CommandMissingError as error:
        raise BuildError("cosign is not installed, or not on PATH", hint=INSTALL) from error
    if done.code == 0:
        return done.text
    said = done.complaint or done.text
    lines = [line for line in said.splitlines() if line.strip()]
    tail = "".join(f"\n  | {line}" for line in lines[-6:])
    hint = next((text for pattern, text in _HINTS if re.search(pattern, said, re.IGNORECASE)), "")
    raise BuildError(f"cosign {command[1]} ended with {done.code}{tail}", hint=hint.format(host=host))


def read_sbom(path: Path) -> tuple[str, str]:
    """Return cosign's word for the form of an SBOM that `drivebuild sbom` wrote, and the identity of its image.

    Raises:
        UsageError: it cannot be read, or is none of its two forms.
    """
    try:
        data: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read as JSON: {error}", hint=WRITE) from error
    if isinstance(data, dict) and data.get("bomFormat") == "CycloneDX":
        properties = ((data.get("metadata") or {}).get("component") or {}).get("properties") or []
        named = {each.get("name"): each.get("value") for each in properties if isinstance(each, dict)}
        return "cyclonedx", str(named.get("drivebuild:identity") or "")
    if isinstance(data, dict) and "spdxVersion" in data:
        image: Any = next((each for each in data.get("packages") or () if each.get("SPDXID") == "SPDXRef-image"), {})
        match = _IDENTITY.search(str(image.get("comment") or ""))
        return "spdxjson", match[1] if match else ""
    raise UsageError(f"{path}: neither CycloneDX nor SPDX", hint=WRITE)


def check_sbom(place: Reference, identity: str, tools: Tools) -> None:
    """Look whether an SBOM is of what a registry has: the same layers and configuration, however they are packed.

    Raises:
        BuildError: it is of another image, or the registry has none of that name.
    """
    found = tools.look(place)
    if found is None:
        raise BuildError(f"{place}: the registry has no such image", hint="push it first: `drivebuild image --push`")
    if identity.removeprefix("sha256:") not in {image.identity for image in found.images}:
        message = f"the SBOM is not of {place}: {identity or 'it names no image'}"
        raise BuildError(message, hint="write it anew, of the image that was pushed: `drivebuild sbom`")


def same_statement(said: str, sbom: Path) -> None:
    """Look whether an attestation, as cosign prints it, is the very SBOM of a file.

    Raises:
        BuildError: it is another one.
    """
    wanted = json.loads(sbom.read_bytes())
    for line in said.splitlines():
        try:
            statement = json.loads(base64.b64decode(json.loads(line)["payload"]))
        except (ValueError, LookupError, TypeError):
            continue
        if isinstance(statement, dict) and statement.get("predicate") == wanted:
            return
    raise BuildError(f"the image has an attestation, and it is not {sbom}", hint="`drivebuild sbom` writes it anew")
