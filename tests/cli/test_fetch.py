"""`drivebuild fetch`: a toy recipe from a git repository, a file server and an index, all of them on this machine."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from support.cli import drivebuild, refused
from support.files import SOURCES, texts, toy
from support.fileserver import FileServer, serve, sha256
from support.repos import Repository

from builder.cli.fetch import _Bar, _Lines
from builder.cli.main import Settings
from builder.engine.process import SystemRunner
from builder.errors import SourceError
from builder.plan.make import make_plan
from builder.plan.needs import FileNeed, Need, plan_needs
from builder.recipe.load import load
from builder.recipe.types import Agreement, Catalog
from builder.source.contexts import make_contexts, missing
from builder.source.fetch import fetch
from builder.source.index import IndexFile, Located, Package, locate
from builder.source.network import Network
from builder.source.store import Store
from builder.source.tally import View

PYTHON = b"the source of a Python " * 1000


@pytest.fixture(autouse=True)
def guard() -> None:
    """Stand in for the folder's guard: every server and repository here is this machine's own."""


# --- a site --------------------------------------------------------------------------------------


def wheel(name: str, version: str, body: str = "") -> bytes:
    held = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(held, "w") as file:
        file.writestr(f"{name}/__init__.py", body)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return held.getvalue()


@dataclass
class Site:
    """A toy recipe whose every source is served here, and a folder for stores."""

    folder: Path
    server: FileServer
    repositories: Mapping[str, Repository]
    catalog: Catalog
    wheels: dict[str, bytes] = field(default_factory=dict)

    @property
    def config(self) -> str:
        return str(self.folder / "drivebuild.yaml")

    @property
    def store(self) -> Store:
        return Store.make(self.folder / "store")

    def needs(self) -> tuple[Need, ...]:
        plan = make_plan(self.catalog, "toy", architecture="x86_64")
        return plan_needs(self.catalog, plan, "x86_64")

    def fetch(self, *words: str) -> str:
        result = drivebuild(
            "--config", self.config, "fetch", "toy", "--arch", "x86_64", "--store", str(self.store.root), *words
        )
        assert result.exit_code == 0, result.output
        return result.output

    def refused(self, *words: str, code: int = 5) -> str:
        return refused(
            drivebuild(
                "--config", self.config, "fetch", "toy", "--arch", "x86_64", "--store", str(self.store.root), *words
            ),
            code,
        )


def publish(server: FileServer, wheels: Mapping[str, bytes]) -> None:
    """Serve wheels as a package index does."""
    for file, content in wheels.items():
        name = file.partition("-")[0]
        server.files[f"/files/{file}"] = content
        page = server.files.get(f"/simple/{name}/", b"<!DOCTYPE html><html><body>")
        link = f'<a href="/files/{file}#sha256={sha256(content)}">{file}</a>'
        server.files[f"/simple/{name}/"] = page + link.encode()

    def as_html(path: str) -> None:
        server.faults[path] = lambda handler, _: handler.answer(200, server.files[path], {"Content-Type": "text/html"})

    for path in [path for path in server.files if path.startswith("/simple/")]:
        as_html(path)


def lock(name: str, version: str, content: bytes) -> str:
    return f"{name}=={version} --hash=sha256:{sha256(content)}\n"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as started:
        yield started


@pytest.fixture
def site(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name in [name for name in os.environ if name.startswith(("GIT_", "UV_", "PIP_")) or "PROXY" in name.upper()]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.base}/simple/")
    repositories = {name: Repository(tmp_path / "repos" / name) for name in ("ops", "sdk", "toy")}
    text = SOURCES
    commits = {}
    for name, made in repositories.items():
        made.write("name.txt", name)
        commits[name] = made.commit()
    text = text.replace("b" * 40, commits["ops"]).replace("c" * 40, commits["sdk"]).replace("a" * 64, sha256(PYTHON))
    server.files["/up/Python.tgz"] = PYTHON
    wheels = {f"{name}-{version}-py3-none-any.whl": wheel(name, version) for name, version in
              (("uv", "0.13.8"), ("numpy", "1.23.5"), ("einops", "0.8.0"))}  # fmt: skip
    publish(server, wheels)
    own = f'{{toy-source: {{type: git, url: "https://example.org/toy.git", commit: {commits["toy"]}}}}}'
    files = {**toy(sources=own), "sources.yaml": text}
    catalog = load(texts(files), {})
    one = {name.partition("-")[0]: content for name, content in wheels.items()}
    numpy, einops = lock("numpy", "1.23.5", one["numpy"]), lock("einops", "0.8.0", one["einops"])
    locks = {}
    for arch in ("x86_64", "aarch64"):
        locks[f"installer/uv.{arch}.txt"] = lock("uv", "0.13.8", one["uv"])
        for part in ("framework", "adapter"):
            locks[f"plat/{part}.{arch}.txt"] = numpy
        locks[f"plat/toy.{arch}.txt"] = numpy + einops
    catalog = msgspec.structs.replace(catalog, locks=locks)
    monkeypatch.setattr(Settings, "catalog", lambda _self: catalog)
    mirrors = {f"https://example.org/{name}.git": made.url for name, made in repositories.items()}
    mirrors["https://example.org/"] = f"{server.base}/up/"
    (tmp_path / "drivebuild.yaml").write_text(json.dumps({"mirrors": mirrors, "upstream": False}))
    found = Site(tmp_path, server, repositories, catalog, wheels)
    # The base image is a registry's; tests/docker has those.
    scratch = found.store.partial("image")
    scratch.write_bytes(b"an image")
    found.store.add("image:example/base@x86_64", scratch, file="base.tar", origin="a test", sha256=sha256(b"an image"))
    return found


@pytest.fixture
def located(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Know the index' answers without uv, which takes a second to ask."""

    def answer(wanted: Iterable[Package], _ask: object) -> Located:
        known = {sha256(content): name for name, content in site.wheels.items()}
        files = {
            one.sha256: IndexFile(
                name=known[one.sha256], url=f"{site.server.base}/files/{known[one.sha256]}", sha256=one.sha256
            )
            for one in wanted
        }
        return Located(files=files, failures={})

    monkeypatch.setattr("builder.source.fetchfiles.locate", answer)


