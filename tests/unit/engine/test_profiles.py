"""Profiles that are kept: by content, whole, and taken for a plan only when they were made of the same things."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from builder.engine.profiles import FILE, MAGIC, Compiler, Profile, Provenance, all_profiles, find_profile, keep
from builder.errors import BuildError, UsageError
from builder.plan.make import make_plan
from builder.plan.optimise import fingerprint
from builder.plan.stage import Plan
from builder.recipe.types import Catalog

PLATFORM = "debian-12-cpu"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "drivebuild" / "profiles"


@pytest.fixture
def use(catalog: Catalog) -> Plan:
    return make_plan(catalog, "streampetr", platform=PLATFORM, variant="pgo")


def made(plan: Plan, folder: Path, text: bytes = b"counts", **changes: object) -> Profile:
    """Keep a profile of what the plan compiles, but for the changes."""
    file = folder / "made.profdata"
    file.write_bytes(text)
    pins = {"mmcv-full-1.7.2-sdist": label(plan, "mmcv-full-1.7.2-sdist"), "streampetr": "git:0"}
    provenance = Provenance(
        sha256=hashlib.sha256(text).hexdigest(),
        fingerprint=fingerprint(plan),
        compiler=Compiler(name="clang", version="clang 1", sha256="0"),
        sources=pins,
        when="2026-01-01T00:00:00Z",
    )
    return keep(file, msgspec.structs.replace(provenance, **changes))


def label(plan: Plan, source: str) -> str:
    image = next(stage for stage in plan.stages if stage.name == "image")
    return str(image.inputs["labels"][f"drivebuild.source.{source}"])


def test_one_is_kept_under_its_content_and_read_again(use: Plan, tmp_path: Path, state: Path) -> None:
    kept = made(use, tmp_path)
    assert kept.folder == state / hashlib.sha256(b"counts").hexdigest()
    assert sorted(path.name for path in kept.folder.iterdir()) == [FILE, "provenance.json"]
    assert all_profiles() == (kept,)
    again = made(use, tmp_path, model="another")
    assert again == kept, "what was said of it first stays"
    assert [path.name for path in state.iterdir()] == [kept.sha256], "nothing half-made is left"


def test_the_newest_that_fits_is_taken(use: Plan, tmp_path: Path) -> None:
    made(use, tmp_path)
    newer = made(use, tmp_path, b"more counts", when="2026-02-01T00:00:00Z")
    made(use, tmp_path, b"of something else", when="2026-03-01T00:00:00Z", fingerprint={"mmcv": "0" * 64})
    assert find_profile(use) == newer


def test_what_is_counted_for_instrument_fits_use_and_no_other_variant_has_any(catalog: Catalog, use: Plan) -> None:
    counting = make_plan(catalog, "streampetr", platform=PLATFORM, variant="pgo-instrument")
    assert fingerprint(counting) == fingerprint(use)
    other = make_plan(catalog, "pivotnet", platform=PLATFORM, variant="pgo")
    assert fingerprint(other) == fingerprint(use), "models share what they compile alike"
    assert fingerprint(make_plan(catalog, "streampetr", platform=PLATFORM, variant="lto")) == {}
    with_profile = make_plan(catalog, "streampetr", platform=PLATFORM, variant="pgo", profile="a" * 64)
    assert fingerprint(with_profile) == fingerprint(use)


def test_none_that_fits_says_why_and_what_to_do(use: Plan, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        find_profile(use)
    assert caught.value.message == "there is no profile for drivebuild/streampetr:debian-12-cpu-pgo"
    assert caught.value.hint == "`drivebuild profile streampetr --platform debian-12-cpu` makes one"
    old = {"mmcv-full-1.7.2-sdist": "sha256:old", "streampetr": "git:1"}
    made(use, tmp_path, fingerprint={"mmcv": "0" * 64}, sources=old)
    made(use, tmp_path, b"flags", fingerprint={"mmcv": "0" * 64})
    made(use, tmp_path, b"none", fingerprint={"ops": "0" * 64})
    made(use, tmp_path, b"brought", fingerprint={})
    with pytest.raises(BuildError) as caught:
        find_profile(use)
    assert "none of the 4 kept ones fits" in caught.value.message
    assert "mmcv has another commit of mmcv-full-1.7.2-sdist now" in caught.value.message
    assert "mmcv has another source, change, flag or compiler now" in caught.value.message
    assert "mmcv was not in it" in caught.value.message
    assert "nobody wrote down what it was made of" in caught.value.message


def test_one_is_named_by_its_sha256(use: Plan, tmp_path: Path) -> None:
    kept = made(use, tmp_path)
    assert find_profile(use, kept.sha256[:12]) == kept
    wrong = made(use, tmp_path, b"other", fingerprint={"mmcv": "0" * 64})
    with pytest.raises(BuildError, match="does not fit drivebuild/streampetr:debian-12-cpu-pgo: mmcv has another"):
        find_profile(use, wrong.sha256)
    with pytest.raises(UsageError, match="no kept profiles have this sha256"):
        find_profile(use, "0123456789ab")


def test_one_is_named_by_its_path(use: Plan, tmp_path: Path) -> None:
    file = tmp_path / "brought" / FILE
    file.parent.mkdir()
    file.write_bytes(MAGIC + b"mine")
    for path in (file, file.parent):
        found = find_profile(use, str(path))
        assert (found.folder / FILE).read_bytes() == MAGIC + b"mine"
        assert found.provenance == Provenance(sha256=hashlib.sha256(MAGIC + b"mine").hexdigest())
    told = {"sha256": hashlib.sha256(MAGIC + b"told").hexdigest(), "fingerprint": {"mmcv": "0" * 64}}
    file.write_bytes(MAGIC + b"told")
    (file.parent / "provenance.json").write_text(json.dumps(told))
    with pytest.raises(BuildError, match="mmcv has another source"):
        find_profile(use, str(file))
    file.write_bytes(b"")
    with pytest.raises(UsageError, match="is empty"):
        find_profile(use, str(file))
    file.write_bytes(b"root:x:0:0")
    with pytest.raises(UsageError, match="is no merged profile of LLVM"):
        find_profile(use, str(file))
    with pytest.raises(UsageError, match="No such file"):
        find_profile(use, str(tmp_path / "nowhere"))


def test_what_is_no_profile_is_passed_over(use: Plan, tmp_path: Path, state: Path) -> None:
    kept = made(use, tmp_path)
    for name, text in (("a" * 64, "{"), ("b" * 64, '{"sha256": 3}'), ("note", "{}")):
        (state / name).mkdir()
        (state / name / "provenance.json").write_text(text)
    assert all_profiles() == (kept,)
