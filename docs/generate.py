"""Writes docs/reference.md from the types of the recipes, the errors and the command line.

python docs/generate.py            write the file
python docs/generate.py --check    write nothing; exit with 8 when it is not current
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer.main
from msgspec import Meta

from builder import errors
from builder.cli.main import app
from builder.recipe import types

TARGET = Path(__file__).with_name("reference.md")
STALE = errors.DriftError.exit_code

HEAD = """\
<!-- RENDERED by docs/generate.py from builder/recipe/types.py, builder/errors.py and builder/cli. Do not edit. -->
# Reference

Every command with its options, every exit code, and every key of a recipe file. How to add a model is in
[CONTRIBUTING.md](../CONTRIBUTING.md); why things are as they are is in [architecture.md](architecture.md).
"""

FILES = (
    ("Model", "`models/<name>.yaml`"),
    ("Platform", "`platforms/<name>.yaml`"),
    ("System", "`systems/<name>.yaml`"),
    ("Toolchain", "`toolchains/<name>.yaml`"),
    ("Component", "`components/<name>.yaml`"),
    ("SourcesFile", "`sources.yaml`"),
)
MODULE = ast.parse(Path(types.__file__).read_text(encoding="utf-8"))
WORDS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "None": "null"}

ALIASES = {
    ast.unparse(node.targets[0]): node.value
    for node in MODULE.body
    if isinstance(node, ast.Assign) and re.match(r"Literal\[|[A-Z]\w+ \| ", ast.unparse(node.value))
}
"""`Literal` and unions that have a name of their own."""


# --- commands ------------------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """Yield the section on the command line."""
    group: Any = typer.main.get_command(app)
    yield "## Commands\n"
    yield "Options that come before the command:\n"
    yield from options(group)
    yield from below(group, "drivebuild")


def below(group: Any, words: str) -> Iterator[str]:
    """Yield the commands of a group; a group within it is followed by its own."""
    for name in sorted(group.commands):
        command = group.commands[name]
        arguments = [metavar(item) for item in command.params if item.param_type_name == "argument"]
        yield f"### `{' '.join([words, name, *arguments])}`\n"
        yield f"{' '.join((command.help or '').split())}\n"
        yield from options(command)
        if hasattr(command, "commands"):
            yield from below(command, f"{words} {name}")


def options(command: Any) -> Iterator[str]:
    """Yield the table of a command's arguments and options."""
    rows = [row(item) for item in command.params if not item.name.endswith("_completion")]
    yield from table(("argument or option", "meaning"), rows)


def row(item: Any) -> tuple[str, str]:
    """Return an argument's or option's line of the table."""
    text = " ".join((item.help or "").split())
    if item.param_type_name == "argument":
        return f"`{metavar(item)}`", text
    value = "" if item.is_flag else f" {item.metavar or item.type.name}"
    spelled = ", ".join(f"`{word}`" for word in item.opts)
    variable = f" Environment: `{item.envvar}`." if item.envvar else ""
    return f"{spelled}{f' `{value.strip()}`' if value else ''}", text + variable


def metavar(item: Any) -> str:
    """Return how an argument is written."""
    return str(item.metavar or item.name.upper())


# --- exit codes ----------------------------------------------------------------------------------


def exit_codes() -> Iterator[str]:
    """Yield the section on exit codes."""
    kinds = [getattr(errors, name) for name in errors.__all__ if name != "DrivebuildError"]
    rows = [(str(kind.exit_code), first_line(kind.__doc__)) for kind in kinds]
    rows += [
        ("0", "All went well."),
        ("1", "A check of `verify` failed."),
        ("130", "Interrupted by Ctrl-C."),
        ("143", "Ended by SIGTERM, or by a terminal that closed."),
    ]
    yield "## Exit codes\n"
    yield from table(("code", "meaning"), sorted(rows, key=lambda item: int(item[0])))


def first_line(text: str | None) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join((text or "").split("\n\n")[0].split())


# --- recipe files --------------------------------------------------------------------------------


def recipes() -> Iterator[str]:
    """Yield the sections on recipe files: the files, the values, the kinds of text."""
    nouns = {node.name: node for node in MODULE.body if isinstance(node, ast.ClassDef) and is_noun(node)}
    yield "## Recipe files\n"
    yield "A key without a default must be there. `on` limits an item to an accelerator, `when` to a choice.\n"
    first = dict(FILES)
    order = [*first, *[name for name in nouns if name not in first]]
    for name in order:
        yield f"### {name}\n"
        yield from noun(nouns[name], file=first.get(name, ""))
    yield "## Texts\n"
    rows = [(item, meta.description or "one line of text", pattern(meta)) for item, meta in texts()]
    yield from table(("kind", "meaning", "pattern"), rows)


