"""`sbom`, `diff` and `explain` on small real images, hostile ones among them; nothing of an image is executed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from support.snapshots import AFTER, MANIFEST, SITE, archive, distribution
from typer.testing import CliRunner

from builder.cli.main import app
from builder.engine.host import Engine
from builder.engine.process import Result, SystemRunner

pytestmark = pytest.mark.docker
BASE = "localhost/drivebuild/base:debian-12"
HEAD = f"FROM {BASE}\nADD files.tar /\n"
WHOLE = (
    HEAD + "RUN printf 'new\\n' > /opt/venv/lib/python3.11/site-packages/mmtoy/__init__.py\n"
    "WORKDIR /workspace/toy/Toy\nLABEL a=b\nUSER 1000\n"
)
OTHER = HEAD + "RUN rm -r /workspace/toy/Toy/README.md; printf x > /srv/more\nENV A=c\nUSER 0\n"
ESCAPE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def drivebuild(*words: str) -> Result:
    # In this process: a command's own start would be most of the time of so many.
    done = CliRunner().invoke(app, list(words))
    return Result(done.exit_code, done.stdout_bytes, done.stderr_bytes)


def files() -> dict[str, Any]:
    return {
        **distribution("mmtoy", "1.0", {"mmtoy/__init__.py": b"old\n", "mmtoy/ops.py": b"x\n"}, more="License: MIT\n"),
        **distribution("numbers", "2.0", {"numbers.py": b"1\n"}, more="License: GPL-3.0\n"),
        "opt/drivebuild/manifest.json": json.dumps(MANIFEST),
        "opt/drivebuild/locks/model.txt": f"numbers==2.0 --hash=sha256:{'e' * 64}\n",
        "workspace/toy/Toy/train.py": AFTER,
        "workspace/toy/Toy/README.md": b"read me\n",
        "srv/stray": b"12345",
    }


def built(folder: Path, dockerfile: str, tag: str, content: dict[str, Any]) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "files.tar").write_bytes(archive(content))
    (folder / "Dockerfile").write_text(dockerfile)
    done = SystemRunner().run(("docker", "build", "--tag", tag, str(folder)))
    assert done.code == 0, done.complaint
    return tag


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is remembered of images out of the user's own; the tests of this file share it."""
    folder = tmp_path_factory.getbasetemp() / "provenance-home"
    for name in ("STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
    return folder


@pytest.fixture(scope="module")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("provenance")
    found = {
        "whole": built(folder / "a", WHOLE, "drivebuild-test/provenance:whole", files()),
        "other": built(folder / "b", OTHER, "drivebuild-test/provenance:other", files()),
    }
    yield found
    SystemRunner().run(("docker", "image", "rm", "--force", *found.values()))


def leftovers() -> str:
    return SystemRunner().run(("docker", "ps", "--all", "--quiet", "--filter", "label=drivebuild.contents")).text


def test_what_is_in_an_image_is_read_and_nothing_is_left(images: dict[str, str]) -> None:
    table = drivebuild("sbom", images["whole"])
    assert table.code == 0, table.complaint
    lines = table.text.splitlines()
    assert lines[0].startswith("drivebuild/toy:plat-lto@sha256:")
    rows = {tuple(line.split()[:2]): line for line in lines if line}
    assert "GPL-3.0-only" in rows["python", "numbers"]
    assert rows["wheel", "mmtoy"].split()[4] == "1", "one file is not what was installed"
    assert rows["deb", "libc6"].split()[3] != "0"
    assert ("source", "toy") in rows
    debs = SystemRunner().run(("docker", "run", "--rm", images["whole"], "dpkg-query", "--show")).text.splitlines()
    assert lines[1].startswith(f"Debian packages: {len(debs)}, ")
    assert leftovers() == ""


def test_both_documents_are_valid_and_the_same_again(images: dict[str, str], tmp_path: Path) -> None:
    for form, name in (("cyclonedx", "a.json"), ("spdx", "a.spdx.json")):
        done = drivebuild("sbom", images["whole"], "--format", form, "--output", str(tmp_path / name))
        assert done.code == 0, done.complaint
        assert drivebuild("sbom", images["whole"], "--format", form).stdout == (tmp_path / name).read_bytes()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str((tmp_path / "a.json").read_text()) is None
    assert validate_full_spdx_document(parse_file(str(tmp_path / "a.spdx.json"))) == []


def test_rules_have_an_exit_code_of_their_own(images: dict[str, str], tmp_path: Path) -> None:
    words = ("sbom", images["whole"], "--kind", "python", "--fail-on")
    failed = drivebuild(*words, "gpl,non-commercial")
    assert failed.code == 9
    assert "gpl: python numbers 2.0: GPL-3.0-only" in failed.complaint
    assert drivebuild(*words, "gpl", "--allow", "numbers").code == 0
    events = [{"introduced": "0"}, {"fixed": "2.0.1"}]
    package = {"ecosystem": "PyPI", "name": "numbers"}
    affected = [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
    (tmp_path / "TOY-1.json").write_text(json.dumps({"id": "TOY-1", "summary": "bad \x1b[2J", "affected": affected}))
    found = drivebuild(*words, "vulnerability", "--vulnerabilities", str(tmp_path))
    assert found.code == 9
    assert re.search(r"unknown\s+TOY-1\s+numbers\s+2\.0\s+2\.0\.1\s+bad \\x1b\[2J", found.text)
    assert not ESCAPE.search(found.text + found.complaint)


def test_what_two_images_differ_in(images: dict[str, str]) -> None:
    data = json.loads(drivebuild("diff", images["whole"], images["other"], "--json").text)
    told = {each["path"]: each["how"] for each in data["files"]}
    assert told == {
        f"/{SITE}/mmtoy/__init__.py": "content",
        "/srv/more": "added",
        "/workspace/toy/Toy/README.md": "removed",
    }
    config = {(each["group"], each["name"]): (each["before"], each["after"]) for each in data["config"]}
    assert config["label", "a"] == ("b", "")
    assert config["user", "user"] == ("1000", "0")
    assert config["environment", "A"] == ("", "c")
    assert data["layers"][0]["shared"]
    assert [each["name"] for each in data["packages"]] == ["python mmtoy"]
    assert drivebuild("diff", images["whole"], images["other"], "--exit-code").code == 8
    same = drivebuild("diff", images["whole"], images["whole"], "--exit-code")
    assert same.code == 0
    assert "no difference" in same.text


def test_where_a_file_comes_from(engine: Engine, images: dict[str, str]) -> None:
    data = json.loads(drivebuild("explain", images["whole"], "mmtoy/__init__.py", "--json").text)
    facts = dict(data["facts"])
    assert facts["compiled wheel"] == "mmtoy 1.0"
    assert [step["change"]["what"] for step in data["steps"]] == ["mmtoy.patch"]
    assert data["verdict"] == "the file is what the last step left"
    if engine.layer_folders(images["whole"]):
        image = engine.image(images["whole"])
        assert image is not None
        # The base, the archive and what changed it; WORKDIR makes no folder that is there.
        number = len(image.layers) - 1 if "RUN" in facts["instruction"] else -1
        assert facts["layer"].startswith(f"3 of {len(image.layers)}, "), (number, facts)
        assert facts["hides"] == "the same path in layer 2"
    told = drivebuild("explain", images["whole"], "/bin/bash")
    assert "Debian package" in told.text
    absent = drivebuild("explain", images["whole"], "/workspace/toy/Toy/trian.py")
    assert absent.code == 2
    assert "/workspace/toy/Toy/train.py" in absent.complaint


EVIL = "a\n\x1b]0;owned\x07\x1b[2J\udcff"
HOSTILE: dict[str, Any] = {
    f"srv/{EVIL}": b"1",
    f"srv/{EVIL} link": ("link", EVIL),
    "srv/one": ("link", "two"),
    "srv/two": ("link", "one"),
    "srv/up": ("link", "../../../../../../etc/shadow"),
    **distribution("evil", "1", {}, more="License: \x1b[31mred\x1b[0m\nSummary: \x07\n"),
    f"{SITE}/loop-1.dist-info/METADATA": ("link", "METADATA"),
    f"{SITE}/bad-1.dist-info/METADATA": b"\x00\xff\xfe" * 100,
    f"{SITE}/bad-1.dist-info/RECORD": b'"\n,,,\n../../../../../etc/passwd,sha256=x,1\n' * 50,
    f"{SITE}/huge-1.dist-info/METADATA": b"Name: huge\nVersion: 1\nLicense: " + b"(" * (17 << 20),
    f"{SITE}/{EVIL}-1.dist-info/METADATA": f"Name: {EVIL!r}\nVersion: \x1b[2J\n",
    "var/lib/dpkg/status.d/evil": "Package: evil\x1b[2J\nStatus: install ok installed\nVersion: \x1b[31m1\n",
    "opt/drivebuild/manifest.json": json.dumps(
        {"model": "\x1b[2J", "applied": {"tree": [{"do": "\x1b[31m", "files": [{"path": 5}]}]}}
    ),
}


@pytest.fixture(scope="module")
def hostile(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hostile")
    tag = "drivebuild-test/provenance:hostile"
    # Its own python3 and dpkg are what nobody may run.
    text = f'FROM {BASE}\nRUN ln -sf /bin/false /usr/bin/dpkg\nADD files.tar /\nVOLUME /srv\nENTRYPOINT ["/never"]\n'
    yield built(folder, text, tag, HOSTILE)
    SystemRunner().run(("docker", "image", "rm", "--force", tag))


@pytest.mark.parametrize(
    "words",
    [
        ("sbom",),
        ("sbom", "--unowned"),
        ("sbom", "--format", "licences"),
        ("sbom", "--format", "cyclonedx"),
        ("sbom", "--format", "spdx"),
    ],
    ids=" ".join,
)
def test_a_hostile_image_is_listed_and_its_names_steer_nothing(hostile: str, words: tuple[str, ...]) -> None:
    done = drivebuild(words[0], hostile, *words[1:])
    assert done.code == 0, done.complaint
    assert not ESCAPE.search(done.stdout.decode()), "no raw control character"
    assert not ESCAPE.search(done.stderr.decode())
    assert "huge" in done.text
    assert leftovers() == ""


def test_a_hostile_image_is_compared_and_explained(hostile: str, images: dict[str, str]) -> None:
    for words in (("diff", images["whole"], hostile, "--all", "--files"), ("explain", hostile, "/srv/one")):
        done = drivebuild(*words)
        assert done.code == 0, done.complaint
        assert not ESCAPE.search(done.stdout.decode())
    absent = drivebuild("explain", hostile, "/srv/\x1b[2Jx")
    assert absent.code == 2
    assert not ESCAPE.search(absent.stderr.decode())
    up = drivebuild("explain", hostile, "/srv/up")
    assert "/etc/shadow" in up.text, "the image's own, not this machine's"


def test_no_such_image(engine: Engine) -> None:
    for words in (("sbom", "absent/image:1"), ("diff", BASE, "absent/image:1"), ("explain", "absent/image:1", "/x")):
        done = drivebuild(*words)
        assert done.code == 6
        assert "there is no image absent/image:1" in done.complaint
