"""How a base image comes out of the distribution's packages: mmdebstrap's words, and a mark of them. Pure."""

from __future__ import annotations

import hashlib

from builder.plan.stage import TARGETS
from builder.recipe.types import Bootstrap

__all__ = ["MARK", "base_name", "bootstrap_mark", "bootstrap_words", "import_words"]

MARK = "drivebuild.bootstrap"
"""The label by which an image says how it was made: its name says only the release."""


def bootstrap_words(bootstrap: Bootstrap, architecture: str = "") -> tuple[str, ...]:
    """Return the command that writes the root as a tar to standard output; a target and a mirror may follow.

    What is excluded stays so in the image: dpkg leaves it out of what is installed there later. An `architecture` is
    one that is not this machine's own.
    """
    # Debian's names of the architectures are BuildKit's.
    foreign = (f"--architectures={TARGETS[architecture]}",) if architecture else ()
    # mmdebstrap takes no empty list.
    include = (f"--include={','.join(bootstrap.include)}",) if bootstrap.include else ()
    excluded = (f"--dpkgopt=path-exclude={pattern}" for pattern in bootstrap.exclude)
    kept = (f"--dpkgopt=path-include={pattern}" for pattern in bootstrap.keep)
    return ("mmdebstrap", "--variant=minbase", *foreign, *include, *excluded, *kept, bootstrap.suite)


def bootstrap_mark(bootstrap: Bootstrap) -> str:
    """Return 12 hex digits that change with anything that changes the image."""
    return hashlib.sha256("\n".join(bootstrap_words(bootstrap)).encode()).hexdigest()[:12]


def import_words(bootstrap: Bootstrap, source: str, image: str, architecture: str = "") -> tuple[str, ...]:
    """Return the command that makes an image of such a tar (`-`: standard input), with its mark."""
    foreign = ("--platform", f"linux/{TARGETS[architecture]}") if architecture else ()
    return ("docker", "import", *foreign, "--change", f"LABEL {MARK}={bootstrap_mark(bootstrap)}", source, image)


def base_name(image: str, architecture: str) -> str:
    """Return a base's name in the engine: for an `architecture` that is not its own another one; '' for its own.

    A local name has one image.
    """
    return f"{image}-{TARGETS[architecture]}" if architecture else image
