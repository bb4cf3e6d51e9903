"""Plans for another processor: what a cross compiler makes, what is emulated and why, and what stays as it was."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from builder.plan.cross import CROSS_BASE, at_full_speed, cross_built, cross_report, machine_image
from builder.plan.make import make_plan
from builder.plan.stage import Plan, StageSpec
from builder.recipe.types import Architecture, Catalog
from builder.render.dockerfile import render_dockerfile, render_stage
from builder.render.keys import stage_digests

CPU = "debian-12-cpu"


def native(catalog: Catalog, variant: str = "stock", **options: str) -> Plan:
    return make_plan(catalog, "streampetr", platform=CPU, variant=variant, options=options)


def crossed(catalog: Catalog, plan: Plan, target: Architecture = "aarch64") -> Plan:
    machine: Architecture = "x86_64" if target == "aarch64" else "aarch64"
    return cross_built(catalog, plan, target=target, machine=machine)


def by_clang(catalog: Catalog) -> Plan:
    """Return a plan whose optimised Python is compiled with Clang."""
    options = {"tcmalloc": "source-package"}
    return make_plan(catalog, "streampetr", platform=CPU, variant="lto", options=options, toolchain="clang-debian-12")


def stage(plan: Plan, name: str) -> StageSpec:
    return next(stage for stage in plan.stages if stage.name == name)


@pytest.fixture
def both(catalog: Catalog) -> Plan:
    """Return a plan in which Python and tcmalloc are compiled."""
    return native(catalog, tcmalloc="source-package")


def test_python_and_tcmalloc_are_compiled_on_the_builders_own_processor(catalog: Catalog, both: Plan) -> None:
    plan = crossed(catalog, both)
    for name, base in (("python-stock", "cross-python"), ("tcmalloc", CROSS_BASE)):
        makes = stage(plan, f"{name}-cross")
        assert makes.base == base
        assert makes.inputs["triplet"] == "aarch64-linux-gnu"
        # What is checked is checked on the processor it is for, with what an image has and no more.
        assert plan.needs(name) == ("base", makes.name)
    assert stage(plan, "cross-python").base == CROSS_BASE
    base = stage(plan, CROSS_BASE)
    assert base.base == machine_image(plan.platform) == "localhost/drivebuild/base:debian-12-build-machine"
    assert "g++-aarch64-linux-gnu" in base.inputs["packages"]


def test_it_goes_the_other_way_round_too(catalog: Catalog, both: Plan, templates: dict[str, str]) -> None:
    plan = crossed(catalog, both, "x86_64")
    assert "g++-x86-64-linux-gnu" in stage(plan, CROSS_BASE).inputs["packages"]
    assert "--host=x86_64-pc-linux-gnu" in render_stage(stage(plan, "python-stock-cross"), templates)
    text = render_stage(stage(plan, "cross-python"), templates)
    assert "dpkg --add-architecture amd64" in text
    assert "libssl-dev:amd64" in text


@pytest.mark.parametrize("variant", ["stock", "lto"])
def test_every_stage_stands_after_what_it_needs_and_few_are_new(catalog: Catalog, variant: str) -> None:
    both = native(catalog, variant, tcmalloc="source-package")
    plan = crossed(catalog, both)
    lto = {f"python-lto-{name}" for name in ("instrumented", "trained", "cross")} if variant == "lto" else set()
    new = {CROSS_BASE, "cross-python", "python-stock-cross", "tcmalloc-cross", *lto}
    assert set(plan.names) - set(both.names) == new
    assert set(both.names) <= set(plan.names)
    for name in plan.names:
        assert all(plan.names.index(need) < plan.names.index(name) for need in plan.needs(name))
    assert plan.closure("image") == plan.names
    assert (plan.tag, plan.dockerfile, plan.arguments) == (both.tag, both.dockerfile, both.arguments)


@pytest.mark.parametrize("variant", ["stock", "lto"])
def test_sources_of_the_distribution_are_fetched_without_emulation(catalog: Catalog, variant: str) -> None:
    plan = crossed(catalog, native(catalog, variant, tcmalloc="source-package"))
    assert stage(plan, "src-python-3.11.2-debian").base == CROSS_BASE
    assert stage(plan, "src-gperftools-2.16-debian").base == CROSS_BASE


def test_a_source_that_an_emulated_compile_wants_too_stays_where_it_was(catalog: Catalog) -> None:
    """Clang's Python is compiled from the same archive, under emulation."""
    plan = crossed(catalog, by_clang(catalog))
    assert stage(plan, "src-python-3.11.2-debian").base == "base"
    assert stage(plan, "src-gperftools-2.16-debian").base == CROSS_BASE


