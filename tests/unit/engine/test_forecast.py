"""A forecast against what a build did: reasons, what is learnt, and ledgers that cannot be read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from support.engine import FakeEngine

from builder.engine.command import Choices
from builder.engine.folders import state_folder
from builder.engine.forecast import Forecast, compared, forecast_of, learn
from builder.engine.ledger import LIMIT, Ledger, Seen, forget, ledger_path, note, read_ledger
from builder.engine.record import BuildRecord, StageRecord
from builder.errors import SourceError

TEXT = """\
FROM scratch AS tools
COPY <<'EOF' /a
x
EOF
FROM localhost/base:1 AS tree
RUN --mount=type=bind,from=tools,target=/t make
FROM localhost/base:1 AS twin
RUN --mount=type=bind,from=tools,target=/t make
FROM localhost/base:1 AS image
COPY --from=tree /x /x
COPY --from=twin /y /y
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("BUILDX_BUILDER", raising=False)


def forecast(text: str = TEXT, **choices: object) -> Forecast:
    engine = FakeEngine()
    given = Choices(**choices)  # type: ignore[arg-type]
    return forecast_of(text, given, "image", engine=engine, facts=engine.facts())  # type: ignore[arg-type]


def ran(*names: str) -> tuple[StageRecord, ...]:
    """Return what a build's stages did: two with the same steps are shown as one."""
    return tuple(
        StageRecord(name=name, state="done" if name in names else "cached", seconds=0.0)
        for name in ("tools", "tree", "twin", "image")
    )


def test_stages_with_the_same_steps_are_one() -> None:
    note("default@", (), {})
    first = forecast()
    assert first.predicted == ("tools", "tree", "image")
    assert compared(first, ran("tools", "tree", "image")).differences == ()
    # BuildKit may show them under the other's name.
    assert compared(first, ran("tools", "twin", "image")).differences == ()


def test_reasons_and_what_is_learnt() -> None:
    learn(forecast(), ran("tools", "tree", "image"), ())
    assert forecast().predicted == ()
    other = forecast(TEXT.replace("\nx\n", "\ny\n"))
    assert other.predicted == ("tools", "tree", "image")
    what = compared(other, ran("tools"))
    assert [(item.stage, item.reason) for item in what.differences] == [
        ("tree", "content"),
        ("twin", "content"),
        ("image", "content"),
    ]
    learn(other, ran("tools"), what.differences)
    assert forecast(TEXT.replace("\nx\n", "\ny\n")).predicted == ()
    # What another stage would copy of it has other paths: nothing is known of those.
    third = TEXT.replace("\nx\n", "\ny\n").replace("target=/t make", "source=/b,target=/t make")
    assert forecast(third).predicted == ("tree", "image")
    nothing = compared(forecast(), ran("image"))
    assert [(item.stage, item.did, item.reason) for item in nothing.differences] == [("image", "run", "evicted")]
    elsewhere = compared(forecast(TEXT.replace("make", "make it")), ran())
    assert {item.reason for item in elsewhere.differences} == {"elsewhere"}


def test_a_stage_that_is_made_again_by_choice() -> None:
    learn(forecast(), ran("tools", "tree", "image"), ())
    assert forecast(no_cache=True).predicted == ("tools", "tree", "image")
    assert forecast(again=("tree",)).predicted == ("tree",)


def test_a_fetched_source_is_asked_for_each_time() -> None:
    text = TEXT.replace("COPY <<'EOF' /a\nx\nEOF", f"ADD https://git.example.org/a.git#{'1' * 40} /")
    learn(forecast(text), ran("tools", "tree", "image"), ())
    what = compared(forecast(text), ran("tools"))
    assert (what.executed, what.differences) == ((), ())


def test_a_ledger_that_cannot_be_read_is_none() -> None:
    assert read_ledger("b") is None
    note("b", (), {})
    assert read_ledger("b") is not None
    path = ledger_path("b")
    for content in (b"", b"{", b'{"form": 99}', b'{"seen": 1}'):
        path.write_bytes(content)
        assert read_ledger("b") is None
    note("b", (), {})
    forget("b")
    forget("b")
    assert read_ledger("b") is None
    assert {item.name for item in (state_folder() / "cache").iterdir()} <= {path.with_suffix(".lock").name}


def test_a_ledger_keeps_the_newest() -> None:
    seen = {f"{number:032x}": Seen("s", "o", "f", (), number) for number in range(LIMIT + 10)}
    note("b", (), {})
    ledger_path("b").write_bytes(msgspec.json.encode(Ledger(builder="b", seen=seen)))
    learn(forecast(), ran("tools", "tree", "image"), ())
    note("b", forecast().keys.values(), {"new": "old"})
    kept = read_ledger("b")
    assert kept is not None
    assert len(kept.seen) == LIMIT
    assert f"{0:032x}" not in kept.seen
    # Nothing stands for a content that is no longer known.
    assert kept.same == {}


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    from builder.engine.local import LocalSource

    with pytest.raises(SourceError, match="No such file"):
        forecast(sources=(LocalSource("tools", tmp_path / "gone", ""),))


def test_a_record_of_an_older_drivebuild() -> None:
    old = {
        "tag": "t", "model": "m", "platform": "p", "variant": "stock", "target": "image", "outcome": "done",
        "when": "2026-01-01T00:00:00Z", "seconds": 1, "stages": [], "command": [], "log": "",
    }  # fmt: skip
    record = msgspec.convert(old, BuildRecord)
    assert (record.digests, record.predicted, record.differences) == ({}, None, ())


def test_what_another_build_here_made_meanwhile() -> None:
    learn(forecast(), ran("tools", "tree", "image"), ())
    before = forecast(TEXT.replace("make", "make it"))
    learn(before, ran("tree", "image"), ())
    what = compared(before, ran(), read_ledger("default@"))
    assert {(item.stage, item.did, item.reason) for item in what.differences} >= {("tree", "cached", "shared")}
