"""Hostile values in every string field of every recipe kind: refused by the loader, or rendered inert."""

from __future__ import annotations

import copy
import functools
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml
from msgspec import inspect
from support.dockerfile import Instruction, parse, words
from support.files import texts
from support.locks import HASH, with_locks

from builder.errors import PlanError, RecipeError
from builder.plan.cross import cross_built
from builder.plan.make import make_plan
from builder.plan.stage import Plan
from builder.recipe.diagnose import convert
from builder.recipe.load import KINDS, load
from builder.recipe.text import parse as parse_yaml
from builder.recipe.types import Catalog, SourcesFile
from builder.render.compose import render_compose
from builder.render.dockerfile import render_dockerfile
from builder.source.catalog import read_templates

MARK = "touched"
VALUES = {
    "substitution": f"$(touch {MARK})",
    "backticks": f"`touch {MARK}`",
    "variable": "${HOME} $PATH $1",
    "single quote": f"'; touch {MARK}; '",
    "double quote": f'"; touch {MARK}; "',
    "both quotes": f"'\"; touch {MARK}; \"'",
    "it's": f"it's $(touch {MARK})",
    "chained": f"x; touch {MARK} && touch {MARK} || touch {MARK} | cat & ",
    "newline": f"x\nRUN touch {MARK}",
    "return": f"x\rRUN touch {MARK}",
    "line separator": f"x\u2028RUN touch {MARK}",
    "next line": f"x\u0085RUN touch {MARK}",
    "NUL": "x\0y",
    "upwards": "../../../../etc/passwd",
    "absolute": "/etc/passwd",
    "option": "--privileged",
    "short option": "-rf",
    "comment": "# x",
    "end of the line": "x \\",
    "backslashes": '\\\\" \\$(x)',
    "heredoc": "<<EOF",
    "heredoc's end": "EOF",
    "template": "{{ 7 * 7 }}{% raw %}",
    "percent": "%s%n",
    "history": "!x",
    "glob": "* ? [a]",
    "tilde": "~root",
    "long": "x" * 5000,
    "empty": "",
    "blank": " ",
    "colon": "a: b",
    "bidi": "a\u202eb",
    "comma": "x,target=/",
    # these become scripts that a stub image refuses by name, in a list of its own
    "script": f"bash $(touch${{IFS}}{MARK}).sh",
    "script and heredoc's end": "bash EOF.sh",
}
"""By what each tries."""

COMMIT, BLOB, SHA = "c" * 40, "b" * 40, "a" * 64
WHEN: dict[str, Any] = {"on": "npu", "when": {"opt": "one"}, "note": "why"}
EDIT = {"do": "edit", "file": "f.py", "find": "old", "replace": "new", "count": 1, **WHEN}
COPY = {"do": "copy", "path": "p", "to": "q", "source": "sdk", "replaces": BLOB, **WHEN}
REMOVE = {"do": "remove", "path": "r", **WHEN}
PATCH = {"do": "patch", "source": "sdk", "path": "x.patch", **WHEN}

