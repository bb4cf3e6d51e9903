"""How libtcmalloc comes into an image, and what its choice shows in."""

from __future__ import annotations

import pytest

from builder.errors import PlanError
from builder.plan.allocator import system_ways, with_option
from builder.plan.make import make_plan
from builder.plan.stage import Plan, StageSpec
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_dockerfile

CPU, NPU = "debian-12-cpu", "cann-8.1.rc1"


def stage(plan: Plan, name: str) -> StageSpec:
    return next(each for each in plan.stages if each.name == name)


def text_of(plan: Plan, templates: dict[str, str], name: str) -> str:
    _, _, rest = render_dockerfile(plan, templates).partition(f" AS {name}\n")
    return rest.partition("\nFROM ")[0]


@pytest.mark.parametrize(
    ("platform", "ways"),
    [
        (CPU, ("package", "source-package", "release", "git")),
        (NPU, ("git", "release", "package")),
        ("cann-8.1.rc1-ubuntu22.04", ("git", "release", "package")),
        # a stand-in stands on Debian, and does what its twin does
        ("cann-8.1.rc1-stub", ("git", "package", "source-package", "release")),
    ],
)
def test_a_platform_has_its_ways_and_its_default(catalog: Catalog, platform: str, ways: tuple[str, ...]) -> None:
    own = catalog.platforms[platform]
    assert system_ways(catalog.systems[own.system], own) == ways
    plan = make_plan(catalog, "streampetr", platform=platform)
    (option,) = (each for each in plan.model.options if each.name == "tcmalloc")
    assert (option.default, tuple(option.choices)) == (ways[0], ways)
    assert plan.options == {}
    assert stage(plan, "image").inputs["labels"]["drivebuild.option.tcmalloc"] == ways[0]


def test_a_choice_is_in_tag_folder_labels_manifest_and_words(catalog: Catalog) -> None:
    plan = make_plan(catalog, "streampetr", platform=CPU, options={"tcmalloc": "source-package"})
    assert plan.tag == "drivebuild/streampetr:debian-12-cpu-stock-tcmalloc.source-package"
    assert plan.dockerfile.endswith("/debian-12-cpu-stock-tcmalloc.source-package/Dockerfile")
    assert "--option tcmalloc=source-package" in " ".join(plan.arguments)
    labels = stage(plan, "image").inputs["labels"]
    assert labels["drivebuild.option.tcmalloc"] == "source-package"
    assert labels["drivebuild.source.gperftools-2.16-debian"].startswith("sha256:737be182")
    assert '"tcmalloc": "source-package"' in stage(plan, "manifest").inputs["plan"]


def test_saying_the_default_is_saying_nothing(catalog: Catalog) -> None:
    said = make_plan(catalog, "streampetr", platform=CPU, options={"tcmalloc": "package"})
    assert said.tag == make_plan(catalog, "streampetr", platform=CPU).tag


def test_models_without_tcmalloc_have_neither_option_nor_stage(catalog: Catalog) -> None:
    plan = make_plan(catalog, "flashocc", platform=CPU)
    assert not {"tcmalloc", "allocators"} & set(plan.names)
    assert "tcmalloc" not in {option.name for option in plan.model.options}
    with pytest.raises(PlanError, match="flashocc has no option 'tcmalloc'"):
        make_plan(catalog, "flashocc", platform=CPU, options={"tcmalloc": "git"})


def test_a_way_that_the_system_has_not_is_an_error_with_those_it_has(catalog: Catalog) -> None:
    with pytest.raises(PlanError, match=r"openEuler 22\.03 LTS has no 'source-package'") as caught:
        make_plan(catalog, "streampetr", options={"tcmalloc": "source-package"})
    assert caught.value.hint == "it has git, release, package"
    with pytest.raises(PlanError, match="no choice 'packge'") as caught:
        make_plan(catalog, "streampetr", options={"tcmalloc": "packge"})
    assert "package" in caught.value.hint


