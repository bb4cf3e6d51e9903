"""drivebuild-job under signals, hanging scripts, dying consoles and hostile output: nothing is left, all is kept."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.jobsite import JOB, METRIC, Site, alive, kill_all, wait_for

RANKS = 8
# Ranks as PivotNet's launcher leaves them: children of nobody, each in a session of its own, deaf to what is asked.
ORPHANS = f"""
import os, signal, subprocess, sys, time
rank = "import os, signal, sys, time\\n"
rank += "signal.signal(signal.SIGTERM, signal.SIG_IGN) if sys.argv[1] == 'deaf' else None\\n"
rank += "open('../pids', 'a').write('%d\\\\n' % os.getpid())\\n"
rank += "time.sleep(600)\\n"
for number in range({RANKS}):
    subprocess.Popen([sys.executable, "-c", rank, sys.argv[1]], start_new_session=True)
print("started", flush=True)
if sys.argv[2] == "leave":
    while len(open("../pids").readlines() if os.path.exists("../pids") else []) < {RANKS}:
        time.sleep(0.02)
    print({METRIC!r}, flush=True)
    os._exit(0)
time.sleep(600)
"""
HEIRS = f"""
import os
for _ in range(400):
    if os.fork():
        os._exit(0)
print({METRIC!r})
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def pids(site: Site) -> list[int]:
    file = site.root / "workspace/pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def started(site: Site, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
    """Start the script with the ranks, and wait until all of them run."""
    site.entry["command"] = [sys.executable, "train.sh"]
    site.write(ORPHANS)
    process = site.start(*arguments, **streams)
    wait_for(lambda: len(pids(site)) == RANKS)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_reaches_every_rank(site: Site, number: signal.Signals, code: int) -> None:
    process = started(site, "polite", "stay")
    try:
        process.send_signal(number)
        _, err = process.communicate(timeout=180)
        assert process.returncode == code, err
        assert not any(map(alive, pids(site)))
        assert (site.result["status"], site.result["signal"]) == ("interrupted", number.name)
        assert {"job.log", "run.json", "result.json"} <= {path.name for path in site.folder.iterdir()}
    finally:
        kill_all(pids(site))


def test_who_is_deaf_is_killed_when_asked_twice(site: Site) -> None:
    process = started(site, "deaf", "stay")
    try:

        def ended() -> bool:
            process.send_signal(signal.SIGTERM)
            return process.poll() is not None

        wait_for(ended)
        process.communicate(timeout=180)
        assert process.returncode == 143
        assert not any(map(alive, pids(site)))
    finally:
        kill_all(pids(site))