# --- what a person sees --------------------------------------------------------------------------


def test_everything_a_build_needs(site: Site) -> None:
    said = site.fetch("--verify")
    needs = site.needs()
    assert len({need.key for need in needs}) == 7
    assert missing(needs, site.store) == ()
    assert "7 items: 6 new (" in said
    assert "1 there already" in said
    assert "every byte" in said
    assert site.store.verify() == ()


@pytest.mark.usefixtures("located")
def test_a_second_fetch_asks_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.fetch()
    asked = dict(site.server.asked)
    for made in site.repositories.values():
        made.folder.rename(made.folder.with_suffix(".gone"))
    # Neither git nor uv is even looked for.
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("builder.source.fetchfiles.locate", lambda *_: pytest.fail("the index was asked"))
    monkeypatch.setattr(SystemRunner, "run", lambda *_, **__: pytest.fail("a process was started"))
    assert "7 items: 0 new, 7 there already" in site.fetch()
    assert dict(site.server.asked) == asked


@pytest.mark.usefixtures("located")
def test_json_names_what_is_new(site: Site) -> None:
    found = json.loads(site.fetch("--json"))
    assert found["there"] == 1
    assert len(found["new"]) == 6
    assert {one["file"] for one in found["new"]} >= {*site.wheels, "Python.tgz"}
    assert found["bytes"] == sum(one["size"] for one in found["new"]) > len(PYTHON)
    assert json.loads(site.fetch("--json"))["new"] == []


@pytest.mark.usefixtures("located")
def test_only_what_is_missing_is_asked_for(site: Site) -> None:
    site.fetch()
    store = site.store
    (need,) = (need for need in site.needs() if isinstance(need, FileNeed))
    entry = store.find(need.key)
    assert entry
    store.object(entry).unlink()
    site.server.asked.clear()
    assert "7 items: 1 new" in site.fetch()
    assert dict(site.server.asked) == {"/up/Python.tgz": 1}


