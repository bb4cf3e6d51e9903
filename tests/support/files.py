"""Recipe files as texts: the shipped ones, and a toy set small enough to change in a table's row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from builder import paths
from builder.recipe.load import RecipeText

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests"


def shipped() -> dict[str, bytes]:
    """Return every shipped recipe file by its path below the recipe folder."""
    return {
        path.relative_to(paths.RECIPES).as_posix(): path.read_bytes()
        for path in sorted(paths.RECIPES.rglob("*.yaml"))
        if path.relative_to(paths.RECIPES).parts[0] != "locks"
    }


def texts(files: Mapping[str, bytes | str]) -> list[RecipeText]:
    """Return files as the loader takes them."""
    return [
        RecipeText(path, path, content.encode() if isinstance(content, str) else content)
        for path, content in files.items()
    ]


def without_aarch64(folder: Path) -> Path:
    """Return a new folder of recipes in which debian-12-cpu exists for x86_64 alone."""
    text = (paths.RECIPES / "platforms/debian-12-cpu.yaml").read_text(encoding="utf-8")
    edits = {
        "architectures: [aarch64, x86_64]": "architectures: [x86_64]",
        "libraries: {aarch64: [libgeos-c1v5]}\n": "",
    }
    for old, new in edits.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    target = folder / "one-architecture/platforms/debian-12-cpu.yaml"
    target.parent.mkdir(parents=True)
    target.write_text(text, encoding="utf-8")
    return target.parent.parent


SYSTEM = """\
name: sys
title: A system
manager: apt
runtime: [tini]
build: [gcc]
python_build: [make]
"""

TOOLCHAIN = """\
name: gcc
title: GCC
family: gcc
version: "1"
architectures: [aarch64, x86_64]
systems: [sys]
prefix: /usr
tools: {cc: bin/gcc, cxx: bin/g++, ar: bin/gcc-ar, ranlib: bin/gcc-ranlib, nm: bin/gcc-nm}
"""

PLATFORM = """\
name: plat
title: A platform
accelerator: npu
system: sys
architectures: [aarch64, x86_64]
base: {image: example/base, digest: null, note: not looked up}
cann: {version: "8.1.RC1", adapter: "7.0.0", hdk_recommended: "25.0", hdk_floor: null}
python: {version: "3.8.17", source: py, shared: true, compiler: {stock: gcc, lto: gcc}, profile_task: "-m test --pgo"}
framework: ["torch==2.1.0"]
pins: []
common: [tqdm]
"""

SOURCES = f"""\
sources:
  py: {{type: archive, url: "https://example.org/Python.tgz", sha256: {"a" * 64}}}
  ops: {{type: git, url: "https://example.org/ops.git", commit: {"b" * 40}}}
  sdk: {{type: git, url: "https://example.org/sdk.git", commit: {"c" * 40}}}
"""

COMPONENT = """\
name: ops
title: Operators
template: wheel
package: ops
versions: {"1.0": {npu: ops}, "2.0": {npu: ops}}
"""


def model(name: str = "toy", **changes: str) -> str:
    """Return a small model recipe; `changes` replace or add top-level keys by their YAML text."""
    parts = {
        "name": name,
        "title": f"Model {name}",
        "summary": "A toy",
        "licence": "MIT",
        "readme": f"{{commit: {'d' * 40}, source: sdk, path: README.md}}",
        "platform": "plat",
        "sources": f'{{{name}-source: {{type: git, url: "https://example.org/{name}.git", commit: {"e" * 40}}}}}',
        "tree": f"{{source: {name}-source, directory: Tree}}",
        "requirements": "{packages: [einops]}",
        "components": '[{name: ops, version: "1.0"}]',
        "data": "{dataset: nuscenes, root: data, entries: []}",
        "weights": "[]",
        "jobs": "[{name: train, title: Train, command: [bash, train.sh]}]",
        "results": "[]",
    }
    parts.update(changes)
    return "".join(f"{key}: {value}\n" for key, value in parts.items() if value)


def toy(**changes: str) -> dict[str, str]:
    """Return the files of a sound toy set with one model; `changes` are the model's."""
    return {
        "sources.yaml": SOURCES,
        "systems/sys.yaml": SYSTEM,
        "toolchains/gcc.yaml": TOOLCHAIN,
        "platforms/plat.yaml": PLATFORM,
        "components/ops.yaml": COMPONENT,
        "models/toy.yaml": model(**changes),
    }
