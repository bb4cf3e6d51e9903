"""The plan: what each stage may see, what models share, what a change re-runs, and what does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import pytest
from support.files import COMPONENT, PLATFORM, model, texts, toy
from support.locks import with_locks

from builder.errors import PlanError
from builder.plan.make import make_plan
from builder.plan.stage import Plan
from builder.recipe.load import load
from builder.recipe.types import Catalog, ComponentUse
from builder.render.dockerfile import render_stage
from builder.render.keys import sharers

OWN = re.compile(r"^(env|tree|manifest|image|overlay-.*)$")
"""Stages in which a model may stand; and the components that it changes, which each test names."""


def planned(files: dict[str, str], name: str = "toy", **choice: str) -> Plan:
    return make_plan(with_locks(load(texts(files), {})), name, **choice)  # type: ignore[arg-type]


def combinations(catalog: Catalog) -> Iterator[tuple[str, str, str]]:
    for name, recipe in catalog.models.items():
        own = recipe.platform
        twins = [other for other in catalog.platforms if other.startswith(own)]
        for platform in dict.fromkeys((own, *twins, "debian-12-cpu")):
            for variant in catalog.platforms[platform].variants:
                yield name, platform, variant


@pytest.fixture(scope="module")
def plans(catalog: Catalog) -> dict[tuple[str, str, str], Plan]:
    return {
        (name, platform, variant): make_plan(catalog, name, platform=platform, variant=variant)
        for name, platform, variant in combinations(catalog)
    }


@pytest.fixture(scope="module")
def stage_texts(
    plans: dict[tuple[str, str, str], Plan], templates: dict[str, str]
) -> dict[tuple[str, str, str], dict[str, str]]:
    return {key: {stage.name: render_stage(stage, templates) for stage in plan.stages} for key, plan in plans.items()}


# --- the shape of one plan -----------------------------------------------------------------------


def test_stages_of_the_smallest_plan() -> None:
    plan = planned(toy())
    assert plan.names == (
        "os-packages",
        "base",
        "build-base",
        "packages-installer",
        "uv",
        "tools",
        "src-ops",
        "src-py",
        "src-toy-source",
        "python-stock",
        "packages-framework",
        "torch",
        "beside-torch",
        "ops",
        "packages-common",
        "common",
        "packages-model",
        "env",
        "tree",
        "manifest",
        "image",
    )
    assert plan.names[-1] == "image"
    assert plan.tag == "drivebuild/toy:plat-stock"
    assert plan.dockerfile == "dockerfiles/toy/plat-stock/Dockerfile"
    assert plan.architectures == ("aarch64", "x86_64")


def test_every_plan_ends_with_the_image_and_holds_nothing_that_it_does_not_need(
    plans: dict[tuple[str, str, str], Plan],
) -> None:
    for plan in plans.values():
        assert plan.names[-1] == "image"
        assert plan.closure("image") == plan.names


def test_every_stage_stands_after_what_it_needs(plans: dict[tuple[str, str, str], Plan]) -> None:
    for plan in plans.values():
        for position, name in enumerate(plan.names):
            assert set(plan.needs(name)) <= set(plan.names[:position])


def test_a_stage_refers_to_what_it_declares_and_to_nothing_else(
    plans: dict[tuple[str, str, str], Plan], stage_texts: dict[tuple[str, str, str], dict[str, str]]
) -> None:
    """The closure property: a stage's key is what it starts from, copies and mounts."""
    reference = re.compile(r"(?:--from=|,from=|^FROM )(\S+?)(?=[\s,]|$)", re.MULTILINE)
    for key, plan in plans.items():
        for stage in plan.stages:
            text = stage_texts[key][stage.name]
            inner = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
            found = {name for name in reference.findall(text) if "${" not in name} - inner
            declared = {stage.base, *stage.uses}
            assert found == declared or found == declared | {"scratch"}, f"{key}: {stage.name}"


def test_builder_stages_do_not_stand_behind_each_other(plans: dict[tuple[str, str, str], Plan]) -> None:
    # a component may not need another one unless its recipe says so, nor anything of the model
    for plan in plans.values():
        components = {stage.name for stage in plan.stages if stage.template == "wheel"}
        for name in components:
            closure = set(plan.closure(name))
            assert not closure & {"env", "tree", "manifest", "image", "packages-model"}
            assert not (closure & components) - {name}, f"{name} stands behind {closure & components}"
            assert "python-lto" not in closure, "compiled against stock: lto must not compile it again"


