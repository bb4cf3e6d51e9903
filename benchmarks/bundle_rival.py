"""How long `bundle` and `unbundle` take, against `tar | zstd -3 -T0` and `zstd -d | tar x` on the same files.

    python benchmarks/bundle_rival.py [--rounds N] [--megabytes N] [--folder DIR] [--json FILE]

Run it with the Python of the environment to measure; `tar` and `zstd` must be installed. The store is made up: half of
it does not compress (wheels, packs), a quarter is text, a quarter is a system's tar (libraries and text by turns).
Every round runs every command once, in alternating direction; a ratio is that of the best rounds. The rivals are
measured twice: as they are, and with `sync -f` of what they wrote, which is what both commands of drivebuild end with.
Where others use the machine, the ratio of processor time says more than that of the clock.
`unbundle` and `unbundle --check` are whole commands, `bundle` is all but the planning.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measure import Case, Series, interleave, load, random_pieces

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
TARGET = 1.3
# (name, what it is divided by)
RATIOS = (
    ("bundle", "tar | zstd"),
    ("bundle", "tar | zstd, sync"),
    ("unbundle", "zstd -d | tar x"),
    ("unbundle", "zstd -d | tar x, sync"),
    ("unbundle --check", "zstd -d | tar x"),
)
MACHINE = "x86_64"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A need as `gather` takes it."""

    key: str
    title: str


def contents(megabytes: int) -> Iterator[bytes]:
    """Yield the store's files, the same in every run."""
    chance = random.Random(3)
    text = b"".join(path.read_bytes() for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")))
    library = Path(sys.executable).resolve().read_bytes()
    sizes = [max(4096, int(megabytes * 1e6 / 2 * share)) for share in (0.5, 0.2, *([0.01] * 25), *([0.0005] * 100))]
    for size in sizes:
        yield b"".join(random_pieces(chance, size))
    quarter = int(megabytes * 1e6 / 4)
    yield from _filled(text, quarter, chance)
    yield from _filled(library + text, quarter, chance)


def _filled(piece: bytes, size: int, chance: random.Random) -> Iterator[bytes]:
    for _ in range(3):
        count = size // 3 // (1 << 16)
        # Blocks from anywhere: otherwise one block would stand for all that follow.
        starts = [chance.randrange(max(1, len(piece) - (1 << 16))) for _ in range(count)]
        yield b"".join(piece[start : start + (1 << 16)] for start in starts)


def make_store(folder: Path, megabytes: int) -> None:
    """Fill a store."""
    from builder.source.store import Store

    store = Store.make(folder)
    for number, content in enumerate(contents(megabytes)):
        sha256 = hashlib.sha256(content).hexdigest()
        path = store.partial(f"made-{number}")
        path.write_bytes(content)
        store.add(f"sha256:{sha256}", path, file=f"file-{number}", origin="made up", sha256=sha256)


def pack(folder: Path, target: Path) -> None:
    """Bundle a whole store."""
    from builder.source.bundle import gather, write_bundle
    from builder.source.bundleform import Image
    from builder.source.store import Store

    store = Store(folder)
    needs = [Wanted(entry.key, entry.file) for entry in store.entries()]
    image = Image(model="made-up", platform="none", variant="stock", tag="none", dockerfile="Dockerfile")
    texts = {"Dockerfile": "FROM scratch\n"}
    manifest = gather(needs, store, texts=texts, images=[image], architecture=MACHINE, fetch="-")
    write_bundle(manifest, texts, store, target, observe=lambda *_: None)


def cases(folder: Path) -> list[Case]:
    """Return what is measured; every command writes to a place of its own that is empty when it starts."""
    store, packed = folder / "store", folder / "rival.tar.zst"
    bundle, ours, theirs = folder / "a.bundle", folder / "ours", folder / "theirs"
    out = folder / "out"
    builder = [sys.executable, "-m", "builder"]
    rival = f"tar -C {store} -cf - objects | zstd -q -3 -T0 -f -o {packed}"
    rival_back = f"zstd -q -dc {packed} | tar -C {theirs} -xf -"

    def empty() -> None:
        for path in (ours, theirs, out):
            shutil.rmtree(path, ignore_errors=True)
        theirs.mkdir()

    def drop() -> None:
        packed.unlink(missing_ok=True)

    unbundle = [*builder, "unbundle", str(bundle), "--store", str(ours), "--output", str(out), "--any-arch"]
    return [
        Case(
            name="bundle",
            command=[sys.executable, str(Path(__file__).resolve()), "--pack", str(store), str(bundle)],
            prepare=lambda: bundle.unlink(missing_ok=True),
        ),
        Case(name="tar | zstd", command=["sh", "-c", rival], prepare=drop),
        Case(name="tar | zstd, sync", command=["sh", "-c", f"{rival} && sync -f {packed}"], prepare=drop),
        Case(name="unbundle", command=unbundle, cwd=ROOT, prepare=empty),
        Case(name="unbundle --check", command=[*builder, "unbundle", str(bundle), "--check"], cwd=ROOT),
        Case(name="zstd -d | tar x", command=["sh", "-c", rival_back], prepare=empty),
        Case(name="zstd -d | tar x, sync", command=["sh", "-c", f"{rival_back} && sync -f {theirs}"], prepare=empty),
    ]


def report(found: dict[str, Series]) -> list[str]:
    """Return the table and the ratios."""
    lines = [f"{'':24} best s   all rounds"]
    for name, series in found.items():
        rounds = " ".join(f"{seconds:.2f}" for seconds in series.wall)
        lines.append(f"{name:24} {min(series.wall):6.2f}   {rounds}   (processor {min(series.cpu):.2f})")
    for name, rival in RATIOS:
        ratio = min(found[name].wall) / min(found[rival].wall)
        processor = min(found[name].cpu) / min(found[rival].cpu)
        verdict = "met" if ratio <= TARGET else "missed"
        lines.append(f"{name} / {rival}: {ratio:.2f}, {verdict} (at most {TARGET}); of the processor {processor:.2f}")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pack", nargs=2, type=Path, metavar=("STORE", "FILE"), help="only bundle a store")
    options = parser.parse_args()
    if options.pack:
        pack(*options.pack)
        return
    with tempfile.TemporaryDirectory(prefix="drivebuild-bundle-", dir=options.folder) as name:
        folder = Path(name)
        make_store(folder / "store", options.megabytes)
        before = load()
        found = interleave(_in_order(cases(folder)), rounds=options.rounds)
        bundle, rival = (folder / "a.bundle").stat().st_size, (folder / "rival.tar.zst").stat().st_size
    print(f"{options.megabytes} MB; bundle {bundle / 1e6:.1f} MB, tar.zst {rival / 1e6:.1f} MB; {before}")
    print("\n".join(report(found)))
    if options.json:
        options.json.write_text(json.dumps({name: series.wall for name, series in found.items()}, indent=1))


def _in_order(found: list[Case]) -> list[Case]:
    """Have the files that are unpacked there before the first round, which goes backwards when it is odd."""
    for case in found[:3]:
        interleave([case], rounds=0)
    return found


if __name__ == "__main__":
    main()
