"""A stranger's recipes: what they make drivebuild read, what their stages are called, which steps have a network."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.cli import drivebuild, refused
from support.dockerfile import parse
from support.files import COMPONENT, REPOSITORY, texts, toy
from support.locks import with_locks

from builder.errors import PlanError, RecipeError
from builder.plan.make import make_plan
from builder.recipe.load import load
from builder.render.compose import render_compose
from builder.render.dockerfile import render_dockerfile
from builder.source.catalog import MOST_BYTES, read_catalog

PRIVATE = "machine example.org login me password hunter2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "recipes"
    for path, text in toy().items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(text)
    (tmp_path / "secret.yaml").write_text(PRIVATE)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/mine.yaml").write_text(PRIVATE)
    return made


# --- what a folder may make drivebuild read --------------------------------------------------------


@pytest.mark.parametrize("target", ["../../secret.yaml", "absolute"])
@pytest.mark.parametrize("place", ["models/evil.yaml", "platforms/evil.yaml", "locks/evil.txt"])
def test_a_link_out_of_the_folder_is_not_read(folder: Path, tmp_path: Path, place: str, target: str) -> None:
    link = folder / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "secret.yaml" if target == "absolute" else target)
    said = refused(drivebuild("--recipes", str(folder), "list"), 3)
    assert "leads out of the folder" in said
    assert "hunter2" not in said


def test_a_folder_that_is_a_link_is_not_read(folder: Path, tmp_path: Path) -> None:
    (folder / "components2").symlink_to(tmp_path / "elsewhere")
    said = refused(drivebuild("--recipes", str(folder), "list"), 3)
    assert "leads out of the folder" in said
    assert "hunter2" not in said


def test_a_link_within_the_folder_and_a_folder_behind_a_link_are_read(folder: Path, tmp_path: Path) -> None:
    (folder / "kept.txt").write_text((folder / "models/toy.yaml").read_text())
    (folder / "models/toy.yaml").unlink()
    (folder / "models/toy.yaml").symlink_to("../kept.txt")
    (tmp_path / "link").symlink_to(folder)
    assert "toy" in read_catalog(shipped=tmp_path / "link").models


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_never_ends_is_not_waited_for(folder: Path, make: object) -> None:
    make(folder / "models/evil.yaml")  # type: ignore[operator]
    said = refused(drivebuild("--recipes", str(folder), "list"), 3)
    assert "evil.yaml: no ordinary file" in said or "leads out of the folder" in said


@pytest.mark.parametrize("place", ["models/evil.yaml", "locks/plat/evil.x86_64.txt"])
def test_what_is_too_large_is_not_read_to_its_end(folder: Path, place: str) -> None:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(MOST_BYTES * 1000)
    assert "larger than" in refused(drivebuild("--recipes", str(folder), "list"), 3)


def test_a_lock_that_is_no_text(folder: Path) -> None:
    (folder / "locks").mkdir()
    (folder / "locks/evil.txt").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in refused(drivebuild("--recipes", str(folder), "list"), 3)


@pytest.mark.parametrize("name", ["\x1b[2J\x1b[31mgone", "a\u202eb", "a\x07b"])
def test_a_files_name_cannot_steer_a_terminal(folder: Path, name: str) -> None:
    (folder / f"models/{name}.yaml").write_text("nonsense: true\n")
    said = refused(drivebuild("--recipes", str(folder), "list"), 3)
    assert not set(said) & set("\x1b\x07\u202e")
    assert ".yaml" in said


# --- where a rendered tree may be written -----------------------------------------------------------


def test_nothing_is_rendered_through_a_link(tmp_path: Path) -> None:
    """A stranger's checkout, in which `drivebuild render` is run: its folders may be links."""
    home, checkout = tmp_path / "home", tmp_path / "checkout"
    home.mkdir()
    checkout.mkdir()
    (home / "notes").write_text("mine")
    (checkout / "compose").symlink_to(home)
    said = refused(drivebuild("render", "--output", str(checkout)), 5)
    assert "leads out of" in said
    assert [path.name for path in home.iterdir()] == ["notes"]
    assert not (checkout / "dockerfiles").exists(), "nothing is half written"


def test_what_is_behind_a_link_is_not_shown_as_a_difference(tmp_path: Path) -> None:
    (tmp_path / "private").write_text(PRIVATE)
    checkout = tmp_path / "checkout"
    path = checkout / "compose/streampetr.yaml"
    path.parent.mkdir(parents=True)
    path.symlink_to("../../private")
    assert "hunter2" not in refused(drivebuild("render", "--output", str(checkout), "--check"), 8)
    assert drivebuild("render", "--output", str(checkout)).exit_code == 0
    assert not path.is_symlink()
    assert (tmp_path / "private").read_text() == PRIVATE


