"""One JSON line per check, and the exit status.

A check that cannot be made here, because it wants a device or data, is a line of its own with what it needs: it is
neither passed nor left out. What a stand-in took part in says so in its name.
"""

import json
import sys

STAND_INS = []
"""What stands in for something in this process, in words; _stand_ins.py adds to it."""
_failed = []


class NotHereError(Exception):
    """What cannot be done here; the message says what it needs."""


def report(check, ok, detail="", unverified=""):
    if STAND_INS:
        check += f" (with a stand-in for {' and '.join(STAND_INS)})"
    line = {"check": check, "ok": bool(ok), "detail": detail}
    if unverified:
        line["unverified"] = unverified
    print(json.dumps(line, sort_keys=True, default=str), flush=True)
    if not ok:
        _failed.append(check)


def not_verified(check, needs, detail=""):
    """Name what was not looked at, and what it needs: no failure, and nothing that passed."""
    report(check, True, detail, unverified=needs)


def guard(check, function):
    """Run function; its result is the detail, an exception is the failure. Return whether it passed."""
    try:
        detail = function()
    except Exception as error:  # a check must say what went wrong, whatever it was
        needs = missing_here(error)
        if needs:
            while error.__cause__ is not None:
                error = error.__cause__
            not_verified(check, needs, said(error).splitlines()[0])
        else:
            report(check, False, said(error))
        return False
    report(check, True, detail)
    return True


def said(error):
    """Return an exception in one short text."""
    return f"{type(error).__name__}: {error}"[:2000]


def missing_here(error):
    """Return what an exception, or one that led to it, says is missing on this machine; empty for a real failure."""
    found = ""
    while error is not None:
        # mmcv's registries raise another of the same type with more words: the first one has the reason alone.
        found = str(error) if isinstance(error, NotHereError) else found or _device(error)
        error = error.__cause__ or error.__context__
    return found


def _device(error):
    words = ("aclInit, error code", "NPU function error", "Torch not compiled with CUDA", "Found no NVIDIA driver")
    return (
        "needs a device"
        if isinstance(error, (RuntimeError, AssertionError)) and any(word in str(error) for word in words)
        else ""
    )


def finish():
    sys.exit(1 if _failed else 0)
