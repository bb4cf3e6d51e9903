"""Why an image would be built again: what changed since its record, what that runs, and what it costs.

Nothing is built and nothing fetched. What is compared: the recipe's plan with the one that is kept beside the record,
and both Dockerfiles as BuildKit looks at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from builder.engine.changed import Question, Told, blocks
from builder.engine.ledger import Ledger
from builder.engine.snapshot import Snapshot, stages_of
from builder.plan.changes import Change
from builder.plan.stage import TARGETS, Plan
from builder.render.cachekeys import Given, cache_keys, reached

__all__ = ["Answer", "Run", "answer", "new_contexts", "nothing_changed"]

Seconds = Callable[[str], float | None]
"""Returns what a stage took when it last ran, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stage that would run, or that a change reaches without running it."""

    stage: str
    runs: bool
    """False: the builder has it already, from an earlier build."""
    own: tuple[str, ...]
    """What changed in the stage itself; nothing where only something it needs has."""
    chain: tuple[str, ...]
    """From the stage to the one whose change reaches it; the stage alone where that is its own."""
    key: str
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What changed, and what follows."""

    changes: tuple[Change, ...]
    runs: tuple[Run, ...]
    stages: int
    """How many stages the image has."""
    settings: bool
    """Whether what the image says of itself changes, labels and entrypoint, which runs nothing."""
    roots: frozenset[tuple[str, str]]
    """The stages where the changes begin, each with a word for what it is now."""
    seconds: float
    """Of those that run, one after the other, as far as it is known."""
    longest: float
    """Of the longest chain of them: no build is quicker."""
    unknown: tuple[str, ...]
    """Stages that run and of which no build says how long."""


def new_contexts(plan: Plan, snapshot: Snapshot, given: Mapping[str, str]) -> dict[str, str]:
    """Return what stands for stages today: what the caller gives, and else what stood there when it was built.

    A store that was used will be used again: it brings the commit that is pinned now, and other files where a source
    changed. A user's folder counts only when it is named again.
    """
    known = {stage.name: stage for stage in plan.stages}
    found: dict[str, str] = {}
    for name, word in snapshot.contexts.items():
        if name not in known or word.startswith("folder:"):
            continue
        kept, stage = snapshot.stages.get(name), known[name]
        if word.startswith("git:"):
            commit = stage.inputs.get("commit")
            if commit:
                found[name] = f"git:{commit}"
        elif kept is not None and dict(kept.inputs) == stages_of(plan)[name].inputs:
            found[name] = word
    return {**found, **given}


def nothing_changed(question: Question, snapshot: Snapshot) -> bool:
    """Return whether all that an image is made from is what it was, without rendering anything.

    A Dockerfile is a function of its plan and the templates: where both are equal, so is the text. Where they are not,
    that says nothing yet.
    """
    inside = question.plan.closure(question.target)
    beside = (question.target, question.asked.templates, question.contexts, question.arguments, question.offline)
    return (
        beside == (snapshot.target, snapshot.templates, snapshot.contexts, snapshot.arguments, snapshot.offline)
        and question.images == snapshot.images
        and {name: stage for name, stage in stages_of(question.plan).items() if name in inside} == snapshot.stages
    )


def answer(question: Question, snapshot: Snapshot, old_text: str, ledger: Ledger | None, seconds: Seconds) -> Answer:
    """Return what differs from what an image was made from, and what a build would run."""
    compared = _Compared(question, snapshot, old_text, ledger)
    runs = tuple(compared.runs(seconds))
    running = [run for run in runs if run.runs]
    return Answer(
        changes=compared.changes,
        runs=runs,
        stages=sum(compared.new[name].works for name in compared.stages),
        settings=compared.settings,
        roots=frozenset((name, compared.word(name)) for name in compared.roots),
        seconds=sum(run.seconds or 0.0 for run in running),
        longest=compared.longest({run.stage: run.seconds or 0.0 for run in running}),
        unknown=tuple(run.stage for run in running if run.seconds is None),
    )


