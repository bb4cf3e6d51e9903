"""`doctor`: what it says of this machine, and of hosts that answer, lie, keep silent or are not there."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from support.cli import drivebuild, refused
from support.hosts import npu_host, npu_smi
from support.proxy import counting_proxy

from builder.cli import doctor as doctor_module
from builder.cli.doctor import Site
from builder.engine.buildcache import Policy
from builder.engine.host import Facts
from builder.errors import BuildError
from builder.plan.needs import FileNeed, GitNeed, ImageNeed, Need, PackageNeed, SystemNeed, WeightNeed
from builder.recipe.types import Agreement, Bootstrap, Catalog
from builder.source import probe


@pytest.fixture(autouse=True)
def guard() -> None:
    """Stand in for the folder's guard: a doctor that asks nobody is none. All servers are this machine's own."""


# --- a server ------------------------------------------------------------------------------------


@dataclass
class Server:
    """Serves a folder; `odd` has answers of its own by path."""

    root: Path
    port: int = 0
    odd: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    root = tmp_path / "served"
    root.mkdir()
    state = Server(root)

    class Handler(Quiet):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(root))

        def _answer(self, plain: Callable[[], None]) -> None:
            state.seen.append((self.command, self.path, dict(self.headers)))
            if self.path not in state.odd:
                plain()
                return
            code, headers, body = state.odd[self.path]
            self.send_response(code)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer(super().do_GET)

        def do_HEAD(self) -> None:
            self._answer(super().do_HEAD)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        state.port = running.server_port
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield state
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder and a working folder of the test's own; neither proxies nor an index from outside."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "NETRC", "XDG_CONFIG_HOME", "DRIVEBUILD_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    return home


def repository(folder: Path) -> None:
    """A bare repository that any web server can serve."""
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(folder))
    folder.mkdir(parents=True)
    subprocess.run((*git, "init", "--quiet", "--bare"), check=True)
    tree = subprocess.run((*git, "mktree"), check=True, input=b"", capture_output=True).stdout.decode().strip()
    made = subprocess.run((*git, "commit-tree", tree, "-m", "x"), check=True, capture_output=True)
    subprocess.run((*git, "update-ref", "HEAD", made.stdout.decode().strip()), check=True)
    subprocess.run((*git, "update-server-info"), check=True)


def index(root: Path) -> None:
    """A package index with one package."""
    files, page = root / "files", root / "simple/tiny/index.html"
    files.mkdir()
    page.parent.mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
    wheel = files / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny-1.0.dist-info/METADATA", metadata)
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    (files / f"{wheel.name}.metadata").write_text(metadata)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    page.write_text(f'<a href="/files/{wheel.name}#sha256={digest}" data-core-metadata="true">{wheel.name}</a>')


GIT = GitNeed(stage="src-ops", name="ops", url="https://git.example.org/lab/ops.git", commit="a" * 40)
FILE = FileNeed(stage="src-py", name="py", url="https://files.example.org/py.tgz", sha256="b" * 64, file="py.tgz")
WEIGHT = WeightNeed(name="toy", file="w.pth", url="https://weights.example.org/w.pth", sha256=None)
PACKAGE = PackageNeed(
    stage="packages-model", name="tiny", version="1.0", sha256="c" * 64, python="3.11", architecture="x86_64"
)
SYSTEM = SystemNeed(stage="os-packages", suite="bookworm", architecture="x86_64", include=(), packages=("tini",))
IMAGE = ImageNeed(
    image="localhost/base",
    digest=None,
    bootstrap=Bootstrap(suite="bookworm", include=()),
    architecture="x86_64",
)


Ask = Callable[..., Any]


@pytest.fixture
def ask(alone: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return `doctor --network` over needs and a configuration of the test's own."""

    def asked(*needs: Need, config: dict[str, Any], words: tuple[str, ...] = ("--json",)) -> Any:
        # JSON is YAML.
        (alone / "drivebuild.yaml").write_text(json.dumps(config), encoding="utf-8")
        site = Site(needs=(SYSTEM, *needs), system=catalog.systems["debian-12"], architecture="x86_64")
        monkeypatch.setattr(doctor_module, "_sites", lambda *_: [site])
        return drivebuild("doctor", "--network", *words)

    return asked


