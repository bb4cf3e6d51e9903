"""CycloneDX and SPDX: held against their libraries' own validators, and equal for equal images."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from support.snapshots import FACTS, SITE, distribution, inventory, snapshot, toy_files

from builder.provenance.cyclonedx import to_cyclonedx
from builder.provenance.document import created_of, depends, name_of
from builder.provenance.gather import gather
from builder.provenance.purl import purl_of
from builder.provenance.spdx import spdx_document, to_spdx
from builder.provenance.vulnerable import Finding

FINDING = Finding(
    id="OSV-1",
    aliases=("CVE-1",),
    key=f"python:numbers:2.0:/{SITE}",
    kind="python",
    name="numbers",
    version="2.0",
    severity="high",
    score=7.5,
    vector="CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H",
    fixed=("2.1",),
    summary="bad\x1b[2J",
    modified="2026-01-01T00:00:00Z",
)
EVIL = {
    **distribution("evil", "1", {"e.py": b""}, more="License: \x1b[31m very own\tlicence\nAuthor: x\n"),
    "var/lib/dpkg/status": "Package: x\x1b[2J\nVersion: 1<script>\nArchitecture: \x07\n"
    "Maintainer: \x00a\nStatus: ok installed\n",
    "srv/a\n\x1b[2J": b"",
}


@pytest.fixture(scope="module", params=["whole", "hostile", "empty"])
def files(request: pytest.FixtureRequest) -> dict[str, Any]:
    whole = toy_files()
    return {"whole": whole, "hostile": whole | EVIL, "empty": {"bin/sh": b""}}[str(request.param)]


def test_cyclonedx_is_valid(files: dict[str, Any]) -> None:
    text = to_cyclonedx(inventory(files))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def test_spdx_is_valid(files: dict[str, Any], tmp_path: Any) -> None:
    whole = inventory(files)
    assert validate_full_spdx_document(spdx_document(whole)) == []
    path = tmp_path / "a.spdx.json"
    path.write_text(to_spdx(whole))
    assert validate_full_spdx_document(parse_file(str(path))) == []


@pytest.mark.parametrize("write", [to_cyclonedx, to_spdx])
def test_the_same_image_gives_the_same_bytes(write: Any) -> None:
    files = toy_files()
    turned = dict(reversed(files.items()))
    turned["srv/stray"] = turned.pop("srv/stray")
    turned["srv/again"] = turned.pop("srv/again")
    once, again = inventory(files), inventory(turned)
    assert write(once) == write(again)
    other = gather(snapshot(files, identity="sha256:" + "1" * 64), FACTS)
    assert write(once) != write(other)


def test_what_cyclonedx_says_of_a_changed_wheel() -> None:
    data = json.loads(to_cyclonedx(inventory(), [FINDING]))
    found = {each["bom-ref"].split(":")[1]: each for each in data["components"]}
    wheel = found["mmtoy"]
    assert wheel["purl"] == "pkg:pypi/mmtoy@1.0"
    (patch,) = wheel["pedigree"]["patches"]
    assert "overlay-mmtoy 0: patch mmtoy.patch sha256:" + "d" * 64 in patch["diff"]["text"]["content"]
    assert {"name": "drivebuild:changed-after-installation", "value": f"/{SITE}/mmtoy/__init__.py"} in wheel[
        "properties"
    ]
    assert found["toy"]["purl"] == f"pkg:github/some/toy@{'1' * 40}"
    assert found["libtoy1"]["purl"].startswith("pkg:deb/debian/libtoy1@1:2.0-1%2Bb1?arch=amd64&distro=debian-12")
    assert found["numbers"]["hashes"] == [{"alg": "SHA-256", "content": "e" * 64}]
    assert data["metadata"]["component"]["name"] == "drivebuild/toy:plat-lto"
    assert data["metadata"]["timestamp"].startswith("2026-01-02T03:04:05")
    (vulnerability,) = data["vulnerabilities"]
    assert vulnerability["ratings"][0]["score"] == 7.5
    assert vulnerability["affects"] == [{"ref": FINDING.key}]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(data)) is None


def test_who_needs_whom() -> None:
    graph = {key.split(":")[1]: [each.split(":")[1] for each in needed] for key, needed in depends(inventory()).items()}
    assert graph["libtoy1"] == ["libc6"]
    assert graph["numbers"] == ["mmtoy"]
    assert graph["mmtoy"] == ["mmtoy-sdist"]


def test_markers_are_the_images_and_not_this_pythons() -> None:
    more = 'Requires-Dist: numbers; python_version < "3"\nRequires-Dist: mmtoy; sys_platform == "linux"\n'
    more += "Requires-Dist: ((\n"
    whole = inventory(toy_files() | distribution("asks", "1", {}, more=more))
    needed = next(value for key, value in depends(whole).items() if ":asks:" in key)
    assert [each.split(":")[1] for each in needed] == ["mmtoy"]


def test_an_image_that_does_not_say_when_or_what_it_is() -> None:
    from msgspec.structs import replace

    whole = inventory({"bin/sh": b""})
    assert name_of(whole) == "image"
    strange = replace(whole, snapshot=replace(whole.snapshot, created="yesterday"))
    assert created_of(strange).year == 1970
    labels = {"drivebuild.model": "m", "drivebuild.platform": "p", "drivebuild.variant": "stock"}
    assert name_of(inventory({"bin/sh": b""}, labels=labels)) == "drivebuild/m:p-stock"


def test_every_package_but_our_own_records_has_a_url() -> None:
    assert [each.name for each in inventory().packages if not purl_of(each)] == ["drivebuild"]


def test_spdx_names_vulnerabilities_and_changes() -> None:
    data = json.loads(to_spdx(inventory(), [FINDING]))
    numbers = next(each for each in data["packages"] if each["name"] == "numbers")
    assert {each["referenceType"] for each in numbers["externalRefs"]} == {"purl", "advisory"}
    wheel = next(each for each in data["packages"] if each["name"] == "mmtoy")
    assert "mmtoy.patch" in wheel["sourceInfo"]
