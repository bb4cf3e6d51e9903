"""`clean`: what drivebuild made on this machine and nobody needs any more. It shows first, and asks."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.cli.cleanview import Asked, Found, print_found, print_json_of
from builder.cli.live import human_bytes
from builder.cli.main import app
from builder.cli.options import AsJson
from builder.engine.text import printable
from builder.errors import BuildError, UsageError
from builder.signals import ends_like_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.engine.imagelist import ImageList
    from builder.engine.leftover import Leftover, Times
    from builder.engine.ours import Choice, Held

_AGE = re.compile(r"(?P<number>[0-9]{1,5})(?P<unit>[mhdw]?)")
_SECONDS = {"": 86400, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@app.command()
def clean(
    images: Annotated[bool, typer.Option("--images", help="Images that newer builds replaced.")] = False,
    records: Annotated[bool, typer.Option("--records", help="Records and logs of images that are gone.")] = False,
    profiles: Annotated[bool, typer.Option("--profiles", help="Profiles of --pgo that newer ones replaced.")] = False,
    scratch: Annotated[
        bool, typer.Option("--scratch", help="Folders that are made again when wanted, and remains of killed runs.")
    ] = False,
    cache: Annotated[
        bool, typer.Option("--cache", help="BuildKit's cache down to --cache-budget, whoever made what is in it.")
    ] = False,
    bases: Annotated[bool, typer.Option("--bases", help="With --images: bases too that nothing stands on.")] = False,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Only what is older: 90m, 12h, 7d, 4w; 0 for any age.")
    ] = "7d",
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=0, help="The newest so many of each kind of image, log, profile.")
    ] = 1,
    cache_budget: Annotated[
        str, typer.Option("--cache-budget", metavar="SIZE", help="What --cache leaves: 20GB; 0 for nothing.")
    ] = "30GB",
    builder: Annotated[
        str, typer.Option("--builder", metavar="NAME", help="Whose cache: a builder of `docker buildx ls`.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what drivebuild made and nobody needs: shows what and how much, then asks.

    Without --images, --records, --profiles or --scratch it is all four; BuildKit's cache is touched only with --cache,
    a store and runs never. Where nobody can be asked, and with --json, nothing is removed without --yes; the exit code
    is 0 then, and 6 when something could not be removed.
    """
    some = images or records or profiles or scratch or cache or bases
    asked = Asked(
        images=images or bases or not some,
        records=records or not some,
        profiles=profiles or not some,
        scratch=scratch or not some,
        cache=cache,
        bases=bases,
        seconds=parse_age(older_than),
        keep=keep,
        budget=_budget(cache_budget),
        builder=builder,
    )
    with ends_like_ctrl_c(), _alone():
        # What was seen is old when somebody has thought about it: each thing is looked at again before it goes.
        found, images_of = _look(asked, time.time())
        if as_json and (found.nothing or not yes):
            print_json_of(found, dry=not yes, failed=())
            return
        if not as_json:
            print_found(found)
        if found.nothing or not _agreed(yes=yes):
            return
        _remove(found, images_of, as_json=as_json)


def parse_age(text: str) -> int:
    """Return an age in seconds; a number alone is days.

    Raises:
        UsageError: for what is none.
    """
    match = _AGE.fullmatch(text)
    if not match:
        raise UsageError(f"--older-than {text!r}: not an age", hint="such as 90m, 12h, 7d, 4w, or 0")
    return int(match["number"]) * _SECONDS[match["unit"]]


def _budget(text: str) -> int:
    from builder.engine.buildcache import parse_size

    size = 0 if text == "0" else parse_size(text) if re.fullmatch(r"[0-9.]+ ?[kKMGT]?i?B", text) else None
    if size is None:
        raise UsageError(f"--cache-budget {text!r}: not a size", hint="such as 20GB, 500MB, 30GiB, or 0")
    return size


def _alone() -> Any:
    """Return a lock: two of these at once would each show what the other removes."""
    from contextlib import contextmanager

    import filelock

    from builder.engine.folders import make_folder, state_folder

    @contextmanager
    def locked() -> Iterator[None]:
        lock = filelock.FileLock(make_folder(state_folder()) / "clean.lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise BuildError(
                "another `drivebuild clean` is at work", hint="wait for it, or answer its question"
            ) from None
        try:
            yield
        finally:
            lock.release()

    return locked()


def _look(asked: Asked, now: float) -> tuple[Found, ImageList | None]:
    """Return what may go. The engine is asked only when its images matter."""
    from builder.engine.cacheprune import read_usage
    from builder.engine.cacherecords import choose
    from builder.engine.leftover import Times
    from builder.engine.process import SystemRunner

    times = Times(now=now, before=now - asked.seconds, keep=asked.keep)
    images_of = _images() if asked.images or asked.records else None
    found = Found(asked, everything=images_of.all() if images_of else ())
    if images_of and asked.images:
        found.choice = _choice(found.everything, images_of.used(), asked, times)
    found.files = tuple(_files(asked, times, found))
    if asked.cache or found.gone:
        try:
            found.usage = read_usage(SystemRunner(), asked.builder)
        except BuildError:
            if asked.cache:
                raise
    if asked.cache and found.usage:
        found.cache = choose(found.usage.records, seconds=asked.seconds, budget=asked.budget)
    return found, images_of


