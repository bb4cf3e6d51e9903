"""`lock --update` without a name, on repositories made here: the real git, a real store, the script that builds run."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from support.cli import drivebuild, refused
from support.files import model, toy
from support.repos import Repository

from builder import paths
from builder.errors import SourceError
from builder.plan.requirements import LockInput
from builder.source.gitlog import Between, Commit
from builder.source.proposaltext import LIMIT, markdown
from builder.source.propose import Move, Proposal, Verdict

HASH = " --hash=sha256:" + "a" * 64
PATCH = "p.patch"
BODY = "".join(f"line {number}\n" for number in range(1, 31))


@pytest.fixture(autouse=True)
def guard() -> None:
    """Stand in for the guard of this folder: here processes of this machine are the point. Nothing opens a socket."""


class World:
    """Two upstreams, the model's own tree and one with a patch for it, and recipes that pin both."""

    def __init__(self, folder: Path, recipes: Path) -> None:
        self.folder, self.recipes = folder, recipes
        self.tree, self.sdk = Repository(folder / "tree"), Repository(folder / "sdk")
        for name in ("f.py", "g.py", "other.py"):
            self.tree.write(name, BODY)
        self.tree_pin = self.tree.commit("tree")
        self.sdk.write(PATCH, self.patch("f.py"))
        self.sdk_pin = self.sdk.commit("sdk")
        self.write()

    def patch(self, *files: str) -> str:
        """Return a patch for files of the tree as they are now."""
        for name in files:
            text = (self.tree.folder / name).read_text()
            (self.tree.folder / name).write_text(text.replace("line 15\n", "LINE 15\n"))
        made = self.tree.git("diff", "--", *files) + "\n"
        self.tree.git("checkout", "--quiet", "--", ".")
        return made

    def change(self, name: str, *, title: str = "change", line: int = 1) -> str:
        """Commit a change of one line of a file of the tree."""
        text = (self.tree.folder / name).read_text()
        self.tree.write(name, text.replace(f"line {line}\n", f"upstream {line}\n"))
        return self.tree.commit(title)

    def write(self, *, tree_ref: str = "branch main") -> None:
        step = f"{{do: patch, source: sdk, path: {PATCH}}}"
        own = f'{{toy-source: {{type: git, url: "{self.tree.url}", commit: {self.tree_pin}, ref: "{tree_ref}"}}}}'
        text = model(sources=own, tree=f"{{source: toy-source, directory: Tree, steps: [{step}]}}")
        files = {**toy(), "models/toy.yaml": text + "# the end\n"}
        sdk = f'{{type: git, url: "{self.sdk.url}", commit: {self.sdk_pin}, ref: "branch main"}}'
        sdk = f"  sdk: {sdk}  # a comment stays\n"
        files["sources.yaml"] = re.sub(r"  sdk: .*\n", lambda _: sdk, files["sources.yaml"])
        for path, content in files.items():
            (self.recipes / path).parent.mkdir(parents=True, exist_ok=True)
            (self.recipes / path).write_text(content)

    def texts(self) -> dict[str, str]:
        return {
            path.name: path.read_text() for path in (self.recipes / "sources.yaml", self.recipes / "models/toy.yaml")
        }


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    recipes = tmp_path / "recipes"
    monkeypatch.setattr(paths, "RECIPES", recipes)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    configuration = tmp_path / "site.yaml"
    configuration.write_text("# nothing\n")
    monkeypatch.setenv("DRIVEBUILD_CONFIG", str(configuration))
    # Resolving is uv's, and tried elsewhere; here it finds nothing new unless a test says so.
    monkeypatch.setattr("builder.source.lock.resolve", _as_it_is)
    return World(tmp_path, recipes)


def _as_it_is(wanted: LockInput, *_: object, **__: object) -> tuple[str, ...]:
    path = paths.RECIPES / "locks" / wanted.path
    return tuple(path.read_text().splitlines()[2:]) if path.is_file() else ()


def proposed(*words: str) -> str:
    result = drivebuild("lock", "--update", *words)
    assert result.exit_code == 0, result.output
    return result.stdout


