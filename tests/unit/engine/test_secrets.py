"""Secrets of a build: what is in them, who may read them, and what must not be in them."""

from __future__ import annotations

import netrc
import os
import shlex
import stat
from pathlib import Path

import pytest

from builder.engine.secrets import os_sources, secret_files
from builder.errors import UsageError
from builder.recipe.types import Catalog
from builder.source.network import Network

SITE = Network(
    mirrors=(("https://github.com/", ("https://git.example/github/",)),),
    index="https://index.example/simple",
    distribution={"debian": "http://packages.example/debian/", "openeuler-22.03": "http://packages.example/oe/22.03/"},
)


def texts(network: Network, environment: dict[str, str], folder: Path, **more: object) -> dict[str, str]:
    return {name: path.read_text() for name, path in secret_files(network, environment, folder, **more)}  # type: ignore[arg-type]


def test_where_credentials_may_be_no_source_archive_is_built(tmp_path: Path, catalog: Catalog) -> None:
    """Nothing is configured, and this is said all the same."""
    system = catalog.systems["debian-12"]
    found = texts(Network(), {"HOME": str(tmp_path)}, tmp_path, system=system)
    assert found == {"network": "export UV_NO_BUILD=1 PIP_ONLY_BINARY=:all:\n"}


def test_files_are_private_whatever_the_umask(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / ".netrc").write_text("machine git.example login me password secret\n")
    folder = tmp_path / "build"
    folder.mkdir()
    before = os.umask(0)
    try:
        found = secret_files(SITE, {"HOME": str(tmp_path)}, folder, system=catalog.systems["debian-12"])
    finally:
        os.umask(before)
    assert [name for name, _ in found] == ["network", "netrc", "os-sources"]
    for name, path in found:
        assert path == folder / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_at_the_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "network").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        secret_files(SITE, {}, tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_the_index_is_quoted_for_the_shell(tmp_path: Path) -> None:
    url = "https://me:it's $HOME;`id`@index.example/simple"
    text = texts(Network(index=url), {}, tmp_path)["network"]
    lines = [shlex.split(line) for line in text.splitlines()]
    assert lines[1:] == [["export", f"UV_DEFAULT_INDEX={url}"], ["export", f"PIP_INDEX_URL={url}"]]


def test_pip_is_told_to_trust_an_index_without_tls(tmp_path: Path) -> None:
    text = texts(Network(index="http://index.example:3141/simple"), {}, tmp_path)["network"]
    assert "export PIP_TRUSTED_HOST=index.example:3141\n" in text


NETRC = """\
machine git.example login me password "a b#c\\\\d"
machine index.example
  login you
  account team
  password p2
machine other.example login x password stays-here
default login anonymous password stays-here
"""


@pytest.mark.parametrize("where", ["HOME", "NETRC"])
def test_netrc_has_only_the_hosts_of_the_site(tmp_path: Path, where: str) -> None:
    home, build = tmp_path / "home", tmp_path / "build"
    home.mkdir()
    build.mkdir()
    path = home / (".netrc" if where == "HOME" else "named")
    path.write_text(NETRC)
    text = texts(SITE, {"HOME": str(home)} | ({"NETRC": str(path)} if where == "NETRC" else {}), build)["netrc"]
    assert "stays-here" not in text
    assert netrc.netrc(str(build / "netrc")).hosts == {
        "git.example": (
            "me",
            netrc.netrc(str(path)).hosts["git.example"][1],
            netrc.netrc(str(path)).hosts["git.example"][2],
        ),
        "index.example": netrc.netrc(str(path)).hosts["index.example"],
    }


def test_no_netrc_for_no_host_of_the_site(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine other.example login x password y\ndefault login a password b\n")
    assert "netrc" not in texts(SITE, {"HOME": str(tmp_path)}, tmp_path)


def test_a_broken_netrc_is_named_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine git.example login me password x\nhunter2\n")
    with pytest.raises(UsageError) as caught:
        secret_files(SITE, {"HOME": str(tmp_path)}, tmp_path)
    assert ".netrc: not a netrc, near line" in caught.value.message
    assert "hunter2" not in caught.value.message


def test_apt_of_debian(catalog: Catalog) -> None:
    system = catalog.systems["debian-12"]
    assert os_sources(SITE, system, suite="bookworm") == (
        "deb http://packages.example/debian bookworm main\ndeb http://packages.example/debian bookworm-updates main\n"
        "deb http://packages.example/debian-security bookworm-security main\n"
    )
    assert os_sources(SITE, system) == os_sources(SITE, system, suite="bookworm")
    alone = Network(distribution={"debian": "http://d.example"})
    assert "security" not in os_sources(alone, system, suite="bookworm")
    secure = Network(distribution={"debian": "http://d.example", "debian-security": "http://s.example/"})
    assert os_sources(secure, system, suite="bookworm").endswith("deb http://s.example bookworm-security main\n")


def test_apt_of_ubuntu_and_its_ports(catalog: Catalog) -> None:
    system = catalog.systems["ubuntu-22.04"]
    site = Network(distribution={"ubuntu": "http://u.example", "ubuntu-ports": "http://p.example"})
    text = os_sources(site, system, architecture="x86_64")
    assert [line.split()[1:3] for line in text.splitlines()] == [
        ["http://u.example", "jammy"],
        ["http://u.example", "jammy-updates"],
        ["http://u.example", "jammy-security"],
    ]
    assert "universe" in text
    assert "deb http://p.example jammy main" in os_sources(site, system, architecture="aarch64")
    assert os_sources(SITE, system) == ""


def test_dnf_keeps_checking_signatures_with_the_images_own_key(catalog: Catalog) -> None:
    text = os_sources(SITE, catalog.systems["openeuler-22.03"])
    assert "baseurl=http://packages.example/oe/22.03/OS/$basearch/\n" in text
    assert "baseurl=http://packages.example/oe/22.03/update/$basearch/\n" in text
    assert text.count("gpgcheck=1\n") == text.count("gpgkey=file:///etc/pki/") == 3


def test_a_release_nobody_knows(catalog: Catalog) -> None:
    import msgspec

    system = msgspec.structs.replace(catalog.systems["debian-12"], name="debian-99")
    with pytest.raises(UsageError, match="debian-99 names no suite"):
        os_sources(SITE, system)
