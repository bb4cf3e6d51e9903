"""git's command lines, and what is read from its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.source.fetch import distribution_mirrors
from builder.source.git import local_words, network_words, received, shown_url


def assignments(words: tuple[str, ...]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words[: words.index("git")] if "=" in word)


def test_a_local_command_reads_nobodys_configuration() -> None:
    words = local_words(Path("/r"))
    given = assignments(words)
    assert given["GIT_DIR"] == "/r"
    assert given["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert given["GIT_CONFIG_NOSYSTEM"] == "1"
    assert given["GIT_NO_LAZY_FETCH"] == "1"
    for name in ("GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG_COUNT"):
        assert words[words.index(name) - 1] == "-u"


def test_a_command_for_the_network_keeps_credentials_and_asks_no_person() -> None:
    words = network_words(Path("/r"), {"HTTPS_PROXY": "http://p:1", "GIT_SSL_CAINFO": "/ca"})
    given = assignments(words)
    assert "GIT_CONFIG_GLOBAL" not in given
    assert "GIT_CONFIG_COUNT" not in words
    assert given["GIT_TERMINAL_PROMPT"] == "0"
    assert (given["HTTPS_PROXY"], given["GIT_SSL_CAINFO"]) == ("http://p:1", "/ca")
    assert "core.autocrlf=false" in words
    assert "core.hooksPath=/dev/null" in words


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"Receiving objects:  50% (5/10), 1.50 MiB | 3.00 MiB/s\r", (1572864, 3145728)),
        (b"Receiving objects:  10% (1/10), 1 bytes | 1 bytes/s\rReceiving objects: 100% (9/9), 2 bytes | x", (2, 2)),
        (b"Receiving objects:   0% (0/10)\r", None),
        (b"remote: Counting objects: 10\n", None),
        (b"", None),
    ],
)
def test_how_much_git_has_received(said: bytes, found: tuple[int, int] | None) -> None:
    assert received(said) == found


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@e.org/a.git", "https://e.org/a.git"),
        ("https://token@e.org/a.git", "https://e.org/a.git"),
        ("ssh://git@e.org/a.git", "ssh://git@e.org/a.git"),
        ("ssh://git:secret@e.org:22/a.git", "ssh://git@e.org:22/a.git"),
        ("file:///a@b/c.git", "file:///a@b/c.git"),
        ("https://e.org/a@b.git", "https://e.org/a@b.git"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_mirrors_of_a_distribution() -> None:
    assert distribution_mirrors({}) == {}
    assert distribution_mirrors({"debian-12": "https://m.site/debian/"}) == {
        "debian": "https://m.site/debian",
        "debian-security": "https://m.site/debian-security",
    }
    own = {"debian": "https://m.site/deb", "debian-security": "https://m.site/sec"}
    assert distribution_mirrors(own) == own
    assert distribution_mirrors({"debian": "https://m.site/deb"}) == {"debian": "https://m.site/deb"}
    assert distribution_mirrors({"openeuler-22.03": "https://m.site/oe"}) == {"openeuler": "https://m.site/oe"}
