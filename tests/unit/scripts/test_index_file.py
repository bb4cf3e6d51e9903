"""index_file.py before real servers: the right file, no credentials elsewhere, one sentence for what fails."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from support.fileserver import FileServer, Handler, serve, sha256
from support.proxy import counting_proxy

from builder import paths

SCRIPT = paths.TEMPLATES / "scripts/index_file.py"
FILE = "Foo_Bar-1.0.tar.gz"
CONTENT = b"an archive whose setup.py nobody runs" * 9000
WANTED = sha256(CONTENT)
JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html; charset=utf-8"
SETTINGS = ("PIP_", "UV_", "SSL_", "NETRC", "HTTP", "NO_PROXY", "ALL_PROXY", "REQUESTS")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as running:
        running.files[f"/files/{FILE}"] = CONTENT
        yield running


@pytest.fixture
def other() -> Iterator[FileServer]:
    with serve() as running:
        running.files[f"/files/{FILE}"] = CONTENT
        yield running


def page(server: FileServer, text: str | bytes, kind: str = HTML, path: str = "/simple/foo-bar/") -> None:
    body = text.encode() if isinstance(text, str) else text
    server.faults[path] = lambda handler, _: handler.answer(200, body, {"Content-Type": kind})


def html(*links: str) -> str:
    return "<!DOCTYPE html><html><body>" + "".join(f'<a href="{link}">x</a><br>' for link in links) + "</body></html>"


def entry(url: str = f"../../files/{FILE}", digest: str = WANTED, name: str = FILE) -> dict[str, object]:
    return {"filename": name, "url": url, "hashes": {"sha256": digest} if digest else {}}


def run(folder: Path, index: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(SETTINGS)} | {
        "PIP_RETRIES": "1",
        "NO_PROXY": "",
        **({"PIP_INDEX_URL": index} if index else {}),
        **settings,
    }
    words = ("--package", "Foo.Bar", "--file", FILE, "--sha256", WANTED, "--to", str(folder / "archive"))
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], check=False, env=environment, capture_output=True, text=True
    )


def fetched(folder: Path, *args: str, **settings: str) -> None:
    done = run(folder, *args, **settings)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (folder / "archive").iterdir()] == [FILE]
    assert (folder / "archive" / FILE).read_bytes() == CONTENT
    assert (folder / "archive" / FILE).stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def refused(folder: Path, *args: str, **settings: str) -> str:
    done = run(folder, *args, **settings)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"index_file: {FILE}: ")
    assert not list((folder / "archive").glob("*")), "nothing is half written"
    return done.stderr


def signed(server: FileServer) -> set[tuple[str, str]]:
    """Return paths with who signed in there."""
    found = set()
    for path, headers in server.requests:
        word = headers.get("Authorization", "").removeprefix("Basic ")
        found.add((path, base64.b64decode(word).decode() if word else ""))
    return found


# --- what an index says --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (html(f"../../files/{FILE}#sha256={WANTED}"), HTML),
        (html("other-1.0.tar.gz#sha256=" + "0" * 64, f"/files/{FILE}#sha256={WANTED.upper()}"), HTML),
        (html(f"../../files/{FILE}"), HTML),
        (f'<html><head><base href="/files/"></head><body><a href="{FILE}#sha256={WANTED}">', "text/plain"),
        (json.dumps({"files": [entry(name="other.zip", digest="0" * 64), entry()]}), JSON),
        (json.dumps({"files": [entry(digest="")]}), JSON),
        (json.dumps({"files": [entry(name="of-another-name.tar.gz")]}), "application/octet-stream"),
    ],
)
def test_pages_of_both_kinds(server: FileServer, tmp_path: Path, text: str, kind: str) -> None:
    page(server, text, kind)
    fetched(tmp_path, f"{server.base}/simple/")
    assert JSON in server.requests[0][1]["Accept"]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (html(), HTML, "0 files of the package, and none with that name or sha256"),
        (html("x.tar.gz", "y.zip#sha256=" + "0" * 64), HTML, "2 files of the package, and none"),
        (html(f"{FILE}#sha256={'0' * 64}"), HTML, "another file of that name, with sha256 " + "0" * 64),
        ("{", JSON, "no page of a package index"),
        ('{"files": 3}', JSON, "no page of a package index"),
        ("[" * 100_000, JSON, "no page of a package index"),
        (json.dumps({"files": [{"filename": FILE, "url": 4}]}), JSON, "no page of a package index"),
        (json.dumps({"files": [entry(url="file:///etc/passwd")]}), JSON, "no URL of http or https"),
        (json.dumps({"files": [entry(url="ftp://127.0.0.1/x")]}), JSON, "no URL of http or https"),
        (json.dumps({"files": [entry(url="http://[")]}), JSON, "no URL of http or https"),
        (b"\xff\xfe\x00", HTML, "0 files of the package"),
    ],
)
def test_pages_without_the_file(server: FileServer, tmp_path: Path, text: str, kind: str, said: str) -> None:
    page(server, text, kind)
    assert said in refused(tmp_path, f"{server.base}/simple")
    assert server.asked["/etc/passwd"] == 0


def test_no_package_of_that_name(server: FileServer, tmp_path: Path) -> None:
    assert "127.0.0.1: no package Foo.Bar" in refused(tmp_path, f"{server.base}/simple")


def test_what_is_sent_is_not_what_is_locked(server: FileServer, tmp_path: Path) -> None:
    page(server, html(f"../../files/{FILE}#sha256={WANTED}"))
    server.files[f"/files/{FILE}"] = b"another"
    assert f"has sha256 {sha256(b'another')}, locked is {WANTED}" in refused(tmp_path, f"{server.base}/simple")
    assert server.asked[f"/files/{FILE}"] == 1, "that is no accident of the line"


def test_a_file_that_the_index_names_and_does_not_have(server: FileServer, tmp_path: Path) -> None:
    page(server, html(f"../../files/gone.tar.gz#sha256={WANTED}"))
    assert "not there, though the index names it" in refused(tmp_path, f"{server.base}/simple")


def test_a_name_of_the_index_steers_no_terminal(server: FileServer, tmp_path: Path) -> None:
    page(server, json.dumps({"files": [entry(digest="\x1b[31m\x07")]}), JSON)
    assert not set(refused(tmp_path, f"{server.base}/simple")) & set("\x1b\x07")


# --- what is configured --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"],
)
def test_the_index_comes_from_the_variables_of_pip_and_uv(
    server: FileServer, other: FileServer, tmp_path: Path, name: str
) -> None:
    """A further index is asked where the first does not have the file."""
    page(server, html(f"../../files/{FILE}#sha256={WANTED}"))
    further = "EXTRA" in name or name == "UV_INDEX"
    url = f"mine={server.base}/simple" if name.startswith("UV") else f"{server.base}/simple"
    fetched(tmp_path, **({"PIP_INDEX_URL": f"{other.base}/none"} if further else {}), **{name: url})
    assert bool(other.requests) == further


def test_the_index_comes_from_pips_own_configuration(server: FileServer, tmp_path: Path) -> None:
    page(server, html(f"../../files/{FILE}#sha256={WANTED}"))
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {server.base}/simple\n")
    fetched(tmp_path, PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))


def test_through_a_proxy_and_not_around_it(tmp_path: Path, server: FileServer) -> None:
    page(server, html(f"../../files/{FILE}#sha256={WANTED}"))
    for name in ("http_proxy", "ALL_PROXY", "PIP_PROXY"):
        with counting_proxy() as between:
            fetched(tmp_path, f"{server.base}/simple", **{name: between.url})
            assert between.count == 2, name
        (tmp_path / "archive" / FILE).unlink()
    with counting_proxy() as between:
        fetched(tmp_path, f"{server.base}/simple", http_proxy=between.url, NO_PROXY="127.0.0.1")
        assert between.count == 0


# --- credentials ---------------------------------------------------------------------------------


def test_credentials_of_the_index_go_to_the_index(server: FileServer, other: FileServer, tmp_path: Path) -> None:
    page(server, html(f"{other.base}/files/{FILE}#sha256={WANTED}"))
    fetched(tmp_path, server.base.replace("//", "//me%40x:p%3Aw@") + "/simple")
    assert signed(server) == {("/simple/foo-bar/", "me@x:p:w")}
    assert signed(other) == {(f"/files/{FILE}", "")}


def test_netrc_is_for_its_own_host_and_follows_no_redirection(server: FileServer, tmp_path: Path) -> None:
    """`localhost` and 127.0.0.1 are two hosts, and only one of them is in netrc."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login me password hunter2\ndefault login all password all\n")
    elsewhere = f"{server.base}/files/{FILE}"
    page(server, html(f"/moved/{FILE}#sha256={WANTED}"))
    server.faults[f"/moved/{FILE}"] = lambda handler, _: handler.answer(302, b"", {"Location": elsewhere})
    fetched(tmp_path, server.base.replace("127.0.0.1", "localhost") + "/simple", NETRC=str(netrc))
    assert signed(server) == {
        ("/simple/foo-bar/", "me:hunter2"),
        (f"/moved/{FILE}", "me:hunter2"),
        (f"/files/{FILE}", ""),
    }


