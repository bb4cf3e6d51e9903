"""`lock` and source archives, with the real uv: none of their programs runs here, and the solution is what it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.packages import WANTED, index, metadata, page, sdist, wheel

from builder.engine.process import Result, SystemRunner
from builder.errors import BuildError, SourceError
from builder.source import unbuilt
from builder.source.archives import Archives
from builder.source.index import archive_of
from builder.source.lock import find_uv, resolve
from builder.source.network import Network
from builder.source.probe import ask_all
from builder.source.unbuilt import check_holds, held_words, refused
from builder.source.wishes import Question

PYPROJECT = "[build-system]\nrequires = {}\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
HERE = {"python": "3.11", "machine": "x86_64"}
Reply = Mapping[str, Any]


@pytest.fixture(autouse=True)
def guard() -> None:
    """Stand in for the guard of this folder: uv and an index on this machine are the point."""


class Shelf(dict[str, bytes]):
    """What the index has: a file becomes part of its package's page."""

    def put(self, name: str, body: bytes) -> None:
        self[f"/f/{name}"] = body
        package = name.partition("-")[0]
        there = {path.removeprefix("/f/"): body for path, body in self.items() if path.startswith(f"/f/{package}-")}
        self[f"/simple/{package}/"] = page(there)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """Return what is in the only index, on this machine."""
    for name in [name for name in os.environ if name.startswith("UV_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    shelf = Shelf()
    with index("127.0.0.1", shelf) as (port, _):
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{port}/simple")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        yield shelf


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Return the file that is there when a program of an archive ran."""
    return tmp_path / "ran"


def evil(shelf: Shelf, ran: Path, version: str = "2.0", *, kind: str = "setup.py") -> None:
    """Put an archive on the shelf whose program leaves a trace."""
    trace = f"open({str(ran)!r}, 'w').close()\n"
    files = {"setup_py": f"{trace}from setuptools import setup\nsetup(name='evil', version='{version}')\n"}
    if kind != "setup.py":
        files = {"backend_py": trace, "pyproject_toml": PYPROJECT.format("[]")}
    shelf.put(f"evil-{version}.tar.gz", sdist("evil", version, **files))


def run(argv: tuple[str, ...]) -> tuple[int, str]:
    done = SystemRunner().run(argv)
    return done.code, f"{done.text}\n{done.complaint}"


def archives(box: Callable[[Path, Path | None, Sequence[str]], Reply]) -> Archives:
    return Archives(ask=lambda argv: SystemRunner().run(argv), box=box, network=Network(), say=lambda _: None)


def says(*requires: str, name: str = "evil", version: str = "2.0") -> Archives:
    return archives(lambda *_: {"metadata": metadata(name, version, *requires)})


@pytest.mark.parametrize("kind", ["setup.py", "in-tree backend"])
def test_a_newer_archive_is_locked_and_nothing_of_it_runs(shelf: Shelf, ran: Path, kind: str) -> None:
    """With uv's --no-build it would be the older wheel, without a word."""
    evil(shelf, ran, kind=kind)
    shelf.put("evil-1.0-py3-none-any.whl", wheel("evil", "1.0"))
    shelf.put("fine-1.0-py3-none-any.whl", wheel("fine", "1.0"))
    lines = resolve(WANTED, run, says("fine>=1 ; python_version > '3'", "six ; extra == 'more'"))
    assert [line.partition(" --hash")[0] for line in lines] == ["evil==2.0", "fine==1.0"]
    assert lines[0].endswith(" # evil-2.0.tar.gz")
    assert not ran.exists()


def test_as_uv_runs_by_itself_the_archive_does_leave_a_trace(shelf: Shelf, ran: Path, tmp_path: Path) -> None:
    evil(shelf, ran, kind="in-tree backend")
    (tmp_path / "requirements.in").write_text("evil\n")
    code, _ = run((find_uv(), "pip", "compile", str(tmp_path / "requirements.in"), "--no-config"))
    assert code != 0
    assert ran.exists()


def test_settings_and_the_interpreter_of_the_folder_one_stands_in_are_not_used(
    shelf: Shelf, ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's folder: uv by itself runs the Python of a .venv there, to ask it what it is."""
    folder = tmp_path / "theirs"
    (folder / ".venv/bin").mkdir(parents=True)
    python = folder / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\n>{ran}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / ".venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    (folder / "uv.toml").write_text('index-url = "http://127.0.0.1:9/simple"\n')
    (folder / "pyproject.toml").write_text('[tool.uv]\nconstraint-dependencies = ["evil<1"]\n')
    shelf.put("evil-1.0-py3-none-any.whl", wheel("evil", "1.0"))
    monkeypatch.chdir(folder)
    assert resolve(WANTED, run, says())[0].startswith("evil==1.0 ")
    question = Question(kind="index", host="", address="evil", python="3.11")
    (answer,) = ask_all((question,), Network(), SystemRunner()).values()
    assert answer.good, answer.text
    assert not ran.exists()
    (folder / "requirements.in").write_text("evil\n")
    run((find_uv(), "pip", "compile", "requirements.in", "--no-config"))
    assert ran.exists(), "so the test can tell"


def test_a_wheel_is_asked_by_nobody(shelf: Shelf) -> None:
    shelf.put("evil-1.0-py3-none-any.whl", wheel("evil", "1.0"))

    def box(*_: object) -> Reply:
        raise AssertionError

    assert resolve(WANTED, run, archives(box))[0].startswith("evil==1.0 --hash=sha256:")


def test_one_archive_that_needs_another(shelf: Shelf, ran: Path) -> None:
    evil(shelf, ran)
    shelf.put("also-1.tar.gz", sdist("also", "1", setup_py=f"open({str(ran)!r}, 'w')"))
    texts = {"archive.tar.gz": iter((metadata("evil", "2.0", "also"), metadata("also", "1")))}
    lines = resolve(WANTED, run, archives(lambda path, *_: {"metadata": next(texts[path.name])}))
    assert [line.rpartition(" # ")[2] for line in lines] == ["also-1.tar.gz", "evil-2.0.tar.gz"]
    assert not ran.exists()


def test_where_a_file_is_is_asked_without_running_it(shelf: Shelf, ran: Path) -> None:
    evil(shelf, ran, kind="in-tree backend")
    found = archive_of("evil", "2.0", python="3.11", architecture="x86_64", ask=lambda argv: SystemRunner().run(argv))
    assert found.name == "evil-2.0.tar.gz"
    assert found.url.endswith("/f/evil-2.0.tar.gz")
    assert not ran.exists()


def test_no_engine_is_one_error_that_names_the_package(shelf: Shelf, ran: Path) -> None:
    evil(shelf, ran)

    def box(*_: object) -> Reply:
        raise BuildError("no engine answers", hint="start docker")

    with pytest.raises(SourceError) as caught:
        resolve(WANTED, run, archives(box))
    assert "evil 2.0 has no wheel for Python 3.11 on x86_64, and its source archive" in caught.value.message
    assert caught.value.message.endswith("no engine answers")
    assert caught.value.hint == "start docker; or pin a version that has a wheel"
    assert not ran.exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (says("x @ file:///etc/passwd"), "by an address, which is not taken: file:///etc/passwd"),
        (says("x @ git+ssh://host/x"), "by an address"),
        (says("-r /etc/passwd"), "its metadata is wrong"),
        (says(name="other"), 'it says to be "other" 2.0'),
        (says(version="2.1"), 'it says to be "evil" 2.1'),
        (says(version="new"), "its metadata is wrong"),
        (archives(lambda *_: {"metadata": "\x00" * 100}), "its metadata is wrong"),
        (archives(lambda *_: {"requires": "setuptools"}), "no list of texts"),
        (archives(lambda *_: {"requires": [{}]}), "no list of texts"),
        (archives(lambda *_: {"requires": ["x @ file:///etc/passwd"]}), "by an address"),
        (archives(lambda *_: {"requires": ["--index-url=https://x"]}), "its metadata is wrong"),
        (archives(lambda *_: {"requires": ["fine"]}), "does not say which Python"),
        (
            archives(lambda *_: {"requires": ["fine"], **HERE}),
            "other build requirements",
        ),
        (archives(lambda *_: {"requires": ["gone"], **HERE}), "does not come as wheels"),
        (archives(lambda *_: {}), "no list of texts"),
    ],
)
def test_what_an_archive_says_is_checked(shelf: Shelf, ran: Path, asked: Archives, said: str) -> None:
    evil(shelf, ran)
    shelf.put("fine-1.0-py3-none-any.whl", wheel("fine", "1.0"))
    with pytest.raises(SourceError) as caught:
        resolve(WANTED, run, asked)
    assert said in caught.value.message
    assert "evil 2.0 has no wheel" in caught.value.message
    assert not ran.exists()


def test_what_a_backend_needs_comes_as_wheels_and_an_archive_is_none(shelf: Shelf, ran: Path) -> None:
    evil(shelf, ran)
    shelf.put(
        "tool-1.0.tar.gz",
        sdist("tool", "1.0", backend_py=f"open({str(ran)!r}, 'w')", pyproject_toml=PYPROJECT.format("[]")),
    )
    asked = archives(lambda *_: {"requires": ["tool"], **HERE})
    with pytest.raises(SourceError, match="what it is built with does not come as wheels: tool"):
        resolve(WANTED, run, asked)
    assert not ran.exists()


def test_what_a_backend_needs_is_handed_over_unpacked(shelf: Shelf, ran: Path) -> None:
    evil(shelf, ran)
    shelf.put("tool-1.0-py3-none-any.whl", wheel("tool", "1.0", files={"tool.py": "x = 1"}))
    seen: list[tuple[list[str], list[str]]] = []

    def box(_: Path, library: Path | None, granted: Sequence[str]) -> Reply:
        seen.append((list(granted), sorted(path.name for path in library.glob("tool*")) if library else []))
        ready = {"metadata": metadata("evil", "2.0")}
        return ready if library else {"requires": ["tool", "tool"], **HERE}

    assert len(resolve(WANTED, run, archives(box))) == 1
    assert seen == [([], []), (["tool"], ["tool-1.0.dist-info", "tool.py"])]


def test_an_archive_is_asked_once_for_all_locks(shelf: Shelf, ran: Path) -> None:
    evil(shelf, ran)
    count: list[int] = []

    def box(*_: object) -> Reply:
        count.append(1)
        return {"metadata": metadata("evil", "2.0")}

    asked = archives(box)
    solved: list[tuple[str, ...]] = []

    def noted(argv: tuple[str, ...]) -> tuple[int, str]:
        solved.append(argv)
        return run(argv)

    needed = []
    for architecture in ("x86_64", "aarch64", "x86_64"):
        before = len(solved)
        resolve(replace(WANTED, architecture=architecture), noted, asked)
        needed.append(len(solved) - before)
    assert len(count) == 1
    # Where it is known to have no wheel, uv does not have to stop at it first.
    assert needed[1:] == [2, 1]


# --- whether uv is held ----------------------------------------------------------------------------


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unbuilt, "_checked", set())