def test_a_digest_differs_only_where_the_text_does(catalog: Catalog, both: Plan, templates: dict[str, str]) -> None:
    before, after = stage_digests(both, templates), stage_digests(crossed(catalog, both), templates)
    same = {name for name in before if before[name] == after[name]}
    assert {"base", "build-base", "uv", "tools"} <= same
    # What is compiled against that Python goes by its digest.
    assert same.isdisjoint({"python-stock", "tcmalloc", "allocators", "torch", "mmcv", "env", "image"})


def test_a_base_that_is_made_another_way_moves_the_cross_compilers(
    catalog: Catalog, both: Plan, templates: dict[str, str]
) -> None:
    """Its name is the same, and has no digest."""
    cpu = catalog.platforms[CPU]
    assert cpu.base.bootstrap is not None
    bootstrap = replace(cpu.base.bootstrap, include=("ca-certificates", "python3", "patch"))
    moved = replace(
        catalog, platforms={**catalog.platforms, CPU: replace(cpu, base=replace(cpu.base, bootstrap=bootstrap))}
    )
    first = stage_digests(crossed(catalog, both), templates)[CROSS_BASE]
    second = stage_digests(crossed(moved, native(moved, tcmalloc="source-package")), templates)[CROSS_BASE]
    assert first != second


def test_for_the_builders_own_processor_nothing_changes(catalog: Catalog, both: Plan) -> None:
    assert cross_built(catalog, both, target="x86_64", machine="x86_64") is both
    report = cross_report(catalog, both, target="x86_64", machine="x86_64")
    assert (report.crossed, dict(report.emulated), report.reason) == ((), {}, "")


@pytest.mark.parametrize("platform", ["cann-8.1.rc1", "cann-8.1.rc1-ubuntu22.04"])
def test_a_system_without_cross_compilers_says_so(catalog: Catalog, platform: str) -> None:
    plan = make_plan(catalog, "pivotnet", platform=platform)
    assert crossed(catalog, plan) is plan
    report = cross_report(catalog, plan, target="aarch64", machine="x86_64")
    system = catalog.systems[plan.platform.system]
    assert report.crossed == ()
    assert system.no_cross
    assert system.no_cross in report.reason
    assert {"python-stock", "tcmalloc", "mmcv"} <= set(report.emulated)


def test_what_is_emulated_says_why(catalog: Catalog) -> None:
    plan = crossed(catalog, native(catalog, "lto", tcmalloc="source-package"))
    report = cross_report(catalog, plan, target="aarch64", machine="x86_64")
    assert report.crossed == ("python-stock", "python-lto", "tcmalloc")
    assert report.reason == ""
    assert "PyTorch" in report.emulated["mmcv"]
    # What takes the files of a cross compile compiles nothing; nor do wheels of Python files, or a run for a profile.
    assert set(report.trained) == {"python-lto-trained"}
    assert report.trained["python-lto-trained"] > 0
    assert not {"python-stock", "python-lto", "python-lto-trained", "tcmalloc", "mmdet"} & set(report.emulated)


def test_a_compiler_that_has_no_cross_compiler_says_so(catalog: Catalog) -> None:
    report = cross_report(catalog, crossed(catalog, by_clang(catalog)), target="aarch64", machine="x86_64")
    assert report.crossed == ("python-stock", "tcmalloc")
    assert "not the distribution's" in report.emulated["python-lto"]
    assert report.trained == {}


def test_only_the_run_that_takes_the_profile_is_emulated(catalog: Catalog, templates: dict[str, str]) -> None:
    plan = crossed(catalog, native(catalog, "lto"))
    texts = {name: render_stage(stage(plan, name), templates) for name in plan.names if name.startswith("python-lto")}
    names = ["python-lto-instrumented", "python-lto-trained", "python-lto-cross", "python-lto"]
    assert list(texts) == names
    # What runs at full speed stands on the builder's own processor, or takes what was made there.
    full = {name: at_full_speed(plan, name) for name in (*names, "cross-python", "python-stock", "base", "torch")}
    assert [name for name, quick in full.items() if not quick] == ["python-lto-trained", "base", "torch"]
    # The counters go from one to the other, at the path at which they were compiled in.
    _, trained, final, taken = texts.values()
    assert "from=python-lto-instrumented,source=/src/python,target=/src/python,rw" in trained
    assert "from=python-lto-trained,source=/profile,target=/profile" in final
    assert stage(plan, "python-lto-cross").base == "python-lto-instrumented"
    compilers = [name for name, text in texts.items() if "make -j" in text]
    assert compilers == ["python-lto-instrumented", "python-lto-cross"]
    # Whether it was done is looked for in what was made, on the processor it is for.
    assert "lto_priv" in taken
    assert "lto_priv" not in render_stage(stage(plan, "python-stock"), templates)


