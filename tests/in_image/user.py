"""user.py [UID]: not root, the expected uid, a home that can be written to, a login name."""

import getpass
import os
import sys
import tempfile

from _report import finish, guard, report

report("user is not root", os.getuid() != 0 and os.geteuid() != 0, {"uid": os.getuid(), "gid": os.getgid()})
if len(sys.argv) > 1:
    report("user id", os.getuid() == int(sys.argv[1]), {"expected": int(sys.argv[1]), "uid": os.getuid()})


def home():
    path = os.path.expanduser("~")
    if path != os.environ.get("HOME"):
        raise ValueError(f"HOME is {os.environ.get('HOME')!r}, ~ is {path!r}")
    with tempfile.TemporaryDirectory(dir=path) as folder:
        with open(os.path.join(folder, "file"), "w", encoding="utf-8") as file:
            file.write("x")
    return path


guard("user home", home)
guard("user name", getpass.getuser)
finish()