# --- sharing -------------------------------------------------------------------------------------


def changed_components(plan: Plan) -> set[str]:
    """Return the components whose source or version is this model's own business."""
    found = set()
    for use in plan.model.components:
        found |= {use.name, f"{use.name}-source"}
    return found


def test_models_on_one_platform_share_their_stack_text(
    plans: dict[tuple[str, str, str], Plan], stage_texts: dict[tuple[str, str, str], dict[str, str]]
) -> None:
    """BuildKit shares a stage between Dockerfiles when its instructions are byte-equal."""
    seen: dict[tuple[str, str, str], str] = {}
    for (_, platform, variant), found in stage_texts.items():
        for name, text in found.items():
            if OWN.match(name):
                continue
            # two stages of one name and platform differ only where two models want different versions or changes
            seen.setdefault((platform, name, variant), text)
    for (model_name, platform, variant), found in stage_texts.items():
        recipe = plans[model_name, platform, variant].model
        allowed = {
            part
            for use in recipe.components
            if use.steps or use.source or use.keep_tree or many_versions(plans, platform, use.name)
            for part in (use.name, f"{use.name}-source")
        }
        for name, text in found.items():
            if OWN.match(name) or name in allowed:
                continue
            assert text == seen[platform, name, variant] or name in differing(plans, platform), f"{model_name}: {name}"


def many_versions(plans: dict[tuple[str, str, str], Plan], platform: str, component: str) -> bool:
    versions = {
        use.version
        for (_, other, _), plan in plans.items()
        if other == platform
        for use in plan.model.components
        if use.name == component
    }
    return len(versions) > 1


def differing(plans: dict[tuple[str, str, str], Plan], platform: str) -> set[str]:
    """Return the components that some other model changes: then equality is not owed."""
    return {
        part
        for (_, other, _), plan in plans.items()
        if other == platform
        for use in plan.model.components
        if use.steps or use.source or use.keep_tree
        for part in (use.name, f"{use.name}-source")
    }


@pytest.mark.parametrize("shared", ["base", "build-base", "uv", "tools", "python-stock", "torch", "cann"])
def test_the_slow_stages_are_one_for_all_models_of_a_platform(
    stage_texts: dict[tuple[str, str, str], dict[str, str]], shared: str
) -> None:
    by_platform: dict[str, set[str]] = {}
    for (_, platform, _), found in stage_texts.items():
        if shared in found:
            by_platform.setdefault(platform, set()).add(found[shared])
    assert by_platform
    for platform, different in by_platform.items():
        assert len(different) == 1, f"{shared} differs on {platform}"


def test_mmcv_is_compiled_once_for_all_that_take_the_same_source(
    plans: dict[tuple[str, str, str], Plan], stage_texts: dict[tuple[str, str, str], dict[str, str]]
) -> None:
    # FlashOCC's README names a fork (F6): its own wheel; everybody else shares one
    different: dict[tuple[str, object], set[str]] = {}
    for (name, platform, variant), found in stage_texts.items():
        if variant not in ("stock", "lto"):
            continue  # compiled by another compiler, each in its own way
        stage = next(stage for stage in plans[name, platform, variant].stages if stage.name == "mmcv")
        different.setdefault((platform, stage.inputs["source"]), set()).add(found["mmcv"])
    assert {len(texts) for texts in different.values()} == {1}
    assert len({source for platform, source in different if platform == "debian-12-cpu"}) == 1
    assert len({source for _, source in different}) <= 3


@pytest.mark.parametrize("word", ["panoocc", "flashocc", "tpvformer", "pivotnet", "streampetr"])
def test_no_model_is_named_in_a_shared_stage(
    stage_texts: dict[tuple[str, str, str], dict[str, str]], word: str
) -> None:
    for (name, platform, _), found in stage_texts.items():
        for stage, text in found.items():
            if name == word and not OWN.match(stage) and not stage.startswith("src-") and not stage.endswith("-source"):
                assert word not in text.lower(), f"{stage} on {platform} names {word}"


def test_lto_changes_python_env_and_what_names_the_variant_only(
    stage_texts: dict[tuple[str, str, str], dict[str, str]],
) -> None:
    for (name, platform, variant), lto in stage_texts.items():
        if variant != "lto":
            continue
        stock = stage_texts[name, platform, "stock"]
        assert set(lto) - set(stock) == {"python-lto"}
        assert set(stock) <= set(lto), "what is compiled is compiled against the stock Python in both"
        assert {stage for stage in stock if stock[stage] != lto[stage]} <= {"env", "manifest", "image"}
        assert stock["env"] != lto["env"]