# --- what its stages may be called -----------------------------------------------------------------

TAKEN = (
    *("base", "build-base", "common", "env", "image", "manifest", "os-packages", "packages-model", "python-stock"),
    *("scratch", "src-toy-source", "tools", "tree", "uv"),
)


@pytest.mark.parametrize("name", TAKEN)
def test_a_component_takes_no_stages_place(name: str) -> None:
    """Such a stage would stand where the reader thinks drivebuild's own does: `manifest` writes what an image is of."""
    files = toy(components=f'[{{name: {name}, version: "1.0"}}]')
    files[f"components/{name}.yaml"] = COMPONENT.replace("name: ops", f"name: {name}")
    with pytest.raises(PlanError, match=f"two stages would have the name '{name}'"):
        make_plan(with_locks(load(texts(files), {})), "toy")


def test_the_shipped_stages_are_all_tried() -> None:
    plan = make_plan(with_locks(load(texts(toy()), {})), "toy")
    own = {"beside-torch", "torch", "packages-installer", "packages-framework", "packages-adapter", "packages-common"}
    shipped = {name for name in plan.names if name != "ops" and not name.startswith("src-")}
    assert shipped - set(TAKEN) <= own


@pytest.mark.parametrize("name", ["../../x", "a/b", "/etc/x", "-rf", ".", "..", "A", "a b", "a\nb", "x" * 300, "con:x"])
def test_no_name_leads_out_of_the_output(name: str) -> None:
    """A model's and a platform's name are folders below `dockerfiles/`."""
    for path, key in (("models/toy.yaml", "name: toy"), ("platforms/plat.yaml", "name: plat")):
        files = toy()
        files[path] = files[path].replace(key, f"name: {json.dumps(name)}")
        assert json.dumps(name) in files[path]
        with pytest.raises(RecipeError):
            load(texts(files), {})


DIRECTIVE = re.compile(r"#\s*[A-Za-z][A-Za-z0-9]*\s*=\s*\S")


@pytest.mark.parametrize("value", ["syntax=evil.example/frontend", "escape=`", "check=skip=all", " syntax = evil"])
def test_no_value_is_a_directive_of_the_parser(value: str, templates: dict[str, str]) -> None:
    """BuildKit runs what `# syntax=IMAGE` on the first lines names in its own place; any other line ends that."""
    files = toy(title=json.dumps(value), summary=json.dumps(value), licence=json.dumps(value), note=json.dumps(value))
    text = render_dockerfile(make_plan(with_locks(load(texts(files), {})), "toy"), templates)
    assert value.strip() in text
    assert not DIRECTIVE.match(text.splitlines()[0])
    assert text.startswith("# NOTE: ")


# --- which steps have a network --------------------------------------------------------------------

# What asks a mirror or an index, and what may ask a compile cache on a server (docs/optimising.md).
ASKS = re.compile(
    r"base|build-base|beside-torch|common|env|uv|torch|torch-full|torch-npu|pytorch|cann|toolchain(-[a-z0-9]+)?|(src|sdist)-.*"
    r"|python-(stock|lto)|libraries-(amd64|arm64)|tcmalloc|allocators|mmcv|driving-sdk|detectron2|mindspeed"
)
SECRETS = re.compile(r"--mount=type=secret,id=(netrc|network)\b")


def steps() -> Iterator[tuple[str, str, str]]:
    """Yield file, stage and text of every RUN of every rendered Dockerfile."""
    for path in sorted((REPOSITORY / "dockerfiles").glob("*/*/Dockerfile")):
        stage = ""
        for item in parse(path.read_text()):
            if item.kind == "FROM":
                stage = item.text.split()[-1]
            elif item.kind == "RUN":
                yield f"{path.parent.parent.name}/{path.parent.name}", stage, item.text


def test_what_works_on_a_models_own_files_has_no_network() -> None:
    found = list(steps())
    assert len(found) > 500
    for file, stage, text in found:
        isolated = "--network=none" in text.split()
        if not ASKS.fullmatch(stage):
            assert isolated, f"{file}: {stage}: {text[:200]}"
        own = re.search(r"strict_apply|/tools/manifest\.py|zipfile -e", text)
        if own or (stage == "env" and "--no-cache --no-index" in text):
            assert isolated, f"{file}: {stage}: {text[:200]}"
        assert not (isolated and SECRETS.search(text)), f"{file}: {stage}: a credential where nothing is asked"


