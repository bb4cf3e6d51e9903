"""What a container that asks a source archive is given, and what is made of its answer."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support.runner import RecordingRunner

from builder.engine.metadata import MARK, MOST_SAID, ask_archive, box_command
from builder.engine.process import Argv, CommandMissingError
from builder.errors import BuildError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(b"an archive")
    return path


def line(**answer: Any) -> bytes:
    return f"docker says something\n{MARK}{json.dumps(answer)}\n".encode()


def test_the_container_is_given_nothing_of_this_machine() -> None:
    words = box_command("base:1", "name", "a", "b")
    for option, value in (("--network", "none"), ("--user", "65534:65534"), ("--cap-drop", "ALL"), ("--pull", "never")):
        assert words[words.index(option) + 1] == value
    assert "--read-only" in words
    assert not {"--volume", "--mount", "--env-file", "--privileged", "-v"} & set(words)
    given = {words[place + 1] for place, word in enumerate(words) if word == "--env"}
    assert {"http_proxy=", "HTTP_PROXY=", "https_proxy=", "NO_PROXY=", "ALL_PROXY="} <= given
    assert all(value.endswith("=") for value in given)
    assert words[words.index("base:1") - 1] == "timeout"


def test_it_is_handed_the_archive_and_what_its_backend_needs_without_whose_they_are(
    archive: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library-0"
    (library / "setuptools").mkdir(parents=True)
    (library / "setuptools/__init__.py").write_text("x = 1")
    box = RecordingRunner(output=line(metadata="Name: x"))
    assert ask_archive("base:1", archive, library, ["setuptools"], box)["metadata"] == "Name: x"
    with tarfile.open(fileobj=io.BytesIO(box.stdin[0])) as tar:
        members = {member.name: member for member in tar}
        assert set(members) == {
            "ask.py",
            "archive.tar.gz",
            "library",
            "library/setuptools",
            "library/setuptools/__init__.py",
        }
        assert {(each.uid, each.gid, each.uname, each.mtime) for each in members.values()} == {(0, 0, "", 0)}
    command, removed = box.asked
    assert command[-3:] == ("/tmp/archive.tar.gz", "/tmp/library", '["setuptools"]')
    assert removed == ("docker", "rm", "--force", command[command.index("--name") + 1])


def test_the_first_question_grants_nothing(archive: Path) -> None:
    box = RecordingRunner(output=line(requires=["setuptools"], python="3.11"))
    assert ask_archive("base:1", archive, None, [], box)["requires"] == ["setuptools"]
    assert box.asked[0][-1] == "null"


@pytest.mark.parametrize(
    ("said", "code", "expected"),
    [
        (b"", 0, r"it gives no answer \(exit code 0\)"),
        (b"docker: no such image\n", 125, r"exit code 125\)\n  \| docker: no such image"),
        (b"", 137, "it took longer than 300 s"),
        (f"{MARK}{{".encode(), 0, "it gives no answer"),
        (MARK.encode() + b"[" * 100_000, 0, "it gives no answer"),
        (f"{MARK}[]".encode(), 0, "it gives no answer"),
        (line(error="Traceback\nValueError: no"), 0, r"  \| ValueError: no"),
        (line(error=["no text"]), 0, "it gives no answer"),
        (b"\xff\xfe\x00", 1, "it gives no answer"),
        (b"x" * (MOST_SAID + 1), 0, "it prints more than 8 MiB"),
    ],
)
def test_no_answer_is_one_error(archive: Path, said: bytes, code: int, expected: str) -> None:
    box = RecordingRunner(output=said, code=code)
    with pytest.raises(BuildError, match=expected):
        ask_archive("base:1", archive, None, [], box)
    assert box.asked[-1][:3] == ("docker", "rm", "--force")


def test_no_docker_is_said(archive: Path) -> None:
    class Missing(RecordingRunner):
        def stream(self, argv: Argv, *_: object, **__: object) -> int:  # type: ignore[override]
            raise CommandMissingError(argv[0])

    with pytest.raises(BuildError, match="`docker` is not installed"):
        ask_archive("base:1", archive, None, [], Missing())
