"""Tags that say what they are of. That of a recipe is written once.

A registry has no "only if it is free": it is looked at right before, and after.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from builder.engine.manifests import Found, Tools
from builder.engine.registry import ARCHITECTURES, Reference
from builder.errors import BuildError
from builder.render.keys import SHORT

__all__ = ["SETTLE", "check_standing", "lone_tag", "overtaken", "own_tag"]

SETTLE = 2.0
"""Seconds between the writing and the look at what stands.

Of two machines that found the tag free, the later one wrote it within the time from its look to its writing. Where that
is shorter than this, the one whose image was replaced sees it.
"""


def own_tag(tag: str, recipe: str) -> str:
    """Return the tag, or the name with it, that says the recipe as well; one that does so already stays as it is."""
    return tag if _says(tag, recipe[:SHORT]) else f"{tag}-{recipe[:SHORT]}"


def lone_tag(tag: str, recipe: str, architecture: str) -> str:
    """Return the tag that no other recipe and no other architecture has, without saying twice what the tag says.

    Args:
        tag: the caller's, or drivebuild's own.
        recipe: its hash; '' of what is no recipe's.
        architecture: as registries call it.
    """
    other = next((name for name, known in ARCHITECTURES.items() if known == architecture), architecture)
    named = any(_says(tag, word) for word in (architecture, other, other.replace("_", "-")))
    return "-".join((own_tag(tag, recipe) if recipe else tag, *(() if named else (architecture,))))


def _says(tag: str, word: str) -> bool:
    return bool(re.search(rf"(?:^|[-_.]){re.escape(word)}(?:$|[-_.])", tag.rpartition(":")[2]))


def overtaken(tag: Reference, ours: Callable[[Found], bool], tools: Tools) -> str:
    """Look at a tag that was written just now, when everybody is done who found it free before.

    Args:
        tag: the tag.
        ours: whether what stands there is the image that was written, however it is packed.
        tools: what looks.

    Returns:
        The digest of another image that stands there; '' where it is ours.

    Raises:
        BuildError: when the registry refuses, or has nothing under the tag after it took it.
    """
    tools.patience.sleep(SETTLE)
    now = tools.look(tag)
    if now is None:
        raise BuildError(f"{tag} was written, and the registry has nothing there", hint="is something removing tags?")
    return "" if ours(now) else now.digest


def check_standing(tag: str, digest: str, taken: str) -> None:
    """Refuse a push whose own tag another one got in the same moment.

    Raises:
        BuildError: naming both digests, and which one stands.
    """
    if taken:
        message = (
            f"{tag}: another push of this recipe was at it in the same moment, and its image stands: {taken}\n"
            f"what was pushed here is there by its digest: {digest}"
        )
        hint = "`drivebuild diff` says how they differ; the tag stays as it is, or --overwrite moves it"
        raise BuildError(message, hint=hint)