def hosts(result: Any) -> dict[tuple[str, str], tuple[str, str]]:
    """Return state and answer by host and role."""
    text = result.output[: result.output.rindex("}") + 1]
    return {(row["host"], row["kind"]): (row["state"], row["answer"]) for row in json.loads(text)["hosts"]}


def packages_of(server: Server) -> dict[str, Any]:
    suite = server.root / "debian/dists/bookworm"
    suite.mkdir(parents=True)
    (suite / "InRelease").write_text("Suite: bookworm\n")
    return {"debian": f"{server.url}/debian"}


# --- the network ---------------------------------------------------------------------------------


def test_all_answer_through_mirrors(server: Server, ask: Ask) -> None:
    repository(server.root / "git/lab/ops.git")
    (server.root / "py.tgz").write_bytes(b"x" * 100)
    (server.root / "w.pth").write_bytes(b"x" * 100)
    index(server.root)
    config = {
        "mirrors": {
            "https://git.example.org/": f"{server.url}/git/",
            "https://files.example.org": server.url,
            "https://weights.example.org": server.url,
        },
        "upstream": False,
        "index": f"{server.url}/simple",
        "distribution": packages_of(server),
    }
    result = ask(GIT, FILE, WEIGHT, PACKAGE, IMAGE, config=config)
    assert result.exit_code == 0, result.output
    found = hosts(result)
    assert {kind: answer for (_, kind), answer in found.items()} == dict.fromkeys(
        ("git", "file", "weights", "index", "packages"), ("ok", "answers")
    )
    # One byte of a file, and of all that the index has the page of one package and no wheel.
    assert next(headers["Range"] for _, path, headers in server.seen if path == "/py.tgz") == "bytes=0-0"
    assert not [path for _, path, _ in server.seen if path.endswith(".whl")]


def test_a_mirror_without_it_then_the_next(server: Server, ask: Ask, tmp_path: Path) -> None:
    repository(tmp_path / "disk/lab/ops")
    (server.root / "second").mkdir()
    (server.root / "second/py.tgz").write_bytes(b"x")
    config = {
        "mirrors": {
            "https://git.example.org/": [f"{server.url}/none/", f"file://{tmp_path}/disk/"],
            "https://files.example.org": [
                f"{server.url}/none",
                f"{server.url.replace('127.0.0.1', 'localhost')}/second",
            ],
        },
        "upstream": False,
        "distribution": packages_of(server),
    }
    result = ask(GIT, FILE, config=config)
    assert result.exit_code == 0, result.output
    found = hosts(result)
    assert found["127.0.0.1", "git"] == ("warn", "does not have it")
    # The one spelling of two that is not there is no reason to worry: the mirror has the repository.
    assert found["this machine", "git"][0] == "ok"
    assert found["127.0.0.1", "file"] == ("warn", "does not have it (404)")
    assert found["localhost", "file"] == ("ok", "answers")


def test_what_nobody_serves_is_named_with_the_key_that_helps(server: Server, ask: Ask) -> None:
    config = {
        "mirrors": {"https://git.example.org/": f"{server.url}/none/"},
        "upstream": False,
        "index": f"{server.url}/simple",
        "distribution": packages_of(server),
    }
    text = refused(ask(GIT, FILE, WEIGHT, PACKAGE, config=config, words=()), 5)
    lines = {line.split()[2]: line for line in text.splitlines() if line.startswith(("FAIL", "warn", "ok"))}
    assert lines["git"].startswith("FAIL")
    assert "files.example.org" in lines["file"]
    assert "no mirror has it, and upstream is off" in lines["file"]
    assert lines["weights"].startswith("warn")
    assert lines["index"].startswith("FAIL")
    assert lines["packages"].startswith("ok")
    assert "error: not to be had from here: 127.0.0.1, files.example.org\n" in text
    assert "below `mirrors` and `index`" in text


