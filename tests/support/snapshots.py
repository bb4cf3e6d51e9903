"""Images that were never built: the archive an engine would export, and what is read from it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

from builder.provenance.gather import gather
from builder.provenance.inventory import Facts, Inventory
from builder.provenance.snapshot import Config, Snapshot, read_archive

SITE = "opt/venv/lib/python3.11/site-packages"
ID = "sha256:" + "ab" * 32
STATUS = """\
Package: libtoy1
Status: install ok installed
Architecture: amd64
Source: toy (1:2.0-1)
Version: 1:2.0-1+b1
Maintainer: Toy Makers <toy@example.org>
Depends: libc6 (>= 2.36), missing | other

Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u10

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
SETTINGS = {"CC": "gcc", "CONFIG_ARGS": "'--with-lto'"}
RELEASE = 'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="12"\n'


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def record_line(path: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(data)}\n"


def archive(files: Mapping[str, bytes | str | tuple[str, str]]) -> bytes:
    """Return a tar archive: bytes and text are files, ("link", TARGET), ("hard", NAME) and ("folder", "") are those."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                kinds = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "folder": tarfile.DIRTYPE}
                member.type, member.linkname = kinds[content[0]], content[1]
                tar.addfile(member)
                continue
            data = content.encode() if isinstance(content, str) else content
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def snapshot(files: Mapping[str, Any], *, identity: str = ID, **config: Any) -> Snapshot:
    data = archive(files)
    pieces = (data[at : at + 700] for at in range(0, len(data), 700))
    entries, texts, left_out = read_archive(pieces)
    return Snapshot(
        id=identity,
        created="2026-01-02T03:04:05.678901234Z",
        architecture="x86_64",
        config=Config(**config),
        layers=(),
        identity="sha256:" + "cd" * 32,
        entries=entries,
        texts=texts,
        left_out=left_out,
    )


def distribution(
    name: str, version: str, files: Mapping[str, bytes], *, more: str = "", site: str = SITE
) -> dict[str, Any]:
    """Return the files of a Python distribution, with RECORD."""
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    found: dict[str, Any] = {f"{site}/{path}": data for path, data in files.items()}
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}"
    record = "".join(record_line(path, data) for path, data in files.items())
    record += f"{folder}/METADATA,,\n{folder}/RECORD,,\n"
    return {
        **found,
        f"{site}/{folder}/METADATA": metadata,
        f"{site}/{folder}/INSTALLER": "uv\n",
        f"{site}/{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: toy 1\nTag: py3-none-any\n",
        f"{site}/{folder}/RECORD": record,
    }


BEFORE, AFTER = b"old\n", b"new\n"
MANIFEST: dict[str, Any] = {
    "format": 1,
    "model": "toy",
    "platform": "plat",
    "variant": "lto",
    "options": {"tcmalloc": "package"},
    "base": {"image": "localhost/base", "digest": None},
    "cann": None,
    "python": {"version": "3.11.2", "compiler": "gcc", "configure": ["--a", "--b"]},
    "packages": {},
    "components": {"mmtoy": {"version": "1.0", "source": "mmtoy-sdist", "flags": {"CFLAGS": "-g0"}}},
    "sources": {
        "mmtoy-sdist": {
            "type": "index",
            "package": "mmtoy",
            "version": "1.0",
            "file": "mmtoy.tar.gz",
            "sha256": "c" * 64,
        },
        "toy": {"type": "git", "url": "https://github.com/Some/Toy.git", "commit": "1" * 40, "ref": "tag v1"},
        "patches": {"type": "git", "url": "https://example.org/patches.git", "commit": "2" * 40},
    },
    "overrides": {},
    "applied": {
        "tree": [
            {
                "do": "edit",
                "find": "a",
                "replace": "b",
                "count": 1,
                "files": [{"path": "Toy/train.py", "before": git_id(BEFORE), "after": git_id(AFTER)}],
            },
        ],
        "overlay-mmtoy": [
            {
                "do": "patch",
                "patch": "mmtoy.patch",
                "patch_sha256": "d" * 64,
                "files": [{"path": "mmtoy/__init__.py", "before": git_id(BEFORE), "after": git_id(AFTER)}],
            },
        ],
    },
}
FACTS = Facts(distributions={"mmtoy": "mmtoy"}, licences={"toy": "Apache-2.0", "patches": "BSD-3-Clause"}, tree="toy")


def toy_files() -> dict[str, Any]:
    """Return an image with everything that can be in one."""
    lock = f"numbers==2.0 --hash=sha256:{'e' * 64}\n"
    wheel = distribution(
        "mmtoy", "1.0", {"mmtoy/__init__.py": BEFORE, "mmtoy/ops.py": b"x\n"}, more="License: Apache 2.0\n"
    )
    # Overlaid after the installation: RECORD has the hash of what the wheel had.
    wheel[f"{SITE}/mmtoy/__init__.py"] = AFTER
    return {
        "lib": ("link", "usr/lib"),
        "usr/lib/os-release": RELEASE,
        "etc/os-release": ("link", "../usr/lib/os-release"),
        "var/lib/dpkg/status": STATUS,
        "var/lib/dpkg/info/libtoy1:amd64.list": "/.\n/lib\n/lib/libtoy.so.1\n/usr/share/doc/libtoy1/copyright\n",
        "var/lib/dpkg/info/libtoy1:amd64.md5sums": "",
        "usr/lib/libtoy.so.1": b"elf",
        "usr/share/doc/libtoy1/copyright": "Format: x\n\nFiles: *\nLicense: GPL-2+\n\nFiles: y\nLicense: Expat\n",
        "usr/share/doc/libc6": ("link", "libc-docs"),
        "usr/share/doc/libc-docs/copyright": "/usr/share/common-licenses/LGPL-2.1: version 2.1 or any later version\n",
        **distribution(
            "numbers", "2.0", {"numbers.py": b"1\n"}, more="License-Expression: MIT\nRequires-Dist: mmtoy\n"
        ),
        f"{SITE}/__pycache__/numbers.cpython-311.pyc": b"code",
        **wheel,
        "opt/drivebuild/locks/model.txt": lock,
        "opt/drivebuild/manifest.json": json.dumps(MANIFEST),
        "opt/python/include/python3.11/patchlevel.h": '#define PY_VERSION      "3.11.2"\n',
        "opt/python/lib/python3.11/_sysconfigdata__linux.py": f"build_time_vars = {SETTINGS!r}\n",
        "workspace/toy/Toy/train.py": AFTER,
        "workspace/toy/Toy/README.md": b"read me\n",
        "srv/stray": b"12345",
        "srv/again": ("hard", "srv/stray"),
    }


def inventory(files: Mapping[str, Any] | None = None, **config: Any) -> Inventory:
    return gather(snapshot(files if files is not None else toy_files(), **config), FACTS)
