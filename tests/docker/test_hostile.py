"""Hostile recipes and sources, built: nothing of them runs, reads beyond its sources, or reaches what it need not."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path

import pytest
from support.files import texts, toy
from support.locks import with_locks

from builder.engine.host import Engine
from builder.engine.process import SystemRunner
from builder.errors import RecipeError
from builder.plan.make import make_plan
from builder.recipe.load import load
from builder.render.dockerfile import render_dockerfile

pytestmark = pytest.mark.docker
BASE = "docker-image://localhost/drivebuild/base:debian-12"
EVIL = (
    r"""$(touch /pwned) `touch /pwned` ${HOME} '; touch /pwned; ' "; touch /pwned; " && touch /pwned """
    r"""# {{ 7*7 }} {% raw %} <<EOF ../ %s \n \\"""
)
FIELDS = ("title", "summary", "licence", "note")


def hostile(**changes: str) -> dict[str, str]:
    word = json.dumps(EVIL)
    edit = f"{{do: edit, file: Tree/file, find: {word}, replace: {json.dumps(EVIL * 2)}, note: {word}}}"
    fields = dict.fromkeys(FIELDS, word)
    fields["tree"] = f"{{source: toy-source, directory: Tree, steps: [{edit}]}}"
    fields["environment"] = f"{{EVIL: {word}}}"
    fields["jobs"] = f"[{{name: train, title: {word}, command: [{word}], note: {word}}}]"
    fields["requirements"] = f"{{packages: [einops], conflicts: {{plat: [{word}]}}}}"
    return toy(**{**fields, **changes})


def test_what_is_rendered_is_inert(engine: Engine, tag: str, templates: dict[str, str], tmp_path: Path) -> None:
    plan = make_plan(with_locks(load(texts(hostile()), {})), "toy")
    folder, source, context = tmp_path / "d", tmp_path / "source", tmp_path / "context"
    for path in (folder, source, context):
        path.mkdir()
    (source / "file").write_text(f"before {EVIL} after {time.time()}")
    (folder / "Dockerfile").write_text(render_dockerfile(plan, templates))
    # The stages that take minutes are not what is asked here: the real text of `tree` and `image` stands on the base.
    replaced = {"env": BASE, "base": BASE, "build-base": BASE, "src-toy-source": str(source)}
    contexts = tuple(word for name, place in replaced.items() for word in ("--build-context", f"{name}={place}"))
    command = ("docker", "buildx", "build", "--load", "--tag", tag, "--file", str(folder / "Dockerfile"), *contexts)
    result = SystemRunner().run((*command, str(context)))
    assert result.code == 0, result.complaint
    image = engine.image(tag)
    assert image is not None
    assert image.config["Labels"]["org.opencontainers.image.title"] == EVIL
    assert image.config["Labels"]["org.opencontainers.image.licenses"] == EVIL
    assert f"EVIL={EVIL}" in image.config["Env"]
    shown = SystemRunner().run(("docker", "run", "--rm", tag, "cat", "/workspace/toy/Tree/file"))
    assert shown.text.startswith(f"before {EVIL * 2} after ")
    assert SystemRunner().run(("docker", "run", "--rm", tag, "test", "!", "-e", "/pwned")).code == 0


@pytest.mark.parametrize("value", ["a\nRUN touch /pwned", "a\rb", "a\u2028b", "a\x00b", "a\x1b[31m"])
@pytest.mark.parametrize("field", FIELDS)
def test_what_could_leave_its_line_is_refused(field: str, value: str) -> None:
    with pytest.raises(RecipeError):
        load(texts(hostile(**{field: json.dumps(value)})), {})


