"""Every compose file against the compose specification's own JSON schema, and through the real `docker compose config`.

The schema is not kept here: it comes from the distribution's package of compose-go, whose archive apt checks.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.files import REPOSITORY

PACKAGE = "golang-github-compose-spec-compose-go-dev"
SCHEMA = "usr/share/gocode/src/github.com/compose-spec/compose-go/schema/compose-spec.json"
ROOTS = ("compose.yaml", "compose.ascend.yaml", "compose.cpu.yaml")
FILES = sorted([*ROOTS, *(path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("compose/**/*.yaml"))])


def run(*command: str, folder: Path = REPOSITORY, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.endswith("_ROOT")}
    return subprocess.run(
        command, cwd=folder, env={**known, **environment}, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the schema: the installed one, or out of the archive that apt downloads and checks."""
    installed = Path("/") / SCHEMA
    if installed.exists():
        return json.loads(installed.read_text(encoding="utf-8"))
    folder = tmp_path_factory.mktemp("schema")
    said = ""
    try:
        said = run("apt-get", "download", PACKAGE, folder=folder).stderr
        archives = list(folder.glob("*.deb"))
        if archives:
            run("dpkg-deb", "--extract", str(archives[0]), str(folder))
            return json.loads((folder / SCHEMA).read_text(encoding="utf-8"))
    except OSError as error:
        said = str(error)
    reason = f"NO SCHEMA: apt-get download {PACKAGE}: {said.strip()}"
    if os.environ.get("DRIVEBUILD_TEST_ENGINE") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize("path", FILES)
def test_a_file_is_valid_by_the_specification(path: str, schema: Any) -> None:
    document = yaml.safe_load((REPOSITORY / path).read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(document)


def test_the_schema_finds_mistakes(schema: Any) -> None:
    document = yaml.safe_load((REPOSITORY / "compose/panoocc.yaml").read_text(encoding="utf-8"))
    document["services"]["panoocc-train-8p"]["stop_grace"] = "60s"
    with pytest.raises(jsonschema.ValidationError, match="stop_grace"):
        jsonschema.Draft7Validator(schema).validate(document)


@pytest.mark.docker
@pytest.mark.parametrize("root", ROOTS)
def test_compose_reads_all_services_without_a_word(root: str, tmp_path: Path) -> None:
    empty = tmp_path / "env"
    empty.write_text("")
    words = ("--env-file", str(empty), "-f", root, "--profile", "*", "config", "--format", "json")
    done = run("docker", "compose", *words)
    assert (done.returncode, done.stderr) == (0, "")
    resolved = json.loads(done.stdout)
    written = {
        name
        for path in yaml.safe_load((REPOSITORY / root).read_text())["include"]
        for name in yaml.safe_load((REPOSITORY / path["path"]).read_text())["services"]
    }
    assert set(resolved["services"]) == written
    runs = {m["source"] for s in resolved["services"].values() for m in s["volumes"] if m["target"] == "/runs"}
    assert runs == {str(REPOSITORY / "runs")}
