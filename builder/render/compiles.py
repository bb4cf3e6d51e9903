"""The two small Dockerfiles that fill a compile cache's mount, and read it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from builder.render.engine import render_template

__all__ = ["NAMES", "render_bring", "render_collect"]

NAMES = r"(\./)?([0-9a-f]/){2,4}[0-9a-z]{16,64}[MR]"
"""What ccache 4 calls its results (R) and manifests (M), below its folder.

Nothing else is brought in or out: a `ccache.conf` could name a command to run.
"""


def render_bring(templates: Mapping[str, str], *, base: str, cache: str) -> str:
    """Return the Dockerfile that adds the files of the context `compiles` to the mount of id `cache`."""
    return _rendered(templates, "bring", base, cache)


def render_collect(templates: Mapping[str, str], *, base: str, cache: str) -> str:
    """Return the Dockerfile whose result is what the mount of id `cache` has and the list in the context `known` lacks.

    That list is the file `files`: lines of size and path, sorted bytewise.
    """
    return _rendered(templates, "collect", base, cache)


def _rendered(templates: Mapping[str, str], name: str, base: str, cache: str) -> str:
    return render_template(templates, f"compiles/{name}.j2", {"base": base, "cache": cache, "names": NAMES}) + "\n"