def test_sharers_says_what_the_text_says(catalog: Catalog, templates: dict[str, str]) -> None:
    plans = [make_plan(catalog, name, platform="debian-12-cpu") for name in catalog.models]
    found = sharers(plans[0], plans, templates)
    others = tuple(plan.model.name for plan in plans[1:])
    assert found["mmcv"] == found["torch"] == found["python-stock"] == others
    assert found["image"] == found["tree"] == ()
    assert plans[0].model.name not in {name for names in found.values() for name in names}


# --- what a change of a recipe re-runs -----------------------------------------------------------

EDIT = "{do: edit, file: f, find: a, replace: %s}"
CHANGES: list[tuple[str, dict[str, str], dict[str, str], set[str]]] = [
    # what changes, before, after, and the stages whose own text changes
    (
        "a step of the tree",
        {"tree": f"{{source: toy-source, directory: T, steps: [{EDIT % 'b'}]}}"},
        {"tree": f"{{source: toy-source, directory: T, steps: [{EDIT % 'c'}]}}"},
        {"tree"},
    ),
    (
        "an overlay",
        {"overlays": f"[{{component: ops, steps: [{EDIT % 'b'}]}}]"},
        {"overlays": f"[{{component: ops, steps: [{EDIT % 'c'}]}}]"},
        {"overlay-ops"},
    ),
    ("a variable", {"environment": "{A: a}"}, {"environment": "{A: b}"}, {"manifest", "image"}),
    (
        "a job",
        {"jobs": "[{name: a, title: A, command: [a]}]"},
        {"jobs": "[{name: a, title: A, command: [b]}]"},
        {"image"},
    ),
    (
        "a result",
        {"results": "[]"},
        {"results": "[{chip: c, cards: 8, global_batch: 8, epochs: 1, metrics: {m: 1}}]"},
        set(),
    ),
    ("the title", {"title": "A"}, {"title": "B"}, {"tree", "image"}),
    (
        "a change to a component",
        {"components": f'[{{name: ops, version: "1.0", steps: [{EDIT % "b"}]}}]'},
        {"components": f'[{{name: ops, version: "1.0", steps: [{EDIT % "c"}]}}]'},
        {"ops-source"},
    ),
]