def test_weights_alone_are_no_failure(server: Server, ask: Ask) -> None:
    result = ask(WEIGHT, config={"upstream": False, "distribution": packages_of(server)})
    assert result.exit_code == 0
    assert hosts(result)["weights.example.org", "weights"][0] == "warn"


@pytest.mark.parametrize(
    ("code", "headers", "answer"),
    [
        (200, {"Content-Type": "text/html; charset=utf-8"}, "a web page instead of the file, from 127.0.0.1"),
        (302, {"Location": "/login"}, "a web page instead of the file, from 127.0.0.1"),
        (302, {"Location": "http://[bad"}, ""),
        (302, {"Location": "/py.tgz"}, "no answer"),
        (401, {}, "wants a sign-in (401)"),
        (403, {}, "wants a sign-in (403)"),
        (404, {}, "does not have it (404)"),
        (429, {}, "asks for patience (429)"),
        (503, {}, "is out of order (503)"),
        (418, {}, "an error (418)"),
    ],
)
def test_answers_that_are_none(server: Server, ask: Ask, code: int, headers: dict[str, str], answer: str) -> None:
    server.odd["/py.tgz"] = (code, headers, b"")
    server.odd["/login"] = (200, {"Content-Type": "text/html"}, b"")
    config = {
        "mirrors": {"https://files.example.org": server.url},
        "upstream": False,
        "distribution": packages_of(server),
    }
    state, text = hosts(ask(FILE, config=config))["127.0.0.1", "file"]
    assert state == "FAIL"
    assert answer in text


def test_of_a_licensed_file_nothing_is_fetched_and_the_referer_is_sent(server: Server, ask: Ask) -> None:
    licensed = FileNeed(
        stage="src-cann",
        name="cann",
        url="https://files.example.org/cann.run",
        sha256=None,
        file="cann.run",
        referer="https://files.example.org/page",
        eula=Agreement(name="cann", url="https://files.example.org/eula"),
    )
    server.odd["/cann.run"] = (405, {}, b"")
    config = {
        "mirrors": {"https://files.example.org": server.url},
        "upstream": False,
        "distribution": packages_of(server),
    }
    assert hosts(ask(licensed, config=config))["127.0.0.1", "file"] == ("ok", "answers")
    method, _, headers = next(item for item in server.seen if item[1] == "/cann.run")
    assert (method, headers["Referer"]) == ("HEAD", "https://files.example.org/page")


def test_everything_goes_through_the_proxy_of_the_configuration(server: Server, ask: Ask) -> None:
    repository(server.root / "git/lab/ops.git")
    (server.root / "py.tgz").write_bytes(b"x")
    with counting_proxy() as proxy:
        config = {
            "mirrors": {"https://git.example.org/": f"{server.url}/git/", "https://files.example.org": server.url},
            "upstream": False,
            "distribution": packages_of(server),
            "proxy": {"http": proxy.url},
        }
        result = ask(GIT, FILE, config=config)
        assert result.exit_code == 0, result.output
        targets = {target.partition("?")[0] for _, target in proxy.requests}
        assert {f"{server.url}/py.tgz", f"{server.url}/git/lab/ops.git/info/refs"} <= targets
        assert proxy.count >= len(server.seen)
        before = proxy.count
        ask(GIT, FILE, config=config | {"proxy": {"http": proxy.url, "no_proxy": "127.0.0.1"}})
        assert proxy.count == before


def test_no_password_goes_to_another_host(server: Server, ask: Ask, alone: Path) -> None:
    (alone / ".netrc").write_text(
        "machine 127.0.0.1 login me password hunter2\nmachine other.example login x password y\n"
    )
    (alone / ".netrc").chmod(0o600)
    server.odd["/py.tgz"] = (302, {"Location": f"http://localhost:{server.port}/elsewhere"}, b"")
    (server.root / "elsewhere").write_bytes(b"x")
    config = {
        "mirrors": {"https://files.example.org": server.url},
        "upstream": False,
        "distribution": packages_of(server),
    }
    result = ask(FILE, config=config)
    assert result.exit_code == 0, result.output
    signed = {path: "Authorization" in headers for _, path, headers in server.seen}
    assert signed["/py.tgz"] is True
    assert signed["/elsewhere"] is False
    assert "hunter2" not in result.output


