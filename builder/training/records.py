"""What a log says, one value for each line that says something. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

__all__ = ["Failure", "FailureKind", "Metric", "Record", "Step"]

FailureKind = Literal["traceback", "out-of-memory", "no-space", "npu", "given-up"]


class Step(Struct, frozen=True, kw_only=True):
    """The figures of one step line.

    `run` counts from 0: an epoch or step that goes back begins another. `step` and `of` are of the epoch, or of the
    whole training where the log counts through (`epoch` is None then). Figures that are no finite number are kept as
    they are, except a time: without a usable one `seconds` is None.
    """

    run: int
    epoch: int | None
    """From 1 on."""
    step: int
    of: int | None
    seconds: float | None
    """Of one step; see `time` in the recipe's log for what it is a mean of."""
    loss: float | None
    rate: float | None = None
    memory: float | None = None
    """MiB."""
    data_seconds: float | None = None
    stamp: float | None = None
    """Seconds of the log's own clock; only differences mean something."""
    others: Mapping[str, float] = {}
    """Every other figure of the line: parts of the loss, the norm of the gradient. Names are not trustworthy."""


class Metric(Struct, frozen=True, kw_only=True):
    """One figure of an evaluation, in the unit of the recipe's `results`."""

    run: int
    name: str
    value: float
    unit: Literal["fraction", "percent"]


class Failure(Struct, frozen=True, kw_only=True):
    """A line that means trouble; a traceback's is the line that ends it, which names the exception."""

    kind: FailureKind
    line: str
    """Without control characters, cut after 400 characters; not trustworthy all the same."""


Record = Step | Metric | Failure
