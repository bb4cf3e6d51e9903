"""What a driver, a firmware and npu-smi say, and what it means for a platform."""

from __future__ import annotations

import pytest
from support.hosts import DRIVER, FIRMWARE, TWO_CHIPS, npu_smi

from builder.engine.npu import (
    Npu,
    device_text,
    judge_driver,
    judge_firmware,
    parse_devices,
    parse_npu_smi,
    parse_version_info,
    version_key,
)
from builder.errors import UsageError
from builder.recipe.types import Catalog


def test_drivers_are_ordered_as_huawei_numbers_them() -> None:
    ordered = ["23.0.7", "24.1.RC1", "24.1.rc2.2", "24.1.RC3", "24.1.0", "25.0.RC1", "25.0.rc1.1", "25.2.0", "25.3.rc1"]
    assert sorted(ordered, key=version_key) == ordered
    assert version_key("24.1.rc1.b030") == version_key("24.1.RC1")


@pytest.mark.parametrize(
    ("platform", "driver", "state", "why"),
    [
        ("cann-8.2.rc1", "25.2.0", "ok", "in the table"),
        ("cann-8.2.rc1", "25.0.rc1.1", "ok", "in the table"),
        ("cann-8.2.rc1", "24.1.rc2.2", "ok", "in the table"),
        ("cann-8.2.rc1", "24.1.rc1", "FAIL", "wants 24.1.RC2 or newer"),
        ("cann-8.2.rc1", "23.0.7", "FAIL", "wants 24.1.RC2 or newer"),
        ("cann-8.2.rc1", "25.3.rc1", "warn", "newer than 25.2.0"),
        ("cann-8.2.rc1", "25.1.0", "warn", "older than 25.2.0"),
        ("cann-8.1.rc1", "24.1.0", "warn", "how old it may be is not known"),
        ("cann-8.1.rc1", "25.0.rc1.1", "ok", "in the table"),
        ("cann-8.0.0", "24.1.0.1", "ok", "in the table"),
        ("cann-8.0.0", "unknown", "warn", "no version"),
    ],
)
def test_a_driver_against_the_table(catalog: Catalog, platform: str, driver: str, state: str, why: str) -> None:
    cann = catalog.platforms[platform].cann
    assert cann is not None
    verdict = judge_driver(driver, cann)
    assert verdict.state == state
    assert why in verdict.why


def test_the_tables_of_one_cann_are_equal_on_every_system(catalog: Catalog) -> None:
    tables: dict[str, set[tuple[object, ...]]] = {}
    for platform in catalog.platforms.values():
        if platform.cann:
            cann = platform.cann
            tables.setdefault(cann.version, set()).add((cann.hdk_recommended, cann.hdk_floor, cann.hdk_compatible))
    assert {version: len(found) for version, found in tables.items()} == {"8.0.0": 1, "8.1.RC1": 1, "8.2.RC1": 1}


@pytest.mark.parametrize(
    ("firmware", "wanted", "state"),
    [
        ("7.7.0.1.231", "[6.4.0,6.4.99],[7.0.0,7.7.99]", "ok"),
        ("7.5.0.1.129", "[7.0.0,7.5.99]", "ok"),
        ("7.7.99.3", "[7.0.0,7.7.99]", "ok"),
        ("7.8.0.1.231", "[7.0.0,7.7.99]", "FAIL"),
        ("6.5.0", "[6.4.0,6.4.99],[7.0.0,7.7.99]", "FAIL"),
        ("7.7.0", "", "warn"),
        ("", "[7.0.0,7.7.99]", "warn"),
    ],
)
def test_a_firmware_against_its_driver(firmware: str, wanted: str, state: str) -> None:
    assert judge_firmware(firmware, wanted).state == state


def test_version_files() -> None:
    driver = parse_version_info(DRIVER.format(version="25.0.rc1.1").replace("\n", "\r\n") + "torn")
    assert driver["Version"] == "25.0.rc1.1"
    assert driver["compatible_version_fw"] == "[6.4.0,6.4.99],[7.0.0,7.7.99]"
    assert parse_version_info(FIRMWARE.format(version="7.7.0.1.231"))["Version"] == "7.7.0.1.231"
    assert parse_version_info("") == {}


def test_npu_smi() -> None:
    found = parse_npu_smi(npu_smi(8, ill=(3,), busy=(0, 5)))
    assert found is not None
    assert found.version == "25.0.rc1.1"
    assert found.npus[0] == Npu(0, "910B3", "OK")
    assert [npu.number for npu in found.npus if npu.health != "OK"] == [3]
    assert found.busy == {0: ("python (4120)",), 5: ("python (4125)",)}


def test_npu_smi_with_two_chips_a_card() -> None:
    found = parse_npu_smi(TWO_CHIPS)
    assert found is not None
    assert found.npus == (Npu(0, "Ascend910", "Alarm"),)
    assert not found.busy


@pytest.mark.parametrize("text", ["", "npu-smi: command not found", "dcmi model initialized failed, because ...\n"])
def test_what_is_not_the_table(text: str) -> None:
    assert parse_npu_smi(text) is None


@pytest.mark.parametrize(
    ("text", "numbers"), [("0-3", (0, 1, 2, 3)), ("0,2,5", (0, 2, 5)), ("0-1, 4", (0, 1, 4)), ("7", (7,))]
)
def test_devices(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_devices(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "0-", "-1", "3-0", "0,,1", "0-1,1", "2,2", "0-99", "9999", "0;1"])
def test_devices_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match="--devices"):
        parse_devices(text)


def test_devices_in_short() -> None:
    assert device_text((0, 1, 2, 5, 7)) == "0-2,5,7"
    assert device_text(()) == ""
