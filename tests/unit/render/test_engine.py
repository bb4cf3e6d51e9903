"""Quoting against the rules of the place where a value stands; the shell's own opinion is in scripts/test_quoting."""

from __future__ import annotations

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from support.dockerfile import words

from builder.render.engine import environment, quote_dockerfile, quote_shell, render_template

LINE = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\u2028\u2029"), max_size=60)
HOSTILE = st.text(alphabet="a $`'\"\\(){}#!;&|<>*?~=%\t-", max_size=30)


@given(LINE | HOSTILE)
def test_dockerfile_quoting_survives_the_word_processor(value: str) -> None:
    assert words(f"KEY={quote_dockerfile(value)}", variables={"a": "expanded"}) == [f"KEY={value}"]


@given(LINE | HOSTILE)
def test_shell_quoting_is_one_word(value: str) -> None:
    assert shlex.split(quote_shell(value)) == [value]


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        # what needs no quotes has none: a rendered file reads as if written by hand
        ("plain-1.0_x/y:z@a%b", "plain-1.0_x/y:z@a%b"),
        # a quote inside reads better in double quotes, where nothing else is special
        ("dict(backend='nccl')", "\"dict(backend='nccl')\""),
        ("it's $HOME", "'it'\"'\"'s $HOME'"),
        ("it's `x`", "'it'\"'\"'s `x`'"),
        ("it's a\\b", "'it'\"'\"'s a\\b'"),
        ("it's!", "'it'\"'\"'s!'"),
        ("", "''"),
    ],
)
def test_shell_quoting_reads_well(value: str, quoted: str) -> None:
    assert quote_shell(value) == quoted


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("a/b:1.0", "a/b:1.0"),
        ("", '""'),
        ("a b", '"a b"'),
        ("$HOME", '"\\$HOME"'),
        ('"\\', '"\\"\\\\"'),
        ("a#b", '"a#b"'),
    ],
)
def test_dockerfile_quoting_reads_well(value: str, quoted: str) -> None:
    assert quote_dockerfile(value) == quoted


def test_an_undefined_variable_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="nothing"):
        render_template({"a.j2": "x {{ nothing }}"}, "a.j2", {})


def test_filters_and_script() -> None:
    templates = {"a.j2": "{{ v | yaml }} {{ v | comment }} {{ script('s.sh') }}", "s.sh": "echo ${#list[@]} {{ raw }}"}
    assert render_template(templates, "a.j2", {"v": "a  b"}) == '"a  b" a b echo ${#list[@]} {{ raw }}'


def test_a_value_is_never_a_template() -> None:
    assert render_template({"a.j2": "{{ v }}"}, "a.j2", {"v": "{{ 7 * 7 }}"}) == "{{ 7 * 7 }}"


@given(LINE | HOSTILE)
def test_yaml_quoting_is_json(value: str) -> None:
    made = environment({}).filters["yaml"](value)
    assert json.loads(made) == value
