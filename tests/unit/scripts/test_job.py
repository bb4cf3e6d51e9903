"""drivebuild-job: what it checks, what it keeps, and whether it says truly how a job ended."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.jobsite import JOB, LINE, METRIC, Site, alive, wait_for
from support.training import METRICS, training

from builder.recipe.types import Catalog

GOOD = f"echo '{LINE}'; mkdir -p output/x; echo weights > output/x/latest.pth; echo '{METRIC}'\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


# --- how it ends ---------------------------------------------------------------------------------


def test_a_job_that_shows_its_result_succeeds_and_its_folder_is_complete(site: Site) -> None:
    code, out, err = site.run(GOOD, TASK_QUEUE_ENABLE="2", HCCL_IF_IP="10.0.0.1", ASCEND_KEY="y", X="z")
    assert (code, out) == (0, f"{LINE}\n{METRIC}\n"), err
    assert site.log.decode() == out
    assert sorted(path.name for path in site.folder.iterdir()) == [
        "job.log",
        "manifest.json",
        "outputs",
        "result.json",
        "run.json",
    ]
    assert (site.folder / "outputs/Toy/output/x/latest.pth").read_text() == "weights\n"
    result = site.result
    assert result.pop("seconds") >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", result.pop("finished"))
    assert result == {
        "schema": 1,
        "status": "succeeded",
        "exit_code": 0,
        "reason": "the log shows the result",
        "signal": None,
        "command_status": 0,
        "evidence": [METRIC],
    }
    run = json.loads((site.folder / "run.json").read_text())
    assert run["environment"] == {"HCCL_IF_IP": "10.0.0.1", "RANK_SIZE": "8", "TASK_QUEUE_ENABLE": "2"}
    assert (run["model"], run["job"], run["uid"], run["image"]["digest"]) == ("toy", "train-8p", os.getuid(), None)


RANK = "printf '[rank3]: %s\\n' 'Traceback (most recent call last):' '  File' 'RuntimeError: HCCL'"
ENDS = {
    "a failed command": ("echo training; exit 3", "failed", "ended with status 3"),
    "one rank of eight": (
        f"({RANK}; exit 1) & echo '{METRIC}'; wait $! || exit 1",
        "failed",
        "RuntimeError: HCCL",
    ),
    "0 after a traceback": (
        "echo 'Traceback (most recent call last):'; echo '  File \"x.py\", line 3, in f'; echo 'KeyError: 1'",
        "unproven",
        "0 after a traceback: KeyError: 1",
    ),
    "0 after a traceback, with a metric": (
        f"echo 'Traceback (most recent call last):'; echo '  x'; echo 'KeyError: 1'; echo '{METRIC}'",
        "unproven",
        "KeyError: 1",
    ),
    "no metric": (f"echo '{LINE}'; exit 0", "unproven", "no line shows the result"),
    "upstream's bare wait": ("python3 -c 'raise ValueError(5)' & wait", "unproven", "ValueError: 5"),
    "a patcher that gave up": (f"echo 'Failed to apply patch x'; echo '{METRIC}'", "failed", "Failed to apply patch x"),
    "a full disk": (
        "echo \"OSError: [Errno 28] No space left on device: 'x.pth'\"; exit 1",
        "no-space",
        "No space left on device",
    ),
    "NPU memory": (
        "echo 'RuntimeError: NPU out of memory. Tried to allocate 2 GiB'; exit 1",
        "out-of-memory",
        "NPU out",
    ),
    "shared memory": (
        "echo 'RuntimeError: DataLoader worker (pid 5) is killed by signal: Bus error. It is possible that'; exit 1",
        "out-of-memory",
        "shm_size",
    ),
    "a crash of a process of its own": (
        f"echo '{METRIC}'; (sleep 0.1; kill -SEGV $BASHPID) & exit 0",
        "unproven",
        "SIGSEGV",
    ),
    "a crash": ("kill -SEGV $$", "failed", "SIGSEGV"),
    "no such command": ("", "failed", "cannot be started"),
}


@pytest.mark.parametrize("name", ENDS)
def test_an_end_is_reported_as_what_it_is(site: Site, name: str) -> None:
    script, status, reason = ENDS[name]
    if not script:
        site.entry["command"] = ["no-such-launcher"]
    code, _, err = site.run(script)
    result = site.result
    assert (code, result["exit_code"], result["status"]) == (7, 7, status), err
    assert reason in result["reason"]
    assert f"{status}: {result['reason']}" in err
    assert len(result["evidence"]) <= 20


def test_what_python_ignores_is_no_failure(site: Site) -> None:
    noise = "echo 'Exception ignored in: <function f>'; echo 'Traceback (most recent call last):'; echo 'OSError: 9'\n"
    assert site.run(noise + GOOD)[0] == 0


@pytest.mark.parametrize(("counted", "status"), [(1, "out-of-memory"), (0, "failed"), (None, "out-of-memory")])
def test_sigkill_means_want_of_memory_unless_the_kernel_denies_it(
    counted: int | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(JOB.parent))
    job_log, job_run = __import__("job_log"), __import__("job_run")
    verdict = __import__("job_verdict")
    judge, ending = job_log.Judge("x"), job_run.Ending()
    judge.feed(b"torch.distributed.elastic: failed (exitcode: -9) local_rank: 3\n")
    ending.status = 1
    log = type("Log", (), {"lost": 0, "error": ""})
    found = verdict.decide(ending, judge, log, counted, success="x")
    assert (found["status"], found["exit_code"]) == (status, 7)
    for name in ("job_log", "job_run", "job_verdict"):
        sys.modules.pop(name)


@pytest.mark.parametrize("model", sorted(METRICS))
def test_the_formats_of_all_models_prove_their_training(site: Site, model: str, catalog: Catalog) -> None:
    recipe = catalog.models[model]
    job = next(job for job in recipe.jobs if job.name == "train-8p")
    log = site.root / "log"
    log.write_text("\n".join(training(model, 1)) + "\n")
    site.entry["success"] = job.success
    assert site.run(f"cat {log}")[0] == 0
    site.entry["success"] = job.success
    log.write_text("\n".join(training(model, 1, metrics=False)) + "\n")
    shutil.rmtree(site.folder)
    site.run(f"cat {log}")
    assert site.result["status"] == "unproven"


# --- what it needs -------------------------------------------------------------------------------


def device(site: Site, name: str) -> None:
    (site.root / "dev" / name).symlink_to("/dev/null")


def test_all_that_is_missing_is_said_at_once(site: Site) -> None:
    prepared = {"path": str(site.root / "prepared/infos.pkl"), "kind": "file", "generated": True, "url": None}
    samples = {"path": str(site.root / "nuscenes/samples"), "kind": "folder", "generated": False, "url": None}
    maps = {"path": str(site.root / "nuscenes/maps"), "kind": "folder", "generated": False, "url": None}
    site.entry |= {
        "npus": 8,
        "data": [samples, maps, prepared],
        "weights": [{"path": str(site.root / "weights/w.pth"), "url": "https://example.org/w.pth", "note": ""}],
    }
    device(site, "davinci0")
    code, out, err = site.run("echo started")
    assert (code, out) == (125, "")
    for text in ("wants 8 NPUs and sees 1 (davinci0)", "davinci_manager", "lacks maps", "prepare-data first"):
        assert text in err
    assert "WEIGHTS_ROOT lacks w.pth: https://example.org/w.pth" in err
    assert not (site.root / "runs/toy").exists()


def test_one_thing_missing_is_one_sentence(site: Site) -> None:
    (site.root / "nuscenes/samples").rmdir()
    code, _, err = site.run("echo started")
    assert code == 125
    assert err == (
        f"drivebuild-job: toy train-8p cannot start: {site.root}/nuscenes has none of the dataset's folders: "
        "NUSCENES_ROOT must be the folder that holds samples\n"
    )


@pytest.mark.parametrize(("seen", "wanted", "code"), [(8, "", 0), (4, "", 125), (9, "", 125), (4, "4", 0)])
def test_the_number_of_npus_must_be_the_one_it_counts_with(site: Site, seen: int, wanted: str, code: int) -> None:
    for name in (*(f"davinci{number}" for number in range(seen)), "davinci_manager"):
        device(site, name)
    site.entry["npus"] = 8
    assert site.run(GOOD, DRIVEBUILD_NPUS=wanted)[0] == code


def test_a_stand_in_for_cann_refuses_what_wants_npus(site: Site) -> None:
    (site.root / "image/refused").write_text("\n\ncann-8.2.rc1\n\ntrain.sh\n")
    assert site.run(GOOD)[0] == 0
    site.entry["npus"] = 8
    code, _, err = site.run(GOOD)
    assert code == 125
    assert "stand-in in this image: build the model for cann-8.2.rc1" in err


def test_an_unknown_job_has_a_near_name(site: Site) -> None:
    site.write(GOOD)
    process = site.start(job="train-8")
    _, err = process.communicate(timeout=180)
    assert process.returncode == 125
    assert b"has no job 'train-8': did you mean 'train-8p'?" in err


def test_arguments_reach_the_command_or_are_refused(site: Site) -> None:
    assert f"--a b  c{chr(10)}" in site.run(f'echo "$@"; {GOOD}', "--a", "b  c")[1]
    site.entry["command"] = ["bash", "-c", "echo fixed"]
    code, _, err = site.run(GOOD, "--a")
    assert (code, "takes no arguments" in err) == (125, True)
    site.entry["command"] = ["bash", "-c", 'exec bash train.sh "$@"']
    assert "x y" in site.run(f'echo "$@"; {GOOD}', "x", "y")[1]


def test_the_newest_checkpoint_of_a_training_is_evaluated(site: Site) -> None:
    site.write("true")
    table = json.loads((site.root / "image/jobs.json").read_text())
    train = {**table["jobs"]["train-8p"], "success": ""}
    evaluation = {
        **train,
        "kind": "eval",
        "checkpoint": "Toy/output/*/latest.pth",
        "command": ["bash", "-c", "echo $CHECKPOINT"],
    }
    table["jobs"] = {"train-8p": train, "train-8p-performance": train, "eval": evaluation}
    (site.root / "image/jobs.json").write_text(json.dumps(table))

    def ask(**environment: str) -> tuple[int, str, str]:
        process = site.start(job="eval", **environment)
        out, err = process.communicate(timeout=180)
        return process.returncode, out.decode().strip(), err.decode()

    code, _, err = ask()
    assert (code, "no run of train-8p has a checkpoint" in err) == (125, True)
    made = []
    for number, job in enumerate(("train-8p", "train-8p", "train-8p-performance")):
        path = site.root / f"runs/toy/{job}/2026010{number}T000000Z/outputs/Toy/output/x/latest.pth"
        path.parent.mkdir(parents=True)
        path.write_text("w")
        os.utime(path, (1000 + number, 1000 + number))
        made.append(str(path))
    assert ask()[:2] == (0, made[1])
    assert ask(CHECKPOINT=made[0])[:2] == (0, made[0])
    assert ask(CHECKPOINT="/nowhere.pth")[0] == 125


# --- the run folder ------------------------------------------------------------------------------


def test_two_runs_never_share_a_folder_and_nothing_of_the_first_is_lost(site: Site) -> None:
    assert site.run(GOOD)[0] == 0
    first = site.folder
    site.run("rm -rf output/x; " + GOOD)
    folders = sorted((site.root / "runs/toy/train-8p").iterdir())
    assert len(folders) == 2
    assert (first / "outputs/Toy/output/x/latest.pth").exists()


def test_a_script_that_removes_its_output_folder_loses_nothing(site: Site) -> None:
    script = "touch output/before; rm -rf output; mkdir -p output/x; echo new > output/x/after; " + f"echo '{METRIC}'"
    assert site.run(script)[0] == 0
    output = site.folder / "outputs/Toy/output"
    assert ((output / "before").exists(), (output / "x/after").read_text()) == (True, "new\n")
    assert (site.root / "workspace/Toy/output").is_symlink()


def test_a_given_run_folder_is_taken_and_its_record_kept(site: Site) -> None:
    folder = site.root / "runs/toy/train-8p/mine"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"image": 1}')
    assert site.run(GOOD, DRIVEBUILD_RUN="mine")[0] == 0
    assert (folder / "run.json").read_text() == '{"image": 1}'
    assert site.result["status"] == "succeeded"
    code, _, err = site.run(GOOD, DRIVEBUILD_RUN="mine")
    assert (code, "belongs to a run that has ended" in err) == (125, True)
    assert site.run(GOOD, DRIVEBUILD_RUN="../x")[0] == 125


def test_a_job_that_writes_nothing_runs_without_a_run_folder(site: Site) -> None:
    (site.root / "runs").rmdir()
    (site.root / "runs").write_text("in the way")
    site.entry["outputs"] = []
    code, _, err = site.run(GOOD.replace("mkdir -p output/x; echo weights > output/x/latest.pth;", ""))
    assert (code, "it goes on without a run folder" in err) == (0, True)
    site.entry["outputs"] = ["Toy/output"]
    assert site.run(GOOD)[0] == 125


def test_a_conversion_must_write_what_it_should(site: Site) -> None:
    entry = {"path": str(site.root / "prepared/infos.pkl"), "kind": "file", "generated": True, "url": None}
    folder = {"path": str(site.root / "prepared/custom/npz"), "kind": "folder", "generated": True, "url": None}
    site.entry |= {"kind": "prepare", "prepares": True, "generated": [entry, folder], "outputs": [], "success": ""}
    site.run("true")
    assert site.result["reason"] == "it ended with 0, but did not write infos.pkl, custom/npz"
    shutil.rmtree(site.folder)
    root = site.root / "workspace/Toy/data/nuscenes"
    root.mkdir(parents=True)
    (root / "infos.pkl").symlink_to(entry["path"])  # type: ignore[arg-type]
    script = "echo 1 > data/nuscenes/infos.pkl; echo 2 > data/nuscenes/extra.pkl; echo 3 > ../../prepared/custom/npz/a"
    assert site.run(script)[0] == 0
    # What nobody has a link for is kept, too.
    assert {path.name for path in (site.root / "prepared").iterdir()} == {"infos.pkl", "extra.pkl", "custom"}


def test_one_container_runs_one_job_at_a_time(site: Site) -> None:
    site.write("touch ../started; sleep 600")
    first = site.start()
    try:
        wait_for((site.root / "workspace/started").exists)
        second = site.start()
        _, err = second.communicate(timeout=180)
        assert (second.returncode, b"another job runs in this container" in err) == (125, True)
    finally:
        first.terminate()
        first.communicate(timeout=180)
    assert not alive(first.pid)


def test_a_shell_keeps_its_streams_and_its_status(site: Site) -> None:
    site.entry |= {"kind": "shell", "command": ["bash"], "success": ""}
    site.write("")
    process = site.start(stdin=subprocess.PIPE)
    out, _ = process.communicate(b"echo -e '\\033[1m'; echo new > output/file; exit 5\n", timeout=180)
    assert (process.returncode, out) == (5, b"\033[1m\n")
    assert (site.folder / "outputs/Toy/output/file").exists()
    assert site.result["status"] == "succeeded"
