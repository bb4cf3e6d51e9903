"""`drivebuild run` on a real engine, with stand-ins for training that fail in every way that the facts name."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.hosts import npu_host
from support.jobs import CPU, NPU, Site, write_context, write_recipes
from support.locks import with_locks

from builder.engine.host import Engine
from builder.source.catalog import read_catalog


def docker(*words: str) -> str:
    done = subprocess.run(("docker", *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of recipes; the images of both platforms are there while the module runs."""
    folder = tmp_path_factory.mktemp("toyrun")
    recipes = write_recipes(folder / "recipes")
    catalog = with_locks(read_catalog((recipes,)))
    tags = []
    for platform in (CPU, NPU):
        context = write_context(catalog, folder / platform, platform)
        tags.append(f"drivebuild/toyrun:{platform}-stock")
        docker("build", "--quiet", "--tag", tags[-1], str(context))
    yield recipes
    docker("image", "rm", "--force", *tags)
    subprocess.run(("docker", "volume", "rm", "--force", "site_toyrun-home"), capture_output=True, check=False)


@pytest.fixture
def site(images: Path, tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    yield Site(folder, images)
    leftovers = containers(everywhere=tmp_path)
    for name in leftovers:
        docker("rm", "--force", name)
    for name in docker("network", "ls", "--quiet", "--filter", "label=com.docker.compose.project=site").split():
        subprocess.run(("docker", "network", "rm", name), capture_output=True, check=False)
    assert not leftovers, "a container was left behind"


def containers(*, everywhere: Path) -> list[str]:
    """Return the containers of runs below a folder, ended ones as well."""
    lines = docker(
        "ps", "--all", "--filter", "label=drivebuild.run", "--format", '{{.Names}} {{.Label "drivebuild.folder"}}'
    )
    return [line.split()[0] for line in lines.splitlines() if line.split()[1].startswith(str(everywhere))]


def until(what: Callable[[], object], limit: float = 180.0) -> None:
    end = time.monotonic() + limit
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


def begun(site: Site, word: str = "started") -> Callable[[], bool]:
    return lambda: any(word in path.read_text() for path in site.runs.glob("*/*/*/job.log"))


def cpu(job: str, *words: str) -> tuple[str, ...]:
    return ("run", "toyrun", job, "--platform", CPU, *words)


# --- ends ------------------------------------------------------------------------------------------


def test_a_job_that_proves_its_success(site: Site) -> None:
    done = site.drivebuild(
        *cpu("good", "--env", "API_TOKEN=hunter2", "--env", "COLOUR=blue"), "--", "--lr", "a b; $(c)"
    )
    assert done.returncode == 0, done.stderr
    assert "mAP: 0.41" in done.stdout
    assert "--lr a b; $(c)" in done.stdout
    assert "succeeded in" in done.stderr
    (run,) = site.all_runs()
    assert {path.name for path in run.iterdir()} == {
        "compose.json",
        "job.log",
        "manifest.json",
        "outputs",
        "result.json",
        "run.json",
    }
    assert (run / "outputs/Toy/out/made").read_text() == "x\n"
    assert (run / "outputs/Toy/out/made").stat().st_uid == os.getuid()
    start = json.loads((run / "run.json").read_text())
    assert start["image"]["digest"].startswith("sha256:")
    assert start["args"] == ["--lr", "a b; $(c)"]
    assert start["environment"] == {"API_TOKEN": "(not recorded)", "COLOUR": "blue"}
    assert "hunter2" not in "".join(path.read_text() for path in run.glob("*.json"))
    assert site.last_result()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("job", "status", "reason"),
    [
        ("status", "failed", "status 3"),
        ("rank", "failed", "status 1"),
        ("traceback", "unproven", "ValueError: loss is nan"),
        ("metricless", "unproven", "no line shows the result"),
    ],
)
def test_a_job_that_fails_is_reported_as_what_it_is(site: Site, job: str, status: str, reason: str) -> None:
    done = site.drivebuild(*cpu(job))
    assert done.returncode == 7
    assert reason in done.stderr
    assert f" {status} after " in done.stderr
    assert site.last_result()["status"] == status


def test_a_job_that_takes_too_much_memory(site: Site) -> None:
    done = site.drivebuild(*cpu("memory", "--memory", "100m"))
    assert done.returncode == 7
    assert site.last_result()["status"] == "out-of-memory"
    assert "memory" in done.stderr


