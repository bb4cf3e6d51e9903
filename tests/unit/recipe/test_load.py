"""Several files to one catalog: all mistakes at once, each with its file; a later file wins by name."""

from __future__ import annotations

import pytest
from support.files import COMPONENT, SOURCES, model, shipped, texts, toy

from builder.errors import RecipeError
from builder.recipe.load import load
from builder.recipe.types import Catalog


def failed(files: dict[str, str]) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load(texts(files), {})
    assert caught.value.exit_code == 3
    return caught.value


def test_a_sound_set_loads() -> None:
    catalog = load(texts(toy()), {"a": "b"})
    assert isinstance(catalog, Catalog)
    assert set(catalog.models) == {"toy"}
    # a model's own sources stand among the others
    assert set(catalog.sources) == {"ops", "py", "sdk", "toy-source"}
    assert catalog.locks == {"a": "b"}


def test_the_shipped_set_loads() -> None:
    assert len(load(texts(shipped()), {}).models) >= 5


def test_values_are_frozen() -> None:
    catalog = load(texts(toy()), {})
    with pytest.raises(AttributeError):
        catalog.models["toy"].name = "x"  # type: ignore[misc]


def test_all_mistakes_of_all_files_at_once() -> None:
    files = toy(title="1", patchs="[]") | {
        "components/ops.yaml": COMPONENT + "minutes: x\n",
        "sources.yaml": SOURCES.replace("b" * 40, "b" * 39),
        "systems/sys.yaml": "a: [\n",
    }
    error = failed(files)
    heads = [line for line in error.message.split("\n") if not line.startswith(" ")]
    assert [head.split(":")[0] for head in heads] == [
        "components/ops.yaml",
        "models/toy.yaml",
        "models/toy.yaml",
        "sources.yaml",
        "systems/sys.yaml",
    ]
    assert error.hint == "5 mistakes in 4 files; nothing was written"


def test_one_mistake_is_not_called_mistakes() -> None:
    assert failed(toy(title="1")).hint == "1 mistake in 1 file; nothing was written"


def test_references_are_not_checked_while_a_file_is_unsound() -> None:
    # the unknown platform would only be a follow-up of the file that could not be read
    error = failed(toy(platform="plta") | {"platforms/plat.yaml": "name: [\n"})
    assert "unknown platform" not in error.message


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        # the name inside is the name by which others refer to it
        (
            "models/other.yaml",
            model("toy2"),
            "models/other.yaml:1:7: name: 'toy2' differs from the file's name, 'other'",
        ),
        # a folder nobody reads would be ignored silently
        ("model/toy2.yaml", model("toy2"), "model/toy2.yaml:1:1: a file of no known kind"),
        ("models/deep/toy2.yaml", model("toy2"), "a file of no known kind"),
        ("extra.yaml", "a: 1\n", "a file of no known kind"),
    ],
)
def test_where_a_file_lies_matters(path: str, content: str, message: str) -> None:
    assert message in failed(toy() | {path: content}).message


def test_a_later_file_of_the_same_name_wins() -> None:
    mine = model(title="Mine")
    catalog = load([*texts(toy()), *texts({"models/toy.yaml": mine})], {})
    assert catalog.models["toy"].title == "Mine"


def test_a_file_that_was_replaced_is_not_checked() -> None:
    broken_reference = texts(toy(platform="none"))
    assert load([*broken_reference, *texts({"models/toy.yaml": model()})], {}).models


def test_sources_of_two_folders_add_up() -> None:
    more = 'sources:\n  other: {type: git, url: "https://example.org/o.git", commit: ' + "f" * 40 + "}\n"
    catalog = load([*texts(toy()), *texts({"sources.yaml": more})], {})
    assert {"ops", "other"} <= set(catalog.sources)


def test_no_files_make_an_empty_catalog() -> None:
    assert load([], {}).models == {}
