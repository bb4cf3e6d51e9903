"""drivebuild-job JOB [ARGUMENT...]: run a job of this image, and say truly how it ended.

Runs inside the image, with the standard library and Python 3.8. Checks first what the job needs and says all that
is missing (exit 125); makes a run folder; keeps every line; judges the end by what the recipe asks for, because
upstream's scripts exit 0 after a failed training. Exits 0 when the job proved its success, 130 or 143 when it was told
to stop, else 7. Facts: recipes.md sections 5 and 7, C13 and C14.
"""

import difflib
import json
import os
import signal
import subprocess
import sys
import time

import job_run
from job_folder import (
    Refusal,
    connect_links,
    drop_empty,
    make_folder,
    now,
    prepare_environment,
    replace_json,
    rescue,
    rfc3339,
    say,
    write_run,
)
from job_log import Console, Judge, LogFile
from job_needs import missing
from job_verdict import counted_oom_kills, decide

TABLE = "/opt/drivebuild/jobs.json"
REFUSED, FAILED = 125, 7


class Job:
    """A job of the table, and the places it lives in."""

    def __init__(self, table, name, arguments, beside):
        jobs = table["jobs"]
        if name not in jobs:
            near = difflib.get_close_matches(name, jobs, 1)
            hint = "did you mean '%s'?" % near[0] if near else "there are %s" % ", ".join(sorted(jobs))
            raise Refusal("%s on %s has no job '%s': %s" % (table["model"], table["platform"], name, hint))
        self.table, self.name, self.arguments, self.beside = table, name, arguments, beside
        self.model, self.entry = table["model"], jobs[name]
        self.workspace = table["workspace"]
        self.directory = os.path.normpath(os.path.join(self.workspace, self.entry["directory"]))
        self.environment = dict(os.environ)
        self.folder = ""

    @property
    def command(self):
        """The command with the caller's arguments, which `bash -c` takes only where its text has a place for them."""
        command = list(self.entry["command"])
        if not self.arguments:
            return command
        if command[:2] == ["bash", "-c"]:
            if '"$@"' not in command[2]:
                raise Refusal("%s %s takes no arguments" % (self.model, self.name))
            command.append(self.name)
        return command + self.arguments

    def outputs(self):
        """What any job of the model writes: the links are there for all."""
        return sorted({path for job in self.table["jobs"].values() for path in job["outputs"]})


def minutes(name):
    try:
        return max(float(os.environ.get(name) or 0), 0) * 60
    except ValueError:
        raise Refusal("%s is no number of minutes: %r" % (name, os.environ[name])) from None


def run_captured(job, hang):
    """Run the job, keep what it prints, and judge it. Return the record of its end."""
    judge = Judge(job.entry["success"], job.entry["failures"])
    console, log = Console(), LogFile(job.folder)
    before = counted_oom_kills()

    def take(piece):
        log.write(piece)
        console.show(piece)
        judge.feed(piece)

    def warn(text):
        line = ("drivebuild-job: %s\n" % text).encode()
        log.write(line)
        console.show(line)

    watch = job_run.Watch(take, warn, job.entry["quiet_minutes"] * 60, hang)
    error = None
    try:
        watch.run(job.command, job.directory, job.environment)
    except OSError as failed:
        error = "%s cannot be started: %s" % (job.command[0], failed.strerror)
        warn(error)
    judge.end()
    log.close()
    after = counted_oom_kills()
    kills = None if before is None or after is None else after - before
    verdict = decide(watch.ending, judge, log, kills, success=job.entry["success"], unmade=unmade(job), error=error)
    console.close()
    return verdict


def unmade(job):
    """Return what a conversion should have written and did not."""
    return [
        os.path.relpath(entry["path"], job.table["prepared"])
        for entry in job.entry["generated"]
        if not (os.path.isfile(entry["path"]) or (os.path.isdir(entry["path"]) and os.listdir(entry["path"])))
    ]


def run_shell(job):
    """Run an interactive job on the caller's own terminal; its exit status is handed on."""
    stopped = []

    def stop(number, _frame):
        stopped.append(number)
        # A shell at a terminal ignores SIGTERM; it ends when its terminal goes.
        process.send_signal(signal.SIGHUP)

    # Ctrl-C belongs to the shell. A handler is undone in the child, which "ignore" is not.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    process = subprocess.Popen(job.command, cwd=job.directory, env=job.environment)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    status = process.wait()
    code = 128 - status if status < 0 else status
    name = signal.Signals(stopped[0]).name if stopped else None
    return {
        "status": "interrupted" if stopped else "succeeded",
        "exit_code": 128 + stopped[0] if stopped else code,
        "reason": "the shell was told to end" if stopped else "the shell ended with status %d" % code,
        "signal": name,
        "command_status": status,
        "evidence": [],
    }


def write_result(job, verdict, started, began):
    record = {"schema": 1, **verdict, "finished": rfc3339(now()), "seconds": round(time.monotonic() - began, 3)}
    try:
        replace_json(os.path.join(job.folder, "result.json"), record)
    except OSError as error:
        say("the result cannot be written to %s: %s" % (job.folder, error.strerror))


def start(job):
    """Check, make the folder, run, and return the exit status."""
    # An argument that fits nowhere is found before anything is made.
    command = job.command
    found = list(missing(job))
    if found:
        raise Refusal(*found)
    hang = minutes("DRIVEBUILD_HANG_MINUTES")
    started, began = now(), time.monotonic()
    job.folder = make_folder(job)
    lock = connect_links(job)
    prepare_environment(job)
    write_run(job, command, started)
    say("%s %s, run folder %s" % (job.model, job.name, job.folder))
    shared = os.statvfs("/dev/shm")
    if job.entry["npus"] and shared.f_frsize * shared.f_blocks < 1 << 30:
        say("/dev/shm has less than 1 GiB: data loaders need more, see --shm-size")
    verdict = run_shell(job) if job.entry["kind"] == "shell" else run_captured(job, hang)
    rescue(job)
    drop_empty(job.folder)
    write_result(job, verdict, started, began)
    os.close(lock)
    say("%s: %s" % (verdict["status"], verdict["reason"]))
    return verdict["exit_code"]


def main(words):
    path = TABLE
    if words[:1] == ["--jobs"] and len(words) > 1:
        path, words = words[1], words[2:]
    try:
        with open(path, encoding="utf-8") as file:
            table = json.load(file)
        if not words or words[0] in ("-h", "--help"):
            print(__doc__.split("\n")[0])
            for name, entry in table["jobs"].items():
                print("  %-24s %s" % (name, entry["title"]))
            return 0
        return start(Job(table, words[0], words[1:], os.path.dirname(os.path.abspath(path))))
    except Refusal as refusal:
        what = "%s %s" % (table["model"], words[0])
        if len(refusal.args) == 1:
            say("%s cannot start: %s" % (what, refusal.args[0]))
        else:
            say("%s cannot start:\n  - %s" % (what, "\n  - ".join(refusal.args)))
    except (OSError, ValueError, KeyError) as error:
        say("cannot start: %s" % error)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
