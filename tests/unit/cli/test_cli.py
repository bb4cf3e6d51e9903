"""The command line without an engine: what it prints, its exit codes, and that nothing is half-written."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest
from support.cli import drivebuild, refused
from support.files import REPOSITORY, without_aarch64

from builder.__main__ import start
from builder.cli.main import app

MODELS = ("flashocc", "panoocc", "pivotnet", "streampetr", "tpvformer")
COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_is_in_the_readme(command: str) -> None:
    result = drivebuild(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 4
    assert f"drivebuild {command}" in (REPOSITORY / "README.md").read_text()


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
    assert ["torch", "beside-torch"] in data["edges"]
    assert ["beside-torch", "mmcv"] in data["edges"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("plan", "streampter"), 4, "did you mean 'streampetr'?"),
        (("plan", "streampetr", "--platform", "cann-8.1.rc"), 4, "did you mean 'cann-8.1.rc1'?"),
        (("plan", "streampetr", "--variant", "lt"), 4, "did you mean 'lto'?"),
        (("plan", "streampetr", "--lto", "--variant", "stock"), 2, "contradict each other"),
        (("plan", "streampetr", "--option", "attention"), 2, "expected NAME=CHOICE"),
        (("plan", "streampetr", "--option", "attention=upstrem"), 4, "did you mean 'upstream'?"),
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


def test_an_architecture_that_the_platform_has_not(tmp_path: Path) -> None:
    words = ("--recipes", str(without_aarch64(tmp_path)), "plan", "streampetr", "--platform", "debian-12-cpu")
    assert "does not exist for aarch64" in refused(drivebuild(*words, "--arch", "aarch64"), 4)


def test_committed_locks_are_current() -> None:
    result = drivebuild("lock", "--check")
    assert result.exit_code == 0, result.output


def test_all_mistakes_of_a_bad_recipe_are_shown_with_carets(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    text = (REPOSITORY / "builder/recipes/models/panoocc.yaml").read_text()
    text = text.replace("licence:", "license:", 1).replace("platform: cann-8.2.rc1", "platform: 8.10", 1)
    (models / "panoocc.yaml").write_text(text)
    output = refused(drivebuild("--recipes", str(tmp_path), "list"), 3)
    assert "unknown key 'license' (did you mean 'licence'?)" in output
    assert 'quote it: "8.10"' in output
    assert output.count("^") >= 2


def test_version() -> None:
    assert drivebuild("--version").output.startswith("drivebuild 0.")


def test_an_error_nobody_foresaw_is_a_sentence_and_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(_settings: object) -> None:
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr("builder.cli.main.Settings.catalog", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text = refused(drivebuild("list"), 70)
    assert "a bug in drivebuild: ZeroDivisionError: by accident" in text
    (kept,) = tmp_path.glob("drivebuild-bug-*.txt")
    assert "Traceback" in kept.read_text()


def test_an_error_that_no_file_can_keep_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(_settings: object) -> None:
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr("builder.cli.main.Settings.catalog", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    text = drivebuild("list").output
    assert "a bug in drivebuild: ZeroDivisionError: by accident" in text
    assert "line" in text.partition("with this:")[2]


def test_output_into_a_full_disk_is_no_bug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115  closing it fails, too
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(SystemExit) as ended:
        app(["list"])
    with suppress(OSError):
        full.close()
    assert ended.value.code == 5
    assert capsys.readouterr().err == "error: cannot write what is to be said: No space left on device\n"


class _Interrupted(ModuleType):
    def __getattr__(self, name: str) -> object:
        raise KeyboardInterrupt if name == "run" else AttributeError(name)


def test_an_interrupt_before_the_command_has_begun_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "builder.cli.main", _Interrupted("builder.cli.main"))
    with pytest.raises(SystemExit) as ended:
        start()
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted\n")
