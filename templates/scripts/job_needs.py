"""job_needs.py: what keeps a job from starting, all of it at once.

Runs inside the image, with the standard library and Python 3.8. It only looks.
"""

import glob
import os
import re
import stat


def missing(job):
    """Yield everything that keeps the job from starting."""
    yield from refused(job)
    yield from missing_npus(job)
    yield from missing_files(job)
    if not os.path.isdir(job.directory):
        yield "the image has no folder %s" % job.directory
    if job.entry["prepares"] and not os.access(job.table["prepared"], os.W_OK):
        yield "%s is not writable for user %d: own it on the host, or set DRIVEBUILD_UID and DRIVEBUILD_GID" % (
            job.table["prepared"],
            os.getuid(),
        )
    if job.entry["checkpoint"]:
        yield from missing_checkpoint(job)


def refused(job):
    """A stand-in for CANN can be imported and compiled against, and trains nothing."""
    try:
        with open(os.path.join(job.beside, "refused"), encoding="utf-8") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError:
        return
    if lines and job.entry["npus"]:
        yield "CANN is a link-only stand-in in this image: build the model for %s" % lines[0]


def missing_npus(job):
    wanted = job.entry["npus"]
    if not wanted or job.table["accelerator"] != "npu" or job.entry["kind"] == "shell":
        return
    given = os.environ.get("DRIVEBUILD_NPUS", "")
    if given.isdigit():
        wanted = int(given)
    devices = job.table["devices"]
    names = sorted(os.listdir(devices)) if os.path.isdir(devices) else []
    found = [name for name in names if re.match(r"davinci\d+\Z", name) and is_device(os.path.join(devices, name))]
    if len(found) != wanted:
        # More is wrong, too: some scripts take every NPU they see and compute their figures for the number they expect.
        yield "it wants %d NPUs and sees %d (%s)" % (wanted, len(found), ", ".join(found) or "no %s/davinci*" % devices)
    for name in job.table["needs_devices"]:
        if not is_device(os.path.join(devices, name)):
            yield "there is no %s/%s: the driver's devices are not in the container" % (devices, name)
    closed = [name for name in found if not os.access(os.path.join(devices, name), os.R_OK | os.W_OK)]
    if closed:
        yield "user %d may not use %s: it needs the devices' group" % (os.getuid(), ", ".join(closed))


def is_device(path):
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


def missing_files(job):
    lost, unprepared = [], []
    for entry in job.entry["data"]:
        present = os.path.isdir(entry["path"]) if entry["kind"] == "folder" else os.path.isfile(entry["path"])
        if not present:
            (unprepared if entry["generated"] else lost).append(entry)
    root = job.table["data"]
    if lost and len(lost) == len([entry for entry in job.entry["data"] if not entry["generated"]]):
        yield "%s has none of the dataset's folders: NUSCENES_ROOT must be the folder that holds %s" % (
            root,
            listed([os.path.basename(entry["path"]) for entry in lost]),
        )
    elif lost:
        yield "the dataset lacks %s" % listed([os.path.relpath(entry["path"], root) for entry in lost])
    fetched = [entry for entry in unprepared if entry["url"]]
    made = [entry for entry in unprepared if not entry["url"]]
    if made:
        names = listed([os.path.relpath(entry["path"], job.table["prepared"]) for entry in made])
        yield "PREPARED_ROOT/%s lacks %s: run the job prepare-data first" % (job.model, names)
    for entry in fetched:
        yield "PREPARED_ROOT/%s lacks %s: download it from %s" % (
            job.model,
            os.path.relpath(entry["path"], job.table["prepared"]),
            entry["url"],
        )
    for weight in job.entry["weights"]:
        if not os.path.isfile(weight["path"]):
            where = weight["url"] or weight["note"]
            yield "WEIGHTS_ROOT lacks %s: %s" % (os.path.basename(weight["path"]), where)


def listed(names, most=4):
    more = ["%d more" % (len(names) - most)] if len(names) > most else []
    return ", ".join(names[:most] + more)


def missing_checkpoint(job):
    """Find what to evaluate: CHECKPOINT, or the newest of an earlier training."""
    given = os.environ.get("CHECKPOINT", "")
    if given:
        if not os.path.isfile(os.path.join(job.directory, given)):
            yield "there is no checkpoint %s in the container; runs are below %s" % (given, job.table["runs"])
        return
    runs = os.path.join(glob.escape(job.table["runs"]), job.model)
    # A performance run is too short to be worth an evaluation.
    trained = [n for n, j in job.table["jobs"].items() if j["kind"] == "train" and not n.endswith("-performance")]
    found = [
        path
        for name in trained
        for path in glob.glob(os.path.join(runs, name, "*", "outputs", job.entry["checkpoint"]))
        if os.path.isfile(path)
    ]
    if not found:
        yield "no run of %s has a checkpoint: train first, or set CHECKPOINT to a file" % " or ".join(sorted(trained))
        return
    job.environment["CHECKPOINT"] = max(found, key=os.path.getmtime)
