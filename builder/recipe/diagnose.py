"""Every mistake of a document against a type, not only the first. Pure.

msgspec decides whether a document is valid (fast, and its first error ends it). Only when it says no is the
document walked here beside msgspec's own description of the type, so the two cannot tell different stories.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from builder.recipe.suggest import did_you_mean, one_of
from builder.recipe.text import DataPath, Document, Mistake

__all__ = ["convert", "diagnose"]


def convert(document: Document, kind: Any) -> tuple[Any, tuple[Mistake, ...]]:
    """Return the typed value of `document` and its mistakes; the value is None when there are any."""
    if document.mistakes:
        return None, document.mistakes
    try:
        return msgspec.convert(document.data, kind), ()
    except msgspec.ValidationError as error:
        mistakes = tuple(diagnose(document, kind))
        return None, mistakes or (document.mistake((), str(error)),)


def diagnose(document: Document, kind: Any) -> Iterator[Mistake]:
    """Yield each difference between `document` and `kind`, in the order of the file."""
    found = list(_walk(document, _type_info(kind), document.data, (), ""))
    return iter(sorted(found, key=lambda mistake: (mistake.place.line, mistake.place.column)))


@cache
def _type_info(kind: Any) -> inspect.Type:
    # Several milliseconds for a model, and the same for every file.
    return inspect.type_info(kind)


def _walk(doc: Document, info: inspect.Type, value: Any, path: DataPath, about: str) -> Iterator[Mistake]:
    if isinstance(info, inspect.Metadata):
        about = (info.extra_json_schema or {}).get("description", about)
        yield from _walk(doc, info.type, value, path, about)
    elif isinstance(info, inspect.UnionType):
        yield from _walk_union(doc, info, value, path, about)
    elif isinstance(info, inspect.StructType):
        yield from _walk_struct(doc, info, value, path)
    elif isinstance(info, inspect.DictType):
        yield from _walk_mapping(doc, info, value, path)
    elif isinstance(info, inspect.VarTupleType):
        yield from _walk_list(doc, info, value, path)
    else:
        problem = _leaf_problem(info, value, doc.raw.get(path, ""), about)
        if problem:
            yield doc.mistake(path, f"{_spell(path)}: {problem[0]}", hint=problem[1])


def _walk_struct(doc: Document, info: inspect.StructType, value: Any, path: DataPath) -> Iterator[Mistake]:
    if not isinstance(value, dict):
        yield doc.mistake(path, f"{_spell(path)}: expected keys and values, got {_describe(value)}")
        return
    fields = {item.encode_name: item for item in info.fields}
    known = [*fields, info.tag_field] if info.tag_field else list(fields)
    for key in value:
        if key not in known:
            yield doc.mistake(
                (*path, key), f"{_spell(path)}: unknown key {key!r}", hint=one_of(key, known), at_key=True
            )
    for name, item in fields.items():
        if name in value:
            yield from _walk(doc, item.type, value[name], (*path, name), "")
        elif item.required:
            yield doc.mistake(path, f"{_spell(path)}: the key {name!r} is missing")


def _walk_mapping(doc: Document, info: inspect.DictType, value: Any, path: DataPath) -> Iterator[Mistake]:
    if not isinstance(value, dict):
        yield doc.mistake(path, f"{_spell(path)}: expected keys and values, got {_describe(value)}")
        return
    for key, item in value.items():
        about = ""
        key_info = info.key_type
        if isinstance(key_info, inspect.Metadata):
            about = (key_info.extra_json_schema or {}).get("description", "")
            key_info = key_info.type
        problem = _leaf_problem(key_info, key, "", about)
        if problem:
            message = f"{_spell(path)}: the key {key!r} is wrong: {problem[0]}"
            yield doc.mistake((*path, key), message, hint=problem[1], at_key=True)
        yield from _walk(doc, info.value_type, item, (*path, key), "")


def _walk_list(doc: Document, info: inspect.VarTupleType, value: Any, path: DataPath) -> Iterator[Mistake]:
    if not isinstance(value, list):
        hint = "write it as a list: [...]"
        yield doc.mistake(path, f"{_spell(path)}: expected a list, got {_describe(value)}", hint=hint)
        return
    for index, item in enumerate(value):
        yield from _walk(doc, info.item_type, item, (*path, index), "")
    if info.min_length is not None and len(value) < info.min_length:
        yield doc.mistake(path, f"{_spell(path)}: needs at least {info.min_length} entry")


def _walk_union(doc: Document, info: inspect.UnionType, value: Any, path: DataPath, about: str) -> Iterator[Mistake]:
    structs = [item for item in info.types if isinstance(item, inspect.StructType)]
    others = [item for item in info.types if not isinstance(item, inspect.StructType)]
    if value is None and any(isinstance(item, inspect.NoneType) for item in others):
        return
    if len(structs) > 1:
        yield from _walk_tagged(doc, structs, value, path)
    elif structs:
        yield from _walk(doc, structs[0], value, path, about)
    else:
        choices = [item for item in others if not isinstance(item, inspect.NoneType)]
        attempts = [list(_walk(doc, item, value, path, about)) for item in choices]
        if all(attempts):
            # The first named type is the one that is meant; the rest are its exceptions ("" or a number).
            yield from attempts[0]


def _walk_tagged(doc: Document, structs: list[inspect.StructType], value: Any, path: DataPath) -> Iterator[Mistake]:
    field = str(structs[0].tag_field)
    tags = {str(item.tag): item for item in structs}
    if not isinstance(value, dict):
        yield doc.mistake(path, f"{_spell(path)}: expected keys and values, got {_describe(value)}")
    elif field not in value:
        yield doc.mistake(path, f"{_spell(path)}: the key {field!r} is missing", hint=f"one of: {', '.join(tags)}")
    elif not isinstance(value[field], str) or value[field] not in tags:
        message = f"{_spell((*path, field))}: unknown {field}: {_describe(value[field])}"
        yield doc.mistake((*path, field), message, hint=one_of(str(value[field]), tags))
    else:
        yield from _walk_struct(doc, tags[value[field]], value, path)


def _leaf_problem(info: inspect.Type, value: Any, raw: str, about: str) -> tuple[str, str] | None:
    if isinstance(info, inspect.StrType):
        return _text_problem(info, value, raw, about)
    if isinstance(info, inspect.LiteralType):
        if value in info.values and isinstance(value, str):
            return None
        words = [str(item) for item in info.values]
        hint = did_you_mean(str(value), words)
        return f"expected one of {', '.join(map(repr, words))}, got {_describe(value, raw)}", hint
    if isinstance(info, inspect.BoolType):
        return None if isinstance(value, bool) else (f"expected true or false, got {_describe(value, raw)}", "")
    # A type that no recipe has: msgspec's own message stands.
    return _number_problem(info, value, raw) if isinstance(info, inspect.IntType | inspect.FloatType) else None


def _text_problem(info: inspect.StrType, value: Any, raw: str, about: str) -> tuple[str, str] | None:
    if not isinstance(value, str):
        hint = f'quote it: "{raw}"' if raw else ""
        return f"expected {about or 'text'}, got {_describe(value, raw)}", hint
    if info.pattern and not re.search(info.pattern, value):
        what = about or "one line of text without control characters"
        size = f" ({len(value)} characters)" if "hexadecimal" in what else ""
        return f"expected {what}, got {_describe(value)}{size}", ""
    if info.max_length is not None and len(value) > info.max_length:
        return f"has {len(value)} characters; at most {info.max_length} are allowed", ""
    if info.min_length is not None and len(value) < info.min_length:
        return "must not be empty", ""
    return None


def _number_problem(info: inspect.IntType | inspect.FloatType, value: Any, raw: str) -> tuple[str, str] | None:
    whole = isinstance(info, inspect.IntType)
    sound = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not sound:
        return f"expected a {'whole ' if whole else ''}number, got {_describe(value, raw)}", ""
    if info.ge is not None and value < info.ge:
        return f"must be at least {info.ge}, got {value}", ""
    if info.le is not None and value > info.le:
        return f"must be at most {info.le}, got {value}", ""
    return None


def _spell(path: DataPath) -> str:
    """Return `components[0].steps[1].find`; the document itself is `recipe`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.lstrip(".") or "recipe"


def _describe(value: Any, raw: str = "") -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the truth value {raw or str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {raw or value}"
    if isinstance(value, str):
        shown = value if len(value) <= 60 else value[:57] + "..."
        return repr(shown)
    return "a list" if isinstance(value, list) else "keys and values"
