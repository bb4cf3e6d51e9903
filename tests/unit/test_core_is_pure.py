"""The design's arrows: what the pure packages must not import, and who may import typer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.files import REPOSITORY

PACKAGE = REPOSITORY / "builder"
PURE = [path for name in ("recipe", "plan", "render") for path in sorted((PACKAGE / name).rglob("*.py"))]
FORBIDDEN = {
    *("os", "subprocess", "socket", "docker", "datetime", "random", "time", "urllib", "shutil", "tempfile"),
    *("io", "glob", "platform", "getpass", "secrets", "uuid", "http", "requests", "threading", "multiprocessing"),
}
ARROWS = {
    # A package, and what of builder it may import besides errors and paths.
    "recipe": {"recipe"},
    "plan": {"recipe", "plan"},
    "render": {"recipe", "plan", "render"},
    "source": {"recipe", "plan", "render", "source"},
    "engine": {"recipe", "plan", "render", "engine", "fleet"},
    "dataset": {"recipe", "plan", "render", "dataset"},
    "web": {"web"},
    "training": {"recipe", "plan", "render", "training", "web"},
    "bench": {"recipe", "plan", "render", "bench", "web"},
    "readme": {"recipe", "plan", "readme"},
    "footprint": {"recipe", "plan", "render", "footprint", "web"},
    "fleet": {"fleet", "web"},
    "reproduce": {"reproduce"},
    "provenance": {"provenance"},
}
ANYBODY = {"errors", "paths", "patience", "pieces", "signals", "__version__"}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of every import in a file, at its top and in its functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_core_is_pure(path: Path) -> None:
    for module, name in imports(path):
        assert module.split(".")[0] not in FORBIDDEN, f"{path} imports {module}"
        # PurePosixPath only computes; Path reads the disk.
        assert module != "pathlib" or name in ("PurePosixPath", "PurePath"), f"{path} imports pathlib.{name}"
        assert module != "builder.paths", f"{path} knows where files are"
        assert module not in ("builder.signals", "builder.patience"), f"{path} is a process of its own"


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_core_opens_no_file(path: Path) -> None:
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "exec", "eval", "__import__", "input", "print"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_arrows_go_one_way(path: Path) -> None:
    package = path.relative_to(PACKAGE).parts[0]
    for module, name in imports(path):
        if package != "cli":
            assert module.split(".")[0] not in ("typer", "click"), f"{path} imports {module}"
        full = f"{module}.{name}" if module == "builder" else module
        if full.removeprefix("builder.") and full.startswith("builder.") and package in ARROWS:
            target = full.split(".")[1]
            assert target in ARROWS[package] | ANYBODY, f"{path} imports {full}"
