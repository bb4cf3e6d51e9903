"""zstd against gzip on push: bytes and seconds, there and back, of a small but real image.

    python benchmarks/push_compression.py IMAGE [--rounds N] [--json FILE]

From IMAGE, which has the stage `env`, the interpreter and some of the environment's large packages are laid over the
base image, as two layers. Each round starts an engine with containerd's image store and a registry (the distribution's
docker-registry), both in a network of their own, builds the image into the cache, and measures the push of `--push`
and a pull after everything local was removed. Rounds take turns: gzip, zstd, gzip, zstd. Needs root.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import load

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.ownengine import OwnEngine, own_engine  # noqa: E402

from builder.engine.push import ZSTD  # noqa: E402

BASE = "localhost/drivebuild/base:debian-12"
DOCKERFILE = f"""\
FROM {BASE}
COPY --from=python / /
COPY --from=packages / /
"""
WAYS = {"gzip": "compression=gzip,force-compression=true,oci-mediatypes=true", "zstd": ZSTD}
SITE = "opt/venv/lib/python3.11/site-packages"
PACKAGES = ("numpy", "numpy.libs", "scipy", "scipy.libs", "pandas", "matplotlib", "cv2", "PIL")


def unpack(image: str, folder: Path) -> dict[str, Path]:
    """Copy the interpreter and the packages out of an image."""
    made = {"python": folder / "python", "packages": folder / "packages"}
    places = {"python": ["opt/python"], "packages": [f"{SITE}/{each}" for each in PACKAGES]}
    for name, wanted in places.items():
        made[name].mkdir()
        words = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "tar", image, "-C", "/", "-cf", "-"]
        with subprocess.Popen([*words, *wanted], stdout=subprocess.PIPE) as packing:
            subprocess.run(["tar", "-xf", "-", "-C", str(made[name])], stdin=packing.stdout, check=True)
    return made


def one_round(way: str, base: bytes, parts: dict[str, Path], folder: Path) -> dict[str, float]:
    """Return the seconds of a push and of a pull, and the registry's bytes."""
    (folder / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (folder / "context").mkdir(exist_ok=True)
    with own_engine(containerd_store=True) as engine:
        run(engine, "load", stdin=base)
        words = ["buildx", "build", "--provenance=false", "--file", str(folder / "Dockerfile")]
        words += [word for name, path in parts.items() for word in ("--build-context", f"{name}={path}")]
        run(engine, *words, "--output", "type=cacheonly", str(folder / "context"))
        name = f"{engine.repository}/small:{way}"
        pushed = run(
            engine, *words, "--output", f"type=image,name={name},push=true,{WAYS[way]}", str(folder / "context")
        )
        size = sum(engine.blobs.values())
        for image in (name, BASE):
            engine.docker("image", "rm", "--force", image)
        run(engine, "builder", "prune", "--all", "--force")
        return {"push": pushed, "pull": run(engine, "pull", name), "bytes": size}


def run(engine: OwnEngine, *words: str, stdin: bytes = b"") -> float:
    """Run docker and return the seconds it took."""
    start = time.monotonic()
    done = engine.docker(*words, stdin=stdin)
    if done.returncode:
        sys.exit(done.stderr.decode("utf-8", "replace")[-2000:])
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    base = subprocess.run(["docker", "save", BASE], capture_output=True, check=True).stdout
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    before = load()
    with tempfile.TemporaryDirectory(prefix="drivebuild-push-") as name:
        parts = unpack(given.image, Path(name))
        for _ in range(given.rounds):
            for way in WAYS:
                found[way].append(one_round(way, base, parts, Path(name)))
                print(way, found[way][-1], flush=True)
    print(f"load before: {before}")
    for way, rounds in found.items():
        for key in ("bytes", "push", "pull"):
            values = sorted(each[key] for each in rounds)
            print(f"{way} {key}: median {statistics.median(values):.1f} ({values[0]:.1f} to {values[-1]:.1f})")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
