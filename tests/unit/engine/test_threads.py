"""What threads of `build-all` read is read by decoders that were made while one thread imported them.

msgspec 0.22 fills in what it knows of a type at its first use; two threads that meet there end the process with a
segmentation fault (seen in 1 to 3 of 15 runs of three threads that change places at every step).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import builder

ROOT = Path(builder.__file__).parent.parent
TYPED = ("decode", "convert")


def reached(name: str, seen: dict[str, ast.Module]) -> dict[str, ast.Module]:
    """Return the syntax of a module and of all of ours that it imports."""
    path = ROOT / f"{name.replace('.', '/')}.py"
    if name not in seen and path.is_file():
        seen[name] = tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("builder."):
                reached(node.module or "", seen)
    return seen


def typed_in_functions(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of functions that have msgspec look at a type."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TYPED:
                    typed = any(word.arg == "type" for word in node.keywords)
                    if typed and "msgspec" in ast.unparse(node.func):
                        yield node.lineno


def test_the_rule_finds_what_it_is_for() -> None:
    tree = ast.parse("def read():\n    return msgspec.json.decode(b'', type=int)\nD = msgspec.json.Decoder(int)\n")
    assert list(typed_in_functions(tree)) == [2]


def test_threads_decode_with_what_was_made_at_import() -> None:
    modules = reached("builder.engine.many", {})
    assert {"builder.engine.ledger", "builder.engine.record", "builder.engine.snapshot"} < set(modules)
    found = [f"{name}:{line}" for name, tree in modules.items() for line in typed_in_functions(tree)]
    assert found == []