def test_a_redirection_brings_no_credentials_of_its_own(server: FileServer, other: FileServer, tmp_path: Path) -> None:
    page(server, html(f"/moved/{FILE}#sha256={WANTED}"))
    evil = other.base.replace("//", "//you:them@") + f"/files/{FILE}"
    server.faults[f"/moved/{FILE}"] = lambda handler, _: handler.answer(301, b"", {"Location": evil})
    fetched(tmp_path, f"{server.base}/simple")
    assert signed(other) == {(f"/files/{FILE}", "")}


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_not_let_in_is_told_so(server: FileServer, tmp_path: Path, status: int) -> None:
    server.faults["/simple/foo-bar/"] = lambda handler, _: handler.answer(status, b"no")
    said = refused(tmp_path, server.base.replace("//", "//me:hunter2@") + "/simple")
    assert f"refused with {status}" in said
    assert "hunter2" not in said
    assert server.asked["/simple/foo-bar/"] <= 1


def test_a_netrc_that_is_none(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine\nhunter2 hunter2\n")
    assert "hunter2" not in refused(tmp_path, f"{server.base}/simple", NETRC=str(tmp_path / "netrc"))


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[FileServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with serve(context) as running:
        running.files[f"/files/{FILE}"] = CONTENT
        page(running, html(f"../../files/{FILE}#sha256={WANTED}"))
        yield running


@pytest.mark.parametrize("name", ["PIP_CERT", "SSL_CERT_FILE"])
def test_the_sites_certificates(secure: FileServer, authority: trustme.CA, tmp_path: Path, name: str) -> None:
    assert "certificate verify failed" in refused(tmp_path, f"{secure.base}/simple")
    # No setting of pip's takes the check away.
    assert "certificate verify failed" in refused(tmp_path, f"{secure.base}/simple", PIP_TRUSTED_HOST="127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    fetched(tmp_path, f"{secure.base}/simple", **{name: str(tmp_path / "ca.pem")})


@pytest.mark.parametrize("way", ["link", "redirection"])
def test_nothing_leads_out_of_tls(
    secure: FileServer, server: FileServer, authority: trustme.CA, tmp_path: Path, way: str
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    plain = f"{server.base}/files/{FILE}"
    if way == "link":
        page(secure, html(f"{plain}#sha256={WANTED}"))
    else:
        secure.faults[f"/files/{FILE}"] = lambda handler, _: handler.answer(302, b"", {"Location": plain})
    said = refused(tmp_path, f"{secure.base}/simple", PIP_CERT=str(tmp_path / "ca.pem"))
    assert "leads from https to http" in said
    assert not server.requests


# --- a line that fails ---------------------------------------------------------------------------


def test_what_fails_once_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    page(server, html(f"../../files/{FILE}#sha256={WANTED}"))

    def cut(handler: Handler, number: int) -> bool:
        if number == 1:
            handler.send_file(CONTENT, cut=70_000)
        return number == 1

    server.faults[f"/files/{FILE}"] = cut
    fetched(tmp_path, f"{server.base}/simple")
    assert server.asked[f"/files/{FILE}"] == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_as_often_as_pip_is_told(server: FileServer, tmp_path: Path, status: int) -> None:
    server.faults["/simple/foo-bar/"] = lambda handler, _: handler.answer(status, b"", {"Retry-After": "0"})
    assert f"answered with {status}" in refused(tmp_path, f"{server.base}/simple", PIP_RETRIES="2")
    assert server.asked["/simple/foo-bar/"] == 3


def test_a_server_that_wants_an_hour_is_not_waited_for(server: FileServer, tmp_path: Path) -> None:
    server.faults["/simple/foo-bar/"] = lambda handler, _: handler.answer(503, b"", {"Retry-After": "3600"})
    assert "asks to wait for 3600 s" in refused(tmp_path, f"{server.base}/simple")
    assert server.asked["/simple/foo-bar/"] == 1


def test_a_circle_of_redirections_ends(server: FileServer, tmp_path: Path) -> None:
    server.faults["/simple/foo-bar/"] = lambda handler, _: handler.answer(302, b"", {"Location": "/simple/foo-bar/"})
    refused(tmp_path, f"{server.base}/simple")
    assert server.asked["/simple/foo-bar/"] < 20


def test_nobody_there(tmp_path: Path) -> None:
    assert "refused" in refused(tmp_path, "http://127.0.0.1:9/simple")


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "/etc/x"])
def test_a_files_name_is_no_path(tmp_path: Path, name: str) -> None:
    words = ("--package", "p", "--file", name, "--sha256", WANTED, "--to", str(tmp_path / "archive"))
    done = subprocess.run([sys.executable, str(SCRIPT), *words], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--file is the name of one file" in done.stderr
