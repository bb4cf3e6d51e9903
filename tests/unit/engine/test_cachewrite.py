"""A cache that is written, looked at, and written again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.engine import FakeEngine, stage, toy_plan
from support.runner import RecordingRunner

from builder.engine.build import Choices
from builder.engine.cachegraph import CONFIG
from builder.engine.cachewrite import FETCH, export_cache, fetching
from builder.engine.process import Argv, Result
from builder.engine.push import Way
from builder.errors import BuildError
from builder.patience import Patience

OWN, OTHER = "r.example/t/cache:own", "r.example/t/cache:other"
TO = f"type=registry,ref={OWN},mode=max"
PLAN = toy_plan(stage("src-text"), stage("first"), stage("second", "first"), stage("unused"), stage("image", "second"))
DOCKERFILE = "FROM scratch AS src-text\nFROM scratch AS first\nFROM first AS second\nFROM scratch AS image\n"


def cache(*full: str, holes: tuple[str, ...] = ()) -> dict[str, object]:
    """Return what BuildKit would write of a chain of steps; `holes` are those without their results."""
    names = ("base", "first", "second", "image")
    steps = [(name, number) for number, name in enumerate(names) if name == "base" or name in (*full, *holes)]
    records = [
        {"digest": name, "inputs": [[{"link": at - 1}]] if at else []}
        | ({"layers": [{"layer": number}]} if name in full else {})
        for at, (name, number) in enumerate(steps)
    ]
    return {"layers": [{"blob": f"sha256:{number:064x}", "parent": -1} for number in range(4)], "records": records}


WHOLE = cache("first", "second", "image")
POORER = cache("second", "image", holes=("first",))


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass
class Shop(RecordingRunner):
    """A registry and a BuildKit that writes what it is told to."""

    names: dict[str, str] = field(default_factory=dict)
    writes: list[dict[str, object]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    """Dockerfiles of the builds that fetched."""
    prefers: bool = True
    broken: str = ""
    """The words of a command that fails."""

    def hold(self, name: str, graph: dict[str, object]) -> str:
        config = json.dumps(graph)
        layers = [{"digest": f"sha256:{number:064x}", "size": 1_500_000 * number} for number in range(4)]
        described = {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)}
        text = json.dumps({"config": described, "layers": layers}) + "\n"
        repository = name.rpartition(":")[0]
        self.names[f"{repository}@{digest_of(config)}"] = config
        self.names[f"{repository}@{digest_of(text)}"] = self.names[name] = text
        return digest_of(text)

    def run(self, argv: Argv, *, stdin: bytes = b"", env: object = None) -> Result:
        self.asked.append(argv)
        if self.broken and self.broken in " ".join(argv):
            return Result(1, b"", b"ERROR: 403 Forbidden")
        if argv[2:4] == ("imagetools", "inspect"):
            text = self.names.get(argv[-1])
            return Result(0, text.encode()) if text else Result(1, b"", f"ERROR: {argv[-1]}: not found".encode())
        if "--help" in argv:
            return Result(0, b"--prefer-index" if self.prefers else b"")
        if argv[2:4] == ("imagetools", "create"):
            self.names[argv[argv.index("--tag") + 1]] = self.names[argv[-1]]
        elif "--cache-to" in argv:
            digest = self.hold(OWN, self.writes.pop(0) if len(self.writes) > 1 else self.writes[0])
            metadata = {"cache.manifest": json.dumps({"digest": digest})}
            Path(argv[argv.index("--metadata-file") + 1]).write_text(json.dumps(metadata))
        elif FETCH in argv:
            self.fetched.append(Path(argv[argv.index("--file") + 1]).read_text())
        return Result(0)

    @property
    def exports(self) -> list[Argv]:
        return [argv for argv in self.asked if "--cache-to" in argv]


def written(shop: Shop, *read: str, to: str = TO, contexts: bool = False) -> tuple[str, list[str]]:
    """Write a cache; return the note about it and what was said."""
    said: list[str] = []
    way = Way(runner=shop, engine=FakeEngine(), patience=Patience(tries=1), say=said.append)  # type: ignore[arg-type]
    choices = Choices(
        cache_from=tuple(f"type=registry,ref={name}" for name in read),
        contexts=(("src-text", Path("/nowhere")),) if contexts else (),
    )
    notes = dict(export_cache(PLAN, DOCKERFILE, choices, (to,), way=way))
    return notes.get(to, ""), said


def test_what_is_whole_is_written_once() -> None:
    shop = Shop(writes=[WHOLE])
    digest = shop.hold(OWN, WHOLE)
    assert written(shop, OWN, OTHER) == ("", [])
    (command,) = shop.exports
    read = [command[at + 1] for at, word in enumerate(command) if word == "--cache-from"]
    assert read == [f"type=registry,ref=r.example/t/cache@{digest}", f"type=registry,ref={OTHER}"]


def test_without_a_cache_that_was_read_nothing_is_looked_at() -> None:
    shop = Shop(writes=[POORER])
    assert written(shop) == ("", [])
    assert len(shop.asked) == 1
    assert written(shop, OTHER, to="type=local,dest=here")[0] == ""
    assert not [argv for argv in shop.asked if "imagetools" in argv]


def test_what_was_lost_is_fetched_and_written_again() -> None:
    shop = Shop(writes=[POORER, WHOLE])
    shop.hold(OTHER, WHOLE)
    note, said = written(shop, OTHER, contexts=True)
    assert note == ""
    assert said == [
        f"{OWN}: BuildKit wrote it without 1 result that it had read; those are fetched, and it is written again"
    ]
    (dockerfile,) = shop.fetched
    stages = [line.split()[1] for line in dockerfile.partition(f"AS {FETCH}\n")[2].splitlines()]
    # Neither what the build does not need, nor a folder of this machine's.
    assert stages == ["--from=first", "--from=second", "--from=image"]
    assert len(shop.exports) == 2


def test_a_name_stands_again_for_what_has_all_of_it() -> None:
    shop = Shop(writes=[POORER])
    digest = shop.hold(OWN, WHOLE)
    note, said = written(shop, OTHER, OWN)
    assert (note, len(said), shop.fetched, len(shop.exports)) == ("", 1, [], 1)
    assert digest_of(shop.names[OWN]) == digest


@pytest.mark.parametrize("why", ["something new", "elsewhere", "no such buildx"])
def test_or_not_where_that_would_lose_something(why: str) -> None:
    shop = Shop(writes=[POORER, WHOLE], prefers=why != "no such buildx")
    shop.hold(OWN, WHOLE if why == "no such buildx" else cache("first", "second"))
    if why == "elsewhere":
        shop.hold(OWN, cache("second", "image", holes=("first",)))
        shop.hold(OTHER, WHOLE)
    assert written(shop, OWN, OTHER)[0] == ""
    assert len(shop.fetched) == 1
    assert json.loads(shop.names[f"r.example/t/cache@{json.loads(shop.names[OWN])['config']['digest']}"]) == WHOLE


def test_what_stays_lost_is_said_once_with_what_there_was() -> None:
    shop = Shop(writes=[POORER], prefers=False)
    digest = shop.hold(OWN, WHOLE)
    note, said = written(shop, OWN)
    assert note == (
        f"cache {OWN} lacks 1 result of what was read, 1.5 MB: who reads it runs those steps again;"
        f" what it was before is r.example/t/cache@{digest}"
    )
    assert (len(said), len(shop.fetched), len(shop.exports)) == (2, 2, 3)
    assert ["--cache-from" in argv for argv in shop.exports] == [True, True, False]


def test_a_fetch_that_fails_fails_no_build() -> None:
    shop = Shop(writes=[POORER], prefers=False, broken=FETCH)
    shop.hold(OWN, WHOLE)
    note, _ = written(shop, OWN)
    assert "lacks 1 result of what was read, 1.5 MB (ERROR: 403 Forbidden)" in note
    assert len(shop.exports) == 1


def test_a_look_that_fails_is_said() -> None:
    shop = Shop(writes=[POORER], broken="imagetools")
    note, _ = written(shop, OWN, OTHER)
    assert len([argv for argv in shop.asked if "imagetools" in argv]) == 1, "nobody waits for each of them"
    assert note.startswith(f"whether cache {OWN} has all that was read is not known: ")
    shop = Shop(writes=[WHOLE], broken="--cache-to")
    with pytest.raises(BuildError, match="its cache could not be written"):
        written(shop, OWN)


def test_the_stage_that_needs_all() -> None:
    text = fetching("FROM scratch AS a\n\n", ("a",))
    assert text == f"FROM scratch AS a\n\nFROM scratch AS {FETCH}\nCOPY --from=a /{FETCH}-none* /\n"
