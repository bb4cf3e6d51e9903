"""One file's way through all the places that may have it, on from where an earlier try broke off."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from builder.errors import SourceError
from builder.source.disk import BLOCK
from builder.source.page import looks_like_page, page_title
from builder.source.part import Part, Trace
from builder.source.web import Again, Never, Web, shown

if TYPE_CHECKING:
    import urllib3

    from builder.source.store import Entry, Store

__all__ = ["Attempt", "Download", "Stop", "Tell"]

Tell = Callable[[int, int], None]
"""Is told bytes there and bytes in total; a total of 0 is not known yet. Fewer bytes than before: it began anew."""
Stop = Callable[[], bool]
MOST_TRIES = 50
"""However much each of them gains."""
TRICKLE = 100
"""Bytes per second that are as good as none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file that is wanted."""

    key: str
    """What the store knows it by; `url:<url>` where no checksum is published."""
    url: str
    sha256: str | None
    file: str
    referer: str = ""
    note: str = ""


@dataclass(slots=True)
class Attempt:
    """One file's way through all its candidates."""

    wanted: Download
    store: Store
    candidates: tuple[str, ...]
    web: Web
    part: Part
    tell: Tell
    stop: Stop
    pieces: int = 0
    """How many answers the part is put together from; an earlier run's counts."""
    page: Never | None = None
    """Why the last answer is taken to be a web page, should its checksum be wrong."""

    def run(self) -> Entry:
        """Return the published entry.

        Raises:
            SourceError: naming each place that was tried, and why it was not the one.
        """
        self.pieces = 1 if self.part.size else 0
        early = self._early()
        if early:
            return early
        reasons, hints = [], []
        for url in self.candidates:
            try:
                self._try(url)
                return self._publish(url)
            except Never as error:
                reasons.append(f"{shown(url)}: {error}")
                hints.append(error.hint)
        if not reasons:
            raise SourceError(f"{self.wanted.file}: no mirror has {self.wanted.url}, and upstream is not to be asked")
        where = reasons[0] if len(reasons) == 1 else "not to be had\n  " + "\n  ".join(reasons)
        raise SourceError(f"{self.wanted.file}: {where}", hint="; ".join(dict.fromkeys(filter(None, hints))))

    def _early(self) -> Entry | None:
        """Finish what an earlier run has all the bytes of, without asking anybody."""
        trace, part = self.part.trace, self.part
        sha256 = self.wanted.sha256 or trace.sha256
        if sha256:
            there = self._adopt(sha256)
            if there:
                return there
        if not part.size:
            return None
        part.load(self.stop)
        whole = part.sha256 == self.wanted.sha256 if self.wanted.sha256 else part.size == trace.total
        return self._publish(trace.url or self.wanted.url) if whole else None

    def _adopt(self, sha256: str) -> Entry | None:
        """Name a content that was published just before the process ended."""
        wanted, url = self.wanted, self.part.trace.url or self.wanted.url
        entry = self.store.adopt(wanted.key, file=wanted.file, origin=url, sha256=sha256, note=wanted.note)
        if entry:
            self._second_key(entry)
            self.part.drop()
        return entry

    def _publish(self, url: str) -> Entry:
        wanted, part = self.wanted, self.part
        sha256 = part.sha256
        if not wanted.sha256:
            part.note(Trace(url=url, total=part.size, sha256=sha256))
        entry = self.store.add(
            wanted.key, part.path, file=wanted.file, origin=shown(url), sha256=sha256, note=wanted.note
        )
        self._second_key(entry)
        part.drop()
        return entry

    def _second_key(self, entry: Entry) -> None:
        if not self.wanted.sha256:
            self.store.alias(f"sha256:{entry.sha256}", entry)

    def _try(self, url: str) -> None:
        """Bring the part to its end from one candidate.

        Raises:
            Never: when this candidate is not the one.
        """
        while True:
            self._persist(url)
            sha256 = self.part.sha256
            if self.wanted.sha256 in (None, sha256):
                return
            pieces, self.pieces = self.pieces, 0
            self.part.restart()
            if self.page:
                raise self.page
            if pieces <= 1:
                raise Never(f"its sha256 is {sha256}, not {self.wanted.sha256}")
            # Put together from several answers: one of them may have been another file's. Once more, in one go.

    def _persist(self, url: str) -> None:
        patience, idle = self.web.patience, 0
        for _ in range(MOST_TRIES):
            before = self.part.size
            try:
                return self._copy(url) if urlsplit(url).scheme == "file" else self._once(url)
            except Again as error:
                idle = 0 if self.part.size > before else idle + 1
                if error.seconds > patience.asked:
                    raise Never(f"{error}; it asks to wait {error.seconds:.0f} s") from None
                if idle >= patience.tries:
                    raise Never(f"{error}; tried {idle} times" if idle > 1 else str(error)) from None
                pause = min(patience.longest, patience.pause * 2 ** max(0, idle - 1))
                # Jitter: many threads were turned away at the same moment.
                self._wait(max(error.seconds, pause * random.uniform(0.5, 1)))  # noqa: S311
        raise Never(f"broke off {MOST_TRIES} times")

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._go_on()
            time.sleep(min(left, 0.1))

    def _go_on(self) -> None:
        if self.stop():
            raise SourceError(f"{self.wanted.file}: stopped")

    def _once(self, url: str) -> None:
        """Ask once, from where the part ends."""
        part = self.part
        headers = {"Referer": self.wanted.referer} if self.wanted.referer else {}
        headers |= self._resume(url)
        answer, final = self.web.get(url, headers, proven=self.wanted.sha256 is not None)
        try:
            if answer.status == 416:
                part.restart()
                raise Again("does not have what would follow")
            chunk = self._read(answer)
            # Looked at first: a page must not take the place of the half that is there.
            page = self._page(chunk, answer, url, final)
            self._begin(answer, url)
            self.page = page
            self._take(answer, chunk)
        finally:
            # What is left of the body is not worth the wait; a connection that is done with goes back by itself.
            answer.close()

    def _resume(self, url: str) -> dict[str, str]:
        """Return the headers that ask for the rest; none where nothing would prove that it is the rest of this."""
        part, same = self.part, self.part.trace.url == url
        if part.size and not (self.wanted.sha256 or (same and part.trace.validator)):
            part.restart()
        if not part.size:
            return {}
        part.load(self.stop)
        self._go_on()
        headers = {"Range": f"bytes={part.size}-"}
        if same and part.trace.validator:
            headers["If-Range"] = part.trace.validator
        return headers

    def _begin(self, answer: urllib3.BaseHTTPResponse, url: str) -> None:
        """Make the part ready for an answer's body."""
        part, headers = self.part, answer.headers
        first, total = 0, _number(headers.get("Content-Length"))
        if answer.status == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
            first, total = (int(match[1]), _number(match[2])) if match else (-1, None)
            if first != part.size or (part.trace.url == url and part.trace.total not in (None, total)):
                part.restart()
                raise Again("changed between two tries")
        else:
            part.restart()
            self.pieces = 0
        if total is None and headers.get("Transfer-Encoding", "").lower() != "chunked" and not self.wanted.sha256:
            raise Never("does not say how large the file is, so a part of it could pass for the whole")
        etag = headers.get("ETag", "")
        validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
        part.note(Trace(url=url, validator=validator, total=total))
        self.pieces += 1

    def _read(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        import urllib3.exceptions as broken

        try:
            return answer.read1(BLOCK, decode_content=False)
        except (broken.HTTPError, OSError) as error:
            slow = isinstance(error, broken.TimeoutError | TimeoutError)
            why = f": nothing came for {self.web.patience.stall:g} s" if slow else ""
            raise Again(f"broke off after {self.part.size} bytes{why}") from None

    def _take(self, answer: urllib3.BaseHTTPResponse, chunk: bytes) -> None:
        """Write an answer's body, of which `chunk` is the beginning."""
        part, stall = self.part, self.web.patience.stall
        total = part.trace.total
        mark, size = time.monotonic(), part.size
        self.tell(part.size, total or 0)
        while chunk:
            part.write(chunk)
            self.tell(part.size, total or 0)
            self._go_on()
            now = time.monotonic()
            if now - mark > stall:
                if part.size - size < TRICKLE * stall:
                    raise Again(f"only trickles: {part.size - size} bytes in {now - mark:.0f} s")
                mark, size = now, part.size
            chunk = self._read(answer)
        if total is not None and part.size < total:
            raise Again(f"broke off after {part.size} of {total} bytes")

    def _page(self, chunk: bytes, answer: urllib3.BaseHTTPResponse, url: str, final: str) -> Never | None:
        """Refuse a page where a file is wanted: a login, a captive portal, a host's own "not found".

        What only begins like a page may be the file, if a checksum can tell; the reason is kept for when it does not.
        """
        proven, content_type = self.wanted.sha256 is not None, answer.headers.get("Content-Type", "")
        sure = looks_like_page(chunk, content_type, file=self.wanted.file, proven=proven)
        if not sure or answer.status != 200:
            return None
        title = page_title(chunk)
        what = f" ({title!r})" if title else ""
        where = f"redirects to {shown(final)}, which answered" if final != url else "answered"
        hint = f"look at it in a browser; a login for {urlsplit(final).hostname} can be named in ~/.netrc"
        found = Never(f"{where} with a web page{what}, not with the file", hint=hint)
        if sure == "yes":
            raise found
        return found

    def _copy(self, url: str) -> None:
        """Take the file from a disk."""
        parts, part = urlsplit(url), self.part
        if parts.netloc not in ("", "localhost"):
            raise Never("a file URL of another machine", hint="write file:///PATH")
        part.restart()
        self.pieces = 1
        try:
            path = Path(url2pathname(parts.path))
            total = path.stat().st_size
            source = path.open("rb", buffering=0)
        except OSError as error:
            raise Never(error.strerror or str(error)) from None
        with source:
            part.note(Trace(url=url, total=total))
            while chunk := source.read(BLOCK):
                part.write(chunk)
                self.tell(part.size, total)
                self._go_on()


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
