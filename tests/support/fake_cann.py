"""The only fake of CANN's installers: shell scripts that answer like one, for tests of `way: run`. No byte is CANN's.

They check how they are called, refuse without --quiet as the real ones ask on a terminal, and leave a set_env.sh.
"""

from __future__ import annotations

from pathlib import Path

INSTALLER = """\
#!/bin/sh
set -eu
[ "$*" = "--quiet --install --install-for-all" ] || { echo "fake installer: called with: $*" >&2; exit 2; }
home=/usr/local/Ascend/ascend-toolkit
mkdir -p "$home/latest"
echo "@part@" >> "$home/installed"
echo "export ASCEND_TOOLKIT_HOME=$home/latest" > "$home/set_env.sh"
"""


def write_installer(folder: Path, file: str, part: str) -> Path:
    """Write `archive/<file>` below `folder`, as the context of its source stage has it, and return `folder`."""
    target = folder / "archive" / file
    target.parent.mkdir(parents=True)
    target.write_text(INSTALLER.replace("@part@", part), encoding="utf-8")
    return folder
