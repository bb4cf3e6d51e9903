"""Downloads into a store, in a process of its own: what the tests kill. `fetching.py STORE BASE PATH=SHA256…`

With `--fork` before that, it forks such a process for each line of its input, says its pid and then how it ended: fifty
of them start in the time of one Python.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from builder.errors import SourceError
from builder.source.download import Download, download_all
from builder.source.network import Network
from builder.source.store import Store
from builder.source.web import Patience, Web


def forking(arguments: list[str]) -> int:
    import filelock  # noqa: F401  once, for all of them
    import urllib3  # noqa: F401

    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os._exit(fetch(arguments))
        print(pid, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201
    return 0


def fetch(arguments: list[str]) -> int:
    store, base, *words = arguments
    wanted = []
    for word in words:
        path, _, digest = word.partition("=")
        key = f"sha256:{digest}" if digest else f"url:{base}{path}"
        wanted.append(Download(key=key, url=base + path, sha256=digest or None, file=path[1:]))
    web = Web(Network(), Patience(pause=0.01, longest=0.02, tries=3), at_once=4)
    try:
        download_all(wanted, Store.make(Path(store)), Network(), web=web, at_once=4)
    except SourceError as error:
        print(error.message, file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(forking(sys.argv[2:]) if sys.argv[1] == "--fork" else fetch(sys.argv[1:]))
