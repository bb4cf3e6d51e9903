"""Hostile values in every string field of a recipe, built: nothing of them runs, all of them arrive as they are."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from support.files import texts, toy
from support.locks import with_locks

from builder.engine.host import Engine
from builder.engine.process import SystemRunner
from builder.errors import RecipeError
from builder.plan.make import make_plan
from builder.recipe.load import load
from builder.render.dockerfile import render_dockerfile

pytestmark = pytest.mark.docker
BASE = "docker-image://localhost/drivebuild/base:debian-12"
EVIL = (
    r"""$(touch /pwned) `touch /pwned` ${HOME} '; touch /pwned; ' "; touch /pwned; " && touch /pwned """
    r"""# {{ 7*7 }} {% raw %} <<EOF ../ %s \n \\"""
)
FIELDS = ("title", "summary", "licence", "note")


def hostile(**changes: str) -> dict[str, str]:
    word = json.dumps(EVIL)
    edit = f"{{do: edit, file: Tree/file, find: {word}, replace: {json.dumps(EVIL * 2)}, note: {word}}}"
    fields = dict.fromkeys(FIELDS, word)
    fields["tree"] = f"{{source: toy-source, directory: Tree, steps: [{edit}]}}"
    fields["environment"] = f"{{EVIL: {word}}}"
    fields["jobs"] = f"[{{name: train, title: {word}, command: [{word}], note: {word}}}]"
    fields["requirements"] = f"{{packages: [einops], conflicts: {{plat: [{word}]}}}}"
    return toy(**{**fields, **changes})


def test_what_is_rendered_is_inert(engine: Engine, tag: str, templates: dict[str, str], tmp_path: Path) -> None:
    plan = make_plan(with_locks(load(texts(hostile()), {})), "toy")
    folder, source, context = tmp_path / "d", tmp_path / "source", tmp_path / "context"
    for path in (folder, source, context):
        path.mkdir()
    (source / "file").write_text(f"before {EVIL} after {time.time()}")
    (folder / "Dockerfile").write_text(render_dockerfile(plan, templates))
    # The stages that take minutes are not what is asked here: the real text of `tree` and `image` stands on the base.
    replaced = {"env": BASE, "base": BASE, "build-base": BASE, "src-toy-source": str(source)}
    contexts = tuple(word for name, place in replaced.items() for word in ("--build-context", f"{name}={place}"))
    command = ("docker", "buildx", "build", "--load", "--tag", tag, "--file", str(folder / "Dockerfile"), *contexts)
    result = SystemRunner().run((*command, str(context)))
    assert result.code == 0, result.complaint
    image = engine.image(tag)
    assert image is not None
    assert image.config["Labels"]["org.opencontainers.image.title"] == EVIL
    assert image.config["Labels"]["org.opencontainers.image.licenses"] == EVIL
    assert f"EVIL={EVIL}" in image.config["Env"]
    shown = SystemRunner().run(("docker", "run", "--rm", tag, "cat", "/workspace/toy/Tree/file"))
    assert shown.text.startswith(f"before {EVIL * 2} after ")
    assert SystemRunner().run(("docker", "run", "--rm", tag, "test", "!", "-e", "/pwned")).code == 0


@pytest.mark.parametrize("value", ["a\nRUN touch /pwned", "a\rb", "a\u2028b", "a\x00b", "a\x1b[31m"])
@pytest.mark.parametrize("field", FIELDS)
def test_what_could_leave_its_line_is_refused(field: str, value: str) -> None:
    with pytest.raises(RecipeError):
        load(texts(hostile(**{field: json.dumps(value)})), {})
