"""A server for `docker compose run panoocc-train-8p`, as far as none is at hand: the one place of these stand-ins.

An image with the real entrypoint, drivebuild-job, table of jobs and links, and in place of upstream's train script one
that misbehaves as it is told; character devices that are /dev/null; an empty driver; a dataset of empty folders.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.plan.jobs import DEVICES, job_table, links
from builder.recipe.types import Catalog
from support.files import REPOSITORY
from support.jobsite import LINE, METRIC

SCRIPTS = REPOSITORY / "templates/scripts"
MODEL, PLATFORM = "panoocc", "cann-8.2.rc1"
TRAIN = f"""
echo '{LINE}'
mode=$1
case "$mode" in
good) mkdir -p output/x; echo weights > output/x/latest.pth; id -u; echo "home $HOME"; touch "$HOME/kept"
    touch data/nuscenes/samples/x 2> /dev/null && echo 'the dataset is writable'
    ls /dev/davinci? | wc -l; rm -rf output; echo '{METRIC}' ;;
rank) (sleep 0.2; exit 9) & wait $! || exit 1 ;;
memory) python3 -c 'x = bytearray(600 << 20)'; exit 1 ;;
disk) head -c 20000000 /dev/zero > output/big || exit 1 ;;
log) head -c 20000000 /dev/zero | tr '\\0' x; echo; echo '{METRIC}' ;;
zero) python3 -c 'raise ValueError("loss is nan")'; exit 0 ;;
metricless) exit 0 ;;
long) for rank in 0 1 2 3 4 5 6 7; do setsid sleep 3600 & done; echo started; wait ;;
esac
"""


@dataclass(frozen=True)
class Server:
    """Folders, an image and an override that bring what this machine lacks."""

    folder: Path
    variant: str
    table: dict[str, Any]

    @property
    def image(self) -> str:
        return f"drivebuild/{MODEL}:{PLATFORM}-{self.variant}"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def build(self, catalog: Catalog) -> None:
        """Build the image."""
        context = self.folder / "context"
        context.mkdir()
        (context / "jobs.json").write_text(json.dumps(self.table))
        (context / "train_8p.sh").write_text(TRAIN)
        (context / "drivebuild-job").write_text('#!/bin/sh\nexec python3 -E -s /opt/drivebuild/job/job.py "$@"\n')
        for path in (*SCRIPTS.glob("job*.py"), SCRIPTS / "entrypoint.sh"):
            (context / path.name).write_bytes(path.read_bytes())
        made = " ".join(
            f"mkdir -p $(dirname {link.path}) && ln -sT {link.target} {link.path} &&"
            for link in links(catalog.models[MODEL])
        )
        (context / "Dockerfile").write_text(f"""\
FROM localhost/drivebuild/base:debian-12
COPY jobs.json /opt/drivebuild/
COPY --chmod=755 entrypoint.sh /opt/drivebuild/entrypoint
COPY job*.py /opt/drivebuild/job/
COPY --chmod=755 drivebuild-job /usr/local/bin/
COPY --chown=1000:1000 train_8p.sh /workspace/{MODEL}/PanoOcc/migrate_to_ascend/
RUN cd /workspace/{MODEL} && {made} mkdir .home && chown -R 1000:1000 . && chmod -R g=u .
USER 1000:1000
""")
        subprocess.run(
            ("docker", "build", "--quiet", "--tag", self.image, str(context)), check=True, capture_output=True
        )

    def furnish(self) -> None:
        """Make the folders that .env names, what the table says belongs into them, and the override."""
        places = {"/data/nuscenes": "nuscenes", "/data/prepared": f"prepared/{MODEL}", "/data/weights": "weights"}
        job = self.table["jobs"]["train-8p"]
        for place in (*places.values(), "runs", "driver"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        for entry in (*job["data"], *job["weights"]):
            root, _, rest = entry["path"][len("/data/") :].partition("/")
            path = self.folder / places[f"/data/{root}"] / rest
            path.parent.mkdir(parents=True, exist_ok=True)
            if entry.get("kind") == "folder":
                path.mkdir(exist_ok=True)
            else:
                path.write_text("stand-in")
        (self.folder / "npu-smi").write_text("")
        os.chown(self.runs, 1234, 1234)
        self.override()

    def override(self, **service: Any) -> None:
        """Write what this machine has in place of NPUs and their driver; JSON but for a tag that YAML alone has."""
        driver = {"/usr/local/Ascend/driver": "driver", "/usr/local/dcmi": "driver"}
        driver |= {"/usr/local/bin/npu-smi": "npu-smi", "/etc/ascend_install.info": "npu-smi"}
        names = [*(f"davinci{number}" for number in range(8)), *DEVICES]
        described = {
            "devices": [f"/dev/null:/dev/{name}" for name in names],
            "volumes": [
                {"type": "bind", "source": str(self.folder / source), "target": target, "read_only": True}
                for target, source in driver.items()
            ],
            # The limit of an engine that may be run without the right to raise it.
            "ulimits": {"nofile": 1024},
            **service,
        }
        text = json.dumps({"services": {f"{MODEL}-train-8p": described}})
        text = text.replace('"devices": [', '"devices": !override [')
        (self.folder / "override.yaml").write_text(text)

    def environment(self, **more: str) -> dict[str, str]:
        """Return what .env would say."""
        return {
            **os.environ,
            "NUSCENES_ROOT": str(self.folder / "nuscenes"),
            "PREPARED_ROOT": str(self.folder / "prepared"),
            "WEIGHTS_ROOT": str(self.folder / "weights"),
            "RUNS_ROOT": str(self.runs),
            "DRIVEBUILD_UID": "1234",
            "DRIVEBUILD_GID": "1234",
            "DRIVEBUILD_VARIANT": self.variant,
            **more,
        }

    def words(self, *arguments: str, name: str = "") -> list[str]:
        """Return the command that runs the job with the stand-ins."""
        files = ["-f", f"compose/{MODEL}.yaml", "-f", str(self.folder / "override.yaml")]
        project = ["--project-directory", str(REPOSITORY), "--project-name", self.variant]
        named = ["--name", name] if name else []
        return ["docker", "compose", *project, *files, "run", "--rm", *named, f"{MODEL}-train-8p", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the job to its end."""
        return subprocess.run(
            self.words(*arguments),
            cwd=REPOSITORY,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )

    def last(self) -> Path:
        """Return the newest run folder."""
        return max((self.runs / MODEL / "train-8p").iterdir(), key=lambda path: path.stat().st_ctime_ns)

    def result(self) -> dict[str, Any]:
        """Return the newest run's result."""
        found: dict[str, Any] = json.loads((self.last() / "result.json").read_text())
        return found

    def remove(self) -> None:
        """Take away all that the engine keeps of this server."""
        for container in docker("ps", "--all", "--quiet", "--filter", f"ancestor={self.image}").split():
            docker("rm", "--force", container)
        docker("network", "rm", f"{self.variant}_default")
        docker("volume", "rm", f"{self.variant}_{MODEL}-home")
        docker("image", "rm", "--force", self.image)


def docker(*words: str) -> str:
    """Return what docker prints, whatever it thinks of it."""
    return subprocess.run(("docker", *words), capture_output=True, text=True, check=False, timeout=180).stdout


def make_server(folder: Path, catalog: Catalog) -> Server:
    """Return a server with its image and its folders."""
    table = job_table(catalog.models[MODEL], catalog.platforms[PLATFORM], "stock", {"mx-driving": "source"})
    server = Server(folder, f"test{os.getpid()}", table)
    server.build(catalog)
    server.furnish()
    return server
