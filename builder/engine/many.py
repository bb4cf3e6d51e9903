"""Many images through the build that one goes through: several at a time, and on when one fails.

BuildKit does the sharing: it merges equal stages of builds that run at the same time, and finds those of earlier ones
in its cache. Here is only what it cannot know: which image to begin next, which not to begin at all, and when to stop.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.engine.build import build
from builder.engine.buildlock import try_lock
from builder.engine.delivery import deliver
from builder.engine.hints import LOW_DISK_BYTES
from builder.engine.host import Engine
from builder.engine.owntag import check_standing, own_tag
from builder.engine.push import Way
from builder.engine.works import TICK, Board, Doors, Show, Watch, Work, failed_by
from builder.errors import BuildError, DrivebuildError
from builder.fleet.runs import Failed, ImageRun, ImageState, Outcome
from builder.patience import PATIENCE
from builder.signals import noted_interrupts

if TYPE_CHECKING:
    import filelock

    from builder.engine.command import Choices
    from builder.engine.delivery import Delivered
    from builder.engine.process import Runner
    from builder.engine.record import BuildRecord

__all__ = ["MOST", "build_many"]

AGAIN = 1.0
"""Seconds until an image is asked for again that another drivebuild is at."""
ENGINE_WAIT = 5.0
"""Seconds an engine has to answer after a failure: one that is started anew by its supervisor needs a few."""
MOST = 8
"""Images at a time by default, however many processors: leaves unpack files, and wait for the engine's disk."""
# Of a builder that went away, or of a connection that broke: another try may end otherwise.
_LOST = re.compile(
    r"code = Unavailable|error reading from server|transport is closing|closing transport|layer does not exist"
    r"|Cannot connect to the Docker daemon|\bEOF\b|connection reset"
)
_FULL = re.compile(r"no space left on device|disk quota exceeded|ENOSPC", re.IGNORECASE)


def build_many(works: Sequence[Work], order: Sequence[str], *, slots: int, doors: Doors, show: Show) -> Outcome:
    """Build images in an order of names, `slots` at a time, and return what became of each.

    Whatever happens to one of them is in the outcome and not raised. Ctrl-C, SIGTERM and SIGHUP end all in order.
    """
    began = time.time()
    with noted_interrupts() as stop:
        fleet = _Fleet(works, order, slots, doors, show, stop)
        fleet.to_the_end()
    return Outcome(
        began=began,
        ended=time.time(),
        slots=slots,
        images=tuple(fleet.runs[work.name] for work in works),
        interrupted=stop.is_set(),
        stopped=fleet.halted,
        hint=fleet.hint,
    )


