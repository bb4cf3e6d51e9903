"""_optimised.py: an interpreter that says it was optimised and was not is found out by its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest


class Code:
    """An interpreter's ELF file, as the script sees it."""

    def __init__(self, switches: str, comment: str, names: list[str], *, loop: int = 0, early: int = 0) -> None:
        self.texts = {".GCC.command.line": [switches], ".comment": [comment]}
        self.names = names
        self.loop = loop
        self.early = early
        # name, type, flags, address, offset, size
        self.sections = {".text": (0, 1, 6, 0x1000, 0x1000, 0x20000)}
        if loop:
            self.sections[".text.hot"] = (0, 1, 6, 0x1000, 0x1000, 0x800)

    def strings(self, name: str) -> list[str]:
        return self.texts.get(name, [])

    def symbols(self, name: str) -> list[str]:
        return self.names if name == ".symtab" else []

    def entries(self, name: str) -> Iterator[tuple[str, int, int]]:
        yield "_PyEval_EvalFrameDefault", self.loop, 12
        yield "deregister_tm_clones", 0x9000, 12
        yield from ((name, 0x1000 + 4 * number, 12) for number in range(self.early) for name in (f"f{number}", "$x"))
        yield from ((f"late{number}", 0x9010 + 4 * number, 12) for number in range(2000))
        yield "defined_elsewhere", 0x2000, 0


THIN = [f"static{number}.llvm.{number}" for number in range(400)]
RENAMED = [f"static{number}.lto_priv.0" for number in range(2000)]
USE = "clang -O3 -flto=thin -fprofile-use=/src/profile/python.profdata"
LLD = "Linker: Debian LLD 19.1.7"


@pytest.fixture
def script(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("_optimised")


def test_clang_with_both(script: ModuleType) -> None:
    facts, figures = script.of_clang(Code(USE, LLD, THIN, loop=0x1100))
    assert all(facts.values()), facts
    assert figures["renamed statics"] == 400


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        # a configure that knows no --with-lto
        (Code("clang -O3 -fprofile-use=p", "GNU ld", [], loop=0x1100), "LTO recorded in the binary"),
        # -flto in the options, and a link that was none
        (Code(USE, LLD, [], loop=0x1100), "LTO merged files in the binary"),
        (Code(USE.replace("=thin", ""), LLD, THIN, loop=0x1100), "LTO merged files in the binary"),
        (Code("clang -O3 -flto=thin", LLD, THIN, loop=0x1100), "PGO recorded in the binary"),
        # an empty profile: nothing is hot, or only other functions are
        (Code(USE, LLD, THIN), "PGO found the loop hot"),
        (Code(USE, LLD, THIN, loop=0x9000), "PGO found the loop hot"),
    ],
)
def test_clang_with_one_missing(code: Code, missing: str, script: ModuleType) -> None:
    facts, _ = script.of_clang(code)
    assert next(name for name, there in facts.items() if not there) == missing


def test_gcc(script: ModuleType) -> None:
    for link in ("-fltrans", "-flto-partition=none"):
        facts, figures = script.of_gcc(Code(f"GNU GIMPLE 12.2.0 -O3 {link}", "", RENAMED, early=1500))
        assert all(facts.values()), facts
        assert figures["sorted functions"] == 1500
    assert not any(script.of_gcc(Code("GNU C11 12.2.0 -O3 -flto", "", ["a", "b.cold"]))[0].values())


def test_gcc_without_a_profile_leaves_functions_where_they_are(script: ModuleType) -> None:
    facts, _ = script.of_gcc(Code("GNU GIMPLE 12.2.0 -O3 -fltrans", "", RENAMED, early=20))
    assert [name for name, there in facts.items() if not there] == ["PGO sorted functions in the binary"]


def test_counters_left_are_named(script: ModuleType) -> None:
    assert script.with_runtime(Code("", "", ["main", "__llvm_profile_runtime", "__gcov_exit"])) == [
        "__gcov_exit",
        "__llvm_profile_runtime",
    ]