RICH: dict[str, Any] = {
    # Every field of every type, so that each can be made hostile.
    "sources.yaml": {
        "sources": {
            "py": {
                "type": "archive",
                "url": "https://example.org/Python.tgz",
                "sha256": SHA,
                "licence": "L",
                "note": "n",
            },
            "sdk": {
                "type": "git",
                "url": "https://example.org/sdk.git",
                "commit": COMMIT,
                "ref": "r",
                "licence": "L",
                "note": "n",
            },
            "idx": {
                "type": "index",
                "package": "ops",
                "version": "1.0",
                "file": "ops-1.0.tar.gz",
                "sha256": SHA,
                "licence": "L",
                "note": "n",
            },
            "deb": {
                "type": "debian-source",
                "package": "python3.8",
                "suite": "stable",
                "file": "python.tar.gz",
                "sha256": SHA,
                "licence": "L",
                "note": "n",
            },
            "whl": {"type": "archive", "url": "https://example.org/torch.whl", "sha256": SHA, "unpack": False},
            "kit": {
                "type": "archive",
                "url": "https://example.org/kit.run",
                "sha256": SHA,
                "unpack": False,
                "referer": "https://example.org/page",
                "eula": {"name": "cann", "url": "https://example.org/eula"},
                "licence": "L",
                "note": "n",
            },
            "malloc": {"type": "git", "url": "https://example.org/g.git", "commit": COMMIT},
        }
    },
    "systems/sys.yaml": {
        "name": "sys",
        "title": "System",
        "manager": "apt",
        "runtime": ["tini"],
        "build": ["gcc"],
        "python_build": ["make"],
        "tcmalloc_build": ["autoconf"],
        "tcmalloc": [],
        "note": "n",
        "tcmalloc_library": {"x86_64": "/usr/lib/x.so", "aarch64": "/usr/lib/x.so"},
        "tcmalloc_ways": ["git"],
        "jemalloc": ["libjemalloc2"],
        "jemalloc_library": {"x86_64": "/usr/lib/j.so", "aarch64": "/usr/lib/j.so"},
        "cross": {
            "packages": ["gcc"],
            "python_libraries": ["make"],
            "targets": {"aarch64": {"triplet": "aarch64-linux", "foreign": "arm64", "packages": ["gcc-aarch64"]}},
        },
    },
    "systems/alone.yaml": {
        "name": "alone",
        "title": "System",
        "manager": "dnf",
        "runtime": ["tini"],
        "build": ["gcc"],
        "python_build": ["make"],
        "no_cross": "none is known",
    },
    "toolchains/gcc.yaml": {
        "name": "gcc",
        "title": "GCC",
        "family": "gcc",
        "version": "1",
        "marker": "m",
        "architectures": ["aarch64", "x86_64"],
        "systems": ["sys"],
        "packages": ["gcc"],
        "prefix": "/usr",
        "tools": {
            "cc": "bin/gcc",
            "cxx": "bin/g++",
            "ar": "bin/gcc-ar",
            "ranlib": "bin/gcc-ranlib",
            "nm": "bin/gcc-nm",
            "linker": "bin/ld",
            "profdata": "bin/gcov-tool",
        },
        "gnu_compatibility": True,
        "runtime": ["lib/libomp.so"],
        "licence": "L",
        "note": "n",
    },
    "toolchains/clang.yaml": {
        "name": "clang",
        "title": "Clang",
        "family": "clang",
        "version": "19",
        "architectures": ["aarch64", "x86_64"],
        "systems": ["sys"],
        "source": "kit",
        "prefix": "/opt/clang",
        "tools": {
            "cc": "bin/clang",
            "cxx": "bin/clang++",
            "ar": "bin/llvm-ar",
            "ranlib": "bin/llvm-ranlib",
            "nm": "bin/llvm-nm",
            "linker": "bin/ld.lld",
            "profdata": "bin/llvm-profdata",
        },
        "interpreter": ["-tail-dup-pred-size=5000"],
    },
    "platforms/plat.yaml": {
        "name": "plat",
        "title": "Platform",
        "accelerator": "npu",
        "system": "sys",
        "architectures": ["aarch64", "x86_64"],
        "base": {
            "image": "example/base",
            "digest": "sha256:" + SHA,
            "bootstrap": {
                "suite": "stable",
                "include": ["tini"],
                "exclude": ["/usr/share/doc/*"],
                "keep": ["/usr/share/doc/*/copyright"],
            },
            "note": "n",
        },
        "tcmalloc": "git",
        "python": {
            "version": "3.8.17",
            "source": "py",
            "shared": True,
            "compiler": {"stock": "gcc", "lto": "clang"},
            "profile_task": "-m test --pgo",
            "configure": ["--with-x"],
            "note": "n",
        },
        "framework": ["torch==2.1.0"],
        "adapter": ["torch_npu==2.1.0"],
        "common": ["tqdm"],
        "pins": [{"package": "numpy", "version": "1.23.5", "reason": "r", "on": "npu"}],
        "wheels": {"x86_64": ["whl"]},
        "libraries": {"aarch64": ["libgeos-c1v5"]},
        "driving_sdk": "7.0",
        "environment": {"A": "a"},
        "variants": ["stock", "lto", "pgo"],
        "cann": {
            "version": "8.1",
            "way": "run",
            "installers": {"x86_64": ["kit"], "aarch64": ["kit"]},
            "packages": ["unzip"],
            "adapter": "7",
            "hdk_recommended": "25",
            "hdk_floor": "24",
            "hdk_compatible": ["24.1"],
            "home": "/usr/local/cann",
            "note": "n",
        },
        "optimised": {
            "toolchain": {"aarch64": "clang", "x86_64": "clang"},
            "framework": ["pytorch", "torch-npu"],
            "components": ["ops"],
            "workload": "job",
            "note": "n",
        },
        "locks": "plat",
        "note": "n",
    },
    # what stands in for it: the stages that the other way of CANN, and another system's Python, do not have
    "platforms/stand.yaml": {
        "name": "stand",
        "title": "Stand-in",
        "accelerator": "npu",
        "twin": "plat",
        "system": "sys",
        "architectures": ["x86_64"],
        "base": {
            "image": "example/plain",
            "digest": None,
            "bootstrap": {"suite": "stable", "include": []},
            "note": "n",
        },
        "python": {
            "version": "3.11.2",
            "source": "deb",
            "shared": False,
            "compiler": {"stock": "gcc", "lto": "gcc"},
            "profile_task": "-m test --pgo",
        },
        "framework": ["torch==2.1.0"],
        "adapter": ["torch_npu==2.1.0"],
        "common": ["tqdm"],
        "pins": [],
        "driving_sdk": "7.0",
        "environment": {"A": "a"},
        "cann": {
            "version": "8.1",
            "way": "stub",
            "adapter": "7",
            "hdk_recommended": "25",
            "hdk_floor": None,
            "home": "/usr/local/cann",
        },
    },
    "components/ops.yaml": {
        "name": "ops",
        "title": "Operators",
        "template": "wheel",
        "package": "ops",
        "module": "ops",
        "licence": "L",
        "needs": ["torch"],
        "versions": {
            "1.0": {
                "npu": "sdk",
                "cpu": "idx",
                "steps": [{**EDIT, "when": {}}, {**COPY, "when": {}}, {**PATCH, "when": {}}, {**REMOVE, "when": {}}],
                "note": "n",
            },
            "2.0": {"index": "ops==2.0", "unverified": "nobody tried", "note": "n"},
        },
        "environment": {"B": "b"},
        "environment_npu": {"C": "c"},
        "hot": {"npu": ["kernel"]},
        "cann": "libraries",
        "minutes": 1,
        "note": "n",
    },
    "components/sdist.yaml": {
        "name": "sdist",
        "title": "S",
        "template": "wheel",
        "package": "sdist",
        "versions": {"1.0": {"npu": "idx"}},
    },
    "components/wheel.yaml": {
        "name": "wheel",
        "title": "W",
        "template": "wheel",
        "package": "wheel",
        "versions": {"1.0": {"index": "wheel==1.0", "unverified": "nobody tried"}},
    },
    "components/pytorch.yaml": {
        "name": "pytorch",
        "title": "P",
        "template": "pytorch",
        "package": "torch",
        "needs": [],
        "versions": {"2.1.0": {"npu": "sdk", "steps": [{**EDIT, "when": {}}]}},
        "environment": {"USE_X": "0"},
    },
    "components/torch-npu.yaml": {
        "name": "torch-npu",
        "title": "N",
        "template": "torch-npu",
        "package": "torch-npu",
        "needs": ["pytorch"],
        "versions": {"2.1.0.post12": {"npu": "sdk"}},
        "environment": {"DISABLE_X": "0"},
    },
    "components/tcmalloc.yaml": {
        "name": "tcmalloc",
        "title": "T",
        "template": "tcmalloc",
        "package": "g",
        "needs": [],
        "versions": {"2.16": {"ways": {"git": "malloc"}}},
    },
    "models/toy.yaml": {
        "name": "toy",
        "title": "Toy",
        "summary": "s",
        "licence": "MIT",
        "platform": "plat",
        "tcmalloc": True,
        "note": "n",
        "readme": {"commit": COMMIT, "source": "sdk", "path": "README.md", "table": "t"},
        "sources": {"own": {"type": "git", "url": "https://example.org/own.git", "commit": COMMIT}},
        "tree": {"source": "own", "directory": "Tree", "steps": [EDIT, COPY, PATCH, REMOVE]},
        "requirements": {
            "packages": ["einops"],
            "pins": [{"package": "x", "version": None, "reason": "r"}],
            "conflicts": {"plat": ["line"]},
        },
        "components": [
            {
                "name": "ops",
                "version": "1.0",
                "source": "sdk",
                "steps": [EDIT, COPY, REMOVE],
                "keep_tree": "Tree/ops",
                "on": "npu",
                "when": {"opt": "one"},
                "note": "n",
            },
            {"name": "sdist", "version": "1.0"},
            {"name": "wheel", "version": "1.0"},
            {"name": "tcmalloc", "version": "2.16"},
        ],
        "overlays": [
            {
                "component": "ops",
                "steps": [EDIT, {**COPY, "source": ""}, PATCH],
                "on": "npu",
                "when": {"opt": "one"},
                "note": "n",
            }
        ],
        "data": {
            "dataset": "nuscenes",
            "root": "data",
            "note": "n",
            "sensors": ["camera"],
            "entries": [
                {
                    "path": "maps",
                    "kind": "folder",
                    "generated": True,
                    "readers": ["eval"],
                    "holds": "val",
                    "parts": ["expansion"],
                    "url": "https://example.org/x",
                    "note": "n",
                }
            ],
        },
        "weights": [
            {
                "file": "w.pth",
                "target": "ckpts/w.pth",
                "home": "torch",
                "url": "https://example.org/w",
                "sha256": SHA,
                "note": "n",
            }
        ],
        "jobs": [
            {
                "name": "train",
                "title": "Train",
                "command": ["bash", "t.sh", "bash u.sh"],
                "npus": 8,
                "directory": "Tree",
                "environment": {"D": "d"},
                "outputs": ["out"],
                "log": "out/log",
                "success": "ok",
                "checkpoint": "out/*/x.pth",
                "launch": {
                    "by": "torchrun",
                    "command": ["run.py", "-x"],
                    "divided": {"runner.max_iters": 100},
                    "success": "done",
                    "note": "n",
                },
                "on": "npu",
                "when": {"opt": "one"},
                "note": "n",
            },
            {"name": "keep", "title": "Keep", "command": ["bash", "kept.sh"], "npus": 8, "single_node": "because"},
        ],
        "log": {
            "steps": {
                "find": "Epoch",
                "match": r"Epoch (?P<step>\d+)",
                "between": ", ",
                "equals": ": ",
                "ends": "s",
                "names": {"loss": "loss", "time": "time", "rate": "lr", "memory": "memory", "data": "data"},
                "time": "step",
            },
            "metrics": [
                {
                    "name": "m",
                    "find": "m is",
                    "match": r"m is (?P<value>\d+)",
                    "unit": "fraction",
                    "printed": "percent",
                }
            ],
            "failures": ["given up"],
            "note": "n",
        },
        "results": [
            {
                "chip": "c",
                "cards": 8,
                "global_batch": 8,
                "epochs": 1,
                "metrics": {"m": 1.0},
                "precision": "fp32",
                "build": "stock",
                "source": "README",
                "note": "n",
            }
        ],
        "environment": {"E": "e"},
        "options": [
            {
                "name": "opt",
                "title": "O",
                "default": "one",
                "choices": {"one": {"title": "t", "note": "n"}, "two": {"title": "t"}},
            }
        ],
    },
}

