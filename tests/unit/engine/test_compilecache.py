"""`--compile-cache` without an engine: what may be named, what a folder must be, and what is put into it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.runner import RecordingRunner

from builder.engine.compilecache import Folder, Helper, Server, bring, collect, open_folder, parse_compile_cache
from builder.engine.process import Argv, Result
from builder.errors import BuildError, UsageError
from builder.plan.compilers import compile_caches, compiler_inputs
from builder.plan.make import make_plan
from builder.recipe.types import Catalog
from builder.render.compiles import NAMES, render_bring, render_collect

RESULT, MANIFEST = "4/1/d4kr73jo85a5kb0ndbh4la2b71ikmssR", "1/2/2d37rqfhr80ja6i12ldomg6267hji8cM"


# --- what may be named -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://cache.example", "http://me:word@cache.example:8080/a", "redis://10.0.0.7:6379/0"]
)
def test_servers(url: str) -> None:
    cache = parse_compile_cache(url, offline=False, no_cache=True)
    assert isinstance(cache, Server)
    assert cache.url == url
    assert "word" not in cache.shown
    assert cache.shown.endswith(url.rpartition("@")[2].removeprefix("http://").removeprefix("redis://"))


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("https://me:word@cache.example/a", "ccache does not speak TLS", "http:// or redis://"),
        ("file:///var/compiles", "a folder is named by its path", "--compile-cache /var/compiles"),
        ("ftp://cache.example", "there is no ftp://", "http"),
        ("htp://cache.example", "there is no htp://", "did you mean 'http'?"),
        ("http://", "no host", ""),
        ("http://cache.example:port/", "Port could not be cast", ""),
        ("http://cache.example/a http://other.example", "white space", ""),
        ("http://cache.example/$HOME", "white space, '$'", ""),
        ("http://cache.example/\n", "white space", ""),
        ("http://localhost:8080", "localhost is the build itself", "its name, or its address"),
        ("redis://127.0.0.1", "127.0.0.1 is the build itself", "its name, or its address"),
        ("http://localhost|read-only=true", "localhost is the build itself", "its name, or its address"),
        ("http://[::1]:8080", "::1 is the build itself", "its name, or its address"),
    ],
)
def test_what_ccache_could_not_use_is_said(text: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_compile_cache(text, offline=False, no_cache=False)
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert "word" not in caught.value.message + caught.value.hint


def test_a_server_wants_a_network() -> None:
    with pytest.raises(UsageError, match="--offline"):
        parse_compile_cache("http://cache.example", offline=True, no_cache=False)
    assert isinstance(parse_compile_cache("compiles", offline=True, no_cache=False), Folder)


def test_a_folder_wants_the_cache_mounts() -> None:
    with pytest.raises(UsageError, match="--no-cache"):
        parse_compile_cache("compiles", offline=False, no_cache=True)


# --- what a folder must be -------------------------------------------------------------------------


def test_a_folder_is_made_and_known_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "new" / "compiles")
    open_folder(folder)
    open_folder(folder)
    assert [path.name for path in folder.path.iterdir()] == ["CACHEDIR.TAG"]
    assert (folder.path / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match=r"neither empty nor a compile cache"):
        open_folder(Folder(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file: File exists"):
        open_folder(Folder(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"Not a directory"):
        open_folder(Folder(tmp_path / "file" / "below"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; tests/docker has a read-only disk")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(UsageError, match="Permission denied"):
        open_folder(Folder(tmp_path))


# --- in and out ------------------------------------------------------------------------------------


class Builds(RecordingRunner):
    """A runner whose builds leave files where the command says."""

    files: Mapping[str, str] = {}

    def run(self, argv: Argv, *, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Result:
        result = super().run(argv, stdin=stdin, env=env)
        output = argv[argv.index("--output") + 1]
        for name, text in self.files.items() if output.startswith("type=local") else ():
            path = Path(output.removeprefix("type=local,dest="), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return result


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "compiles")
    open_folder(made)
    return made


@pytest.fixture
def runner() -> Builds:
    return Builds()


@pytest.fixture
def helper(runner: Builds, templates: dict[str, str]) -> Helper:
    return Helper(runner=runner, templates=templates, base="base:1", images=(("base:1", "mirror.example/base:1"),))


def test_an_empty_folder_starts_no_build(folder: Folder, helper: Helper, runner: Builds) -> None:
    assert bring(folder, "cache", helper) == 0
    (folder.path / "cache").mkdir()
    (folder.path / "cache" / "ccache.conf").write_text("prefix_command = evil\n")
    assert bring(folder, "cache", helper) == 0
    assert runner.asked == []


def test_both_builds_have_no_network_and_run_each_time(folder: Folder, helper: Helper, runner: Builds) -> None:
    runner.files = {RESULT: "object"}
    assert collect(folder, "cache", helper) == 1
    assert bring(folder, "cache", helper) == 1
    for command in runner.asked:
        assert command[command.index("--network") + 1] == "none"
        assert "base:1=docker-image://mirror.example/base:1" in command
        # It would give the mount away.
        assert "--no-cache" not in command
    values = [word for command in runner.asked for word in command if word.startswith("ONCE=")]
    assert len(set(values)) == 2


def test_results_stay_and_of_manifests_the_longer_one(folder: Folder, helper: Helper, runner: Builds) -> None:
    runner.files = {RESULT: "object", MANIFEST: "one, two"}
    assert collect(folder, "cache", helper) == 2
    runner.files = {RESULT: "another object", MANIFEST: "one", "0/ccache.conf": "", "4/1/ShortR": ""}
    assert collect(folder, "cache", helper) == 0
    place = folder.path / "cache"
    assert {path.relative_to(place).as_posix(): path.read_text() for path in place.rglob("*") if path.is_file()} == {
        RESULT: "object",
        MANIFEST: "one, two",
    }
    runner.files = {MANIFEST: "one, two, three"}
    assert collect(folder, "cache", helper) == 1
    assert (place / MANIFEST).read_text() == "one, two, three"


def test_a_failed_build_leaves_the_folder_as_it_was(folder: Folder, helper: Helper, runner: Builds) -> None:
    runner.files = {RESULT: "object"}
    runner.answers = {("docker",): Result(1, b"", b"#9 copying files\nERROR: failed to solve: context canceled")}
    with pytest.raises(BuildError) as caught:
        collect(folder, "cache", helper)
    assert "cache could not be filled\n  | #9 copying files\n  | ERROR" in caught.value.message
    assert [path.name for path in folder.path.rglob("*") if path.is_file()] == ["CACHEDIR.TAG"]


# --- which mounts, and what is said of them --------------------------------------------------------


def test_the_caches_of_a_plan(catalog: Catalog) -> None:
    plan = make_plan(catalog, "streampetr", platform="debian-12-cpu")
    assert compile_caches(plan, "image") == compile_caches(plan, "mmcv") == ("drivebuild-ccache-debian-12-gcc",)
    assert compile_caches(plan, "torch") == ()


def test_another_tool_set_has_another_cache() -> None:
    one = compiler_inputs("debian-12", "gcc", "gcc", "g++")
    other = compiler_inputs("debian-12", "clang-14", "/usr/lib/llvm-14/bin/clang", "/usr/lib/llvm-14/bin/clang++")
    assert one["cache"] != other["cache"]


@pytest.mark.parametrize("render", [render_bring, render_collect])
def test_only_what_ccache_names_goes_in_and_out(render: object, templates: dict[str, str]) -> None:
    text = render(templates, base="base:1", cache="cache")  # type: ignore[operator]
    assert f"-regex '{NAMES}'" in text
    assert "--mount=type=cache,id=cache,target=/ccache" in text
    for name in (RESULT, MANIFEST, f"./{RESULT}"):
        assert re.fullmatch(NAMES, name)
    for name in ("ccache.conf", "tmp/x", "1/2/stats", "1/2/CACHEDIR.TAG", "../1/2d37rqfhr80ja6i12ldomg6267hji8cM"):
        assert not re.fullmatch(NAMES, name)
