"""A build with a runner and an engine that are none: commands, records, messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.engine import FakeEngine, stage, toy_plan
from support.runner import RecordingRunner

from builder.engine import folders
from builder.engine.build import TRIES, Choices, build, build_command, declared_arguments, default_tag
from builder.engine.builders import Builder
from builder.engine.host import Image
from builder.engine.local import LocalSource
from builder.engine.process import Argv
from builder.engine.record import BuildRecord, read_record
from builder.engine.trust import CaBundle, ca_bundle, proxy_names
from builder.errors import BuildError, UsageError

RECORDED = Path(__file__).parent / "recorded"
PLAN = toy_plan(
    stage("base"), stage("src-ops"), stage("mmcv", "base", "src-ops"), stage("env", "mmcv"), stage("image", "env")
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def recorded(name: str, code: int = 0) -> RecordingRunner:
    return RecordingRunner(output=(RECORDED / name).read_bytes(), code=code)


class Replies(RecordingRunner):
    """A runner whose builds end one after the other as they are told to."""

    def __init__(self, replies: list[tuple[bytes, int]]) -> None:
        super().__init__()
        self.replies = replies

    def stream(self, argv: Argv, feed: Callable[[bytes], None], **more: Any) -> int:
        self.output, self.code = self.replies.pop(0)
        return super().stream(argv, feed, **more)


def engine(architecture: str = "x86_64") -> FakeEngine:
    image = Image(id="sha256:1", size=123, architecture="x86_64", config={}, layers=())
    return FakeEngine({PLAN.tag: image}, architecture)


def built(runner: RecordingRunner, choices: Choices = Choices()) -> BuildRecord:  # noqa: B008  # frozen
    return build(PLAN, "FROM scratch\nARG TASK=x\n", choices, runner=runner, engine=engine())  # type: ignore[arg-type]


def test_the_command_says_all_and_no_password() -> None:
    choices = Choices(
        until="env",
        jobs=2,
        ca_bundle=CaBundle(Path("/ca.pem"), "--ca-bundle"),
        sources=(LocalSource("src-ops", Path("/ops"), ""),),
        arguments={"TASK": "a b"},
        proxies=("HTTPS_PROXY",),
        no_cache=True,
    )
    words = build_command(PLAN, choices, folder=Path("/f"))
    assert words[:3] == ("docker", "buildx", "build")
    text = " ".join(words)
    for part in (
        f"--tag {PLAN.tag}-env --target env",
        "--secret id=ca-bundle,src=/ca.pem",
        "--secret id=max-jobs,src=/f/max-jobs",
        "--build-arg TASK=a b",
        "--build-arg HTTPS_PROXY --build-context src-ops=/ops --no-cache",
    ):
        assert part in text
    assert words[-1] == "/f/context"


def test_what_a_store_and_a_site_give_is_in_the_command() -> None:
    choices = Choices(
        contexts=(("packages-model", Path("/store/packages")),),
        images=(("quay.io/a/b:1", "mirror.example/b:1"),),
        secrets=(("netrc", Path("/s/netrc")),),
        offline=True,
    )
    text = " ".join(build_command(PLAN, choices, folder=Path("/f")))
    for part in (
        "--secret id=netrc,src=/s/netrc",
        "--build-context packages-model=/store/packages",
        "--build-context quay.io/a/b:1=docker-image://mirror.example/b:1",
        "--network none",
    ):
        assert part in text
    assert "--network" not in build_command(PLAN, Choices(), folder=Path("/f"))


def test_only_the_whole_image_gets_its_tag() -> None:
    assert default_tag(PLAN, "") == PLAN.tag == default_tag(PLAN, "image")
    assert default_tag(PLAN, "env") == f"{PLAN.tag}-env"


def test_a_record_is_kept() -> None:
    record = built(recorded("success.json"))
    assert read_record(PLAN.tag) == record
    data = json.loads((folders.build_folder(PLAN.tag) / "record.json").read_text())
    assert data["outcome"] == "done"
    assert data["verified_on_hardware"] is False
    assert data["size_bytes"] == 123
    assert {item["name"]: item["state"] for item in data["stages"]}["mmcv"] == "done"
    log = Path(data["log"]).read_text()
    assert "mmcv | line 3\n" in log


def test_a_failure_names_stage_lines_retry_and_log() -> None:
    with pytest.raises(BuildError) as caught:
        built(recorded("failed.json", code=1), Choices(retry="drivebuild image toy"))
    message = caught.value.message
    assert "stage 'mmcv'" in message
    assert "exit code: 3" in message
    assert message.count("  | compiling file_") == 30
    assert "drivebuild image toy --until mmcv" in message
    assert read_record(PLAN.tag).outcome == "failed"  # type: ignore[union-attr]


LOST = (
    'failed to prepare extraction snapshot "extract-926121998-Xtqw sha256:30": '
    "parent snapshot sha256:ba does not exist: not found"
)
EXPORTED = b'"completed": "2026-11-21T02:09:51.520292233Z"\n    }\n  ]\n}\n'


def lost(error: str = LOST) -> bytes:
    """Return what a build says whose export ends so, as Docker 26 did with containerd's image store."""
    text = (RECORDED / "success.json").read_bytes()
    assert text.endswith(EXPORTED)
    end = json.dumps({"completed": "2026-11-21T02:09:51.520292233Z", "error": error})[1:-1]
    return text.removesuffix(EXPORTED) + end.encode() + b"}]}\nERROR: failed to solve: " + error.encode() + b"\n"


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.engine.build.RETRY_AFTER", 0.0)