@pytest.mark.parametrize("ears", ["polite", "deaf"])
def test_ranks_that_outlive_their_launcher_are_stopped(site: Site, ears: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the patience of a test: the real one is 20 and 30 seconds."""
    monkeypatch.syspath_prepend(str(JOB.parent))
    watcher = (
        "import sys; sys.path.insert(0, sys.argv[1]); import job_run, job;"
        " job_run.Watch.__init__.__defaults__ = (0.3, 0.5); sys.exit(job.main(sys.argv[2:]))"
    )
    site.entry["command"] = [sys.executable, "train.sh"]
    site.write(ORPHANS)
    command = [sys.executable, "-c", watcher, str(JOB.parent), "--jobs", str(site.root / "image/jobs.json")]
    try:
        done = subprocess.run([*command, "train-8p", ears, "leave"], capture_output=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr
        assert "8 processes outlived the command" in site.result["reason"]
        assert not any(map(alive, pids(site)))
    finally:
        kill_all(pids(site))


def test_a_job_whose_work_goes_from_process_to_process_lasts_as_long_as_the_last(site: Site) -> None:
    """As daemons begin: each one ends as soon as it has started the next, and nobody who looks around sees all."""
    site.entry["command"] = [sys.executable, "train.sh"]
    code, _, err = site.run(HEIRS)
    assert code == 0, err
    assert site.log.decode() == f"{METRIC}\n"


def test_silence_is_said_and_ends_the_job_only_where_asked(site: Site) -> None:
    site.entry["quiet_minutes"] = 0.01
    said = f"until grep -qs 'may hang' {site.root}/runs/toy/train-8p/*/job.log; do sleep 0.1; done"
    code, out, _ = site.run(f"{said}; echo '{METRIC}'")
    assert (code, "the job may hang" in out, "the job may hang" in site.log.decode()) == (0, True, True)


def test_a_job_that_hangs_is_stopped_where_asked(site: Site) -> None:
    code, _, _ = site.run("echo one line; sleep 600", DRIVEBUILD_HANG_MINUTES="0.05")
    assert (code, site.result["status"], site.result["evidence"]) == (7, "hung", ["one line"])


def test_a_job_that_hangs_and_is_stopped_by_its_user_hung(site: Site) -> None:
    site.entry["quiet_minutes"] = 0.005
    site.write("echo one line; touch ../started; sleep 600")
    process = site.start()
    wait_for((site.root / "workspace/started").exists)
    wait_for(lambda: b"may hang" in site.log)
    process.terminate()
    process.communicate(timeout=180)
    assert (process.returncode, site.result["status"]) == (143, "hung")


def test_a_console_that_nobody_reads_does_not_end_the_job(site: Site) -> None:
    site.write(f"for i in $(seq 2000); do echo line $i; done; echo '{METRIC}'")
    read, write = os.pipe()
    process = site.start(stdout=write)
    os.close(write)
    os.close(read)
    process.communicate(timeout=180)
    assert (process.returncode, site.log.count(b"line ")) == (0, 2000)


def test_a_terminal_that_dies_does_not_end_the_job(site: Site) -> None:
    site.write(f"touch ../started; sleep 1; echo after; echo '{METRIC}'")
    controller, terminal = pty.openpty()
    process = site.start(stdout=terminal, stderr=terminal, stdin=terminal, start_new_session=True)
    os.close(terminal)
    wait_for((site.root / "workspace/started").exists)
    os.close(controller)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=180) == 0
    assert site.log.decode() == f"after\n{METRIC}\n"


def test_a_console_that_stands_still_does_not_stop_the_job(site: Site) -> None:
    """Ctrl-S, or a pipe that is full: the log has all, the console what it took."""
    site.write(f"head -c 12000000 /dev/zero | tr '\\0' x; echo; echo '{METRIC}'")
    read, write = os.pipe()
    process = site.start(stdout=write)
    os.close(write)
    wait_for(lambda: list((site.root / "runs").glob("*/*/*/result.json")))
    assert site.result["status"] == "succeeded"
    os.close(read)
    process.communicate(timeout=180)
    assert len(site.log) > 12_000_000


def test_a_gigabyte_without_a_newline_needs_no_memory(site: Site) -> None:
    """A quarter of one, with a limit on memory that half of it would break."""
    site.write(f"head -c 250000000 /dev/zero | tr '\\0' x; echo; echo '{METRIC}'")
    limit = f'ulimit -v {400 * 1024}; exec "$@"'
    command = ["bash", "-c", limit, "x", sys.executable, str(JOB), "--jobs", str(site.root / "image/jobs.json")]
    with Path(os.devnull).open("wb") as null:
        done = subprocess.run([*command, "train-8p"], stdout=null, stderr=subprocess.PIPE, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (site.folder / "job.log").stat().st_size == 250_000_000 + len(METRIC) + 2
    (site.folder / "job.log").unlink()


def test_a_terminal_is_not_made_to_obey(site: Site) -> None:
    hostile = "\\033]0;owned\\007\\033[2Jtext\\x9b31m \\xc2\\x9b31m <script>\\t\\r\\n"
    code, out, _ = site.run(f"printf '{hostile}'; echo '{METRIC}'")
    assert code == 0
    assert not set(out) & {chr(number) for number in (*range(9), *range(11, 13), *range(14, 32), 127, *range(128, 160))}
    assert "text" in out
    assert "<script>\t" in out
    # The log keeps what was printed, byte for byte.
    assert b"\033]0;owned\007" in site.log


@pytest.mark.parametrize("sizes", [(1,), (3, 7), (8192,), (8193, 1, 65536)])
def test_lines_cut_anywhere_are_lines(sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(JOB.parent))
    judge = __import__("job_log").Judge(r"^mAP: ([\d.]+)$", ["given up"])
    sys.modules.pop("job_log")
    text = b"a\r\nmAP: 0.4\r\n" + b"x" * 20000 + b" mAP: 0.5\nTraceback (most recent call last):\n  f\nE: 1\nmAP: 0.6"
    at, turn = 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        judge.feed(text[at : at + size])
        at, turn = at + size, turn + 1
    judge.end()
    assert judge.proof == ["mAP: 0.4", "mAP: 0.6"]
    assert judge.exception == "E: 1"
