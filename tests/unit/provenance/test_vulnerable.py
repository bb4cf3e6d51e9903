"""Known vulnerabilities: ranges by each ecosystem's own order, and an export that may hold anything."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.snapshots import STATUS, distribution, inventory, toy_files

from builder.errors import SourceError
from builder.provenance.osv import read_database
from builder.provenance.tables import vulnerability_line
from builder.provenance.terms import broken, data_notices
from builder.provenance.vulnerable import Finding, find_vulnerable, packages_by_name

V3 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


def entry(identity: str, ecosystem: str, name: str, events: Any = (), **more: Any) -> dict[str, Any]:
    affected = {"package": {"ecosystem": ecosystem, "name": name}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    affected |= {key: more.pop(key) for key in ("versions", "ecosystem_specific") if key in more}
    return {"id": identity, "modified": "2026-02-03T00:00:00Z", "affected": [affected], **more}


def look(folder: Path, *entries: dict[str, Any]) -> tuple[Finding, ...]:
    for item in entries:
        (folder / f"{item['id']}.json").write_text(json.dumps(item))
    whole = inventory()
    return find_vulnerable(whole, read_database(folder, packages_by_name(whole)))


def between(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{kind: version} for kind, version in pairs]


@pytest.mark.parametrize(
    ("events", "hit"),
    [
        (between(("introduced", "0")), True),
        (between(("introduced", "0"), ("fixed", "2.0")), False),
        (between(("introduced", "0"), ("fixed", "2.0.post1")), True),
        (between(("introduced", "0"), ("fixed", "10")), True),
        (between(("fixed", "2.0rc1"), ("introduced", "0")), False),
        (between(("introduced", "2.0.dev1"), ("fixed", "2.1")), True),
        (between(("introduced", "2.0.post1")), False),
        (between(("introduced", "0"), ("last_affected", "2.0")), True),
        (between(("introduced", "0"), ("last_affected", "1.9")), False),
        (between(("introduced", "0"), ("fixed", "1"), ("introduced", "2"), ("fixed", "3")), True),
        (between(("introduced", "0"), ("fixed", "1"), ("introduced", "3")), False),
        (between(("introduced", "0"), ("limit", "2.0")), False),
        (between(("introduced", "not a version")), False),
        ([], False),
    ],
)
def test_pypis_order(tmp_path: Path, events: list[dict[str, str]], hit: bool) -> None:
    # The installed one is numbers 2.0; 10 comes after 2, 2.0rc1 before 2.0.
    assert bool(look(tmp_path, entry("A", "PyPI", "Numbers", events))) == hit


@pytest.mark.parametrize(
    ("events", "hit"),
    [
        (between(("introduced", "0"), ("fixed", "1:2.0-1")), False),
        (between(("introduced", "0"), ("fixed", "1:2.0-2~deb12u1")), True),
        (between(("introduced", "0"), ("fixed", "1:2.0-1~bpo")), False),
        (between(("introduced", "0"), ("fixed", "9.0-1")), False),
        (between(("introduced", "1:2.0~rc1")), True),
    ],
)
def test_dpkgs_order_by_the_source_package(tmp_path: Path, events: list[dict[str, str]], hit: bool) -> None:
    # libtoy1 is built from toy 1:2.0-1: the epoch and the tilde decide.
    assert bool(look(tmp_path, entry("A", "Debian:12", "toy", events))) == hit


def test_only_the_images_release_and_nothing_that_was_withdrawn(tmp_path: Path) -> None:
    all_of_it = between(("introduced", "0"))
    found = look(
        tmp_path,
        entry("A", "Debian:11", "toy", all_of_it),
        entry("B", "Debian", "toy", all_of_it),
        entry("C", "PyPI", "numbers", all_of_it, withdrawn="2026-01-01T00:00:00Z"),
        entry("D", "npm", "numbers", all_of_it),
        entry("E", "Debian:12", "libtoy1", all_of_it),
    )
    assert [each.id for each in found] == ["B"]


def test_versions_that_are_listed(tmp_path: Path) -> None:
    found = look(
        tmp_path, entry("A", "PyPI", "numbers", versions=["2.0.0"]), entry("B", "PyPI", "numbers", versions=["2.0.1"])
    )
    assert [each.id for each in found] == ["A"]


def test_severity_score_and_what_mends_it(tmp_path: Path) -> None:
    every = between(("introduced", "0"), ("fixed", "1.5"), ("introduced", "2"), ("fixed", "2.3"))
    found = look(
        tmp_path,
        entry("A", "PyPI", "numbers", every, severity=[{"type": "CVSS_V3", "score": V3}], aliases=["CVE-1"]),
        entry("B", "PyPI", "numbers", every, database_specific={"severity": "MODERATE"}),
        entry("C", "PyPI", "numbers", every, severity=[{"type": "CVSS_V3", "score": "CVSS:3.1/rubbish"}]),
        entry("D", "Debian:12", "toy", between(("introduced", "0")), ecosystem_specific={"urgency": "unimportant"}),
    )
    assert [(each.id, each.severity, each.score) for each in found] == [
        ("A", "critical", 9.8),
        ("B", "medium", None),
        ("D", "low", None),
        ("C", "", None),
    ]
    assert found[0].fixed == ("2.3",)
    assert found[0].aliases == ("CVE-1",)


def test_an_archive_a_folder_of_archives_and_one_file(tmp_path: Path) -> None:
    item = json.dumps(entry("A", "PyPI", "numbers", between(("introduced", "0"))))
    (tmp_path / "one.json").write_text(item)
    (tmp_path / "all").mkdir()
    for name in ("PyPI.zip", "Debian.zip"):
        with zipfile.ZipFile(tmp_path / "all" / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("A.json", item)
            archive.writestr("README", "no entry")
    names = packages_by_name(inventory())
    assert [read_database(tmp_path / each, names).entries for each in ("one.json", "all/PyPI.zip", "all")] == [1, 1, 2]
    whole = read_database(tmp_path / "all", names)
    assert whole.newest == "2026-02-03T00:00:00Z"
    says = vulnerability_line((), whole)
    assert says == "0 known vulnerabilities; database: 2 entries of PyPI, the newest of 2026-02-03"


def test_one_entry_without_a_date_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"id": "A"}')
    says = vulnerability_line((), read_database(tmp_path / "one.json", ()))
    assert says == "0 known vulnerabilities; database: 1 entry of no ecosystem, none with a date"


def test_files_that_are_no_entries_are_counted_and_a_bomb_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.provenance.osv.LARGEST", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.json", json.dumps(entry("A", "PyPI", "numbers", between(("introduced", "0")))))
        archive.writestr("bomb.json", " " * 1_000_000)
        archive.writestr("list.json", "[]")
        archive.writestr("deep.json", "[" * 900)
    database = read_database(tmp_path / "a.zip", packages_by_name(inventory()))
    assert (database.entries, database.bad) == (1, ("bomb.json", "deep.json", "list.json"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", b"[]", b'{"id": 1}'])
def test_what_is_no_database_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "db.zip").write_bytes(content)
    with pytest.raises(SourceError, match="no entry of an OSV database"):
        read_database(tmp_path / "db.zip", ())
    with pytest.raises(SourceError):
        read_database(tmp_path / "absent", ())


def test_a_version_that_is_none_is_no_crash(tmp_path: Path) -> None:
    status = STATUS.replace("1:2.0-1+b1", "\x1b not").replace("(1:2.0-1)", "")
    whole = inventory(toy_files() | {"var/lib/dpkg/status": status} | distribution("odd", "???", {}))
    every = between(("introduced", "0"), ("fixed", "9"))
    for number, name in enumerate(("odd", "numbers")):
        (tmp_path / f"{number}.json").write_text(json.dumps(entry(f"A{number}", "PyPI", name, every)))
    (tmp_path / "d.json").write_text(json.dumps(entry("D", "Debian:12", "toy", every)))
    found = find_vulnerable(whole, read_database(tmp_path, packages_by_name(whole)))
    assert [each.id for each in found] == ["A1"]


def test_rules() -> None:
    whole = inventory(toy_files() | distribution("nuscenes-devkit", "1", {}, more="License: GPL-3.0\n"))
    finding = Finding(
        id="A",
        aliases=("CVE-1",),
        key=next(each.key for each in whole.packages if each.name == "numbers"),
        kind="python",
        name="numbers",
        version="2.0",
        severity="high",
        score=7.0,
        vector="",
        fixed=(),
        summary="",
        modified="",
    )
    notices = data_notices(whole)

    def lines(*rules: str, allow: tuple[str, ...] = ()) -> list[str]:
        return [
            line.split(":")[0] + ":" + line.split()[2]
            for line in broken(rules, whole.packages, notices, [finding], allow)
        ]

    assert lines("gpl") == ["gpl:nuscenes-devkit", "gpl:libtoy1"]
    assert lines("gpl", allow=("libtoy1", "nuscenes-devkit")) == []
    assert lines("agpl", "non-commercial") == []
    assert len(lines("data-terms")) == 1
    assert lines("vulnerability") == ["vulnerability:python"]
    assert len(lines("medium")) == 1
    assert lines("critical") == []
    assert lines("low", allow=("CVE-1",)) == lines("low", allow=("numbers",)) == []
