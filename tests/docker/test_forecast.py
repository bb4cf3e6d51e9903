"""What a build runs is what was predicted: BuildKit's own rules, one by one, on toy Dockerfiles.

On an engine of its own: one that others use may throw away what was built a moment ago.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from support.engine import stage, toy_plan
from support.ownengine import OwnEngine, needs_dockerd, own_engine

from builder.engine.build import Choices, build
from builder.engine.host import Engine, connect
from builder.engine.ledger import ledger_path, read_ledger
from builder.engine.local import LocalSource
from builder.engine.process import SystemRunner
from builder.engine.record import BuildRecord, read_record
from builder.engine.snapshot import read_dockerfile, read_snapshot
from builder.errors import BuildError
from builder.plan.stage import TARGETS
from builder.render.cachekeys import Given, cache_keys

pytestmark = pytest.mark.docker

BASE = "localhost/tiny:1"
TEXT = f"""\
FROM scratch AS tools
COPY <<'EOF' /tool
@NONCE@
EOF
FROM {BASE} AS base
SHELL ["/bin/bash", "-c"]
RUN echo @NONCE@ > /nonce
FROM scratch AS src
ADD https://git.drivebuild.invalid/ops.git#0123456789012345678901234567890123456789 /
# compiled
FROM base AS wheel
ENV FLAG=1
RUN --mount=type=bind,from=src,target=/src \\
    --mount=type=bind,from=tools,target=/tools \\
    # a reason
    cat /tools/tool > /wheel; echo $FLAG >> /wheel; cat /src/file >> /wheel
FROM base AS tree
COPY --from=src / /tree
RUN echo edited; touch /tree/edited
FROM base AS image
COPY --from=wheel /wheel /wheel
COPY --from=tree /tree /tree
WORKDIR /tree
LABEL title=one
"""
PLAN = toy_plan(
    stage("tools"),
    stage("base", BASE),
    stage("src"),
    stage("wheel", "base", "src", "tools"),
    stage("tree", "base", "src"),
    stage("image", "base", "wheel", "tree"),
)
Make = Callable[..., BuildRecord]


BOTH = pytest.mark.parametrize("own", [False, True], ids=["graph driver", "containerd"], indirect=True)


@pytest.fixture(scope="module")
def own(request: pytest.FixtureRequest) -> Iterator[OwnEngine]:
    needs_dockerd()
    with own_engine(containerd_store=getattr(request, "param", False), with_registry=False, bridge="dbe0") as engine:
        engine.import_tiny(BASE)
        yield engine


@pytest.fixture
def engine(own: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Return the engine of our own, which the docker command finds, too."""
    monkeypatch.setenv("DOCKER_HOST", own.address)
    return connect()


@pytest.fixture
def text(tmp_path: Path) -> str:
    """Return the toy's text, which no build has seen before."""
    return TEXT.replace("@NONCE@", f"{tmp_path} {time.time()}")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "ops"
    folder.mkdir()
    (folder / "file").write_text("one\n")
    return folder


@pytest.fixture
def make(engine: Engine, tag: str, source: Path) -> Make:
    def made(dockerfile: str, **choices: object) -> BuildRecord:
        given = Choices(tag=tag, sources=(LocalSource("src", source, "a folder"),), **choices)  # type: ignore[arg-type]
        return build(PLAN, dockerfile, given, runner=SystemRunner(), engine=engine)

    return made


def changed(text: str, edits: Mapping[str, str]) -> str:
    for old, new in edits.items():
        assert old in text
        text = text.replace(old, new)
    return text


def test_nothing_is_said_of_an_unknown_cache_and_all_of_a_known_one(make: Make, text: str) -> None:
    first = make(text)
    assert first.predicted is None
    assert set(first.executed) == {"tools", "base", "wheel", "tree", "image"}
    again = make(text)
    assert (again.predicted, again.executed, again.differences) == ((), (), ())
    assert again.keys == first.keys


# One after the other, each on top of those before it: what must run, and what must have the same bytes.
EDITS: tuple[tuple[Mapping[str, str], tuple[str, ...], tuple[str, ...]], ...] = (
    ({"# compiled": "# built", "# a reason": "# another", "title=one": "title=two"}, (), ()),
    ({" wheel": " whl", "=wheel": "=whl"}, (), ()),
    ({"git.drivebuild.invalid": "mirror.drivebuild.invalid"}, (), ()),
    ({"FLAG=1": "FLAG=2"}, ("whl", "image"), ()),
    ({"touch /tree/edited": "echo x > /tree/edited"}, ("tree", "image"), ()),
    ({"WORKDIR /tree": "WORKDIR /tree/sub"}, ("image",), ()),
    # Another text, the same bytes: whoever copies them has them already.
    ({"; echo $FLAG": ";  echo $FLAG"}, ("whl",), ("image",)),
    ({"@NONCE@\nEOF": "@NONCE@ \nEOF"}, ("tools", "whl", "image"), ()),
)


