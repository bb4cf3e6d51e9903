"""Checks that cannot be made, and the stand-ins that let an import go on: both say so."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Load = Callable[[str], ModuleType]


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_cannot_be_made_is_neither_passed_nor_left_out(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    report = load("_report")

    def wants_device() -> None:
        raise RuntimeError("Initialize: NPU function error: aclInit, error code is 507899")

    def wants_data() -> None:
        try:
            raise report.NotHereError("needs data")
        except report.NotHereError as error:
            raise report.NotHereError(f"Dataset: {error}") from error

    def broken() -> None:
        raise KeyError("x")

    assert [report.guard(name, function) for name, function in (("a", wants_device), ("b", wants_data))] == [False] * 2
    with pytest.raises(SystemExit, match="0"):
        report.finish()
    assert not report.guard("c", broken)
    with pytest.raises(SystemExit, match="1"):
        report.finish()
    found = [(line["check"], line["ok"], line.get("unverified")) for line in lines(capsys)]
    assert found == [("a", True, "needs a device"), ("b", True, "needs data"), ("c", False, None)]


@pytest.mark.parametrize(("accelerator", "ok"), [("cpu", [True, True, False]), ("npu", [False, False, False])])
def test_what_only_npus_have_is_missing_only_where_there_are_npus(
    load: Load, capsys: pytest.CaptureFixture[str], tmp_path: Path, accelerator: str, ok: list[bool]
) -> None:
    def wants_npu() -> None:
        raise ModuleNotFoundError("No module named 'torch_npu.contrib'", name="torch_npu.contrib")

    def wants_what_that_registers() -> None:
        raise KeyError("Petr3D is not in the models registry")

    def broken() -> None:
        raise KeyError("Petr3D")

    attempts = load("_attempts").Attempts(accelerator, str(tmp_path))
    assert not any(attempts.attempt("x", check) for check in (wants_npu, wants_what_that_registers, broken))
    assert [line["ok"] for line in lines(capsys)] == ok


def test_what_run_time_patches_replace_is_missing_only_without_them(load: Load, tmp_path: Path) -> None:
    attempts = load("_attempts")
    (tmp_path / "migrate_to_ascend").mkdir()
    (tmp_path / "migrate_to_ascend" / "patch_main.py").touch()
    error = ModuleNotFoundError("No module named 'timm'", name="timm")
    assert "needs timm" in attempts.Attempts("npu", str(tmp_path)).reason(error)
    assert attempts.Attempts("npu", str(tmp_path / "other")).reason(error) == ""


def test_a_package_that_is_missing_can_be_imported_and_not_called(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    report = load("_report")
    load("_stand_ins").install()
    report.report("before", True)
    try:
        fused = importlib.import_module("mx_driving.fused")
        package = importlib.import_module("mx_driving")

        class Derived(fused.ModulatedDeformConv2dFunction):  # type: ignore[misc,name-defined]
            pass

        assert Derived.__mro__ == (Derived, object)
        with pytest.raises(report.NotHereError, match="not compiled here"):
            package.bev_pool_v3(1)
        with pytest.raises(report.NotHereError):
            fused.ModulatedDeformConv2dFunction.apply(1)
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("mx_driven")
        report.report("after", True)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "mx_driving"]:
            del sys.modules[name]
    assert [line["check"] for line in lines(capsys)] == ["before", "after (with a stand-in for mx_driving)"]


def test_the_device_queries_are_answered_only_while_the_package_is_loaded(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    npu = ModuleType("torch_npu.npu")
    npu.device_count = lambda: 0  # type: ignore[attr-defined]
    npu.get_device_name = lambda _index: ""  # type: ignore[attr-defined]
    torch_npu = ModuleType("torch_npu")
    torch_npu.npu = npu  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_npu", torch_npu)
    stand_ins, report = load("_stand_ins"), load("_report")
    with stand_ins._devices():
        assert report.STAND_INS == []
        assert (npu.device_count(), npu.get_device_name(0)) == (1, stand_ins.DEVICE)
    assert npu.device_count() == 0
    assert report.STAND_INS == ["the device queries"]
