"""Lock files: what a line is, what differs, and two architectures as one list."""

from __future__ import annotations

import pytest

from builder.errors import PlanError
from builder.plan.locks import added, lock_archives, lock_path, merged, parse_lock

A, B = "a" * 64, "b" * 64


def test_path() -> None:
    assert lock_path("cann-8.1.rc1", "framework", "aarch64") == "cann-8.1.rc1/framework.aarch64.txt"


def test_parse() -> None:
    text = f"# made by drivebuild\n\ntorch==2.1.0+cpu --hash=sha256:{A} --hash=sha256:{B}\n"
    text += f"py-yaml==6.0 --hash=sha256:{A}\n"
    assert parse_lock(text, "p") == {"torch": ("2.1.0+cpu", (A, B)), "py-yaml": ("6.0", (A,))}
    assert parse_lock("", "p") == {}
    assert parse_lock(f"a==1 --hash=sha256:{A}\r\n", "p") == {"a": ("1", (A,))}


def test_a_source_archive_is_named_behind_its_hash() -> None:
    text = f"torch==2.1.0 --hash=sha256:{A}\nold==1.0 --hash=sha256:{B} # Old-1.0.tar.gz\n"
    assert parse_lock(text, "p") == {"torch": ("2.1.0", (A,)), "old": ("1.0", (B,))}
    assert lock_archives(text, "p") == {B: "Old-1.0.tar.gz"}
    assert lock_archives("", "p") == {}


def test_a_source_archive_has_one_hash() -> None:
    with pytest.raises(PlanError, match="one sha256"):
        lock_archives(f"old==1.0 --hash=sha256:{A} --hash=sha256:{B} # old-1.0.tar.gz", "p")


@pytest.mark.parametrize("file", ["../x.tar.gz", "a/b.zip", "x.whl", "a b.zip", "$(id).zip", ".zip", "x.tar.gz'", ""])
def test_what_is_no_name_of_a_source_archive_is_refused(file: str) -> None:
    with pytest.raises(PlanError, match="not a pinned requirement"):
        parse_lock(f"old==1.0 --hash=sha256:{A} # {file}", "p")


@pytest.mark.parametrize(
    "line",
    [
        # no hash: pip would take whatever is there
        "torch==2.1.0",
        # no pin
        f"torch>=2.1.0 --hash=sha256:{A}",
        # a hash that is too short, of another kind, or upper case
        f"torch==2.1.0 --hash=sha256:{A[1:]}",
        f"torch==2.1.0 --hash=md5:{A}",
        f"torch==2.1.0 --hash=sha256:{A.upper()}",
        # a name that is not normalised would not be found in another lock
        f"Torch==2.1.0 --hash=sha256:{A}",
        f"torch_npu==2.1.0 --hash=sha256:{A}",
        # options and URLs would reach another index
        "--index-url https://example.org",
        f"torch @ https://example.org/t.whl --hash=sha256:{A}",
        "-r other.txt",
        # what a shell or a heredoc would make something of
        f"torch==$(id) --hash=sha256:{A}",
        f"torch==2.1.0 --hash=sha256:{A} ; touch x",
        "EOF",
        # a marker is written by the merge only
        f"torch==2.1.0 ; python_version > '3' --hash=sha256:{A}",
        # indented, continued
        f"  torch==2.1.0 --hash=sha256:{A}",
        "torch==2.1.0 \\",
    ],
)
def test_what_is_no_pin_is_named_with_file_and_line(line: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_lock(f"# comment\na==1 --hash=sha256:{A}\n{line}\n", "plat/toy.aarch64.txt")
    assert caught.value.message.startswith("locks/plat/toy.aarch64.txt:3: ")
    assert "drivebuild lock" in caught.value.hint


def test_a_package_pinned_twice_is_an_error() -> None:
    # the later line would win silently
    with pytest.raises(PlanError, match=r"locks/p:2: 'a' is pinned twice"):
        parse_lock(f"a==1 --hash=sha256:{A}\na==2 --hash=sha256:{A}\n", "p")


def test_added_is_what_is_new_or_another_version() -> None:
    framework = {"numpy": ("1.23.5", (A,)), "pillow": ("10.4.0", (A,))}
    model = {"numpy": ("1.23.5", (A, B)), "einops": ("0.8.0", (A,)), "pillow": ("9.4.0", (B,))}
    assert added(model, framework) == {"einops": ("0.8.0", (A,)), "pillow": ("9.4.0", (B,))}
    assert added({}, framework) == {}


ARCHITECTURES = ("aarch64", "x86_64")


@pytest.mark.parametrize(
    ("arm", "intel", "lines"),
    [
        # the same file on both: one line, one hash
        ({"a": ("1", (A,))}, {"a": ("1", (A,))}, (f"a==1 --hash=sha256:{A}",)),
        # one version, a wheel each: one line, both hashes in the order of the architectures
        ({"a": ("1", (B,))}, {"a": ("1", (A,))}, (f"a==1 --hash=sha256:{B} --hash=sha256:{A}",)),
        # only on one: a marker
        ({"a": ("1", (A,))}, {}, (f"a==1 ; platform_machine == 'aarch64' --hash=sha256:{A}",)),
        # two versions: two lines, each with its marker
        (
            {"a": ("1", (A,))},
            {"a": ("2", (B,))},
            (
                f"a==1 ; platform_machine == 'aarch64' --hash=sha256:{A}",
                f"a==2 ; platform_machine == 'x86_64' --hash=sha256:{B}",
            ),
        ),
        # sorted by name, whatever the order in the files
        (
            {"b": ("1", (A,)), "a": ("1", (A,))},
            {"a": ("1", (A,)), "b": ("1", (A,))},
            (f"a==1 --hash=sha256:{A}", f"b==1 --hash=sha256:{A}"),
        ),
        # nothing
        ({}, {}, ()),
    ],
)
def test_merge(
    arm: dict[str, tuple[str, tuple[str, ...]]],
    intel: dict[str, tuple[str, tuple[str, ...]]],
    lines: tuple[str, ...],
) -> None:
    assert merged({"aarch64": arm, "x86_64": intel}, ARCHITECTURES) == lines


def test_merge_of_one_architecture_needs_no_marker() -> None:
    assert merged({"any": {"uv": ("0.5", (A,))}}, ("any",)) == (f"uv==0.5 --hash=sha256:{A}",)