@pytest.mark.usefixtures("located")
def test_every_failure_is_listed_and_what_worked_stays(site: Site) -> None:
    wrong = site.repositories["ops"]
    wrong.folder.rename(wrong.folder.with_suffix(".gone"))
    del site.server.files["/files/einops-0.8.0-py3-none-any.whl"]
    site.server.files["/up/Python.tgz"] = b"something else"
    text = site.refused()
    assert "3 failures, 3 of 6 fetched" in text
    for part in ("ops: commit", "einops-0.8.0-py3-none-any.whl", "Python.tgz", "sha256 is"):
        assert part in text
    assert "the same command goes on from there" in text
    assert len(missing(site.needs(), site.store)) == 3
    assert site.store.verify() == ()


def test_a_package_the_index_does_not_have_and_one_that_is_another(site: Site) -> None:
    del site.server.files["/simple/einops/"]
    del site.server.faults["/simple/einops/"]
    del site.server.files["/simple/numpy/"]
    publish(site.server, {"numpy-1.23.5-py3-none-any.whl": wheel("numpy", "1.23.5", "changed = True")})
    text = site.refused()
    assert "2 failures, 4 of 6 fetched" in text
    assert "einops 0.8.0 for Python 3.8 on x86_64: uv:" in text
    assert "the index has numpy 1.23.5 for Python 3.8 on x86_64, but no file with sha256" in text


def test_an_index_that_is_not_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple/")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    text = site.refused()
    # uv is for another Python, and so another question.
    assert "2 failures, 3 of 6 fetched" in text
    assert "numpy 1.23.5 for Python 3.8 on x86_64, einops 0.8.0 for Python 3.8 on x86_64: uv: error:" in text


@pytest.mark.usefixtures("located")
def test_another_commit_of_a_source(site: Site) -> None:
    made = site.repositories["toy"]
    made.write("name.txt", "newer")
    commit = made.commit()
    found = json.loads(site.fetch("--pin", f"toy-source={commit}", "--json"))
    assert f"git:{commit}" in {one["key"] for one in found["new"]}


def test_words_that_cannot_be_meant(site: Site, tmp_path: Path) -> None:
    store = ("--store", str(tmp_path / "s"))
    assert "models, or --all" in refused(drivebuild("fetch", *store), 2)
    assert "models, or --all" in refused(drivebuild("fetch", "toy", "--all", *store), 2)
    assert "there is no architecture 'sparc'" in refused(drivebuild("fetch", "toy", "--arch", "sparc", *store), 2)
    assert "needs a store" in refused(drivebuild("fetch", "toy", "--arch", "x86_64"), 2)
    assert "toi" in refused(drivebuild("fetch", "toi", "--arch", "x86_64", *store), 4)
    (tmp_path / "s").mkdir(exist_ok=True)
    (tmp_path / "s/mine.txt").touch()
    assert "not a store, and not empty" in refused(drivebuild("fetch", "toy", "--arch", "x86_64", *store), 5)