class _Fleet:
    """All builds while they last."""

    def __init__(
        self,
        works: Sequence[Work],
        order: Sequence[str],
        slots: int,
        doors: Doors,
        show: Show,
        stop: threading.Event,
    ) -> None:
        self._slots, self._doors, self._show, self._stop = slots, doors, show, stop
        self._board = Board(works)
        by_name = {work.name: work for work in works}
        self._queue = [by_name[name] for name in order]
        self._blamed: dict[str, tuple[str, str]] = {}
        """Digests of stages that failed, each with the stage's name and the image's."""
        self._asked: dict[str, float] = {}
        self.runs: dict[str, ImageRun] = {}
        self.halted = self.hint = ""

    def to_the_end(self) -> None:
        futures: dict[Future[ImageRun], Work] = {}
        with ThreadPoolExecutor(self._slots, thread_name_prefix="build") as pool:
            try:
                while self._queue or futures:
                    self._give_up()
                    while len(futures) < self._slots and (found := self._next()):
                        futures[pool.submit(self._one, *found)] = found[0]
                    done, _ = wait(futures, timeout=TICK, return_when=FIRST_COMPLETED)
                    for future in done:
                        self._end(futures.pop(future), future.result())
                    self._show(self._board.views(), time.time())
                    if not futures and self._queue:
                        self._stop.wait(TICK)
            finally:
                # The pool is left when its threads have ended; whatever led here, they are to.
                if futures:
                    self._stop.set()

    def _give_up(self) -> None:
        """Begin nothing more after an interrupt, or when it would be in vain."""
        if not (self._stop.is_set() or self.halted):
            return
        for work in self._queue:
            if self._stop.is_set():
                self._keep(_unbegun(work, "cancelled"))
            else:
                self._keep(_unbegun(work, "left", Failed(first=self.halted, hint=self.hint)))
        self._queue.clear()

    def _next(self) -> tuple[Work, filelock.BaseFileLock] | None:
        """Return the next image that can be begun, and its lock; what never can be is kept as such."""
        for work in tuple(self._queue):
            try:
                run, lock = self._hopeless(work), None
                lock = self._lock(work) if run is None else None
            except DrivebuildError as error:
                run, lock = _unbegun(work, "failed", failed_by(error)), None
            if run is not None or lock is not None:
                self._queue.remove(work)
            if run is not None:
                self._keep(run)
            elif lock is not None:
                self._board.begin(work.name)
                return work, lock
        return None

    def _hopeless(self, work: Work) -> ImageRun | None:
        """Return what becomes of an image that need not be tried: it has failed already, or a stage of its own has.

        With equal inputs that stage would fail again, after as many minutes; BuildKit keeps no failure in its cache.
        """
        if work.broken is not None:
            return _unbegun(work, "failed", work.broken)
        for digest in work.digests.values():
            if digest in self._blamed:
                stage, name = self._blamed[digest]
                first = f"it needs the very stage {stage!r} that failed for {name}"
                return _unbegun(work, "left", Failed(stage=stage, first=first))
        return None

    def _lock(self, work: Work) -> filelock.BaseFileLock | None:
        if time.time() - self._asked.get(work.name, 0.0) < AGAIN:
            return None
        self._asked[work.name] = time.time()
        lock = try_lock(work.tag)
        if lock is None:
            self._board.state(work.name, "elsewhere", "another drivebuild is building it")
        return lock

    def _one(self, work: Work, lock: filelock.BaseFileLock) -> ImageRun:
        """Build one image, in a thread of its own."""
        watch, began = Watch(work, self._board), time.time()
        record: BuildRecord | None = None
        failed: Failed | None = None
        state: ImageState = "failed"
        pushed, notes = "", tuple[str, ...]()
        try:
            with closing(self._doors.engine()) as engine:
                done = self._delivered(work, watch, self._doors.runner(self._stop), engine)
            record = done.record
            pushed = f"{done.pushed.name}@{done.pushed.digest}" if done.pushed else ""
            if done.pushed:
                check_standing(own_tag(done.pushed.name, done.pushed.recipe), done.pushed.digest, done.pushed.taken)
            notes = tuple(note for _, note in done.notes)
            if done.pushed and done.pushed.kept:
                notes = (
                    *notes,
                    f"the tag with the recipe's hash stays another image's, {done.pushed.kept}: --overwrite moves it",
                )
            state = "done"
        except KeyboardInterrupt:
            state = "cancelled"
        except DrivebuildError as error:
            failed = failed_by(error)
        except OSError as error:
            # The docker SDK's: an engine that goes away between two questions.
            failed = Failed(first=f"the engine stopped answering: {error}")
        finally:
            lock.release()
        return ImageRun(
            name=work.name,
            tag=work.tag,
            platform=work.plan.platform.name,
            state=state,
            began=began,
            ended=time.time(),
            stages=watch.stages(),
            failed=failed,
            size_bytes=record.size_bytes if record else 0,
            image_id=record.image_id if record else "",
            pushed=pushed,
            notes=(*watch.unread(), *notes),
        )

    def _delivered(self, work: Work, watch: Watch, runner: Runner, engine: Engine) -> Delivered:
        """Build an image, and push it and its cache where that is wanted."""
        delivery = work.delivery

        def attempt(tried: Choices) -> BuildRecord:
            record = build(work.plan, work.dockerfile, tried, runner=runner, engine=engine, observe=watch)
            if delivery.push or work.cache_to:
                self._board.state(work.name, "pushing", delivery.push or work.cache_to[0])
            return record

        way = Way(
            runner=runner,
            engine=engine,
            patience=replace(PATIENCE, sleep=self._sleep),
            say=lambda line: self._board.note(work.name, line),
        )
        return deliver(work.plan, work.dockerfile, work.choices, delivery, work.cache_to, way=way, attempt=attempt)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise KeyboardInterrupt

    def _end(self, work: Work, run: ImageRun) -> None:
        self._keep(run)
        if run.failed is not None and not self.halted and not self._stop.is_set():
            self._judge(work, run.failed)

    def _keep(self, run: ImageRun) -> None:
        self.runs[run.name] = run
        self._board.state(run.name, run.state, run.failed.first if run.failed else "")

    def _judge(self, work: Work, failed: Failed) -> None:
        """Decide what a failure means for the images that are still waiting."""
        try:
            with closing(self._alive()) as engine:
                free = engine.facts().free_bytes()
        except (BuildError, OSError) as error:
            said = error.message if isinstance(error, BuildError) else str(error)
            self.halted = f"the engine does not answer any more: {said.splitlines()[0]}"
            self.hint = "start it (`systemctl start docker`) and run the same command; finished steps are kept"
            return
        said = f"{failed.first}\n{failed.message}"
        if _FULL.search(said):
            if free is not None and free < LOW_DISK_BYTES:
                self.halted = f"the engine's disk is full ({free // 1_000_000} MB free)"
                self.hint = failed.hint or "`docker system df` shows what takes it"
        elif failed.stage in work.digests and not _LOST.search(failed.first):
            self._blamed[work.digests[failed.stage]] = (failed.stage, work.name)

    def _alive(self) -> Engine:
        """Return a connection to the engine, which may need a moment after its death.

        Raises:
            BuildError: when it does not answer in time.
        """
        end = time.monotonic() + ENGINE_WAIT
        while True:
            try:
                return self._doors.engine()
            except BuildError:
                if time.monotonic() > end or self._stop.is_set():
                    raise
            time.sleep(0.5)


def _unbegun(work: Work, state: ImageState, failed: Failed | None = None) -> ImageRun:
    return ImageRun(name=work.name, tag=work.tag, platform=work.plan.platform.name, state=state, failed=failed)
