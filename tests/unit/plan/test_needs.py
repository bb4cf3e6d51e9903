"""Needs: read from the Dockerfile's own text what it would fetch, and see that each such thing is a need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.dockerfile import Stage, reached, stages, words

from builder.plan.make import make_plan
from builder.plan.needs import (
    DebianNeed,
    FileNeed,
    GitNeed,
    ImageNeed,
    Need,
    PackageNeed,
    SystemNeed,
    WeightNeed,
    plan_needs,
)
from builder.plan.stage import Plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_dockerfile

BUILDKIT = {"x86_64": "amd64", "aarch64": "arm64"}
REPLACED = re.compile(r"src-.+|sdist-.+|packages-.+|os-packages")
"""What a folder may stand for."""
NETWORK = re.compile(r"\b(apt-get|dnf|curl|wget|git clone|pip3? (?:install|download)|uv pip install|index_file\.py)\b")
Case = tuple[Plan, str, dict[str, Stage], tuple[Need, ...]]


def combinations(catalog: Catalog) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    for name, recipe in catalog.models.items():
        forms = [
            other
            for other, item in catalog.platforms.items()
            if other == recipe.platform or item.twin == recipe.platform
        ]
        for platform in (*forms, "debian-12-cpu"):
            for variant in catalog.platforms[platform].variants:
                yield name, platform, variant, {}
        for option in recipe.options:
            for choice in option.choices:
                yield name, f"{recipe.platform}-stub", "stock", {option.name: choice}


@pytest.fixture(scope="module")
def cases(catalog: Catalog, templates: dict[str, str]) -> list[Case]:
    found = []
    for name, platform, variant, options in combinations(catalog):
        plan = make_plan(catalog, name, platform=platform, variant=variant, options=options)
        text = render_dockerfile(plan, templates)
        for architecture in plan.architectures:
            known = stages(text, BUILDKIT[architecture])
            found.append((plan, architecture, known, plan_needs(catalog, plan, architecture)))
    return found


def of(needs: tuple[Need, ...], stage: str) -> list[Need]:
    return [need for need in needs if need.stage == stage]


def test_the_cases_have_every_kind_of_need(cases: list[Case]) -> None:
    kinds = {type(need) for _, _, _, needs in cases for need in needs}
    assert kinds == {GitNeed, FileNeed, PackageNeed, DebianNeed, SystemNeed, ImageNeed, WeightNeed}
    assert {plan.platform.base.bootstrap is None for plan, _, _, _ in cases} == {True, False}


def test_every_add_is_a_need(cases: list[Case]) -> None:
    seen = 0
    for plan, architecture, known, needs in cases:
        for name in reached(known, "image"):
            for item in known[name].instructions:
                if item.kind != "ADD":
                    continue
                seen += 1
                where = f"{plan.tag} {architecture}: {name}"
                (need,) = of(needs, name)
                url = words(item.body)[0]
                if isinstance(need, GitNeed):
                    assert url == f"{need.url}#{need.commit}", where
                else:
                    assert isinstance(need, FileNeed), where
                    assert url == need.url, where
                    sha256 = [flag.partition("sha256:")[2] for flag in item.flags if flag.startswith("--checksum")]
                    assert sha256 == ([need.sha256] if need.sha256 else []), where
                    assert words(item.body)[1] == f"/archive/{need.file}", where
    assert seen > 100


def test_every_install_from_an_index_is_a_need(cases: list[Case]) -> None:
    seen = set()
    for plan, architecture, known, needs in cases:
        for name in reached(known, "image"):
            for item in known[name].runs:
                for path in re.findall(r"--requirement (\S+)", item.body):
                    if name.startswith("src-") or name == "torch-full":
                        continue  # the whole stage is replaced, below; a part of what the stage torch installs
                    (stage,) = re.findall(r"from=(packages-[a-z]+),", item.text)
                    seen.add(stage)
                    lines = [line for line in known[name].heredoc(path.rstrip(";")) if "--hash=" in line]
                    applies = [line for line in lines if applicable(line, architecture)]
                    where = f"{plan.tag} {architecture}: {stage}"
                    found = [need for need in of(needs, stage) if isinstance(need, PackageNeed)]
                    pins = {re.match(r"([\w.-]+)==([^\s;]+)", line).groups() for line in applies}  # type: ignore[union-attr]
                    assert {(need.name, need.version) for need in found} == pins, where
                    # a line without marker has the files of both architectures
                    hashes = {item for line in applies for item in re.findall(r"--hash=sha256:(\w+)", line)}
                    assert {need.sha256 for need in found} <= hashes, where
                    assert {need.architecture for need in found} <= {architecture}, where
    assert seen == {f"packages-{lock}" for lock in ("installer", "framework", "adapter", "common", "model")}


def applicable(line: str, architecture: str) -> bool:
    marker = re.search(r"platform_machine == ['\"](\w+)['\"]", line)
    return marker is None or marker[1] == architecture


def test_a_hash_in_the_text_is_a_need_of_some_architecture(cases: list[Case]) -> None:
    texts: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for plan, _, known, needs in cases:
        for stage, holder, path in (
            ("packages-framework", "torch", "/opt/drivebuild/locks/framework.txt"),
            ("packages-adapter", "torch", "/opt/drivebuild/locks/adapter.txt"),
            ("packages-model", "env", "/opt/drivebuild/locks/model.txt"),
        ):
            wanted, found = texts.setdefault((plan.tag, stage), (set(), set()))
            wanted |= set(re.findall(r"--hash=sha256:(\w+)", "\n".join(known[holder].heredoc(path))))
            found |= {need.sha256 for need in of(needs, stage) if isinstance(need, PackageNeed)}
    assert texts
    for key, (wanted, found) in texts.items():
        assert found == wanted, key


def test_every_apt_get_is_a_need(cases: list[Case]) -> None:
    """One set for all models and variants of a platform: another would move everything that stands on it."""
    seen = 0
    sets: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for plan, architecture, known, needs in cases:
        if plan.platform.base.bootstrap is None:
            assert not of(needs, "os-packages"), "no folder stands for another manager's packages"
            continue
        (system,) = of(needs, "os-packages")
        assert isinstance(system, SystemNeed)
        assert (system.suite, system.architecture) == (plan.platform.base.bootstrap.suite, architecture)
        installed = set()
        for name in reached(known, "image"):
            for item in known[name].runs:
                if "apt-get" in item.body and not name.startswith("src-"):
                    assert "from=os-packages,target=/os-packages" in item.text, f"{plan.tag}: {name}"
                    (packages,) = re.findall(r'"\$\{apt\[@\]\}" install (.*?);', item.body)
                    installed |= set(words(packages))
                    seen += 1
        assert installed <= set(system.packages), plan.tag
        wanted, keys = sets.setdefault((plan.platform.name, architecture), (set(), set()))
        wanted |= installed
        keys.add(system.key)
        assert wanted <= set(system.packages)
        assert system.include == plan.platform.base.bootstrap.include
    assert seen > 50
    assert all(len(keys) == 1 for _, keys in sets.values())


def test_what_folders_stand_for_leaves_nothing_that_asks_a_host(cases: list[Case]) -> None:
    """Offline is complete: each replaceable stage that a build reaches has a need, and no other stage fetches alone."""
    seen = set()
    for plan, architecture, known, needs in cases:
        if plan.platform.base.bootstrap is None:
            continue
        where = f"{plan.tag} {architecture}"
        folders = frozenset(need.stage for need in needs if need.stage)
        built = reached(known, "image", folders)
        assert {name for name in built if REPLACED.fullmatch(name)} == set(folders), where
        for name in built - folders:
            assert not [item for item in known[name].instructions if item.kind == "ADD"], f"{where}: {name}"
            for item in known[name].runs:
                if not NETWORK.search(item.body):
                    continue
                seen.add(name)
                mounted = set(re.findall(r"from=((?:packages-|os-packages)[a-z]*),", item.text))
                local = "--no-index" in item.body
                assert mounted or local, f"{where}: {name} fetches: {item.body[:80]}"
                assert mounted <= folders, f"{where}: {name}"
    assert seen >= {"base", "build-base", "uv", "torch", "env", "python-stock", "python-lto"}


def test_only_the_own_architectures_installers_of_cann_are_fetched(catalog: Catalog, templates: dict[str, str]) -> None:
    plan = make_plan(catalog, "streampetr", platform="cann-8.1.rc1-run")
    text = render_dockerfile(plan, templates)
    for architecture in plan.architectures:
        needs = plan_needs(catalog, plan, architecture)
        built = {name for name in reached(stages(text, BUILDKIT[architecture]), "image") if name.startswith("src-")}
        assert built == {need.stage for need in needs if need.stage.startswith("src-")}


def test_the_base_image_is_a_need(cases: list[Case]) -> None:
    for plan, architecture, known, needs in cases:
        outside = {base for name in reached(known, "image") for base in known[name].refers} - set(known) - {"scratch"}
        images = [need for need in needs if isinstance(need, ImageNeed)]
        assert {f"{need.image}@{need.digest}" if need.digest else need.image for need in images} == outside, plan.tag
        assert [(need.architecture, need.bootstrap) for need in images] == [
            (architecture, plan.platform.base.bootstrap)
        ]


def test_weights_are_needs_of_the_whole_only(catalog: Catalog) -> None:
    plan = make_plan(catalog, "flashocc", platform="debian-12-cpu")
    urls = {(weight.file, weight.url) for weight in plan.model.weights if weight.url}
    assert urls
    whole = plan_needs(catalog, plan, "x86_64")
    assert {(need.file, need.url) for need in whole if isinstance(need, WeightNeed)} == urls
    assert not [need for need in plan_needs(catalog, plan, "x86_64", until="env") if isinstance(need, WeightNeed)]


def test_less_of_a_plan_needs_less(catalog: Catalog) -> None:
    plan = make_plan(catalog, "streampetr", platform="debian-12-cpu")
    some = plan_needs(catalog, plan, "x86_64", until="python-stock")
    stages_of = {need.stage for need in some if need.stage}
    assert stages_of == {"os-packages", "src-python-3.11.2-debian"}
    python, whole = (
        next(need for need in needs if isinstance(need, SystemNeed))
        for needs in (some, plan_needs(catalog, plan, "x86_64"))
    )
    assert set(python.packages) <= set(whole.packages)
    assert set(some) - {python} < set(plan_needs(catalog, plan, "x86_64"))


def content(need: Need) -> tuple[object, ...]:
    """Return what a need's bytes are decided by."""
    match need:
        case GitNeed():
            return ("git", need.commit)
        case SystemNeed():
            return ("system", need.suite, need.architecture, need.include, need.packages)
        case ImageNeed():
            return ("image", need.digest or need.image, need.architecture)
        case _:
            return ("file", need.sha256 or getattr(need, "url", ""))


