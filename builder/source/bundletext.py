"""What a bundle holds for people: a README, the rendered files of its images, and the recipes they were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import join

from msgspec.structs import replace

from builder import __version__
from builder.errors import SourceError
from builder.plan.stage import Plan
from builder.recipe.types import Catalog
from builder.render.compose import render_compose_all
from builder.render.dockerfile import render_dockerfile
from builder.source.bundleform import Image

__all__ = ["bundle_texts", "image_of"]

_README = """\
# A bundle of drivebuild {version}

Everything that building {these} on {architecture} downloads, and what they are built from:

{images}

Made by `drivebuild bundle` where there is a network, for machines without one. On such a machine, with Docker and
drivebuild installed:

```console
$ drivebuild unbundle FILE --store STORE
{builds}
```

`unbundle` checks every byte and puts this folder and the store there; FILE is the bundle, STORE any folder with room.
`drivebuild unbundle FILE --check` only checks.

- `dockerfiles/`, `compose/`, `compose.yaml`: as drivebuild {version} renders them.
- `recipes/`: the recipes and locks they come from; `shipped` are those of drivebuild {version}, `own-1`, `own-2`, ...
  what was given with `--recipes`, in that order. Another version of drivebuild is told to use them:
{recipes}
- The bundle can be opened without drivebuild, too: `zstd -dc FILE | tar x` unpacks it, and `manifest.json` says what
  each file in `objects/` is.
"""


def image_of(plan: Plan) -> Image:
    """Return what the manifest says of a plan."""
    return Image(
        model=plan.model.name,
        platform=plan.platform.name,
        variant=plan.variant,
        options=dict(plan.options),
        pinned=dict(plan.pinned),
        tag=plan.tag,
        dockerfile=plan.dockerfile,
    )


def bundle_texts(
    catalog: Catalog,
    plans: Sequence[Plan],
    templates: Mapping[str, str],
    *,
    folders: Sequence[Path],
    architecture: str,
) -> dict[str, str]:
    """Return every file for people by its path in the bundle; `folders` are those of the recipes that were read.

    Raises:
        SourceError: for a recipe that cannot be read.
    """
    texts = {plan.dockerfile: render_dockerfile(plan, templates) for plan in plans}
    models = {plan.model.name: plan.model for plan in plans}
    # A root file includes the others, so it must not name any that are not here.
    texts |= render_compose_all(replace(catalog, models=models), templates)
    texts |= _recipe_texts(folders)
    texts["README.md"] = _readme(plans, own=len(folders) - 1, architecture=architecture)
    return texts


def _recipe_texts(folders: Sequence[Path]) -> dict[str, str]:
    """Return YAML files and locks by their paths in a bundle. The folders' own names are this machine's: left out."""
    texts = {}
    try:
        for number, folder in enumerate(folders):
            name = f"own-{number}" if number else "shipped"
            files = {*folder.glob("*.yaml"), *folder.glob("*/*.yaml"), *(folder / "locks").rglob("*.txt")}
            for path in sorted(files):
                texts[f"recipes/{name}/{path.relative_to(folder).as_posix()}"] = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read the recipes: {error}") from error
    return texts


def _readme(plans: Sequence[Plan], *, own: int, architecture: str) -> str:
    mine = [word for number in range(1, own + 1) for word in ("--recipes", f"recipes/own-{number}")]
    builds = [join(("drivebuild", *mine, "image", *plan.arguments, "--store", "STORE", "--offline")) for plan in plans]
    other = join(("drivebuild", "--recipes", "recipes/shipped", *mine, "image", *plans[0].arguments))
    return _README.format(
        version=__version__,
        these="this image" if len(plans) == 1 else "these images",
        architecture=architecture,
        images="\n".join(f"- {plan.model.title}: `{plan.tag}`" for plan in plans),
        builds="\n".join(f"$ {line}" for line in builds),
        recipes=f"  `{other} --store STORE --offline`",
    )