@BOTH
def test_an_edit_runs_what_was_predicted(make: Make, text: str) -> None:
    make(text)
    nonce = text.split("/tool\n")[1].split("\n", 1)[0]
    for edits, run, same in EDITS:
        text = changed(
            text, {old.replace("@NONCE@", nonce): new.replace("@NONCE@", nonce) for old, new in edits.items()}
        )
        record = make(text)
        assert set(record.executed) == set(run), edits
        assert set(record.predicted or ()) == {*run, *same}, edits
        assert [(item.stage, item.did, item.reason) for item in record.differences] == [
            (name, "cached", "content") for name in same
        ]


def test_what_had_the_same_bytes_is_known_the_next_time(make: Make, text: str) -> None:
    make(text)
    other = changed(text, {"echo edited": "echo edited again"})
    first = make(other)
    assert (first.predicted, first.executed) == (("tree", "image"), ("tree",))
    assert "tree made anew has the same bytes" in first.differences[0].text
    # Another image that stands on both: nobody has built it, and what it copies is known to be the same.
    third = changed(other, {"WORKDIR /tree": "RUN cat /wheel"})
    record = make(third)
    assert (record.predicted, record.executed, record.differences) == (("image",), ("image",), ())
    record = make(changed(third, {"echo edited again": "echo edited"}))
    assert (record.predicted, record.executed, record.differences) == ((), (), ())


def test_a_source_counts_by_its_files(make: Make, text: str, source: Path) -> None:
    make(text)
    (source / "file").touch()
    assert make(text).predicted == ()
    (source / "file").write_text("two\n")
    record = make(text)
    assert (record.predicted, record.executed) == (("wheel", "tree", "image"), ("wheel", "tree", "image"))


def test_a_build_without_network_and_one_without_cache(make: Make, text: str) -> None:
    make(text)
    offline = make(text, offline=True)
    # The files of `tools` are no process that could use a network.
    assert set(offline.executed) == set(offline.predicted or ()) == {"base", "wheel", "tree", "image"}
    fresh = make(text, no_cache=True)
    assert set(fresh.executed) == set(fresh.predicted or ()) == {"tools", "base", "wheel", "tree", "image"}
    assert fresh.no_cache
    assert make(text).predicted == ()


@BOTH
def test_a_base_made_anew_with_the_same_layers_runs_nothing(make: Make, text: str, tag: str, engine: Engine) -> None:
    base = f"{tag}-base"
    runner = SystemRunner()

    def make_base(line: str) -> str:
        done = runner.run(
            ("docker", "buildx", "build", "--load", "--quiet", "--tag", base, "-"),
            stdin=f"FROM {BASE}\n{line}\n".encode(),
        )
        assert done.code == 0, done.complaint
        image = engine.image(base)
        assert image is not None
        return image.id

    text = text.replace(f"FROM {BASE}", f"FROM {base}")
    try:
        one = make_base("LABEL made=once")
        assert make(text).bases == {base: one}
        two = make_base("LABEL made=twice")
        record = make(text)
        assert record.bases == {base: two} != {base: one}
        assert (record.predicted, record.executed) == ((), ())
        make_base("ENV ADDED=1")
        record = make(text)
        assert set(record.executed) == set(record.predicted or ()) == {"base", "wheel", "tree", "image"}
    finally:
        runner.run(("docker", "image", "rm", "--force", base))


def test_what_the_builder_has_from_elsewhere_and_what_it_has_no_longer(make: Make, text: str) -> None:
    known = make(text)
    path = ledger_path(known.builder)
    ledger = read_ledger(known.builder)
    assert ledger is not None
    image = known.keys["image"]
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(ledger, seen={})))
    record = make(text)
    assert record.executed == ()
    assert {item.reason for item in record.differences} == {"elsewhere"}
    # As if the builder had thrown it away: it is in the ledger, and was never built.
    other = changed(text, {"WORKDIR /tree": "WORKDIR /tree/never"})
    ledger = read_ledger(known.builder)
    assert ledger is not None
    never = cache_keys(other, forecast_given(record, ledger.same))["image"].key
    seen = {**ledger.seen, never: ledger.seen[image]}
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(ledger, seen=seen)))
    record = make(other)
    assert (record.predicted, record.executed) == ((), ("image",))
    assert [(item.stage, item.did, item.reason) for item in record.differences] == [("image", "run", "evicted")]


def forecast_given(record: BuildRecord, same: Mapping[str, str]) -> Given:
    snapshot = read_snapshot(record.tag)
    assert snapshot is not None
    return Given(
        images=snapshot.images, contexts=snapshot.contexts, architecture=TARGETS[snapshot.architecture], same=same
    )


def test_a_failed_build_leaves_what_the_image_was_made_from(make: Make, text: str) -> None:
    made = make(text)
    with pytest.raises(BuildError):
        make(changed(text, {"echo edited": "exit 3"}))
    record = read_record(made.tag)
    assert record is not None
    assert (record.outcome, record.differences) == ("failed", ())
    assert read_dockerfile(made.tag) == text
    snapshot = read_snapshot(made.tag)
    assert snapshot is not None
    assert snapshot.image_id == made.image_id
    assert make(text).predicted == ()
