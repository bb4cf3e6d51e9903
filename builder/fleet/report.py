"""What a `build-all` did, as data for JSON and as the lines of its summary. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from builder.fleet.runs import EXPORT, ImageRun, Interval, Outcome, StageRun, merged, total
from builder.fleet.words import human_seconds

__all__ = ["SCHEMA", "Report", "StageUse", "Totals", "image_words", "make_report", "summary", "to_data"]

SCHEMA = "drivebuild.build-all/1"
SLOWEST = 5
"""Stages of the summary on a terminal."""
SHORT = 12
"""Digits of a digest where people read it."""


class StageUse(msgspec.Struct, frozen=True, kw_only=True):
    """One stage, over all images that need it."""

    name: str
    digest: str
    images: tuple[str, ...]
    """Who needs it, by name; the first is the one that began it, where it ran."""
    spans: tuple[Interval, ...]
    """When it was at work in this call; none where it was cached."""
    whole: float | None
    """Seconds that the whole stage takes: measured now or by an earlier build; None where nobody knows."""
    failed: bool = False

    @property
    def seconds(self) -> float:
        """For how long it was at work in this call, counted once."""
        return total(self.spans)


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over stages."""

    ran: int
    """Stages that were at work in this call, each counted once."""
    ran_seconds: float
    handed_out: int
    """How often an image found such a stage at work, or done by then, because of another one."""
    different: int
    """Stages that the finished images have, each counted once."""
    needed: int
    """The same stages, counted for each image that has them."""
    together: float
    """Seconds of the stages of the finished images, each counted once."""
    apart: float
    """Seconds of them, counted for each image: what as many builds would take of which none knows of the others."""
    unknown: int
    """Stages of finished images whose time nobody knows; they are in neither sum."""

    @property
    def ratio(self) -> float | None:
        """Together, in terms of apart; None where nothing is known."""
        return self.together / self.apart if self.apart else None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the command, and what follows from it."""

    outcome: Outcome
    stages: tuple[StageUse, ...]
    """The slowest in this call first."""
    totals: Totals
    machine: Mapping[str, str] = {}


def make_report(outcome: Outcome, known: Mapping[str, float], machine: Mapping[str, str] | None = None) -> Report:
    """Return the report of a call; `known` has by digest the seconds of stages that ran as a whole some time."""
    stages = tuple(sorted(_uses(outcome, known), key=lambda use: (-use.seconds, -(use.whole or 0.0), use.name)))
    return Report(outcome=outcome, stages=stages, totals=_totals(outcome, stages), machine=machine or {})


def _uses(outcome: Outcome, known: Mapping[str, float]) -> Iterator[StageUse]:
    found: dict[str, list[tuple[ImageRun, StageRun]]] = {}
    for image in outcome.images:
        for stage in image.stages:
            if stage.digest:
                found.setdefault(stage.digest, []).append((image, stage))
    for digest, pairs in found.items():
        pairs.sort(key=lambda pair: pair[1].spans[0][0] if pair[1].spans else float("inf"))
        spans = merged(span for _, stage in pairs for span in stage.spans)
        yield StageUse(
            name=pairs[0][1].name,
            digest=digest,
            images=tuple(image.name for image, _ in pairs),
            spans=spans,
            whole=known.get(digest, total(spans) if spans else None),
            failed=any(stage.state == "failed" for _, stage in pairs),
        )


def _totals(outcome: Outcome, stages: tuple[StageUse, ...]) -> Totals:
    done = {image.name for image in outcome.images if image.state == "done"}
    users = {use.digest: len(done & set(use.images)) for use in stages}
    there = [use for use in stages if users[use.digest]]
    timed = [(use.whole, users[use.digest]) for use in there if use.whole is not None]
    at_work = [use for use in stages if use.spans]
    return Totals(
        ran=len(at_work),
        ran_seconds=sum(use.seconds for use in at_work),
        handed_out=sum(len(use.images) - 1 for use in at_work),
        different=len(there),
        needed=sum(users[use.digest] for use in there),
        together=sum(seconds for seconds, _ in timed),
        apart=sum(seconds * count for seconds, count in timed),
        unknown=len(there) - len(timed),
    )


def image_words(image: ImageRun) -> str:
    """Return what an image's stages did, in a few words."""
    own = [stage for stage in image.stages if stage.name != EXPORT]
    ran = sum(1 for stage in own if stage.state == "done")
    cached = sum(1 for stage in own if stage.state == "cached")
    return f"{ran} run, {cached} cached" if own else ""


