"""Provenance: asked for in BuildKit's words, and refused where nobody would write it or it would tell a secret."""

from __future__ import annotations

import pytest

from builder.engine.attest import attest_words, check_attest
from builder.engine.builders import Builder
from builder.engine.command import Choices
from builder.engine.host import Facts
from builder.errors import UsageError

PLAIN = Facts(version="26", architecture="x86_64", root="/r")
CONTAINERD = Facts(version="26", architecture="x86_64", root="/r", containerd_store=True)
CONTAINER = Builder(name="b", driver="docker-container")


def test_the_words() -> None:
    assert attest_words("") == ()
    assert attest_words("provenance") == ("--attest", "type=provenance,mode=max")
    assert attest_words("provenance-min") == ("--attest", "type=provenance,mode=min")


@pytest.mark.parametrize(
    ("level", "builder", "facts", "pushed", "message"),
    [
        ("provenence", None, CONTAINERD, True, "no such attestation"),
        ("provenance", None, CONTAINERD, False, "only a registry keeps"),
        ("provenance", None, PLAIN, True, "know no attestations"),
        ("provenance-min", Builder(name="default", driver="docker"), PLAIN, True, "know no attestations"),
    ],
)
def test_who_cannot(level: str, builder: Builder | None, facts: Facts, pushed: bool, message: str) -> None:
    with pytest.raises(UsageError, match=message) as found:
        check_attest(level, Choices(builder=builder), facts, pushed=pushed)
    assert found.value.hint


@pytest.mark.parametrize(("builder", "facts"), [(None, CONTAINERD), (CONTAINER, PLAIN)])
def test_who_can(builder: Builder | None, facts: Facts) -> None:
    check_attest("provenance", Choices(builder=builder), facts, pushed=True)
    check_attest("", Choices(builder=builder), PLAIN, pushed=False)


@pytest.mark.parametrize("proxy", ["http://me:secret@proxy:3128", "me:secret@proxy:3128", "http://[broken"])
def test_a_proxys_password_is_in_no_provenance(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = Choices(proxies=("HTTPS_PROXY",), environment={"HTTPS_PROXY": proxy})
    with pytest.raises(UsageError, match="HTTPS_PROXY has a password") as found:
        check_attest("provenance", choices, CONTAINERD, pushed=True)
    assert "secret" not in found.value.message + found.value.hint
    check_attest("provenance-min", choices, CONTAINERD, pushed=True)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UsageError):
        check_attest("provenance", Choices(proxies=("HTTPS_PROXY",)), CONTAINERD, pushed=True)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    check_attest("provenance", Choices(proxies=("HTTPS_PROXY",)), CONTAINERD, pushed=True)
