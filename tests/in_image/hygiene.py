"""hygiene.py [ROOT]: nothing of the build is left in the image: caches, lists, secrets, CA files, sources, objects.

Run as root for a full answer (`--user 0`): a folder that cannot be read is a failure.
"""

import csv
import fnmatch
import os
import sys

from _bytecode import CHECKED, kind, uncompiled
from _report import finish, report

ROOT = sys.argv[1] if len(sys.argv) > 1 else "/"
SKIP = {"proc", "sys", "dev"}
unreadable = []


def under(path):
    return os.path.join(ROOT, path.lstrip("/"))


def entries(path):
    try:
        return sorted(os.listdir(under(path)))
    except FileNotFoundError:
        return []
    except PermissionError:
        unreadable.append(path)
        return []


def walk(top, patterns):
    found = []
    for folder, names, files in os.walk(under(top), onerror=lambda error: unreadable.append(error.filename)):
        if os.path.abspath(folder) == os.path.abspath(ROOT):
            names[:] = [n for n in names if n not in SKIP]
        for name in list(names) + files:
            if any(fnmatch.fnmatch(name, p) for p in patterns):
                found.append(os.path.join(folder, name))
    return found


homes = ["/root"] + ["/home/" + name for name in entries("/home")]
caches = [
    f"{home}/{name}"
    for home in homes
    for name in (".cache", ".pip", ".config/pip", ".config/uv", ".local/share/uv")
    if os.path.lexists(under(f"{home}/{name}")) and entries(f"{home}/{name}")
]
report("hygiene pip and uv caches", not caches, caches)
lists = [name for name in entries("/var/lib/apt/lists") if name not in ("lock", "partial", "auxfiles")]
report("hygiene apt lists", not lists, lists[:10])
archives = [n for n in entries("/var/cache/apt/archives") if n.endswith(".deb")] + [
    n for n in entries("/var/cache/apt") if n.endswith(".bin")
]
report("hygiene apt archives", not archives, archives[:10])
secrets = [f"/run/secrets/{n}" for n in entries("/run/secrets")] + (
    ["/run/secrets"] if os.path.lexists(under("/run/secrets")) else []
)
report("hygiene no secrets", not secrets, secrets)
local_ca = entries("/usr/local/share/ca-certificates")
named = walk(
    "/",
    [
        "ca-bundle",
        "ca-bundle.*",
        ".netrc",
        "_netrc",
        ".pypirc",
        "pip.conf",
        "uv.toml",
        ".git-credentials",
        "id_rsa",
        "id_ed25519",
    ],
)
report("hygiene no CA or credential files", not local_ca and not named, local_ca + named[:10])
left = [
    f"/{top}/{n}"
    for top in ("src", "wheels", "run/wheels", "run/lock", "run/files", "opt/uv", "tmp", "var/tmp")
    for n in entries(top)
]
allowed_tmp = [p for p in left if p.startswith(("/tmp/home-", "/tmp/in_image"))]
left = [p for p in left if p not in allowed_tmp]
report("hygiene no build trees", not left, left[:10])
# What the stage `toolchain` has: its own folder, and the compilers that it installs. CANN brings others of its own.
prefixes = ["/opt/bisheng", "/opt/openEuler"] + [f"/usr/lib/{n}" for n in entries("/usr/lib") if n.startswith("llvm-")]
prefixes = [p for p in prefixes if os.path.isdir(under(p))]
compilers = [p for prefix in prefixes for p in walk(prefix, ["clang", "clang-[0-9]*", "lld", "llvm-profdata"])]
compilers += ["/opt/toolchain"] if os.path.lexists(under("/opt/toolchain")) else []
report("hygiene no compiler of a builder stage", not compilers, compilers[:10])
suites = walk("/opt/venv", ["tests"])
report("hygiene no test suites", not suites, suites[:10])


def missing(record):
    """Return what a RECORD names and nobody has: pip could not remove the package, and tools would trip over it."""
    site = os.path.dirname(os.path.dirname(record))
    with open(record, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [row[0] for row in csv.reader(file) if row and not os.path.lexists(os.path.join(site, row[0]))]


records = [path for path in walk("/opt/venv", ["RECORD"]) if path.endswith(".dist-info/RECORD")]
lost = [f"{os.path.dirname(record)}: {name}" for record in records for name in missing(record)]
report("hygiene what packages record is there", not lost, lost[:10])


def kind_of(path):
    with open(path, "rb") as file:
        return kind(file.read(16))


# Byte code of another kind was written by a Python that ran in the build, with the time of it.
compiled = [path for path in walk("/opt/venv", ["*.pyc"]) if kind_of(path) != CHECKED]
report("hygiene byte code is checked by its source", not compiled, compiled[:10])
# Who uses the image cannot write there: what has none is compiled again by every process.
late = ["%s: %s" % found for found in uncompiled(under("/opt/venv/lib"))]
report("hygiene every source has its byte code", not late, late[:10])
objects = walk("/opt", ["*.o", "*.egg-link", ".ninja_log", "direct_url.json", "config.log"])
# Kernels for the NPU's own processors are delivered as object files; mx_driving's wheel has some.
objects = [p for p in objects if "/config-3." not in p and "/op_impl/ai_core/tbe/kernel/" not in p]
report("hygiene no build products", not objects, objects[:10])
logs = [
    p
    for p in ("/var/log/apt", "/var/log/dpkg.log", "/var/log/lastlog")
    if os.path.lexists(under(p)) and (entries(p) if os.path.isdir(under(p)) else os.path.getsize(under(p)))
]
report("hygiene no logs", not logs, logs)
variables = [
    k
    for k in os.environ
    if k in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    or "INDEX_URL" in k
    or k.lower().endswith("_proxy")
]
report("hygiene environment", not variables, variables)
report("hygiene everything was readable", not unreadable, unreadable[:5])
finish()
