"""What nodes are given, in a real bash: which node this is, which job it runs, and what its launcher is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder import paths

FOLDER = paths.TEMPLATES / "k8s"


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """Return a folder of programs that print what they were called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("drivebuild-job", "torchrun", "program"):
        text = '#!/bin/bash\nprintf "%s|" "${0##*/}" "$@"; echo\nenv | sort\n'
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def run(script: str, folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": f"{folder}:{os.environ['PATH']}", **environment}
    command = ["bash", str(FOLDER / script), *words]
    return subprocess.run(command, env=known, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["NODE_RANK", "VC_TASK_INDEX", "RANK"])
def test_node_0_runs_the_job_itself(bin_folder: Path, name: str) -> None:
    done = run("node.sh", bin_folder, "train-8p", "a b", NNODES="2", DRIVEBUILD_HANG_MINUTES="60", **{name: "0"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert lines[0] == "drivebuild-job|train-8p|a b|"
    assert "NODE_RANK=0" in lines
    assert "DRIVEBUILD_NODES=2" in lines
    assert "DRIVEBUILD_HANG_MINUTES=60" in lines


@pytest.mark.parametrize("name", ["NODE_RANK", "VC_TASK_INDEX", "RANK"])
def test_other_nodes_run_the_job_beside_it(bin_folder: Path, name: str) -> None:
    done = run("node.sh", bin_folder, "train-8p", NNODES="12", DRIVEBUILD_HANG_MINUTES="60", **{name: "11"})
    lines = done.stdout.split("\n")
    assert lines[0] == "drivebuild-job|train-8p-node|"
    assert "NODE_RANK=11" in lines
    # They print nothing while all is well.
    assert not [line for line in lines if line.startswith("DRIVEBUILD_HANG_MINUTES")]


def test_the_pods_own_number_comes_before_a_variable_of_the_image(bin_folder: Path) -> None:
    done = run("node.sh", bin_folder, "x", NNODES="4", NODE_RANK="2", VC_TASK_INDEX="1", RANK="0")
    assert "NODE_RANK=2" in done.stdout.split("\n")


def test_run_folders_say_their_node(bin_folder: Path) -> None:
    done = run("node.sh", bin_folder, "x", NNODES="2", NODE_RANK="1")
    name = next(line for line in done.stdout.split("\n") if line.startswith("DRIVEBUILD_RUN="))
    assert name.endswith("Z-node1")
    done = run("node.sh", bin_folder, "x", NNODES="2", NODE_RANK="1", DRIVEBUILD_RUN="night")
    assert "DRIVEBUILD_RUN=night-node1" in done.stdout.split("\n")


@pytest.mark.parametrize("rank", ["", "x", "2", "-1", "1 ", "0x1"])
def test_a_node_without_a_number_starts_nothing(bin_folder: Path, rank: str) -> None:
    done = run("node.sh", bin_folder, "x", NNODES="2", NODE_RANK=rank)
    assert done.returncode == 125
    assert done.stdout == ""
    assert "is no number of one of 2 nodes" in done.stderr


def test_torchrun_is_told_its_place(bin_folder: Path) -> None:
    place = {"NNODES": "2", "NODE_RANK": "1", "NPROC_PER_NODE": "8", "MASTER_ADDR": "a.b", "MASTER_PORT": "29500"}
    done = run("torchrun.sh", bin_folder, "tools/train.py", "--x", "a b", **place)
    assert done.returncode == 0, done.stderr
    words = "--nnodes=2|--node_rank=1|--nproc_per_node=8|--master_addr=a.b|--master_port=29500"
    assert done.stdout.split("\n")[0] == f"torchrun|{words}|tools/train.py|--x|a b|"
    # What a script in tools/ imports lies in the model's folder.
    assert f"PYTHONPATH={bin_folder}" in done.stdout.split("\n")
    done = run("torchrun.sh", bin_folder, "x.py", **place, PYTHONPATH="/opt/MindSpeed")
    assert f"PYTHONPATH={bin_folder}:/opt/MindSpeed" in done.stdout.split("\n")


@pytest.mark.parametrize("missing", ["NNODES", "NODE_RANK", "NPROC_PER_NODE", "MASTER_ADDR", "MASTER_PORT"])
def test_a_launcher_without_a_place_starts_nothing(bin_folder: Path, missing: str) -> None:
    place = {"NNODES": "2", "NODE_RANK": "1", "NPROC_PER_NODE": "8", "MASTER_ADDR": "a.b", "MASTER_PORT": "29500"}
    del place[missing]
    done = run("torchrun.sh", bin_folder, "x.py", **place)
    assert done.returncode != 0
    assert missing in done.stderr
    assert done.stdout == ""


def test_a_program_that_counts_nodes_is_told_nodes(bin_folder: Path) -> None:
    # The operator of AscendJobs has said how many processes there are.
    place = {"NNODES": "2", "NODE_RANK": "1", "WORLD_SIZE": "16", "RANK": "1", "MASTER_ADDR": "a"}
    done = run("environment.sh", bin_folder, "program", "--x", **place)
    lines = done.stdout.split("\n")
    assert lines[0] == "program|--x|"
    assert {"WORLD_SIZE=2", "RANK=1", "MASTER_ADDR=a"} <= set(lines)


def test_the_scripts_are_sound() -> None:
    found = sorted(FOLDER.glob("*.sh"))
    assert len(found) == 3
    # The test group installs it beside this Python.
    command = [str(Path(sys.executable).parent / "shellcheck"), *map(str, found)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