def test_credentials_are_where_something_is_asked_and_nowhere_else() -> None:
    with_secrets = {stage for _, stage, text in steps() if SECRETS.search(text)}
    allowed = re.compile(r"uv|torch|torch-full|common|env|(src|sdist)-.*|toolchain(-[a-z0-9]+)?|cann|beside-torch")
    assert with_secrets
    assert not [stage for stage in with_secrets if not allowed.fullmatch(stage)]


def test_no_source_archive_runs_where_credentials_are() -> None:
    """What asks an index runs nothing of what it gets: one script that fetches, or uv and pip with wheels alone."""
    texts, built = [], set()
    for file, stage, text in steps():
        if stage.startswith("wheel-"):
            built.add(stage)
            assert "--network=none" in text.split(), f"{file}: {stage}"
            assert "type=secret" not in text, f"{file}: {stage}"
            assert "type=cache" not in text, f"{file}: {stage}: others install from it"
        if SECRETS.search(text):
            texts.append(text)
            where = f"{file}: {stage}: {text[:200]}"
            assert not re.search(
                r"setup\.py|pip download|--no-build-isolation(?! .*adapter)|--no-binary", text, re.DOTALL
            ), where
            assert "--no-build " in text or stage not in ("env", "common"), where
    assert any("index_file.py" in text for text in texts)
    assert {"wheel-trimesh-2.35.39", "wheel-fvcore-0.1.5.post20221221"} <= built


def test_locks_name_no_source_archive_where_it_would_be_built_with_a_network() -> None:
    """Of the framework, its adapter and uv: refused, not built."""
    archive = f"old==1.0 --hash=sha256:{'c' * 64} # old-1.0.tar.gz\n"
    for lock in ("plat/framework", "plat/adapter", "installer/uv"):
        files = toy()
        files["platforms/plat.yaml"] += "adapter: [torch_npu]\n"
        known = with_locks(load(texts(files), {}))
        locks = {path: text + "\n" + archive if path.startswith(lock) else text for path, text in known.locks.items()}
        with pytest.raises(PlanError, match=r"has a source archive, old-1\.0\.tar\.gz: these packages come as wheels"):
            make_plan(load(texts(files), locks), "toy")


def test_no_step_mounts_anything_of_the_host() -> None:
    """Binds are of stages, caches are named, secrets are drivebuild's own; nothing is privileged."""
    secrets = {"ca-bundle", "max-jobs", "netrc", "network", "os-sources", "compile-cache"}
    for file, stage, text in steps():
        where = f"{file}: {stage}"
        assert "--security" not in text.split("RUN", 1)[-1][:200], where
        assert "--network=host" not in text, where
        for mount in re.findall(r"--mount=(\S+)", text):
            fields = dict(part.partition("=")[::2] for part in mount.split(","))
            assert fields.get("type") in ("bind", "cache", "secret", "tmpfs"), where
            if fields["type"] == "bind":
                # Without `from` it would be the build context, which is an empty folder.
                assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", fields.get("from", "")), where
            if fields["type"] == "secret":
                assert fields["id"] in secrets, where


def test_compose_has_nothing_of_a_recipe_but_names_and_numbers(templates: dict[str, str]) -> None:
    """Compose would put the caller's own variables in place of `${NAME}`, and mount what a volume names."""
    evil = "${AWS_SECRET_ACCESS_KEY} $HOME /:/host"
    job = "{{name: train, title: {0}, command: [{0}], environment: {{EVIL: {0}}}, npus: 1, outputs: [out]}}"
    jobs = [f"[{job.format(json.dumps(text))}]" for text in ("plain", evil)]
    documents = []
    for text in jobs:
        catalog = with_locks(load(texts(toy(jobs=text, environment=f"{{EVIL: {json.dumps(evil)}}}")), {}))
        documents.append(yaml.safe_load(render_compose(catalog, catalog.models["toy"], templates)))
    assert documents[0] == documents[1]
    (service,) = documents[0]["services"].values()
    assert service["volumes"]
    for volume in service["volumes"]:
        places = (
            r"\$\{(NUSCENES|PREPARED|WEIGHTS|RUNS)_ROOT:-.*\}(/toy)?|/usr/local/.*|/etc/ascend_install\.info|toy-home"
        )
        assert re.fullmatch(places, volume["source"])
