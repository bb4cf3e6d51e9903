"""Shell of READMEs as commands: words, redirections, placeholders, and what no shell reads."""

from __future__ import annotations

import pytest

from builder.readme.shell import Redirect, read_shell


def test_words_lines_and_assignments() -> None:
    commands = read_shell("cd a/b\nFLAG=1 OTHER=x python setup.py 'two words' \\\n  --last\nexport HERE=\"a:b\"\n", 10)
    assert [(command.words, command.line) for command in commands] == [
        (("cd", "a/b"), 10),
        (("python", "setup.py", "two words", "--last"), 11),
        (("export",), 13),
    ]
    assert commands[1].assignments == (("FLAG", "1"), ("OTHER", "x"))
    assert commands[2].assignments == (("HERE", "a:b"),)


def test_both_sides_of_an_and_and_a_pipe() -> None:
    commands = read_shell("git clone u && cd u; cat f | tee g\n(make)\n")
    assert [command.program for command in commands] == ["git", "cd", "cat", "tee", "make"]


def test_a_redirection_takes_one_word() -> None:
    # The grammar counts the rest to it, too.
    (command,) = read_shell("./configure --prefix=/x > --with-lto --enable-optimizations")
    assert command.redirects == (Redirect(">", "--with-lto"),)
    assert command.words == ("./configure", "--prefix=/x", "--enable-optimizations")
    (command,) = read_shell("pip install numpy>=1.2 other")
    assert command.redirects == (Redirect(">", "=1.2"),)
    assert command.words == ("pip", "install", "numpy", "other")


@pytest.mark.parametrize("text", ["cd {root}/models", "cd [WHERE]/models", "cp a <there>/b", "cd $X/${Y}"])
def test_placeholders_are_words(text: str) -> None:
    (command,) = read_shell(text)
    assert command.program in ("cd", "cp")


def test_what_is_no_shell_and_what_is_endless() -> None:
    assert any(command.broken for command in read_shell("if then (\n"))
    # The outermost of them are looked at; nothing runs out of stack.
    assert len(read_shell("(" * 5000 + "ls" + ")" * 5000)) <= 1
    assert read_shell("") == ()
