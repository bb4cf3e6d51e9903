"""Servers that misbehave, against a real client and a real store: the right error, and nothing wrong published."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme
from support.fileserver import FileServer, Handler, serve, sha256

from builder.errors import SourceError
from builder.source.download import Download, download, download_all
from builder.source.network import Network
from builder.source.store import Store
from builder.source.web import Patience, Web

QUICK = Patience(connect=30, stall=30, tries=3, pause=0.01, longest=0.02, asked=3)
HASTY = replace(QUICK, stall=1.0)
"""For servers that really stall: a busy machine lets others wait for as long as it likes."""
CONTENT = random.Random(7).randbytes(300_000)  # noqa: S311
OTHER = random.Random(8).randbytes(300_000)  # noqa: S311
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Who are you?</body></html>"


@pytest.fixture(autouse=True)
def no_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as running:
        running.files["/a.bin"] = CONTENT
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.make(tmp_path / "store")


def pinned(server: FileServer, path: str = "/a.bin", content: bytes = CONTENT) -> Download:
    digest = sha256(content)
    return Download(key=f"sha256:{digest}", url=server.base + path, sha256=digest, file=path.rpartition("/")[2])


def unpinned(server: FileServer, path: str = "/a.bin") -> Download:
    url = server.base + path
    return Download(key=f"url:{url}", url=url, sha256=None, file=path.rpartition("/")[2])


def get(wanted: Download, store: Store, network: Network | None = None, patience: Patience = QUICK) -> bytes:
    network = network or Network()
    entry = download(wanted, store, network, web=Web(network, patience))
    assert store.verify() == ()
    return store.object(entry).read_bytes()


def refused(wanted: Download, store: Store, network: Network | None = None, patience: Patience = QUICK) -> SourceError:
    """Return the error; nothing is published, and the store is sound."""
    network = network or Network()
    with pytest.raises(SourceError) as caught:
        download(wanted, store, network, web=Web(network, patience))
    assert store.entries() == ()
    assert not (store.root / "objects").exists()
    assert store.verify() == ()
    return caught.value


def halved(store: Store, wanted: Download, server: FileServer, *, at: int = 100_000) -> None:
    """Leave the first part of a file in the store, as an earlier run that was killed does."""

    def dies(handler: Handler, number: int) -> bool:
        if number > 1:
            return handler.answer(404, b"")
        handler.send_file(CONTENT, cut=at)
        return True

    server.faults["/a.bin"] = dies
    with pytest.raises(SourceError):
        download(wanted, store, Network(), web=Web(Network(), QUICK))
    assert next((store.root / "partial").glob("*.part")).stat().st_size >= at
    server.faults.clear()
    server.asked.clear()
    server.requests.clear()


# what goes well


def test_a_file_is_fetched_once(server: FileServer, store: Store) -> None:
    assert get(pinned(server), store) == CONTENT
    assert get(pinned(server), store) == CONTENT
    assert server.asked == {"/a.bin": 1}
    assert [path.name for path in (store.root / "partial").iterdir()] == [".publish.lock"]


def test_what_has_no_checksum_is_recorded(server: FileServer, store: Store) -> None:
    assert get(unpinned(server), store) == CONTENT
    keys = {entry.key: entry.sha256 for entry in store.entries()}
    assert keys == {f"url:{server.base}/a.bin": sha256(CONTENT), f"sha256:{sha256(CONTENT)}": sha256(CONTENT)}
    # It is the file from now on, whatever the server has.
    server.files["/a.bin"] = OTHER
    assert get(unpinned(server), store) == CONTENT
    assert server.asked == {"/a.bin": 1}


def test_another_checksum_than_was_recorded(server: FileServer, store: Store) -> None:
    get(unpinned(server), store)
    with pytest.raises(SourceError) as caught:
        download(pinned(server, content=OTHER), store, Network(), web=Web(Network(), QUICK))
    assert sha256(CONTENT) in caught.value.message
    assert sha256(OTHER) in caught.value.message
    assert server.asked == {"/a.bin": 1}


def test_many_at_once_share_connections(server: FileServer, store: Store) -> None:
    contents = {f"/{number}": random.Random(number).randbytes(5000) for number in range(40)}  # noqa: S311
    server.files.update(contents)
    peers = set()
    remember = lambda handler, _: peers.add(handler.client_address)  # noqa: E731
    server.faults.update(dict.fromkeys(contents, remember))
    wanted = [pinned(server, path, content) for path, content in contents.items()]
    found = download_all([*wanted, wanted[0]], store, Network(), at_once=4)
    assert [store.object(entry).read_bytes() for entry in found] == [*contents.values(), contents["/0"]]
    assert server.asked == dict.fromkeys(contents, 1)
    assert len(peers) <= 4
    assert store.verify() == ()


def test_a_file_on_disk(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a b.bin").write_bytes(CONTENT)
    url = (tmp_path / "a b.bin").as_uri()
    wanted = Download(key="sha256:x", url=url, sha256=sha256(CONTENT), file="a b.bin")
    assert get(wanted, store) == CONTENT
    missing = Download(key="sha256:y", url=f"{url}.no", sha256=sha256(OTHER), file="no")
    with pytest.raises(SourceError, match=r"No such file"):
        download(missing, store, Network(), web=Web(Network(), QUICK))


def test_the_referer_and_the_tell(server: FileServer, store: Store) -> None:
    said: list[tuple[int, int]] = []
    base = pinned(server)
    wanted = Download(key=base.key, url=base.url, sha256=base.sha256, file="a.bin", referer="https://www.hiascend.com/")
    download(wanted, store, Network(), web=Web(Network(), QUICK), tell=lambda done, total: said.append((done, total)))
    assert server.requests[0][1]["Referer"] == "https://www.hiascend.com/"
    assert "Authorization" not in server.requests[0][1]
    assert said[0] == (0, len(CONTENT))
    assert said[-1] == (len(CONTENT), len(CONTENT))


def test_credentials_of_exactly_this_host(
    server: FileServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\ndefault login no password no\n")
    monkeypatch.setenv("NETRC", str(netrc))
    get(pinned(server), store)
    assert server.requests[0][1]["Authorization"] == "Basic bWU6c2VjcmV0"
    # The same server by another name: the netrc file has its default for it, and it is not for strangers.
    other = server.base.replace("127.0.0.1", "localhost")
    server.files["/b.bin"] = OTHER
    web = Web(Network(), QUICK)
    wanted = Download(key="sha256:b", url=f"{other}/b.bin", sha256=sha256(OTHER), file="b.bin")
    download(wanted, store, Network(), web=web)
    assert "Authorization" not in server.requests[1][1]
    url = server.base.replace("127.0.0.1", "me:secret@127.0.0.1") + "/c.bin"
    with pytest.raises(SourceError, match="holds a password"):
        download(
            Download(key="sha256:c", url=url, sha256=sha256(b"not there yet"), file="c.bin"), store, Network(), web=web
        )


# on from where it broke off


def test_a_half_file_is_gone_on_with(server: FileServer, store: Store) -> None:
    halved(store, pinned(server), server)
    assert get(pinned(server), store) == CONTENT
    headers = [headers for _, headers in server.requests]
    assert [(one.get("Range"), one.get("If-Range")) for one in headers] == [
        ("bytes=100000-", f'"{sha256(CONTENT)[:16]}"')
    ]


def test_a_half_file_without_a_checksum_and_a_changed_content(server: FileServer, store: Store) -> None:
    halved(store, unpinned(server), server)
    server.files["/a.bin"] = OTHER
    assert get(unpinned(server), store) == OTHER


def test_a_half_file_that_nothing_identifies(server: FileServer, store: Store) -> None:
    """Without checksum and ETag it is begun anew: nobody could tell that both halves belong together."""
    server.faults["/a.bin"] = lambda handler, _: handler.send_file(CONTENT, etag="") or True
    begun = threading.Event()
    with pytest.raises(SourceError, match="stopped"):
        download(
            unpinned(server),
            store,
            Network(),
            web=Web(Network(), QUICK),
            tell=lambda *_: begun.set(),
            stop=begun.is_set,
        )
    assert next((store.root / "partial").glob("*.part")).stat().st_size > 0
    server.faults["/a.bin"] = lambda handler, _: handler.send_file(OTHER, etag="") or True
    server.requests.clear()
    assert get(unpinned(server), store) == OTHER
    assert [headers.get("Range") for _, headers in server.requests] == [None]


def test_a_half_file_that_is_not_of_this_file(server: FileServer, store: Store) -> None:
    """A server that says it goes on with the same, and does not: the checksum tells, and it is begun anew."""
    halved(store, pinned(server), server)
    part = next((store.root / "partial").glob("*.part"))
    part.write_bytes(bytes(100_000))
    assert get(pinned(server), store) == CONTENT
    assert [headers.get("Range") for _, headers in server.requests] == ["bytes=100000-", None]


def test_a_whole_file_that_was_not_published_is_not_asked_for(server: FileServer, store: Store) -> None:
    halved(store, pinned(server), server)
    next((store.root / "partial").glob("*.part")).write_bytes(CONTENT)
    assert get(pinned(server), store) == CONTENT
    assert server.asked == {}


def test_another_size_than_before(server: FileServer, store: Store) -> None:
    halved(store, pinned(server, content=OTHER + b"more"), server)
    server.files["/a.bin"] = OTHER + b"more"

    def lies(handler: Handler, _: int) -> bool:
        handler.send_file(OTHER + b"more", etag=f'"{sha256(CONTENT)[:16]}"')
        return True

    server.faults["/a.bin"] = lies
    assert get(pinned(server, content=OTHER + b"more"), store) == OTHER + b"more"


# faults


def test_truncation(server: FileServer, store: Store) -> None:
    def cut(handler: Handler, number: int) -> bool:
        handler.send_file(CONTENT, cut=120_000 if number < 3 else None)
        return True

    server.faults["/a.bin"] = cut
    assert get(pinned(server), store) == CONTENT
    assert [headers.get("Range") for _, headers in server.requests] == [None, "bytes=120000-", "bytes=240000-"]


def test_truncation_for_ever(server: FileServer, store: Store) -> None:
    server.faults["/a.bin"] = lambda handler, _: handler.send_file(CONTENT, cut=0) or True
    assert "broke off after 0 bytes" in refused(pinned(server), store).message
    assert server.asked["/a.bin"] == QUICK.tries


def test_an_unknown_size_could_be_a_part(server: FileServer, store: Store) -> None:
    def sizeless(handler: Handler, _: int) -> bool:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT[:5000])
        handler.close_connection = True
        return True

    server.faults["/a.bin"] = sizeless
    assert "does not say how large" in refused(unpinned(server), store).message
    assert f"its sha256 is {sha256(CONTENT[:5000])}, not" in refused(pinned(server), store).message


@pytest.mark.parametrize("whole", [True, False])
def test_chunks(server: FileServer, store: Store, whole: bool) -> None:
    def chunked(handler: Handler, _: int) -> bool:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(CONTENT), CONTENT) + (b"0\r\n\r\n" if whole else b""))
        handler.close_connection = True
        return True

    server.faults["/a.bin"] = chunked
    if whole:
        assert get(unpinned(server), store) == CONTENT
    else:
        assert "broke off" in refused(unpinned(server), store).message


def test_stall(server: FileServer, store: Store) -> None:
    def stall(handler: Handler, number: int) -> bool:
        if number > 1:
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:50_000])
        handler.server.over.wait(60)
        return True

    server.faults["/a.bin"] = stall
    assert get(pinned(server), store, patience=HASTY) == CONTENT
    assert [headers.get("Range") for _, headers in server.requests] == [None, "bytes=50000-"]


def test_silence(server: FileServer, store: Store) -> None:
    server.faults["/a.bin"] = lambda handler, _: handler.server.over.wait(60)
    assert "timed out" in refused(pinned(server), store, patience=HASTY).message.lower()


def test_a_trickle_is_a_stall(server: FileServer, store: Store) -> None:
    def trickle(handler: Handler, _: int) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.close_connection = True
        with suppress(OSError):
            while not handler.server.over.wait(0.05):
                handler.wfile.write(b"x")
        return True

    server.faults["/a.bin"] = trickle
    with pytest.raises(SourceError, match="only trickles"):
        download(pinned(server), store, Network(), web=Web(Network(), replace(HASTY, tries=1)))


def test_a_login_page_behind_a_redirect(server: FileServer, store: Store) -> None:
    server.faults["/a.bin"] = lambda handler, _: handler.answer(302, b"", {"Location": "/login?next=secret"})
    server.faults["/login"] = lambda handler, _: handler.answer(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})
    for wanted in (pinned(server), unpinned(server)):
        error = refused(wanted, store)
        assert f"redirects to {server.base}/login?…, which answered with a web page ('Sign in')" in error.message
        assert "secret" not in error.message
        assert "netrc" in error.hint


def test_a_page_that_is_called_a_file(server: FileServer, store: Store) -> None:
    server.files["/a.bin"] = PAGE
    assert "answered with a web page" in refused(unpinned(server), store).message
    assert "answered with a web page" in refused(pinned(server), store).message


def test_a_page_does_not_cost_the_half_that_is_there(server: FileServer, store: Store) -> None:
    halved(store, pinned(server), server)
    server.faults["/a.bin"] = lambda handler, _: handler.answer(200, PAGE, {"Content-Type": "text/html"})
    assert "web page" in refused(pinned(server), store).message
    server.faults.clear()
    server.requests.clear()
    assert get(pinned(server), store) == CONTENT
    assert [headers.get("Range") for _, headers in server.requests] == ["bytes=100000-"]


def test_a_page_may_be_what_is_wanted(server: FileServer, store: Store) -> None:
    server.files["/a.bin"] = PAGE
    assert get(pinned(server, content=PAGE), store) == PAGE


def test_a_redirect_away_from_https(store: Store, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    network = Network(ca_bundle=tmp_path / "ca.pem")
    with serve(context) as secure, serve() as plain:
        secure.files["/good"] = plain.files["/a.bin"] = CONTENT
        secure.faults["/a.bin"] = lambda handler, _: handler.answer(302, b"", {"Location": f"{plain.base}/a.bin"})
        assert "away from https" in refused(pinned(secure), store, network).message
        assert plain.asked == {}
        assert get(pinned(secure, "/good"), store, network) == CONTENT


def test_redirects_in_a_circle(server: FileServer, store: Store) -> None:
    server.faults["/a.bin"] = lambda handler, _: handler.answer(302, b"", {"Location": "/a.bin"})
    assert "redirects more than 10 times" in refused(pinned(server), store).message


def test_plain_http_from_afar_needs_a_checksum(store: Store) -> None:
    url = "http://files.example.org/a.bin"
    assert "plain http" in refused(Download(key=f"url:{url}", url=url, sha256=None, file="a.bin"), store).message


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("date", [False, True])
def test_the_server_asks_to_wait(server: FileServer, store: Store, status: int, date: bool) -> None:
    times: list[float] = []

    def busy(handler: Handler, number: int) -> bool:
        times.append(time.monotonic())
        # A date has whole seconds: two ahead is at least one.
        then = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=2), usegmt=True)
        return number == 1 and handler.answer(status, b"", {"Retry-After": then if date else "1"})

    server.faults["/a.bin"] = busy
    assert get(pinned(server), store) == CONTENT
    assert times[1] - times[0] >= 0.9


def test_the_server_asks_to_wait_too_long(server: FileServer, store: Store) -> None:
    server.faults["/a.bin"] = lambda handler, _: handler.answer(503, b"", {"Retry-After": "86400"})
    assert "asks to wait 86400 s" in refused(pinned(server), store).message
    assert server.asked["/a.bin"] == 1


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (500, 3), (429, 3)])
def test_errors_of_the_server(server: FileServer, store: Store, status: int, tries: int) -> None:
    server.faults["/a.bin"] = lambda handler, _: handler.answer(status, b"")
    error = refused(pinned(server), store)
    assert f"{server.base}/a.bin: answered {status}" in error.message
    assert server.asked["/a.bin"] == tries
    assert ("netrc" in error.hint) == (status == 403)


def test_content_that_changes_between_tries(server: FileServer, store: Store) -> None:
    """The first half of one, then another: what is published is one whole content, never a mix."""

    def changing(handler: Handler, number: int) -> bool:
        handler.send_file(CONTENT if number == 1 else OTHER, cut=100_000 if number == 1 else None)
        return True

    server.faults["/a.bin"] = changing
    assert get(unpinned(server), store) == OTHER


def test_content_that_is_not_what_was_pinned(server: FileServer, store: Store) -> None:
    server.files["/a.bin"] = OTHER
    assert f"its sha256 is {sha256(OTHER)}, not {sha256(CONTENT)}" in refused(pinned(server), store).message
    assert server.asked["/a.bin"] == 1


def test_an_expired_certificate(store: Store, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.now(timezone.utc) - timedelta(days=1)
    authority.issue_cert("127.0.0.1", not_before=past - timedelta(days=9), not_after=past).configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with serve(context) as server:
        server.files["/a.bin"] = CONTENT
        error = refused(pinned(server), store, Network(ca_bundle=tmp_path / "ca.pem"))
        assert "the certificate of 127.0.0.1 is not trusted: certificate has expired" in error.message
        assert "--ca-bundle" in error.hint
        assert server.asked == {}


def test_a_certificate_of_nobody_we_know(store: Store) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with serve(context) as server:
        error = refused(pinned(server), store)
        assert "is not trusted" in error.message
        assert "--ca-bundle" in error.hint


def test_mirrors_are_tried_in_order(server: FileServer, store: Store, tmp_path: Path) -> None:
    server.files["/wrong/a.bin"] = OTHER
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/a.bin").write_bytes(CONTENT)
    upstream = f"{server.base}/up"
    mirrors = (f"{server.base}/missing", f"{server.base}/wrong", (tmp_path / "disk").as_uri())
    network = Network(mirrors=((upstream, mirrors),))
    entry = download(pinned(server, "/up/a.bin"), store, network, web=Web(network, QUICK))
    assert entry.origin == (tmp_path / "disk/a.bin").as_uri()
    assert dict(server.asked) == {"/missing/a.bin": 1, "/wrong/a.bin": 1}
    assert store.verify() == ()


def test_every_place_is_named_with_its_reason(server: FileServer, store: Store) -> None:
    server.files["/wrong/a.bin"] = OTHER
    network = Network(mirrors=((f"{server.base}/up", (f"{server.base}/wrong", "http://127.0.0.1:1/")),))
    message = refused(pinned(server, "/up/a.bin"), store, network).message
    assert f"{server.base}/wrong/a.bin: its sha256 is {sha256(OTHER)}" in message
    assert "http://127.0.0.1:1/a.bin: Connection refused" in message
    assert f"{server.base}/up/a.bin: answered 404" in message


def test_all_failures_are_listed_and_the_rest_is_there(server: FileServer, store: Store) -> None:
    missing = [pinned(server, f"/{number}", bytes([number])) for number in range(3)]
    with pytest.raises(SourceError) as caught:
        download_all([*missing, pinned(server)], store, Network(), web=Web(Network(), QUICK))
    assert caught.value.message.startswith("3 of 4 failed:")
    assert all(f"{item.url}: answered 404" in caught.value.message for item in missing)
    assert [entry.key for entry in store.entries()] == [pinned(server).key]


def test_stopping_keeps_what_is_there(server: FileServer, store: Store) -> None:
    server.faults["/a.bin"] = lambda handler, number: number == 1 and (handler.send_file(CONTENT, cut=60_000) or True)
    enough = threading.Event()

    def tell(done: int, _: int) -> None:
        if done >= 50_000:
            enough.set()

    with pytest.raises(SourceError, match="stopped"):
        download(pinned(server), store, Network(), web=Web(Network(), QUICK), tell=tell, stop=enough.is_set)
    assert next((store.root / "partial").glob("*.part")).stat().st_size >= 50_000
    assert get(pinned(server), store) == CONTENT
    assert server.requests[-1][1]["Range"].startswith("bytes=")
