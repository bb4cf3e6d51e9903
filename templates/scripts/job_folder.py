"""job_folder.py: the folder of one run, the links that lead there, and what is written beside the log.

Runs inside the image, with the standard library and Python 3.8.
"""

import contextlib
import datetime
import fcntl
import json
import os
import re
import select
import shutil
import socket

RECORDED = ("ASCEND_", "HCCL_", "NPU_", "TASK_QUEUE_", "PYTORCH_NPU_", "DRIVEBUILD_", "OMP_")
ALSO_RECORDED = ("CHECKPOINT", "CONFIG_FILE", "PORT", "MASTER_ADDR", "MASTER_PORT")
SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|KEY", re.IGNORECASE)
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")


class Refusal(Exception):
    """The job cannot start; each argument is one thing that is missing."""


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def rfc3339(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def say(text):
    """Tell the console, if there is one still, and if it is not stopped."""
    with contextlib.suppress(OSError):
        if select.select([], [2], [], 2)[1]:
            os.write(2, ("drivebuild-job: %s\n" % text).encode("utf-8", "replace"))


def replace_json(path, value):
    """Write a file whole or not at all."""
    temporary = "%s.%d" % (path, os.getpid())
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def make_folder(job):
    """Make the run folder, or take the one that `drivebuild run` made.

    Raises:
        Refusal: when it cannot be made and the job writes something.
    """
    base = os.path.join(job.table["runs"], job.model, job.name)
    given = os.environ.get("DRIVEBUILD_RUN", "")
    if given and not RUN_NAME.match(given):
        raise Refusal("DRIVEBUILD_RUN is no name of a folder: %r" % given)
    try:
        folder = made_folder(base, given)
    except OSError as error:
        text = (
            "%s cannot be written by user %d (%s): own RUNS_ROOT on the host, or set DRIVEBUILD_UID and DRIVEBUILD_GID"
        )
        text %= (base, os.getuid(), error.strerror)
        if job.entry["outputs"] or job.entry["npus"]:
            raise Refusal(text) from error
        folder = os.path.join(job.table["links"] + "-unkept", job.model, job.name, str(os.getpid()))
        os.makedirs(folder, exist_ok=True)
        say("%s; this job writes nothing, so it goes on without a run folder" % text)
    if os.path.lexists(os.path.join(folder, "result.json")):
        raise Refusal("%s belongs to a run that has ended" % folder)
    for path in job.outputs():
        os.makedirs(os.path.join(folder, "outputs", path), exist_ok=True)
    return folder


def made_folder(base, given):
    if given:
        os.makedirs(os.path.join(base, given), exist_ok=True)
        return os.path.join(base, given)
    os.makedirs(base, exist_ok=True)
    name = now().strftime("%Y%m%dT%H%M%SZ")
    for number in range(1, 1000):
        folder = os.path.join(base, name if number == 1 else "%s-%d" % (name, number))
        try:
            os.mkdir(folder)
            return folder
        except FileExistsError:
            continue
    raise FileExistsError(17, "too many runs in one second", base)


def connect_links(job):
    """Make the links of the image lead to this run's folder.

    Raises:
        Refusal: when another job runs in this container.
    """
    links = job.table["links"]
    os.makedirs(os.path.dirname(links), exist_ok=True)
    lock = os.open(links + ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise Refusal("another job runs in this container, and its output is linked") from error
    temporary = "%s.%d" % (links, os.getpid())
    os.symlink(job.folder, temporary)
    os.replace(temporary, links)
    rescue(job)
    for entry in job.entry["generated"]:
        folder = entry["path"] if entry["kind"] == "folder" else os.path.dirname(entry["path"])
        os.makedirs(folder, exist_ok=True)
    return lock


def rescue(job):
    """Bring what a script wrote over a link to where the link led: `rm -rf output` takes the link away."""
    places = [(path, os.path.join(job.folder, "outputs", path)) for path in job.outputs()]
    if job.entry["prepares"]:
        root = job.table["data_root"]
        for folder, names, files in os.walk(os.path.join(job.workspace, root)):
            names[:] = [name for name in names if not os.path.islink(os.path.join(folder, name))]
            for name in files:
                path = os.path.relpath(os.path.join(folder, name), job.workspace)
                if not os.path.islink(os.path.join(job.workspace, path)):
                    places.append((path, os.path.join(job.table["prepared"], os.path.relpath(path, root))))
    for path, target in places:
        place = os.path.join(job.workspace, path)
        if os.path.islink(place) or not os.path.exists(place):
            continue
        try:
            move_into(place, target)
            link = os.path.join(job.table["links"], "outputs", path) if path in job.outputs() else target
            os.symlink(link, place)
        except OSError as error:
            say("%s could not be kept in %s: %s" % (place, target, error.strerror))


def move_into(source, target):
    """Move a file or folder, into the target where that is a folder already; nothing is overwritten."""
    if os.path.isdir(source) and os.path.isdir(target):
        for name in os.listdir(source):
            move_into(os.path.join(source, name), os.path.join(target, name))
        os.rmdir(source)
        return
    free, number = target, 1
    while os.path.lexists(free):
        number += 1
        free = "%s.%d" % (target, number)
    os.makedirs(os.path.dirname(free), exist_ok=True)
    shutil.move(source, free)


def drop_empty(folder):
    """Remove the folders that a run did not use."""
    for path, _, _ in os.walk(os.path.join(folder, "outputs"), topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def write_run(job, command, started):
    """Write run.json, unless `drivebuild run` did, and the manifest of the image."""
    path = os.path.join(job.folder, "run.json")
    if not os.path.exists(path):
        names = set(job.table["environment"]) | set(job.entry["environment"]) | set(ALSO_RECORDED)
        kept = {
            name: value
            for name, value in sorted(job.environment.items())
            if (name in names or name.startswith(RECORDED)) and not SECRET.search(name)
        }
        devices = job.table["devices"]
        record = {
            "schema": 1,
            "model": job.model,
            "job": job.name,
            "platform": job.table["platform"],
            "variant": job.table["variant"],
            "command": command,
            "args": job.arguments,
            "environment": kept,
            "image": {"reference": os.environ.get("DRIVEBUILD_IMAGE"), "digest": None},
            "devices": sorted(n for n in os.listdir(devices) if n.startswith("davinci")) if job.entry["npus"] else [],
            "uid": os.getuid(),
            "gid": os.getgid(),
            "host": socket.gethostname(),
            "started": rfc3339(started),
            "drivebuild": None,
        }
        replace_json(path, record)
    manifest = os.path.join(job.beside, "manifest.json")
    if os.path.exists(manifest) and not os.path.exists(os.path.join(job.folder, "manifest.json")):
        shutil.copyfile(manifest, os.path.join(job.folder, "manifest.json"))


def prepare_environment(job):
    """A home for caches that belongs to the user, and what the recipe sets; the caller's own values win."""
    for name, value in job.entry["environment"].items():
        job.environment.setdefault(name, value)
    # Lines are wanted when they are printed, not by the block.
    job.environment.setdefault("PYTHONUNBUFFERED", "1")
    homes = os.environ.get("DRIVEBUILD_HOME", "")
    if not homes:
        return
    home = os.path.join(homes, str(os.getuid()))
    try:
        os.makedirs(home, mode=0o700, exist_ok=True)
        job.environment["HOME"] = home
    except OSError as error:
        say("%s cannot be made (%s): caches will not be kept" % (home, error.strerror))
