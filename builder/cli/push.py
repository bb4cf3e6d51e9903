"""Options of a build that say where it goes: registry, caches, builder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.errors import BuildError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.cli.main import Settings
    from builder.engine.delivery import Delivered, Delivery
    from builder.engine.push import Pushed
    from builder.plan.stage import Plan

__all__ = [
    "Attest",
    "BuilderName",
    "ByDigest",
    "CacheFrom",
    "CacheTo",
    "FixedTimes",
    "Overwrite",
    "Push",
    "PushedFile",
    "check_delivered",
    "check_pushed_file",
    "delivery_of",
    "print_delivered",
    "print_delivery",
    "say_unread",
    "siblings_of",
    "write_pushed",
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
FixedTimes = Annotated[
    bool,
    typer.Option(
        "--fixed-times",
        help="With --push: files' times are not those of the build, so that any other build of the recipe has the same "
        "digests. Wants containerd's image store, or --builder.",
    ),
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
Attest = Annotated[
    str,
    typer.Option(
        "--attest",
        metavar="provenance[-min]",
        help="With --push: in-toto provenance by BuildKit beside the image; `-min` has no Dockerfile and no values.",
    ),
]
PushedFile = Annotated[
    Path | None,
    typer.Option(
        "--pushed", metavar="FILE", help="With --push: write name, digest and tags there, as one line of JSON."
    ),
]
BuilderName = Annotated[
    str, typer.Option("--builder", metavar="NAME", help="A builder of `docker buildx ls`, of any driver.")
]


def delivery_of(
    *,
    push: str,
    by_digest: bool,
    overwrite: bool,
    cache_to: list[str] | None,
    cache_from: list[str] | None,
    builder: str,
    offline: bool,
    attest: str = "",
    fixed_times: bool = False,
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
        attest=attest,
        fixed_times=fixed_times,
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


def check_pushed_file(path: Path | None, push: str) -> None:
    """Look, before an hour of building, whether the file can be written.

    Raises:
        UsageError: when it cannot, or nothing is pushed.
    """
    if path is None:
        return
    if not push:
        raise UsageError("--pushed is a word about --push")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"--pushed {path}: no place for a file")


def write_pushed(delivered: Delivered, path: Path | None) -> None:
    """Write what the JSON event of a push has.

    Raises:
        BuildError: when the file cannot be written.
    """
    if path is None or delivered.pushed is None:
        return
    import msgspec

    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(msgspec.json.encode(_event(delivered.pushed)) + b"\n")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise BuildError(f"{path}: {error.strerror}", hint=f"the image is pushed: {delivered.pushed.digest}") from error


def say_unread(unread: Sequence[tuple[str, str]], caches: int) -> None:
    """Say which caches could not be read: what they have is built anew, which may take hours."""
    absent = [name for name, error in unread if error.rstrip().endswith("not found")]
    for name, error in unread:
        if name not in absent:
            typer.echo(f"warning: cache {name} could not be read: {error}", err=True)
    if absent and len(absent) == caches:
        typer.echo(f"no cache is there yet, such as {absent[0]}", err=True)


def print_delivery(target: str, cache_to: tuple[str, ...]) -> None:
    """Say what would come after a build: the push to `target`, if any, and the writing of caches."""
    if target:
        typer.echo(f"then it is pushed to {target}")
    for place in cache_to:
        typer.echo(f"then its cache is written to {place}")


def print_delivered(delivered: Delivered, *, json: bool) -> None:
    """Say under which names and digest the image is in the registry, and where its cache is."""
    if delivered.pushed:
        _print_pushed(delivered.pushed, json=json)
    notes = dict(delivered.notes)
    for place in delivered.caches:
        if json:
            _print_json("cached", {"to": place, **({"warning": notes[place]} if place in notes else {})})
        else:
            typer.echo(f"cache   {place}")
    for note in notes.values():
        typer.echo(f"warning: {note}", err=True)


def _print_pushed(done: Pushed, *, json: bool) -> None:
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(_event(done)).decode())
        return
    from builder.engine.push import GZIP_NOTE

    note = GZIP_NOTE if done.compression == "gzip" else "as zstd"
    note += ", with fixed times" if done.fixed_times else ""
    typer.echo(f"pushed  {done.name}@{done.digest} {note}")
    for tag in done.tags[1:]:
        typer.echo(f"as well {tag}")
    if done.kept:
        typer.echo(
            f"kept    the tag with the recipe's hash is another image's, {done.kept}; this one is known by its digest."
            " --overwrite moves the tag"
        )


def check_delivered(delivered: Delivered) -> None:
    """Refuse, when everything is said, a push whose own tag is another's now.

    Raises:
        BuildError: naming both.
    """
    from builder.engine.owntag import check_standing, own_tag

    if delivered.pushed:
        done = delivered.pushed
        check_standing(own_tag(done.name, done.recipe), done.digest, done.taken)


def _event(done: Pushed) -> dict[str, object]:
    from dataclasses import asdict

    return {"event": "pushed", **asdict(done)}


def _print_json(event: str, fields: dict[str, object]) -> None:
    import msgspec

    typer.echo(msgspec.json.encode({"event": event, **fields}).decode())