@pytest.mark.parametrize("known", [True, False])
def test_certificates_of_a_site(
    server: Server, ask: Ask, alone: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(alone / "site.pem"))
    trustme.CA().cert_pem.write_to_path(str(alone / "other.pem"))
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    repository(server.root / "git/lab/ops.git")
    (server.root / "py.tgz").write_bytes(b"x")
    index(server.root)
    with secured(server, authority) as url:
        config = {
            "mirrors": {"https://git.example.org/": f"{url}/git/", "https://files.example.org": url},
            "upstream": False,
            "index": f"{url}/simple",
            "distribution": packages_of(server),
            "ca_bundle": "site.pem" if known else "other.pem",
        }
        result = ask(GIT, FILE, PACKAGE, config=config)
    found = hosts(result)
    wanted = ("ok", "answers") if known else ("FAIL", "its certificate is not trusted")
    assert {kind: found["localhost", kind] for kind in ("git", "file", "index")} == dict.fromkeys(
        ("git", "file", "index"), wanted
    )
    assert ("`ca_bundle`" in result.output) is not known


@contextlib.contextmanager
def secured(server: Server, authority: trustme.CA) -> Iterator[str]:
    """The server's folder once more, behind TLS."""
    handler = functools.partial(Quiet, directory=str(server.root))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.socket = context.wrap_socket(running.socket, server_side=True, do_handshake_on_connect=False)
        running.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"https://localhost:{running.server_port}"
        running.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says nothing on standard error."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_who_keeps_silent_is_not_waited_for(server: Server, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def silent(*_: Any, **__: Any) -> Any:
        # As a name server that never answers, or one byte of a header a minute.
        ended.wait(30)
        raise requests.ConnectionError("late")

    monkeypatch.setattr(requests.Session, "request", silent)
    monkeypatch.setattr(probe, "DEADLINE", 0.2)
    try:
        config = {"mirrors": {"https://files.example.org": server.url}, "distribution": packages_of(server)}
        text = refused(ask(FILE, config=config, words=()), 5)
    finally:
        ended.set()
    assert "no answer" in text


def test_a_registry_without_its_client(
    ask: Ask, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = ImageNeed(image="quay.io/ascend/cann:8", digest=None, bootstrap=None, architecture="x86_64")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "timeout").symlink_to("/usr/bin/timeout")
    monkeypatch.setenv("PATH", str(tools))
    config = {"registries": {"quay.io": "registry.example:5000/quay"}, "distribution": packages_of(server)}
    found = hosts(ask(image, config=config))
    assert found["registry.example:5000", "registry"] == ("FAIL", "not asked: docker is not installed")


