"""How a job looks while it runs: its output, and on a terminal a line below that says where it is."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from builder.cli.live import human_seconds
from builder.engine.text import printable

if TYPE_CHECKING:
    from rich.live import Live

    from builder.training.progress import Progress, Reading

__all__ = ["JobView", "SilentJobView", "describe", "harmless", "human_duration", "make_job_view"]

SILENT = 60.0
"""Seconds without output after which it is said; the first step of a training compiles for minutes."""
SAY_AGAIN = 300.0
LINE = 2000
"""Characters of a line that a terminal is shown; job.log has all of it."""
# What a terminal would obey. drivebuild-job replaces it already; what an image prints before it does not pass there.
_OBEYED = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")


class JobView(Protocol):
    """Shows one job."""

    def feed(self, piece: bytes) -> None:
        """Show what the job printed; an empty piece means that a tick passed."""
        ...

    def say(self, text: str) -> None:
        """Show a sentence of drivebuild's own."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def make_job_view(progress: Progress) -> JobView:
    """Return the view that suits standard output."""
    return RichJobView(progress) if sys.stdout.isatty() else PlainJobView()


def describe(reading: Reading) -> str:
    """Return where a training is, in one line."""
    parts = []
    if reading.epoch is not None:
        parts.append(f"epoch {reading.epoch}{f'/{reading.epochs}' if reading.epochs else ''}")
    if reading.step:
        parts.append(f"step {reading.step}{f'/{reading.of}' if reading.of else ''}")
    if reading.left is not None:
        parts.append(f"{human_duration(reading.left)} left")
    if reading.loss is not None:
        parts.append(f"loss {reading.loss:.4g}")
    if reading.step_seconds is not None:
        against = reading.against
        beside = "" if against is None else f" (published {reading.published:g} s, {against * 100:+.0f} %)"
        parts.append(f"{reading.step_seconds:.3g} s a step{beside}")
    parts += [f"{printable(name)} {value}" for name, value in reading.metrics[:3]]
    return ", ".join(parts)


def human_duration(seconds: float) -> str:
    """Return a duration that may last for days.

    >>> human_duration(93784)
    '1 d 2 h 3 min'
    """
    if seconds < 3600:
        return human_seconds(seconds)
    days, rest = divmod(int(seconds), 86400)
    return f"{f'{days} d ' if days else ''}{rest // 3600} h {rest % 3600 // 60} min"


def harmless(piece: bytes) -> bytes:
    """Return output without what a terminal would obey."""
    return _OBEYED.sub(b"?", piece)


class SilentJobView:
    """Shows nothing, for a process that only waits."""

    def feed(self, piece: bytes) -> None:
        """Drop it; the log has it."""

    def say(self, text: str) -> None:
        """Drop it; nobody listens."""

    def close(self) -> None:
        """Have nothing to close."""


class PlainJobView:
    """The job's output as it comes, and a line on standard error after a long silence."""

    def __init__(self) -> None:
        self._heard = self._said = time.monotonic()
        self._gone = False

    def feed(self, piece: bytes) -> None:
        """Write the piece; nothing more once standard output is gone, because the job goes on without it."""
        now = time.monotonic()
        if not piece:
            if now - self._heard >= SILENT and now - self._said >= SAY_AGAIN:
                self._said = now
                self.say(f"no output for {human_duration(now - self._heard)}: a rank may hang")
            return
        self._heard = now
        self._said = now - SAY_AGAIN
        self._write(1, harmless(piece) if os.isatty(1) else piece)

    def say(self, text: str) -> None:
        """Write to standard error: standard output is the job's."""
        self._write(2, f"drivebuild: {printable(text)}\n".encode("utf-8", "replace"))

    def close(self) -> None:
        """Nothing to leave behind."""

    def _write(self, descriptor: int, piece: bytes) -> None:
        try:
            while piece and not self._gone:
                piece = piece[os.write(descriptor, piece) :]
        except OSError:
            # A pipe that nobody reads, a terminal that was closed.
            self._gone = True


class RichJobView:
    """Output scrolls by; the last line of the terminal says where the job is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._rest = b""
        self._heard = time.monotonic()
        self._drawn = 0.0
        self._live: Live | None = None
        self._gone = False

    def feed(self, piece: bytes) -> None:
        """Show whole lines, and the line below at most five times a second."""
        now = time.monotonic()
        if piece:
            self._heard = now
            self._progress.feed(piece, now)
        if self._gone:
            return
        try:
            self._show(piece, now)
        except OSError:
            # The terminal was closed; SIGHUP says what to do about it.
            self._gone = True

    def say(self, text: str) -> None:
        """Show a sentence among the output."""
        from rich.text import Text

        if not self._gone:
            try:
                self._started().console.print(Text(f"drivebuild: {printable(text)}", "bold"))
            except OSError:
                self._gone = True

    def close(self) -> None:
        """Leave the line behind as it was last, after what is left of the output."""
        from rich.text import Text

        if self._gone:
            return
        try:
            if self._rest:
                self._show(b"\n", time.monotonic())
            if self._live is not None:
                self._live.stop()
                last = describe(self._progress.reading())
                if last:
                    self._live.console.print(Text(last, "bold"))
        except OSError:
            self._gone = True

    def _show(self, piece: bytes, now: float) -> None:
        from rich.text import Text

        live = self._started()
        lines = self._lines(piece)
        if lines:
            # Text, not markup: a log line may hold square brackets.
            live.console.print(Text("\n".join(lines)), soft_wrap=True, highlight=False)
        if now - self._drawn >= 0.2:
            self._drawn = now
            live.update(self._status(now), refresh=True)

    def _lines(self, piece: bytes) -> list[str]:
        """Return the lines that are whole now; of a line without end its beginning, so that memory stays small."""
        *whole, rest = (self._rest + piece.replace(b"\r", b"\n")).split(b"\n")
        if len(rest) > LINE * 4:
            rest = rest[: LINE * 4]
        self._rest = rest
        shown = (_OBEYED.sub(b"?", line[: LINE * 4]).decode("utf-8", "replace")[:LINE] for line in whole)
        return [printable(line) for line in shown if line]

    def _status(self, now: float) -> Any:
        from rich.text import Text

        silent = now - self._heard
        reading = self._progress.reading()
        line = Text(describe(reading) or "running", "bold", no_wrap=True, overflow="ellipsis")
        if silent >= SILENT:
            line.append(f"  no output for {human_duration(silent)}: a rank may hang", "bold red")
        elif reading.trouble:
            line.append(f"  {printable(reading.trouble)}", "red")
        return line

    def _started(self) -> Live:
        if self._live is None:
            from rich.live import Live

            self._live = Live(auto_refresh=False, transient=True)
            self._live.start()
        return self._live