@pytest.mark.usefixtures("no_wait")
def test_an_export_that_lost_a_layer_is_tried_again() -> None:
    runner = Replies([(lost(), 1), (lost(), 1), ((RECORDED / "cached.json").read_bytes(), 0)])
    record = built(runner, Choices(no_cache=True))
    assert [("--no-cache" in words) for words in runner.asked if "build" in words] == [True, False, False]
    log = Path(record.log).read_text()
    assert "tried again (3 left)" in log
    assert "tried again (2 left)" in log
    whole = built(recorded("success.json"))
    assert record.outcome == "done"
    # What the first try ran is not cached because the second found it in the cache.
    assert {stage.name: stage.state for stage in record.stages} == {stage.name: stage.state for stage in whole.stages}


@pytest.mark.usefixtures("no_wait")
def test_an_engine_that_loses_layers_for_ever_is_an_error() -> None:
    runner = Replies([(lost(), 1)] * TRIES)
    with pytest.raises(BuildError, match="does not exist: not found") as caught:
        built(runner)
    assert "run the same command again" in caught.value.hint
    assert not runner.replies


GONE = "failed to get layer sha256:52: layer does not exist"


def asked(runner: RecordingRunner) -> list[tuple[str, str]]:
    """Return the target of each build, and the stages that it runs again."""

    def value(words: tuple[str, ...], option: str) -> str:
        return words[words.index(option) + 1] if option in words else ""

    return [(value(words, "--target"), value(words, "--no-cache-filter")) for words in runner.asked if "build" in words]


def test_a_stage_whose_layer_the_cache_has_lost_runs_again_alone() -> None:
    cached = (RECORDED / "cached.json").read_bytes()
    # base is whole, mmcv is not; env and the image are.
    replies = [(lost(GONE), 1), (cached, 0), (lost(GONE), 1), (cached, 0), (cached, 0), (cached, 0), (cached, 0)]
    runner = Replies(replies)
    record = built(runner)
    assert asked(runner) == [
        ("image", ""),
        ("base", ""),
        ("mmcv", ""),
        ("mmcv", "mmcv"),
        ("env", ""),
        ("image", ""),
        ("image", ""),
    ]
    assert not runner.replies
    assert record.outcome == "done"
    assert "lost a layer of stage mmcv: it runs again" in Path(record.log).read_text()
    tags = {words[words.index("--tag") + 1] for words in runner.asked if "build" in words}
    (other,) = tags - {PLAN.tag}
    assert other.startswith("drivebuild/mending:")
    assert ("docker", "image", "rm", "--force", other) in runner.asked


