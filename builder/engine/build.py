"""Drives one `docker buildx build`: what it is given, what is watched, what is left of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal

from builder import __version__
from builder.engine.command import (
    Choices,
    build_command,
    build_files,
    check_arguments,
    declared_arguments,
    default_tag,
    from_cache,
    target_of,
)
from builder.engine.folders import build_folder, make_folder
from builder.engine.forecast import Forecast, forecast_of
from builder.engine.hints import Circumstances, hint_for, joined, lost_snapshot
from builder.engine.host import INSTALL, Engine, Facts
from builder.engine.local import PREFIX
from builder.engine.log import BuildLog, begun_log
from builder.engine.mend import looked_at, lost_of_cache, stands_on
from builder.engine.process import Argv, CommandMissingError, Runner
from builder.engine.progress import Decoder, Event
from builder.engine.record import BuildRecord, StageRecord
from builder.engine.snapshot import remember
from builder.engine.state import EXPORT, BuildState, Failure
from builder.errors import BuildError
from builder.plan.stage import Plan

__all__ = [
    "Choices",
    "Observer",
    "StageFailedError",
    "build",
    "build_command",
    "build_files",
    "check_arguments",
    "declared_arguments",
    "default_tag",
    "target_of",
]

Observer = Callable[[BuildState, float], None]
"""Is told the state after every piece of progress and at least four times a second."""

Outcome = Literal["done", "failed", "cancelled"]
SHOWN_LINES = 30
DISK_EVERY = 1.0
TRIES = 4
RETRY_AFTER = 1.0
"""Seconds; the collection of garbage that took the layer has ended by then."""


class StageFailedError(BuildError):
    """A build that buildx ended with an error."""

    def __init__(self, message: str, *, hint: str, stage: str, first: str, log: Path) -> None:
        super().__init__(message, hint=hint)
        self.stage = stage
        """'' where it was none of a stage."""
        self.first = first
        self.log = log


def build(
    plan: Plan,
    dockerfile: str,
    choices: Choices,
    *,
    runner: Runner,
    engine: Engine,
    observe: Observer = lambda _state, _now: None,
    foretell: Callable[[Forecast], None] = lambda _forecast: None,
) -> BuildRecord:
    """Build an image and return the record of it; `foretell` is told what will run before it begins.

    Raises:
        BuildError: the build failed, or the engine cannot build this; names the stage, shows the end of its log.
        UsageError: for a stage or argument the Dockerfile does not have.
        KeyboardInterrupt: after Ctrl-C, when the build has been stopped.
    """
    run = _Run(plan, choices, dockerfile, runner, engine, observe)
    return run.to_the_end(foretell)


class _Run:
    """One build while it lasts."""

    def __init__(
        self, plan: Plan, choices: Choices, dockerfile: str, runner: Runner, engine: Engine, observe: Observer
    ) -> None:
        self._plan, self._choices, self._dockerfile = plan, choices, dockerfile
        self._runner, self._engine, self._observe = runner, engine, observe
        self._target = target_of(plan, choices.until)
        self._tag = choices.tag or default_tag(plan, choices.until)
        self._state = BuildState(plan.closure(self._target))
        self._decoder = Decoder()
        self._facts: Facts = engine.facts()
        self._least_free: int | None = None
        self._disk_at = 0.0
        self._start = time.time()

    def to_the_end(self, foretell: Callable[[Forecast], None]) -> BuildRecord:
        check_arguments(self._dockerfile, self._choices)
        _check_architecture(self._plan, self._choices, self._facts)
        forecast = forecast_of(self._dockerfile, self._choices, self._target, engine=self._engine, facts=self._facts)
        foretell(forecast)
        folder = make_folder(build_folder(self._tag))
        with closing(begun_log(folder, self._start)) as log, build_files(self._dockerfile, self._choices) as files:
            command = build_command(self._plan, self._choices, folder=files)
            outcome: Outcome = "cancelled"
            try:
                code = self._tried(files, log)
                outcome = "failed" if code else "done"
            except BuildError:
                outcome = "failed"
                raise
            finally:
                self._finish(outcome, log)
                record = self._record(outcome, command, log.path, _metadata(files))
                record = remember(record, forecast, plan=self._plan, dockerfile=self._dockerfile, choices=self._choices)
        if outcome == "failed":
            raise self._error(log.path)
        return record

    def _tried(self, files: Path, log: BuildLog) -> int:
        """Run the build, and again where the engine lost a layer that it had.

        An export that lost one is tried from the cache: there all steps are by then, and without it they ran again.
        """
        choices, hopeful = self._choices, True
        for left in reversed(range(TRIES)):
            code = self._once(choices, files, log)
            failure = self._state.failure
            if not (code and left and failure):
                return code
            if failure.stage == EXPORT and lost_snapshot(failure.error):
                log.text(f"{failure.error}: the engine lost a layer that it had, so this is tried again ({left} left)")
                time.sleep(RETRY_AFTER)
                choices = from_cache(choices)
            elif hopeful and lost_of_cache(failure) and not (choices.elsewhere or choices.no_cache):
                hopeful = self._mended(failure, files, log)
            else:
                return code
            self._state.again()
        raise AssertionError("the last try returns")

    def _once(self, choices: Choices, files: Path, log: BuildLog) -> int:
        command = build_command(self._plan, choices, folder=files)
        log.text("$ " + " ".join(command))
        self._decoder = Decoder()
        code = self._stream(command, log)
        self._take(self._decoder.finish(), log)
        return code

    def _mended(self, failure: Failure, files: Path, log: BuildLog) -> bool:
        """Run the stages again whose layers the engine has lost; return whether there were any.

        Each stage that the failed step stands on is made an image of, which costs nothing where all its layers are
        there.
        """
        tag, found = f"drivebuild/mending:{files.name.lower().strip('._-')}", False
        log.text(f"{failure.error}: the engine has lost a layer of its build cache; looking for the stage of it")
        try:
            for stage in stands_on(self._plan, self._choices, failure.stage):
                self._state.again()
                if not self._once(looked_at(self._choices, stage, tag), files, log):
                    continue
                lost = self._state.failure
                if lost is None or not lost_of_cache(lost):
                    break
                log.text(f"the engine has lost a layer of stage {stage}: it runs again")
                self._state.again(without=stage)
                if self._once(looked_at(self._choices, stage, tag, again=(stage,)), files, log):
                    break
                found = True
        finally:
            self._runner.run(("docker", "image", "rm", "--force", tag))
        return found

    def _stream(self, command: Argv, log: BuildLog) -> int:
        def feed(piece: bytes) -> None:
            self._take(self._decoder.feed(piece), log)

        try:
            return self._runner.stream(command, feed, env=self._choices.environment or None)
        except CommandMissingError as error:
            raise BuildError(error.message, hint=INSTALL) from error

    def _take(self, events: list[Event], log: BuildLog) -> None:
        for event in events:
            self._state.apply(event)
            log.event(event, self._state)
        now = time.time()
        if now - self._disk_at >= DISK_EVERY and not self._choices.elsewhere:
            self._disk_at = now
            free = self._facts.free_bytes()
            if free is not None:
                self._least_free = min(free, self._least_free if self._least_free is not None else free)
        self._observe(self._state, now)

    def _finish(self, outcome: Outcome, log: BuildLog) -> None:
        self._state.finish(outcome)
        self._take(self._decoder.finish(), log)
        log.text(f"{outcome} after {time.time() - self._start:.1f} s")

    def _record(self, outcome: Outcome, command: Argv, log: Path, metadata: Mapping[str, object]) -> BuildRecord:
        now = time.time()
        image = self._engine.image(self._tag) if outcome == "done" and self._choices.load else None
        return BuildRecord(
            tag=self._tag,
            model=self._plan.model.name,
            platform=self._plan.platform.name,
            variant=self._plan.variant,
            target=self._target,
            outcome=outcome,
            when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._start)),
            seconds=round(now - self._start, 3),
            stages=tuple(
                StageRecord(name=view.name, state=view.state, seconds=view.seconds, partial=view.partial)
                for view in self._state.views(now)
            ),
            command=command,
            log=str(log),
            image_id=image.id if image else "",
            digest=str(metadata.get("containerimage.digest", "")),
            size_bytes=image.size if image else 0,
            engine=self._facts.version,
            drivebuild=__version__,
            sources=tuple(f"{source.stage}: {source.note}" for source in self._choices.sources),
            arguments=tuple(f"{name}={value}" for name, value in self._choices.arguments.items()),
        )

    def _error(self, log: Path) -> BuildError:
        failure = self._state.failure
        texts = tuple(self._state.texts)
        stage = failure.stage if failure else ""
        said = joined((failure.error, *failure.lines[-SHOWN_LINES:]) if failure else texts)
        lines = (failure.lines if failure and failure.lines else (said or joined(texts)).splitlines())[-SHOWN_LINES:]
        known = stage if stage in self._plan.names else ""
        about = Circumstances(
            stage=stage,
            source=stage.removeprefix(PREFIX) if stage.startswith(PREFIX) else "",
            ca_bundle=self._choices.ca_bundle is not None,
            base=self._plan.platform.name if self._plan.platform.base.bootstrap else "",
            least_free=self._least_free,
            builder=self._choices.builder.name if self._choices.builder else "",
        )
        where = f"stage {stage!r} of {self._tag} failed" if stage else f"the build of {self._tag} failed"
        first = _first_line(failure.error) if failure else _last(texts)
        message = [f"{where}: {first}"]
        message += [f"  | {line}" for line in lines]
        message.append(f"full log: {log}")
        if known and self._choices.retry:
            message.append(f"retry this stage alone: {self._choices.retry} --until {known}")
        hint = hint_for(joined((said, *texts)), about)
        return StageFailedError("\n".join(message), hint=hint, stage=stage, first=first, log=log)


def _first_line(text: str) -> str:
    # BuildKit repeats the whole command, which the log and the Dockerfile have in full.
    match = re.search(r"did not complete successfully: (.*)", text, re.DOTALL)
    short = match[1] if match else text
    return short.strip().split("\n", 1)[0][:300]


def _last(texts: tuple[str, ...]) -> str:
    return next((text for text in reversed(texts) if text.startswith("ERROR")), texts[-1] if texts else "no message")


def _check_architecture(plan: Plan, choices: Choices, facts: Facts) -> None:
    found = choices.architecture(facts)
    if found and found not in plan.architectures:
        names = ", ".join(plan.architectures)
        what = plan.toolchain if found in plan.platform.architectures else plan.platform.name
        where = f"builder {choices.builder.name} is" if choices.builder else "the engine here is"
        where = "asked for is" if choices.target else where
        message = f"{what} exists for {names}; {where} {found}"
        other = next(iter(plan.architectures), "")
        raise BuildError(message, hint=f"build on a machine of that architecture, or emulated: --arch {other}")


def _metadata(folder: Path) -> Mapping[str, object]:
    try:
        found = json.loads((folder / "metadata.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