@pytest.mark.usefixtures("located")
def test_all_models_of_the_catalog(site: Site) -> None:
    result = drivebuild(
        "--config", site.config, "fetch", "--all", "--arch", "x86_64", "--store", str(site.store.root), "--json"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["there"] == 1


# --- licences ------------------------------------------------------------------------------------


CANN = Agreement(name="cann", url="https://example.org/eula")
BISHENG = Agreement(name="bisheng", url="https://example.org/bisheng")


def test_one_licence_is_not_another(site: Site) -> None:
    stage = "src-compiler"
    need = FileNeed(stage=stage, name="compiler", url="https://example.org/c", sha256=None, file="c", eula=BISHENG)
    with pytest.raises(SourceError, match="of the BiSheng compiler, which only you can accept") as caught:
        fetch((need,), site.store, Network(), SystemRunner(), accepted=("cann",))
    assert caught.value.hint == "read it at https://example.org/bisheng, then add --accept-bisheng-eula"
    assert not site.server.asked


def test_a_licence_is_refused_before_anything_is_asked(site: Site) -> None:
    installers = tuple(
        FileNeed(stage=f"src-{name}", name=name, url=f"https://example.org/{name}", sha256=None, file=name, eula=CANN)
        for name in ("toolkit.run", "kernels.run")
    )
    network = Network(mirrors=(("https://example.org/", (f"{site.server.base}/up/",)),))
    plain = next(need for need in site.needs() if isinstance(need, FileNeed))
    with pytest.raises(Exception, match="which only you can accept") as caught:
        fetch((plain, *installers), site.store, network, SystemRunner())
    assert "toolkit.run" in str(caught.value)
    assert "kernels.run" in str(caught.value)
    assert caught.value.hint == "read it at https://example.org/eula, then add --accept-cann-eula"
    assert not site.server.asked
    for need in installers:
        site.server.files[f"/up/{need.file}"] = need.file.encode()
    done = fetch(installers, site.store, network, SystemRunner(), accepted=("cann",))
    assert len(done.new) == 2
    # What is there was accepted by who fetched it.
    assert fetch(installers, site.store, network, SystemRunner()).new == ()


# --- contexts ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("located")
def test_contexts_of_a_store(site: Site, tmp_path: Path) -> None:
    site.fetch()
    needs = [need for need in site.needs() if need.stage]
    made = make_contexts(needs, site.store, SystemRunner(), folder=tmp_path / "contexts")
    by_stage = {context.stage: context.folder for context in made}
    assert (by_stage["src-ops"] / "name.txt").read_text() == "ops"
    assert (by_stage["src-py"] / "archive/Python.tgz").read_bytes() == PYTHON
    assert [path.name for path in by_stage["packages-model"].iterdir()] == ["einops-0.8.0-py3-none-any.whl"]
    before = sorted(tmp_path.glob("contexts/*"))
    again = make_contexts(needs, site.store, SystemRunner(), folder=tmp_path / "contexts")
    assert again == made
    assert sorted(tmp_path.glob("contexts/*")) == before


# --- uv ------------------------------------------------------------------------------------------


def test_two_versions_of_a_package_and_two_pythons(site: Site) -> None:
    older = wheel("numpy", "1.22.0")
    publish(site.server, {"numpy-1.22.0-py3-none-any.whl": older})
    plain = next(need for need in site.needs() if getattr(need, "name", "") == "numpy")
    import dataclasses

    other = dataclasses.replace(plain, version="1.22.0", sha256=sha256(older))
    arm = dataclasses.replace(plain, python="3.11", architecture="aarch64")
    found = locate((plain, other, arm), lambda argv: SystemRunner().run(argv))
    assert found.failures == {}
    assert {one.name for one in found.files.values()} == {
        "numpy-1.22.0-py3-none-any.whl",
        "numpy-1.23.5-py3-none-any.whl",
    }


# --- how it looks --------------------------------------------------------------------------------


def a_view(**changes: object) -> View:
    facts = {
        "finished": 3,
        "failed": 1,
        "things": 9,
        "done": 1_500_000,
        "total": 3_000_000,
        "unknown": 2,
        "speed": 500_000.0,
        "left": 90.0,
        "running": ("a", "b", "c", "d"),
        "news": ("e: no such file",),
    }
    return View(**{**facts, **changes})


def test_a_log_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    _Lines().show(a_view())
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "e: no such file",
        "3 of 9 things, 1.5 MB of 3.0 MB and more, 500.0 kB/s, 1 min 30 s left, 1 failed: a; b; 2 more",
    ]
    _Lines().show(a_view(running=(), news=()))
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    bar = _Bar()
    bar.show(a_view())
    # A fetch that is over in a moment shows nothing.
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("builder.cli.fetch.LATE", 0.0)
    bar.show(a_view())
    bar.close()
    said = capsys.readouterr().err
    assert "e: no such file" in said
    assert "3 of 9 things" in said
    assert "1 min 30 s left" in said