def test_a_step_without_a_network_reaches_nothing(engine: Engine) -> None:
    """The same step twice, with a server on this machine: what has a network reaches it, what has none does not."""
    asks = (
        "python3 -c \"import socket; s = socket.create_connection(('GATEWAY', PORT), 5); s.sendall(b'hello'); "
        "print('reached')\" 2>&1 || echo 'not reached'"
    )
    gateway = _gateway(engine)
    with socket.create_server((gateway, 0)) as server:
        asked = asks.replace("GATEWAY", gateway).replace("PORT", str(server.getsockname()[1]))
        said = {}
        for flag in ("", "--network=none "):
            text = f"FROM localhost/drivebuild/base:debian-12\nRUN {flag}{asked} # {time.time()}\n"
            words = ("docker", "buildx", "build", "--no-cache", "--progress=plain", "--output", "type=cacheonly", "-")
            done = SystemRunner().run(words, stdin=text.encode())
            assert done.code == 0, done.complaint
            (said[flag],) = re.findall(r"^#\d+ [0-9.]+ ((?:not )?reached)$", done.complaint, re.MULTILINE)
    assert said == {"": "reached", "--network=none ": "not reached"}


def _gateway(engine: Engine) -> str:
    """Return the address that this machine has in the network of containers."""
    network = engine.client.inspect_network("bridge")
    return str(network["IPAM"]["Config"][0]["Gateway"])


def test_links_of_a_source_bring_nothing_of_this_machine(
    engine: Engine, tag: str, templates: dict[str, str], tmp_path: Path
) -> None:
    """`--source` with links to a file beside it: they stay links, and what they lead to stays where it is."""
    private = tmp_path / "private"
    private.write_text("of this machine")
    source, folder = tmp_path / "source", tmp_path / "d"
    (source / "below").mkdir(parents=True)
    folder.mkdir()
    (source / "file").write_text(f"{EVIL} {time.time()}")
    for name, target in (("absolute", private), ("below/relative", "../../private"), ("below/root", "/")):
        (source / name).symlink_to(target)
    plan = make_plan(with_locks(load(texts(toy(tree="{source: toy-source, directory: Tree}")), {})), "toy")
    (folder / "Dockerfile").write_text(render_dockerfile(plan, templates))
    replaced = {"env": BASE, "base": BASE, "build-base": BASE, "src-toy-source": str(source)}
    contexts = tuple(word for name, place in replaced.items() for word in ("--build-context", f"{name}={place}"))
    (tmp_path / "context").mkdir()
    command = ("docker", "buildx", "build", "--load", "--tag", tag, "--file", str(folder / "Dockerfile"), *contexts)
    result = SystemRunner().run((*command, str(tmp_path / "context")))
    assert result.code == 0, result.complaint
    root = "/workspace/toy/Tree"
    found = SystemRunner().run(("docker", "run", "--rm", tag, "find", root, "-type", "l", "-printf", "%P %l\n")).text
    assert dict(line.split() for line in found.splitlines()) == {
        "absolute": str(private),
        "below/relative": "../../private",
        "below/root": "/",
    }
    everything = SystemRunner().run(("docker", "run", "--rm", tag, "grep", "-r", "of this machine", root))
    assert everything.text == ""


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{do: edit, file: Tree/out/passwd, find: root, replace: x}", "leads out of the tree"),
        ("{do: copy, source: toy-source, path: file, to: Tree/out/evil}", "leads out of the tree"),
        ("{do: remove, path: Tree/out/passwd}", "leads out of the tree"),
        ("{do: copy, source: toy-source, path: out, to: Tree/evil}", "a link"),
    ],
)
def test_a_step_through_a_link_out_of_the_tree_stops_the_build(
    engine: Engine, templates: dict[str, str], tmp_path: Path, step: str, said: str
) -> None:
    source, folder = tmp_path / "source", tmp_path / "d"
    source.mkdir()
    folder.mkdir()
    (source / "out").symlink_to("/etc")
    (source / "file").write_text(str(time.time()))
    plan = make_plan(
        with_locks(load(texts(toy(tree=f"{{source: toy-source, directory: Tree, steps: [{step}]}}")), {})), "toy"
    )
    (folder / "Dockerfile").write_text(render_dockerfile(plan, templates))
    replaced = {"base": BASE, "build-base": BASE, "src-toy-source": str(source)}
    contexts = tuple(word for name, place in replaced.items() for word in ("--build-context", f"{name}={place}"))
    words = ("docker", "buildx", "build", "--target", "tree", "--output", "type=cacheonly", *contexts)
    done = SystemRunner().run((*words, "--file", str(folder / "Dockerfile"), str(folder)))
    assert done.code != 0
    assert said in done.complaint
