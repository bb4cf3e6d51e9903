"""Questions to the package index: how they are grouped, and how answers are read."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from builder.engine.process import Result
from builder.errors import SourceError
from builder.plan.needs import PackageNeed
from builder.source.index import locate, rounds

A, B = "a" * 64, "b" * 64


def need(name: str = "numpy", version: str = "1.23.5", sha256: str = A, **others: str) -> PackageNeed:
    words = {"python": "3.8", "architecture": "aarch64", **others}
    return PackageNeed(stage="packages-model", name=name, version=version, sha256=sha256, **words)


@dataclass
class FakeUv:
    """Answers with a lock of the files it has, or says that there is no solution."""

    files: dict[str, str]
    """`name==version` to the TOML of its files."""
    complaint: str = ""
    asked: int = 0

    def __call__(self, argv: tuple[str, ...]) -> Result:
        self.asked += 1
        folder = Path(argv[argv.index("--directory") + 1])
        wanted = (folder / "requirements.in").read_text().split()
        lacking = [one for one in wanted if one not in self.files]
        if lacking:
            said = (
                self.complaint or f"  × No solution found:\n  ╰─▶ Because {lacking[0].partition('==')[0]} was not found"
            )
            return Result(1, b"", said.encode())
        parts = [
            f'[[packages]]\nname = "{one.partition("==")[0]}"\nversion = "{one.partition("==")[2]}"\n{self.files[one]}'
            for one in wanted
        ]
        (folder / "pylock.toml").write_text("\n".join(parts))
        return Result(0)


def listed(file: str, sha256: str = A, *, kind: str = "wheels", more: str = "") -> str:
    entry = f'{{ url = "https://index.example/{file}", {more}hashes = {{ sha256 = "{sha256}" }} }}'
    return f"{kind} = [{entry}]" if kind == "wheels" else f"{kind} = {entry}"


@pytest.fixture(autouse=True)
def _uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.source.index.find_uv", lambda: "uv")


def test_rounds_keep_versions_pythons_and_machines_apart() -> None:
    wanted = (
        need(),
        need("torch", "2.1.0"),
        need(version="1.22.0"),
        need(python="3.11"),
        need(architecture="x86_64"),
        # The same name, spelt otherwise: uv would see two versions of one package.
        need("Num.Py", "1.0"),
        need("num-py", "2.0"),
    )
    groups = [tuple(sorted((one.name, one.version) for one in group)) for group in rounds(wanted)]
    assert sorted(groups) == sorted(
        [
            (("Num.Py", "1.0"), ("numpy", "1.23.5"), ("torch", "2.1.0")),
            (("num-py", "2.0"), ("numpy", "1.22.0")),
            (("numpy", "1.23.5"),),
            (("numpy", "1.23.5"),),
        ]
    )


def test_one_version_with_two_files_is_one_question() -> None:
    assert len(list(rounds((need(), need(sha256=B))))) == 1


def test_a_file_is_known_by_its_sha256() -> None:
    wheel = "numpy-1.23.5%2Bcpu-cp38-cp38-linux_aarch64.whl"
    uv = FakeUv(
        {"numpy==1.23.5": listed(wheel, more="size = 12, ") + "\n" + listed("numpy-1.23.5.tar.gz", B, kind="sdist")}
    )
    found = locate((need(), need(sha256=B)), uv)
    assert found.failures == {}
    assert (found.files[A].name, found.files[A].size, found.files[A].sdist) == (
        "numpy-1.23.5+cpu-cp38-cp38-linux_aarch64.whl",
        12,
        False,
    )
    assert found.files[A].url == f"https://index.example/{wheel}"
    assert (found.files[B].name, found.files[B].size, found.files[B].sdist) == ("numpy-1.23.5.tar.gz", 0, True)
    assert uv.asked == 1


def test_a_folder_of_wheels_is_an_index(tmp_path: Path) -> None:
    entry = f'wheels = [{{ name = "numpy.whl", path = "{tmp_path}/numpy.whl", hashes = {{ sha256 = "{A}" }} }}]'
    found = locate((need(),), FakeUv({"numpy==1.23.5": entry}))
    assert found.files[A].url == (tmp_path / "numpy.whl").as_uri()


def test_every_package_the_index_lacks_is_named() -> None:
    uv = FakeUv({"numpy==1.23.5": listed("numpy.whl")})
    lacking = (need("einops", "0.8.0", B), need("fvcore", "1.0", "c" * 64))
    found = locate((need(), *lacking), uv)
    assert set(found.files) == {A}
    assert "Because einops was not found" in found.failures[B]
    assert "Because fvcore was not found" in found.failures["c" * 64]
    assert uv.asked == 3


def test_a_name_inside_of_another_is_not_that_package() -> None:
    uv = FakeUv({"torch==2.1.0": listed("torch.whl", B)})
    found = locate((need("torch", "2.1.0", B), need("torch-npu", "2.1.0")), uv)
    assert set(found.files) == {B}
    assert set(found.failures) == {A}


def test_an_index_that_does_not_answer_is_asked_once() -> None:
    uv = FakeUv({}, complaint="error: Request failed after 3 retries: Failed to fetch https://index.example/numpy/")
    found = locate(tuple(need(f"p{number}", sha256=f"{number:064x}") for number in range(50)), uv)
    assert uv.asked == 1
    assert len(found.failures) == 50
    assert len(set(found.failures.values())) == 1


def test_another_file_than_the_pinned_one() -> None:
    found = locate((need(),), FakeUv({"numpy==1.23.5": listed("numpy.whl", B)}))
    assert re.search(r"has numpy 1\.23\.5 for Python 3\.8 on aarch64, but no file with sha256 aaaa", found.failures[A])


def test_a_file_found_for_one_machine_serves_another() -> None:
    # A wheel for any machine is wanted by two images; one of the two questions may fail.
    uv = FakeUv({"numpy==1.23.5": listed("numpy-py3-none-any.whl")})
    found = locate((need(), replace(need(), architecture="x86_64")), uv)
    assert found.failures == {}
    assert uv.asked == 2


def test_an_index_without_checksums_is_none() -> None:
    entry = 'wheels = [{ url = "https://index.example/numpy.whl" }]'
    with pytest.raises(SourceError, match="gives no sha256"):
        locate((need(),), FakeUv({"numpy==1.23.5": entry}))


def test_nothing_wanted_nothing_asked() -> None:
    uv = FakeUv({})
    assert locate((), uv).files == {}
    assert uv.asked == 0
