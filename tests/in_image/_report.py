"""One JSON line per check, and the exit status."""

import json
import sys

_failed = []


def report(check, ok, detail=""):
    print(json.dumps({"check": check, "ok": bool(ok), "detail": detail}, sort_keys=True), flush=True)
    if not ok:
        _failed.append(check)


def guard(check, function):
    """Runs function; its result is the detail, an exception is the failure."""
    try:
        detail = function()
    except Exception as error:  # a check must say what went wrong, whatever it was
        report(check, False, f"{type(error).__name__}: {error}"[:2000])
    else:
        report(check, True, detail)


def finish():
    sys.exit(1 if _failed else 0)