def test_where_every_stage_is_whole_the_engines_word_stands() -> None:
    cached = (RECORDED / "cached.json").read_bytes()
    runner = Replies([(lost(GONE), 1), *[(cached, 0)] * 4, (lost(GONE), 1)])
    with pytest.raises(BuildError, match="layer does not exist") as caught:
        built(runner)
    assert not runner.replies
    assert "docker builder prune --all" in caught.value.hint


def test_another_fault_while_it_is_mended_is_that_builds_own() -> None:
    failed = (RECORDED / "failed.json").read_bytes()
    runner = Replies([(lost(GONE), 1), (failed, 1), (failed, 1)])
    with pytest.raises(BuildError, match="exit code: 3"):
        built(runner)
    assert asked(runner) == [("image", ""), ("base", ""), ("image", "")]


@pytest.mark.parametrize("choices", [Choices(no_cache=True), Choices(builder=Builder(name="farm", driver="remote"))])
def test_nothing_is_mended_where_no_cache_is_read_or_another_builders_is(choices: Choices) -> None:
    runner = Replies([(lost(GONE), 1)])
    with pytest.raises(BuildError, match="layer does not exist"):
        built(runner, choices)


def test_another_fault_of_an_export_is_not_tried_again() -> None:
    runner = Replies([(lost("write /var/lib/x: no space left on device"), 1)])
    with pytest.raises(BuildError, match="no space left"):
        built(runner)


def test_an_interrupt_leaves_a_record_and_no_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(home / "tmp"))
    runner = recorded("cancelled.json")
    runner.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        built(runner)
    assert list((home / "tmp").iterdir()) == []
    assert read_record(PLAN.tag).outcome == "cancelled"  # type: ignore[union-attr]


def test_no_buildx_says_what_to_install() -> None:
    runner = RecordingRunner(output=b"docker: 'buildx' is not a docker command.\nSee 'docker --help'\n", code=1)
    with pytest.raises(BuildError) as caught:
        built(runner)
    assert "docker-buildx" in caught.value.hint


def test_no_docker_says_what_to_install() -> None:
    with pytest.raises(BuildError) as caught:
        built(RecordingRunner(missing=("docker",)))
    assert "docker.io" in caught.value.hint


def test_another_architecture_is_refused() -> None:
    plan = toy_plan(stage("image"), architectures=("aarch64",))
    with pytest.raises(BuildError, match="the engine here is x86_64"):
        build(plan, "FROM scratch\n", Choices(), runner=RecordingRunner(), engine=engine())  # type: ignore[arg-type]


def test_an_argument_nobody_declares_is_refused() -> None:
    assert declared_arguments("FROM a\nARG TASK=x\nARG TARGETARCH\n") == ("TASK", "TARGETARCH")
    with pytest.raises(UsageError) as caught:
        built(RecordingRunner(), Choices(arguments={"TASKS": "1"}))
    assert "'TASK'" in caught.value.hint


def test_a_stage_nobody_has_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        built(RecordingRunner(), Choices(until="evn"))
    assert "'env'" in caught.value.hint


def test_a_folder_that_cannot_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "file"))
    with pytest.raises(BuildError) as caught:
        built(RecordingRunner())
    assert "XDG_STATE_HOME" in caught.value.hint


def test_certificates_follow_the_callers_environment(home: Path) -> None:
    pem = home / "ca.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\n")
    assert ca_bundle(None, {}) is None
    found = ca_bundle(None, {"PIP_CERT": str(pem)})
    assert found is not None
    assert (found.path, found.why) == (pem, "PIP_CERT is set")
    assert ca_bundle(pem, {}) == CaBundle(pem, "--ca-bundle")
    with pytest.raises(UsageError):
        ca_bundle(home / "none.pem", {})
    (home / "empty").write_text("hello")
    with pytest.raises(UsageError, match="no certificate"):
        ca_bundle(home / "empty", {})


def test_proxies_are_names_only() -> None:
    assert proxy_names({"https_proxy": "http://u:secret@p", "HTTP_PROXY": "", "PATH": "x"}) == ("https_proxy",)
