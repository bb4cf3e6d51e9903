"""A stand-in for the model's own source: a small tree, a patch for it, and recipes that take StreamPETR's place.

Git hosts may be out of reach, and what is compared does not depend on what the model's files say. Everything else
(Python, torch, mmcv, mmdet, mmdet3d, all requirements) is StreamPETR's own.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path

from builder import paths
from builder.recipe.text import parse

__all__ = ["MODEL", "PLATFORM", "requirements", "write_recipes", "write_sources"]

MODEL = "toypetr"
PLATFORM = "debian-12-cpu"
_ORIGINAL = "".join(f"value_{number} = {number}\n" for number in range(40))


def write_sources(folder: Path, line: str) -> tuple[Path, Path]:
    """Write the model's tree and the folder with its patch; the patch adds `line`. Return both folders."""
    tree, patches = folder / "tree", folder / "patches"
    (tree / "patch").mkdir(parents=True, exist_ok=True)
    patches.mkdir(parents=True, exist_ok=True)
    (tree / "model.py").write_text(_ORIGINAL, encoding="utf-8")
    (tree / "patch" / "toy.py").write_text('"""A file of the model that lies in mmcv."""\n', encoding="utf-8")
    changed = _ORIGINAL.replace("value_20 = 20\n", f"value_20 = 20\n{line}\n")
    (patches / "model.patch").write_text(_patch(_ORIGINAL, changed), encoding="utf-8")
    return tree, patches


def _patch(old: str, new: str) -> str:
    lines = list(
        difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), "a/model.py", "b/model.py")
    )
    index = f"index {_blob(old)[:10]}..{_blob(new)[:10]} 100644\n"
    return "".join(["diff --git a/model.py b/model.py\n", index, *lines])


def _blob(text: str) -> str:
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def write_recipes(folder: Path) -> None:
    """Write recipes of a model like StreamPETR whose own source is the toy tree."""
    data = parse((paths.RECIPES / "models" / "streampetr.yaml").read_bytes(), "streampetr.yaml").data
    git = {"type": "git", "url": "https://toy.invalid/toy.git", "commit": "0" * 40}
    data |= {
        "name": MODEL,
        "title": "A toy in StreamPETR's place",
        "platform": PLATFORM,
        "sources": {"toy-tree": git, "toy-patches": {**git, "commit": "1" * 40}},
        "tree": {
            "source": "toy-tree",
            "directory": "StreamPETR",
            "steps": [{"do": "patch", "source": "toy-patches", "path": "model.patch"}],
        },
        "overlays": [
            {
                "component": "mmcv",
                "steps": [{"do": "copy", "path": "StreamPETR/patch/toy.py", "to": "mmcv/toy.py"}],
            }
        ],
        "jobs": [{"name": "shell", "title": "A shell", "command": ["bash"]}],
        "options": [],
    }
    model = folder / "models" / f"{MODEL}.yaml"
    model.parent.mkdir(parents=True, exist_ok=True)
    # JSON is YAML.
    model.write_text(json.dumps(data, indent=1), encoding="utf-8")
    locks = folder / "locks" / PLATFORM
    locks.mkdir(parents=True, exist_ok=True)
    for lock in (paths.RECIPES / "locks" / PLATFORM).glob("streampetr.*.txt"):
        target = locks / lock.name.replace("streampetr", MODEL)
        target.write_text(lock.read_text(encoding="utf-8"), encoding="utf-8")


def requirements() -> dict[str, str]:
    """Return the rival's framework.txt and requirements.txt: what drivebuild's locks pin, without hashes."""
    folder = paths.RECIPES / "locks" / PLATFORM
    names = {"framework.txt": "framework", "requirements.txt": "streampetr"}
    found: dict[str, list[str]] = {}
    for file, name in names.items():
        lines = (folder / f"{name}.x86_64.txt").read_text(encoding="utf-8").splitlines()
        found[file] = [line.split()[0] for line in lines if line and not line.startswith("#")]
    own = [line for line in found["requirements.txt"] if line not in found["framework.txt"]]
    return {"framework.txt": "\n".join(found["framework.txt"]) + "\n", "requirements.txt": "\n".join(own) + "\n"}
