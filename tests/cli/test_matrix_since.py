"""`matrix --since` with a real git: exactly the images whose text or inputs changed, none missed and none too many."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.cli import drivebuild, refused
from support.engine import FakeEngine
from support.files import REPOSITORY
from support.repos import Repository

from builder import paths
from builder.engine.process import SystemRunner
from builder.errors import DrivebuildError, SourceError
from builder.render.dockerfile import render_dockerfile
from builder.render.keys import Digester
from builder.render.matrix import entries, existing
from builder.render.tree import all_plans
from builder.source.catalog import read_catalog, read_templates
from builder.source.since import past_of

EDITS = 50
Texts = dict[tuple[str, str, str, str], str]


@pytest.fixture(autouse=True)
def guard() -> None:
    """Stand in for the guard of this folder: here git is the point."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Return a repository with the shipped recipes and templates, which drivebuild takes for its own."""
    made = Repository(tmp_path / "repository")
    shutil.copytree(paths.RECIPES, made.folder / "builder/recipes", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(paths.TEMPLATES, made.folder / "templates", ignore=shutil.ignore_patterns("__pycache__"))
    made.commit()
    monkeypatch.setattr(paths, "RECIPES", made.folder / "builder/recipes")
    monkeypatch.setattr(paths, "TEMPLATES", made.folder / "templates")
    return made


def since(*words: str) -> dict[str, Any]:
    result = drivebuild("matrix", "--format", "json", *words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def changes(found: dict[str, Any]) -> dict[str, str]:
    return {row["id"]: row["change"] for row in found["images"]}


def replace(repository: Repository, path: str, old: str, new: str, count: int = 1) -> None:
    file = repository.folder / path
    text = file.read_text()
    assert text.count(old) >= count, (path, old)
    file.write_text(text.replace(old, new, count))


# --- one edit at a time ----------------------------------------------------------------------------

STUBS = ("8.0.0", "8.1.rc1", "8.2.rc1")
MODEL = "builder/recipes/models/tpvformer.yaml"


def test_nothing_changed(repository: Repository) -> None:
    found = since("--since", "HEAD")
    assert (found["images"], found["shared"], found["merges"]) == ([], [], [])
    assert found["since"] == {"commit": repository.git("rev-parse", "HEAD"), "lost": "", "removed": []}
    assert "no image has changed" in drivebuild("matrix", "--since", "HEAD").output


def test_build_all_builds_what_the_matrix_would_list(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.engine.host.connect", FakeEngine)
    words = ("build-all", "--platform", "debian-12-cpu", "--since", "HEAD", "--dry-run")
    # What records keep of drivebuild's own code, which is no part of this repository.
    monkeypatch.setattr("builder.cli.building.template_digests", lambda _texts: {})
    replace(repository, MODEL, "title: ", "title: Another ")
    left_out, *rest = drivebuild(*words).output.splitlines()
    assert left_out.startswith("left out, unchanged since HEAD: ")
    assert "tpvformer" not in left_out
    rows = [line.split()[:2] for line in rest if "debian-12-cpu-" in line]
    assert sorted(rows) == [["tpvformer", "debian-12-cpu-lto"], ["tpvformer", "debian-12-cpu-stock"]]
    assert "no commit 'nowhere'" in refused(drivebuild(*words[:-2], "nowhere"), 5)


def test_a_model_moves_its_own_images_only(repository: Repository) -> None:
    replace(repository, MODEL, "title: ", "title: Another ")
    found = changes(since("--since", "HEAD"))
    assert found
    assert {name.split("-")[0] for name in found} == {"tpvformer"}
    assert set(found.values()) == {"changed"}
    everything = changes(since("--filter", "model=tpvformer"))
    assert set(found) == set(everything), "each variant and architecture of it"


def test_a_comment_that_is_rendered_is_told_apart(repository: Repository) -> None:
    replace(repository, "templates/stages/tree.j2", "# {{ title | comment }}", "# See: {{ title | comment }}")
    found = changes(since("--since", "HEAD"))
    assert set(found.values()) == {"comments"}
    assert since("--since", "HEAD", "--filter", "change!=comments")["images"] == []


def test_what_is_not_rendered_moves_nothing(repository: Repository) -> None:
    with (repository.folder / MODEL).open("a") as file:
        file.write("# a comment of the recipe\n")
    assert changes(since("--since", "HEAD")) == {}


@pytest.mark.parametrize(
    ("path", "added", "variants"),
    [
        ("templates/stages/torch.j2", "\n# RUN true", None),
        ("templates/scripts/entrypoint.sh", "\n# and more", None),
        ("templates/scripts/python_training.py", "\n# and more", {"lto", "lto-full", "pgo-instrument"}),
    ],
)
def test_templates_and_scripts_are_inputs(
    repository: Repository, path: str, added: str, variants: set[str] | None
) -> None:
    with (repository.folder / path).open("a") as file:
        file.write(added)
    found = since("--since", "HEAD")["images"]
    expected = {row["id"] for row in since()["images"] if variants is None or row["variant"] in variants}
    assert {row["id"] for row in found} == expected


def test_a_lock_moves_the_images_of_its_platform(repository: Repository) -> None:
    lock = next((repository.folder / "builder/recipes/locks/debian-12-cpu").glob("tpvformer.*"))
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock.read_text(), count=1))
    found = since("--since", "HEAD")["images"]
    assert {(row["model"], row["platform"]) for row in found} == {("tpvformer", "debian-12-cpu")}


def test_a_base_image_is_an_input(repository: Repository) -> None:
    for file in (repository.folder / "builder/recipes/platforms").glob("*.yaml"):
        file.write_text(file.read_text().replace("suite: bookworm", "suite: trixie"))
    found = since("--since", "HEAD")["images"]
    assert {row["platform"] for row in found} == {"debian-12-cpu", *(f"cann-{name}-stub" for name in STUBS)}
    assert {row["change"] for row in found} == {"changed"}, "no instruction says how the base was made, but the base is"


def test_models_that_are_new_renamed_and_gone(repository: Repository) -> None:
    folder = repository.folder / "builder/recipes"
    replace(repository, MODEL, "name: tpvformer", "name: newformer")
    (folder / "models/tpvformer.yaml").rename(folder / "models/newformer.yaml")
    for lock in folder.glob("locks/*/tpvformer.*"):
        lock.rename(lock.with_name(lock.name.replace("tpvformer", "newformer")))
    found = since("--since", "HEAD")
    assert {row["model"] for row in found["images"]} == {"newformer"}
    assert set(changes(found).values()) == {"added"}
    assert {name.split()[0] for name in found["since"]["removed"]} == {"tpvformer"}
    assert "gone since HEAD: tpvformer" in drivebuild("matrix", "--since", "HEAD").output


def test_committed_and_uncommitted_changes_count_alike(repository: Repository) -> None:
    replace(repository, MODEL, "title: ", "title: Another ")
    before = changes(since("--since", "HEAD"))
    repository.commit()
    assert changes(since("--since", "HEAD")) == {}
    assert changes(since("--since", "HEAD~1")) == before


def test_index_and_work_tree_stay_as_they_are(repository: Repository) -> None:
    replace(repository, MODEL, "title: ", "title: Another ")
    repository.git("add", "--all")
    replace(repository, MODEL, "Another ", "A third ")
    before = repository.git("status", "--porcelain=v2"), repository.git("diff", "--cached")
    since("--since", "HEAD")
    assert (repository.git("status", "--porcelain=v2"), repository.git("diff", "--cached")) == before


# --- fifty random ones, against rendering everything -----------------------------------------------


def rendered() -> Texts:
    """Return every Dockerfile as a whole, by image and architecture: the plain way, without digests."""
    catalog, templates = read_catalog(), read_templates()
    return {
        (plan.model.name, plan.platform.name, plan.variant, architecture): text
        for plan in all_plans(catalog)
        for text in [render_dockerfile(plan, templates)]
        for architecture in plan.architectures
    }


def changed_digit(line: str, chance: random.Random) -> str:
    places = [match.start() for match in re.finditer(r"(?<=[0-9a-f]{8})[0-9a-f](?=[0-9a-f]{8})", line)]
    if not places:
        return line
    place = chance.choice(places)
    return line[:place] + ("0" if line[place] != "0" else "1") + line[place + 1 :]


def changed_letter(line: str, chance: random.Random) -> str:
    places = [match.start() for match in re.finditer(r"(?<=\w)[a-z](?=\w)", line)]
    if not places:
        return line
    place = chance.choice(places)
    return line[:place] + chance.choice(string.ascii_lowercase) + line[place + 1 :]


def changed_number(line: str, chance: random.Random) -> str:
    return re.sub(r"\d+(?=\D*$)", lambda match: str(int(match[0]) + chance.randint(1, 9)), line, count=1)


def commented(line: str, chance: random.Random) -> str:
    return f"{line}\n# {chance.random()}"


def gone(_line: str, _chance: random.Random) -> str:
    return ""


LINE_EDITS: tuple[Callable[[str, random.Random], str], ...] = (
    changed_digit,
    changed_letter,
    changed_letter,
    changed_number,
    commented,
    gone,
)


def edit(folder: Path, chance: random.Random) -> str:
    """Change one file as a person might, or a cat; return what was done."""
    kinds = ["*/recipes/models/*.yaml", "*/recipes/*/*.yaml", "*/recipes/*.yaml", "*/recipes/locks/*/*.txt"]
    kinds += ["templates/stages/*.j2", "templates/scripts/*", "templates/macros/*.j2"]
    file = chance.choice(sorted(path for path in folder.glob(chance.choice(kinds)) if path.is_file()))
    name = file.relative_to(folder).as_posix()
    if "/models/" in name and chance.random() < 0.2:
        file.unlink()
        return f"{name} removed"
    lines = file.read_text().split("\n")
    number = chance.randrange(len(lines))
    how = chance.choice(LINE_EDITS)
    lines[number] = how(lines[number], chance)
    file.write_text("\n".join(lines))
    return f"{name}:{number + 1} {how.__name__}"


def test_it_is_exact_on_random_edits(repository: Repository) -> None:
    """Each edit is one of the work tree against HEAD. One that makes recipes or templates invalid does not count."""
    chance = random.Random(20261121)  # noqa: S311
    before = rendered()
    past = past_of("HEAD", (), (), SystemRunner())
    tried, moving = 0, 0
    while tried < EDITS:
        what = edit(repository.folder, chance)
        try:
            after = rendered()
        except Exception:  # noqa: BLE001
            # What a template does with a broken line is Jinja's affair.
            repository.git("checkout", "--quiet", "--", ".")
            continue
        expected = {key for key, text in after.items() if before.get(key) != text}
        catalog, templates = read_catalog(), read_templates()
        digester = Digester(templates)
        found = {
            (entry.plan.model.name, entry.plan.platform.name, entry.plan.variant, entry.architecture)
            for entry in entries(existing(catalog), digester)
            if past.change(entry, digester, templates)
        }
        assert found == expected, what
        tried += 1
        moving += bool(expected)
        repository.git("checkout", "--quiet", "--", ".")
    assert EDITS // 5 < moving < EDITS, "some edits move images and some do not, or the test says little"


# --- commits that cannot be had --------------------------------------------------------------------


@pytest.mark.parametrize("rev", ["nonsense", "0" * 40, "HEAD:builder", "-x", "--all"])
def test_no_such_commit(repository: Repository, rev: str) -> None:
    assert "there is no commit" in refused(drivebuild("matrix", f"--since={rev}"), 5)


def test_a_new_branch_has_no_commit_before_it(repository: Repository) -> None:
    assert "leave --since out" in refused(drivebuild("matrix", "--since", "0" * 40), 5)


def test_a_shallow_clone_says_so(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = repository.git("rev-parse", "HEAD")
    repository.write("more", "more")
    repository.commit()
    shallow = tmp_path / "shallow"
    repository.git("clone", "--quiet", "--depth=1", repository.url, str(shallow))
    monkeypatch.setattr(paths, "RECIPES", shallow / "builder/recipes")
    monkeypatch.setattr(paths, "TEMPLATES", shallow / "templates")
    assert "fetch-depth: 0" in refused(drivebuild("matrix", "--since", old), 5)
    assert since("--since", "HEAD")["images"] == []


def test_content_that_a_partial_clone_lacks(repository: Repository) -> None:
    repository.lose(MODEL)
    assert "clone the whole repository" in refused(drivebuild("matrix", "--since", "HEAD"), 5)


def test_no_repository(tmp_path: Path) -> None:
    folder = tmp_path / "mine/models"
    folder.mkdir(parents=True)
    shutil.copy(REPOSITORY / MODEL, folder)
    output = refused(drivebuild("--recipes", str(folder.parent), "matrix", "--since", "HEAD"), 5)
    assert "in no git repository" in output


def test_recipes_that_cannot_be_read_any_more_count_as_changed(repository: Repository) -> None:
    replace(repository, MODEL, "title: ", "tittle: ")
    repository.commit()
    replace(repository, MODEL, "tittle: ", "title: ")
    result = drivebuild("matrix", "--since", "HEAD", "--format", "json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["images"]) == len(since()["images"])
    assert "the key 'title' is missing (and 5 more lines)" in result.stderr
    assert "everything counts as changed" in result.stderr


# --- recipes of one's own --------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Repository:
    """Return a repository with a model of a user's own; drivebuild itself lies elsewhere."""
    made = Repository(tmp_path / "own")
    folder = made.folder / "recipes dir"
    (folder / "models").mkdir(parents=True)
    (folder / "models/mine.yaml").write_text(
        (REPOSITORY / MODEL).read_text().replace("name: tpvformer", "name: mine", 1)
    )
    for lock in (REPOSITORY / "builder/recipes/locks").glob("*/tpvformer.*"):
        target = folder / "locks" / lock.parent.name / lock.name.replace("tpvformer", "mine")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(lock, target)
    made.commit()
    return made


def test_a_folder_of_ones_own(own: Repository) -> None:
    words = ("--recipes", str(own.folder / "recipes dir"), "matrix", "--format", "json", "--since", "HEAD")
    result = drivebuild(*words)
    assert json.loads(result.stdout)["images"] == [], result.output
    assert "shipped recipes are no part of that repository" in result.stderr
    replace(own, "recipes dir/models/mine.yaml", "title: ", "title: Another ")
    assert {row["model"] for row in json.loads(drivebuild(*words).stdout)["images"]} == {"mine"}


def test_a_folder_that_was_not_there(own: Repository) -> None:
    (own.folder / "more/models").mkdir(parents=True)
    (own.folder / "recipes dir").rename(own.folder / "moved")
    words = ("--recipes", str(own.folder / "moved"), "matrix", "--format", "json", "--since", "HEAD")
    found = json.loads(drivebuild(*words).stdout)["images"]
    assert {(row["model"], row["change"]) for row in found} == {("mine", "added")}


def test_folders_of_two_repositories_are_refused(own: Repository, tmp_path: Path) -> None:
    other = Repository(tmp_path / "other")
    shutil.copytree(own.folder / "recipes dir", other.folder / "r")
    other.commit()
    with pytest.raises(SourceError, match="not in the repository"):
        past_of("HEAD", (own.folder / "recipes dir", other.folder / "r"), (), SystemRunner())


# --- a drivebuild of its own -----------------------------------------------------------------------


def whole(folder: Path) -> Repository:
    made = Repository(folder)
    for name in ("builder", "templates"):
        shutil.copytree(REPOSITORY / name, made.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    made.commit()
    return made


def asked(made: Repository, rev: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(made.folder), "PYTHONDONTWRITEBYTECODE": "1"}
    words = (sys.executable, "-m", "builder", "matrix", "--since", rev, "--format", "json")
    done = subprocess.run(words, cwd=made.folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return {**json.loads(done.stdout), "stderr": done.stderr.decode()}


def test_what_drivebuilds_own_code_changes_is_seen(tmp_path: Path) -> None:
    made = whole(tmp_path / "whole")
    assert asked(made, "HEAD")["images"] == []
    replace(made, "builder/plan/image.py", '"org.opencontainers.image.licenses"', '"org.opencontainers.image.licences"')
    found = asked(made, "HEAD")["images"]
    assert {row["change"] for row in found} == {"changed"}
    assert len(found) == len(since()["images"])
    made.commit()
    replace(
        made,
        "builder/plan/share.py" if (made.folder / "builder/plan/share.py").exists() else "builder/plan/select.py",
        '"""',
        '"""Or: ',
    )
    assert asked(made, "HEAD")["images"] == [], "another text of the program, and the same files"


def test_a_program_that_does_not_run_any_more_counts_as_changed(tmp_path: Path) -> None:
    made = whole(tmp_path / "whole")
    replace(
        made, "builder/plan/make.py", "from builder.plan.select", "import not_there_any_more\nfrom builder.plan.select"
    )
    made.commit()
    replace(made, "builder/plan/make.py", "import not_there_any_more\n", "")
    found = asked(made, "HEAD")
    assert len(found["images"]) == len(since()["images"])
    assert "not_there_any_more" in found["stderr"]
    assert found["since"]["lost"]


def test_an_unreadable_recipe_of_now_is_an_error(repository: Repository) -> None:
    replace(repository, MODEL, "title: ", "tittle: ")
    with pytest.raises(DrivebuildError):
        read_catalog()
    refused(drivebuild("matrix", "--since", "HEAD"), 3)
