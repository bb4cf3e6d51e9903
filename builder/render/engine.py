"""Jinja, set once: strict about what a template may see, and one filter for each place a value may stand. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

__all__ = ["environment", "quote_dockerfile", "quote_shell", "render_template"]


_PLAIN = re.compile(r"[\w/:.\-=@+,%~]+")


def quote_dockerfile(value: str) -> str:
    """Quote a value for ENV, LABEL, ADD and COPY, where the Dockerfile parser itself expands variables.

    >>> quote_dockerfile("a $HOME \\"b\\"")
    '"a \\\\$HOME \\\\"b\\\\""'
    """
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def quote_shell(value: str) -> str:
    """Quote a value as one word of a POSIX shell; in double quotes where that is as safe and easier to read.

    >>> quote_shell("dict(backend='nccl')")
    '"dict(backend=\'nccl\')"'
    """
    if "'" in value and not set(value) & set('"$`\\!'):
        return f'"{value}"'
    return shlex.quote(value)


def _comment(value: str) -> str:
    """Return the value as part of one comment line; the types already refuse control characters."""
    return " ".join(value.split())


@lru_cache(maxsize=4)
def _environment(templates: tuple[tuple[str, str], ...]) -> Environment:
    # Dockerfiles and YAML, not HTML: every value goes through a quoting filter.
    made = Environment(
        loader=DictLoader(dict(templates)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        autoescape=False,  # noqa: S701
    )
    # Scripts go into a heredoc as they are: "${#list[@]}" is no comment of Jinja.
    made.globals["script"] = dict(templates).__getitem__
    made.filters["sh"] = quote_shell
    made.filters["dockerfile"] = quote_dockerfile
    made.filters["comment"] = _comment
    # An expression of GitHub's workflows, whose braces are Jinja's own.
    made.filters["expression"] = "${{{{ {} }}}}".format
    # JSON is YAML with every string quoted.
    made.filters["yaml"] = partial(json.dumps, ensure_ascii=False)
    return made


def environment(templates: Mapping[str, str]) -> Environment:
    """Return the Jinja environment over `templates` (text by path)."""
    return _environment(tuple(sorted(templates.items())))


def render_template(templates: Mapping[str, str], name: str, values: Mapping[str, Any]) -> str:
    """Return one rendered template, without trailing blank lines."""
    return environment(templates).get_template(name).render(values).rstrip("\n")
