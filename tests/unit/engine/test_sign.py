"""What cosign is told, and what its refusals mean. It runs for real in tests/docker/test_sign.py."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from support.snapshots import inventory

from builder.engine.process import CommandMissingError, Result
from builder.engine.registry import Reference
from builder.engine.sign import (
    Signing,
    attest_command,
    digest_of,
    read_sbom,
    run_cosign,
    same_statement,
    sign_command,
    verify_commands,
)
from builder.errors import BuildError, UsageError
from builder.provenance.cyclonedx import to_cyclonedx
from builder.provenance.spdx import to_spdx

DIGEST = "sha256:" + "1" * 64
PLACE = Reference("registry.example:5000/team/toy", "plat-stock", DIGEST)
NAME = f"registry.example:5000/team/toy@{DIGEST}"


class Says:
    """A runner whose program says one thing."""

    def __init__(self, result: Result | None) -> None:
        self.result = result

    def run(self, argv: tuple[str, ...], **_more: Any) -> Result:
        if self.result is None:
            raise CommandMissingError(argv[0])
        return self.result


def test_signing_names_the_digest_and_not_the_tag() -> None:
    assert sign_command(Signing(place=PLACE)) == ("cosign", "sign", "--yes", NAME)
    words = sign_command(Signing(place=PLACE, key="k", log=False, ca=Path("/ca.pem")))
    assert words == (
        *("cosign", "sign", "--yes", "--key", "k", "--tlog-upload=false", "--registry-cacert", "/ca.pem"),
        NAME,
    )


def test_attesting_replaces_what_was_attested() -> None:
    words = attest_command(Signing(place=PLACE, key="k"), Path("/a.json"), "spdxjson")
    assert words == (
        *("cosign", "attest", "--yes", "--predicate", "/a.json", "--type", "spdxjson", "--replace", "--key", "k"),
        NAME,
    )


def test_looking_at_a_signature() -> None:
    (one,) = verify_commands(Signing(place=PLACE, identity="me@example.org", issuer="https://issuer.example"))
    assert one[:6] == (
        *("cosign", "verify", "--certificate-identity", "me@example.org"),
        *("--certificate-oidc-issuer", "https://issuer.example"),
    )
    first, second = verify_commands(Signing(place=PLACE, key="k.pub", log=False), "cyclonedx")
    assert first == ("cosign", "verify", "--key", "k.pub", "--private-infrastructure=true", NAME)
    assert second[:4] == ("cosign", "verify-attestation", "--type", "cyclonedx")


@pytest.mark.parametrize("text", ["registry.example/toy", "registry.example/toy:1", "toy", "--upload=false"])
def test_only_a_digest_is_signed(text: str) -> None:
    with pytest.raises(UsageError):
        digest_of(text)


def test_without_cosign() -> None:
    with pytest.raises(BuildError, match="cosign is not installed") as found:
        run_cosign(("cosign", "sign"), Says(None), "host")  # type: ignore[arg-type]
    assert "distribution's package `cosign`" in found.value.hint


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Error: getting signer: reading key: open k: no such file", "COSIGN_PASSWORD"),
        ("UNAUTHORIZED: authentication required", "docker login registry.example"),
        ("Error: no matching signatures: \n", "nobody signed"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "--ca-bundle"),
        ("Error: signing: getting fulcio signer: oidc", "--key FILE"),
    ],
)
def test_what_its_refusals_mean(said: str, hint: str) -> None:
    with pytest.raises(BuildError, match="cosign sign ended with 1") as found:
        run_cosign(("cosign", "sign"), Says(Result(1, b"", said.encode())), "registry.example")  # type: ignore[arg-type]
    assert hint in found.value.hint


def test_an_sbom_says_its_form_and_whose_it_is(tmp_path: Path) -> None:
    whole = inventory()
    for name, text, kind in (("a", to_cyclonedx(whole), "cyclonedx"), ("b", to_spdx(whole), "spdxjson")):
        (tmp_path / name).write_text(text)
        assert read_sbom(tmp_path / name) == (kind, "sha256:" + "cd" * 32)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"[" * 100000, b'{"bomFormat": "other"}'])
def test_what_is_no_sbom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UsageError):
        read_sbom(tmp_path / "a")
    with pytest.raises(UsageError):
        read_sbom(tmp_path / "absent")


def test_an_attestation_is_the_very_sbom(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"x": 1}')
    payload = base64.b64encode(json.dumps({"predicate": {"x": 1}}).encode()).decode()
    same_statement(f"words\n{json.dumps({'payload': payload})}\n", tmp_path / "a")
    other = base64.b64encode(b'{"predicate": {"x": 2}}').decode()
    for said in ("", "{}", '{"payload": 1}', json.dumps({"payload": other})):
        with pytest.raises(BuildError, match="it is not"):
            same_statement(said, tmp_path / "a")