def test_this_uv_is_held(unchecked: None) -> None:
    check_holds(find_uv(), run)
    assert unbuilt._checked == {find_uv()}


def test_a_uv_that_would_run_it_is_refused(unchecked: None) -> None:
    def loose(argv: tuple[str, ...]) -> tuple[int, str]:
        place = argv.index("--python")
        return run(tuple(word for word in (*argv[:place], *argv[place + 2 :]) if word != "--no-build-isolation"))

    with pytest.raises(SourceError, match="cannot be kept from running programs of source archives"):
        check_holds(find_uv(), loose)
    assert not unbuilt._checked


def test_a_uv_whose_words_are_others_is_refused(unchecked: None) -> None:
    def other(argv: tuple[str, ...]) -> tuple[int, str]:
        status, said = run(argv)
        return status, said.replace("Failed to build", "Could not build")

    with pytest.raises(SourceError, match="does not say which source archive it may not build"):
        check_holds(find_uv(), other)


def test_the_interpreter_that_uv_builds_with_ends_at_once(tmp_path: Path) -> None:
    words = held_words(tmp_path)
    python = words[words.index("--python") + 1]
    runner = SystemRunner()
    assert runner.run((python, "-c", "print('ran')")) == Result(97)
    assert runner.run((python, "-I", "-c", "print('asked')")).text == "asked"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("error: Failed to build `a-b==1.0+x`\n  cause: Call to `b.f` failed (exit status: 97)", ("a-b", "1.0+x")),
        ("error: Failed to build\n   `a==1`\n  cause: Call to `b.f` failed (exit status:\n      97)", ("a", "1")),
        ("error: Failed to build `a==1`\n  cause: Call to `b.f` failed (exit status: 1)", None),
        ("error: Failed to build `a @ https://x`\n exit status: 97", None),
        ("error: No solution found", None),
    ],
)
def test_only_what_was_kept_from_it_is_taken_for_that(said: str, found: tuple[str, str] | None) -> None:
    assert refused(said) == found
