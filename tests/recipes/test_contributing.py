"""CONTRIBUTING.md's walk-through, done as it is written there: a new model is the files that it shows, and no more."""

from __future__ import annotations

import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from support.dockerfile import parse
from support.files import REPOSITORY
from support.locks import with_locks

from builder.errors import RecipeError
from builder.plan.make import make_plan
from builder.plan.requirements import lock_inputs
from builder.plan.select import known
from builder.plan.sources import model_sources
from builder.recipe.types import Catalog, Model
from builder.render.compose import render_compose
from builder.render.dockerfile import render_dockerfile, render_stage
from builder.render.keys import instructions, sharers, stage_digests
from builder.source.catalog import read_catalog

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
WALK = TEXT.partition("\n## Add a model\n")[2].partition("\n## ")[0]
FOLDER = "my-recipes"
OWN = re.compile(r"^(common|env|tree|manifest|image|overlay-.*|mmdet3d|mmdet3d-source)$")
"""What cannot be shared: what the recipe says about itself, what its lock has alone, the component that it changes."""
SHARED = {"base", "build-base", "uv", "tools", "python-stock", "torch", "packages-model", "mmcv", "mmdet"}


def files() -> dict[str, str]:
    """Return every file that the walk-through tells to write: a path in backquotes, a colon, a block."""
    found = re.findall(rf"^`{FOLDER}/([^`]+)`:\n\n```\w+\n(.*?)^```$", WALK, re.MULTILINE | re.DOTALL)
    return dict(found)


def commands() -> list[list[str]]:
    """Return the words of every command of the walk-through that concerns the folder."""
    lines = re.findall(rf"^\$ (drivebuild --recipes {FOLDER} .*)$", WALK, re.MULTILINE)
    return [shlex.split(line) for line in lines]


NAME = Path(next(iter(files()), "none")).stem
PLATFORMS = sorted({word for words in commands() for flag, word in pairwise(words) if flag == "--platform"})


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("walk") / FOLDER
    for path, content in files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
    return with_locks(read_catalog((folder,)))


@pytest.fixture(scope="module")
def recipe(six: Catalog) -> Model:
    model: Model = known(six.models, NAME, "model")
    return model


def test_the_walk_through_is_there() -> None:
    assert list(files()) == [f"models/{NAME}.yaml"], "one YAML file is a model"
    assert PLATFORMS == ["debian-12-cpu"]
    assert {words[3] for words in commands()} >= {"list", "lock", "show", "plan", "render", "image", "verify"}


def test_its_commands_name_the_model_its_sources_and_its_stages(six: Catalog) -> None:
    plan = make_plan(six, NAME, platform=PLATFORMS[0])
    for words in commands():
        if len(words) > 4 and not words[4].startswith("-"):
            assert words[4] == NAME, words
        if "--until" in words:
            assert words[words.index("--until") + 1] in plan.names
    assert plan.tag in WALK
    for name in re.findall(r"--source (\S+)=DIR", WALK):
        assert name in model_sources(six, NAME)


def test_the_locks_it_shows_are_the_locks_it_needs(six: Catalog) -> None:
    shown = re.findall(r"^resolving (\S+) \.\.\.$", WALK, re.MULTILINE)
    assert shown == [item.path for item in lock_inputs(six) if f"/{NAME}." in item.path]
    assert f"{len(shown)} locks are current" in WALK


def test_the_mistake_it_shows_has_the_words_of_the_program(tmp_path: Path) -> None:
    place, message, line = re.search(
        rf"^{FOLDER}/models/{NAME}\.yaml:([\d:]+): (recipe: .*)\n +(.*)\n +\^$", WALK, re.MULTILINE
    ).groups()  # type: ignore[union-attr]
    content = files()[f"models/{NAME}.yaml"].replace(line.replace("lisence", "licence"), line, 1)
    path = tmp_path / f"models/{NAME}.yaml"
    path.parent.mkdir()
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RecipeError, match="unknown key") as caught:
        read_catalog((tmp_path,))
    assert f"{path}:{place}: {message}\n" in str(caught.value)


@pytest.mark.parametrize("variant", ["stock", "lto"])
@pytest.mark.parametrize("platform", ["", *PLATFORMS])
def test_it_plans_and_renders(
    six: Catalog, recipe: Model, templates: dict[str, str], platform: str, variant: str
) -> None:
    plan = make_plan(six, NAME, platform=platform, variant=variant)
    assert plan.platform.name == (platform or recipe.platform)
    text = render_dockerfile(plan, templates)
    bodies = [item.body for item in parse(text) if item.kind == "RUN"]
    script = "\n".join(f"f{number}() {{ {body}\n}}" for number, body in enumerate(bodies))
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)
    compose = render_compose(six, recipe, templates)
    assert all(f"{NAME}-{job.name}" in compose for job in recipe.jobs)


@pytest.mark.parametrize("platform", ["", *PLATFORMS])
def test_it_shares_what_it_does_not_change(
    six: Catalog, recipe: Model, templates: dict[str, str], platform: str
) -> None:
    plan = make_plan(six, NAME, platform=platform)
    shipped = [
        make_plan(six, name, platform=plan.platform.name)
        for name, model in six.models.items()
        if name != NAME and plan.platform.name in (model.platform, *PLATFORMS)
    ]
    assert shipped
    found = sharers(plan, shipped, templates)
    alone = {name for name, models in found.items() if not models and not name.startswith("src-")}
    assert {name for name in alone if not OWN.match(name)} == set()
    assert {name for name, models in found.items() if models} >= SHARED & set(plan.names)
    assert set(plan.names) >= SHARED
    # what the key says is what stands in the file
    other = next(item for item in shipped if item.model.name == found["mmcv"][0])
    keys = stage_digests(other, templates)
    own = stage_digests(plan, templates)
    texts = {stage.name: render_stage(stage, templates) for stage in other.stages}
    for stage in plan.stages:
        if own[stage.name] == keys.get(stage.name):
            assert instructions(render_stage(stage, templates)) == instructions(texts[stage.name]), stage.name


def test_the_shipped_models_stay_as_they_are(six: Catalog, catalog: Catalog, templates: dict[str, str]) -> None:
    assert set(six.models) - set(catalog.models) == {NAME}
    for name in catalog.models:
        assert render_dockerfile(make_plan(six, name), templates) == render_dockerfile(
            make_plan(catalog, name), templates
        )
