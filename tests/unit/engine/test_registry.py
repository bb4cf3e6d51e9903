"""Names in a registry, faults that pass, other names for what is there: without a registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.engine import FakeEngine, stage, toy_plan
from support.runner import RecordingRunner

from builder.engine import verified
from builder.engine.builders import Builder, find_builder, parse_builder
from builder.engine.command import Choices, build_command
from builder.engine.delivery import Delivery, check_delivery, prepared
from builder.engine.host import Image
from builder.engine.manifests import Tools, identity
from builder.engine.process import Result
from builder.engine.promote import merge, promote
from builder.engine.push import Way
from builder.engine.registry import Reference, cache_key, cache_source, cache_target, reference, trusting
from builder.errors import BuildError, UsageError
from builder.patience import Patience, RefusedError, asked_wait, passes, patiently

RECIPE = "cd" * 32
ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("r.example/t/m:x", "r.example/t/m", "x", ""),
        ("r.example:5000/t/m:x-1.y_z", "r.example:5000/t/m", "x-1.y_z", ""),
        (f"localhost/m@{ONE}", "localhost/m", "", ONE),
        (f"r.example/m:x@{ONE}", "r.example/m", "x", ONE),
    ],
)
def test_references(text: str, repository: str, tag: str, digest: str) -> None:
    assert reference(text, option="X") == Reference(repository, tag, digest)
    assert str(reference(text, option="X")) == text


@pytest.mark.parametrize(
    "text", ["team/m:x", "r.example", "r.example/M:x", "r.example/m:x@sha256:12", "--tag", "r.example/m: x"]
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(UsageError, match="no image in a registry"):
        reference(text, option="IMAGE")


def test_caches_get_a_name_for_each_image_of_a_platform_and_architecture() -> None:
    key = cache_key(platform="debian-12-cpu", architecture="x86_64", rest="streampetr-lto")
    assert key == "debian-12-cpu-amd64-streampetr-lto"
    assert cache_target("r.example:5000/t", key, offline=False).startswith(
        f"type=registry,ref=r.example:5000/t/cache:{key},mode=max,"
    )
    assert cache_source("r.example/t", ("a", "b", "a"), offline=False) == (
        "type=registry,ref=r.example/t/cache:a",
        "type=registry,ref=r.example/t/cache:b",
    )
    assert cache_source("r.example/t/c:mine", ("a", "b"), offline=False) == ("type=registry,ref=r.example/t/c:mine",)
    assert cache_target("type=local,dest=/x", key, offline=True) == "type=local,dest=/x"
    long = cache_key(platform="p" * 60, architecture="aarch64", rest="r" * 90)
    assert len(long) == 128
    assert long != cache_key(platform="p" * 60, architecture="aarch64", rest="r" * 91)


@pytest.mark.parametrize("text", ["team", "r.example/T:x", "r.example/t/"])
def test_what_is_no_cache(text: str) -> None:
    with pytest.raises(UsageError, match="--cache-to"):
        cache_target(text, "k", offline=False)


def test_nothing_goes_to_a_registry_offline() -> None:
    for words in (
        Delivery(push="r.example/t"),
        Delivery(cache_to=("r.example/t",)),
        Delivery(cache_from=("r.example/t/c:x",)),
    ):
        with pytest.raises(UsageError, match="--offline"):
            check_delivery(words, offline=True)
    with pytest.raises(UsageError, match="--push"):
        check_delivery(Delivery(by_digest=True), offline=False)


@pytest.mark.parametrize(
    "said",
    [
        "toomanyrequests: slow down",
        "unexpected status from PUT request to https://r/v2/x: 429 Too Many Requests",
        "received unexpected HTTP status: 503 Service Unavailable",
        "unexpected status from POST request to http://r/v2/t/toy/blobs/uploads/: 500 Internal Server Error",
        "read tcp 1.2.3.4:5: read: connection reset by peer",
        "write tcp: broken pipe",
        "failed to do request: Put x: EOF",
        "net/http: TLS handshake timeout",
        "dial tcp 127.0.0.1:1: connect: connection refused",
        'failed to prepare extraction snapshot "e sha256:1d": parent snapshot sha256:2f does not exist: not found',
    ],
)
def test_faults_that_pass(said: str) -> None:
    assert passes(said)


@pytest.mark.parametrize(
    "said",
    [
        "denied: requested access to the resource is denied",
        "unexpected status from HEAD request to https://r/v2/x: 401 Unauthorized",
        "failed to authorize: 403 Forbidden: EOF",
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        "dial tcp: lookup r.example: no such host",
        "invalid reference format",
        "something nobody has seen",
    ],
)
def test_faults_that_stay(said: str) -> None:
    assert not passes(said)


def test_what_the_registry_asks_for_is_waited() -> None:
    waits: list[float] = []
    told: list[str] = []
    said = ["429 Too Many Requests", 'toomanyrequests: {"retry-after": 7}', "connection reset by peer"]

    def once() -> str:
        if said:
            raise RefusedError(said.pop(0))
        return "done"

    patience = Patience(sleep=waits.append, chance=lambda: 0.5)
    assert patiently(once, about="r.example", patience=patience, say=told.append, ask=lambda: 31) == "done"
    assert waits == [31.0, 7.0, 8.0]
    assert told[0] == "r.example: 429 Too Many Requests; try 2 of 6 in 31 s"
    assert asked_wait("Retry-After: 12") == 12


def test_nobody_waits_for_an_hour() -> None:
    def once() -> str:
        raise RefusedError("429 Too Many Requests")

    waits: list[float] = []
    with pytest.raises(RefusedError, match="Retry-After: 3600 s"):
        patiently(once, about="r", patience=Patience(sleep=waits.append), ask=lambda: 3600)
    assert waits == []


def test_a_refusal_is_not_tried_again() -> None:
    waits: list[float] = []

    def once() -> str:
        raise RefusedError("denied: no")

    with pytest.raises(RefusedError):
        patiently(once, about="r", patience=Patience(sleep=waits.append))
    assert waits == []


def test_certificates_of_the_engine_are_believed_by_buildx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.engine.registry._CERTIFICATES", (str(tmp_path),))
    with trusting("r.example:5000") as environment:
        assert environment == {}
    (tmp_path / "r.example:5000").mkdir()
    (tmp_path / "r.example:5000/ca.crt").write_text("a certificate")
    with trusting("other.example", "r.example:5000") as environment:
        first, *system = environment["SSL_CERT_DIR"].split(":")
        assert [path.read_text() for path in Path(first).iterdir()] == ["a certificate"]
        assert "/etc/ssl/certs" in system
    assert not Path(first).exists()


INSPECTED = """\
Name:          farm
Driver:        remote
Last Activity: 2026-11-21 14:06:11 +0000 UTC