@pytest.mark.parametrize(("before", "after", "stages"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_a_change_moves_only_its_own_stage(
    before: dict[str, str], after: dict[str, str], stages: set[str], templates: dict[str, str]
) -> None:
    one = {stage.name: render_stage(stage, templates) for stage in planned(toy(**before)).stages}
    two = {stage.name: render_stage(stage, templates) for stage in planned(toy(**after)).stages}
    assert one.keys() == two.keys()
    assert {name for name in one if one[name] != two[name]} == stages


def test_a_change_of_one_model_moves_nothing_of_another(catalog: Catalog, templates: dict[str, str]) -> None:
    recipe = catalog.models["streampetr"]
    # the first step has no condition: it is there on every platform
    tree = msgspec.structs.replace(recipe.tree, steps=recipe.tree.steps[1:])
    moved = msgspec.structs.replace(
        catalog, models={**catalog.models, "streampetr": msgspec.structs.replace(recipe, tree=tree)}
    )
    for name in catalog.models:
        one = {stage.name: render_stage(stage, templates) for stage in make_plan(catalog, name).stages}
        two = {stage.name: render_stage(stage, templates) for stage in make_plan(moved, name).stages}
        differ = {stage for stage in one if one.get(stage) != two.get(stage)}
        assert differ == ({"tree"} if name == "streampetr" else set())


# --- options, variants, accelerators -------------------------------------------------------------

OPTIONS = "[{name: o, title: O, default: a, choices: {a: {title: A}, b: {title: B}}}]"


def test_options_choose_steps_and_name_the_image(templates: dict[str, str]) -> None:
    steps = "{do: edit, file: f, find: x, replace: first, when: {o: a}}, "
    steps += "{do: edit, file: f, find: x, replace: other, when: {o: b}}"
    files = toy(options=OPTIONS, tree=f"{{source: toy-source, directory: T, steps: [{steps}]}}")
    default, other = planned(files), planned(files, options={"o": "b"})  # type: ignore[arg-type]
    assert [
        stage.inputs["steps"][0]["replace"]
        for plan in (default, other)
        for stage in plan.stages
        if stage.name == "tree"
    ] == ["first", "other"]
    assert default.flavour == "plat-stock"
    assert other.flavour == "plat-stock-o.b"
    # the default said aloud is the default
    assert planned(files, options={"o": "a"}).tag == default.tag  # type: ignore[arg-type]


def test_a_component_without_origin_on_the_accelerator_is_left_out() -> None:
    cpu = PLATFORM.replace("name: plat", "name: cpu").replace("accelerator: npu", "accelerator: cpu")
    cpu = "\n".join(line for line in cpu.split("\n") if not line.startswith("cann"))
    files = toy() | {"platforms/cpu.yaml": cpu}
    assert "ops" in planned(files).names
    plan = planned(files, platform="cpu")
    assert "ops" not in plan.names
    assert "src-ops" not in plan.names


def test_a_component_that_another_needs_comes_with_its_wheel() -> None:
    needs_ops = COMPONENT.replace("name: ops", "name: more").replace("package: ops", "package: more") + "needs: [ops]\n"
    files = toy(components='[{name: more, version: "1.0"}, {name: ops, version: "1.0"}]')
    plan = planned(files | {"components/more.yaml": needs_ops})
    assert "ops" in plan.needs("more")
    assert "more" not in plan.needs("ops")


def test_three_thousand_components_in_a_row_are_planned() -> None:
    catalog = with_locks(load(texts(toy()), {}))
    ops, recipe = catalog.components["ops"], catalog.models["toy"]
    names = [f"ops-{number:04}" for number in range(3000)]
    components = {
        name: msgspec.structs.replace(ops, name=name, needs=(after,) if after else ())
        for name, after in zip(names, [*names[1:], ""], strict=True)
    }
    uses = tuple(ComponentUse(name=name, version="1.0") for name in names)
    many = msgspec.structs.replace(
        catalog, components=components, models={"toy": msgspec.structs.replace(recipe, components=uses)}
    )
    plan = make_plan(many, "toy")
    assert [name for name in plan.names if name in components] == list(reversed(names))


def test_copying_from_the_models_own_tree_waits_for_it() -> None:
    steps = "[{do: copy, path: Tree/a.py, to: ops/a.py, replaces: %s}]" % ("a" * 40)
    plan = planned(toy(overlays=f"[{{component: ops, steps: {steps}}}]"))
    assert "tree" in plan.needs("overlay-ops")


# --- what does not exist -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "choice", "message", "hint"),
    [
        ("streamptr", {}, "there is no model 'streamptr'", "did you mean 'streampetr'?"),
        (
            "streampetr",
            {"platform": "cann-8.1.rc"},
            "there is no platform 'cann-8.1.rc'",
            "did you mean 'cann-8.1.rc1'?",
        ),
        ("streampetr", {"variant": "ltoo"}, "cann-8.1.rc1 has no variant 'ltoo'", "did you mean 'lto'?"),
        (
            "streampetr",
            {"variant": "pgo", "platform": "cann-8.1.rc1-stub"},
            "cann-8.1.rc1-stub has no variant 'pgo'",
            "known: lto, stock",
        ),
        (
            "streampetr",
            {"options": {"atention": "x"}},
            "streampetr has no option 'atention'",
            "did you mean 'attention'?",
        ),
        (
            "streampetr",
            {"options": {"attention": "upstrem"}},
            "option 'attention' of streampetr has no choice 'upstrem'",
            "did you mean 'upstream'?",
        ),
    ],
)
def test_unknown(catalog: Catalog, name: str, choice: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(catalog, name, **choice)  # type: ignore[arg-type]
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (message, hint, 4)


def test_a_missing_lock_is_named() -> None:
    catalog = load(texts(toy()), {})
    with pytest.raises(PlanError, match=r"there is no lock locks/\S+\.txt") as caught:
        make_plan(catalog, "toy")
    assert "drivebuild lock" in caught.value.hint


def test_two_models_in_one_catalog_do_not_see_each_other(templates: dict[str, str]) -> None:
    alone = {stage.name: render_stage(stage, templates) for stage in planned(toy()).stages}
    both = {
        stage.name: render_stage(stage, templates)
        for stage in planned(toy() | {"models/two.yaml": model("two")}).stages
    }
    assert alone == both