def test_a_key_is_for_one_content_and_a_content_has_one_key(cases: list[Case]) -> None:
    keys: dict[str, set[tuple[object, ...]]] = {}
    contents: dict[tuple[object, ...], set[str]] = {}
    packages: dict[str, set[tuple[str, str]]] = {}
    for _, _, _, needs in cases:
        for need in needs:
            keys.setdefault(need.key, set()).add(content(need))
            contents.setdefault(content(need), set()).add(need.key)
            if isinstance(need, PackageNeed):
                # sdists that are sources have the recipe's spelling
                name = need.name.lower().replace("_", "-")
                packages.setdefault(need.key, set()).add((name, need.version))
            assert need.title
            assert "\n" not in need.key + need.title
    assert {key: values for key, values in keys.items() if len(values) != 1} == {}
    assert {key: values for key, values in contents.items() if len(values) != 1} == {}
    assert {key: values for key, values in packages.items() if len(values) != 1} == {}
    assert {key.partition(":")[0] for key in keys} == {"git", "sha256", "url", "system", "image"}


def test_every_input_of_the_distributions_packages_is_in_their_key() -> None:
    one = SystemNeed(stage="s", suite="bookworm", architecture="x86_64", include=("a",), packages=("b",))
    others = [
        replace(one, suite="trixie"),
        replace(one, architecture="aarch64"),
        replace(one, include=()),
        replace(one, packages=()),
        replace(one, include=("a", "b"), packages=()),
        replace(one, include=(), packages=("a", "b")),
    ]
    assert len({need.key for need in (one, *others)}) == 7
    assert replace(one, stage="t").key == one.key


def test_a_need_is_there_once(cases: list[Case]) -> None:
    for plan, architecture, _, needs in cases:
        assert len(needs) == len(set(needs)), f"{plan.tag} {architecture}"


def test_another_commit_is_another_need(catalog: Catalog) -> None:
    commit = "f" * 40
    plan = make_plan(catalog, "streampetr", platform="debian-12-cpu", pinned={"mmcv-1.x": commit})
    plain = make_plan(catalog, "streampetr", pinned={"mmcv-1.x": commit})
    found = [need for need in plan_needs(catalog, plain, "aarch64") if isinstance(need, GitNeed)]
    assert [need.key for need in found if need.name == "mmcv-1.x"] == [f"git:{commit}"]
    # what the plan does not take is not fetched, whatever it is pinned to
    assert f"git:{commit}" not in {need.key for need in plan_needs(catalog, plan, "x86_64")}
