"""Ask a source archive's build backend (PEP 517) what its package needs; print one line of JSON behind a mark.

    python3 ask.py ARCHIVE LIBRARY GRANTED

GRANTED are, as JSON, the requirements that LIBRARY was made of; `null` when there is none yet. The answer has either
`requires`, what the backend needs before it can be asked, or `metadata`, the text of METADATA, or `error`. It runs
where neither a network nor anything of the machine is: what the archive prints or writes stays there. Python 3.11 and
newer.
"""

import json
import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import tomllib

MARK = "drivebuild-metadata "
LEGACY = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}
KEPT = 4000


def main(archive: str, library: str, granted: str) -> None:
    """Print the answer."""
    work = Path.cwd() / "work"
    work.mkdir()
    print(MARK + json.dumps(_asked(archive, library, json.loads(granted), work)))  # noqa: T201 - the answer


def _asked(archive: str, library: str, granted: list[str] | None, work: Path) -> dict[str, Any]:
    source = _unpacked(archive, work / "source")
    system = _build_system(source)
    there = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "machine": os.uname().machine}
    static = system["requires"]
    if granted is None:
        return {"requires": static, **there}
    reply = work / "reply.json"
    words = [sys.executable, "-B", __file__, "--hooks", library, json.dumps([system, static, granted, str(reply)])]
    # Its own streams: what it prints is for people.
    done = subprocess.run(
        words, cwd=source, env=_environment(library), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
    if done.returncode != 0 or not reply.is_file():
        return {"error": said[-KEPT:] or f"ended with status {done.returncode} and no word"}
    return {**json.loads(reply.read_text("utf-8")), **there}


def _environment(library: str) -> dict[str, str]:
    path, here = os.environ.get("PATH", os.defpath), str(Path.cwd())
    return {"PATH": path, "HOME": here, "TMPDIR": here, "PYTHONPATH": library, "LC_ALL": "C.UTF-8"}


def _unpacked(archive: str, folder: Path) -> Path:
    shutil.unpack_archive(archive, folder)
    inside = [entry for entry in folder.iterdir() if entry.is_dir()]
    return inside[0] if len(inside) == 1 else folder


def _build_system(source: Path) -> dict[str, Any]:
    file = source / "pyproject.toml"
    found: dict[str, Any] = {}
    if file.is_file():
        found = tomllib.loads(file.read_text("utf-8")).get("build-system", {})
    # A table without a backend is one of setuptools, as PEP 517 has it.
    return {**LEGACY, **found} if "requires" in found else dict(LEGACY)


def hooks(library: str, question: str) -> None:
    """Ask the backend, in a process that its code may do with as it likes; write the answer to a file."""
    system, static, granted, reply = json.loads(question)
    sys.path[0:1] = [str(Path(entry).resolve()) for entry in system.get("backend-path", [])]
    site.addsitedir(library)
    backend = _backend(system["build-backend"])
    wanted = list(getattr(backend, "get_requires_for_build_wheel", lambda _: [])(None))
    more = set(wanted) - set(granted)
    answer: dict[str, Any] = {"requires": [*static, *wanted]} if more else {"metadata": _metadata(backend)}
    Path(reply).write_text(json.dumps(answer), "utf-8")


def _backend(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = __import__(module, fromlist=["_"])
    for part in filter(None, path.split(".")):
        found = getattr(found, part)
    return found


def _metadata(backend: Any) -> str:
    folder = Path(os.environ["HOME"]) / "metadata"
    folder.mkdir()
    if hasattr(backend, "prepare_metadata_for_build_wheel"):
        made: Path = folder / backend.prepare_metadata_for_build_wheel(str(folder), None) / "METADATA"
        return made.read_text("utf-8", "replace")
    with zipfile.ZipFile(folder / backend.build_wheel(str(folder), None)) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1)
        return wheel.read(name).decode("utf-8", "replace")


if __name__ == "__main__":
    if sys.argv[1] == "--hooks":
        hooks(*sys.argv[2:4])
    else:
        main(*sys.argv[1:4])
