"""`--push`: the built image into a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from builder.engine.build import Choices
    from builder.engine.host import Engine
    from builder.engine.process import Runner
    from builder.plan.stage import Plan

__all__ = ["Push", "push_image", "pushes_to"]

Push = Annotated[
    str,
    typer.Option(
        "--push",
        metavar="REPOSITORY",
        help="Push the image, such as to registry.example:5000/team/MODEL:PLATFORM-VARIANT.",
    ),
]


def pushes_to(repository: str, *, offline: bool) -> str:
    """Return the repository that `--push` names, or '' where it was not given.

    Raises:
        UsageError: as `check_repository`.
    """
    if repository:
        from builder.engine.push import check_repository

        check_repository(repository, offline=offline)
    return repository


def push_image(
    repository: str,
    plan: Plan,
    dockerfile: str,
    choices: Choices,
    *,
    runner: Runner,
    engine: Engine,
    json: bool,
) -> None:
    """Push what a build has just made, and say under which name and digest.

    Raises:
        BuildError: as `push`.
    """
    from builder.engine.push import GZIP_NOTE, push, pushed_name

    if not json:
        typer.echo(f"pushing {pushed_name(repository, plan, choices)}")
    done = push(plan, dockerfile, choices, repository, runner=runner, engine=engine)
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"event": "pushed", **_fields(done)}).decode())
        return
    note = GZIP_NOTE if done.compression == "gzip" else "as zstd"
    typer.echo(f"pushed  {done.name}@{done.digest} {note}")


def _fields(done: object) -> dict[str, str]:
    return {name: getattr(done, name) for name in ("name", "digest", "compression")}
