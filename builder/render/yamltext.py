"""Structured values as YAML text that every parser reads back as the same values. Pure.

Manifests are dumped and not written by templates: whatever a value holds, the text stays YAML. What a parser might take
for something else than text (`on`, `1e3`, `0x10`, `12:30`) stands in quotes, whichever version of YAML it knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

__all__ = ["dump_documents"]

# Plain only what no YAML takes for anything else: it begins with a letter or a slash.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@+-]*(:[A-Za-z0-9_./@+-]+)*\Z")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


class _Dumper(yaml.SafeDumper):
    """PyYAML's, without references: two equal values are two values."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002
        return super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if "\n" in text and _is_block(text):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    plain = _PLAIN.match(text) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _is_block(text: str) -> bool:
    """Return whether a text can stand as it is: nothing in it is invisible."""
    return all(line.isprintable() and line == line.rstrip() for line in text.split("\n"))


_Dumper.add_representer(str, _text)


def dump_documents(documents: Iterable[Mapping[str, Any]], comments: Iterable[str] = ()) -> str:
    """Return documents as YAML, one after the other, below lines of comments."""
    head = "".join(f"# {' '.join(line.split())}".rstrip() + "\n" for line in comments)
    texts = [
        yaml.dump(
            _plain(document), Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=116
        )
        for document in documents
    ]
    return head + "---\n".join(texts)


def _plain(value: Any) -> Any:
    """Return a value in dicts and lists, which is all that the dumper knows."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
