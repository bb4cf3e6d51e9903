"""`drivebuild results` on run folders and logs, as a user calls it."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from support.cli import drivebuild, refused
from support.training import json_log, run_folder, step_line, training


def test_a_run_folder(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "panoocc", "train-8p", training("panoocc", 24))
    result = drivebuild("results", str(folder))
    assert result.exit_code == 0, result.output
    assert "PanoOcc, train-8p, 8 cards with 1 each: global batch 8, cann-8.2.rc1, stock" in result.output
    assert "succeeded after 1 d 4 h" in result.output
    assert "1 of 1680 lines left out as warm-up" in result.output
    assert "step time  1.85 s against 1.849 s: as published (within 2 %)" in result.output
    assert "mIoU       0.6838 against 0.6838: as published (within ±0.5 points)" in result.output


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ("2", "16 cards with 1 each: global batch 16"),
        ("1", "8 cards with 1 each: global batch 8"),
        ("many", "8 cards with 1 each: global batch 8"),
        ("²", "8 cards with 1 each: global batch 8"),
        ("9" * 5000, "8 cards with 1 each: global batch 8"),
    ],
)
def test_a_run_over_several_nodes_has_all_of_their_cards(tmp_path: Path, nodes: str, words: str) -> None:
    folder = run_folder(tmp_path, "panoocc", "train-8p", training("panoocc", 24))
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "environment": {"DRIVEBUILD_NODES": nodes}}))
    result = drivebuild("results", str(folder))
    assert result.exit_code == 0, result.output
    assert words in result.output
    assert ("as published" in result.output) is ("8 cards" in words)


@pytest.mark.parametrize("word", ["streampetr/train-8p/20261121T080000Z", "20261121T080000Z"])
def test_a_run_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    run_folder(tmp_path / "here", "streampetr", "train-8p", training("streampetr", 1))
    monkeypatch.setenv("RUNS_ROOT", str(tmp_path / "here"))
    assert "StreamPETR, train-8p" in drivebuild("results", word).output


def test_a_name_of_two_runs(tmp_path: Path) -> None:
    for model in ("streampetr", "panoocc"):
        run_folder(tmp_path, model, "train-8p", [step_line(model, 1, 50)])
    text = refused(drivebuild("results", "20261121T080000Z", "--runs", str(tmp_path)), 2)
    assert "2 runs have that name" in text
    assert "panoocc/train-8p/20261121T080000Z" in text


@pytest.mark.parametrize("word", ["nothing", "a/b/c/d", "*", "/no/such/place", "../../no-such"])
def test_no_such_run(tmp_path: Path, word: str) -> None:
    refused(drivebuild("results", word, "--runs", str(tmp_path)), 2)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert "no run.json" in refused(drivebuild("results", str(tmp_path)), 7)


@pytest.mark.parametrize("name", ["run.json", "result.json", "manifest.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_records_that_are_none(tmp_path: Path, name: str, content: bytes) -> None:
    folder = run_folder(tmp_path, "panoocc", "train-8p", [])
    (folder / name).write_bytes(content)
    assert f"{name}: " in refused(drivebuild("results", str(folder)), 7)


def test_records_of_other_types(tmp_path: Path) -> None:
    odd = {
        "model": "panoocc",
        "job": 3,
        "platform": None,
        "devices": "all",
        "args": {"x": 1},
        "environment": [1],
        "variant": [2],
    }
    folder = run_folder(tmp_path, "panoocc", "train-8p", training("panoocc", 1))
    (folder / "run.json").write_text(json.dumps(odd))
    (folder / "result.json").write_text(json.dumps({"status": 5, "seconds": "long", "reason": None}))
    result = drivebuild("results", str(folder))
    assert result.exit_code == 0, result.output


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "panoocc", "train-8p", training("panoocc", 1, metrics=False))
    (folder / "result.json").unlink()
    assert "not yet: there is no result.json" in drivebuild("results", str(folder)).output


def test_a_log_needs_to_be_read(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "panoocc", "train-8p", [])
    (folder / "job.log").unlink()
    assert "job.log: No such file" in refused(drivebuild("results", str(folder)), 7)


def test_a_pipe_is_no_log(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    assert "not a regular file" in refused(drivebuild("results", str(tmp_path / "log"), "--model", "panoocc"), 7)


def test_a_log_with_its_model(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("\n".join(training("tpvformer", 1)))
    result = drivebuild("results", str(log), "--model", "tpvformer")
    assert "1.195 s against 1.195 s" in result.output
    assert "metrics are not compared: 1 epochs, the row has 24" in result.output
    assert "nobody recorded the number of cards" in result.output
    four = drivebuild("results", str(log), "--model", "tpvformer", "--cards", "4").output
    assert "against" not in four
    assert "the run's global batch is 4 on 4 cards; published is 8 on 8 cards" in four


@pytest.mark.parametrize("model", ["streampetr", "tpvformer", "pivotnet", "panoocc", "flashocc"])
def test_a_log_whose_model_is_seen(tmp_path: Path, model: str) -> None:
    log = tmp_path / "train.log"
    log.write_text("\n".join(training(model, 1)))
    assert f"the log looks like one of {model}; --model says it for sure" in drivebuild("results", str(log)).output


def test_a_log_whose_model_cannot_be_told(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(step_line("flashocc", 1, 50))
    assert "it could be of flashocc, panoocc" in refused(drivebuild("results", str(log)), 2)
    log.write_text("nothing here\n")
    assert "no model's step line or metric" in refused(drivebuild("results", str(log)), 2)


def test_words_that_do_not_fit(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "panoocc", "train-8p", [])
    assert "a run of panoocc" in refused(drivebuild("results", str(folder), "--model", "pivotnet"), 2)
    log = str(folder / "job.log")
    assert "did you mean 'panoocc'" in refused(drivebuild("results", log, "--model", "panoc"), 2)
    assert "no job 'train-8'" in refused(drivebuild("results", log, "--model", "panoocc", "--job", "train-8"), 2)


def test_mmcvs_own_log_is_preferred(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "panoocc", "train-8p", training("panoocc", 2))
    work = folder / "outputs/PanoOcc/output/x/work_dir"
    work.mkdir(parents=True)
    (work / "20261121_080000.log.json").write_text("\n".join(json_log("panoocc", 2)))
    (work / "link.log.json").symlink_to("/dev/zero")
    data = json.loads(drivebuild("results", str(folder), "--json").output)
    (run,) = data["runs"]
    assert run["summary"]["loss_last"] == 9.5
    assert run["summary"]["steps"] == 3516 + 3500
    assert run["summary"]["metrics"]["mIoU"] == 0.6838
    assert any("20261121_080000.log.json" in note for note in run["notes"])
    (work / "20261121_080000.log.json").write_text("\n".join(list(json_log("panoocc", 2))[:9]))
    (run,) = json.loads(drivebuild("results", str(folder), "--json").output)["runs"]
    assert run["summary"]["loss_last"] != 9.5, "it has fewer lines than the job's log"


def test_mmcvs_own_log_alone(tmp_path: Path) -> None:
    log = tmp_path / "20261121_080000.log.json"
    log.write_text("\n".join(json_log("panoocc", 2)))
    assert "1.849 s against 1.849 s" in drivebuild("results", str(log), "--model", "panoocc").output


def test_json_has_no_number_that_json_has_not(tmp_path: Path) -> None:
    line = step_line("panoocc", 1, 100, loss=1.0).replace(" loss: 1.0000", " loss: nan")
    folder = run_folder(tmp_path, "panoocc", "train-8p", [step_line("panoocc", 1, 50), line])

    def refuse(word: str) -> None:
        raise AssertionError(word)

    data = json.loads(drivebuild("results", str(folder), "--json").output, parse_constant=refuse)
    assert data["schema"] == 1
    assert data["runs"][0]["summary"]["loss_last"] is None
    assert data["runs"][0]["setting"]["global_batch"] == 8
    verdict = data["runs"][0]["comparison"]["rows"][0]["verdicts"][0]
    assert (verdict["what"], verdict["word"]) == ("step time", "as published")


def test_trouble_is_shown_without_escape_sequences(tmp_path: Path) -> None:
    lines = [
        "Traceback (most recent call last):",
        "  x",
        "ValueError: \x1b]0;evil\x07\x1b[31mred\x9b5m \u202eback",
        "end",
    ]
    folder = run_folder(tmp_path, "panoocc", "train-8p", lines, host="\x1b[31mhost")
    text = drivebuild("results", str(folder)).output
    assert "traceback in 1 line" in text
    assert "ValueError: red" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_arguments_of_the_job_are_said(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "panoocc", "train-8p", training("panoocc", 1), args=["--batch_size=2"])
    assert "the job had the arguments --batch_size=2" in drivebuild("results", str(folder)).output


def test_a_run_without_npus_is_not_compared(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "panoocc", "train-8p", training("panoocc", 1), platform="debian-12-cpu")
    assert "without NPUs" in drivebuild("results", str(folder)).output


# --- the page ------------------------------------------------------------------------------------

HOSTILE = "</script><img src=x onerror=alert(1)>"


def test_the_page(tmp_path: Path) -> None:
    folders = [
        run_folder(tmp_path, "panoocc", "train-8p", training("panoocc", 24, slower=slower), name=f"2026112{number}T0")
        for number, slower in enumerate((1.0, 1.1))
    ]
    page = tmp_path / "page.html"
    result = drivebuild("results", *map(str, folders), "--html", str(page))
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 2_000_000
    assert "1.85 s against 1.849 s: as published" in text
    assert "10 % slower" in text
    assert 'href="' not in text.partition("<script")[0]
    assert 'src="' not in text.partition('<script type="application/json"')[0]
    assert list(tmp_path.glob(".page*")) == []
    assert page.stat().st_mode & 0o111 == 0


def test_a_24_epoch_page_of_ten_step_lines_is_small(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "pivotnet", "train-8p", training("pivotnet", 30))
    page = tmp_path / "page.html"
    assert drivebuild("results", str(folder), "--html", str(page)).exit_code == 0
    assert page.stat().st_size < 2_000_000
    assert "Curves have at most 2000 points" in page.read_text(encoding="utf-8")


def test_nothing_of_a_log_or_record_becomes_html(tmp_path: Path) -> None:
    line = step_line("panoocc", 1, 50) + f", {HOSTILE}: 0.5, <!--: 1.0, <script>: 2.0"
    again = step_line("panoocc", 1, 100) + f", {HOSTILE}: 0.5"
    lines = [line, again, "Traceback (most recent call last):", f"ValueError: {HOSTILE}", "end"]
    folder = run_folder(
        tmp_path,
        "panoocc",
        "train-8p",
        lines,
        name="<b>x",
        host=HOSTILE,
        environment={HOSTILE: HOSTILE},
        variant=HOSTILE,
    )
    (folder / "result.json").write_text(json.dumps({"status": HOSTILE, "reason": HOSTILE}))
    (folder / "manifest.json").write_text(json.dumps({HOSTILE: f"</pre>{HOSTILE}"}))
    page = tmp_path / "page.html"
    result = drivebuild("results", str(folder), "--html", str(page))
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert "onerror=alert(1)" in text
    assert "<img" not in text.replace(_bokeh(), "")
    assert "<b>x" not in text
    own = text.replace(_bokeh(), "")
    assert len(re.findall("<script", own)) == len(re.findall("</script", own)) == 3
    assert "<!--" not in own


def _bokeh() -> str:
    from builder.web.page import bokeh_script

    return bokeh_script()


def test_without_bokeh_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_folder(tmp_path, "panoocc", "train-8p", training("panoocc", 1))
    monkeypatch.setitem(sys.modules, "bokeh.resources", None)
    text = refused(drivebuild("results", str(folder), "--html", str(tmp_path / "page.html")), 2)
    assert "drivebuild[report]" in text
    assert not (tmp_path / "page.html").exists()
    assert drivebuild("results", str(folder)).exit_code == 0


@pytest.mark.parametrize("where", ["no/such/folder/page.html", "folder"])
def test_a_page_that_cannot_be_written(tmp_path: Path, where: str) -> None:
    (tmp_path / "folder").mkdir()
    folder = run_folder(tmp_path, "panoocc", "train-8p", training("panoocc", 1))
    refused(drivebuild("results", str(folder), "--html", str(tmp_path / where)), 2)
    assert list(tmp_path.glob(".*")) == []


def test_a_log_without_steps_makes_a_page(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "panoocc", "eval", ["16 categores mIoU: 0.6838"])
    page = tmp_path / "page.html"
    result = drivebuild("results", str(folder), "--html", str(page))
    assert result.exit_code == 0, result.output
    assert "--epochs says it" in result.output
    assert "0.6838 against 0.6838" in drivebuild("results", str(folder), "--epochs", "24").output
