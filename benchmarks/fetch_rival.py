"""How long a fetch of many files into a store takes, against `curl --parallel` on the same bytes of the same server.

    python benchmarks/fetch_rival.py [--rounds N] [--files N] [--mib N]

The server is a process of its own on this machine and sends from memory. Both start as new processes, eight at a time.
curl writes plain files; the fetch also hashes, verifies and publishes, each file down to the disk. `curl, then
sha256sum` is what a script would do for the same certainty but for the disk. The last case finds all
there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Case, interleave, load, random_pieces, spread

ROOT = Path(__file__).resolve().parent.parent
TARGET = 1.3
SECONDS = 1.0
SERVER = """
import http.server, socketserver, sys, pathlib, functools
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def copyfile(self, source, outputfile):
        outputfile.flush()
        self.connection.sendfile(source)
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
with Server(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1])) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""
CLIENT = """
import sys
from pathlib import Path
from builder.source.download import Download, download_all
from builder.source.network import Network
from builder.source.store import Store
store, base, listing = sys.argv[1:]
wanted = []
for line in Path(listing).read_text().splitlines():
    digest, name = line.split()
    wanted.append(Download(key=f"sha256:{digest}", url=f"{base}/{name}", sha256=digest, file=name))
download_all(wanted, Store.make(Path(store)), Network())
"""


def make_files(folder: Path, *, files: int, mib: int) -> dict[str, str]:
    """Write files of mixed sizes, a few large and many small as wheels are; return their sha256 by name."""
    chance = random.Random(1)
    shares = [chance.paretovariate(0.8) for _ in range(files)]
    found = {}
    for number, share in enumerate(shares):
        name, digest = f"file-{number:04}.whl", hashlib.sha256()
        with (folder / name).open("wb") as file:
            for piece in random_pieces(chance, max(1000, int(share / sum(shares) * mib * 2**20))):
                file.write(piece)
                digest.update(piece)
        found[name] = digest.hexdigest()
    return found


def cases(folder: Path, base: str, names: dict[str, str]) -> list[Case]:
    """Return what is measured. Each case starts with nothing there, but for the last."""
    listing, config = folder / "SHA256SUMS", folder / "curl.cfg"
    listing.write_text("".join(f"{digest}  {name}\n" for name, digest in names.items()), encoding="utf-8")
    target = folder / "curl"
    config.write_text("".join(f'url = "{base}/{name}"\noutput = "{target}/{name}"\n' for name in names))
    fresh, kept = folder / "fresh", folder / "kept"

    def empty() -> None:
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(fresh, ignore_errors=True)
        target.mkdir()
        subprocess.run(["sync", "--file-system", str(folder)], check=True)  # what the case before left for later

    curl = f"curl --silent --fail --parallel --parallel-max 8 --config {config}"
    check = f"cd {target} && sha256sum --check --quiet {listing}"
    own = [sys.executable, "-c", CLIENT]
    return [
        Case(name="curl", command=["sh", "-c", curl], prepare=empty),
        Case(name="curl, then sync", command=["sh", "-c", f"{curl} && sync"], prepare=empty),
        Case(name="curl, then sha256sum", command=["sh", "-c", f"{curl} && {check}"], prepare=empty),
        Case(name="fetch", command=[*own, str(fresh), base, str(listing)], prepare=empty),
        Case(name="fetch, nothing new", command=[*own, str(kept), base, str(listing)]),
    ]


def main() -> int:
    """Measure and report; exit code 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=120)
    parser.add_argument("--mib", type=int, default=600)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        served = folder / "served"
        served.mkdir()
        names = make_files(served, files=arguments.files, mib=arguments.mib)
        total = sum((served / name).stat().st_size for name in names)
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(served)], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            found = interleave(cases(folder, base, names), rounds=arguments.rounds, env=env)
        finally:
            server.terminate()
            server.wait()
    print(f"{len(names)} files, {total / 2**20:.0f} MiB, best of {arguments.rounds}, {load()}")
    best = {name: min(series.wall) for name, series in found.items()}
    for name, series in found.items():
        middle, processor = spread(series.wall)[1], spread(series.cpu)[1]
        print(f"{name:24} {best[name]:7.2f} s best {middle:7.2f} s median {processor:7.2f} s of processor")
    for name in ("curl", "curl, then sync", "curl, then sha256sum"):
        print(f"fetch / {name:24} {best['fetch'] / best[name]:.2f}")
    sound = best["fetch"] <= TARGET * best["curl"] and best["fetch, nothing new"] < SECONDS
    print(f"targets: fetch / curl <= {TARGET}, nothing new < {SECONDS} s: {'met' if sound else 'MISSED'}")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