@pytest.mark.parametrize(
    ("way", "platform", "origin", "archive", "generated"),
    [
        ("git", NPU, "src-gperftools-2.16", "", True),
        ("release", NPU, "src-gperftools-2.16-release", "gperftools-2.16.tar.gz", False),
        ("release", CPU, "src-gperftools-2.16-release", "gperftools-2.16.tar.gz", False),
        ("source-package", CPU, "src-gperftools-2.16-debian", "google-perftools_2.16.orig.tar.gz", True),
    ],
)
def test_each_way_compiles_its_source_with_pages_of_64_kib(
    catalog: Catalog,
    templates: dict[str, str],
    way: str,
    platform: str,
    origin: str,
    archive: str,
    generated: bool,
) -> None:
    plan = make_plan(catalog, "pivotnet", platform=platform, options={"tcmalloc": way})
    assert stage(plan, "tcmalloc").uses[-1] == origin
    text = text_of(plan, templates, "tcmalloc")
    assert f"COPY --from={origin} " in text
    assert ("./autogen.sh" in text, "autoconf" in text) == (generated, generated)
    assert (f"tar -xf /archive/{archive} " in text) == bool(archive)
    assert "--with-tcmalloc-pagesize=64;" in text
    # configure would only warn: the build reads what it wrote
    assert "'^#define TCMALLOC_PAGE_SIZE_SHIFT 16$' src/config.h" in text
    assert "65536 +Tcmalloc page size" in text


def test_the_release_is_added_by_its_checksum(catalog: Catalog, templates: dict[str, str]) -> None:
    text = render_dockerfile(make_plan(catalog, "streampetr", options={"tcmalloc": "release"}), templates)
    assert "ADD --checksum=sha256:f12624af5c5987f2cc830ee534f754c3c5961eec08004c26a8b80de015cf056f https://" in text


def test_a_source_package_of_a_later_release_is_asked_for_by_its_name(
    catalog: Catalog, templates: dict[str, str]
) -> None:
    plan = make_plan(catalog, "streampetr", platform=CPU, options={"tcmalloc": "source-package"})
    text = text_of(plan, templates, "src-gperftools-2.16-debian")
    assert r"'s/^deb (.*) bookworm main$/deb-src \1 trixie main/p'" in text
    assert "--tar-only google-perftools/trixie" in text
    own = text_of(plan, templates, "src-python-3.11.2-debian")
    assert r"'s/^deb (.* bookworm main)$/deb-src \1/p'" in own
    assert "--tar-only" not in own


def test_the_package_needs_no_compiler(catalog: Catalog) -> None:
    plan = make_plan(catalog, "streampetr", options={"tcmalloc": "package"})
    assert "tcmalloc" not in plan.names
    assert stage(plan, "allocators").inputs["packages"] == ("gperftools", "jemalloc")


def test_no_allocator_moves_what_all_models_stand_on(catalog: Catalog) -> None:
    """jemalloc, and a tcmalloc that is not the system's default, are in no stage below `env`."""
    plain = make_plan(catalog, "flashocc", platform=NPU)
    for options in ({}, {"tcmalloc": "package"}):
        plan = make_plan(catalog, "streampetr", platform=NPU, options=options)
        for name in ("base", "build-base", "torch"):
            assert stage(plan, name) == stage(plain, name)
        users = [each.name for each in plan.stages if "allocators" in (each.base, *each.uses)]
        assert users == ["env"]


@pytest.mark.parametrize("platform", [CPU, NPU, "cann-8.1.rc1-ubuntu22.04", "cann-8.1.rc1-stub"])
@pytest.mark.parametrize("way", ["git", "package"])
def test_each_library_has_one_path_for_an_architecture(catalog: Catalog, platform: str, way: str) -> None:
    """The stage takes the one that is there; a path that is named twice would be there twice."""
    plan = make_plan(catalog, "streampetr", platform=platform, options={"tcmalloc": way})
    libraries = stage(plan, "allocators").inputs["libraries"]
    assert set(libraries) == {"tcmalloc", "jemalloc"}
    for paths in libraries.values():
        assert len(set(paths)) == len(paths)
        assert all(path.startswith("/") for path in paths)


def test_models_share_the_stage(catalog: Catalog) -> None:
    one, two = (make_plan(catalog, name, platform=NPU) for name in ("streampetr", "pivotnet"))
    assert stage(one, "allocators") == stage(two, "allocators")
    assert stage(one, "tcmalloc") == stage(two, "tcmalloc")


def test_the_option_can_hold_what_several_systems_have(catalog: Catalog) -> None:
    ways = (way for system in catalog.systems.values() for way in system_ways(system))
    option = with_option(catalog.models["streampetr"], ways).options[-1]
    assert set(option.choices) == {"git", "release", "source-package", "package"}
    assert with_option(catalog.models["flashocc"], ("git",)) is catalog.models["flashocc"]
