"""ELF files read by hand: what a library is linked to, what it defines, and mmcv's tables of operators in it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Load = Callable[[str], ModuleType]


def library(symbols: dict[str, tuple[int, int]], needed: tuple[str, ...]) -> bytes:
    """Return a 64-bit ELF file with nothing but symbols {name: (value, section)} and the libraries it needs."""
    text = b"\0"
    places = {}
    for name in (*symbols, *needed):
        places[name] = len(text)
        text += name.encode() + b"\0"
    table = bytes(24) + b"".join(
        struct.pack("<IBBHQQ", places[name], 0, 0, section, value, 8) for name, (value, section) in symbols.items()
    )
    dynamic = b"".join(struct.pack("<qQ", 1, places[name]) for name in needed) + bytes(16)
    names = b"\0.dynstr\0.dynsym\0.dynamic\0.shstrtab\0"
    at, sections = 64, [struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)]
    for name, kind, content, link in (
        (".dynstr", 3, text, 0),
        (".dynsym", 11, table, 1),
        (".dynamic", 6, dynamic, 1),
        (".shstrtab", 3, names, 0),
    ):
        start = names.index(name.encode() + b"\0")
        sections.append(struct.pack("<IIQQQQIIQQ", start, kind, 0, 0, at, len(content), link, 0, 1, 0))
        at += len(content)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, at, 0, 64, 0, 0, 64, 5, 4)
    return head + text + table + dynamic + names + b"".join(sections)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    table = "_ZZN14DeviceRegistryIPFvN2at6TensorES1_EXadL_Z8nms_implS1_S1_EEE8instanceEvE4inst"
    symbols = {"_Z7nms_npuN2at6TensorES0_fi": (16, 5), table: (64, 6), "_ZN6at_npu6native9OpCommand3RunEv": (0, 0)}
    path = tmp_path / "ext.so"
    path.write_bytes(library(symbols, ("libtorch_npu.so", "libc.so.6")))
    return path


def test_a_library_says_what_it_needs_and_defines(load: Load, file: Path) -> None:
    elf = load("_elf").Elf(str(file))
    assert elf.needed() == ["libtorch_npu.so", "libc.so.6"]
    defined = [name for name, _, section in elf.entries(".dynsym") if section]
    assert defined[0] == "_Z7nms_npuN2at6TensorES0_fi"
    assert len(defined) == 2
    assert "_ZN6at_npu6native9OpCommand3RunEv" in elf.symbols(".dynsym")
    assert list(elf.symbols(".symtab")) == []


def test_another_file_is_no_library(load: Load, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n" * 10, encoding="ascii")
    with pytest.raises(ValueError, match="not a 64-bit ELF file"):
        load("_elf").Elf(str(tmp_path / "script"))


def test_the_table_of_each_operator_is_found_by_its_symbol(load: Load, file: Path) -> None:
    symbols = list(load("_elf").Elf(str(file)).entries(".dynsym"))
    tables = load("npu_ops").tables(symbols)
    assert list(tables) == ["nms_impl"]
    assert tables["nms_impl"].endswith("instanceEvE4inst")


@pytest.mark.parametrize(
    ("symbol", "name"),
    [("_Z7nms_npuN2at6TensorES0_fi", "nms_npu"), ("_ZN6at_npu6native9OpCommand3RunEv", ""), ("aclInit", "")],
)
def test_the_plain_name_of_a_function(load: Load, symbol: str, name: str) -> None:
    assert load("npu_ops").plain(symbol) == name


def test_the_headers_of_torch_npu_and_of_acl_are_wanted(load: Load) -> None:
    site = "/site/torch_npu/include"
    folders = [f"{site}/torch_npu/csrc", f"{site}/third_party/acl/inc/acl"]
    wanted = load("npu_ops").wanted_headers
    assert wanted([*folders, f"{site}/third_party/hccl/inc/hccl"])
    assert wanted(folders)
    assert not any(wanted([folder]) for folder in folders)
