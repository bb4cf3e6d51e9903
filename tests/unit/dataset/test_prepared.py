"""What a conversion left: kept when it is finished and of these tables, made anew else, and judged file by file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builder.cli.prepare import StepView
from builder.dataset import prepared
from builder.dataset.prepared import STAMP, Stamp
from builder.errors import RunError
from builder.recipe.types import DataEntry

INFOS = DataEntry(path="infos.pkl", kind="file", generated=True, holds="train")
FILES = DataEntry(path="customer/npz", generated=True, holds="samples")
ENTRIES = (INFOS, FILES)
VERSIONS = ("v1.0-trainval",)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """Return a folder in which everything was made."""
    (tmp_path / "infos.pkl").write_bytes(b"pickle")
    (tmp_path / "customer/npz").mkdir(parents=True)
    labels = next(whole.glob("gts/*/*/labels.npz")).read_bytes()
    for sample in json.loads((whole / "v1.0-trainval/sample.json").read_text()):
        (tmp_path / "customer/npz" / f"{sample['token']}.npz").write_bytes(labels)
    return tmp_path


def finish(folder: Path, tables: str = "t") -> None:
    prepared.write_stamp(folder, prepared.complete(folder, "toy", tables, "sha256:1", ENTRIES))


def test_a_finished_folder_is_kept(folder: Path) -> None:
    assert not prepared.kept(folder, "t", ENTRIES)
    finish(folder)
    assert prepared.kept(folder, "t", ENTRIES)
    size = sum(path.stat().st_size for path in (folder / "customer/npz").iterdir())
    assert prepared.read_stamp(folder) == Stamp(
        model="toy", tables="t", image="sha256:1", files={"infos.pkl": 6, "customer/npz": size}
    )
    assert sorted(path.name for path in folder.iterdir()) == ["customer", STAMP, "infos.pkl"]


@pytest.mark.parametrize(
    "change", ["other tables", "another size", "a file less", "a file cut", "gone", "begun", "torn stamp"]
)
def test_anything_else_is_not(folder: Path, change: str) -> None:
    finish(folder)
    if change == "another size":
        (folder / "infos.pkl").write_bytes(b"p")
    elif change == "a file less":
        next((folder / "customer/npz").iterdir()).unlink()
    elif change == "a file cut":
        next((folder / "customer/npz").iterdir()).write_bytes(b"PK")
    elif change == "gone":
        (folder / "infos.pkl").unlink()
    elif change == "begun":
        prepared.write_stamp(folder, Stamp(model="toy", tables="t"))
    elif change == "torn stamp":
        (folder / STAMP).write_text('{"model": "to')
    assert not prepared.kept(folder, "other" if change == "other tables" else "t", ENTRIES)


def test_only_what_the_recipe_names_is_removed(folder: Path) -> None:
    finish(folder)
    (folder / "mine.txt").write_text("kept")
    (folder / "customer/other").mkdir()
    prepared.clear(folder, ENTRIES)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
        "customer",
        "customer/other",
        "mine.txt",
    ]


def test_other_tables_have_another_fingerprint(whole: Path, copy: Path) -> None:
    assert prepared.fingerprint(whole, VERSIONS) == prepared.fingerprint(copy, VERSIONS)
    table = copy / "v1.0-trainval/sample.json"
    table.write_text(table.read_text().replace("1", "2", 1))
    assert prepared.fingerprint(whole, VERSIONS) != prepared.fingerprint(copy, VERSIONS)
    table.unlink()
    with pytest.raises(RunError, match=r"sample\.json"):
        prepared.fingerprint(copy, VERSIONS)


def test_one_file_for_each_key_frame(whole: Path, folder: Path) -> None:
    assert not list(prepared.stray(whole, VERSIONS, folder, FILES))
    first, second, third, *_ = sorted((folder / "customer/npz").iterdir())
    first.unlink()
    second.write_bytes(b"PK\x03\x04")
    third.rename(third.with_name("0" * 32 + ".npz"))
    (folder / "customer/npz/x.part.npz").write_bytes(b"PK")
    missing, other, cut = prepared.stray(whole, VERSIONS, folder, FILES)
    assert "2 of 6 files are missing" in missing
    assert "1 files are of no key frame" in other
    assert "1 files are cut off" in cut
    (gone,) = prepared.stray(whole, VERSIONS, folder / "nowhere", FILES)
    assert "No such file" in gone


def test_a_counter_is_shown_by_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    view = StepView("toy")
    for number in range(101):
        view.feed(f"\r[>>>  ] {number}/100, 12.3 task/s, elapsed".encode())
    view.feed(b"")
    view.feed(b" path/2018/07 99999999999999999999/3 \n")
    view.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"toy: {number} of 100" for number in range(0, 101, 10)]
