"""Mirrors, registries and proxies: what is asked, in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.source.config import Config
from builder.source.network import Network, host_of, make_network

URL = "https://github.com/open-mmlab/mmcv.git"
FILE = "https://github.com/gperftools/gperftools/releases/download/2.16/gperftools-2.16.tar.gz"


def mirrored(*mirrors: tuple[str, tuple[str, ...]], upstream: bool = True) -> Network:
    return Network(mirrors=mirrors, upstream=upstream)


def test_no_configuration_changes_nothing() -> None:
    network = make_network(Config(), {})
    assert network == Network()
    assert network.candidates(URL) == (URL,)
    assert network.candidates("file:///srv/a.git") == ("file:///srv/a.git",)
    assert network.registry("quay.io/ascend/cann:8") == "quay.io/ascend/cann:8"
    assert network.registry("ubuntu:22.04") == "ubuntu:22.04"


def test_mirrors_in_order_then_upstream() -> None:
    network = mirrored(("https://github.com/", ("https://a.example/github/", "ssh://git@b.example")))
    assert network.candidates(URL) == (
        "https://a.example/github/open-mmlab/mmcv.git",
        "ssh://git@b.example/open-mmlab/mmcv.git",
        URL,
    )


def test_longest_prefix_wins_alone() -> None:
    network = mirrored(
        ("https://github.com/", ("https://all.example/",)),
        ("https://github.com/open-mmlab/", ("https://lab.example/",)),
    )
    assert network.candidates(URL) == ("https://lab.example/mmcv.git", URL)
    assert network.candidates(FILE)[0].startswith("https://all.example/gperftools/")


@pytest.mark.parametrize("prefix", ["https://github.com", "https://github.com/", "HTTPS://GitHub.com/"])
@pytest.mark.parametrize("replacement", ["https://a.example/x", "https://a.example/x/"])
def test_slashes_and_capitals_of_the_host(prefix: str, replacement: str) -> None:
    assert mirrored((prefix, (replacement,))).candidates(URL)[0] == "https://a.example/x/open-mmlab/mmcv.git"


@pytest.mark.parametrize(
    "url", ["https://github.com.evil.example/x", "https://github.community/x", "http://github.com/x"]
)
def test_a_prefix_ends_where_a_name_ends(url: str) -> None:
    assert mirrored(("https://github.com", ("https://a.example",))).candidates(url) == (url,)


def test_paths_know_capitals() -> None:
    assert mirrored(("https://github.com/Open-MMLab/", ("https://a.example",))).candidates(URL) == (URL,)


def test_one_address_can_be_replaced() -> None:
    network = mirrored((URL + "/", ("file:///srv/lab+mmcv/repo",)))
    assert network.candidates(URL) == ("file:///srv/lab+mmcv/repo", "file:///srv/lab+mmcv/repo.git", URL)


def test_a_repository_on_disk_has_two_spellings() -> None:
    network = mirrored(("https://github.com/", ("file:///srv/git/", "https://a.example/")))
    assert network.candidates(URL) == (
        "file:///srv/git/open-mmlab/mmcv.git",
        "file:///srv/git/open-mmlab/mmcv",
        "https://a.example/open-mmlab/mmcv.git",
        URL,
    )
    assert network.candidates(FILE)[:2] == (
        FILE.replace("https://github.com/", "file:///srv/git/"),
        FILE.replace("https://github.com/", "https://a.example/"),
    )


def test_no_upstream() -> None:
    network = mirrored(("https://github.com/", ("https://a.example/",)), upstream=False)
    assert network.candidates(URL) == ("https://a.example/open-mmlab/mmcv.git",)
    assert network.candidates("https://gitcode.com/a.git") == ()
    assert network.candidates("file:///srv/a.git") == ("file:///srv/a.git",)


def test_never_twice() -> None:
    network = mirrored(("https://github.com/", ("https://a.example/", "https://a.example", "https://github.com/")))
    assert network.candidates(URL) == ("https://a.example/open-mmlab/mmcv.git", URL)


def test_the_query_stays() -> None:
    url = "https://cloud.example/f/ede3/?dl=1"
    assert (
        mirrored(("https://cloud.example", ("https://a.example",))).candidates(url)[0]
        == "https://a.example/f/ede3/?dl=1"
    )


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("quay.io/ascend/cann:8.1", "registry.example/quay/ascend/cann:8.1"),
        ("quay.io/special/cann:8.1", "other.example/cann:8.1"),
        ("quay.io.evil/ascend/cann:8.1", "quay.io.evil/ascend/cann:8.1"),
        ("ubuntu:22.04", "registry.example/hub/library/ubuntu:22.04"),
        ("grafana/loki:3", "registry.example/hub/grafana/loki:3"),
        ("localhost/drivebuild/base:debian-12", "localhost/drivebuild/base:debian-12"),
    ],
)
def test_registries(image: str, wanted: str) -> None:
    registries = {
        "quay.io": "registry.example/quay",
        "docker.io": "registry.example/hub/",
        "quay.io/special": "other.example",
    }
    assert Network(registries=registries).registry(image) == wanted


def test_mirror_of_a_system() -> None:
    network = Network(distribution={"debian": "http://d.example", "ubuntu-22.04": "http://u.example"})
    assert network.mirror_of("debian-12") == "http://d.example"
    assert network.mirror_of("ubuntu-22.04") == "http://u.example"
    assert network.mirror_of("ubuntu-24.04") == ""


def test_hosts() -> None:
    network = Network(
        mirrors=(("https://github.com/", ("https://A.example:8443/x", "file:///srv", "ssh://git@b.example/")),),
        index="https://i.example/simple",
        distribution={"debian": "http://d.example/debian"},
    )
    assert network.hosts == {"a.example", "b.example", "i.example", "d.example"}
    assert host_of("https://[bad") == ""


def test_environment_of_proxies_wins_and_comes_in_both_spellings() -> None:
    config = Config(proxy={"http": "http://c.example:1", "https": "http://c.example:2", "no_proxy": ".example"})
    network = make_network(
        config, {"https_proxy": "http://me:secret@e.example:2", "HTTPS_PROXY": "http://other.example"}
    )
    assert network.proxies == {
        "HTTP_PROXY": "http://c.example:1",
        "http_proxy": "http://c.example:1",
        "HTTPS_PROXY": "http://me:secret@e.example:2",
        "https_proxy": "http://me:secret@e.example:2",
        "NO_PROXY": ".example",
        "no_proxy": ".example",
    }


def test_index_of_configuration_then_environment() -> None:
    environment = {"PIP_INDEX_URL": "https://pip.example/simple", "UV_DEFAULT_INDEX": "https://uv.example/simple"}
    assert make_network(Config(index="https://c.example/simple"), environment).index == "https://c.example/simple"
    assert make_network(Config(), environment).index == "https://uv.example/simple"
    assert make_network(Config(), {"PIP_INDEX_URL": "http://localhost:3141/simple"}).index == ""


def test_certificates_of_configuration_then_environment(tmp_path: Path) -> None:
    own, named = tmp_path / "own.pem", tmp_path / "named.pem"
    named.write_text("x")
    environment = {"SSL_CERT_FILE": str(tmp_path / "gone.pem"), "CURL_CA_BUNDLE": str(named)}
    assert make_network(Config(), environment).ca_bundle == named
    assert make_network(Config(ca_bundle=own), environment).ca_bundle == own
