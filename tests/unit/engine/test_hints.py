"""Messages of real failures, and what to do about each."""

from __future__ import annotations

import pytest

from builder.engine.hints import Circumstances, hint_for, unreachable_host

HOSTS = {
    "fatal: unable to access 'https://git.example/x.git/': Could not resolve host: git.example": "git.example",
    'Get "https://f.example/x": dial tcp: lookup f.example on 192.0.2.1:53: no such host': "f.example",
    'Get "https://f.example/x": dial tcp 192.0.2.1:443: i/o timeout': "f.example",
    "fatal: unable to access 'https://g.example/x/': Failed to connect to g.example port 443 after 3 ms": "g.example",
    "E: Failed to fetch http://deb.example/x.deb  Temporary failure resolving 'deb.example'": "deb.example",
    "error sending request for url (https://files.example/simple/)": "files.example",
    "HTTPSConnectionPool(host='pip.example', port=443): Max retries exceeded": "pip.example",
    "index_file: a.zip: not found with sha256 aa: i.example: https://i.example/s/a/: [Errno 111] no": "i.example",
    "ssh: Could not resolve hostname s.example: Name or service not known": "s.example",
}


@pytest.mark.parametrize(("text", "host"), HOSTS.items())
def test_the_host_is_named(text: str, host: str) -> None:
    assert unreachable_host(text) == host
    assert host in hint_for(text, Circumstances())


def test_a_source_stage_says_what_to_do_without_the_host() -> None:
    hint = hint_for("Could not resolve host: git.example", Circumstances(stage="src-mmcv", source="mmcv"))
    assert "git.example" in hint
    assert "`--until env`" in hint
    assert "`--source mmcv=DIR`" in hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write /x: no space left on device", "docker builder prune"),
        ("ERROR: write /t/drivebuild-a_1/.tmp-metadata.json3: no space left on device", "TMPDIR"),
        ("strict_apply: a.patch does not apply:\n  error: patch failed: x.py:3", "pinned commit"),
        (
            "index_file: a.zip: https://f.example/a.zip: what was sent has sha256 aa, locked is bb",
            "Do not change the pin",
        ),
        (
            "hint: Wheels are required for `a` because building from source is disabled for all packages",
            "lock --update",
        ),
        ("strict_apply: x.py: 'a' is there 2 times, expected 1", "`count`"),
        ("strict_apply: x.py exists already", "copy, edit or removal"),
        ("digest mismatch sha256:aa: sha256:bb", "not the one that was pinned"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "not the one that was pinned"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "--jobs 1"),
        ("did not complete successfully: exit code: 137", "--jobs 1"),
        ("exec /bin/sh: exec format error", "architecture"),
        ("x509: certificate signed by unknown authority", "--ca-bundle FILE"),
        ("ssl.SSLCertVerificationError: certificate verify failed", "--ca-bundle FILE"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock", "systemctl start docker"),
        ("failed to get layer sha256:e92918: layer does not exist", "running its stage again did not"),
        ("stat /var/lib/docker/overlay2/ojt796: no such file or directory", "docker builder prune --all"),
        ("warning: a.c: function control flow change detected (hash mismatch) f Hash = 7", "make it again"),
        ("docker: 'buildx' is not a docker command.", "docker-buildx"),
        ("unknown flag: --progress", "docker-buildx"),
        ("toomanyrequests: You have reached your pull rate limit", "docker login"),
    ],
)
def test_known_causes(text: str, expected: str) -> None:
    assert expected in hint_for(text, Circumstances())


def test_a_certificate_that_fails_with_a_bundle_is_another_matter() -> None:
    hint = hint_for("certificate verify failed", Circumstances(ca_bundle=True))
    assert "right file" in hint


def test_a_missing_base_image_that_drivebuild_makes() -> None:
    hint = hint_for("pull access denied for localhost/drivebuild/base", Circumstances(base="debian-12-cpu"))
    assert hint == "make the base image: `drivebuild base debian-12-cpu`"


def test_a_full_disk_without_a_word_is_known_by_what_was_free() -> None:
    assert "docker builder prune" in hint_for("exit code: 1", Circumstances(least_free=10_000_000))
    assert hint_for("exit code: 1", Circumstances(least_free=10**10)) == ""
