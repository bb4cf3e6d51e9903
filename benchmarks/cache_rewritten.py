"""How often a builder that reads a cache from a registry and writes it again writes less than it has read.

    docker buildx create --name tried --driver remote unix:///run/buildkitd.sock
    python benchmarks/cache_rewritten.py --builder tried --registry localhost:5000/tried [--tries 10] [--busy 1]

Nothing of drivebuild's builds here: it is what BuildKit does by itself. Five stages that only copy are built and their
cache is written; then, for each try, THE BUILDER'S CACHE IS EMPTIED, the same is built from the registry's cache, and
the cache is written in a second build, as drivebuild does. Counted is what drivebuild compares. `--fetch` does what
drivebuild does about a loss, each time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from builder.engine.cachegraph import CacheGraph, lost_results
from builder.engine.cachewrite import FETCH, fetching

FOLDERS = ("first", "tools", "one", "other", "last")
STAGES = ("first", "tools", "one", "other", "image")
DOCKERFILE = """\
FROM scratch AS first
COPY first /first
FROM first AS tools
COPY tools /tools
FROM tools AS one
COPY one /one
FROM tools AS other
COPY last /late/
COPY other /other
FROM first AS image
COPY --from=one /one /one
COPY --from=other /other /other
COPY last /last
"""
MAX = "mode=max,image-manifest=true,oci-mediatypes=true,compression=zstd,compression-level=3"


@dataclass(frozen=True, slots=True)
class Trial:
    """One builder and one registry."""

    builder: str
    registry: str
    folder: Path

    def docker(self, *words: str) -> str:
        done = subprocess.run(("docker", "buildx", *words), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"docker buildx {' '.join(words)}\n{done.stderr}")
        return done.stdout if "inspect" in words else done.stderr

    def build(self, *words: str, target: str = "image") -> str:
        where = ("--builder", self.builder, "--target", target, "--output", "type=cacheonly", "--progress", "plain")
        return self.docker("build", *where, *words, str(self.folder))

    def forget(self) -> None:
        self.docker("prune", "--builder", self.builder, "--all", "--force")

    def ref(self, tag: str) -> str:
        return f"type=registry,ref={self.registry}:{tag}"

    def held(self, tag: str) -> CacheGraph:
        manifest = json.loads(self._raw(f"{self.registry}:{tag}"))
        return msgspec.json.decode(self._raw(f"{self.registry}@{manifest['config']['digest']}"), type=CacheGraph)

    def _raw(self, name: str) -> str:
        return self.docker("imagetools", "inspect", "--builder", self.builder, "--raw", name)


def tried(trial: Trial, *, fetch: bool) -> int:
    """Read and write once; return how many results were lost."""
    read = ("--cache-from", trial.ref("whole"))
    trial.forget()
    trial.build(*read)
    if fetch:
        (trial.folder / "Dockerfile").write_text(fetching(DOCKERFILE, STAGES))
        trial.build(*read, target=FETCH)
        (trial.folder / "Dockerfile").write_text(DOCKERFILE)
    trial.build(*read, "--cache-to", f"{trial.ref('again')},{MAX}")
    return len(lost_results([trial.held("whole")], trial.held("again")))


def main() -> None:
    """Try it, and print each try and their sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builder", required=True)
    parser.add_argument("--registry", required=True, help="a repository that may be written")
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--busy", type=int, default=0, help="processes that only keep a processor busy meanwhile")
    parser.add_argument("--fetch", action="store_true", help="fetch what was read before it is written again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        trial = Trial(given.builder, given.registry, Path(name))
        for each in FOLDERS:
            (trial.folder / each).mkdir()
            (trial.folder / each / "file").write_bytes(os.urandom(100_000))
        (trial.folder / "Dockerfile").write_text(DOCKERFILE)
        busy = [subprocess.Popen((sys.executable, "-c", "while True: pass")) for _ in range(given.busy)]
        try:
            trial.forget()
            trial.build("--cache-to", f"{trial.ref('whole')},{MAX}")
            results = len(trial.held("whole").full)
            found = [tried(trial, fetch=given.fetch) for _ in range(given.tries)]
        finally:
            for process in busy:
                process.kill()
    for lost in found:
        print(f"{lost} of {results} results lost")
    print(f"{sum(lost > 0 for lost in found)} of {len(found)} caches lack something")


if __name__ == "__main__":
    main()
