"""docs/offline.md: its configuration can be read and has every key, its commands exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml
from support.cli import drivebuild
from support.files import REPOSITORY

from builder.source.config import ConfigFile, Proxy, read_config

PAGE = (REPOSITORY / "docs/offline.md").read_text(encoding="utf-8")
CONFIGURATION = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]


def commands() -> Iterator[tuple[str, ...]]:
    """Yield every command of the page, without its comment."""
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for line in re.findall(r"^\$ (drivebuild .*)$", block, re.MULTILINE):
            yield tuple(shlex.split(line, comments=True))


def test_the_configuration_is_one_and_has_every_key(tmp_path: Path) -> None:
    (tmp_path / "drivebuild.yaml").write_text(CONFIGURATION, encoding="utf-8")
    (tmp_path / "certificates.pem").touch()
    config = read_config(tmp_path / "drivebuild.yaml", {}, tmp_path)
    assert config.store == Path("/srv/drivebuild/store")
    assert len(dict(config.mirrors)["https://github.com/"]) == 2
    data = yaml.safe_load(CONFIGURATION)
    assert set(data) == {field.name for field in msgspec.structs.fields(ConfigFile)}
    assert set(data["proxy"]) == {field.name for field in msgspec.structs.fields(Proxy)}


@pytest.mark.parametrize("words", sorted(set(commands())), ids=" ".join)
def test_commands_and_their_options_exist(words: tuple[str, ...]) -> None:
    options = [word for word in words[1:] if word.startswith("-")]
    at = next(index for index, word in enumerate(words[1:], 1) if word not in ("--recipes", "models/recipes/shipped"))
    path = words[at : at + 2] if words[at] in ("store", "patch") else words[at : at + 1]
    shown = drivebuild("--help").output + drivebuild(*path, "--help").output
    assert "Usage" in shown
    for option in options:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", shown), f"{' '.join(words)}: no {option}"
