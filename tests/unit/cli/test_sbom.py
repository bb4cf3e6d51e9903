"""`sbom`, `diff`, `explain`, `sign`: what cannot be meant is refused before an engine is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.cli import drivebuild, refused
from support.snapshots import inventory, toy_files

from builder.cli.diff import apart, layer_lines
from builder.cli.sbom import aligned


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sbom", "x", "--format", "cyclonedxx"), "did you mean 'cyclonedx'?"),
        (("sbom", "x", "--fail-on", "gpl,nothing"), "--fail-on nothing: there is no such rule"),
        (("sbom", "x", "--fail-on", "criticl"), "did you mean 'critical'?"),
        (("sbom", "x", "--fail-on", "high"), "add --vulnerabilities DB"),
        (("sbom", "x", "--vulnerabilities", "absent"), "absent: no such file or folder"),
        (("sbom", "x", "--vulnerabilities", "/dev/null"), "/dev/null: no such file or folder"),
        (("sign", "registry.example/a:1"), "only a digest is signed"),
        (("sign", "registry.example/a@sha256:" + "1" * 64, "--verify"), "with whose key?"),
        (("sign", "registry.example/a@sha256:" + "1" * 64, "--identity", "me"), "words about --verify"),
        (("sbom",), "Missing argument"),
        (("diff", "x"), "Missing argument"),
        (("diff", "x", "y", "--depth", "0"), "--depth"),
    ],
)
def test_what_cannot_be_meant(words: tuple[str, ...], message: str) -> None:
    assert message in refused(drivebuild(*words), 2)


def test_without_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    found = sys.modules["importlib.util"].find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "spdx_tools" else found(name))
    assert "drivebuild[sbom]" in refused(drivebuild("sbom", "x"), 2)


def test_no_cell_can_steer_a_terminal_or_break_its_row() -> None:
    lines = aligned([("a\nb", "\x1b[2J"), ("c\td", "")], ("X", "Y"))
    assert lines == ["X     Y", "a\\nb  \\x1b[2J", "c\\td"]


def test_layers_that_are_shared() -> None:
    lines = layer_lines(("a", "b"), ((("1", 1000), ("2", 5)), (("1", 1000), ("3", 7))))
    assert [line.split(",")[0] for line in lines] == ["layers: 1 shared", "  1 of a alone", "  1 of b alone"]


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("-O2", "-O3", ("-O2", "-O3")),
        ("'--a=1 2' " * 9, "'--a=1 2' " * 9 + "--with-lto 'L=x y'", ("…", "… --with-lto 'L=x y'")),
        ("x " * 50 + "old", "x " * 50 + "new", ("… old", "… new")),
        ("-", "x " * 50, ("-", "x " * 50)),
        # An open quote, and the same words in another order: nothing is left out.
        ("a' " * 40, "a' " * 40 + "b", ("…", "… b")),
        ("a b " * 40, "b a " * 40, ("a b " * 40, "b a " * 40)),
    ],
)
def test_long_values_are_shown_by_the_words_that_differ(before: str, after: str, shown: tuple[str, str]) -> None:
    assert apart(before, after, 70) == shown


def test_a_rule_that_is_broken_names_what_breaks_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from builder.cli import imageread

    class Reader:
        def __init__(self, *_words: object, **_more: object) -> None: ...

        def name(self, word: str, **_more: object) -> str:
            return word

        def inventory(self, _name: str) -> object:
            evil = {
                "srv/\x1b[2J\n": b"",
                "var/lib/dpkg/status": "Package: x\x1b[31m\nVersion: 1\nStatus: ok installed\n",
            }
            return inventory(toy_files() | evil)

    monkeypatch.setattr(imageread, "ImageReader", Reader)
    result = drivebuild("sbom", "x", "--unowned", "--fail-on", "unknown")
    assert result.exit_code == 9
    assert "unknown: deb x\\x1b[31m 1: says nothing" in result.output
    # The distribution's hundred packages come after the image's own.
    broken = [line.split()[1] for line in result.output.splitlines() if line.startswith("  unknown: ")]
    assert broken == sorted(broken, key=lambda kind: kind == "deb")
    assert {"deb"} < set(broken)
    assert "/srv/\\x1b[2J\\n" in result.output
    assert "\x1b[2J" not in result.output
    output = tmp_path / "a.json"
    assert drivebuild("sbom", "x", "--format", "spdx", "--output", str(output)).exit_code == 0
    assert output.read_text().startswith("{")
    assert "no such kind" in refused(drivebuild("sbom", "x", "--kind", "debs"), 2)
    assert "no such file or folder" in refused(drivebuild("sbom", "x", "--vulnerabilities", str(tmp_path / "no")), 2)
    (tmp_path / "db.json").write_text("{}")
    assert "no entry of an OSV database" in refused(
        drivebuild("sbom", "x", "--vulnerabilities", str(tmp_path / "db.json")), 5
    )
