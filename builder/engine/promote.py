"""Other names for what is in a registry already: a promotion, and one index of several architectures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from builder.engine.manifests import Found, Tools
from builder.engine.owntag import overtaken, own_tag
from builder.engine.registry import Reference
from builder.engine.verified import Verified, kept
from builder.errors import BuildError, UsageError
from builder.render.keys import SHORT

__all__ = ["Merged", "Promoted", "merge", "promote"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """What a promotion did, or would do."""

    source: str
    before: str
    """The digest that the old name stands for, looked up once."""
    target: str
    replaced: str
    """The digest that the new name stood for until now; '' where it was not there."""
    after: str
    """The digest of the new name; in a dry run the one to come, '' where buildx does not say before."""
    verified: tuple[Verified | None, ...]
    """Of each image, in the order of architectures."""
    architectures: tuple[str, ...]


def promote(
    source: Reference,
    target: Reference,
    *,
    tools: Tools,
    records: Iterable[Verified] = (),
    unverified: bool = False,
    dry_run: bool = False,
) -> Promoted:
    """Give what `source` stands for just now another name, in the same repository or another one.

    The old name is looked up once; from then on only its digest counts, so a push at the same time changes nothing. An
    index stays whole, with its attestations.

    Raises:
        BuildError: when there is no such image; when verify failed for one of its architectures, or nobody ran it, and
            `unverified` is not said; when a registry refuses.
    """
    found = tools.look(source)
    if found is None:
        raise BuildError(f"{source}: the registry has no such image")
    given = {record.identity: record for record in records}
    verified = tuple(given.get(image.identity) or kept(image.identity) for image in found.images)
    if not unverified:
        _check_verified(source, found, verified)
    there = tools.look(target)
    pinned = source.at(found.digest)
    after = found.digest if found.index else ""
    if not dry_run:
        tools.name((target,), (pinned,), one=not found.index)
        after = _landed(tools, target, found.contents)
    return Promoted(
        source=str(source),
        before=found.digest,
        target=str(target),
        replaced=there.digest if there else "",
        after=after,
        verified=verified,
        architectures=tuple(image.architecture for image in found.images),
    )


def _check_verified(source: Reference, found: Found, verified: tuple[Verified | None, ...]) -> None:
    lines = []
    for image, record in zip(found.images, verified, strict=True):
        if record is None:
            lines.append(f"  {image.architecture}: nobody ran verify on it")
        elif not record.ok:
            lines.append(f"  {image.architecture}: verify failed on {record.when}: {record.summary}")
    if not found.images:
        lines.append("  it holds no image that could be verified")
    if lines:
        message = f"{source.name}@{found.digest} is not verified\n" + "\n".join(lines)
        hint = (
            "`drivebuild verify MODEL` where it was built; --verified FILE for one of another machine; or --unverified"
        )
        raise BuildError(message, hint=hint)


def _landed(tools: Tools, target: Reference, wanted: frozenset[tuple[str, str]]) -> str:
    """Return the digest that a name has now.

    Raises:
        BuildError: when that is another image.
    """
    now = tools.look(target)
    if now is None or now.contents != wanted:
        raise BuildError(f"{target} is not what was named: another push was quicker", hint="say it again")
    return now.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """An index of several architectures."""

    names: tuple[str, ...]
    digest: str
    """'' in a dry run."""
    recipe: str
    architectures: tuple[str, ...]
    kept: str = ""
    """The digest of another image that has the recipe's own tag, and keeps it."""
    taken: str = ""
    """The digest of another image that was given that tag while this one was."""


def merge(
    target: Reference,
    digests: tuple[str, ...],
    *,
    tools: Tools,
    overwrite: bool = False,
    any_recipe: bool = False,
    dry_run: bool = False,
) -> Merged:
    """Make one index of images of one recipe, one for each architecture, under the target's tag and the recipe's own.

    A target whose tag has the recipe's hash is that tag, and written once.

    Raises:
        UsageError: for what is no digest, and for a target without a tag.
        BuildError: when one is not there, when two are for one architecture or of two recipes, or when one does not say
            which recipe it is of, unless `any_recipe`; when the target has the recipe's hash and is another image's,
            unless `overwrite`; when the registry refuses.
    """
    if not target.tag or target.digest:
        raise UsageError(f"{target}: an index wants a tag", hint="such as registry.example/team/model:platform-variant")
    found = {digest: _look(target, digest, tools) for digest in _checked(digests)}
    images = tuple(image for each in found.values() for image in each.images)
    _check_architectures(found)
    recipe = _recipe(found, any_recipe=any_recipe)
    sources = tuple(target.at(digest) for digest in found)
    own = Reference(target.repository, own_tag(target.tag, recipe))
    there = tools.look(own) if recipe else None
    contents = frozenset(pair for each in found.values() for pair in each.contents)
    # What one machine pushed alone under this tag is a part of what is to stand there, and may grow.
    free = there is None or overwrite or there.contents <= contents
    if there and own == target and not free:
        message = f"{own} is another image's, {there.digest}: a tag with the recipe's hash is written once"
        raise BuildError(message, hint="take a name without the hash, or --overwrite moves it")
    names = (target, own) if recipe and free and own != target else (target,)
    taken = digest = ""
    if not dry_run:
        # What is there for one architecture only is named as it is.
        tools.name(names, sources, one=len(sources) == 1)
        digest = _landed(tools, target, contents)
        taken = overtaken(own, lambda found: found.contents == contents, tools) if own in names else ""
    return Merged(
        names=tuple(each.name for each in names if not (taken and each is own)),
        digest=digest,
        recipe=recipe,
        architectures=tuple(image.architecture for image in images),
        kept=there.digest if there and not free else "",
        taken=taken,
    )


def _checked(digests: tuple[str, ...]) -> tuple[str, ...]:
    for digest in digests:
        if not _DIGEST.fullmatch(digest):
            hint = "sha256: and 64 digits, as `image --push REPO --by-digest` prints it"
            raise UsageError(f"{digest!r} is no digest", hint=hint)
    if not digests:
        raise UsageError("an index wants digests of images")
    return tuple(dict.fromkeys(digests))


def _look(target: Reference, digest: str, tools: Tools) -> Found:
    found = tools.look(Reference(target.repository, digest=digest))
    if found is None or not found.images:
        what = "has no such image" if found is None else "has no image under it"
        raise BuildError(f"{target.at(digest)}: the registry {what}", hint="was it pushed to this repository?")
    return found


def _check_architectures(found: dict[str, Found]) -> None:
    seen: dict[str, str] = {}
    for digest, each in found.items():
        for image in each.images:
            other = seen.setdefault(image.architecture, digest)
            if other != digest:
                raise BuildError(f"{other} and {digest} are both for {image.architecture}: an index has one of each")


def _recipe(found: dict[str, Found], *, any_recipe: bool) -> str:
    recipes = {digest: {image.recipe for image in each.images} for digest, each in found.items()}
    every = set().union(*recipes.values())
    if len(every) == 1 and every != {""}:
        return every.pop()
    if any_recipe:
        return ""
    lines = [f"  {digest}: {_said(each)}" for digest, each in recipes.items()]
    message = "these are not images of one recipe\n" + "\n".join(lines)
    raise BuildError(message, hint="build all architectures from one commit of the recipes; or --any-recipe")


def _said(recipes: set[str]) -> str:
    return ", ".join(sorted(f"recipe {each[:SHORT]}" if each else "it says no recipe" for each in recipes))