def test_the_real_recipes_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shipped models need, without asking anybody."""
    asked: list[Any] = []

    def none_answers(questions: Any, *_: Any) -> dict[Any, Any]:
        asked.extend(questions)
        return dict.fromkeys(asked, doctor_answer)

    from builder.source.wishes import Answer

    doctor_answer = Answer(good=False, text="no such name")
    monkeypatch.setattr(probe, "ask_all", none_answers)
    text = refused(drivebuild("doctor", "--network", "streampetr"), 5)
    assert {question.kind for question in asked} == {"git", "file", "index", "registry", "packages", "weights"}
    assert "https://github.com/exiawsh/StreamPETR.git" in {question.address for question in asked}
    assert "quay.io" in text
    refused(drivebuild("doctor", "--network", "nobody"), 4)
    refused(drivebuild("doctor", "--network", "--platform", "nowhere"), 4)
    refused(drivebuild("doctor", "nobody"), 4)


# --- this machine --------------------------------------------------------------------------------


class Engine:
    def __init__(self, free: int | None = 1 << 40) -> None:
        self._free = free

    def facts(self) -> Any:
        engine = self

        class Known(Facts):
            def free_bytes(self) -> int | None:
                return engine._free

        return Known(version="26.1", architecture="x86_64", root="/var/lib/docker")


def here(monkeypatch: pytest.MonkeyPatch, engine: Any = None, words: tuple[str, ...] = ()) -> dict[str, dict[str, str]]:
    monkeypatch.setattr("builder.engine.host.connect", engine if callable(engine) else Engine)
    monkeypatch.setattr("builder.engine.host.require_buildx", lambda _: "0.13")
    result = drivebuild("doctor", "--json", *words)
    data = json.loads(result.output)
    assert data["ok"] is (result.exit_code == 0)
    assert result.exit_code in (0, 6)
    return {check["about"]: check for check in data["checks"]}


def test_a_sound_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    found = here(monkeypatch)
    assert found["engine"]["found"] == "docker 26.1, x86_64"
    assert found["git"]["state"] == "ok"
    assert found["git"]["found"].startswith("git version")
    assert found["uv"]["found"].startswith("uv ")
    assert found["store"]["found"] == "none is configured"
    assert found["configuration"]["found"] == "no file; nothing is mirrored"


def test_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise BuildError("no docker engine answers", hint="start it")

    found = here(monkeypatch, missing)
    assert (found["engine"]["state"], found["engine"]["advice"]) == ("FAIL", "start it")
    assert "disk of the engine" not in found
    result = drivebuild("doctor")
    assert result.exit_code == 6
    assert "FAIL  engine" in result.output
    assert "start it" in result.output


@pytest.mark.parametrize(("free", "state"), [(1 << 30, "FAIL"), (20 << 30, "warn"), (1 << 40, "ok"), (None, "warn")])
def test_room_for_images(monkeypatch: pytest.MonkeyPatch, free: int | None, state: str) -> None:
    assert here(monkeypatch, lambda: Engine(free))["disk of the engine"]["state"] == state


def test_missing_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = here(monkeypatch)
    assert (found["git"]["state"], found["git"]["found"]) == ("FAIL", "not installed")
    assert (found["mmdebstrap"]["state"], found["mmdebstrap"]["found"]) == ("warn", "not installed")


def test_what_the_configuration_says(monkeypatch: pytest.MonkeyPatch, alone: Path) -> None:
    pem = alone / "ca.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\n")
    (alone / "drivebuild.yaml").write_text(
        "ca_bundle: ca.pem\nstore: not-there\nproxy: {http: 'http://p.example:3128'}\n"
    )
    monkeypatch.setenv("https_proxy", "http://me:hunter2@q.example:3128")
    (alone / ".netrc").write_text("machine a login b password c\n")
    (alone / ".netrc").chmod(0o644)
    found = here(monkeypatch)
    assert str(alone / "drivebuild.yaml") in found["configuration"]["found"]
    assert str(pem) in found["certificates"]["found"]
    assert found["proxy"]["found"] == "HTTP_PROXY p.example:3128, HTTPS_PROXY q.example:3128"
    assert found["store"]["state"] == "warn"
    assert "fetch" in found["store"]["advice"]
    assert found["netrc"]["advice"] == f"chmod 600 {alone / '.netrc'}"
    assert "hunter2" not in json.dumps(found)
    pem.write_text("nothing")
    assert here(monkeypatch)["certificates"]["state"] == "FAIL"


def test_a_folder_that_is_no_store(monkeypatch: pytest.MonkeyPatch, alone: Path) -> None:
    (alone / "drivebuild.yaml").write_text("store: other\n")
    (alone / "other").mkdir()
    (alone / "other/file").write_text("x")
    assert here(monkeypatch)["store"]["state"] == "FAIL"


def test_a_mistake_in_the_configuration(alone: Path) -> None:
    (alone / "drivebuild.yaml").write_text("mirorrs: {}\n")
    assert "drivebuild.yaml:1:1: configuration: unknown key 'mirorrs'" in refused(drivebuild("doctor"), 2)


# --- NPUs, folders, limits -----------------------------------------------------------------------


def at(root: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, dict[str, str]]:
    return here(monkeypatch, words=("--root", str(root), *words))


def small_engine(root: Path) -> None:
    (root / "proc/7").mkdir()
    (root / "proc/7/comm").write_text("dockerd\n")
    (root / "proc/7/limits").write_text("Max open files            20000                20000                files\n")
    (root / "proc/7/status").write_text("Name:\tdockerd\nCapEff:\t000001fffeffffff\n")


def test_a_machine_without_npus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert at(tmp_path, monkeypatch)["NPUs"]["state"] == "warn"
    found = at(tmp_path, monkeypatch, "panoocc")
    assert found["NPUs"]["state"] == "FAIL"
    assert found["NUSCENES_ROOT"]["state"] == "FAIL"
    assert "driver" not in found
    found = at(tmp_path, monkeypatch, "panoocc", "--platform", "debian-12-cpu")
    assert "NPUs" not in found


def test_a_machine_with_npus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, alone: Path) -> None:
    for name in ("data", "prepared", "weights"):
        (alone / name).mkdir()
    (alone / ".env").write_text("NUSCENES_ROOT='data'\nPREPARED_ROOT=./prepared # here\nexport WEIGHTS_ROOT=weights\n")
    found = at(npu_host(tmp_path / "host"), monkeypatch, "panoocc")
    states = {about: check["state"] for about, check in found.items()}
    for about in ("NPUs", "driver", "firmware", "npu-smi", "driver's files", "group 1000", "memory", "open files"):
        assert states[about] == "ok", found[about]
    for about in ("NUSCENES_ROOT", "PREPARED_ROOT", "WEIGHTS_ROOT", "clock", "shared memory", "architecture"):
        assert states[about] == "ok", found[about]
    assert found["NPUs"]["found"] == "8: davinci0-7"
    assert found["npu-smi"]["found"] == "25.0.rc1.1, 8 x 910B3, all OK"
    assert found["driver"]["found"] == "25.0.rc1.1: in the table of CANN 8.2.RC1"


@pytest.mark.parametrize(
    ("about", "words", "change"),
    [
        ("NPUs", "davinci_manager", lambda root: (root / "dev/davinci_manager").unlink()),
        ("driver", "is missing", lambda root: (root / "usr/local/Ascend/driver/version.info").unlink()),
        ("npu-smi", "is missing", lambda root: (root / "usr/local/bin/npu-smi").unlink()),
        ("npu-smi", "table", lambda root: (root / "usr/local/bin/npu-smi").write_text("#!/bin/sh\nexit 1\n")),
        ("driver's files", "/usr/local/dcmi", lambda root: (root / "usr/local/dcmi").rmdir()),
        ("open files", "may give a container 20000", small_engine),
        ("open files", "nr_open", lambda root: (root / "proc/sys/fs/nr_open").write_text("1024\n")),
    ],
)
def test_what_is_wrong_with_a_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, about: str, words: str, change: Callable[[Path], object]
) -> None:
    root = npu_host(tmp_path / "host")
    change(root)
    found = at(root, monkeypatch, "panoocc")
    assert found[about]["state"] == "FAIL"
    assert words in found[about]["found"]
    assert found[about]["advice"]


@pytest.mark.parametrize(
    ("about", "words", "change"),
    [
        ("group 1000", "alice", lambda root: (root / "etc/group").write_text("alice:x:1000:\n")),
        ("group 1000", "none", lambda root: (root / "etc/group").write_text("torn")),
        ("memory", "16 GiB", lambda root: (root / "proc/meminfo").write_text("MemTotal: 16777216 kB\n")),
        ("firmware", "missing", lambda root: (root / "usr/local/Ascend/firmware/version.info").unlink()),
        ("shared memory", "missing", lambda root: (root / "dev/shm").rmdir()),
    ],
)
def test_what_is_doubtful(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, about: str, words: str, change: Callable[[Path], object]
) -> None:
    root = npu_host(tmp_path / "host")
    change(root)
    found = at(root, monkeypatch)
    assert found[about]["state"] == "warn"
    assert words in found[about]["found"]


def test_an_ill_npu_and_a_busy_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ill = at(npu_host(tmp_path / "ill", smi=npu_smi(8, ill=(3,))), monkeypatch)["npu-smi"]
    assert (ill["state"], ill["found"]) == ("FAIL", "NPU 3 Alarm")
    busy = at(npu_host(tmp_path / "busy", smi=npu_smi(8, busy=(1,))), monkeypatch)["npu-smi"]
    assert busy["state"] == "warn"
    assert "NPU 1: python (4121)" in busy["found"]


def test_an_old_driver_fails_for_the_model_that_wants_a_newer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = npu_host(tmp_path / "host", driver="23.0.7", firmware="8.1.0")
    found = at(root, monkeypatch, "panoocc")
    assert found["driver"]["state"] == "FAIL"
    assert "24.1.RC2" in found["driver"]["found"]
    assert found["firmware"]["state"] == "FAIL"
    assert at(root, monkeypatch)["driver"]["state"] == "ok"


def test_folders_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, alone: Path) -> None:
    (alone / "file").write_text("")
    (alone / ".env").write_text("NUSCENES_ROOT=/nowhere/at/all\nWEIGHTS_ROOT=file\nRUNS_ROOT=file/runs\n")
    monkeypatch.setenv("PREPARED_ROOT", str(tmp_path))
    found = at(tmp_path, monkeypatch)
    assert found["NUSCENES_ROOT"]["found"] == "/nowhere/at/all is not there"
    assert found["WEIGHTS_ROOT"]["found"].endswith("file is no folder")
    assert found["RUNS_ROOT"]["state"] == "FAIL"
    assert found["PREPARED_ROOT"]["found"] == str(tmp_path)


def test_the_ascend_runtime_the_store_and_a_clock_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    class Known:
        def facts(self) -> Facts:
            return Facts(
                version="26.1",
                architecture="x86_64",
                root="/nowhere",
                runtimes=("ascend", "runc"),
                driver="overlayfs",
                containerd_store=True,
                clock=1e9,
            )

    found = here(monkeypatch, Known)
    assert found["ascend runtime"]["found"].startswith("there")
    assert "containerd" in found["image store"]["found"]
    assert found["clock"]["state"] == "warn"


# --- advice --------------------------------------------------------------------------------------


def test_how_a_host_is_tuned_is_advice_and_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path, text in {"proc/sys/vm/swappiness": "60\n", "proc/sys/kernel/numa_balancing": "0\n"}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    monkeypatch.setattr("builder.engine.host.connect", Engine)
    monkeypatch.setattr("builder.engine.host.require_buildx", lambda _: "0.13")
    data = json.loads(drivebuild("doctor", "--json", "--root", str(tmp_path)).output)
    advice = {each["knob"]: each for each in data["advice"]}
    assert (advice["vm.swappiness"]["state"], advice["vm.swappiness"]["wanted"]) == ("differs", "0")
    assert advice["CPU governor"]["state"] == "absent"
    assert not [each for each in data["checks"] if each["about"] in advice], "no line of it can fail"
    _, _, said = drivebuild("doctor", "--root", str(tmp_path)).output.partition("\nadvice for training")
    assert "vm.swappiness                   60; the guides say 0" in said
    assert "# sysctl -w vm.swappiness=0" in said
    assert "# sysctl -w kernel.numa_balancing" not in said
    assert "CPU governor                    not there" in said


def test_how_much_of_its_cache_buildkit_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.engine.buildcache.read_policy", lambda _: Policy(driver="docker", kept=10**9))
    found = here(monkeypatch)["build cache"]
    assert found["state"] == "warn"
    assert "keeps 1 GB" in found["found"]
    assert "daemon.json" in found["advice"]


@pytest.mark.parametrize(("containerd", "words"), [(True, "containerd's"), (False, "zstd on push, attestations")])
def test_the_image_store_says_what_it_cannot(monkeypatch: pytest.MonkeyPatch, containerd: bool, words: str) -> None:
    facts = Facts(version="26.1", architecture="x86_64", root="/", containerd_store=containerd)
    monkeypatch.setattr(Engine, "facts", lambda _: facts)
    assert words in here(monkeypatch)["image store"]["found"]
