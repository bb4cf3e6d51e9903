"""job_log.py: what a job prints, kept, shown and judged, in memory of a fixed size.

Runs inside the image, with the standard library and Python 3.8. Lines come from programs that nobody here has written:
they may be without end, torn, or full of control characters.
"""

import contextlib
import os
import queue
import re
import threading
import time

LINE = 8192
"""Bytes of a line that are looked at; the rest of it is kept in the log all the same."""
EVIDENCE = 20
SHOWN = 500
CONSOLE_BYTES = 8 << 20
CONSOLE_PATIENCE = 5.0
RESERVED = 1 << 16

TRACEBACK = "Traceback (most recent call last)"
NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|\[Errno (?:28|122)\]")
KILLED = re.compile(
    r"exitcode *: *-9\b|Signal 9 \(SIGKILL\)|signal: Killed\b|died with <Signals\.SIGKILL"
    r"|line \d+: +\d+ Killed\b|killed by signal (?:9|SIGKILL)"
)
MEMORY = re.compile(r"NPU out of memory|out of memory\. Tried to allocate|\bMemoryError\b|Cannot allocate memory")
SHARED_MEMORY = re.compile(r"insufficient shared memory|\(core dumped\).*[Bb]us error|Bus error")
CRASH = re.compile(r"^Fatal Python error|^Segmentation fault|line \d+: +\d+ (?:Segmentation fault|Aborted|Bus error)")
GENERAL = {"no_space": NO_SPACE, "killed": KILLED, "memory": MEMORY, "shared_memory": SHARED_MEMORY, "crash": CRASH}
IGNORED = "Exception ignored in"
# What a terminal would obey: C0 but tab, line feed and carriage return, DEL, and C1 as UTF-8 spells it.
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")


class Judge:
    """Looks at the lines of a job for what proves its success or its failure."""

    def __init__(self, success="", failures=()):
        self.success = re.compile(success) if success else None
        self.failure = re.compile("|".join(map(re.escape, failures))) if failures else None
        self.proof = []
        self.found = {}
        self.exception = ""
        self.last = []
        self.bytes = 0
        self._rest = b""
        self._skipping = False
        self._inside = False
        self._before = ""
        wanted = [pattern for pattern in (self.success, self.failure, *GENERAL.values()) if pattern]
        # Blocks without any of these need not be cut into lines. `^` means a line here, a block there.
        self._signs = [re.compile(pattern.pattern, pattern.flags | re.MULTILINE) for pattern in wanted]

    def feed(self, piece):
        """Take the next bytes, cut anywhere."""
        self.bytes += len(piece)
        piece = piece.replace(b"\r", b"\n")
        if self._skipping:
            _, end, piece = piece.partition(b"\n")
            if not end:
                return
            self._skipping = False
        whole, end, rest = piece.rpartition(b"\n")
        if end:
            self._block(self._rest + whole)
            self._rest = rest
        else:
            self._rest += rest
        if len(self._rest) > LINE:
            self._block(self._rest[:LINE])
            self._rest, self._skipping = b"", True

    def end(self):
        """Take the last line, which may lack its end."""
        if self._rest:
            self._block(self._rest)
        self._rest = b""

    def _block(self, block):
        text = block.decode("utf-8", "replace")
        quick = not self._inside and TRACEBACK not in text and not any(sign.search(text) for sign in self._signs)
        lines = text.split("\n")
        if quick:
            kept = [line for line in lines[-EVIDENCE:] if line.strip()]
        else:
            for line in lines:
                self._line(line[:LINE])
            kept = [line for line in lines if line.strip()]
        if kept:
            self._before = kept[-1][:LINE]
            self.last = (self.last + [line[:SHOWN] for line in kept[-5:]])[-5:]

    def _line(self, line):
        if self.success and self.success.search(line):
            self.proof = [*self.proof, line[:SHOWN]][-EVIDENCE:]
        if self.failure and self.failure.search(line):
            self._find("failure", line)
        for name, pattern in GENERAL.items():
            if pattern.search(line):
                self._find(name, line)
        self._traceback(line)
        if line.strip():
            self._before = line

    def _traceback(self, line):
        if TRACEBACK in line:
            # What is ignored did no harm: Python says so of errors in __del__ and at exit.
            self._inside = not self._before.lstrip().startswith(IGNORED)
            self._margin = line.split(TRACEBACK)[0]
            return
        if not self._inside:
            return
        body = line[len(self._margin) :] if line.startswith(self._margin) else line
        if not body.strip() or body.startswith((" ", "\t")):
            return
        self._inside = False
        # The first is the cause; what follows, on other ranks and in the launcher, follows from it.
        self.exception = self.exception or body.strip()[:SHOWN]

    def _find(self, name, line):
        lines = self.found.setdefault(name, [])
        if len(lines) < EVIDENCE:
            lines.append(line.strip()[:SHOWN])

    @property
    def unfinished(self):
        """Whether the log ends inside a traceback."""
        return self._inside


class Console:
    """Standard output, which may be slow, stopped or gone: a job neither waits for it for ever nor dies with it."""

    def __init__(self, descriptor=1):
        self._descriptor = descriptor
        self._pieces = queue.Queue()
        self._room = threading.Semaphore(CONSOLE_BYTES >> 16)
        self._left = 0
        self._carry = b""
        self.gone = False
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def show(self, piece):
        """Show bytes, without what a terminal would obey."""
        piece = self._carry + piece
        self._carry = piece[-1:] if piece.endswith(b"\xc2") else b""
        piece = CONTROL.sub(b"?", piece[: len(piece) - len(self._carry)])
        if self.gone or not piece:
            return
        if not self._room.acquire(timeout=0 if self._left else CONSOLE_PATIENCE):
            self._left += len(piece)
            return
        if self._left:
            piece = b"\ndrivebuild-job: %d bytes are not shown here, job.log has them\n" % self._left + piece
            self._left = 0
        self._pieces.put(piece)

    def close(self, patience=CONSOLE_PATIENCE):
        """Wait for what is not written yet, but not for a console that takes nothing."""
        self._pieces.put(None)
        self._thread.join(patience)

    def _write(self):
        while True:
            piece = self._pieces.get()
            if piece is None:
                return
            try:
                while piece and not self.gone:
                    piece = piece[os.write(self._descriptor, piece) :]
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                # A terminal that was closed, a pipe that nobody reads: the job goes on, into job.log.
                self.gone = True
            self._room.release()


class LogFile:
    """job.log: every byte as it came. A full disk is noted, not raised; a reserve keeps room for the result."""

    def __init__(self, folder):
        self.lost = 0
        self.error = ""
        self._reserve = os.path.join(folder, ".reserve")
        self._file = None
        try:
            with open(self._reserve, "wb") as reserve:
                reserve.write(b"\0" * RESERVED)
            self._file = open(os.path.join(folder, "job.log"), "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            self.error = str(error)

    def write(self, piece):
        """Keep the bytes, or count them as lost."""
        view = memoryview(piece)
        while view:
            try:
                if self._file is None:
                    raise OSError(self.error or "closed")
                view = view[self._file.write(view) :]
            except OSError as error:
                self.lost += len(view)
                self.error = self.error or str(error)
                return

    def close(self):
        """Close the file and give the reserve back."""
        if self._file is not None:
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self._reserve)
