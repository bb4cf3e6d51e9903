"""How many builds look, and how their command ends: without an engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from support.cli import drivebuild, refused
from support.engine import FakeEngine

from builder.cli.buildallend import end, failures
from builder.cli.buildallview import JsonMany, PlainMany, RichMany
from builder.cli.buildallworks import print_order
from builder.engine.state import StageView
from builder.engine.works import ImageView, Work
from builder.errors import BuildError
from builder.fleet.runs import Failed, ImageRun, ImageState, Outcome

HOSTILE = "\x1b[2J\u202e[red]x[/red]"


def view(name: str, state: ImageState, *stages: StageView, **more: object) -> ImageView:
    return ImageView(name=name, tag=f"t/{name}", state=state, began=1.0, stages=stages, **more)  # type: ignore[arg-type]


def run(name: str, state: ImageState, failed: Failed | None = None) -> ImageRun:
    return ImageRun(name=name, tag=f"t/{name}", platform="p", state=state, failed=failed)


def outcome(*images: ImageRun, **more: object) -> Outcome:
    return Outcome(began=0.0, ended=9.0, slots=2, images=images, **more)  # type: ignore[arg-type]


def test_a_shared_stage_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    digests: Mapping[str, Mapping[str, str]] = {"a": {"wheel": "w", "env": "1"}, "b": {"wheel": "w", "env": "2"}}
    shown = PlainMany(digests)
    wheel = StageView(name="wheel", state="running")
    shown.update((view("a", "building", wheel), view("b", "building", wheel)), 1e10)
    done = StageView(name="wheel", state="done", seconds=403.2)
    env = StageView(name="env", state="done", seconds=5.0)
    over = (view("a", "done", done, env, ended=3.0), view("b", "failed", done, env, ended=3.0, note=HOSTILE))
    shown.update(over, 1e10)
    lines = [line.partition("] ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "a building",
        "  wheel: running (for 2 images)",
        "b building",
        "  wheel: done 6 min 43 s",
        "  env: done 5.0 s (a)",
        "a done after 2.0 s",
        "  env: done 5.0 s (b)",
        "b failed after 2.0 s: \\x1b[2J\\u202e[red]x[/red]",
    ]


def test_a_sign_of_life_names_what_is_busy(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.cli.buildallview.HEARTBEAT", 0.0)
    shown = PlainMany({"a": {"wheel": "w"}, "b": {"wheel": "w"}})
    busy = StageView(name="wheel", state="running", seconds=61.0, step=0, steps=2, line=f"cc {HOSTILE}")
    shown.update((view("a", "building", busy), view("b", "building", busy)), 1e10)
    said = capsys.readouterr().out
    assert said.count("... wheel: step 1/2, 1 min 1 s: cc \\x1b[2J") == 1
    shown.update((view("a", "pushing", note="registry.example: try 2 of 6 in 2 s"),), 1e10)
    assert "... a pushing: registry.example: try 2 of 6 in 2 s" in capsys.readouterr().out


def test_every_change_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    shown = JsonMany()
    wheel = StageView(name="wheel", state="running")
    for _ in range(2):
        shown.update((view("a", "building", wheel),), 2.0)
    shown.update((view("a", "done", StageView(name="wheel", state="done", seconds=2.0), ended=4.0),), 4.0)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["event"], each["state"]) for each in events] == [
        ("stage", "running"),
        ("image", "building"),
        ("stage", "done"),
        ("image", "done"),
    ]
    assert events[-1]["image"] == "t/a"
    assert events[-1]["seconds"] == 3.0


def test_the_table_has_a_line_an_image_and_no_markup() -> None:
    busy = StageView(name="wheel", state="running", seconds=61.0, line="[red]x[/red]")
    images = (
        view("a", "building", busy, StageView(name="base", state="cached")),
        view("b", "waiting"),
        view("c", "failed", note="[bold]exit code: 1"),
    )
    console = Console(width=110, record=True, file=StringIO())
    console.print(RichMany().table(images, 31.0))
    lines = console.export_text().splitlines()
    assert len(lines) == 1 + len(images) + 1
    assert "[red]x[/red]" in lines[1]
    assert "[bold]exit code: 1" in lines[3]
    assert "0/3 images" in lines[-1]
    assert "1 failed" in lines[-1]


def test_more_images_than_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is busy or has failed is shown, what is done is not."""
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("COLUMNS", "100")
    images = (
        *(view(f"done-{number}", "done") for number in range(40)),
        view("busy", "building"),
        view("bad", "failed"),
    )
    console = Console(width=100, record=True, file=StringIO())
    console.print(RichMany().table(images, 31.0))
    text = console.export_text()
    assert len(text.splitlines()) <= 10
    assert "busy" in text
    assert "bad" in text
    assert "36 more images" in text


def test_the_list_of_failures() -> None:
    failed = Failed(stage="wheel", first=f"exit code: 1{HOSTILE}", log="/logs/x.log", hint="look")
    left = Failed(stage="wheel", first="it needs the very stage 'wheel' that failed for a")
    lines = failures(outcome(run("a", "failed", failed), run("b", "left", left), run("c", "done")))
    assert lines == [
        "  a: stage 'wheel': exit code: 1\\x1b[2J\\u202e[red]x[/red]",
        "    log: /logs/x.log",
        "  b: not tried, it needs the very stage 'wheel' that failed for a",
    ]