def test_an_optimised_cross_compile_does_what_a_native_one_does(catalog: Catalog, templates: dict[str, str]) -> None:
    """Configuration, training and checks are the same text: a change to one is a change to both."""
    before = native(catalog, "lto")
    after = crossed(catalog, before)
    own = render_stage(stage(before, "python-lto"), templates)
    names = [name for name in after.names if name.startswith("python-lto")]
    cross = "\n".join(render_stage(stage(after, name), templates) for name in names)
    for line in (
        *("--enable-optimizations", "--with-lto", "LINKCC='gcc -no-pie'", "CFLAGS_NODIST=-frecord-gcc-switches"),
        *("_posixshmem _multiprocessing", "s/$/ -fno-pie/", "-flto=auto", "profile-gen-stamp > /tmp/make.log"),
        *("ARG PYTHON_PROFILE_TASK=", "-E /python_training.py 200", "Tests result: SUCCESS"),
        *("Wcoverage-mismatch", "Wmissing-profile", "importing it failed", ".gcda' | wc -l)\" -ge 100"),
    ):
        assert own.count(line) == cross.count(line) > 0, line


def test_what_was_not_asked_for_is_told_from_what_cannot_be(catalog: Catalog, both: Plan) -> None:
    """With --no-cross, and from a store, the plan stays the native one."""
    report = cross_report(catalog, both, target="aarch64", machine="x86_64")
    assert report.reason == "it was not asked for"
    assert {"python-stock", "tcmalloc", "mmcv"} == set(report.emulated)


def test_a_shared_python_is_not_tried(catalog: Catalog, both: Plan) -> None:
    cpu = catalog.platforms[CPU]
    shared = replace(cpu, python=replace(cpu.python, shared=True))
    changed = replace(catalog, platforms={**catalog.platforms, CPU: shared})
    plan = native(changed)
    assert crossed(changed, plan) is plan
    report = cross_report(changed, plan, target="aarch64", machine="x86_64")
    assert "shared" in report.emulated["python-stock"]
    assert report.reason == "none of its stages can be"


def test_a_registrys_image_has_both_architectures_under_its_name(catalog: Catalog, both: Plan) -> None:
    cpu = catalog.platforms[CPU]
    digest = f"sha256:{'a' * 64}"
    base = replace(cpu.base, image="example.org/debian:12", digest=digest, bootstrap=None)
    changed = replace(catalog, platforms={**catalog.platforms, CPU: replace(cpu, base=base)})
    plan = crossed(changed, native(changed))
    assert machine_image(plan.platform) == "example.org/debian:12"
    assert stage(plan, CROSS_BASE).base == f"example.org/debian:12@{digest}"


@pytest.mark.parametrize(
    ("version", "named"), [("3.8.17", False), ("3.10.13", False), ("3.11.2", True), ("3.12.1", True)]
)
def test_the_builders_python_is_named_where_configure_knows_the_option(
    catalog: Catalog, templates: dict[str, str], version: str, named: bool
) -> None:
    cpu = catalog.platforms[CPU]
    python = replace(cpu.python, version=version)
    changed = replace(catalog, platforms={**catalog.platforms, CPU: replace(cpu, python=python)})
    text = render_stage(stage(crossed(changed, native(changed)), "python-stock-cross"), templates)
    assert ("--with-build-python=" in text) is named
    # 3.10 and older find it in PATH.
    assert "export PATH=/opt/cross/bin:/opt/python/bin:" in text


def test_a_cross_compile_installs_and_checks_what_a_native_one_does(
    catalog: Catalog, both: Plan, templates: dict[str, str]
) -> None:
    """The text is shared: a rule about what is left out of Python holds for both."""
    before, after = render_dockerfile(both, templates), render_dockerfile(crossed(catalog, both), templates)
    for line in ("/opt/python/bin/idle3*", "-m compileall -q -j1", "import ssl, sqlite3", "Tcmalloc page size"):
        assert before.count(line) == after.count(line) == 1, line
    for option in both.platform.python.configure:
        assert f"        {option} " in after


def test_only_a_cross_stage_runs_on_the_builders_own_processor(
    catalog: Catalog, both: Plan, templates: dict[str, str]
) -> None:
    text = render_dockerfile(crossed(catalog, both), templates)
    assert text.count("FROM --platform=$BUILDPLATFORM") == 1
    assert "BUILDPLATFORM" not in render_dockerfile(both, templates)
    # A folder of the target's packages cannot serve there.
    for name in (CROSS_BASE, "python-stock-cross", "tcmalloc-cross"):
        assert "os-packages" not in render_stage(stage(crossed(catalog, both), name), templates)
