"""job_verdict.py: how a job ended, in one word and one sentence.

Runs inside the image, with the standard library and Python 3.8. An exit status proves little: upstream's scripts end
with 0 after a failed training (facts: recipes.md C13), so the log must show what the recipe names.
"""

import re
import signal

FAILED = 7
EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def counted_oom_kills(paths=EVENTS):
    """Return how many processes of this container the kernel has killed for want of memory; None if it does not say."""
    for path in paths:
        try:
            with open(path, encoding="ascii") as file:
                found = re.search(r"^oom_kill (\d+)$", file.read(), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found.group(1))
    return None


def name_of(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal %d" % number


def decide(ending, judge, log, oom_kills, success="", unmade=(), error=None):
    """Return the verdict: status, exit_code, reason, signal, command_status, evidence.

    Args:
        ending: how the processes ended, a `job_run.Ending`.
        judge: what the lines said, a `job_log.Judge`.
        log: the log file, a `job_log.LogFile`.
        oom_kills: how many processes the kernel killed for want of memory; None where it cannot be known.
        success: what a line must match; nothing where nothing is asked.
        unmade: files that should have been written and were not.
        error: why the command could not be started.
    """
    proven = bool(judge.proof) or not success
    status = ending.status
    clean = status == 0 and proven and not judge.exception and not unmade
    by_signal = -status if status is not None and status < 0 else 0
    # bash and other launchers tell of a signal by their own status.
    by_signal = by_signal or (status - 128 if status is not None and 128 < status < 160 else 0)
    verdict = {"signal": name_of(ending.stopped_by or by_signal) if ending.stopped_by or by_signal else None}
    if error:
        found = ("failed", error, [])
    elif ending.stopped_by and not clean:
        found = stopped(ending, judge)
    elif ending.hung:
        found = ("hung", "it printed nothing for too long and was stopped", judge.last)
    else:
        found = ended(status, by_signal, ending, judge, log, oom_kills, success, unmade)
    word, reason, evidence = found
    if ending.survivors:
        reason += "; %d processes could not be killed, they wait for a driver" % ending.survivors
    code = {"succeeded": 0}.get(word, FAILED)
    if ending.stopped_by and word in ("interrupted", "hung"):
        code = 128 + ending.stopped_by
    return {
        "status": word,
        "exit_code": code,
        "reason": reason,
        **verdict,
        "command_status": status,
        "evidence": list(evidence)[:20],
    }


def stopped(ending, judge):
    name = name_of(ending.stopped_by)
    if ending.hung:
        return "hung", "it printed nothing for a long time and was stopped by %s" % name, judge.last
    return "interrupted", "it was stopped by %s" % name, judge.last


def ended(status, by_signal, ending, judge, log, oom_kills, success, unmade):
    """Judge a job that came to its end by itself."""
    found = judge.found
    bad = status != 0 or bool(judge.exception) or (bool(success) and not judge.proof) or bool(unmade)
    if log.lost:
        return "no-space", "the run folder took no more: %s; %d bytes of the log are lost" % (log.error, log.lost), []
    if bad and "no_space" in found:
        return "no-space", "no space was left: %s" % found["no_space"][0], found["no_space"]
    memory = want_of_memory(bad, by_signal, ending, judge, oom_kills)
    if memory:
        return memory
    if status != 0:
        return "failed", why(status, by_signal, judge), culprits(judge)
    return ended_with_zero(ending, judge, success, unmade)


def ended_with_zero(ending, judge, success, unmade):
    """Judge a job whose exit status says that all is well."""
    found = judge.found
    if "failure" in found:
        return "failed", "it ended with 0, but says: %s" % found["failure"][0], found["failure"]
    if judge.exception or judge.unfinished:
        what = judge.exception or "an unfinished traceback"
        return "unproven", "it ended with 0 after a traceback: %s" % what, culprits(judge)
    if "crash" in found or ending.left_killed_by:
        what = found["crash"][0] if "crash" in found else "a process ended by %s" % name_of(ending.left_killed_by)
        return "unproven", "it ended with 0 after a crash: %s" % what, culprits(judge)
    if success and not judge.proof:
        return "unproven", "it ended with 0, but no line shows the result that the recipe asks for", judge.last
    if unmade:
        return "unproven", "it ended with 0, but did not write %s" % ", ".join(unmade), judge.last
    reason = "the log shows the result" if success else "it ended with 0"
    if ending.killed_left:
        reason += "; %d processes outlived the command and were stopped" % ending.killed_left
    return "succeeded", reason, judge.proof


def want_of_memory(bad, by_signal, ending, judge, oom_kills):
    found = judge.found
    if not bad:
        return None
    if oom_kills:
        return "out-of-memory", "the kernel killed %d of its processes for want of memory" % oom_kills, culprits(judge)
    if "memory" in found:
        return "out-of-memory", found["memory"][0], found["memory"]
    if "shared_memory" in found:
        reason = "shared memory ran out, see shm_size: %s" % found["shared_memory"][0]
        return "out-of-memory", reason, found["shared_memory"]
    killed = by_signal == signal.SIGKILL or "killed" in found or ending.left_killed_by == signal.SIGKILL
    if killed and oom_kills is None:
        reason = "a process was killed by SIGKILL, as the kernel does for want of memory"
        return "out-of-memory", reason, found.get("killed", judge.last)
    return None


def why(status, by_signal, judge):
    if judge.exception:
        return judge.exception
    if by_signal == signal.SIGKILL or "killed" in judge.found:
        return "a process was killed by SIGKILL, and not by the kernel for want of memory"
    if by_signal:
        return "the command was ended by %s" % name_of(by_signal)
    return "the command ended with status %s" % status


def culprits(judge):
    """Return the lines that explain a failure."""
    lines = [judge.exception] if judge.exception else []
    for found in judge.found.values():
        lines += found
    return lines or judge.last
