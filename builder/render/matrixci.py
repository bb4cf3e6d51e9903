"""The matrix in the words of CI services: GitHub's matrices, a child pipeline of GitLab's, a bake file. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from builder.errors import UsageError
from builder.plan.stage import Plan
from builder.render.bake import bake_target, target_name
from builder.render.matrix import Merge, Row, Runner, SharedJob
from builder.render.matrixbases import BaseJob, bases_of
from builder.render.yamltext import dump_documents

__all__ = ["MOST_JOBS", "Part", "bake_file", "github_include", "github_lines", "gitlab_pipeline"]

Part = Literal["images", "shared", "merges"]
MOST_JOBS = 256
"""GitHub takes no more of one matrix."""
_LINE = ("minutes_alone", "no_minutes")
"""What jobs do not ask for: outputs of a job of GitHub's have a megabyte together."""


def github_include(items: Sequence[Row | SharedJob | Merge | BaseJob], *, page: int = 0) -> str:
    """Return `{"include": […]}` as one line, as `fromJSON` takes it; `page`, from 1, is one of MOST_JOBS rows.

    Raises:
        UsageError: for more rows than a matrix may have and no page, and for a page that does not exist.
    """
    if page:
        if page > max(1, pages_of(items)):
            raise UsageError(f"--page {page}: there are {pages_of(items)}")
        items = items[MOST_JOBS * (page - 1) : MOST_JOBS * page]
    elif len(items) > MOST_JOBS:
        hint = f"--since REV or --filter leave fewer; or {pages_of(items)} matrices, of --page 1, --page 2 …"
        raise UsageError(f"GitHub takes {MOST_JOBS} jobs of a matrix at most, and these are {len(items)}", hint=hint)
    found = [{key: item for key, item in msgspec.to_builtins(each).items() if key not in _LINE} for each in items]
    return json.dumps({"include": found}, separators=(",", ":"))


def _page(items: Sequence[Merge], page: int) -> Sequence[Merge]:
    # There are fewer indexes than images: of the last pages there may be none.
    return items[MOST_JOBS * (page - 1) : MOST_JOBS * page] if page else items


