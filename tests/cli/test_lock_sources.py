"""`lock` with a real git, a real uv, real stores and servers of this machine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.cli import drivebuild, refused
from support.files import toy

from builder import paths
from builder.errors import SourceError
from builder.plan.firstseen import FIRST_SEEN, parse_records
from builder.source.repin import definitions, repin
from builder.source.store import Store

WHO = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


@pytest.fixture(autouse=True)
def guard() -> None:
    """Stand in for the guard of this folder: here processes and sockets of this machine are the point."""


@contextmanager
def served(pages: Mapping[str, bytes], kinds: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve pages by path on this machine; yield the address. What is not there is 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = pages.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", (kinds or {}).get(self.path, "application/octet-stream"))
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Upstream:
    """A bare repository, written to without a work tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
        self.day = 1

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *words: str, stdin: str = "", **env: str) -> str:
        return subprocess.run(
            ("git", *words),
            cwd=self.path,
            input=stdin,
            env={**os.environ, **WHO, **env},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    def commit(self, subject: str, *, branch: str = "main", root: bool = False) -> str:
        """Add a commit to a branch, a day after the last one."""
        known = subprocess.run(
            ("git", "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"),
            cwd=self.path,
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        blob = self.git("hash-object", "-w", "--stdin", stdin=subject)
        tree = self.git("mktree", stdin=f"100644 blob {blob}\tfile\n")
        when = f"2026-01-{self.day:02}T12:00:00Z"
        self.day = self.day % 27 + 1
        parents = ("-p", known) if known and not root else ()
        dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        made = self.git("commit-tree", tree, *parents, "-m", subject, **dates)
        self.git("update-ref", f"refs/heads/{branch}", made)
        return made


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "up.git")


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of toy recipes that stands in for the shipped one."""
    folder = tmp_path / "recipes"
    for path, text in toy().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    monkeypatch.setattr(paths, "RECIPES", folder)
    # The caller's own configuration and index are not asked.
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_")) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    configuration = tmp_path / "site.yaml"
    configuration.write_text("# nothing\n")
    monkeypatch.setenv("DRIVEBUILD_CONFIG", str(configuration))
    return folder


def point(recipes: Path, upstream: Upstream, commit: str, ref: str) -> Path:
    """Have the source `ops` come from `upstream`; return the file that says so."""
    file = recipes / "sources.yaml"
    line = f'  ops: {{type: git, url: "{upstream.url}", commit: {commit}, ref: "{ref}"}}  # a comment stays\n'
    file.write_text(re.sub(r"  ops: .*\n", lambda _: line, file.read_text()))
    return file


def update(*words: str) -> str:
    result = drivebuild("lock", "--update", *words)
    assert result.exit_code == 0, result.output
    return result.output


# --- commits -------------------------------------------------------------------------------------


def test_a_branch_that_moved_is_shown_and_its_commit_replaced(recipes: Path, upstream: Upstream) -> None:
    old = upstream.commit("first")
    file = point(recipes, upstream, old, "branch main")
    before = file.read_text()
    upstream.commit("second")
    new = upstream.commit("third")
    text = update("ops")
    assert f"  {old}\n  -> {new}\n  2 commits:\n" in text
    assert re.search(r"    [0-9a-f]{7,} third\n    [0-9a-f]{7,} second\n", text)
    assert f"changed {file}:3\n" in text
    assert file.read_text() == before.replace(old, new)
    assert sorted(path.name for path in recipes.iterdir()) == [
        "components",
        "models",
        "platforms",
        "sources.yaml",
        "systems",
        "toolchains",
    ]
    assert "ops: branch main is still" in update("ops")


def test_dry_run_shows_the_same_and_changes_nothing(recipes: Path, upstream: Upstream) -> None:
    file = point(recipes, upstream, upstream.commit("first"), "HEAD")
    before = file.read_text()
    new = upstream.commit("second")
    text = update("ops", "--dry-run")
    assert f"-> {new}" in text
    assert "1 commit:\n" in text
    assert f"would change {file}:3\n" in text
    assert file.read_text() == before


def test_a_tag_with_an_object_of_its_own_is_followed_to_its_commit(recipes: Path, upstream: Upstream) -> None:
    old = upstream.commit("first")
    file = point(recipes, upstream, old, "tag v1")
    new = upstream.commit("second")
    upstream.git("tag", "-a", "-m", "one", "v1", new)
    assert upstream.git("rev-parse", "v1") != new
    text = update("ops")
    assert "the tag is not on the recipe's commit: it has moved" in text
    assert new in file.read_text()


def test_a_dated_branch_is_resolved_and_the_day_left_to_a_person(recipes: Path, upstream: Upstream) -> None:
    old = upstream.commit("first")
    file = point(recipes, upstream, old, "main of 2026-01-01")
    new = upstream.commit("second")
    assert "the recipe's ref still says 'main of 2026-01-01'" in update("ops")
    assert new in file.read_text()
    assert "main of 2026-01-01" in file.read_text()


def test_rewritten_history_is_told_with_both_days(recipes: Path, upstream: Upstream) -> None:
    old = upstream.commit("first")
    upstream.git("update-ref", "refs/heads/kept", old)
    point(recipes, upstream, old, "branch main")
    new = upstream.commit("other root", root=True)
    text = update("ops")
    assert "not an ancestor" in text
    assert f"old: {old} of 2026-01-01" in text
    assert f"new: {new} of 2026-01-02" in text


def test_a_branch_that_was_taken_back_is_told(recipes: Path, upstream: Upstream) -> None:
    first, second = upstream.commit("first"), upstream.commit("second")
    point(recipes, upstream, second, "branch main")
    upstream.git("update-ref", "refs/heads/main", first)
    text = update("ops")
    assert "the new commit is 1 commit before the old one" in text
    assert "commits:" not in text


def test_an_old_commit_that_is_gone_does_not_hide_the_new_one(recipes: Path, upstream: Upstream) -> None:
    file = point(recipes, upstream, "f" * 40, "branch main")
    new = upstream.commit("first")
    text = update("ops")
    assert "the old commit is not in" in text
    assert f"new: {new} of 2026-01-01" in text
    assert new in file.read_text()


def test_a_long_log_is_cut_and_counted(recipes: Path, upstream: Upstream) -> None:
    point(recipes, upstream, upstream.commit("first"), "branch main")
    stream = "".join(
        f"commit refs/heads/main\ncommitter A <a@example.org> {number} +0000\ndata <<E\nnumber {number}\nE\n"
        + ("from refs/heads/main^0\n" if number == 0 else "")
        for number in range(35)
    )
    upstream.git("fast-import", "--quiet", stdin=stream)
    text = update("ops", "--dry-run")
    assert "35 commits:" in text
    assert len(re.findall(r"^    [0-9a-f]{7,} number \d+$", text, re.MULTILINE)) == 30
    assert "number 34\n" in text
    assert "    and 5 more\n" in text


def test_a_subject_cannot_steer_the_terminal(recipes: Path, upstream: Upstream) -> None:
    point(recipes, upstream, upstream.commit("first"), "branch main")
    upstream.commit("evil \x1b[2J\x07 \u202e txt")
    text = update("ops", "--dry-run")
    assert "evil \ufffd[2J\ufffd \ufffd txt" in text
    assert "\x1b" not in text


def test_the_models_to_be_looked_at_are_named(recipes: Path, upstream: Upstream) -> None:
    point(recipes, upstream, upstream.commit("first"), "branch main")
    upstream.commit("second")
    model = recipes / "models/toy.yaml"
    model.write_text(
        model.read_text() + "overlays: [{component: ops, steps: [{do: patch, source: ops, path: a.patch}]}]\n"
    )
    text = update("ops", "--dry-run")
    assert "ops is patched for, or patches, toy: run `drivebuild patch check`" in text


def test_a_name_that_is_branch_and_tag_needs_the_word(recipes: Path, upstream: Upstream) -> None:
    old = upstream.commit("first")
    upstream.git("tag", "twin", old)
    new = upstream.commit("second", branch="twin")
    file = point(recipes, upstream, "f" * 40, "twin")
    before = file.read_text()
    text = refused(drivebuild("lock", "--update", "ops"), 5)
    assert "'twin' is a branch and a tag" in text
    assert f"branch {new}\n" in text
    assert f"tag    {old}\n" in text
    assert "`branch twin` or `tag twin`" in text
    assert file.read_text() == before
    point(recipes, upstream, "f" * 40, "branch twin")
    assert f"a tag of the same name is {old}" in update("ops")
    assert new in file.read_text()
    point(recipes, upstream, "f" * 40, "tag twin")
    assert f"a branch of the same name is {new}" in update("ops")
    assert old in file.read_text()


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("branch gone", "its ref 'branch gone' does not exist"),
        ("tag main", "it has no tag 'main'"),
        ("the day before the README", "is no branch or tag"),
        ("branch ../../x", "is no branch or tag"),
        ("branch mai*", "is no branch or tag"),
        ("--upload-pack=touch", "is no branch or tag"),
        ("", "its recipe names no ref"),
    ],
)
def test_a_ref_that_means_nothing_changes_nothing(recipes: Path, upstream: Upstream, ref: str, message: str) -> None:
    file = point(recipes, upstream, upstream.commit("first"), ref)
    before = file.read_text()
    assert message in refused(drivebuild("lock", "--update", "ops"), 5)
    assert file.read_text() == before


def test_a_tag_on_no_commit_is_refused(recipes: Path, upstream: Upstream) -> None:
    old = upstream.commit("first")
    file = point(recipes, upstream, old, "tag blob")
    upstream.git("tag", "blob", f"{old}:file")
    assert "is no commit" in refused(drivebuild("lock", "--update", "ops"), 5)
    assert old in file.read_text()


def test_a_host_that_does_not_answer_is_named_without_the_password(recipes: Path, upstream: Upstream) -> None:
    old = upstream.commit("first")
    file = point(recipes, upstream, old, "branch main")
    upstream.path.rename(upstream.path.with_name("away"))
    text = refused(drivebuild("lock", "--update", "ops"), 5)
    assert "ops: no host answers" in text
    assert str(upstream.path) in text
    assert old in file.read_text()


def test_nothing_is_written_when_one_of_several_fails(recipes: Path, upstream: Upstream) -> None:
    file = point(recipes, upstream, upstream.commit("first"), "branch main")
    upstream.commit("second")
    before = file.read_text()
    refused(drivebuild("lock", "--update", "ops", "--update", "sdk"), 5)
    assert file.read_text() == before


def test_nothing_is_written_when_one_place_cannot_be_changed(recipes: Path, upstream: Upstream) -> None:
    old = upstream.commit("first")
    file = point(recipes, upstream, old, "branch main")
    block = f"  sdk:\n    type: git\n    url: {upstream.url}\n    ref: branch main\n    commit: >-\n      {old}\n"
    file.write_text(re.sub(r"  sdk: .*\n", lambda _: block, file.read_text()))
    before = file.read_text()
    upstream.commit("second")
    for words in (("--update", "ops", "--update", "sdk"), ("--update", "ops", "--update", "sdk", "--dry-run")):
        assert "does not stand there" in refused(drivebuild("lock", *words), 5)
    assert file.read_text() == before


def test_two_sources_of_one_file_move_together(recipes: Path, upstream: Upstream) -> None:
    old = upstream.commit("first")
    file = point(recipes, upstream, old, "branch main")
    both = f'{{ops: {{type: git, url: "{upstream.url}", commit: {old}, ref: main}}, '
    both += f'sdk: {{type: git, url: "{upstream.url}", commit: {old}, ref: HEAD}}, '
    both += f'py: {{type: archive, url: "https://example.org/p.tgz", sha256: {"a" * 64}}}}}'
    file.write_text(f"sources: {both}\n")
    new = upstream.commit("second")
    update("ops", "--update", "sdk")
    assert file.read_text() == f"sources: {both}\n".replace(old, new)


def test_layout_line_ends_and_a_mark_of_byte_order_stay(recipes: Path, upstream: Upstream, tmp_path: Path) -> None:
    old = upstream.commit("first")
    mine = tmp_path / "mine"
    mine.mkdir()
    text = (
        "\ufeff# 项目\r\nsources:\r\n  own:   # why\r\n    type: git\r\n"
        f'    url: "{upstream.url}"\r\n    commit:   "{old}"   # {old}\r\n    ref: branch main\r\n\r\n'
    )
    file = mine / "sources.yaml"
    file.write_bytes(text.encode())
    new = upstream.commit("second")
    result = drivebuild("--recipes", str(mine), "lock", "--update", "own")
    assert result.exit_code == 0, result.output
    assert file.read_bytes() == text.replace(f'"{old}"', f'"{new}"').encode()


def test_a_commit_on_the_first_line_behind_a_mark_is_found(tmp_path: Path) -> None:
    old, new = "a" * 40, "b" * 40
    file = tmp_path / "sources.yaml"
    file.write_text(f"\ufeffsources: {{own: {{type: git, commit: {old}, ref: main}}}}")
    (found,) = definitions((tmp_path,), "own")
    repin(found, old, new)
    assert file.read_text() == f"\ufeffsources: {{own: {{type: git, commit: {new}, ref: main}}}}"


@pytest.mark.parametrize("number", ["1" * 40, f"12e{'3' * 37}"])
def test_a_commit_that_yaml_takes_for_a_number_is_not_written(tmp_path: Path, number: str) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text(f"sources: {{own: {{commit: {'a' * 40}}}}}\n")
    before = file.read_bytes()
    (found,) = definitions((tmp_path,), "own")
    with pytest.raises(SourceError, match="would change more than the commit"):
        repin(found, "a" * 40, number)
    assert file.read_bytes() == before


def test_a_source_that_stands_in_two_files_is_changed_in_both_and_a_link_stays_one(
    recipes: Path, upstream: Upstream, tmp_path: Path
) -> None:
    old = upstream.commit("first")
    shipped = point(recipes, upstream, old, "branch main")
    # A link may lead elsewhere within the folder of recipes, and not out of it.
    mine, real = tmp_path / "mine", tmp_path / "mine/real"
    mine.mkdir()
    line = next(line for line in shipped.read_text().splitlines() if line.startswith("  ops:"))
    real.write_text(f"sources:\n{line}\n")
    (mine / "sources.yaml").symlink_to(real)
    new = upstream.commit("second")
    result = drivebuild("--recipes", str(mine), "lock", "--update", "ops")
    assert result.exit_code == 0, result.output
    assert (mine / "sources.yaml").is_symlink()
    assert new in real.read_text()
    assert new in shipped.read_text()
    assert drivebuild("--recipes", str(mine), "list").exit_code == 0


def test_a_models_own_source_is_found_in_its_file(recipes: Path, upstream: Upstream) -> None:
    old = upstream.commit("first")
    model = recipes / "models/toy.yaml"
    own = f'{{toy-source: {{type: git, url: "{upstream.url}", commit: {old}, ref: main}}}}'
    model.write_text(re.sub(r"sources: .*", lambda _: f"sources: {own}", model.read_text()))
    before = model.read_text()
    new = upstream.commit("second")
    update("toy-source")
    assert model.read_text() == before.replace(old, new)


def test_a_commit_that_is_not_written_plainly_is_left_to_a_person(recipes: Path, upstream: Upstream) -> None:
    old = upstream.commit("first")
    file = recipes / "sources.yaml"
    block = f"  ops:\n    type: git\n    url: {upstream.url}\n    ref: branch main\n    commit: >-\n      {old}\n"
    file.write_text(re.sub(r"  ops: .*\n", lambda _: block, file.read_text()))
    before = file.read_text()
    new = upstream.commit("second")
    text = refused(drivebuild("lock", "--update", "ops"), 5)
    assert f"{file}:7: {old} does not stand there" in text
    assert f"write {new} there by hand" in text
    assert file.read_text() == before


def test_an_installed_drivebuilds_own_recipes_are_not_changed(
    recipes: Path, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = point(recipes, upstream, upstream.commit("first"), "branch main")
    before = file.read_text()
    upstream.commit("second")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "sources.yaml").write_text("sources: {}\n")
    monkeypatch.setattr(paths, "in_checkout", lambda: False)
    text = refused(drivebuild("--recipes", str(mine), "lock", "--update", "ops"), 5)
    assert "an installed drivebuild's own recipe is not changed" in text
    assert file.read_text() == before


def test_the_callers_own_repository_is_not_touched(
    recipes: Path, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook runs with GIT_DIR set; then every git command would work there."""
    point(recipes, upstream, upstream.commit("first"), "branch main")
    upstream.commit("second")
    other = Upstream(tmp_path / "other.git")
    kept = {path: path.read_bytes() for path in other.path.rglob("*") if path.is_file()}
    monkeypatch.setenv("GIT_DIR", str(other.path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / "index"))
    update("ops")
    assert {path: path.read_bytes() for path in other.path.rglob("*") if path.is_file()} == kept


# --- what was first seen -------------------------------------------------------------------------

IMAGE = "example/base"
ASKED = "inspect example/base --format {{json .Manifest}}"


@pytest.fixture
def shelf(tmp_path: Path) -> Store:
    return Store.make(tmp_path / "store")


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a docker on PATH that says what the file returned here says, and writes down what it was asked."""
    answer, folder = tmp_path / "answer.json", tmp_path / "bin"
    folder.mkdir()
    script = folder / "docker"
    failing = f"[ -f {answer} ] || {{ echo no such host >&2; exit 1; }}"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n{failing}\ncat {answer}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return answer


def manifest(letter: str) -> str:
    return json.dumps({"mediaType": "an index", "digest": f"sha256:{letter * 64}", "size": 1609, "manifests": []})


def keep(shelf: Store, url: str, content: bytes) -> str:
    """Put a content into the store, as `fetch` does for a file without a checksum; return its sha256."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = shelf.partial(f"url:{url}")
    path.write_bytes(content)
    # The store itself would refuse another content under the key: here it is another store, of another day.
    for old in (shelf.root / "entries").glob("*/*.json"):
        if url in old.read_text():
            old.unlink()
    shelf.add(f"url:{url}", path, file="f", origin=url, sha256=sha256)
    return sha256


def unpublish(recipes: Path, **urls: str) -> None:
    """Add archives without a checksum; a name that begins with `run` is an installer with a licence."""
    file = recipes / "sources.yaml"
    eula = '{name: cann, url: "https://example.org/eula"}'
    lines = [
        f'  {name}: {{type: archive, url: "{url}", sha256: null, eula: {eula if name.startswith("run") else "null"}}}\n'
        for name, url in urls.items()
    ]
    file.write_text(file.read_text() + "".join(lines))


def records(recipes: Path) -> dict[str, str]:
    found = parse_records((recipes / "locks" / FIRST_SEEN).read_text())
    return {key: record.sha256 for key, record in found.items()}


def test_what_a_store_has_is_recorded_compared_and_replaced_only_by_name(
    recipes: Path, shelf: Store, docker: Path
) -> None:
    url = "https://example.org/wheel.whl"
    unpublish(recipes, wheel=url)
    first = keep(shelf, url, b"first")
    words = ("lock", "wheel", "--store", str(shelf.root))
    assert f"missing: locks/{FIRST_SEEN}: archive:wheel" in refused(drivebuild("lock", "wheel", "--check"), 8)
    text = drivebuild(*words).output
    assert f"first seen: archive:wheel sha256:{first}, 5 bytes\n" in text
    assert records(recipes) == {"archive:wheel": first}
    assert "as recorded on " in drivebuild(*words).output
    assert drivebuild("lock", "wheel", "--check").exit_code == 0

    second = keep(shelf, url, b"second!")
    kept = (recipes / "locks" / FIRST_SEEN).read_bytes()
    text = refused(drivebuild(*words), 5)
    assert f"archive:wheel is not what it was: {url}" in text
    assert f"recorded sha256:{first} 5 bytes, first seen on 20" in text
    assert f"seen     sha256:{second} 7 bytes" in text
    assert "drivebuild lock --update NAME" in text
    assert (recipes / "locks" / FIRST_SEEN).read_bytes() == kept

    again = ("lock", "--update", "wheel", "--store", str(shelf.root))
    assert f"sha256:{first} -> sha256:{second}, 7 bytes" in drivebuild(*again, "--dry-run").output
    assert (recipes / "locks" / FIRST_SEEN).read_bytes() == kept
    assert drivebuild(*again).exit_code == 0
    assert records(recipes) == {"archive:wheel": second}


def test_an_installer_with_a_licence_is_only_read_from_a_store(recipes: Path, shelf: Store, docker: Path) -> None:
    url = "https://example.org/cann.run"
    unpublish(recipes, runfile=url)
    text = refused(drivebuild("lock", "archive:runfile", "--store", str(shelf.root)), 5)
    assert "not reached: archive:runfile: its licence is yours to accept: `drivebuild fetch --accept-cann-eula" in text
    sha256 = keep(shelf, url, b"#!/bin/sh")
    assert drivebuild("lock", "runfile", "--store", str(shelf.root)).exit_code == 0
    assert records(recipes) == {"archive:runfile": sha256}


def test_an_image_is_asked_by_name_and_its_index_recorded(recipes: Path, docker: Path, tmp_path: Path) -> None:
    docker.write_text(manifest("a"))
    assert f"first seen: image:{IMAGE} sha256:{'a' * 64}, 1609 bytes" in drivebuild("lock", IMAGE).output
    assert ASKED in (tmp_path / "asked").read_text()
    assert records(recipes) == {f"image:{IMAGE}": "a" * 64}
    docker.write_text(manifest("b"))
    assert "is not what it was" in refused(drivebuild("lock", IMAGE), 5)
    assert drivebuild("lock", "--update", f"image:{IMAGE}").exit_code == 0
    assert records(recipes) == {f"image:{IMAGE}": "b" * 64}
    docker.unlink()
    text = refused(drivebuild("lock", IMAGE), 5)
    assert text.count("not reached: image:example/base: no such host") == 1


@pytest.fixture
def no_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve Python locks to nothing: other tests have them."""
    monkeypatch.setattr("builder.source.lock.resolve", lambda _item, _run, _asked, *, newest=None: ())


def test_a_plain_lock_warns_of_what_it_cannot_reach_and_does_the_rest(
    recipes: Path, docker: Path, shelf: Store, tmp_path: Path, no_uv: None
) -> None:
    unpublish(recipes, runfile="https://example.org/cann.run", wheel="https://example.org/w.whl")
    sha256 = keep(shelf, "https://example.org/w.whl", b"wheel")
    result = drivebuild("lock", "--store", str(shelf.root))
    assert result.exit_code == 0, result.output
    assert "6 locks are current" in result.stdout
    assert [line.partition(": ")[2].partition(": ")[0] for line in result.stderr.splitlines()] == [
        "archive:runfile",
        f"image:{IMAGE}",
    ]
    assert "1 of 3 things without a published checksum are recorded" in result.stdout
    assert records(recipes) == {"archive:wheel": sha256}

    docker.write_text(manifest("a"))
    assert f"first seen: image:{IMAGE}" in drivebuild("lock", "--store", str(shelf.root)).stdout
    # What is recorded is not asked for again.
    (tmp_path / "asked").unlink()
    assert drivebuild("lock", "--store", str(shelf.root)).exit_code == 0
    assert not (tmp_path / "asked").exists()


def test_a_line_that_names_nothing_fails_the_check_and_is_forgotten_by_the_next_lock(
    recipes: Path, docker: Path, shelf: Store, no_uv: None
) -> None:
    docker.write_text(manifest("a"))
    url, other = "https://example.org/w.whl", "https://example.org/other.whl"
    before = (recipes / "sources.yaml").read_text()
    unpublish(recipes, wheel=url)
    keep(shelf, url, b"wheel")
    moved = keep(shelf, other, b"moved")
    words = ("lock", "--store", str(shelf.root))
    assert drivebuild(*words).exit_code == 0
    assert "all locks are current" in drivebuild("lock", "--check").output

    (recipes / "sources.yaml").write_text(before)
    unpublish(recipes, wheel=other)
    text = refused(drivebuild("lock", "--check"), 8)
    assert f"surplus: locks/{FIRST_SEEN}: archive:wheel: its URL is another one now: {other}" in text
    assert "1 lock is not current" in text
    assert drivebuild(*words).exit_code == 0
    assert records(recipes) == {"archive:wheel": moved, f"image:{IMAGE}": "a" * 64}

    (recipes / "sources.yaml").write_text(before)
    assert f"surplus: locks/{FIRST_SEEN}: archive:wheel: no recipe" in refused(drivebuild("lock", "--check"), 8)
    assert "forgotten: archive:wheel" in drivebuild(*words).output
    assert records(recipes) == {f"image:{IMAGE}": "a" * 64}
    assert "all locks are current" in drivebuild("lock", "--check").output


def test_a_store_that_is_none_is_refused_before_anything_is_resolved(recipes: Path, tmp_path: Path) -> None:
    text = refused(drivebuild("lock", "--store", str(tmp_path / "typo")), 5)
    assert "there is no such store" in text
    assert "resolving" not in text


def test_a_damaged_lock_of_first_looks_is_named(recipes: Path, docker: Path) -> None:
    (recipes / "locks").mkdir()
    (recipes / "locks" / FIRST_SEEN).write_text("<<<<<<< ours\n")
    for words in (("lock", "--check"), ("lock", IMAGE)):
        assert f"locks/{FIRST_SEEN}:1: not a record" in refused(drivebuild(*words), 4)


def test_a_folder_of_your_own_has_its_own_lines(recipes: Path, docker: Path, shelf: Store, tmp_path: Path) -> None:
    url = "https://example.org/w.whl"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "sources.yaml").write_text("sources:\n")
    unpublish(mine, wheel=url)
    sha256 = keep(shelf, url, b"wheel")
    assert drivebuild("--recipes", str(mine), "lock", "wheel", "--store", str(shelf.root)).exit_code == 0
    assert records(mine) == {"archive:wheel": sha256}
    assert not (recipes / "locks").exists()


@pytest.mark.docker
@pytest.mark.skipif(shutil.which("docker") is None, reason="needs docker's buildx, no engine")
def test_a_real_buildx_says_the_digest_of_the_index_and_not_of_one_architecture(recipes: Path) -> None:
    config = b'{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}'
    one, many, its = (f"application/vnd.oci.image.{kind}.v1+json" for kind in ("manifest", "index", "config"))
    image = {"schemaVersion": 2, "mediaType": one, "config": described(config, its), "layers": []}
    content = json.dumps(image).encode()
    listed = {**described(content, one), "platform": {"architecture": "amd64", "os": "linux"}}
    index = json.dumps({"schemaVersion": 2, "mediaType": many, "manifests": [listed]}).encode()
    pages = {"/v2/": b"{}", "/v2/up/base/manifests/8.0": index}
    for kind, body in (("manifests", index), ("manifests", content), ("blobs", config)):
        pages[f"/v2/up/base/{kind}/{described(body, '')['digest']}"] = body
    with served(pages, {path: many if pages[path] is index else one for path in pages}) as address:
        name = f"localhost:{address.rpartition(':')[2]}/up/base:8.0"
        platform = recipes / "platforms/plat.yaml"
        platform.write_text(platform.read_text().replace("image: example/base", f'image: "{name}"'))
        result = drivebuild("lock", name)
        assert result.exit_code == 0, result.output
    assert records(recipes) == {f"image:{name}": hashlib.sha256(index).hexdigest()}
    text = (recipes / "locks" / FIRST_SEEN).read_text()
    assert f" {len(index)} 20" in text


def described(body: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(body).hexdigest()}", "size": len(body)}


def configure(tmp_path: Path, text: str) -> None:
    (tmp_path / "site.yaml").write_text(text)


def test_what_no_store_has_is_downloaded_from_a_mirror_and_recorded(
    recipes: Path, docker: Path, tmp_path: Path
) -> None:
    unpublish(recipes, wheel="https://example.org/files/w.whl")
    pages = {"/w.whl": b"first"}
    with served(pages) as address:
        configure(tmp_path, f"mirrors: {{'https://example.org/files/': '{address}/'}}\nupstream: false\n")
        assert "first seen: archive:wheel" in drivebuild("lock", "wheel").output
        assert records(recipes) == {"archive:wheel": hashlib.sha256(b"first").hexdigest()}
        pages["/w.whl"] = b"second"
        assert "is not what it was" in refused(drivebuild("lock", "wheel"), 5)
        assert drivebuild("lock", "--update", "wheel").exit_code == 0
        assert records(recipes) == {"archive:wheel": hashlib.sha256(b"second").hexdigest()}
        del pages["/w.whl"]
        assert "not reached: archive:wheel: " in refused(drivebuild("lock", "wheel"), 5)
    assert records(recipes) == {"archive:wheel": hashlib.sha256(b"second").hexdigest()}


def test_what_is_downloaded_stays_in_the_store_that_was_named(
    recipes: Path, docker: Path, shelf: Store, tmp_path: Path
) -> None:
    url = "https://example.org/files/w.whl"
    unpublish(recipes, wheel=url)
    with served({"/w.whl": b"content"}) as address:
        configure(tmp_path, f"mirrors: {{'https://example.org/files/': '{address}/'}}\nupstream: false\n")
        assert drivebuild("lock", "wheel", "--store", str(shelf.root)).exit_code == 0
    entry = shelf.find(f"url:{url}")
    assert entry
    assert shelf.object(entry).read_bytes() == b"content"
    assert records(recipes) == {"archive:wheel": entry.sha256}


def test_an_installer_is_not_downloaded_even_where_it_could_be(recipes: Path, docker: Path, tmp_path: Path) -> None:
    unpublish(recipes, runfile="https://example.org/files/cann.run")
    with served({"/cann.run": b"content"}) as address:
        configure(tmp_path, f"mirrors: {{'https://example.org/files/': '{address}/'}}\n")
        assert "its licence is yours" in refused(drivebuild("lock", "--update", "runfile"), 5)
    assert not (recipes / "locks").exists()


def test_a_git_source_and_an_image_are_asked_at_their_mirrors(
    recipes: Path, upstream: Upstream, docker: Path, tmp_path: Path
) -> None:
    old = upstream.commit("first")
    file = recipes / "sources.yaml"
    line = f'  ops: {{type: git, url: "https://example.org/away/up.git", commit: {old}, ref: main}}\n'
    file.write_text(re.sub(r"  ops: .*\n", lambda _: line, file.read_text()))
    new = upstream.commit("second")
    nowhere = tmp_path / "nowhere"
    configure(
        tmp_path,
        f"mirrors: {{'https://example.org/away/': ['file://{nowhere}/', 'file://{tmp_path}/']}}\n"
        "registries: {docker.io: registry.example.org/hub}\nupstream: false\n",
    )
    assert f"ops: main, asked at {upstream.url}\n" in update("ops")
    assert new in file.read_text()
    assert "https://example.org/away/up.git" in file.read_text()
    docker.write_text(manifest("a"))
    assert drivebuild("lock", IMAGE).exit_code == 0
    assert "inspect registry.example.org/hub/example/base --format" in (tmp_path / "asked").read_text()
    assert records(recipes) == {f"image:{IMAGE}": "a" * 64}


def test_a_mirror_that_lacks_the_ref_is_not_the_last_word(recipes: Path, upstream: Upstream, tmp_path: Path) -> None:
    old = upstream.commit("first")
    file = point(recipes, upstream, old, "branch fresh")
    new = upstream.commit("second", branch="fresh")
    mirror = Upstream(tmp_path / "mirror.git")
    mirror.commit("other")
    configure(tmp_path, f"mirrors: {{'{upstream.url}': '{mirror.url}'}}\n")
    assert f"asked at {upstream.url}" in update("ops")
    assert new in file.read_text()


# --- Python packages -----------------------------------------------------------------------------


METADATA = "Metadata-Version: 2.1\nName: einops\nVersion: {}\n"


def wheel(version: str) -> bytes:
    """Return a wheel with nothing in it but its metadata."""
    content, info = io.BytesIO(), f"einops-{version}.dist-info"
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{info}/METADATA", METADATA.format(version))
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return content.getvalue()


@pytest.fixture
def index(recipes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Serve an index with two versions of one package, a month apart, and have uv ask it."""
    days = {"1.0": "2026-01-31T23:59:59Z", "2.0": "2026-02-01T00:00:01Z"}
    wheels = {f"/einops-{version}-py3-none-any.whl": wheel(version) for version in days}
    listing = {
        "meta": {"api-version": "1.1"},
        "name": "einops",
        "versions": list(days),
        "files": [
            {
                "filename": path[1:],
                "url": path,
                "size": len(content),
                "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
                "upload-time": day,
                "core-metadata": True,
            }
            for (path, content), day in zip(wheels.items(), days.values(), strict=True)
        ],
    }
    pages = {"/simple/einops/": json.dumps(listing).encode(), **wheels}
    pages |= {f"{path}.metadata": METADATA.format(path.split("-")[1]).encode() for path in wheels}

    kinds = {"/simple/einops/": "application/vnd.pypi.simple.v1+json"}
    with served(pages, kinds) as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{address}/simple")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
        yield


def test_a_day_keeps_uv_from_what_is_newer_and_the_change_is_told(recipes: Path, index: None) -> None:
    platform = recipes / "platforms/plat.yaml"
    text = platform.read_text().replace('framework: ["torch==2.1.0"]', "framework: [einops]")
    platform.write_text(text.replace("[aarch64, x86_64]", "[x86_64]"))
    lock = recipes / "locks/plat/framework.x86_64.txt"
    text = update("framework", "--exclude-newer", "2026-01-31")
    assert "->" not in text
    assert lock.read_text().splitlines()[1].endswith(". Nothing newer than 2026-01-31")
    assert re.search(r"^einops==1\.0 --hash=sha256:[0-9a-f]{64}$", lock.read_text(), re.MULTILINE)

    text = update("framework")
    assert "            einops 1.0 -> 2.0\n" in text
    assert "einops==2.0" in lock.read_text()
    assert "Nothing newer" not in lock.read_text()
    assert "no package changes" in update("framework", "--exclude-newer", "2026-02-01")
    text = refused(drivebuild("lock", "--update", "framework", "--exclude-newer", "2026-01-30"), 5)
    assert "or take a later day" in text
    assert "einops==2.0" in lock.read_text()
