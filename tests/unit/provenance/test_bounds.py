"""Files of an image that are made to take for ever: each of these did, or ended in a traceback."""

from __future__ import annotations

import pytest

from builder.provenance import python
from builder.provenance.dpkg import read_packages
from builder.provenance.python import read_distributions, read_interpreter
from builder.provenance.snapshot import LONGEST_PATH, Config, Entry, Snapshot, resolve

INFO = "/opt/venv/lib/python3.11/site-packages/pkg-1.dist-info"
METADATA = b"Metadata-Version: 2.1\nName: pkg\nVersion: 1\nLicense: MIT\n"
PACKAGE = b"Package: pkg\nStatus: install ok installed\nVersion: 1\n"


def snapshot(**texts: bytes) -> Snapshot:
    return Snapshot(
        id="i",
        created="",
        architecture="x86_64",
        config=Config(),
        layers=(),
        entries={path: Entry(kind="file", size=len(text)) for path, text in texts.items()},
        texts=texts,
    )


@pytest.mark.parametrize("word", [b"\t\n", b" \n", b"Name: pkg\n", b"Requires-Dist: a\n", b"\r\n"])
def test_headers_without_an_end(word: bytes) -> None:
    """What reads mail takes seconds for a hundred thousand lines of blanks, and minutes for a million."""
    (found,) = read_distributions(snapshot(**{f"{INFO}/METADATA": METADATA + word * 2_000_000}))
    assert (found.name, found.version) == ("pkg", "1")
    assert bool(found.trouble) == (word != b"\r\n")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_description_of_any_length_is_not_read(end: bytes) -> None:
    text = METADATA.replace(b"\n", end) + b"Requires-Dist: other" + end + end + b"Name: evil\n" * 1_000_000
    (found,) = read_distributions(snapshot(**{f"{INFO}/METADATA": text}))
    assert (found.name, found.requires, found.trouble, found.licences) == ("pkg", ("other",), "", ("MIT",))


def test_a_record_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "MOST_ROWS", 10)
    texts = {f"{INFO}/METADATA": METADATA, f"{INFO}/RECORD": b"".join(b"f%d,,\n" % number for number in range(99))}
    (found,) = read_distributions(snapshot(**texts))
    assert len(found.record) == 10 + len(texts)


@pytest.mark.parametrize("line", [b"/a" * 2_000_000, b"/usr/../" * 500_000, b"/" * 4_000_000 + b"x"])
def test_a_path_that_no_kernel_would_follow(line: bytes) -> None:
    """dpkg's lists are texts: nothing but this keeps a path of one short."""
    texts = {"/var/lib/dpkg/status": PACKAGE, "/var/lib/dpkg/info/pkg.list": line + b"\n/bin/sh\n"}
    (found,) = read_packages(snapshot(**texts))
    assert "/bin/sh" in found.paths


def test_links_that_are_longer_than_any() -> None:
    entries = {"/l": Entry(kind="link", target="x/" * LONGEST_PATH), "/a": Entry(kind="link", target="/b")}
    assert resolve(entries, "/l/x") == "/l/x"
    assert resolve(entries, "/a/x") == "/b/x"


@pytest.mark.parametrize("value", ["0x" + "f" * 50_000, "[1, 2]", "{'a': 1}", "b'x'", "1j", "-" * 5000 + "1"])
def test_settings_that_are_no_text(value: str) -> None:
    settings = f"build_time_vars = {{'CC': {value}, 'CONFIG_ARGS': 'a  b'}}"
    texts = {
        "/opt/python/include/python3.11/patchlevel.h": b'#define PY_VERSION "3.11.2"\n',
        "/opt/python/lib/python3.11/_sysconfigdata_x.py": settings.encode(),
    }
    found = read_interpreter(snapshot(**texts))
    assert found is not None
    assert found.version == "3.11.2"
    assert dict(found.settings) in ({"CONFIG_ARGS": "a b"}, {})