def pages_of(items: Sequence[object]) -> int:
    """Return how many matrices the rows fill."""
    return -(-len(items) // MOST_JOBS)


def github_lines(rows: Sequence[Row], jobs: Sequence[SharedJob], merges: Sequence[Merge], *, page: int = 0) -> str:
    """Return the lines for the file that GITHUB_OUTPUT names. `any` and its like keep GitHub from empty matrices.

    Raises:
        UsageError: as github_include does.
    """
    bases = bases_of(rows)
    lines = {
        "bases": github_include(bases),
        "any-bases": "true" if bases else "false",
        "images": github_include(rows, page=page),
        "shared": github_include(jobs),
        "merges": github_include(_page(merges, page)),
        "any": "true" if rows else "false",
        "any-shared": "true" if jobs else "false",
        "any-merges": "true" if _page(merges, page) else "false",
        "count": str(len(rows)),
        "pages": json.dumps(list(range(1, pages_of(rows) + 1))),
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def gitlab_pipeline(
    rows: Sequence[Row], jobs: Sequence[SharedJob], merges: Sequence[Merge], *, include: str = ""
) -> str:
    """Return a child pipeline: bases, shared jobs, the images that wait for theirs, and the indexes of architectures.

    `include` names a file of the repository that has the hidden jobs; without it they are plain ones.
    """
    document: dict[str, Any] = {"stages": ["bases", "shared", "images", "merges"]}
    document |= {"include": [{"local": include}]} if include else _hidden_jobs()
    bases = {base.id: base.name.replace("base ", "base: ", 1) for base in bases_of(rows)}
    for base in bases_of(rows):
        document[bases[base.id]] = _gitlab_job("base", base, base.runner, ())
    for job in jobs:
        title = job.name.replace("shared ", "shared: ", 1)
        document[title] = _gitlab_job("shared", job, job.runner, [bases[job.base_id]] if job.base_id in bases else [])
    names = {job.id: job.name.replace("shared ", "shared: ", 1) for job in jobs}
    for row in rows:
        before = [*([bases[row.base_id]] if row.base else []), *(names[each] for each in row.shared)]
        document[f"image: {row.name}"] = _gitlab_job("image", row, row.runner, before)
    titles = {row.id: f"image: {row.name}" for row in rows}
    for merge in merges:
        document[f"merge: {merge.name}"] = _gitlab_job("merge", merge, (), [titles[each] for each in merge.ids])
    if not rows:
        # A pipeline without jobs is an error, too.
        document["nothing to build"] = {"stage": "images", "script": ["echo no image has changed"]}
    return dump_documents([document])


_STAGES = {"base": "bases", "shared": "shared", "image": "images", "merge": "merges"}


def _gitlab_job(
    kind: str, item: Row | SharedJob | Merge | BaseJob, runner: Runner, needs: Sequence[str]
) -> dict[str, Any]:
    variables = {
        f"DRIVEBUILD_{key.upper()}": value if isinstance(value, str) else " ".join(value)
        for key, value in _texts(msgspec.to_builtins(item))
    }
    job: dict[str, Any] = {"extends": f".drivebuild-{kind}", "stage": _STAGES[kind]}
    labels = [runner] if isinstance(runner, str) else list(runner)
    if labels:
        job["tags"] = labels
    if isinstance(item, Row | SharedJob):
        job["timeout"] = f"{item.timeout} minutes"
    # Without `needs` a job waits for all of the stage before; with an empty list for nothing.
    job["needs"] = [{"job": name} for name in needs]
    return {**job, "variables": variables}


def _texts(values: Mapping[str, Any]) -> Iterable[tuple[str, str | Sequence[str]]]:
    for key, value in values.items():
        listed = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
        if (isinstance(value, str) or listed) and key not in ("runner", "name", "no_minutes", "change"):
            yield ("builds", value) if key == "script" else (key, value)


def _hidden_jobs() -> dict[str, Any]:
    build = "drivebuild image $DRIVEBUILD_ARGUMENTS"
    loop = (
        'printf "%s\\n" "$DRIVEBUILD_BUILDS" | while IFS="$(printf "\\t")" read -r arguments cache moving; do '
        "drivebuild image $arguments < /dev/null || exit; done"
    )
    return {
        ".drivebuild-base": {"script": ["drivebuild base $DRIVEBUILD_PLATFORM"]},
        ".drivebuild-shared": {"script": [loop]},
        ".drivebuild-image": {"script": [build]},
        ".drivebuild-merge": {"script": ['echo "$DRIVEBUILD_TAG of $DRIVEBUILD_MODEL: $DRIVEBUILD_TARGETS"']},
    }


def bake_file(
    plans: Sequence[Plan], rows: Sequence[Row], jobs: Sequence[SharedJob], *, inline: Callable[[Plan], str | None]
) -> str:
    """Return a bake file: a target for each image on all its architectures, and for each stage that is worth sharing.

    Groups: `default` has all images, `shared` the stages; a shared job, a model, a platform with variant has its own.
    `inline` gives the text of a Dockerfile that is not on disk, or None.
    """
    by_tag: dict[str, list[Row]] = {}
    for row in rows:
        by_tag.setdefault(row.tag, []).append(row)
    targets: dict[str, Any] = {}
    groups: dict[str, list[str]] = {"default": [], "shared": []}
    by_plan = {plan.tag: plan for plan in plans}
    for tag, members in by_tag.items():
        plan = by_plan[tag]
        name = target_name(plan)
        targets[name] = _target(plan, inline) | {"platforms": [row.docker_platform for row in members]}
        for group in ("default", plan.flavour.replace(".", "_"), plan.model.name.replace(".", "_")):
            groups.setdefault(group, []).append(name)
    for job in jobs:
        for build in job.builds:
            plan = by_plan[build.tag]
            name = f"{job.id}-{build.stage}".replace(".", "_")
            made = _target(plan, inline) | {"platforms": [job.docker_platform], "target": build.stage}
            targets[name] = {**made, "tags": [], "output": ["type=cacheonly"]}
            groups["shared"].append(name)
            groups.setdefault(job.id, []).append(name)
    data = {"group": {name: {"targets": members} for name, members in groups.items() if members}, "target": targets}
    return json.dumps(data, indent=2) + "\n"


def _target(plan: Plan, inline: Callable[[Plan], str | None]) -> dict[str, Any]:
    target, text = bake_target(plan), inline(plan)
    return {**target, "dockerfile-inline": text} if text is not None else target