def summary(report: Report) -> Iterator[str]:
    """Yield the lines that end the command, without those of the failures."""
    outcome, totals = report.outcome, report.totals
    yield f"{_counted(outcome)} in {human_seconds(outcome.ended - outcome.began)}, {outcome.slots} at a time"
    if totals.ran:
        again = f"; {totals.handed_out} times an image found one there because of another" if totals.handed_out else ""
        yield f"stages run: {totals.ran}, {human_seconds(totals.ran_seconds)}{again}"
    elif any(image.state == "done" for image in outcome.images):
        yield "stages run: none, everything was there already"
    if totals.ratio is not None:
        without = f"; {totals.unknown} never timed, left out" if totals.unknown else ""
        yield (
            f"stages needed: {totals.different} different ones, {human_seconds(totals.together)}; built apart from each"
            f" other {totals.needed}, {human_seconds(totals.apart)}: {totals.ratio:.2f} of it{without}"
        )
    for use in report.stages[:SLOWEST]:
        if use.seconds >= 1.0:
            count = len(use.images)
            yield f"  {human_seconds(use.seconds):>12}  {use.name}, for {count} image{'s' if count > 1 else ''}"


def _counted(outcome: Outcome) -> str:
    words = (
        ("done", "done"),
        ("failed", "failed"),
        ("left", "not tried"),
        ("cancelled", "interrupted or not begun"),
    )
    states = [image.state for image in outcome.images]
    parts = [f"{states.count(state)} {word}" for state, word in words if state in states]
    return f"{len(states)} image{'s' if len(states) != 1 else ''}: {', '.join(parts) or 'nothing to do'}"


def to_data(report: Report) -> dict[str, Any]:
    """Return everything as JSON values; times are seconds from the beginning of the call."""
    outcome, totals = report.outcome, report.totals
    return {
        "schema": SCHEMA,
        "began": outcome.began,
        "seconds": _rounded(outcome.ended - outcome.began),
        "at_a_time": outcome.slots,
        "interrupted": outcome.interrupted,
        "stopped": outcome.stopped or None,
        "images": [_image(image, outcome.began) for image in outcome.images],
        "left_out": dict(outcome.left_out),
        "stages": [
            {
                "stage": use.name,
                "digest": use.digest,
                "images": list(use.images),
                "seconds": _rounded(use.seconds),
                "whole_seconds": _rounded(use.whole) if use.whole is not None else None,
                "failed": use.failed,
            }
            for use in report.stages
        ],
        "totals": {
            "stages_run": totals.ran,
            "stages_run_seconds": _rounded(totals.ran_seconds),
            "found_by_others": totals.handed_out,
            "stages_different": totals.different,
            "stages_needed": totals.needed,
            "together_seconds": _rounded(totals.together),
            "apart_seconds": _rounded(totals.apart),
            "ratio": _rounded(totals.ratio) if totals.ratio is not None else None,
            "never_timed": totals.unknown,
        },
        "machine": dict(report.machine),
    }


def _image(image: ImageRun, origin: float) -> dict[str, Any]:
    failed = image.failed
    return {
        "name": image.name,
        "tag": image.tag,
        "platform": image.platform,
        "state": image.state,
        "began": _rounded(image.began - origin) if image.began else None,
        "seconds": _rounded(image.seconds),
        "bytes": image.size_bytes,
        "id": image.image_id,
        "pushed": image.pushed or None,
        "notes": list(image.notes),
        "failure": {"stage": failed.stage, "first": failed.first, "hint": failed.hint, "log": failed.log}
        if failed
        else None,
        "stages": [
            {
                "stage": stage.name,
                "state": stage.state,
                "digest": stage.digest,
                "spans": [[_rounded(begin - origin), _rounded(end - origin)] for begin, end in stage.spans],
            }
            for stage in image.stages
        ],
    }


def _rounded(seconds: float) -> float:
    return round(seconds, 3)