Nodes:
Name:             farm0
Endpoint:         tcp://192.0.2.2:1234
Status:           running
Platforms:        linux/arm64*, linux/amd64, linux/amd64/v2
"""


def test_builders() -> None:
    found = parse_builder(INSPECTED)
    assert found == Builder(name="farm", driver="remote", status="running", architectures=("aarch64", "x86_64"))
    assert found.elsewhere
    assert not Builder(name="default", driver="docker").elsewhere


def test_a_builder_that_does_not_answer_or_is_none() -> None:
    gone = INSPECTED.replace("running", "inactive").encode()
    runner = RecordingRunner(answers={("docker", "buildx", "inspect"): Result(0, gone)})
    with pytest.raises(BuildError, match=r"builder farm: no BuildKit answers at tcp://192\.0\.2\.2:1234"):
        find_builder("farm", runner)
    listed = b"NAME/NODE DRIVER\nfarm remote\n \\_ farm0 \\_ tcp\ndefault* docker\n"
    runner = RecordingRunner(
        answers={("docker", "buildx", "inspect"): Result(1), ("docker", "buildx", "ls"): Result(0, listed)}
    )
    with pytest.raises(UsageError, match="there is no builder 'fram'") as caught:
        find_builder("fram", runner)
    assert "farm" in caught.value.hint


def test_a_build_elsewhere_is_pushed_from_there(tmp_path: Path) -> None:
    plan = toy_plan(stage("base"), stage("image", "base"))
    runner = RecordingRunner(answers={("docker", "buildx", "inspect"): Result(0, INSPECTED.encode())})
    way = Way(runner=runner, engine=FakeEngine())  # type: ignore[arg-type]
    wanted = Delivery(push="r.example/t", builder="farm", cache_to=("r.example/t",), cache_from=("r.example/t",))
    choices, cache_to = prepared(plan, Choices(retry="drivebuild image toy"), wanted, way=way, siblings=("other",))
    words = build_command(plan, choices, folder=tmp_path)
    assert words[words.index("--builder") + 1] == "farm"
    assert words[words.index("--output") + 1] == "type=cacheonly"
    assert [word.rpartition(":")[2] for word in choices.cache_from] == [
        "plat-arm64-toy-stock",
        "plat-arm64-other-stock",
    ]
    assert cache_to[0].startswith("type=registry,ref=r.example/t/cache:plat-arm64-toy-stock,mode=max")
    assert choices.retry.endswith("--builder farm")
    choices, _ = prepared(plan, Choices(), Delivery(builder="farm"), way=way)
    assert "--load" in build_command(plan, choices, folder=tmp_path)


def test_images_of_a_platform_meet_in_one_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Kubernetes driver goes by the context's path, which is a temporary folder's everywhere else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plan = toy_plan(stage("image"))
    inspected = INSPECTED.replace("remote", "kubernetes").encode()
    runner = RecordingRunner(answers={("docker", "buildx", "inspect"): Result(0, inspected)})
    way = Way(runner=runner, engine=FakeEngine())  # type: ignore[arg-type]
    choices, _ = prepared(plan, Choices(), Delivery(builder="farm"), way=way)
    contexts = {build_command(plan, choices, folder=tmp_path / name)[-1] for name in ("one", "two")}
    (context,) = contexts
    assert context.endswith("/empty/plat")
    assert list(Path(context).iterdir()) == []


class Registry(RecordingRunner):
    """Answers `imagetools` out of what it holds by name."""

    def __init__(self, **names: tuple[str, list[tuple[str, str, str]]]) -> None:
        super().__init__()
        self.names = {name.replace("__", "/"): value for name, value in names.items()}

    def hold(self, name: str, digest: str, *images: tuple[str, str, str]) -> Registry:
        """Put images, each as architecture, layer and recipe, under a name and the digest."""
        self.names[name] = self.names[f"{name.rpartition(':')[0]}@{digest}"] = (digest, list(images))
        return self

    def run(self, argv: tuple[str, ...], *, stdin: bytes = b"", env: object = None) -> Result:
        self.asked.append(argv)
        if argv[3:4] == ("inspect",):
            return self._looked(argv[4])
        if argv[3:4] == ("create",) and "--tag" in argv:
            tags = [argv[at + 1] for at, word in enumerate(argv) if word == "--tag"]
            sources = [self.names[word] for word in argv if "@sha256:" in word]
            digest = sources[0][0] if len(sources) == 1 else f"sha256:{'f' * 64}"
            for tag in tags:
                self.hold(tag, digest, *(image for source in sources for image in source[1]))
        return Result(0)

    def _looked(self, name: str) -> Result:
        if name not in self.names:
            return Result(1, b"", f"ERROR: {name}: not found".encode())
        digest, images = self.names[name]
        configs = {
            f"linux/{architecture}": {
                "architecture": architecture,
                "config": {"Labels": {"drivebuild.recipe": recipe} if recipe else {}},
                "rootfs": {"diff_ids": [layer]},
            }
            for architecture, layer, recipe in images
        }
        manifest = {"digest": digest, "mediaType": "application/vnd.oci.image.index.v1+json"}
        return Result(0, json.dumps({"manifest": manifest, "image": configs}).encode())


NAME = Reference("r.example/t/toy", "plat-stock")
AMD, ARM = ("amd64", "sha256:a", RECIPE), ("arm64", "sha256:b", RECIPE)


def own(name: str = "", *images: tuple[str, str, str], digest: str = ONE) -> Registry:
    return Registry().hold(name or str(NAME), digest, *(images or (AMD,)))


def seen(layer: str, *, ok: bool) -> verified.Verified:
    config = {"Labels": {"drivebuild.recipe": RECIPE}}
    image = Image(id="x", size=1, architecture="x86_64", config=config, layers=(layer,))
    return verified.of_image(image, "drivebuild/toy:plat-stock", ok=ok, summary="3 of 3 checks passed")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_what_verify_found_is_known_by_the_image_and_not_by_its_name(tmp_path: Path) -> None:
    found = seen("sha256:a", ok=True)
    verified.keep(found)
    tools = Tools(runner=own())
    looked = tools.look(NAME)
    assert looked is not None
    assert verified.kept(looked.images[0].identity) == found
    assert identity(("sha256:a",), {}) != identity(("sha256:b",), {})
    assert identity(("sha256:a",), {"User": "1000"}) != identity(("sha256:a",), {})


def test_promotion_is_by_digest_and_between_repositories() -> None:
    registry = own()
    verified.keep(seen("sha256:a", ok=True))
    target = Reference("other.example/released/toy", "v1")
    done = promote(NAME, target, tools=Tools(runner=registry))
    assert (done.before, done.after, done.replaced) == (ONE, ONE, "")
    create = next(words for words in registry.asked if words[3] == "create")
    assert create[-3:] == ("--tag", "other.example/released/toy:v1", f"r.example/t/toy@{ONE}")


@pytest.mark.parametrize(("ok", "said"), [(False, "amd64: verify failed on"), (None, "amd64: nobody ran verify on it")])
def test_what_is_not_verified_is_not_promoted(*, ok: bool | None, said: str) -> None:
    registry = own()
    if ok is not None:
        verified.keep(seen("sha256:a", ok=ok))
    target = Reference(NAME.repository, "release")
    with pytest.raises(BuildError, match=said) as caught:
        promote(NAME, target, tools=Tools(runner=registry))
    assert "--unverified" in caught.value.hint
    assert not [words for words in registry.asked if words[3] == "create"]
    assert promote(NAME, target, tools=Tools(runner=registry), unverified=True).after == ONE


def test_each_architecture_is_to_be_verified() -> None:
    registry = own("", AMD, ARM)
    verified.keep(seen("sha256:a", ok=True))
    target = Reference(NAME.repository, "release")
    with pytest.raises(BuildError, match="arm64: nobody ran verify"):
        promote(NAME, target, tools=Tools(runner=registry))
    promote(NAME, target, tools=Tools(runner=registry), records=[seen("sha256:b", ok=True)])


def test_a_dry_run_changes_nothing() -> None:
    registry = own()
    done = promote(NAME, Reference(NAME.repository, "r"), tools=Tools(runner=registry), unverified=True, dry_run=True)
    assert done.before == done.after == ONE
    assert not [words for words in registry.asked if words[3] == "create"]
    registry.hold("r.example/t/toy:arm", TWO, ARM)
    assert merge(NAME, (ONE, TWO), tools=at_once(registry), dry_run=True).digest == ""
    assert not [words for words in registry.asked if words[3] == "create"]


def test_what_is_not_there() -> None:
    with pytest.raises(BuildError, match="has no such image"):
        promote(Reference("r.example/t/nope", "x"), NAME, tools=Tools(runner=own()))


def at_once(registry: Registry) -> Tools:
    return Tools(runner=registry, patience=Patience(tries=1, sleep=lambda _seconds: None))


def test_two_architectures_become_one_index_with_the_recipes_own_tag() -> None:
    registry = own().hold("r.example/t/toy:arm", TWO, ARM)
    done = merge(NAME, (ONE, TWO), tools=at_once(registry))
    assert done.names == ("r.example/t/toy:plat-stock", f"r.example/t/toy:plat-stock-{RECIPE[:12]}")
    assert done.architectures == ("amd64", "arm64")
    assert registry.names[done.names[1]][0] == done.digest
    again = merge(NAME, (ONE, TWO), tools=at_once(registry))
    assert (again.kept, len(again.names)) == ("", 2)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (("arm64", "sha256:b", "ef" * 32), "not images of one recipe"),
        (("arm64", "sha256:b", ""), "it says no recipe"),
        (("amd64", "sha256:b", RECIPE), "both for amd64"),
    ],
)
def test_what_does_not_belong_together_is_not_merged(second: tuple[str, str, str], said: str) -> None:
    registry = own().hold("r.example/t/toy:arm", TWO, second)
    with pytest.raises(BuildError, match=said):
        merge(NAME, (ONE, TWO), tools=at_once(registry))
    assert not [words for words in registry.asked if words[3] == "create"]


def test_one_architecture_alone_gets_its_names_as_it_is() -> None:
    done = merge(NAME, (ONE,), tools=at_once(own()))
    assert (done.digest, done.architectures) == (ONE, ("amd64",))


def test_the_recipes_tag_of_another_index_stays() -> None:
    registry = own().hold("r.example/t/toy:arm", TWO, ARM)
    registry.hold(f"r.example/t/toy:plat-stock-{RECIPE[:12]}", "sha256:old", ("amd64", "sha256:other", RECIPE))
    done = merge(NAME, (ONE, TWO), tools=at_once(registry))
    assert (done.names, done.kept) == (("r.example/t/toy:plat-stock",), "sha256:old")
    done = merge(NAME, (ONE, TWO), tools=at_once(registry), overwrite=True)
    assert (len(done.names), done.kept) == (2, "")


def test_a_target_with_the_recipes_hash_is_that_tag_alone_and_written_once() -> None:
    hashed = Reference(NAME.repository, f"plat-stock-{RECIPE[:12]}")
    registry = own().hold("r.example/t/toy:arm", TWO, ARM)
    done = merge(hashed, (ONE, TWO), tools=at_once(registry))
    assert done.names == (hashed.name,)
    assert merge(hashed, (ONE, TWO), tools=at_once(registry)).names == (hashed.name,)
    registry.hold(hashed.name, "sha256:old", ("amd64", "sha256:other", RECIPE))
    with pytest.raises(BuildError, match="another image's, sha256:old: a tag with the recipe's hash is written once"):
        merge(hashed, (ONE, TWO), tools=at_once(registry))
    assert merge(hashed, (ONE, TWO), tools=at_once(registry), overwrite=True).names == (hashed.name,)


def test_another_index_that_came_in_between_is_said() -> None:
    registry, own_name = own().hold("r.example/t/toy:arm", TWO, ARM), f"r.example/t/toy:plat-stock-{RECIPE[:12]}"

    def rival(_seconds: float) -> None:
        registry.hold(own_name, "sha256:rival", ("amd64", "sha256:other", RECIPE))

    tools = Tools(runner=registry, patience=Patience(tries=1, sleep=rival))
    done = merge(NAME, (ONE, TWO), tools=tools)
    assert (done.names, done.taken) == (("r.example/t/toy:plat-stock",), "sha256:rival")
    assert done.digest == f"sha256:{'f' * 64}"


@pytest.mark.parametrize("digests", [("v1", ONE), ()])
def test_words_that_make_no_index(digests: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        merge(NAME, digests, tools=at_once(own()))


def test_a_record_of_another_machine_is_what_verify_prints(tmp_path: Path) -> None:
    import msgspec

    path = tmp_path / "verify.json"
    record = seen("sha256:a", ok=True)
    path.write_text(json.dumps({"image": "x", "ok": True, "record": msgspec.to_builtins(record), "checks": []}))
    assert verified.read(path) == record
    for text in ("{}", "[]", "no", '{"record": null}'):
        path.write_text(text)
        with pytest.raises(UsageError, match="not what verify --json prints"):
            verified.read(path)
