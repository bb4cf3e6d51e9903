"""Options of a build that say where it goes: registry, caches, builder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from builder.cli.main import Settings
    from builder.engine.delivery import Delivered, Delivery
    from builder.engine.push import Pushed
    from builder.plan.stage import Plan

__all__ = [
    "BuilderName",
    "ByDigest",
    "CacheFrom",
    "CacheTo",
    "Overwrite",
    "Push",
    "delivery_of",
    "print_delivered",
    "pushes_to",
    "siblings_of",
]

Push = Annotated[
    str,
    typer.Option(
        "--push",
        metavar="REPOSITORY",
        help="Push the image, such as to registry.example:5000/team/MODEL:PLATFORM-VARIANT and …-HASH of its recipe.",
    ),
]
ByDigest = Annotated[
    bool,
    typer.Option("--by-digest", help="With --push: no tag yet; for `drivebuild merge`, one image per architecture."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="With --push: the tag with the recipe's hash may get another image.")
]
CacheTo = Annotated[
    list[str] | None,
    typer.Option(
        "--cache-to",
        metavar="REF",
        help="Write the build cache: to a repository (drivebuild names the rest), a tagged name, or in buildx's words.",
    ),
]
CacheFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--cache-from", metavar="REF", help="Read build caches; of a repository this image's and its siblings'."
    ),
]
BuilderName = Annotated[
    str, typer.Option("--builder", metavar="NAME", help="A builder of `docker buildx ls`, of any driver.")
]


def pushes_to(repository: str, *, offline: bool) -> str:
    """Return the repository that `--push` names, or '' where it was not given.

    Raises:
        UsageError: as `check_repository`.
    """
    if repository:
        from builder.engine.registry import check_repository

        check_repository(repository, offline=offline)
    return repository


def delivery_of(
    *,
    push: str,
    by_digest: bool,
    overwrite: bool,
    cache_to: list[str] | None,
    cache_from: list[str] | None,
    builder: str,
    offline: bool,
) -> Delivery:
    """Return what these options say.

    Raises:
        UsageError: as `check_delivery`.
    """
    from builder.engine.delivery import Delivery, check_delivery

    made = Delivery(
        push=push,
        by_digest=by_digest,
        overwrite=overwrite,
        cache_to=tuple(cache_to or ()),
        cache_from=tuple(cache_from or ()),
        builder=builder,
    )
    check_delivery(made, offline=offline)
    return made


def siblings_of(settings: Settings, plan: Plan) -> tuple[str, ...]:
    """Return the models whose images on the same platform have stages in common with this one."""
    platform = plan.platform
    kin = (platform.name, platform.twin, platform.locks)
    everywhere = platform.accelerator != "npu"
    return tuple(
        name
        for name, model in settings.catalog().models.items()
        if name != plan.model.name and (everywhere or model.platform in kin)
    )


def print_delivered(delivered: Delivered, *, json: bool) -> None:
    """Say under which names and digest the image is in the registry, and where its cache is."""
    if delivered.pushed:
        _print_pushed(delivered.pushed, json=json)
    for place in delivered.caches:
        if json:
            _print_json("cached", {"to": place})
        else:
            typer.echo(f"cache   {place}")


def _print_pushed(done: Pushed, *, json: bool) -> None:
    if json:
        from dataclasses import asdict

        _print_json("pushed", asdict(done))
        return
    from builder.engine.push import GZIP_NOTE

    note = GZIP_NOTE if done.compression == "gzip" else "as zstd"
    typer.echo(f"pushed  {done.name}@{done.digest} {note}")
    for tag in done.tags[1:]:
        typer.echo(f"as well {tag}")
    if done.kept:
        typer.echo(
            f"kept    the tag with the recipe's hash is another image's, {done.kept}; this one is known by its digest."
            " --overwrite moves the tag"
        )


def _print_json(event: str, fields: dict[str, object]) -> None:
    import msgspec

    typer.echo(msgspec.json.encode({"event": event, **fields}).decode())
