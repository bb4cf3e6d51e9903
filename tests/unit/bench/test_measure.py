"""The order of the samples, what becomes of failures, containers' commands and ends, packages and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.cli import drivebuild, refused

from builder.bench.containers import LABEL, Place, Sample, Subject, run_command, sample_in, started
from builder.bench.measure import measure
from builder.bench.packages import packages_folder, packages_key
from builder.bench.suite import SUITES, Program, find_programs, find_suite, lock_of
from builder.cli.benchsides import make_plans, make_subjects
from builder.cli.main import Settings
from builder.engine.process import Result
from builder.errors import BuildError, RunError, SourceError, UsageError

PYTHON = SUITES["python"]
A = Subject(name="stock", image="drivebuild/m:p-stock", interpreter="/opt/python/bin/python3")
B = Subject(name="lto", image="drivebuild/m:p-lto", interpreter="/opt/python/bin/python3")
PLACE = Place(cpu="1", clock="processor", seconds=60, site=Path("/cache/site"))
P, Q = Program("p", ("p",)), Program("q", ("q", "--x"))


def quiet(*_: Any) -> None:
    """Say nothing."""


def steady(subject: Subject, program: Program) -> Sample:
    return Sample(values={program.name: 1.2 if subject is A else 1.0}, version="3.11.2")


# --- order and failures --------------------------------------------------------------------------


def test_sides_take_turns_in_alternating_direction() -> None:
    told: list[tuple[int, str, str]] = []
    measure(
        (A, B), (P, Q), 2, steady, lambda number, program, subject: told.append((number, program.name, subject.name))
    )
    assert told == [
        *[(1, "p", "stock"), (1, "p", "lto"), (1, "q", "stock"), (1, "q", "lto")],
        *[(2, "p", "lto"), (2, "p", "stock"), (2, "q", "lto"), (2, "q", "stock")],
    ]


def test_a_program_that_fails_once_is_in_no_figure() -> None:
    count = 0

    def take(subject: Subject, program: Program) -> Sample:
        nonlocal count
        count += program is Q
        if program is Q and count == 4:
            return Sample(error="exit code 1: boom")
        return steady(subject, program)

    found = measure((A, B), (P, Q), 5, take, quiet)
    assert found.failed == {"q": "stock, round 2: exit code 1: boom"}
    assert found.seconds == {"stock": {"p": (1.2,) * 5}, "lto": {"p": (1.0,) * 5}}
    assert count == 4


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_time_is_a_failure(value: float) -> None:
    def take(subject: Subject, program: Program) -> Sample:
        return Sample(values={"q": value}) if program is Q else steady(subject, program)

    assert "not a time" in measure((A, B), (P, Q), 1, take, quiet).failed["q"]


def test_figures_may_not_change_between_rounds() -> None:
    def take(subject: Subject, program: Program) -> Sample:
        return Sample(values={"q": 1.0} if subject is A else {"q": 1.0, "other": 1.0})

    with pytest.raises(RunError, match="before"):
        measure((A, B), (Q,), 1, take, quiet)


def test_what_an_image_cannot_have_is_no_failure() -> None:
    def take(subject: Subject, program: Program) -> Sample:
        return Sample(error="not there", absent=True) if program is Q else steady(subject, program)

    found = measure((A, B), (P, Q), 3, take, quiet)
    assert (found.failed, found.absent) == ({}, {"q": "not there"})


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(RunError, match="no program could be measured"):
        measure((A, B), (P,), 2, lambda *_: Sample(error="exit code 1: no module"), quiet)


# --- containers ----------------------------------------------------------------------------------


class Docker:
    """Answers `docker run` with ids, `docker exec` from a table, and keeps what it was asked."""

    def __init__(self, *, fails: str = "", said: Result | None = None) -> None:
        self.asked: list[tuple[str, ...]] = []
        self._fails, self._said = fails, said or Result(0)

    def __call__(self, argv: tuple[str, ...]) -> Result:
        self.asked.append(argv)
        if argv[1] == "run":
            return (
                Result(125, b"", b"no such image")
                if self._fails in argv
                else Result(0, b"pulling...\nid-" + argv[-2][-3:].encode())
            )
        return self._said if argv[1] == "exec" else Result(0)


def test_containers_have_no_network_and_are_pinned() -> None:
    words = run_command(A.image, PYTHON, PLACE)
    text = " ".join(words)
    assert "--network none" in text
    assert "--cpuset-cpus 1" in text
    assert "--cap-drop ALL" in text
    assert f"--label {LABEL}" in text
    assert "source=/cache/site,target=/bench/site,readonly" in text
    assert "--privileged" not in text


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RunError("x")])
def test_containers_are_removed_however_it_ends(error: Any) -> None:
    docker = Docker()
    try:
        with started((A, B, A), PYTHON, PLACE, docker) as ids:
            assert ids == {A.image: "id-ock", B.image: "id-lto"}
            if error:
                raise error
    except (KeyboardInterrupt, RunError):
        assert error
    assert docker.asked[-1] == ("docker", "rm", "--force", "id-ock", "id-lto")


def test_the_first_container_is_removed_when_the_second_cannot_be_started() -> None:
    docker = Docker(fails=B.image)
    with pytest.raises(BuildError, match="no such image"), started((A, B), PYTHON, PLACE, docker):
        pass
    assert docker.asked[-1] == ("docker", "rm", "--force", "id-ock")


def test_a_sample_is_the_last_line() -> None:
    docker = Docker(said=Result(0, b'warning\n{"values": {"q": 0.5}, "version": "3.11.2"}\n'))
    found = sample_in("id", A, Q, PYTHON, PLACE, docker)
    assert found == Sample(values={"q": 0.5}, version="3.11.2")
    assert docker.asked[0][-5:] == ("/bench/site", "processor", "60", "q", "--x")


@pytest.mark.parametrize("said", [b"", b"Killed", b"[1]", b'{"values": {"q": "x"}}'])
def test_a_sample_without_a_result_says_so(said: bytes) -> None:
    found = sample_in("id", A, Q, PYTHON, PLACE, Docker(said=Result(137, said, b"")))
    assert "exit code 137" in found.error


def test_a_missing_interpreter_ends_the_run() -> None:
    with pytest.raises(RunError, match="cannot be run"):
        sample_in("id", A, Q, PYTHON, PLACE, Docker(said=Result(127, b"", b"no such file")))


# --- packages ------------------------------------------------------------------------------------


def install(lock: Path, cache: Path, *, status: int = 0) -> tuple[Path, list[tuple[str, ...]]]:
    asked: list[tuple[str, ...]] = []

    def run(argv: tuple[str, ...]) -> tuple[int, str]:
        asked.append(argv)
        if not status:
            (Path(argv[argv.index("--target") + 1]) / "pyperf").mkdir()
        return status, "no such host"

    folder = packages_folder(lock, "3.11", "x86_64", uv=lambda: "/bin/uv", cache=cache, run=run)
    return folder, asked


def test_packages_are_installed_once_by_hash_and_from_wheels(tmp_path: Path) -> None:
    lock = lock_of(PYTHON, "3.11")
    folder, asked = install(lock, tmp_path)
    assert (folder / "pyperf").is_dir()
    assert {"--require-hashes", "--only-binary", "--no-deps"} <= set(asked[0])
    assert install(lock, tmp_path) == (folder, [])
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_failed_packages_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such host"):
        install(lock_of(PYTHON, "3.11"), tmp_path, status=2)
    assert list(tmp_path.iterdir()) == []


def test_another_lock_or_architecture_is_another_folder(tmp_path: Path) -> None:
    lock = tmp_path / "python-3.11.txt"
    lock.write_text("a==1\n", encoding="utf-8")
    first = packages_key(lock, "x86_64")
    assert packages_key(lock, "aarch64") != first
    lock.write_text("a==2\n", encoding="utf-8")
    assert packages_key(lock, "x86_64") != first


def test_locks_pin_by_hash() -> None:
    locks = list(lock_of(PYTHON, "3.11").parent.glob("*.txt"))
    assert {path.stem for path in locks} >= {"python-3.8", "python-3.11"}
    for path in locks:
        rows = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert all("==" in row and " --hash=sha256:" in row for row in rows)
        assert {"pyperf", "pyperformance"} <= {row.partition("==")[0] for row in rows}


def test_a_python_without_a_lock_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Python 3\.7") as caught:
        lock_of(PYTHON, "3.7")
    assert "3.11" in caught.value.hint


# --- choices and output --------------------------------------------------------------------------


def test_suite_has_names_once_and_a_short_selection() -> None:
    names = [program.name for program in PYTHON.programs]
    assert len(names) == len(set(names)) >= 50
    assert 30 <= len(find_programs(PYTHON, (), fast=True)) < len(names)
    assert [each.name for each in find_programs(PYTHON, ("go", "chaos", "go"), fast=True)] == ["go", "chaos"]
    assert (PYTHON.folder / PYTHON.script).is_file()


def test_unknown_words_are_refused_with_what_was_meant() -> None:
    with pytest.raises(UsageError, match="pyhton") as caught:
        find_suite("pyhton")
    assert "python" in caught.value.hint
    with pytest.raises(UsageError, match="chaso") as caught:
        find_programs(PYTHON, ("chaso",), fast=False)
    assert "chaos" in caught.value.hint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--suite", "ops2"), "no suite"),
        (("--suite", "all", "--program", "nms"), "belongs to one suite"),
        (("--suite", "ops", "--program", "chaos"), "has no 'chaos'"),
        (("--suite", "ops", "--allocators", "none,tmalloc"), "no 'tmalloc'"),
        (("--allocators", "none,tcmalloc"), "nothing to do with them"),
        (("--suite", "ops", "--variants", "stock"), "nothing to compare"),
        (("--clock", "sun"), "no clock"),
        (("--program", "nope"), "has no 'nope'"),
        (("--variants", ","), "no variant"),
        (("--variants", "lto,lto:gcc"), "nothing to compare"),
        (("--variants", "stock"), "nothing to compare"),
        (("--variants", "stock", "--also", "x"), "NAME=PATH"),
        (("--also", "lto=/usr/bin/python3"), "another NAME=PATH"),
    ],
)
def test_a_command_line_that_cannot_be_meant(words: tuple[str, ...], said: str) -> None:
    assert said in refused(drivebuild("bench", "streampetr", "--platform", "debian-12-cpu", *words), 2)


def test_a_variant_of_another_compiler_is_a_side_of_its_own() -> None:
    words = ("bench", "streampetr", "--platform", "debian-12-cpu", "--variants")
    assert "there is no toolchain 'clang'" in refused(drivebuild(*words, "stock,lto:clang"), 4)
    plans = make_plans(Settings(), "streampetr", "lto,lto:clang-debian-12", "debian-12-cpu")
    found = make_subjects(plans, PYTHON, "env", also=(), allocators=())
    assert [each.name for each in found] == ["lto", "lto:clang-debian-12"]
    assert found[1].image.endswith("debian-12-cpu-lto-toolchain.clang-debian-12-env")
