"""`docker compose run panoocc-train-8p` with the real compose and engine: what is missing on this machine, and, with
stand-ins for NPUs and upstream's script, the whole path and its faults.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.composesite import Server, docker, make_server
from support.files import REPOSITORY
from support.jobsite import LINE, METRIC, wait_for

from builder.engine.host import Engine
from builder.recipe.types import Catalog

pytestmark = pytest.mark.docker
ROOTS = ("NUSCENES_ROOT", "PREPARED_ROOT", "WEIGHTS_ROOT", "RUNS_ROOT")


@pytest.fixture(scope="module")
def server(engine: Engine, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    del engine
    made = make_server(tmp_path_factory.mktemp("server"), catalog)
    yield made
    made.remove()


def compose(file: str, service: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a service as a user does, without an .env."""
    known = {name: value for name, value in os.environ.items() if name not in ROOTS}
    project = ("--project-name", f"none{os.getpid()}", "--env-file", os.devnull, "-f", file)
    try:
        return subprocess.run(
            ("docker", "compose", *project, "run", "--rm", service, *arguments),
            cwd=REPOSITORY,
            env={**known, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    finally:
        docker("network", "rm", f"none{os.getpid()}_default")
        docker("volume", "rm", f"none{os.getpid()}_{service.split('-')[0]}-home")


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that is not about networks and volumes."""
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith((" Network", " Volume"))]
    assert done.returncode != 0
    assert len(said) == 1, done.stderr
    return said[0]


# --- what is missing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "service", "words"),
    [
        ("compose.yaml", "panoocc-train-8p", "drivebuild image panoocc"),
        ("compose.ascend.yaml", "panoocc-train-8p", "drivebuild image panoocc"),
        ("compose.cpu.yaml", "streampetr-smoke", "drivebuild image streampetr --platform debian-12-cpu"),
    ],
)
def test_without_an_image_it_names_the_command_that_makes_it(
    engine: Engine, file: str, service: str, words: str
) -> None:
    said = sentence(compose(file, service, DRIVEBUILD_VARIANT=f"absent{os.getpid()}"))
    assert f'the image is missing, make it with: {words}"' in said


def test_without_folders_it_names_the_variable(server: Server) -> None:
    """Where no driver is missing as well: the engine names one thing at a time, in no order."""
    said = sentence(compose("compose.yaml", "panoocc-prepare-data", DRIVEBUILD_VARIANT=server.variant))
    assert "_ROOT is not set: copy .env.example to .env and fill it in" in said


def test_a_folder_that_does_not_exist_is_named_and_not_made(server: Server, tmp_path: Path) -> None:
    environment = server.environment(NUSCENES_ROOT=str(tmp_path / "typo"))
    said = sentence(compose("compose.yaml", "panoocc-prepare-data", **environment))
    assert f"bind source path does not exist: {tmp_path}/typo" in said
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("file", ["compose.yaml", "compose.ascend.yaml"])
def test_without_a_driver_it_names_it(server: Server, file: str) -> None:
    if Path("/usr/local/Ascend/driver").exists():
        pytest.skip("THIS MACHINE HAS A DRIVER")
    said = sentence(compose(file, "panoocc-train-8p", **server.environment()))
    assert re.search(r"/usr/local/(?:Ascend/driver|dcmi|bin/npu-smi)|/etc/ascend_install.info", said), said


def test_without_a_device_it_names_it(server: Server) -> None:
    server.override(devices=["/dev/davinci0"])
    try:
        assert "/dev/davinci0" in server.run("good").stderr
    finally:
        server.override()


def test_with_too_few_devices_the_job_says_so(server: Server) -> None:
    server.override(devices=["/dev/null:/dev/davinci0", "/dev/null:/dev/davinci_manager"])
    try:
        done = server.run("good")
    finally:
        server.override()
    assert done.returncode == 125
    assert "wants 8 NPUs and sees 1 (davinci0)" in done.stderr
    assert "there is no /dev/hisi_hdc" in done.stderr


# --- the whole path ------------------------------------------------------------------------------


def test_the_whole_path(server: Server) -> None:
    """As a user that the image does not know; the dataset is read-only, and a removed output folder loses nothing."""
    done = server.run("good")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{LINE}\n1234\nhome /workspace/panoocc/.home/1234\n8\n{METRIC}\n"
    folder = server.last()
    assert {path.name for path in folder.iterdir()} == {"job.log", "run.json", "result.json", "outputs"}
    assert {path.stat().st_uid for path in folder.rglob("*")} == {1234}
    assert (folder / "job.log").read_text() == done.stdout
    run = json.loads((folder / "run.json").read_text())
    assert (run["args"], run["uid"], len(run["devices"])) == (["good"], 1234, 9)
    # Caches are kept from run to run, outputs are not mixed.
    assert server.run("good").returncode == 0
    assert server.last() != folder


ENDS = [
    ("rank", "failed", "ended with status 1"),
    ("zero", "unproven", "ValueError: loss is nan"),
    ("metricless", "unproven", "no line shows the result"),
]


@pytest.mark.parametrize(("mode", "status", "reason"), ENDS)
def test_a_fault_is_reported_as_what_it_is(server: Server, mode: str, status: str, reason: str) -> None:
    done = server.run(mode)
    result = server.result()
    assert (done.returncode, result["status"]) == (7, status)
    assert reason in result["reason"]


def test_want_of_memory_is_what_the_kernel_says(server: Server) -> None:
    server.override(mem_limit="160m", memswap_limit="160m")
    try:
        done = server.run("memory")
    finally:
        server.override()
    result: dict[str, Any] = server.result()
    assert (done.returncode, result["status"]) == (7, "out-of-memory")
    assert "for want of memory" in result["reason"]


@pytest.mark.parametrize("mode", ["disk", "log"])
def test_a_full_disk_leaves_a_complete_run_folder(server: Server, mode: str) -> None:
    """Whether the job's own file or the log meets the end of the disk, the result is written."""
    folders = {"/data/nuscenes": "nuscenes", "/data/prepared": "prepared/panoocc", "/data/weights": "weights"}
    mounts = [f"--volume={server.folder / source}:{target}:ro" for target, source in folders.items()]
    names = [*(f"davinci{number}" for number in range(8)), "davinci_manager", "devmm_svm", "hisi_hdc"]
    devices = [f"--device=/dev/null:/dev/{name}" for name in names]
    ask = f"drivebuild-job train-8p {mode} > /dev/null 2>&1; echo $?; cd /runs/*/*/*; ls -A; cat result.json"
    said = docker("run", "--rm", "--tmpfs=/runs:size=2m,mode=1777", *mounts, *devices, server.image, "sh", "-c", ask)
    code, *listed = said[: said.index("{")].split()
    assert (code, set(listed) - {"outputs"}) == ("7", {"job.log", "result.json", "run.json"})
    assert json.loads(said[said.index("{") :])["status"] == "no-space"


# --- signals, and consoles that go ---------------------------------------------------------------


def start(server: Server, name: str, **streams: Any) -> subprocess.Popen[bytes]:
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL, **streams}
    process: subprocess.Popen[bytes] = subprocess.Popen(
        server.words("long", name=name),
        cwd=REPOSITORY,
        env=server.environment(),
        start_new_session=True,
        **pipes,
    )
    wait_for(lambda: "started" in docker("logs", name))
    return process


def test_ctrl_c_at_a_terminal_leaves_nothing_behind(server: Server) -> None:
    name = f"drivebuild-test-terminal-{os.getpid()}"
    controller, terminal = pty.openpty()
    process = start(server, name, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    os.write(controller, b"\x03")
    with contextlib.suppress(OSError):
        # Linux ends the reading of a terminal that nobody has open any more by EIO.
        while os.read(controller, 65536):
            pass
    os.close(controller)
    assert process.wait(timeout=180) == 130
    assert not docker("ps", "--all", "--quiet", "--filter", f"name={name}")
    result = server.result()
    assert (result["status"], result["signal"]) == ("interrupted", "SIGINT")
    assert {"job.log", "run.json", "result.json"} <= {path.name for path in server.last().iterdir()}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_compose_that_is_killed_leaves_the_job_to_the_engine(server: Server, number: signal.Signals) -> None:
    """A dying terminal ends no training, and compose hands no signal on; `docker stop` ends the job in order."""
    name = f"drivebuild-test-killed-{os.getpid()}"
    process = start(server, name)
    process.send_signal(number)
    process.wait(timeout=180)
    assert docker("inspect", "--format", "{{.State.Running}}", name).strip() == "true"
    assert not (server.last() / "result.json").exists()
    docker("stop", name)
    result = server.result()
    assert (result["status"], result["signal"], result["exit_code"]) == ("interrupted", "SIGTERM", 143)
    docker("rm", "--force", name)


# --- the entrypoint of an image without CANN -----------------------------------------------------

REFUSED = ["bash train.sh", "bash test/train.sh --a", "bash -c 'cd x; bash train.sh'", "/a/train.sh"]
STARTED = ["echo pretrain.sh", "echo train.shx", "echo constrain.sh.txt", "true"]


@pytest.mark.parametrize("listed", ["cann-8.2.rc1\n\ntrain.sh\n\n", "", "\n"])
@pytest.mark.parametrize("line", [*REFUSED, *STARTED])
def test_a_stand_in_refuses_its_scripts_by_their_names_alone(
    server: Server, tmp_path: Path, listed: str, line: str
) -> None:
    file = tmp_path / "refused"
    file.write_text(listed)
    command = ["bash", "-c", line[9:-1]] if line.startswith("bash -c") else line.split()
    mount = f"--volume={file}:/opt/drivebuild/refused:ro"
    done = subprocess.run(
        ("docker", "run", "--rm", mount, "--entrypoint", "/opt/drivebuild/entrypoint", server.image, *command),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    refused = line in REFUSED and "train.sh" in listed
    assert (done.returncode == 125) == refused, done.stderr
    assert ("stand-in" in done.stderr) == refused
