"""Images that share a stage, for tests of many builds with a real BuildKit."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable, Mapping

from builder.engine.command import Choices
from builder.engine.many import build_many
from builder.engine.process import SystemRunner
from builder.engine.works import ImageView, SystemDoors, Work
from builder.fleet.runs import EXPORT, ImageRun, Outcome, StageRun
from support.engine import stage, toy_plan

__all__ = ["Fleet", "Look", "built", "content", "own_stages", "states"]

PLAN = toy_plan(stage("shared"), stage("leaf", "shared"), stage("image", "leaf"))
BASE = "localhost/drivebuild/base:debian-12"
Look = Callable[[tuple[ImageView, ...]], None]


class Fleet:
    """Makes the works of images with one stage in common, which no build before has run."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._once = f"{tag} {time.time_ns()}"
        self.tags: list[str] = []

    def __call__(
        self, *names: str, leaves: Mapping[str, str] | None = None, shared: str = "sleep 2", **choices: object
    ) -> list[Work]:
        """Return works whose own stage runs a command of `leaves`, and whose common one runs `shared`."""
        works = []
        for name in names:
            tag = f"{self._tag}-{name}"
            self.tags.append(tag)
            leaf = (leaves or {}).get(name, "true")
            dockerfile = (
                f"FROM {BASE} AS shared\nRUN {shared} && : {self._once} && date +%s.%N > /shared\n"
                f"FROM shared AS leaf\nRUN {leaf} && : {name} {self._once} && echo {name} > /leaf\n"
                "FROM scratch AS image\nCOPY --from=leaf /shared /leaf /\n"
            )
            key = f"{name} {self._once}"
            digests = {"shared": f"{shared} {self._once}", "leaf": f"{leaf} {key}", "image": f"image {key}"}
            chosen = Choices(tag=tag, **choices)  # type: ignore[arg-type]
            works.append(Work(name=name, plan=PLAN, dockerfile=dockerfile, choices=chosen, digests=digests))
        return works


def built(works: list[Work], slots: int = 2, show: Look = lambda _views: None) -> Outcome:
    """Build them in the order they come in."""
    names = [work.name for work in works]
    return build_many(works, names, slots=slots, doors=SystemDoors(), show=lambda views, _now: show(views))


def states(outcome: Outcome) -> dict[str, str]:
    """Return what became of each."""
    return {image.name: image.state for image in outcome.images}


def own_stages(image: ImageRun) -> list[StageRun]:
    """Return an image's stages, without the writing of it."""
    return [stage for stage in image.stages if stage.name != EXPORT]


def content(tag: str, path: str) -> str:
    """Return a file of an image that has no shell."""
    runner = SystemRunner()
    made = runner.run(("docker", "create", tag, "none")).text
    try:
        with tarfile.open(fileobj=io.BytesIO(runner.run(("docker", "cp", f"{made}:{path}", "-")).stdout)) as packed:
            file = packed.extractfile(packed.getmembers()[0])
            assert file is not None
            return file.read().decode()
    finally:
        runner.run(("docker", "rm", made))
