"""`drift` with a real git: READMEs of our own at two commits, a mirror, a store, files; and what cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cli import drivebuild, refused
from support.repos import Repository

from builder import paths

README = "model_examples/StreamPETR/README.md"
URL = "https://gitcode.com/Ascend/DrivingSDK.git"
OLD = """\
# A model

| Software | Version |
| --- | --- |
| CANN | 8.1.RC1 |
| PyTorch | 2.1.0 |

```bash
git clone -b v2.28.2 https://github.com/open-mmlab/mmdetection.git
cd mmdetection
pip install -e .
pip install numpy==1.23.5
```
"""
NEW = OLD.replace("8.1.RC1", "8.3.RC1").replace("numpy==1.23.5", "numpy>=1.23 psutil==6.1.0")


@pytest.fixture(autouse=True)
def guard() -> None:
    """Stand in for the guard of this folder: here git is the point."""


@pytest.fixture
def upstream(tmp_path: Path) -> Repository:
    """Return a repository whose main branch has the newer README; the older one is a tag."""
    repository = Repository(tmp_path / "sdk")
    repository.write(README, OLD)
    repository.commit()
    repository.git("tag", "old")
    repository.write(README, NEW)
    repository.write("other.txt", "x")
    repository.commit()
    return repository


@pytest.fixture
def site(tmp_path: Path, upstream: Repository, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Return the words of a command whose recipe follows the older README, and whose mirror is on this disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DRIVEBUILD_RECIPES", raising=False)
    text = (paths.RECIPES / "models/streampetr.yaml").read_text()
    pinned = "af94af1cdd9fac9423e324d55bdc1d7403408570"
    assert text.count(f"commit: {pinned}") == 1
    target = tmp_path / "recipes/models/streampetr.yaml"
    target.parent.mkdir(parents=True)
    target.write_text(text.replace(pinned, upstream.git("rev-parse", "old")))
    config = tmp_path / "site.yaml"
    config.write_text(f"upstream: false\nmirrors:\n  {URL}: [{upstream.url}]\n")
    return ("--config", str(config), "--recipes", str(tmp_path / "recipes"), "drift", "streampetr")


def test_a_recipe_that_is_behind(site: tuple[str, ...], upstream: Repository) -> None:
    result = drivebuild(*site)
    text = refused(result, 8)
    assert f"now:      HEAD, {upstream.git('rev-parse', 'HEAD')[:12]} of 2024-01-01" in text
    assert "5→5" in text
    assert "streampetr is behind its README: 1 thing that it has otherwise" in text
    assert "line 12: redirected-bound (new): >=1.23 is a redirection" in text
    result = drivebuild(*site, "--json")
    assert result.exit_code == 8
    data = json.loads(result.output)
    moved = {(item["kind"], item["key"]): item for item in data["moved"]}
    cann = moved["version", "cann"]
    assert (cann["was"], cann["now"]) == ({"value": "8.1.RC1", "line": 5}, {"value": "8.3.RC1", "line": 5})
    assert (cann["recipe_has_it"], cann["recipe"]) == (False, "8.1.RC1")
    assert moved["package", "psutil"]["recipe_has_it"] is True
    assert data["behind"] is True


def test_a_recipe_that_is_not(site: tuple[str, ...], upstream: Repository) -> None:
    result = drivebuild(*site, "--commit", "old")
    assert result.exit_code == 0, result.output
    assert "nothing moved" in result.output
    # Other words around the same facts.
    upstream.write(README, f"{OLD}\nMore about it.\n")
    commit = upstream.commit()
    result = drivebuild(*site, "--commit", commit)
    assert (result.exit_code, "nothing moved" in result.output) == (0, True)
    assert f"now:      {commit[:12]} of 2024-01-01" in result.output


def test_files_in_place_of_git(site: tuple[str, ...], tmp_path: Path) -> None:
    old, new = tmp_path / "old.md", tmp_path / "new.md"
    old.write_text(OLD)
    new.write_text(NEW)
    text = refused(drivebuild("drift", "streampetr", "--readme", str(new), "--pinned", str(old)), 8)
    assert "version cann" in text
    assert drivebuild("drift", "streampetr", "--readme", str(old), "--pinned", str(old)).exit_code == 0
    # Without the README that the recipe follows, the recipe alone is compared.
    config = tmp_path / "nowhere.yaml"
    config.write_text("upstream: false\n")
    text = refused(drivebuild("--config", str(config), "drift", "streampetr", "--readme", str(new)), 8)
    assert "compared with the recipe alone" in text
    assert drivebuild("--config", str(config), "drift", "streampetr", "--readme", str(old)).exit_code == 0


def test_what_a_terminal_would_obey_is_not_printed(site: tuple[str, ...], tmp_path: Path) -> None:
    new = tmp_path / "new.md"
    new.write_text(OLD.replace("8.1.RC1", "8\x1b[2J\u202e.3").replace("-e .", "-e . > \x1b]0;x\x07-y"))
    text = refused(drivebuild(*site, "--readme", str(new)), 8)
    assert "\x1b[2J" not in text
    assert "\x1b]0" not in text
    assert "\u202e" not in text


def test_what_cannot_be_had(site: tuple[str, ...], upstream: Repository, tmp_path: Path) -> None:
    assert "it has no none" in refused(drivebuild(*site, "--commit", "none"), 5)
    assert "is no commit, branch or tag" in refused(drivebuild(*site, "--commit", "--upload-pack=x"), 2)
    assert "is no commit, branch or tag" in refused(drivebuild(*site, "--commit", "a..b"), 2)
    upstream.git("rm", "--quiet", README)
    upstream.commit()
    assert f"has no file {README}" in refused(drivebuild(*site), 5)
    upstream.write(README, "x" * (300 << 10))
    upstream.commit()
    assert "which is no README" in refused(drivebuild(*site), 5)
    config = tmp_path / "nowhere.yaml"
    config.write_text("upstream: false\n")
    assert "it has no mirror" in refused(drivebuild("--config", str(config), "drift", "streampetr"), 5)


def test_words_that_cannot_be_meant(tmp_path: Path) -> None:
    binary = tmp_path / "binary.md"
    binary.write_bytes(b"\xff\xfe")
    large = tmp_path / "large.md"
    large.write_bytes(b"x" * (300 << 10))
    for words, code, said in (
        (("drift", "streampeter"), 4, "'streampetr'"),
        (("drift", "streampetr", "--readme", "/nowhere/at/all"), 2, "No such file"),
        (("drift", "streampetr", "--readme", str(tmp_path)), 2, "Is a directory"),
        (("drift", "streampetr", "--readme", str(binary)), 2, "not UTF-8"),
        (("drift", "streampetr", "--readme", str(large)), 2, "no README"),
        (("drift", "streampetr", "--readme", "/dev/zero"), 2, "no README"),
        (("drift", "streampetr", "--readme", "/dev/null"), 2, "says no version, command, package or result"),
        (("drift", "streampetr", "--readme", str(large), "--commit", "x"), 2, "both name"),
    ):
        assert said in refused(drivebuild(*words), code)
