"""job_run.py: start a job's command, watch over every process it leaves, and stop all of them.

Runs inside the image, with the standard library and Python 3.8. Upstream's launchers leave ranks behind that nobody
waits for, in sessions of their own; as their reaper this process gets them all, and a job ends when the last is gone.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36
PIECE = 1 << 16
TICK = 0.5
LINGER = 20.0
"""Seconds that processes may outlive the command before they are stopped: ranks that still write their last lines."""
GRACE = 30.0
"""Seconds between a signal and SIGKILL."""
TWICE = 1.0
"""Seconds in which a terminal and an init process may both hand on one Ctrl-C."""


def become_reaper():
    """Have orphans of this process's children handed to it instead of to process 1."""
    try:
        return ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    except (OSError, AttributeError):
        return False


def descendants(root=None):
    """Return the processes below `root` that still run, by their parents, whatever their session or group."""
    children = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                # The command's name is in parentheses and may hold anything.
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        children.setdefault(int(parent), []).append((int(name), state in (b"Z", b"X")))
    found, todo = [], [root or os.getpid()]
    while todo:
        for pid, dead in children.get(todo.pop(), ()):
            todo.append(pid)
            if not dead:
                found.append(pid)
    return found


def signal_all(number):
    """Send a signal to every process of the job; return how many there were."""
    pids = descendants()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return len(pids)


class Ending:
    """How a command ended."""

    def __init__(self):
        self.status = None
        """Exit status of the command, or minus the signal that ended it."""
        self.stopped_by = 0
        """The signal that this process was asked to stop with."""
        self.hung = False
        self.killed_left = 0
        """Processes that outlived the command and had to be stopped."""
        self.left_killed_by = 0
        """A signal that ended an orphan and that was not sent from here."""
        self.survivors = 0


class Watch:
    """One command, from its start to the end of its last process."""

    def __init__(self, take, warn, quiet_seconds, hang_seconds, linger=LINGER, grace=GRACE):
        self.ending = Ending()
        self._take, self._warn = take, warn
        self._quiet, self._hang = quiet_seconds, hang_seconds
        self._linger, self._grace = linger, grace
        self._pid = 0
        self._deadline = None
        self._signals = 0
        self._asked = 0.0
        self._sent_kill = False
        self._last_output = self._last_warning = time.monotonic()

    def run(self, command, directory, environment):
        """Run the command to the end of all its processes.

        Raises:
            OSError: when it cannot be started.
        """
        become_reaper()
        wake, waker = socket.socketpair()
        wake.settimeout(0)
        waker.settimeout(0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        # A terminal that goes away takes no training with it; SIGCHLD only ends the wait below. Handlers, because the
        # command would inherit that a signal is ignored.
        for number in (signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        old = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            # Popen before the pipe is read: an error of exec comes out here.
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._pid = process.pid
            self._loop(process.stdout.fileno(), wake)
            process.returncode = self.ending.status
            process.stdout.close()
        finally:
            signal.set_wakeup_fd(old)
            # Nothing is left to stop, and the result is still to be written.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            wake.close()
            waker.close()
        return self.ending

    def _on_signal(self, number, _frame):
        self._signals += 1
        now = time.monotonic()
        if not self.ending.stopped_by:
            self._asked = now
            self.ending.stopped_by = number
            self.ending.hung = now - self._last_output > self._quiet
            self._warn("stopping on %s; once more kills" % signal.Signals(number).name)
            self._stop(number)
        elif now - self._asked > TWICE:
            # Asked again: whoever waits has waited enough.
            self._deadline = now

    def _stop(self, number):
        signal_all(number)
        self._deadline = time.monotonic() + self._grace

    def _loop(self, pipe, wake):
        opened = True
        while True:
            watched = [wake, pipe] if opened else [wake]
            ready = select.select(watched, [], [], TICK)[0]
            if wake in ready:
                self._drain(wake)
            if pipe in ready:
                opened = self._read(pipe)
            if self._reap() and self.ending.status is not None:
                while opened and select.select([pipe], [], [], 0)[0]:
                    opened = self._read(pipe)
                return
            self._tick()
            if self.ending.survivors:
                return

    @staticmethod
    def _drain(wake):
        try:
            while wake.recv(1024):
                pass
        except BlockingIOError:
            pass

    def _read(self, pipe):
        piece = os.read(pipe, PIECE)
        if piece:
            self._last_output = self._last_warning = time.monotonic()
            self._take(piece)
        return bool(piece)

    def _reap(self):
        """Note how processes ended; return whether none is left.

        The kernel knows that. A look through /proc does not: it misses who was started since it began, by one that has
        ended before it is read.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if not pid:
                return False
            ended = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            if pid == self._pid:
                self.ending.status = ended
                if self._deadline is None:
                    self._deadline = time.monotonic() + self._linger
            elif ended < 0 and not self._sent_kill and not self.ending.stopped_by:
                self.ending.left_killed_by = self.ending.left_killed_by or -ended

    def _tick(self):
        now = time.monotonic()
        if self._deadline is None:
            self._look_for_silence(now)
            return
        if now < self._deadline:
            return
        if self.ending.status is not None and not self._signals and not self._sent_kill and not self.ending.killed_left:
            # The command is done and something of it is left: it gets the time that a signal gives.
            self.ending.killed_left = len(descendants())
            self._stop(signal.SIGTERM)
            self._sent_kill = True
            return
        self._sent_kill = True
        self._kill()

    def _kill(self):
        until = time.monotonic() + 10
        while not self._reap() and time.monotonic() < until:
            signal_all(signal.SIGKILL)
            time.sleep(0.05)
        # Only what the kernel holds, in a driver, outlives SIGKILL.
        self.ending.survivors = len(descendants())
        if self.ending.status is None and self.ending.survivors:
            self.ending.status = -signal.SIGKILL

    def _look_for_silence(self, now):
        silent = now - self._last_output
        if self._hang and silent > self._hang:
            self.ending.hung = True
            self._warn("no output for %s, stopping the job" % spoken(silent))
            self._stop(signal.SIGTERM)
        elif now - self._last_warning > self._quiet:
            self._last_warning = now
            self._warn("no output for %s; the job may hang" % spoken(silent))


def spoken(seconds):
    """Return a duration for people."""
    return "%d seconds" % seconds if seconds < 120 else "%d minutes" % (seconds // 60)