def is_noun(node: ast.ClassDef) -> bool:
    """Return whether a class is a value of a recipe file."""
    return any(isinstance(base, ast.Name) and base.id == "Noun" for base in node.bases)


def noun(node: ast.ClassDef, *, file: str) -> Iterator[str]:
    """Yield one value's description and the table of its keys."""
    if file:
        yield f"File: {file}.\n"
    yield f"{' '.join((ast.get_docstring(node) or '').split())}\n"
    keywords = {item.arg: ast.literal_eval(item.value) for item in node.keywords}
    rows = []
    if "tag" in keywords:
        rows.append((f"`{keywords['tag_field']}`", f"`{keywords['tag']}`", "", ""))
    for index, item in enumerate(node.body):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            rows.append((f"`{item.target.id}`", spell(item.annotation), default(item.value), remark(node, index)))
    yield from table(("key", "value", "default", "meaning"), rows)


def remark(node: ast.ClassDef, index: int) -> str:
    """Return the docstring below a field, if there is one."""
    following = node.body[index + 1] if index + 1 < len(node.body) else None
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        return " ".join(str(following.value.value).split())
    return ""


def default(value: ast.expr | None) -> str:
    """Return a default as YAML would have it; '' for a key that must be there."""
    if value is None:
        return ""
    if isinstance(value, ast.Call):
        return "`{}`"
    plain = ast.literal_eval(value)
    if isinstance(plain, tuple):
        return f"`[{', '.join(plain)}]`"
    words = {None: "null", True: "true", False: "false", "": '""'}
    return f"`{words[plain] if plain in (None, '') or isinstance(plain, bool) else plain}`"


def spell(node: ast.expr) -> str:
    """Return a type in words."""
    if isinstance(node, ast.BinOp):
        return f"{spell(node.left)} or {spell(node.right)}"
    if isinstance(node, ast.Constant):
        return WORDS["None"]
    if isinstance(node, ast.Subscript):
        return spell_generic(ast.unparse(node.value), node.slice)
    name = ast.unparse(node)
    if name in ALIASES:
        return spell(ALIASES[name])
    if isinstance(getattr(types, name, None), type):
        return f"[{name}](#{name.lower()})"
    return WORDS.get(name, f"[{name}](#texts)")


def spell_generic(name: str, inner: ast.expr) -> str:
    """Return `tuple[…]`, `Mapping[…]`, `Literal[…]` or `Annotated[…]` in words."""
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "tuple":
        return f"list of {spell(parts[0])}"
    if name == "Mapping":
        return f"mapping of {spell(parts[0])} to {spell(parts[1])}"
    if name == "Literal":
        return " or ".join(f"`{ast.literal_eval(part) or chr(34) * 2}`" for part in parts)
    return spell(parts[0]) + limits(parts[1])


def limits(meta: ast.expr) -> str:
    """Return what a `Meta(…)` adds to a type, in brackets."""
    found = {item.arg: ast.literal_eval(item.value) for item in meta.keywords} if isinstance(meta, ast.Call) else {}
    said = [str(found["description"])] if "description" in found else []
    said += [f"{word} {found[key]}" for key, word in (("ge", "from"), ("le", "to")) if key in found]
    said += ["not empty"] if "min_length" in found else []
    return f" ({' '.join(said)})" if said else ""


def texts() -> Iterator[tuple[str, Meta]]:
    """Yield every named kind of text with what is required of it."""
    for name, value in vars(types).items():
        if get_origin(value) is Annotated and not name.startswith("_"):
            yield name, next(item for item in get_args(value)[1:] if isinstance(item, Meta))


def pattern(meta: Meta) -> str:
    """Return a pattern as it may stand in a table."""
    return f"`{meta.pattern}`" if meta.pattern else ""


# --- text ----------------------------------------------------------------------------------------


def table(header: tuple[str, ...], rows: list[Any]) -> Iterator[str]:
    """Yield a Markdown table; nothing where there are no rows."""
    if rows:
        lines = [header, tuple("---" for _ in header), *rows]
        yield "".join(f"| {' | '.join(map(escaped, cells))} |\n" for cells in lines)


def escaped(cell: str) -> str:
    """Return a text as it may stand in a table: bars everywhere, angle brackets outside of code."""
    parts = re.split(r"(`[^`]*`)", cell.replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def reference() -> str:
    """Return the text of docs/reference.md."""
    return "\n".join([HEAD, *commands(), *exit_codes(), *recipes()])


def main(arguments: list[str]) -> int:
    """Write the reference, or with --check compare it."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"usage: {Path(__file__).name} [--check]\n")
        return errors.UsageError.exit_code
    text = reference()
    current = TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text
    if arguments and not current:
        sys.stderr.write("docs/reference.md is not current: run `python docs/generate.py` and commit the result\n")
        return STALE
    if not current:
        TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