def as_data(*words: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(proposed("--json", *words))
    return data


def only_move(data: dict[str, Any]) -> dict[str, Any]:
    (move,) = data["moves"]
    assert isinstance(move, dict)
    return move


def test_a_move_that_fits_is_shown_with_log_files_and_diff_and_nothing_is_written(world: World) -> None:
    before = world.texts()
    world.change("other.py", title="first of two")
    world.change("f.py", title="second of two", line=30)
    # Patches name blobs, so a changed f.py would not fit; this one comes back to what the patch is for.
    world.tree.write("f.py", BODY)
    new = world.tree.commit("f.py as it was")
    text = proposed()
    assert f"`{world.tree_pin[:12]}` | `{new[:12]}` | 3 | all 1 fit |" in text
    assert re.search(r"[0-9a-f]{7,} 2024-01-01 f.py as it was\n[0-9a-f]{7,} 2024-01-01 second of two\n", text)
    assert "1 file changed, 0 of them under steps of the recipes." in text
    assert re.search(rf"^-.*{world.tree_pin}.*\n\+.*{new}", text, re.MULTILINE)
    assert world.texts() == before


def test_write_changes_the_commits_and_nothing_else(world: World) -> None:
    before = world.texts()
    new = world.change("other.py")
    world.sdk.write("README", "new")
    sdk = world.sdk.commit("docs")
    data = as_data("--write")
    assert data["title"] == "Update 2 commits"
    assert world.texts() == {
        "sources.yaml": before["sources.yaml"].replace(world.sdk_pin, sdk),
        "toy.yaml": before["toy.yaml"].replace(world.tree_pin, new),
    }
    assert len(data["written"]) == 2
    again = as_data()
    assert again["moves"] == []
    assert {"sdk", "toy-source"} <= set(again["current"])


def test_a_patch_that_does_not_fit_is_told_and_its_move_left(world: World) -> None:
    before = world.texts()
    world.change("f.py", line=15)
    world.sdk.write("README", "new")
    sdk = world.sdk.commit("docs")
    data = as_data("--write")
    moves = {move["name"]: move for move in data["moves"]}
    assert moves["toy-source"]["held"] == "steps do not fit"
    assert moves["toy-source"]["verdict"]["state"] == "misfit"
    assert "patch p.patch of sdk" in moves["toy-source"]["verdict"]["lines"][0]
    (touched,) = moves["toy-source"]["verdict"]["touched"]
    assert touched["path"] == "f.py"
    assert touched["steps"] == ["tree of toy on plat: patch p.patch of sdk"]
    assert not moves["sdk"]["held"]
    after = world.texts()
    assert after["toy.yaml"] == before["toy.yaml"]
    assert sdk in after["sources.yaml"]


def test_a_changed_patch_is_a_touched_file_of_the_source_that_has_it(world: World) -> None:
    world.sdk.write(PATCH, world.patch("f.py", "g.py"))
    world.sdk.commit("a larger patch")
    move = only_move(as_data())
    assert move["verdict"]["state"] == "fits"
    assert [one["path"] for one in move["verdict"]["touched"]] == [PATCH]


def test_moves_that_fit_alone_and_not_together_are_both_left(world: World) -> None:
    before = world.texts()
    world.sdk.write(PATCH, world.patch("f.py", "g.py"))
    world.sdk.commit("a larger patch")
    world.change("g.py", line=15)
    data = as_data("--write")
    assert [move["verdict"]["state"] for move in data["moves"]] == ["fits", "fits"]
    assert "g.py" in "\n".join(data["together"])
    assert data["written"] == []
    assert data["title"] == "Nothing to update"
    assert world.texts() == before


@pytest.mark.parametrize(
    ("ref", "act", "reason"),
    [
        ("main of 2024-01-01", "forward", "means the day"),
        ("tag v1", "tag", "a tag does not move"),
        ("branch main", "rewrite", "not an ancestor"),
        ("branch main", "back", "before the old one"),
    ],
)
def test_what_only_a_person_can_decide_is_never_written(world: World, ref: str, act: str, reason: str) -> None:
    if act == "back":
        first = world.tree_pin
        world.tree_pin = world.change("other.py")
        world.tree.git("reset", "--quiet", "--hard", first)
    elif act == "rewrite":
        world.tree.git("tag", "kept")
        world.tree.git("commit", "--quiet", "--amend", "--allow-empty", "--message", "rewritten")
    else:
        world.change("other.py")
        world.tree.git("tag", "v1")
    world.write(tree_ref=ref)
    before = world.texts()
    move = only_move(as_data("--write"))
    assert reason in move["held"]
    assert world.texts() == before


def test_newer_tags_of_the_same_form_are_named_and_no_others(world: World) -> None:
    for tag in ("v1.0.0rc4", "v1.0.0rc6", "v1.0.0rc10", "v0.9.0rc1", "v1.1.0", "x1.0.0rc7"):
        world.tree.git("tag", tag, world.tree_pin)
    world.write(tree_ref="tag v1.0.0rc4")
    data = as_data()
    assert data["moves"] == []
    assert data["newer"] == {"toy-source": ["v1.0.0rc10", "v1.0.0rc6"]}
    assert "toy-source: v1.0.0rc10, v1.0.0rc6" in proposed()


def test_a_strangers_title_stays_in_its_block(world: World) -> None:
    titles = ("``` end", "```` </details> <img src=x>", "@someone fixes #1", "\x1b[2J \u202e txt")
    for line, title in enumerate(titles, 1):
        world.change("other.py", title=title, line=line)
    text = proposed()
    assert "\x1b" not in text
    assert "\u202e" not in text
    # A block ends at a line of nothing but at least as many backticks.
    outside, fence = [], ""
    for row in text.splitlines():
        mark = re.match(r"(`{3,})", row)
        if not fence and mark:
            fence = mark[1]
        elif fence and re.fullmatch(r"`+", row) and len(row) >= len(fence):
            fence = ""
        elif not fence:
            outside.append(row)
    assert not fence
    for word in ("end", "img", "@someone", "#1"):
        assert word not in "\n".join(outside).replace("depend", "")
    assert "@someone fixes #1" in text


def test_new_versions_are_listed_and_written_with_the_commits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = world.recipes / "locks/plat/toy.x86_64.txt"
    lock.parent.mkdir(parents=True)
    lock.write_text(f"# head\n# inputs: x\neinops==0.8.0{HASH}\n")
    newest: list[object] = []

    def resolve(wanted: LockInput, *_: object, **options: object) -> tuple[str, ...]:
        newest.append(options["newest"])
        return (f"einops==0.8.1{HASH}",) if wanted.path == "plat/toy.x86_64.txt" else _as_it_is(wanted)

    monkeypatch.setattr("builder.source.lock.resolve", resolve)
    data = as_data("--exclude-newer", "2026-01-31")
    assert data["locks"] == [{"path": "locks/plat/toy.x86_64.txt", "changes": ["einops 0.8.0 -> 0.8.1"]}]
    assert {str(day) for day in newest} == {"2026-01-31"}
    assert "0.8.0" in lock.read_text()
    assert as_data("--write", "--exclude-newer", "2026-01-31")["title"] == "Update 1 package"
    assert "einops==0.8.1" in lock.read_text()
    assert "Nothing newer than 2026-01-31" in lock.read_text()


def test_a_bound_of_time_takes_no_version_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = world.recipes / "locks/plat/toy.x86_64.txt"
    lock.parent.mkdir(parents=True)
    lock.write_text(f"# head\n# inputs: x\neinops==0.10{HASH}\ntqdm==4.2{HASH}\n")

    def resolved(*lines: str) -> list[dict[str, Any]]:
        def resolve(wanted: LockInput, *_: object, **__: object) -> tuple[str, ...]:
            return tuple(f"{line}{HASH}" for line in lines) if wanted.path == "plat/toy.x86_64.txt" else ()

        monkeypatch.setattr("builder.source.lock.resolve", resolve)
        found: list[dict[str, Any]] = as_data()["locks"]
        return found

    assert resolved("einops==0.9", "tqdm==4.2") == []
    # With something new in it, the lock is what resolving gives, and the step back is shown.
    (change,) = resolved("einops==0.9", "tqdm==4.3")
    assert change["changes"] == ["einops 0.10 -> 0.9", "tqdm 4.2 -> 4.3"]
    assert resolved("einops==0.9") != []


def test_one_that_does_not_answer_does_not_hide_the_others(world: World) -> None:
    world.sdk.folder.rename(world.folder / "away")
    world.change("other.py")
    result = drivebuild("lock", "--update", "--json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert "no host answers" in data["missed"]["sdk"]
    # Its patch cannot be had, so nobody can say whether it fits: the move is left.
    move = only_move(data)
    assert move["verdict"]["state"] == "not tried"
    assert move["held"] == "steps could not be tried"
    assert "not asked: sdk: " in result.stderr


def test_offline_is_one_clear_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> tuple[str, ...]:
        raise SourceError("no solution: the index does not answer")

    monkeypatch.setattr("builder.source.lock.resolve", resolve)
    for repository in (world.tree, world.sdk):
        repository.folder.rename(repository.folder.with_name(f"{repository.folder.name}-away"))
    text = refused(drivebuild("lock", "--update"), 5)
    assert re.search(r"none of \d+ sources and locks could be asked", text)
    assert text.count("error:") == 1 + text.count("fatal: error:")
    assert "--config names a file with mirrors" in text


def test_a_mirror_is_asked_instead(world: World, tmp_path: Path) -> None:
    new = world.change("other.py")
    world.tree.folder.rename(tmp_path / "mirrored")
    world.sdk.folder.rename(tmp_path / "mirrored-sdk")
    configuration = tmp_path / "mirrors.yaml"
    lines = {world.tree.url: tmp_path / "mirrored/.git", world.sdk.url: tmp_path / "mirrored-sdk/.git"}
    configuration.write_text("mirrors:\n" + "".join(f"  {url}: [file://{path}]\n" for url, path in lines.items()))
    result = drivebuild("--config", str(configuration), "lock", "--update", "--json")
    assert result.exit_code == 0, result.output
    move = only_move(json.loads(result.stdout))
    assert (move["new"], move["verdict"]["state"]) == (new, "fits")


def test_a_model_limits_what_is_asked(world: World) -> None:
    own = 'ops-own: {type: git, url: "file:///nowhere.git", commit: ' + "f" * 40 + ", ref: main}"
    text = model("other", sources=f"{{{own}}}", tree="{source: ops-own, directory: Tree}")
    (world.recipes / "models/other.yaml").write_text(text)
    assert "ops-own" in as_data()["missed"]
    data = as_data("--model", "toy")
    assert "ops-own" not in data["missed"]
    assert {"sdk", "toy-source"} <= set(data["current"])
    refused(drivebuild("lock", "--update", "--model", "nobody"), 4)


def test_a_store_that_is_named_is_filled_and_used(world: World, tmp_path: Path) -> None:
    new = world.change("other.py")
    as_data("--store", str(tmp_path / "store"))
    names = "\n".join(path.read_text() for path in (tmp_path / "store/entries").rglob("*.json"))
    for commit in (new, world.tree_pin, world.sdk_pin):
        assert commit in names


@pytest.mark.parametrize(
    "words",
    [
        ("toy", "--update"),
        ("--update", "--check"),
        ("--update", "--dry-run"),
        ("--update", "--update", "ops"),
        ("--write",),
        ("--json",),
        ("--model", "toy"),
        ("--update", "ops", "--write"),
    ],
)
def test_words_that_cannot_be_meant(world: World, words: tuple[str, ...]) -> None:
    refused(drivebuild("lock", *words), 2)


def test_an_installed_drivebuild_changes_nothing_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.change("other.py")
    monkeypatch.setattr(paths, "in_checkout", lambda: False)
    move = only_move(as_data())
    assert "installed" in move["held"]
    assert "--recipes DIR" in refused(drivebuild("lock", "--update", "--write"), 5)


def test_a_body_fits_where_it_goes() -> None:
    title = "a title of a common length, and some more of it, `` and so on " * 2
    commits = tuple(Commit(id=f"{number:07x}", day="2026-01-01", title=title) for number in range(30))
    moves = tuple(
        Move(
            name=f"source-{number}",
            ref="branch main",
            url="https://example.org/x.git",
            old="a" * 40,
            new="b" * 40,
            note="",
            between=Between(relation="forward", ahead=400, commits=commits, old_day="2026-01-01", new_day="2026-02-01"),
            models=(),
            verdict=Verdict(state="no steps"),
            places=("sources.yaml:1",),
            held="",
        )
        for number in range(40)
    )
    short, long = markdown(Proposal(moves=moves[:1])), markdown(Proposal(moves=moves))
    assert short.count("a title of") >= 30
    assert "and 370 more" in short
    assert len(long) <= LIMIT
    assert "source-39" in long
    # Even what cannot be cut any shorter ends in time, and says so.
    huge = markdown(Proposal(moves=moves, diff="+x\n" * LIMIT))
    assert len(huge) <= LIMIT
    # A push option of GitLab's is bytes, with a line's end as two.
    wide = markdown(Proposal(moves=moves, diff="+漢\n" * LIMIT))
    assert len(wide.replace("\n", "\\n").encode()) <= LIMIT
    assert "shows all of it" in huge
