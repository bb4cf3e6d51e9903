"""Reading logs against grep on the same file, and the results page: its size, and how soon it can be used.

python benchmarks/log_parsing.py [--megabytes N] [--rounds N] [--no-page]

Two logs of PanoOcc's form: `usual`, where one line in 200 is a step line and the rest is what trainings print beside,
and `dense`, where every line is one, as nobody's log is. grep looks for the pattern of a step line and counts. The page
is of a whole training (24 epochs, a line in 50 steps) and needs Chromium and the dependency group `test`.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests"), str(REPOSITORY / "benchmarks")]

from measure import Case, interleave, load, spread  # noqa: E402
from support.training import run_folder, step_line, training  # noqa: E402

OTHERS = (
    "/usr/lib/python3.8/site-packages/torch/nn/functional.py:3981: UserWarning: Default upsampling behavior changed\n",
    "  warnings.warn(\n",
    "[W compiler_depend.ts:51] Warning: operator(): AutoNonVariableTypeMode is deprecated (function operator())\n",
    "2025-09-18 10:01:02,345 - mmdet - INFO - Saving checkpoint at 12 epochs\n",
    "loading annotations 1234 of 28130\n",
)
PATTERN = r"Epoch \[[0-9]+\]\[[0-9]+/[0-9]+\].*time: ([0-9.]+).*loss: ([0-9.]+)"
READER = """\
import sys
from builder.source.catalog import read_catalog
from builder.training.logs import LogParser
log = read_catalog().models["panoocc"].log
parser, count = LogParser(log), 0
if len(sys.argv) > 1:
    with open(sys.argv[1], "rb") as file:
        while data := file.read(1 << 20):
            count += len(parser.feed(data))
    count += len(parser.close())
print(count)
"""


def write(path: Path, megabytes: int, part: float) -> None:
    """Write a log of which `part` of the lines are step lines."""
    rng = random.Random(1)
    size, number = 0, 0
    with path.open("w", encoding="utf-8") as file:
        while size < megabytes * 1_000_000:
            if rng.random() < part:
                number += 1
                line = step_line("panoocc", number // 70 + 1, number % 70 * 50 + 50) + "\n"
            else:
                line = rng.choice(OTHERS)
            size += file.write(line)


def reading(folder: Path, megabytes: int, rounds: int) -> None:
    """Print megabytes a second of grep and of the parser, without what starting Python and reading recipes takes."""
    script = folder / "reader.py"
    script.write_text(READER, encoding="utf-8")
    env = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    for name, part, size in (("usual", 1 / 200, megabytes), ("dense", 1.0, max(1, megabytes // 8))):
        path = folder / f"{name}.log"
        write(path, size, part)
        found = interleave(
            [
                # Into a pipe: grep stops at the first match when nobody will see the count.
                Case(name="grep", command=["bash", "-c", 'grep -cE "$1" "$2" | cat', "grep", PATTERN, str(path)]),
                Case(name="start", command=[sys.executable, str(script)]),
                Case(name="read", command=[sys.executable, str(script), str(path)]),
            ],
            rounds=rounds,
            env=env,
        )
        megabyte = path.stat().st_size / 1e6
        for clock in ("wall", "cpu"):
            grep, read, start = (getattr(found[case], clock) for case in ("grep", "read", "start"))
            net = [one - two for one, two in zip(read, start, strict=True)]
            for what, seconds in (("grep", grep), ("parser", net)):
                low, middle, high = spread(seconds)
                times = f"{middle:.3f} s ({low:.3f} to {high:.3f})"
                print(f"{name:6} {megabyte:.0f} MB  {clock:4}  {what:6}  {times}  {megabyte / middle:.0f} MB/s")
        path.unlink()


def page(folder: Path, rounds: int) -> None:
    """Print the page's size, what making it takes, and when it is ready in Chromium."""
    from playwright.sync_api import sync_playwright

    run = run_folder(folder, "panoocc", "train-8p", training("panoocc", 24))
    path = folder / "page.html"
    command = [sys.executable, "-m", "builder", "results", str(run), "--html", str(path)]
    made = interleave([Case(name="page", command=command, cwd=REPOSITORY)], rounds=rounds)["page"].wall
    low, middle, high = spread(made)
    print(f"page   {path.stat().st_size / 1e6:.2f} MB, made in {middle:.2f} s ({low:.2f} to {high:.2f})")
    ready: list[float] = []
    with sync_playwright() as playwright:
        words = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=words)
        for _ in range(rounds + 1):
            tab = browser.new_page()
            tab.goto(path.as_uri())
            while not (found := tab.evaluate("document.documentElement.dataset.ready")):
                tab.wait_for_timeout(20)
            ready.append(float(found) / 1000)
            tab.close()
        browser.close()
    low, middle, high = spread(ready[1:])
    print(f"page   drawn and ready after {middle:.2f} s ({low:.2f} to {high:.2f}) from the start of its loading")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-page", action="store_true")
    given = parser.parse_args()
    print(load())
    with tempfile.TemporaryDirectory() as name:
        reading(Path(name), given.megabytes, given.rounds)
        if not given.no_page:
            page(Path(name), given.rounds)
    print(load())


if __name__ == "__main__":
    main()