Where = tuple[str, tuple[Any, ...], bool]


def strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], bool]]:
    """Yield the path of every string in plain data, and whether it is a key."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), True
            yield from strings(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings(item, (*path, index))
    elif isinstance(value, str):
        yield path, False


KEPT = ("jobs", 1)
"""Not made hostile: without any script to refuse, the list of them is not in the file."""
PLACES: list[Where] = [
    (file, path, key) for file, data in RICH.items() for path, key in strings(data) if path[:2] != KEPT
]


def replaced(files: dict[str, Any], where: Where, value: str) -> dict[str, Any]:
    file, path, is_key = where
    made = {**files, file: copy.deepcopy(files[file])}
    holder = made[file]
    for key in path[:-1]:
        holder = holder[key]
    if is_key:
        holder[value] = holder.pop(path[-1])
    else:
        holder[path[-1]] = value
    return made


LOCKED = f"numpy==1.23.5{HASH}\neinops==0.8.0{HASH}\ntqdm==4.67.0{HASH}"


@functools.cache
def templates() -> dict[str, str]:
    return read_templates()


def planned(files: dict[str, Any]) -> tuple[Catalog, tuple[Plan, ...]]:
    """Return the plans that have every kind of stage: CANN's installers and LTO, a stand-in, compiled frameworks, a
    cross compile.
    """
    # One package has no wheel, and its archive's name is the longest way from an index into a Dockerfile.
    locked = f"{LOCKED}\nold==1.0 --hash=sha256:{'c' * 64} # Old-1.0+!_.tar.gz\n"
    locks = {f"plat/toy.{machine}.txt": locked for machine in ("x86_64", "aarch64")}
    catalog = with_locks(load(texts({path: json.dumps(data) for path, data in files.items()}), locks))
    stand, crossed = (
        make_plan(catalog, "toy", platform="stand", variant=variant, pinned={"own": "d" * 40})
        for variant in ("stock", "lto")
    )
    return catalog, (
        make_plan(catalog, "toy", variant="lto"),
        stand,
        make_plan(catalog, "toy", variant="pgo"),
        cross_built(catalog, crossed, target="aarch64", machine="x86_64"),
    )


def rendered(files: dict[str, Any]) -> tuple[str, str]:
    """Return the Dockerfiles of all plans, one after the other, and the compose file.

    Raises:
        RecipeError: when the loader refuses a value.
    """
    catalog, plans = planned(files)
    text = "\n".join(render_dockerfile(plan, templates()) for plan in plans)
    return text, render_compose(catalog, catalog.models["toy"], templates())


@functools.cache
def baseline() -> tuple[tuple[str, ...], int, int]:
    dockerfile, compose = rendered(RICH)
    parsed = parse(dockerfile)
    return tuple(item.kind for item in parsed), len(yaml.safe_load(compose)["services"]), dockerfile.count("\nFROM ")


def active(body: str) -> Iterator[str]:
    """Yield what a shell would run or expand of a hostile value: text outside of quotes, or `$` in double quotes."""
    quote, index = "", 0
    while index < len(body):
        char = body[index]
        if quote == "'":
            quote = "" if char == "'" else quote
        elif char == "\\":
            index += 1
        elif char in "'\"":
            quote = "" if quote == char else quote or char
        elif char in "$`" or not quote:
            yield body[index : index + 40]
        index += 1


def check_inert(dockerfile: str, compose: str, value: str) -> None:
    kinds, services, stages = baseline()
    parsed = parse(dockerfile)
    if value:  # an empty list or reference is another recipe
        assert tuple(item.kind for item in parsed) == kinds, "an instruction more or less"
        assert dockerfile.count("\nFROM ") == stages
    bodies = [item.body for item in parsed if item.kind == "RUN"]
    for item in parsed:
        assert all(heredoc.closed for heredoc in item.heredocs)
        if item.kind != "RUN":
            assert_words(item, value)
    for body in bodies:
        if MARK in body:
            assert not [text for text in active(body) if text.startswith((f"touch {MARK}", "$(touch", "`touch"))], body
    shell = "\n".join(f"f{number}() {{ {body}\n}}" for number, body in enumerate(bodies))
    done = subprocess.run(["bash", "-n"], input=shell.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    document = yaml.safe_load(compose)
    assert len(document["services"]) == services
    assert set(document) == set(yaml.safe_load(rendered(RICH)[1]))


def assert_words(item: Instruction, value: str) -> None:
    """A value in ENV, LABEL, ADD, COPY … is not expanded by the Dockerfile parser."""
    if MARK in item.text:
        assert any(value in word or value.replace("  ", " ") in word for word in words(item.text)), item.text


def test_the_baseline_is_sound_and_has_every_kind_of_stage() -> None:
    kinds, services, _ = baseline()
    assert services == 2
    assert {"RUN", "COPY", "ADD", "ENV", "LABEL", "ARG"} <= set(kinds)
    _, plans = planned(RICH)
    of_stages = {stage.template for plan in plans for stage in plan.stages}
    known = {name.removeprefix("stages/").removesuffix(".j2") for name in templates() if name.startswith("stages/")}
    assert of_stages == known - {"header"}
    image = plans[1].stages[-1].inputs
    assert image["refused"] == ("kept.sh", "t.sh", "u.sh")
    assert image["labels"]["drivebuild.unverified.wheel"] == "nobody tried"


def test_the_manifest_stays_the_json_that_was_planned() -> None:
    for hostile in VALUES.values():
        sound = [where for where in PLACES if where[0] == "models/toy.yaml" and where[1][0] == "environment"]
        sound = [where for where in sound if accepted(where, hostile)]
        _, plans = planned(with_all(RICH, sound, hostile))
        text = render_dockerfile(plans[0], templates())
        (body,) = (
            heredoc.lines for item in parse(text) for heredoc in item.heredocs if item.text.endswith(" /plan.json")
        )
        planned_json = json.loads("\n".join(body))
        assert planned_json["environment"].items() >= plans[0].model.environment.items()


def test_every_string_field_of_every_type_is_tried() -> None:
    seen: set[tuple[str, str]] = set()

    def walk(info: Any, value: Any) -> None:
        if isinstance(info, inspect.Metadata):
            walk(info.type, value)
        elif isinstance(info, inspect.UnionType):
            for item in info.types:
                walk(item, value)
        elif isinstance(info, inspect.DictType) and isinstance(value, dict):
            for item in value.values():
                walk(info.value_type, item)
        elif isinstance(info, inspect.VarTupleType) and isinstance(value, list):
            for item in value:
                walk(info.item_type, item)
        elif isinstance(info, inspect.StructType) and isinstance(value, dict):
            if info.tag is not None and value.get(str(info.tag_field)) != info.tag:
                return
            for field in info.fields:
                if field.encode_name in value:
                    seen.add((info.cls.__name__, field.name))
                    walk(field.type, value[field.encode_name])

    types: dict[str, Any] = {}

    def collect(info: Any) -> None:
        if isinstance(info, inspect.StructType):
            if info.cls.__name__ not in types:
                types[info.cls.__name__] = info
                for field in info.fields:
                    collect(field.type)
        elif isinstance(info, inspect.Metadata):
            collect(info.type)
        elif isinstance(info, inspect.UnionType):
            for item in info.types:
                collect(item)
        elif isinstance(info, inspect.DictType):
            collect(info.value_type)
        elif isinstance(info, inspect.VarTupleType):
            collect(info.item_type)

    for path, data in RICH.items():
        info = inspect.type_info(SourcesFile if path == "sources.yaml" else KINDS[path.split("/")[0]])
        collect(info)
        walk(info, data)
    numbers = (inspect.IntType, inspect.FloatType, inspect.BoolType)

    def textual(info: Any) -> bool:
        if isinstance(info, inspect.Metadata):
            return textual(info.type)
        if isinstance(info, inspect.UnionType):
            return any(textual(item) for item in info.types)
        return not isinstance(info, (*numbers, inspect.NoneType))

    wanted = {(name, field.name) for name, info in types.items() for field in info.fields if textual(field.type)}
    assert wanted <= seen, f"add to RICH: {sorted(wanted - seen)}"


def accepted(where: Where, value: str) -> bool:
    """Return whether the file alone is sound with the value; says nothing about references."""
    file = where[0]
    kind = SourcesFile if file == "sources.yaml" else KINDS[file.split("/")[0]]
    try:
        msgspec.convert(replaced({file: RICH[file]}, where, value)[file], kind)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_message_about_a_hostile_value_cannot_deceive_a_terminal(value: str) -> None:
    file = "models/toy.yaml"
    for path in (("platform",), ("name",), ("tree", "steps", 0, "file")):
        text = json.dumps(replaced(RICH, (file, path, False), value)[file])
        for mistake in convert(parse_yaml(text.encode(), file), KINDS["models"])[1]:
            assert not set(mistake.render()) & set("\x00\r\u2028\u0085\u202e\x1b")


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_hostile_value_is_refused_or_inert(value: str) -> None:
    sound = [where for where in PLACES if accepted(where, value)]
    assert len(sound) < len(PLACES) - 20, "names, commits and keys are refused at least"
    # Keys after values and deep ones first: a path below a renamed key would not be found again.
    sound.sort(key=lambda where: (where[2], -len(where[1])))
    check_inert(*rendered(with_all(RICH, sound, value)), value)


def with_all(files: dict[str, Any], places: list[Where], value: str) -> dict[str, Any]:
    """Return `files` with the value in all places where the rules between files allow it, found by halving."""
    made = files
    try:
        for where in places:
            made = replaced(made, where, value)
        rendered(made)
    except (RecipeError, PlanError, KeyError):
        if len(places) < 2:
            return files
        half = len(places) // 2
        return with_all(with_all(files, places[:half], value), places[half:], value)
    return made


def test_catalog_values_are_what_was_written() -> None:
    catalog = load(texts({path: json.dumps(data) for path, data in RICH.items()}), {})
    assert msgspec.to_builtins(catalog.models["toy"])["environment"] == {"E": "e"}
