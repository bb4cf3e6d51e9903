"""The store on a real disk: what is published, found, verified and collected."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from builder.errors import SourceError
from builder.source.entry import entry_path, entry_text, parse_entry, safe_name
from builder.source.pace import Pace
from builder.source.store import MARKER, Entry, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.make(tmp_path / "store")


def put(store: Store, content: bytes, key: str = "") -> Entry:
    digest = hashlib.sha256(content).hexdigest()
    path = store.partial("a name / of something")
    path.write_bytes(content)
    return store.add(key or f"sha256:{digest}", path, file="a.bin", origin="https://example.org/a.bin", sha256=digest)


def what(store: Store) -> dict[str, str]:
    return {problem.path: problem.what for problem in store.verify()}


def test_a_content_is_there_once(store: Store) -> None:
    entry = put(store, b"content")
    again = put(store, b"content")
    other = put(store, b"content", key="url:https://example.org/a.bin")
    assert entry == again == store.find(entry.key)
    assert store.object(other) == store.object(entry)
    assert store.object(entry).read_bytes() == b"content"
    assert store.object(entry).stat().st_mode & 0o777 == 0o444
    assert [item.key for item in store.entries()] == [entry.key, other.key]
    assert not store.partial("a name / of something").exists()
    assert store.verify() == ()


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        store = Store.make(tmp_path / "store")
        entry = put(store, b"content")
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (store.root, store.object(entry).parent)}
    assert modes == {0o755}
    assert (store.root / entry_path(entry.key)).stat().st_mode & 0o777 == 0o644
    assert (store.root / MARKER).stat().st_mode & 0o777 == 0o644


def test_a_key_never_changes_its_content(store: Store) -> None:
    first = put(store, b"one", key="url:https://example.org/a.bin")
    with pytest.raises(SourceError) as caught:
        put(store, b"two", key="url:https://example.org/a.bin")
    assert first.sha256 in caught.value.message
    assert hashlib.sha256(b"two").hexdigest() in caught.value.message
    assert store.find(first.key) == first


def test_a_damaged_content_is_repaired(store: Store) -> None:
    entry = put(store, b"content")
    store.object(entry).chmod(0o644)
    store.object(entry).write_bytes(b"c0ntent")
    assert "damaged" in what(store)[store.object(entry).relative_to(store.root).as_posix()]
    put(store, b"content")
    assert store.verify() == ()


def test_a_second_key_and_a_content_without_one(store: Store) -> None:
    entry = put(store, b"content")
    assert store.alias("url:https://example.org/", entry).sha256 == entry.sha256
    (store.root / entry_path(entry.key)).unlink()
    assert store.find(entry.key) is None
    assert store.adopt(entry.key, file="a.bin", origin="x", sha256=entry.sha256) == store.find(entry.key)
    assert store.adopt("sha256:no", file="a.bin", origin="x", sha256="0" * 64) is None


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such store"):
        Store(tmp_path / "nothing")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").touch()
    with pytest.raises(SourceError, match=r"not a store, and not empty: thesis\.tex"):
        Store.make(tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.tex"]
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / MARKER).write_text('{"format": 2}\n')
    with pytest.raises(SourceError, match="not a format"):
        Store.make(tmp_path / "newer")


def test_every_kind_of_problem(store: Store) -> None:
    entry = put(store, b"content")
    gone = put(store, b"gone")
    store.object(gone).unlink()
    (store.root / "notes.txt").touch()
    (store.root / "objects/link").symlink_to("/etc/passwd")
    named = store.root / entry_path(entry.key)
    (named.parent / "other.json").write_bytes(named.read_bytes())
    (store.root / "entries/url").mkdir()
    (store.root / "entries/url/x.json").write_bytes(named.read_bytes()[:-1])
    found = what(store)
    assert found.pop("notes.txt") == "a foreign file"
    assert "links" in found.pop("objects/link")
    assert "not there" in found.pop(entry_path(gone.key))
    assert "another key" in found.pop("entries/sha256/other.json")
    assert found == {"entries/url/x.json": "a damaged entry"}


def test_collecting(store: Store) -> None:
    kept, gone = put(store, b"kept"), put(store, b"gone")
    store.alias("url:https://example.org/kept", kept)
    store.partial("half").write_bytes(b"half")
    with store.lock("busy"):
        store.partial("busy").write_bytes(b"busy")
        would = store.collect(keep={kept.key}, dry=True)
        assert store.find(gone.key)
        freed = store.collect(keep={kept.key})
    assert freed == would
    assert freed.partials == ("partial/half",)
    assert freed.entries == (entry_path(gone.key),)
    assert freed.objects == (store.object(gone).relative_to(store.root).as_posix(),)
    assert store.partial("busy").exists()
    assert [entry.key for entry in store.entries()] == [kept.key, "url:https://example.org/kept"]
    assert store.verify() == ()


def test_collecting_stops_at_a_damaged_entry(store: Store) -> None:
    entry = put(store, b"content")
    (store.root / entry_path(entry.key)).write_text("{}")
    with pytest.raises(SourceError, match="damaged"):
        store.collect()
    assert store.object(entry).exists()


def test_every_flipped_bit_of_an_entry_is_found() -> None:
    entry = Entry(key="url:https://example.org/ü", sha256="0" * 64, size=7, file="ü", origin="here", note="n")
    text = entry_text(entry).encode()
    assert parse_entry(text) == entry
    for place in range(len(text)):
        for bit in range(8):
            assert parse_entry(text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :]) is None


@pytest.mark.parametrize("text", ["../../etc/passwd", "", ".hidden", "a/b", "a" * 300, "https://e.org/ü?x=1"])
def test_names_stay_in_their_folder(text: str) -> None:
    name = safe_name(text)
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name) < 120
    assert safe_name(name) != name


def test_no_key(store: Store) -> None:
    for key in ("nothing", "../x:y", ":x"):
        with pytest.raises(SourceError, match="not a key"):
            store.find(key)


def test_pace() -> None:
    pace = Pace()
    assert pace.speed(0) == 0
    for second in range(20):
        pace.note(second, second * 100)
    assert pace.speed(19) == 100
    assert pace.left(19, 2900) == 10
    # Stalled for as long as the window: no speed, and no promise.
    for second in range(20, 40):
        pace.note(second, 1900)
    assert pace.speed(39) == 0
    assert pace.left(39, 2900) is None