class _Compared:
    """The old and the new, side by side."""

    def __init__(self, question: Question, snapshot: Snapshot, old_text: str, ledger: Ledger | None) -> None:
        self._question, self._snapshot, self._ledger = question, snapshot, ledger
        same = ledger.same if ledger else {}
        images = question.images
        architecture = TARGETS.get(snapshot.architecture, snapshot.architecture)
        old = Given(
            images=snapshot.images,
            contexts=snapshot.contexts,
            arguments=snapshot.arguments,
            architecture=architecture,
            offline=snapshot.offline,
            same=same,
        )
        new = Given(
            images=images,
            contexts=question.contexts,
            arguments=question.arguments,
            architecture=architecture,
            offline=question.offline,
            same=same,
        )
        self.old, self.new = cache_keys(old_text, old), cache_keys(question.dockerfile, new)
        self._old_text, self._new_text = blocks(old_text), blocks(question.dockerfile)
        self.stages = reached(self.new, question.target)
        self._everywhere = snapshot.arguments != question.arguments or snapshot.offline != question.offline
        self._told = Told(question, snapshot, self._old_text, self._new_text, tuple(self.new))
        self._named = self._told.named
        self.roots = tuple(name for name in self.stages if self._is_root(name))
        self.changes = tuple(self._told.changes(images, self.roots))
        self.settings = self._settings()

    def word(self, name: str) -> str:
        """Return a word for what a stage is now, beside what it needs."""
        item = self.new[name]
        return f"{item.own} {self._question.contexts.get(name, '')} {'' if item.base in self.new else item.foundation}"

    def runs(self, seconds: Seconds) -> Iterator[Run]:
        """Yield the stages that are reached by a change, and those that the builder is not known to have."""
        had = {item.key for item in self.old.values()} | set(self._ledger.seen if self._ledger else ())
        done: set[str] = set()
        for name in self.stages:
            item = self.new[name]
            if not item.works or not (self._touched(name) or item.key not in had):
                continue
            chain = self._chain(name)
            yield Run(
                stage=name,
                runs=item.key not in had and item.key not in done,
                own=self._own(name) if len(chain) == 1 else (),
                chain=chain,
                key=item.key,
                seconds=seconds(name),
            )
            done.add(item.key)

    def _own(self, name: str) -> tuple[str, ...]:
        """Return what changed in a stage itself; what only repeats another change counts where nothing else does."""
        mine = [change for change in self.changes if change.stage == self._told.plan_stage(name)]
        plain = [change for change in mine if not change.follows] or [item for item in mine if item.kind != "label"]
        everybody = [change for change in self.changes if not change.stage]
        return tuple(change.text for change in (plain or everybody))

    def longest(self, seconds: Mapping[str, float]) -> float:
        """Return the seconds of the longest chain of stages, each needing the one before."""
        ends: dict[str, float] = {}
        for name in self.stages:
            before = max((ends.get(need, 0.0) for need in self.new[name].needs), default=0.0)
            ends[name] = before + seconds.get(name, 0.0)
        return max(ends.values(), default=0.0)

    def _touched(self, name: str) -> bool:
        """Return whether a stage is another one than it was: it, or what it hands on."""
        old, new = self.old.get(name), self.new[name]
        return old is None or old.key != new.key

    def _is_root(self, name: str) -> bool:
        """Return whether something changed in a stage itself, and not only in what it needs."""
        old, new = self.old.get(name), self.new[name]
        if old is None:
            return True
        if self._question.contexts.get(name) != self._snapshot.contexts.get(name) or (
            # An image that was made anew.
            new.base not in self.new and old.foundation != new.foundation
        ):
            return True
        named = [change for change in self._named if change.stage == self._told.plan_stage(name)]
        if old.own == new.own and old.handed == new.handed:
            # A source has no step of its own where a folder stands for it, and its URL is no part of any.
            return name.startswith("src-") and bool(named)
        if self._everywhere:
            return True
        # What it inherits is another stage's change, and what its text repeats of one is, too.
        repeats = bool(named) and all(change.follows for change in named)
        return self._old_text.get(name) != self._new_text.get(name) and not repeats

    def _chain(self, name: str) -> tuple[str, ...]:
        """Return the shortest way from a stage to one where a change begins."""
        ways: list[tuple[str, ...]] = [(name,)]
        seen = {name}
        for way in ways:
            if way[-1] in self.roots:
                return way
            for need in self.new[way[-1]].needs:
                if need not in seen:
                    seen.add(need)
                    ways.append((*way, need))
        return (name,)

    def _settings(self) -> bool:
        target = self._question.target
        old = self.old.get(target)
        return old is not None and old.settings != self.new[target].settings
