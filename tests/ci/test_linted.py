"""The committed workflows before the services' own schemas and linters; none of them asks a host for anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.files import REPOSITORY

from builder.recipe.types import Catalog
from builder.render.ci import ACTIONS, FILES, render_ci
from builder.render.cibuilders import Ci, KubernetesBuilder, RemoteBuilder

GITHUB = tuple(
    path.relative_to(REPOSITORY).as_posix() for path in sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
)
IMAGES = REPOSITORY / ".github/workflows/images.yml"
GITLAB = tuple(path for path in FILES if path.startswith("ci/"))
SCRIPTS = sorted((REPOSITORY / "templates/ci").glob("*.sh"))


def tool(name: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program that the test group installs beside this Python."""
    here = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}
    command = (str(here / name), *words)
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, input=stdin, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        (("vendor.github-workflows",), GITHUB),
        (("custom.github-workflows-require-timeout",), GITHUB),
        (("vendor.gitlab-ci", "--data-transform", "gitlab-ci"), GITLAB),
    ],
)
def test_the_services_schemas(schema: tuple[str, ...], paths: tuple[str, ...]) -> None:
    done = tool("check-jsonschema", "--builtin-schema", *schema, *paths)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_schema_that_finds_nothing_would_be_noticed(tmp_path: Path) -> None:
    broken = tmp_path / "images.yml"
    broken.write_text(IMAGES.read_text().replace("runs-on:", "runs_on:", 1))
    assert tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(broken)).returncode == 1


def test_the_action_linter() -> None:
    done = tool("actionlint", "-no-color", *GITHUB)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_action_linter_sees_what_a_schema_cannot(tmp_path: Path) -> None:
    broken = tmp_path / "images.yml"
    text = IMAGES.read_text()
    broken.write_text(text.replace("needs.plan.outputs.any == 'true'", "needs.plans.outputs.any == 'true'", 1))
    done = tool("actionlint", "-no-color", str(broken))
    assert 'property "plans" is not defined' in done.stdout


def test_the_security_linter_has_nothing_to_say() -> None:
    done = tool("zizmor", "--offline", "--no-progress", "--persona", "pedantic", *GITHUB)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings" in done.stdout + done.stderr


def test_the_security_linter_would_have(tmp_path: Path) -> None:
    broken = tmp_path / "images.yml"
    text = IMAGES.read_text()
    broken.write_text(text.replace("pull_request:", "pull_request_target:", 1))
    done = tool("zizmor", "--offline", "--no-progress", str(broken))
    assert "dangerous-triggers" in done.stdout
    assert done.returncode != 0


def test_what_is_not_rendered_pins_the_same_actions() -> None:
    known = {str(action) for action in ACTIONS.values()}
    for path in GITHUB:
        found = [
            line.partition("uses: ")[2] for line in (REPOSITORY / path).read_text().splitlines() if "uses: " in line
        ]
        assert found
        assert set(found) <= known, path


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_sound(path: Path) -> None:
    text = path.read_text()
    begin, dash, _ = path.stem.partition("-")
    if dash and begin in ("plan", "open"):
        # The end of a step, one for each service.
        text = (path.parent / f"{begin}.sh").read_text() + text
    done = tool("shellcheck", "--shell=bash", "--external-sources", "-", stdin=text)
    assert done.returncode == 0, done.stdout


def _scripts(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what GitLab's runner makes of each job: its parts one after the other, in one shell."""
    for name, job in value.items():
        if isinstance(job, dict) and "script" in job:
            yield name, "\n".join(job["script"])


@pytest.mark.parametrize("path", GITLAB)
def test_gitlabs_scripts_are_sound_as_they_stand(path: str) -> None:
    found = list(_scripts(yaml.safe_load((REPOSITORY / path).read_text())))
    assert found
    for name, text in found:
        done = tool("shellcheck", "--shell=bash", "-", stdin=text)
        assert done.returncode == 0, f"{name}\n{done.stdout}"


@pytest.fixture(scope="module")
def farmed(catalog: Catalog, templates: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the workflows of a site that builds elsewhere."""
    site = Ci(
        builders={
            "x86_64": RemoteBuilder(endpoint="tcp://buildkit.example:1234"),
            "aarch64": KubernetesBuilder(options={"namespace": "build", "replicas": "4"}, config="ci/buildkitd.toml"),
        }
    )
    folder = tmp_path_factory.mktemp("farmed")
    for path, text in render_ci(catalog, templates, site).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_with_builders_elsewhere_nobody_has_anything_to_say(farmed: Path) -> None:
    github, gitlab = str(farmed / ".github/workflows/images.yml"), [str(farmed / path) for path in GITLAB]
    assert "DRIVEBUILD_BUILDERS" in Path(github).read_text()
    for words in (
        ("check-jsonschema", "--builtin-schema", "vendor.github-workflows", github),
        ("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", *gitlab),
        ("actionlint", "-no-color", github),
        ("zizmor", "--offline", "--no-progress", "--persona", "pedantic", github),
    ):
        done = tool(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    jobs = yaml.safe_load((farmed / "ci/gitlab-jobs.yml").read_text())
    for name, text in _scripts(jobs):
        done = tool("shellcheck", "--shell=bash", "-", stdin=text)
        assert done.returncode == 0, f"{name}\n{done.stdout}"
