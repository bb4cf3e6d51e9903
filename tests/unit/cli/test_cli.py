"""The command line without an engine: what it prints, its exit codes, and that nothing is half-written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from builder.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
MODELS = ("flashocc", "panoocc", "pivotnet", "streampetr", "tpvformer")
COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)


def drivebuild(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def refused(result: Result, code: int) -> str:
    """Return the error text of a refused command; a traceback is never what a user sees."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_is_in_the_readme(command: str) -> None:
    result = drivebuild(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 4
    assert f"drivebuild {command}" in (ROOT / "README.md").read_text()


def test_list_shows_five_models() -> None:
    data = json.loads(drivebuild("list", "--json").output)
    assert tuple(model["name"] for model in data["models"]) == MODELS
    assert all(model in drivebuild("list").output for model in MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_show_has_pins_licences_and_results(model: str) -> None:
    text = drivebuild("show", model).output
    assert "Atlas 800T A2" in text
    assert "has not measured them on hardware" in text
    data = json.loads(drivebuild("show", model, "--json").output)
    assert data["licence"]
    assert len(data["sources"][data["tree"]["source"]]["commit"]) == 40


def test_plan_names_who_shares_a_stage() -> None:
    data = json.loads(drivebuild("plan", "streampetr", "--platform", "debian-12-cpu", "--lto", "--json").output)
    stages = {stage["name"]: stage for stage in data["stages"]}
    assert set(stages["mmcv"]["shared_with"]) == set(MODELS) - {"streampetr"}
    assert stages["image"]["shared_with"] == []
    assert "python-lto" in stages["env"]["needs"]
    assert "python-lto" not in stages["mmcv"]["needs"]


def test_graph_in_three_forms() -> None:
    assert drivebuild("graph", "pivotnet").output.startswith("flowchart LR")
    assert drivebuild("graph", "pivotnet", "--dot").output.startswith("digraph")
    data = json.loads(drivebuild("graph", "pivotnet", "--json").output)
    assert ["torch", "mmcv"] in data["edges"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("plan", "streampter"), 4, "did you mean 'streampetr'?"),
        (("plan", "streampetr", "--platform", "cann-8.1.rc"), 4, "did you mean 'cann-8.1.rc1'?"),
        (("plan", "streampetr", "--variant", "lt"), 4, "did you mean 'lto'?"),
        (("plan", "streampetr", "--lto", "--variant", "stock"), 2, "contradict each other"),
        (("plan", "streampetr", "--option", "attention"), 2, "expected NAME=CHOICE"),
        (("plan", "streampetr", "--option", "attention=upstrem"), 4, "did you mean 'upstream'?"),
        (("plan", "streampetr", "--platform", "debian-12-cpu", "--arch", "aarch64"), 4, "does not exist for aarch64"),
        (("render", "--lto"), 2, "need a MODEL"),
        (("render", "panoocc", "--check"), 2, "leave MODEL out"),
        (("--recipes", "no-such-folder", "list"), 3, "no such folder of recipes"),
        (("lock", "nothing", "--check"), 4, "no lock belongs to 'nothing'"),
        (("plan",), 2, "Missing argument"),
        (("plam",), 2, "No such command"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(words: tuple[str, ...], code: int, says: str) -> None:
    assert says in refused(drivebuild(*words), code)


def test_committed_files_are_current() -> None:
    result = drivebuild("render", "--check", "--output", str(ROOT))
    assert result.exit_code == 0, result.output


def test_committed_locks_are_current() -> None:
    result = drivebuild("lock", "--check")
    assert result.exit_code == 0, result.output


def test_render_writes_then_checks_then_repairs(tmp_path: Path) -> None:
    output = ("--output", str(tmp_path))
    assert "missing" in refused(drivebuild("render", "--check", *output), 8)
    assert not any(tmp_path.iterdir())
    assert drivebuild("render", *output).exit_code == 0
    assert drivebuild("render", "--check", *output).exit_code == 0
    dockerfile = tmp_path / "dockerfiles/panoocc/cann-8.2.rc1-stock/Dockerfile"
    rendered = dockerfile.read_text()
    dockerfile.write_text(rendered.replace("FROM scratch AS tools", "FROM busybox AS tools"))
    text = refused(drivebuild("render", "--check", *output), 8)
    assert "+FROM scratch AS tools" in text
    assert "-FROM busybox AS tools" in text
    assert drivebuild("render", *output).exit_code == 0
    assert dockerfile.read_text() == rendered


def test_only_own_surplus_files_are_removed(tmp_path: Path) -> None:
    output = ("--output", str(tmp_path))
    drivebuild("render", *output)
    own = tmp_path / "dockerfiles/gone/cann-8.1.rc1-stock/Dockerfile"
    own.parent.mkdir(parents=True)
    own.write_text((tmp_path / "dockerfiles/panoocc/cann-8.2.rc1-stock/Dockerfile").read_text())
    foreign = tmp_path / "dockerfiles/mine/Dockerfile"
    foreign.parent.mkdir()
    foreign.write_text("FROM scratch\n")
    assert "surplus: dockerfiles/gone" in refused(drivebuild("render", "--check", *output), 8)
    drivebuild("render", *output)
    assert not own.parent.parent.exists()
    assert foreign.read_text() == "FROM scratch\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="shown with a folder that even root cannot write to, under /proc")
def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing() -> None:
    text = refused(drivebuild("render", "--output", "/proc/drivebuild"), 5)
    assert "cannot write" in text
    assert "--output" in text


def test_all_mistakes_of_a_bad_recipe_are_shown_with_carets(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    text = (ROOT / "builder/recipes/models/panoocc.yaml").read_text()
    text = text.replace("licence:", "license:", 1).replace("platform: cann-8.2.rc1", "platform: 8.10", 1)
    (models / "panoocc.yaml").write_text(text)
    output = refused(drivebuild("--recipes", str(tmp_path), "list"), 3)
    assert "unknown key 'license' (did you mean 'licence'?)" in output
    assert 'quote it: "8.10"' in output
    assert output.count("^") >= 2


def test_version() -> None:
    assert drivebuild("--version").output.startswith("drivebuild 0.")
