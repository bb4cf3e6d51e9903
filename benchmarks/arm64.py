"""One recipe, two architectures: arm64 cross-compiled and emulated, amd64 natively, one name for both in a registry.

    python benchmarks/arm64.py [--lto] [--until STAGE] [--cached ARCH]… [--json FILE]

The recipe is arm64/recipes: PyTorch, OpenCV and einops from wheels, Python and tcmalloc from source, a small tree.
drivebuild does it as a user would: `image --arch aarch64`, `image`, `verify` of both, `merge`; the registry is the
distribution's docker-registry, on loopback. Then both are read back from it by the name that they share, and the script
runs in each. Every stage runs again (`--no-cache`) but for an architecture that is `--cached`: what a stage took there
when it last ran is then taken from drivebuild's own records, by its digest. With `--lto` the interpreter is optimised:
cross-compiled twice, and run in between under emulation for its profile.

It is an x86_64 machine's benchmark; it needs qemu-user-static (registered), docker-registry and git.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from measure import load

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from builder.engine.record import BuildRecord, read_record  # noqa: E402
from builder.engine.timings import ran_on, read_timings  # noqa: E402
from builder.plan.stage import TARGETS  # noqa: E402

HERE = Path(__file__).resolve().parent / "arm64"
DRIVEBUILD = (sys.executable, "-m", "builder", "--recipes", str(HERE / "recipes"))
COMMIT = "2b505f13ce019e784b7c95f61738a865d621b63d"
"""What the recipe pins; the same tree, times and names make the same commit."""
ACCEPTED = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        *("oci.image.index.v1", "oci.image.manifest.v1"),
        *("docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2"),
    )
)
LTO = tuple(f"python-lto{part}" for part in ("-instrumented", "-trained", "-cross", ""))
CROSSED = {
    "python-stock": ("python-stock-cross", "python-stock"),
    "python-lto": LTO,
    "tcmalloc": ("tcmalloc-cross", "tcmalloc"),
}


def tree(folder: Path) -> Path:
    """Make the repository of the recipe's tree, with the commit that it pins."""
    shutil.copytree(HERE / "tree", folder)
    who = {"NAME": "drivebuild", "EMAIL": "drivebuild@example.org", "DATE": "1609459200 +0000"}
    names = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    git = ("git", "-C", str(folder))
    for words in (("init", "--quiet", "--initial-branch=main"), ("add", "."), ("commit", "--quiet", "-m", "small")):
        subprocess.run((*git, *words), check=True, env={**os.environ, **names, **nobody})
    made = subprocess.run((*git, "rev-parse", "HEAD"), check=True, capture_output=True, text=True).stdout.strip()
    if made != COMMIT:
        raise SystemExit(f"benchmarks/arm64/tree makes the commit {made}: pin it in the recipe and here")
    return folder


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run a registry on loopback, without TLS; yield its address."""
    program = shutil.which("docker-registry") or str(ROOT / ".venv/registry/usr/bin/docker-registry")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    text = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    # JSON is YAML.
    (folder / "registry.yml").write_text(json.dumps(text), encoding="utf-8")
    # It calls every question whether it has a layer already an error, where the answer is no.
    log = (folder / "registry.log").open("wb")
    with log, subprocess.Popen((program, "serve", str(folder / "registry.yml")), stderr=log) as process:
        try:
            for _ in range(300):
                if process.poll() is not None:
                    raise SystemExit((folder / "registry.log").read_text(encoding="utf-8")[-2000:])
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                time.sleep(0.1)
            yield f"localhost:{port}"
        finally:
            process.terminate()


def drivebuild(*words: str) -> float:
    """Run drivebuild and return its seconds.

    Raises:
        SystemExit: when it fails; it has said why.
    """
    print("$ drivebuild", *words, flush=True)
    start = time.monotonic()
    if subprocess.run((*DRIVEBUILD, *words), cwd=ROOT, check=False).returncode:
        raise SystemExit(f"`drivebuild {' '.join(words)}` failed")
    return time.monotonic() - start


def built(
    arch: str, words: tuple[str, ...], repository: str, folder: Path
) -> tuple[BuildRecord, Mapping[str, str], dict[str, float]]:
    """Build, push by digest and verify one architecture; return its record, what --pushed says, and seconds."""
    tag, told = f"drivebuild-benchmark/small:{TARGETS[arch]}", folder / f"{arch}.json"
    other = ("--arch", arch) if arch == "aarch64" else ()
    common = ("--tag", tag, "--progress", "plain")
    seconds = {"image": drivebuild("image", "small", *words, *other, *common)}
    record = read_record(tag)
    if record is None:
        raise SystemExit(f"there is no record of {tag}")
    # Another command, so that the build's seconds have no compression in them; its stages are all cached.
    again = tuple(word for word in words if word != "--no-cache")
    push = ("--push", repository, "--by-digest", "--pushed", str(told))
    seconds["push"] = drivebuild("image", "small", *again, *other, *common, *push)
    if "--until" not in words:
        lto = ("--lto",) if "--lto" in words else ()
        seconds["verify"] = drivebuild("verify", "small", *lto, *other, "--tag", tag)
    return record, json.loads(told.read_text(encoding="utf-8")), seconds


def read_back(shared: str) -> dict[str, str]:
    """Return by architecture the digest that the shared name leads to, as the registry and each image's own config say.

    Raises:
        SystemExit: when an image is for another architecture than the index says.
    """
    address, _, place = shared.partition("/")
    name, _, tag = place.rpartition(":")

    def get(kind: str, what: str) -> Mapping[str, object]:
        asked = urllib.request.Request(f"http://{address}/v2/{name}/{kind}/{what}", headers={"Accept": ACCEPTED})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return dict(json.load(answer))

    found = {}
    index = get("manifests", tag)["manifests"]
    assert isinstance(index, list)
    for entry in index:
        named = entry["platform"]["architecture"]
        if named == "unknown":
            continue  # an attestation
        config = get("manifests", entry["digest"])["config"]
        assert isinstance(config, dict)
        said = get("blobs", config["digest"])["architecture"]
        if said != named:
            raise SystemExit(f"the index says {named} of an image for {said}")
        found[str(named)] = str(entry["digest"])
    return found


def runs(reference: str, architecture: str) -> str:
    """Pull one architecture of the shared name, run the tree's script in it, and return its last line."""
    platform = ("--platform", f"linux/{architecture}")
    subprocess.run(("docker", "pull", "--quiet", *platform, reference), check=True, stdout=subprocess.DEVNULL)
    words = ("docker", "run", "--rm", "--network", "none", *platform, reference)
    script = ("python", "/workspace/small/small/step.py")
    done = subprocess.run((*words, *script), check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


def stage_seconds(record: BuildRecord) -> dict[str, float]:
    """Return what each stage took: in this build, or where that had it already, when the very same stage last ran."""
    known = read_timings().by_digest
    names = {target: arch for arch, target in TARGETS.items()}
    where = ran_on(names.get(record.architecture, record.architecture), record.machine)
    found = {stage.name: known.get((record.digests.get(stage.name, ""), where)) for stage in record.cached}
    ran = {stage.name: stage.seconds for stage in record.ran if not stage.partial}
    return {name: value for name, value in {**found, **ran}.items() if value is not None}


def figures(foreign: BuildRecord, native: BuildRecord) -> dict[str, object]:
    """Return seconds by stage and side by side; a cross compile counts with the stage that takes and checks it."""
    other, own = stage_seconds(foreign), stage_seconds(native)
    rows = {}
    for name, seconds in own.items():
        if name in other and max(seconds, other[name]) >= 1:
            total = sum(other.get(each, 0.0) for each in CROSSED.get(name, (name,)))
            how = "crossed" if name in CROSSED and CROSSED[name][0] in other else "emulated"
            rows[name] = {
                "how": how,
                "arm64": round(total, 1),
                "amd64": round(seconds, 1),
                "ratio": round(total / seconds, 2) if seconds else None,
            }
    return {
        "stages": rows,
        "only_arm64": {name: round(value, 1) for name, value in other.items() if name not in own and value >= 1},
        "seconds": {"arm64": round(foreign.seconds, 1), "amd64": round(native.seconds, 1)},
        "states": {"arm64": _states(foreign), "amd64": _states(native)},
    }


def _states(record: BuildRecord) -> dict[str, int]:
    found: dict[str, int] = {}
    for stage in record.stages:
        found[stage.state] = found.get(stage.state, 0) + 1
    return found


def main() -> None:
    """Build both, join them, read them back, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lto", action="store_true")
    parser.add_argument("--until", default="")
    parser.add_argument("--cached", action="append", default=[], choices=tuple(TARGETS))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    before = load()
    with tempfile.TemporaryDirectory(prefix="drivebuild-arm64-") as place, registry(Path(place)) as address:
        folder = Path(place)
        words: tuple[str, ...] = ("--source", f"small={tree(folder / 'small')}")
        words += ("--until", given.until) if given.until else ()
        words += ("--lto",) if given.lto else ()
        found, seconds = {}, {}
        pushed: list[Mapping[str, str]] = []
        for arch in ("aarch64", "x86_64"):
            own = words if arch in given.cached else (*words, "--no-cache")
            found[arch], told, seconds[arch] = built(arch, own, f"{address}/benchmark", folder)
            pushed.append(told)
        digests = tuple(told["digest"] for told in pushed)
        # An engine without containerd's store needs a tag to push by, one for each architecture.
        repository, _, image = pushed[0]["name"].rpartition("/")
        shared = f"{repository}/{image.partition(':')[0]}:debian-12-cpu-small-{'lto' if given.lto else 'stock'}"
        # A cross compile is other text, so it is another recipe's hash.
        seconds["merge"] = {"merge": drivebuild("merge", shared, *digests, "--any-recipe")}
        back = read_back(shared)
        if sorted(back.values()) != sorted(digests):
            raise SystemExit(f"the registry has {back} under the name, and {digests} were pushed")
        said = {} if given.until else {each: runs(shared, each) for each in back}
    report = figures(found["aarch64"], found["x86_64"])
    report |= {"commands": seconds, "index": back, "ran": said, "load": [before, load()]}
    text = json.dumps(report, indent=1)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