def test_the_end_raises_the_list_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    failed = Failed(first="the store lacks it", hint="fetch it", code=5)
    with pytest.raises(BuildError) as caught:
        end((), outcome(run("a", "failed", failed), run("b", "done")), None, quiet=False)
    assert caught.value.exit_code == 6
    assert caught.value.message == "1 of 2 images is not there\n  a: the store lacks it"
    assert caught.value.hint.startswith("fetch it. Then run the same command again")
    assert "2 images: 1 done, 1 failed" in capsys.readouterr().out


def test_one_sentence_where_the_engine_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    gone = "the engine does not answer any more: x"
    left = [run(name, "left", Failed(first=gone)) for name in "bcd"]
    with pytest.raises(BuildError) as caught:
        end(
            (), outcome(run("a", "failed", Failed(first="EOF")), *left, stopped=gone, hint="start it"), None, quiet=True
        )
    assert caught.value.message.count("the engine does not answer") == 1
    assert caught.value.message.endswith("  not tried: b, c, d")
    assert json.loads(capsys.readouterr().out)["stopped"] == gone


def test_what_a_person_should_know_of_an_image_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    noted = ImageRun(name="a", tag="t/a", platform="p", state="done", notes=(f"cache x could not be read: {HOSTILE}",))
    end((), outcome(noted), None, quiet=False)
    assert "note: a: cache x could not be read: \\x1b[2J" in capsys.readouterr().out


def test_an_interrupt_is_no_error_of_the_builds() -> None:
    end((), outcome(run("a", "cancelled"), interrupted=True), None, quiet=True)


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("--progress", "jsn"), "did you mean 'json'?", 2),
        (("--push", "team"), "names no registry", 2),
        (("--offline", "--push", "registry.example/team"), "wants a network", 2),
        (("--parallel", "0"), "range", 2),
        (("--report", "/"), "no file can be made there", 2),
    ],
)
def test_words_that_cannot_be_meant(words: tuple[str, ...], said: str, code: int) -> None:
    assert said in refused(drivebuild("build-all", *words), code)


@pytest.fixture
def engineless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Work]:
    """Let the command run up to the builds, and keep what would have been built."""
    kept: list[Work] = []

    def supplied_work(_stack: object, _settings: object, work: Work, *_: object, **__: object) -> Work:
        kept.append(work)
        return work

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("builder.engine.host.connect", FakeEngine)
    monkeypatch.setattr("builder.cli.buildallworks.supplied_work", supplied_work)
    return kept


def pretend(monkeypatch: pytest.MonkeyPatch, **more: object) -> list[tuple[str, ...]]:
    """Let every build end at once; return the orders they were asked for in."""
    orders: list[tuple[str, ...]] = []

    def built(works: Sequence[Work], order: tuple[str, ...], slots: int, _progress: str) -> Outcome:
        orders.append((*order, str(slots)))
        states = iter(("done", *("cancelled" for _ in works)) if more else ("done" for _ in works))
        return outcome(*(run(work.name, next(states)) for work in works), **more)  # type: ignore[arg-type]

    monkeypatch.setattr("builder.cli.buildall._built", built)
    return orders


LAPTOP = ("--platform", "debian-12-cpu")


def test_all_models_in_an_order_with_what_they_share(
    engineless: list[Work], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    orders = pretend(monkeypatch)
    report = tmp_path / "report.json"
    result = drivebuild("build-all", *LAPTOP, "--until", "env", "--parallel", "3", "--report", str(report))
    assert result.exit_code == 0, result.output
    assert len(engineless) == 10
    assert sorted(orders[0][:-1]) == sorted(work.name for work in engineless)
    assert orders[0][-1] == "3"
    assert {work.choices.until for work in engineless} == {"env"}
    assert all("env" in work.digests and "image" not in work.digests for work in engineless)
    torch = {work.digests["torch"] for work in engineless}
    assert len(torch) == 1
    assert len(json.loads(report.read_text())["images"]) == 10


def test_an_interrupt_ends_with_130_and_the_report(
    engineless: list[Work], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, interrupted=True)
    report = tmp_path / "report.html"
    words = ("-m", "streampetr", "-m", "panoocc", "--variant", "stock", "--report", str(report))
    result = drivebuild("build-all", *LAPTOP, *words)
    assert result.exit_code == 130
    assert "2 images: 1 done, 1 interrupted or not begun" in result.output
    assert "interrupted: the same command goes on" in report.read_text()


def test_a_stage_that_only_some_have(engineless: list[Work], monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    result = drivebuild("build-all", *LAPTOP, "--variant", "stock", "--until", "mmdet3d")
    with_it = {work.plan.model.name for work in engineless}
    assert 0 < len(with_it) < 5
    left = next(line for line in result.output.splitlines() if line.startswith("left out, it has no stage 'mmdet3d'"))
    assert left.count("debian-12-cpu-stock") == 5 - len(with_it)


def test_no_order_is_said_and_is_no_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_order((), (), "x86_64")
    assert capsys.readouterr().out == "nothing to build\n"


def test_a_dry_run_shows_the_order(engineless: list[Work]) -> None:
    result = drivebuild("build-all", *LAPTOP, "--until", "env", "--dry-run")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.output.splitlines() if "debian-12-cpu-" in line]
    assert len(rows) == 10
    assert rows[0][2] == rows[0][3]
    assert all(int(row[3]) < int(row[2]) for row in rows[1:])
    assert engineless == []
