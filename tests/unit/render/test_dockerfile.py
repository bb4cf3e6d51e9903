"""Rendered Dockerfiles: every model, platform and variant, against what must hold for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from jinja2 import meta
from support.dockerfile import Instruction, parse, words

from builder.plan.cross import cross_built
from builder.plan.make import make_plan
from builder.plan.stage import Plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_dockerfile
from builder.render.engine import environment


def every_plan(catalog: Catalog) -> Iterator[Plan]:
    for name, recipe in catalog.models.items():
        own = [other for other in catalog.platforms if other.startswith(recipe.platform)]
        laptops = [other for other, platform in catalog.platforms.items() if platform.accelerator == "cpu"]
        for platform in dict.fromkeys((*own, *laptops)):
            for variant in catalog.platforms[platform].variants:
                yield make_plan(catalog, name, platform=platform, variant=variant)
        for option in recipe.options:
            for choice in option.choices:
                yield make_plan(catalog, name, options={option.name: choice})


@pytest.fixture(scope="module")
def plans(catalog: Catalog) -> list[Plan]:
    return list(every_plan(catalog))


@pytest.fixture(scope="module")
def rendered(plans: list[Plan], templates: dict[str, str]) -> dict[str, str]:
    return {plan.dockerfile: render_dockerfile(plan, templates) for plan in plans}


@pytest.fixture(scope="module")
def parsed(rendered: dict[str, str]) -> dict[str, list[Instruction]]:
    return {path: parse(text) for path, text in rendered.items()}


def test_each_template_asks_for_what_its_stages_give_and_for_nothing_else(
    catalog: Catalog, plans: list[Plan], templates: dict[str, str]
) -> None:
    made = environment(templates)
    asked = {
        name: meta.find_undeclared_variables(made.parse(text)) - set(made.globals)
        for name, text in templates.items()
        if name.startswith("stages/")
    }
    used = set()
    compiled = {"tcmalloc": "source-package"}
    other = make_plan(catalog, "streampetr", platform="debian-12-cpu", variant="lto", options=compiled)
    for plan in (*plans, cross_built(catalog, other, target="aarch64", machine="x86_64")):
        for stage in plan.stages:
            name = f"stages/{stage.template}.j2"
            used.add(name)
            assert asked[name] - {"name", "base"} == set(stage.inputs), f"{plan.tag}: {stage.name}"
    assert used | {"stages/header.j2"} == set(asked), "a template nobody uses"


@pytest.mark.parametrize(
    "word",
    [
        # traces of Jinja and Python
        "{{",
        "{%",
        "%}",
        "Undefined",
        "None",
        "True,",
        # a frontend line needs a registry
        "# syntax=",
        # what the READMEs do and we do not (C1, C4, C5)
        "chmod 777",
        "chmod -R 777",
        "--privileged",
        "--no-check-certificate",
        "--reject",
        "--insecure",
        "curl -k",
        "--trusted-host",
        "--allow-unauthenticated",
        "--security=insecure",
        "--network=host",
        "HOST_CACHE_CAPACITY=",
        "setup.py install",
        "setup.py develop",
        "pip install -e",
    ],
)
def test_what_must_not_be_in_any_file(rendered: dict[str, str], word: str) -> None:
    for path, text in rendered.items():
        # scripts of ours lie in heredocs; they are tested as scripts
        outside = re.sub(r"<<'EOF'.*?\nEOF\n", "", text, flags=re.DOTALL)
        lines = [line for line in outside.split("\n") if word in line and not line.lstrip().startswith("#")]
        if word == "# syntax=":
            lines = [line for line in text.split("\n") if line.startswith(word)]
        # an edit may look for what it removes
        lines = [line for line in lines if "--find" not in line]
        assert not lines, path


def test_it_reads_well(rendered: dict[str, str]) -> None:
    for path, text in rendered.items():
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        assert "\n\n\n" not in text, path
        assert not [line for line in text.split("\n") if line != line.rstrip()], f"{path}: blanks at the end of a line"
        assert "\t" not in re.sub(r"<<'EOF'.*?\nEOF\n", "", text, flags=re.DOTALL), path
        assert text.startswith("# "), path


def test_rendering_is_stable(plans: list[Plan], templates: dict[str, str], rendered: dict[str, str]) -> None:
    assert all(render_dockerfile(plan, templates) == rendered[plan.dockerfile] for plan in plans[:4])


def test_the_header_says_how_to_build(plans: list[Plan], rendered: dict[str, str]) -> None:
    for plan in plans:
        head = rendered[plan.dockerfile].split("\nFROM", 1)[0]
        assert "RENDERED BY drivebuild" in head
        assert plan.tag in head
        assert plan.dockerfile in head
        assert plan.model.licence in head
        for name, choice in plan.options.items():
            assert f"--option {name}={choice}" in head


def test_heredocs_end_where_they_should(parsed: dict[str, list[Instruction]]) -> None:
    for path, instructions in parsed.items():
        for instruction in instructions:
            for heredoc in instruction.heredocs:
                assert heredoc.closed, f"{path}:{instruction.line}"
                assert heredoc.delimiter not in heredoc.lines
                # quoted, or BuildKit expands variables in the body
                assert f"'{heredoc.delimiter}'" in instruction.text


def test_scripts_arrive_whole(parsed: dict[str, list[Instruction]], templates: dict[str, str]) -> None:
    for path, instructions in parsed.items():
        bodies = {line for item in instructions for heredoc in item.heredocs for line in heredoc.lines}
        for script in ("scripts/entrypoint.sh", "scripts/strict_apply.py"):
            if path.endswith("-stock/Dockerfile") or script.endswith(".sh"):
                assert set(templates[script].split("\n")) - {""} <= bodies, f"{path}: {script}"


KNOWN = {
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "LABEL",
    "WORKDIR",
    "USER",
    "SHELL",
    "ENTRYPOINT",
    "CMD",
    "HEALTHCHECK",
}


def test_only_known_instructions(parsed: dict[str, list[Instruction]]) -> None:
    for path, instructions in parsed.items():
        assert {instruction.kind for instruction in instructions} <= KNOWN, path
        assert instructions[0].kind in ("FROM", "ARG")


def test_every_stage_is_there_once_and_before_its_use(parsed: dict[str, list[Instruction]]) -> None:
    reference = re.compile(r"(?:--from=|,from=)([^\s,]+)")
    for path, instructions in parsed.items():
        known: list[str] = []
        for instruction in instructions:
            if instruction.kind == "FROM":
                base, _, name = instruction.text.partition(" AS ")
                if "$" not in base and "/" not in base and ":" not in base and base != "scratch":
                    assert base in known, f"{path}:{instruction.line}: FROM {base}"
                assert name not in known, f"{path}: {name} is there twice"
                known.append(name)
            for used in reference.findall(instruction.text):
                assert used in known[:-1], f"{path}:{instruction.line}: {used}"
        assert known[-1] == "image"


def test_every_download_is_pinned(parsed: dict[str, list[Instruction]], rendered: dict[str, str]) -> None:
    for path, instructions in parsed.items():
        for instruction in instructions:
            if instruction.kind != "ADD":
                continue
            url = words(instruction.body)[0]
            if url.partition("#")[0].endswith(".git"):
                assert re.search(r"\.git#[0-9a-f]{40}$", url), f"{path}: {url}"
            elif not any(flag.startswith("--checksum=sha256:") for flag in instruction.flags):
                before = rendered[path].split("\n")[: instruction.line - 1]
                assert "Upstream publishes no checksum" in "\n".join(before[-3:]), f"{path}: {url}"


def test_installs_are_by_hash(parsed: dict[str, list[Instruction]]) -> None:
    for path, instructions in parsed.items():
        for instruction in instructions:
            for command in re.split(r";|&&", instruction.body if instruction.kind == "RUN" else ""):
                if re.search(r"\bpip (install|download)\b", command):
                    fixed = "--require-hashes" in command or "--no-index" in command or '"$wheel"' in command
                    assert fixed, f"{path}: {command.strip()[:120]}"
                    assert "--no-deps" in command, f"{path}: {command.strip()[:120]}"


def test_secrets_are_mounted_and_never_copied(parsed: dict[str, list[Instruction]]) -> None:
    for path, instructions in parsed.items():
        for instruction in instructions:
            if instruction.kind == "RUN" and "/run/secrets/" in instruction.body:
                assert any("type=secret" in flag for flag in instruction.flags), f"{path}:{instruction.line}"
            if instruction.kind in ("ARG", "ENV"):
                assert not re.search(r"(?i)token|password|secret|ca.bundle|proxy", instruction.text), path


def test_the_image_is_not_root_and_preloads_nothing_in_env(parsed: dict[str, list[Instruction]]) -> None:
    for path, instructions in parsed.items():
        users = [instruction.text for instruction in instructions if instruction.kind == "USER"]
        assert users[-1] == "1000:1000", path
        for instruction in instructions:
            if instruction.kind == "ENV":
                assert "LD_PRELOAD" not in instruction.text.replace("DRIVEBUILD_PRELOAD", ""), path


def test_labels_and_variables_are_what_the_plan_says(plans: list[Plan], parsed: dict[str, list[Instruction]]) -> None:
    for plan in plans:
        image = plan.stages[-1]
        found = [
            item
            for kind in ("LABEL", "ENV")
            for part in parsed[plan.dockerfile]
            if part.kind == kind
            for item in words(part.text)
        ]
        for key, value in {**image.inputs["labels"], **image.inputs["environment"]}.items():
            assert f"{key}={value}" in found, f"{plan.dockerfile}: {key}"


def test_variants_and_options_have_files_of_their_own(plans: list[Plan]) -> None:
    names = [plan.dockerfile for plan in plans]
    # an option's default is the plain file again; nothing else may meet
    assert {names.count(name) for name in names if "." not in name.split("-")[-1]} <= {1, 2, 3, 4}
    assert len({plan.tag for plan in plans}) == len(set(names))


@pytest.mark.parametrize("platform", ["debian-12-cpu", "cann-8.1.rc1"])
def test_variants_share_all_of_the_environment_but_python(
    catalog: Catalog, templates: dict[str, str], platform: str
) -> None:
    """BuildKit then installs and stores a model's packages once."""
    parts = []
    for variant in ("stock", "lto"):
        text = render_dockerfile(make_plan(catalog, "streampetr", platform=platform, variant=variant), templates)
        stage = text.split(" AS env\n", 1)[1].split("\nFROM ", 1)[0]
        parts.append(stage.split("\nCOPY --from=python-", 1))
    assert parts[0][0] == parts[1][0]
    assert "uv pip install" in parts[0][0]
    assert parts[0][1].removeprefix("stock") == parts[1][1].removeprefix("lto")


def test_any_user_of_the_group_may_write_to_a_tree_that_nothing_is_linked_into(
    catalog: Catalog, templates: dict[str, str]
) -> None:
    plan = make_plan(catalog, "streampetr", platform="debian-12-cpu")
    stages = tuple(
        replace(stage, inputs={**stage.inputs, "links": ()}) if stage.name == "tree" else stage for stage in plan.stages
    )
    text = render_dockerfile(replace(plan, stages=stages), templates)
    (tree,) = re.findall(r"\n# [^\n]*\nFROM [^\n]* AS tree\n.*?\n\n", text, re.DOTALL)
    assert "link()" not in tree
    assert tree.endswith("mkdir -p .home .torch; \\\n    chmod -R g=u .\n\n")
