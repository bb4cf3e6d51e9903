"""What an image is asked, and what its layers must not hold."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.engine import FakeEngine
from support.runner import RecordingRunner

from builder.cli.verify import summary
from builder.engine.host import Image
from builder.engine.hygiene import forbidden_path, look_from_outside
from builder.engine.process import Result
from builder.engine.verify import Check, Probe, expectations, probes, run_probe
from builder.errors import BuildError
from builder.plan.make import make_plan
from builder.recipe.types import Catalog


@pytest.fixture
def expect(catalog: Catalog) -> dict[str, object]:
    plan = make_plan(catalog, "streampetr", platform="debian-12-cpu", variant="lto")
    return expectations(plan, catalog, target="env")


def test_expectations_name_versions_of_locks_components_and_python(expect: dict[str, object]) -> None:
    versions = expect["versions"]
    assert isinstance(versions, dict)
    assert versions["python"] == "3.11.2"
    assert versions["mmcv-full"] == "1.7.2"
    assert versions["numpy"] == "1.23.5"
    assert (expect["variant"], expect["shared"]) == ("lto", False)
    assert expect["allocator"] == {"there": ["jemalloc", "tcmalloc"], "default": "tcmalloc", "page": 0}
    assert json.dumps(expect)


def test_for_another_architecture_its_own_packages_are_expected(catalog: Catalog) -> None:
    plan = make_plan(catalog, "streampetr", platform="debian-12-cpu", architecture="aarch64")
    intel, arm = (
        expectations(replace(plan, foreign=architecture), catalog, target="env")["versions"]
        for architecture in ("x86_64", "aarch64")
    )
    assert arm["shapely"] == intel["shapely"] == "1.8.5.post1"
    assert {name.partition("-")[0] for name in set(intel) - set(arm)} == {"nvidia", "triton"}
    assert not set(arm) - set(intel)


def test_every_script_is_asked_as_it_wants(expect: dict[str, object]) -> None:
    found = probes(expect, ["versions.py", "allocator.py", "lto.py", "mmcv_ops.py", "user.py"])
    assert [probe.script for probe in found] == [
        *(["allocator.py"] * 4),
        *("lto.py", "mmcv_ops.py", "user.py", "user.py", "versions.py"),
    ]
    assert json.loads(found[4].stdin) == expect
    assert json.loads(found[-1].stdin) == expect["versions"]
    said = [(probe.arguments, probe.environment, probe.entrypoint) for probe in found[:4]]
    assert said == [
        (("tcmalloc",), {}, True),
        (("jemalloc",), {"DRIVEBUILD_ALLOCATOR": "jemalloc"}, True),
        (("none",), {"DRIVEBUILD_ALLOCATOR": "none"}, True),
        (("none",), {}, False),
    ]
    assert probes({**expect, "components": []}, ["mmcv_ops.py"]) == ()


def test_a_compiled_tcmalloc_is_asked_for_its_page_and_an_image_without_one_for_none(catalog: Catalog) -> None:
    plan = make_plan(catalog, "streampetr", platform="debian-12-cpu", options={"tcmalloc": "source-package"})
    found = probes(expectations(plan, catalog, target="env"), ["allocator.py"])
    assert found[0].arguments == ("tcmalloc", "--page", "65536")
    without = expectations(make_plan(catalog, "flashocc", platform="debian-12-cpu"), catalog, target="env")
    assert without["allocator"] == {"there": [], "default": "none", "page": 0}
    assert [(probe.arguments, probe.entrypoint) for probe in probes(without, ["allocator.py"])] == [
        (("none",), True),
        (("none",), False),
    ]


@pytest.fixture
def stub(catalog: Catalog) -> dict[str, object]:
    plan = make_plan(catalog, "streampetr", platform="cann-8.1.rc1-stub")
    return expectations(plan, catalog, target="image")


def test_an_image_for_npus_is_asked_about_its_adapter_manifest_and_model(stub: dict[str, object]) -> None:
    scripts = ["models.py", "train_script.py", "npu_stack.py", "npu_ops.py", "refused.py", "applied.py", "jobs.py"]
    found = {probe.script: probe for probe in probes(stub, scripts)}
    assert sorted(found) == sorted(scripts)
    assert [name for name, probe in found.items() if not probe.entrypoint] == ["refused.py"]
    assert all(json.loads(probe.stdin) == stub for name, probe in found.items() if name != "npu_ops.py")
    assert probes({**stub, "target": "env", "accelerator": "cpu"}, scripts) == ()
    without = {probe.script for probe in probes({**stub, "components": []}, scripts)}
    assert without == set(scripts) - {"npu_ops.py"}


def test_the_expectations_of_a_stand_in_come_from_the_plan(stub: dict[str, object]) -> None:
    assert (stub["cann_way"], stub["twin"]) == ("stub", "cann-8.1.rc1")
    refused, labels, versions, commands = (stub[key] for key in ("refused", "labels", "versions", "commands"))
    assert isinstance(refused, list)
    assert "test/train_8p.sh" in refused
    assert isinstance(labels, dict)
    assert labels["drivebuild.runnable"] == "false"
    assert isinstance(versions, dict)
    assert versions["torch-npu"] == "2.1.0.post12"
    assert isinstance(commands, list)
    assert any("projects/configs/StreamPETR/" in command for command in commands)
    assert stub["kept"] == {"mmdet3d": "/workspace/streampetr/StreamPETR/mmdetection3d"}
    assert stub["changed"] == ["mmdet3d-source", "overlay-mmcv", "overlay-mmdet", "tree"]
    packages = stub["packages"]
    assert isinstance(packages, dict)
    assert packages["mmcv"] == "mmcv-full"
    assert json.dumps(stub)


@pytest.mark.parametrize(
    ("model", "platform", "options", "millions"),
    [
        ("streampetr", "cann-8.1.rc1-stub", {}, 81.37),
        ("streampetr", "cann-8.1.rc1-stub", {"attention": "upstream"}, None),
        ("streampetr", "debian-12-cpu", {}, None),
        ("flashocc", "cann-8.1.rc1-stub", {}, None),
    ],
)
def test_only_what_was_measured_is_demanded_of_a_network(
    catalog: Catalog, model: str, platform: str, options: dict[str, str], millions: float | None
) -> None:
    plan = make_plan(catalog, model, platform=platform, options=options)
    assert expectations(plan, catalog, target="image")["parameters"] == millions


def test_a_stand_in_has_all_libraries_but_those_of_cuda(stub: dict[str, object]) -> None:
    (probe,) = probes(stub, ["libraries.py"])
    assert "libascend_hal.so" not in probe.arguments
    (probe,) = probes({**stub, "cann_way": "image"}, ["libraries.py"])
    assert "libascend_hal.so" in probe.arguments


def ran(answer: Result) -> tuple[RecordingRunner, tuple[tuple[str, bool], ...]]:
    runner = RecordingRunner(answers={("docker", "run"): answer})
    probe = Probe(script="user.py", user="0", entrypoint=False, label="there")
    checks = run_probe(probe, tag="t", folder=Path("/scripts"), expect={}, runner=runner)
    return runner, tuple((check.name, check.ok) for check in checks)


def test_a_script_runs_without_network_and_reports() -> None:
    runner, checks = ran(Result(0, b'a warning\n{"check": "user", "ok": true, "detail": 1}\n'))
    assert checks == (("user there", True),)
    words = " ".join(runner.asked[0])
    assert "--network none" in words
    assert "/scripts:/tmp/in_image:ro" in words
    assert words.endswith("--user 0 --entrypoint python t -B /tmp/in_image/user.py")


def test_what_was_not_verified_comes_with_what_it_needs() -> None:
    line = b'{"check": "compute", "ok": true, "unverified": "needs a device"}\n'
    runner = RecordingRunner(answers={("docker", "run"): Result(0, line + b'{"check": "import", "ok": true}\n')})
    checks = run_probe(Probe(script="npu_stack.py"), tag="t", folder=Path("/scripts"), expect={}, runner=runner)
    assert [(check.name, check.unverified) for check in checks] == [("compute", "needs a device"), ("import", "")]
    assert summary([*checks, Check("x", "broken", ok=False)]) == (
        "1 of 2 checks passed, 1 not verified here (needs a device: 1)"
    )
    assert summary([checks[1]]) == "1 of 1 checks passed"


@pytest.mark.parametrize(
    ("answer", "last"),
    [
        (Result(1, b'{"check": "user", "ok": false}\n'), ("user there", False)),
        (Result(139, b'{"check": "user", "ok": true}\n'), ("ended in order", False)),
        (Result(0, b"nothing of use\n"), ("ended in order", False)),
        (Result(1, b"", b"Traceback"), ("ended in order", False)),
    ],
)
def test_a_script_that_fails_crashes_or_says_nothing_is_a_failure(answer: Result, last: tuple[str, bool]) -> None:
    assert ran(answer)[1][-1] == last


def test_docker_itself_failing_is_an_error() -> None:
    with pytest.raises(BuildError, match="no such image"):
        ran(Result(125, b"", b"no such image"))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("run/secrets/ca-bundle", "secret"),
        ("root/.netrc", "secret"),
        ("usr/local/share/ca-certificates/proxy.crt", "CA file"),
        ("root/.cache/uv/x", "cache"),
        ("var/lib/apt/lists/deb_dists_InRelease", "cache"),
        ("opt/uv/bin/uv", "build tree"),
        ("wheels/mmcv.whl", "build tree"),
        ("etc/ssl/certs/ca-certificates.crt", ""),
        ("opt/venv/lib/python3.11/site-packages/certifi/cacert.pem", ""),
        ("workspace/model/src/wheels/x", ""),
    ],
)
def test_forbidden_paths(path: str, kind: str) -> None:
    assert forbidden_path(path) == kind


def archive(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


class SavedEngine(FakeEngine):
    """An engine with one image of two layers above a base."""

    layers: tuple[dict[str, bytes], ...] = ()

    def history(self, _name: str) -> tuple[str, ...]:
        return ("RUN apt-get update", "ARG HTTPS_PROXY=http://u:p@proxy")

    def save(self, _name: str) -> Iterator[bytes]:
        names = [f"{number}/layer.tar" for number in range(len(self.layers))]
        manifest = json.dumps([{"Layers": names}]).encode()
        blobs = {name: archive(layer) for name, layer in zip(names, self.layers, strict=True)}
        data = archive({**blobs, "manifest.json": manifest})
        return (data[start : start + 700] for start in range(0, len(data), 700))


def test_a_file_in_any_layer_is_found_but_not_in_the_base() -> None:
    config = {"User": "1000:1000", "Labels": {"a": "b"}}
    engine = SavedEngine({"t": Image("sha256:1", 1, "x86_64", config, ())})
    # The last layer deletes what the one before had: it can still be read.
    engine.layers = (
        {"root/.cache/x": b"base"},
        {"root/.cache/pip/x": b"1", "etc/x": b""},
        {"root/.cache/.wh.pip": b""},
    )
    checks = {c.name: c for c in look_from_outside(engine, "t", labels={"a": "c"}, base_layers=1)}  # type: ignore[arg-type]
    assert checks["no cache in any layer"].detail == ["layer 1: root/.cache/pip/x"]
    assert not checks["labels"].ok
    assert not checks["history"].ok
    assert checks["user of the image"].ok
    assert checks["no secret in any layer"].ok


def test_no_image_is_an_error() -> None:
    with pytest.raises(BuildError, match="there is no image"):
        look_from_outside(FakeEngine(), "t", labels={}, base_layers=0)  # type: ignore[arg-type]