def test_a_job_that_fills_the_disk(site: Site, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    if (
        os.getuid() != 0
        or subprocess.run(("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(full)), check=False).returncode
    ):
        pytest.skip("NO MOUNT: only root can make a small disk")
    try:
        done = site.drivebuild(*cpu("disk"), RUNS_ROOT=str(full))
        assert done.returncode == 7
        (result,) = full.glob("*/*/*/result.json")
        assert json.loads(result.read_text())["status"] == "no-space"
        assert "No space left" in done.stderr
    finally:
        subprocess.run(("umount", str(full)), check=True)


def test_a_job_that_hangs(site: Site) -> None:
    done = site.drivebuild(*cpu("stubborn", "--env", "DRIVEBUILD_HANG_MINUTES=0.02"))
    assert done.returncode == 7
    assert site.last_result()["status"] == "hung"


def test_hostile_output(site: Site) -> None:
    done = site.drivebuild(*cpu("hostile"))
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert len((site.all_runs()[-1] / "job.log").read_bytes()) > 30_000_000
    assert "\x1b" not in site.drivebuild("runs", "show").stdout


def test_a_shell_is_the_callers_own(site: Site) -> None:
    process = site.start(*cpu("shell"), stdin=subprocess.PIPE)
    output = process.communicate(b"pwd; id -u; exit 4\n", timeout=180)[0].decode()
    assert process.returncode == 4, output
    assert f"/workspace/toyrun/Toy\n{os.getuid()}\n" in output
    assert site.last_result()["status"] == "succeeded"


# --- what is missing -------------------------------------------------------------------------------


def test_all_that_is_missing_is_said_at_once_and_nothing_is_started(site: Site) -> None:
    done = site.drivebuild("run", "toyrun", "train-2p", "--no-build")
    assert done.returncode == 7
    for words in ("/dev/davinci0", "NUSCENES_ROOT is not set", "PREPARED_ROOT is not set", "WEIGHTS_ROOT is not set"):
        assert words in done.stderr
    assert not site.runs.exists()


def test_a_dry_run_touches_nothing(site: Site) -> None:
    done = site.drivebuild(*cpu("good", "--dry-run"))
    assert done.returncode == 0, done.stderr
    command, _, project = done.stdout.partition("\n\n")
    assert command.startswith("$ docker compose --project-directory ")
    assert json.loads(project.partition(":\n")[2])["services"]["toyrun-good"]["user"] == f"{os.getuid()}:{os.getgid()}"
    assert list(site.folder.iterdir()) == []


def test_a_folder_of_runs_that_cannot_be_written(site: Site) -> None:
    (site.folder / "file").write_text("")
    done = site.drivebuild(*cpu("good"), RUNS_ROOT=str(site.folder / "file/runs"))
    assert done.returncode == 7
    assert "RUNS_ROOT" in done.stderr


def test_a_folder_of_runs_on_a_disk_that_is_read_only(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "ro"
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder))
    if os.getuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("NO MOUNT: only root can make a disk that is read-only")
    try:
        done = site.drivebuild(*cpu("good"), RUNS_ROOT=str(folder))
        assert done.returncode == 7
        assert f"{folder} cannot be written by you" in done.stderr
    finally:
        subprocess.run(("umount", str(folder)), check=True)


# --- NPUs ------------------------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path: Path, site: Site) -> Path:
    """A made-up host with two NPUs, whose devices are null's, and a site with data."""
    root = npu_host(tmp_path / "host", count=4)
    # The engine is the real one, and so are its limits.
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().strip() in ("dockerd", "containerd"):
                (root / "proc" / process.name).mkdir()
                for name in ("comm", "limits", "status"):
                    (root / "proc" / process.name / name).write_text((process / name).read_text())
    for path in (root / "dev").glob("d*"):
        remake_as_device(path)
    remake_as_device(root / "dev/hisi_hdc")
    for name in ("nuscenes/samples", "nuscenes/maps", "prepared/toyrun", "weights"):
        (site.folder / name).mkdir(parents=True)
    (site.folder / "weights/w.pth").write_bytes(b"w")
    names = {"NUSCENES_ROOT": "nuscenes", "PREPARED_ROOT": "prepared", "WEIGHTS_ROOT": "weights"}
    (site.folder / ".env").write_text("".join(f"{name}=./{folder}\n" for name, folder in names.items()))
    return root


def remake_as_device(path: Path) -> None:
    path.unlink()
    try:
        os.mknod(path, 0o020666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("NO DEVICES: only root can make them")
    path.chmod(0o666)


def test_a_job_gets_the_devices_that_were_named(site: Site, host: Path) -> None:
    done = site.drivebuild("run", "toyrun", "train-2p", "--host-root", str(host), "--devices", "1,3")
    assert done.returncode == 0, done.stderr
    start = json.loads((site.all_runs()[-1] / "run.json").read_text())
    assert start["devices"] == ["davinci1", "davinci3"]


def test_on_a_terminal_a_line_says_where_the_job_is(site: Site, host: Path) -> None:
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (40, 150))
    process = site.start("run", "toyrun", "train-2p", "--host-root", str(host), stdout=follower, stderr=follower)
    os.close(follower)
    seen = b""
    with contextlib.suppress(OSError):
        while piece := os.read(leader, 65536):
            seen += piece
    os.close(leader)
    assert process.wait(timeout=180) == 0, seen
    assert b"epoch 1/2, step 1/2" in seen
    assert b"loss 0.5, 0.1 s a step (published 0.2 s, -50 %)" in seen
    assert b"mAP: 0.41" in seen


def test_a_device_that_is_in_use_is_named_with_its_user(site: Site, host: Path) -> None:
    words = ("run", "toyrun", "train-2p", "--host-root", str(host))
    holder = docker(
        "run",
        "--rm",
        "--detach",
        f"--device={host}/dev/davinci1:/dev/davinci1",
        "localhost/drivebuild/base:debian-12",
        "sleep",
        "infinity",
    )
    try:
        done = site.drivebuild(*words)
        assert done.returncode == 7
        assert "device 1 in use by the container" in done.stderr
        assert site.drivebuild(*words, "--devices", "2-3").returncode == 0
    finally:
        docker("kill", holder)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--devices", "0,0"), 2, "named twice"),
        (("--devices", "x"), 2, "expected numbers"),
        (("--devices", "0-3"), 2, "takes 2 NPUs, 4 are named"),
        (("--devices", "6-7"), 7, "/dev/davinci6"),
    ],
)
def test_devices_that_cannot_be_meant(site: Site, host: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = site.drivebuild("run", "toyrun", "train-2p", "--host-root", str(host), *words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_driver_and_data_that_lack_something(site: Site, host: Path) -> None:
    (host / "usr/local/dcmi").rmdir()
    (site.folder / "nuscenes/maps").rmdir()
    (site.folder / "weights/w.pth").unlink()
    done = site.drivebuild("run", "toyrun", "train-2p", "--host-root", str(host))
    assert done.returncode == 7
    assert "/usr/local/dcmi is missing" in done.stderr
    assert "nuscenes lacks maps" in done.stderr
    assert "weights lacks w.pth: https://example.org/w.pth" in done.stderr
    assert not site.runs.exists()


# --- signals and deaths ----------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_reaches_every_process_of_the_job(site: Site, number: signal.Signals, code: int) -> None:
    process = site.start(*cpu("long"))
    until(begun(site))
    process.send_signal(number)
    output = process.communicate(timeout=180)[0].decode()
    assert process.returncode == code, output
    result = site.last_result()
    assert result["status"] == "interrupted"
    assert (site.all_runs()[-1] / "outputs/Toy/out/made").read_text() == "kept\n"


def test_a_second_signal_kills(site: Site) -> None:
    process = site.start(*cpu("stubborn"))
    until(begun(site))
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)  # an impatient user; the job itself would take two signals of one second for one
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=180)
    assert process.returncode == 130
    assert site.last_result()["status"] == "interrupted"