def _images() -> ImageList:
    from builder.engine.host import connect
    from builder.engine.imagelist import ImageList
    from builder.footprint.layers import Made, match_layers

    def sizes(ids: Sequence[str], history: Sequence[tuple[str, int]]) -> Sequence[int]:
        return [layer.size for layer in match_layers(ids, [Made(text, size) for text, size in history], ())]

    return ImageList(connect(), sizes)


def _choice(everything: tuple[Held, ...], used: dict[str, str], asked: Asked, times: Times) -> Choice:
    from builder.engine.ours import Wish, choose
    from builder.engine.record import all_records

    recorded: dict[str, set[str]] = {}
    for record in all_records():
        if record.image_id:
            recorded.setdefault(record.image_id, set()).add(record.tag)
    wish = Wish(before=times.before, keep=asked.keep, bases=asked.bases)
    return choose(everything, wish, recorded=recorded, used=used)


def _files(asked: Asked, times: Times, found: Found) -> Iterator[Leftover]:
    import tempfile

    from builder.engine.folders import build_folder, cache_folder, state_folder
    from builder.engine.leftover import CACHES, caches, named_paths, old_profiles, old_records, remains
    from builder.engine.profiles import profiles_folder

    builds = state_folder() / "builds"
    if asked.records:
        lost = {image.id for image in found.gone}
        tags = {tag for image in found.everything if image.id not in lost for tag in image.tags}
        yield from old_records(builds, times, folder_of_image=[build_folder(tag) for tag in tags])
    if asked.profiles:
        yield from old_profiles(profiles_folder(), times, _kind_of_profile)
    if asked.scratch:
        named = named_paths()
        cache = cache_folder()
        yield from caches(cache, times, named)
        places = [*(cache / name for name in CACHES), profiles_folder(), *_below(builds)]
        yield from remains(places, Path(tempfile.gettempdir()), times, named)


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _kind_of_profile(folder: Path) -> str:
    from builder.engine.profiles import all_profiles

    for each in all_profiles():
        if each.folder == folder:
            said = each.provenance
            return f"{said.model} {said.platform} {said.variant}".strip()
    return ""


def _agreed(*, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        typer.echo("nothing was removed: nobody is there to be asked; --yes removes it")
        return False
    return typer.confirm("Remove all this?")


def _remove(found: Found, images_of: ImageList | None, *, as_json: bool) -> None:
    """Remove what was shown; say what could not be removed, and what the disk gained.

    Raises:
        BuildError: when something stays that was to go.
    """
    from builder.engine.cacheprune import prune
    from builder.engine.forecast import builder_name
    from builder.engine.host import connect
    from builder.engine.ledger import forget
    from builder.engine.leftover import remove
    from builder.engine.ours import name_of
    from builder.engine.process import SystemRunner

    facts = connect().facts() if images_of or found.asked.cache else None
    before = facts.free_bytes() if facts else None
    failed = [(str(each.path), why) for each in found.files if (why := remove(each))]
    for image in found.gone if images_of else ():
        why = images_of.remove(image) if images_of else ""
        failed += [(name_of(image), why)] if why else []
    pruned = None
    if found.cache and found.cache.gone:
        pruned = prune(SystemRunner(), found.cache.gone, found.asked.seconds, found.asked.builder)
        if pruned.gone and facts:
            # Nobody says what of it went; a forecast knows nothing then, rather than something wrong.
            forget(found.asked.builder or builder_name(facts))
    if as_json:
        print_json_of(found, dry=False, failed=failed, pruned=pruned)
    else:
        after = facts.free_bytes() if facts else None
        removed = len(found.files) + len(found.gone) - len(failed)
        of_cache = f", {human_bytes(pruned.bytes)} in {len(pruned.gone)} records of the build cache" if pruned else ""
        typer.echo(f"removed {removed} things{of_cache}")
        if pruned and pruned.stayed:
            stayed = human_bytes(sum(each.bytes for each in pruned.stayed))
            why = "used again meanwhile, or still held by BuildKit"
            typer.echo(f"{len(pruned.stayed)} of its records stay, {stayed}: {why}")
        if before is not None and after is not None:
            typer.echo(f"the engine's disk has {human_bytes(after)} free, {human_bytes(max(after - before, 0))} more")
    if failed:
        lines = "\n".join(f"  {printable(name)}: {printable(why)}" for name, why in failed)
        raise BuildError(f"{len(failed)} could not be removed\n{lines}")
