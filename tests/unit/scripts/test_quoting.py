"""The shell's own opinion: what quote_shell makes is one word, and every RUN of every rendered file parses."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dockerfile import parse

from builder.plan.make import make_plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_dockerfile
from builder.render.engine import quote_shell

LINE = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=40)
HOSTILE = st.text(alphabet="a $`'\"\\(){}#!;&|<>*?~=%\t-\n", max_size=30)


@settings(max_examples=30, deadline=None)
@given(st.lists(LINE | HOSTILE, min_size=20, max_size=60))
@pytest.mark.parametrize("flags", ["", "set -o histexpand; set -H; "])
def test_bash_reads_back_what_was_quoted(flags: str, values: list[str]) -> None:
    # values begin with a dot: printf's own options are not the question here
    script = flags + "printf '%s\\0' " + " ".join(quote_shell(f".{value}") for value in values)
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == [f".{value}" for value in values]
    assert done.stderr == b""


def test_every_run_of_every_file_parses(catalog: Catalog, templates: dict[str, str]) -> None:
    bodies: dict[str, str] = {}
    for name, recipe in catalog.models.items():
        platforms = [other for other in catalog.platforms if other.startswith(recipe.platform) or "cpu" in other]
        for platform in platforms:
            for variant in catalog.platforms[platform].variants:
                plan = make_plan(catalog, name, platform=platform, variant=variant)
                for instruction in parse(render_dockerfile(plan, templates)):
                    if instruction.kind == "RUN":
                        bodies.setdefault(instruction.body, f"{plan.dockerfile}:{instruction.line}")
    for body, where in bodies.items():
        done = subprocess.run(["bash", "-n"], input=body.encode(), capture_output=True, check=False)
        assert done.returncode == 0, f"{where}: {done.stderr.decode()}\n{body}"