def test_a_terminal_that_dies_takes_its_job_along_and_leaves_a_result(site: Site) -> None:
    leader, follower = pty.openpty()
    process = site.start(
        *cpu("long"),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        preexec_fn=lambda: os.login_tty(follower),
        start_new_session=False,
    )
    os.close(follower)
    until(begun(site))
    os.close(leader)
    process.wait(timeout=180)
    assert site.last_result()["status"] == "interrupted"


def test_a_drivebuild_that_is_killed_leaves_the_job_running_and_the_next_clears_up(site: Site, tmp_path: Path) -> None:
    process = site.start(*cpu("long"))
    until(begun(site))
    process.kill()
    process.communicate()
    (name,) = containers(everywhere=tmp_path)
    assert "running" in site.drivebuild("runs", "ls").stdout
    assert site.drivebuild("runs", "stop").returncode == 0
    until(lambda: site.all_runs()[-1].joinpath("result.json").exists())
    until(lambda: docker("inspect", "--format", "{{.State.Running}}", name) == "false")
    assert "interrupted" in site.drivebuild("runs", "ls").stdout
    assert not containers(everywhere=tmp_path)


@pytest.mark.parametrize("how", [("kill",), ("rm", "--force")])
def test_a_container_that_is_killed_from_outside(site: Site, tmp_path: Path, how: tuple[str, ...]) -> None:
    process = site.start(*cpu("long"))
    until(begun(site))
    (name,) = containers(everywhere=tmp_path)
    docker(*how, name)
    output = process.communicate(timeout=180)[0].decode()
    assert process.returncode == 7, output
    result = site.last_result()
    assert result["status"] == "failed"
    # `docker rm --force` kills before it removes, and either may be seen first.
    assert "killed from outside" in result["reason"] or (how != ("kill",) and "vanished" in result["reason"])


def test_detached(site: Site) -> None:
    done = site.drivebuild(*cpu("good", "--detach"))
    assert done.returncode == 0, done.stderr
    name = done.stdout.strip()
    followed = site.drivebuild("runs", "logs", "-f", name)
    assert followed.returncode == 0, followed.stderr
    assert "mAP: 0.41" in followed.stdout
    shown = json.loads(site.drivebuild("runs", "show", name, "--json").stdout)
    assert shown["status"] == "succeeded"
    assert "mAP 0.41" in shown["last"]
